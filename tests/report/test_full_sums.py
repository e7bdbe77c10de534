"""The chapter on full sums, of made-up records."""

from dataclasses import replace

from helpers.energies import ENERGY, MADE, NETWORK

from qmcbench.report.document import Cell
from qmcbench.report.zero_shot import pages
from qmcbench.store.energies import FullSum
from qmcbench.store.records import Reference, Run

SUM = FullSum(
    value=-0.5, seconds=80.0, network=NETWORK, L=4, J2=0.5, sector="A1", ground_sector="A1", variance=2e-5,
    v_score=1.28e-3, infidelity=3e-3, one_step_energy=-0.5025, one_step_variance=1e-6, extrapolated_energy=-0.5026,
    asymmetry=1e-7, configurations=107, reference=Reference(value=-0.505, source="exact diagonalization"),
)  # fmt: skip


def run(*sums: FullSum) -> Run:
    """Of one evaluation."""
    return Run(job="evaluate exact", provenance=MADE, records=sums)


def test_full_sums_are_one_chapter() -> None:
    """A row for each, by coupling and energy, with its errors without and with a Lanczos step; none of samples."""
    other = replace(
        SUM, network=replace(NETWORK, sha256="12345678" + "0" * 56, J2=0.4), J2=0.4, extrapolated_energy=None
    )
    sampled = Run(job="evaluate", provenance=MADE, records=(ENERGY,))
    lower = replace(SUM, value=-0.501)
    first, sums = pages.chapters([run(SUM), sampled, run(other), run(lower)])
    assert (first.name, sums.name, sums.part) == ("energies", "full-sums", "Correctness")
    (table,) = sums.sections[0].tables
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [row["summed on"] for row in rows] == ["4x4, J2 = 0.4", "4x4, J2 = 0.5", "4x4, J2 = 0.5"]
    assert [row["E/N"] for row in rows] == ["-0.5", "-0.501", "-0.5"]
    assert rows[2]["relative error"] == "0.0099"
    assert rows[2]["its relative error"] == "0.00495"
    assert rows[0]["E/N extrapolated"] == "–"
    assert rows[0]["checkpoint"] == Cell("12345678", "code")
    titles = [table.title for table in sums.sections[2].tables]
    assert titles == ["small on 4x4, J2 = 0.4", "small on 4x4, J2 = 0.5", "small on 4x4, J2 = 0.5"]
    assert sums.judgement.headline == "3 of 3 checks passed"


def test_a_sum_below_the_exact_energy_fails() -> None:
    """By the variational bound of its own coupling."""
    (chapter,) = pages.chapters([run(replace(SUM, value=-0.506))])
    assert [text.split(" (")[0] for text in chapter.judgement.failures] == [
        "variational bound, full sum on 4x4, J2 = 0.5"
    ]


def test_a_run_of_both_is_in_both_chapters() -> None:
    """Neither its energy by samples nor its full sum is left out."""
    both = replace(run(SUM), records=(ENERGY, SUM))
    sampled, sums = pages.chapters([both])
    assert (sampled.name, sums.name) == ("energies", "full-sums")
    assert [len(each.sections[0].tables[0].rows) for each in (sampled, sums)] == [1, 1]
