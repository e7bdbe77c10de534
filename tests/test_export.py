"""Energies as VarBench and the Quantum Many-Body Leaderboard keep them: units, rules, and what a row cost."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.command import called, one_sentence
from helpers.energies import ENERGY, MADE, NETWORK, reproduction

from qmcbench.errors import UserError
from qmcbench.export import Export, Instance, export, problems
from qmcbench.reference import known_energy
from qmcbench.report.leaderboard import pages
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, Origin, Training
from qmcbench.store.records import Record, Run

BOOK = Path(__file__).parents[1] / "reports" / "book"
SIX = replace(
    ENERGY, name="6x6 J2=0.5", L=6, value=-0.50246, sigma=3.2e-5, variance=1.66e-4, gap=36, r_hat=1.001, alpha=1.0
)
VARBENCH_6X6 = -72.548590160286
"""VarBench's exact diagonalization of square_36_P_0.5."""


def exported(*records: Record) -> Export:
    """What one run of these records gives."""
    return export([Run(job="evaluate", provenance=MADE, records=records)])


def test_units_are_theirs() -> None:
    """Pauli matrices, totals: our exact 6x6 energy is theirs by the factor of the rows, variances by its square."""
    (six,) = exported(SIX).instances
    (row,) = six.rows
    factor = row["energy"] / SIX.value
    assert factor == 144
    assert known_energy(6, 0.5)[0] * factor == pytest.approx(VARBENCH_6X6, abs=1e-6)
    assert row["energy_variance"] == pytest.approx(factor**2 * SIX.variance)
    assert row["sigma"] == pytest.approx(factor * SIX.sigma, rel=0.05)
    assert row["v_score"] == pytest.approx(36 * SIX.variance / SIX.value**2)
    assert (six.name, row["dof"], row["einf"]) == ("J1J2/square_36_P_0.5", 36, 0)


def test_the_v_score_is_that_of_the_records() -> None:
    """Both count it from the same variance, in their own units."""
    runs = [jsonl.read(BOOK / "records" / f"{name}.jsonl") for name in ("reproduce-quick", "zero-shot")]
    stored = {4 * each.L**2 * each.value: each.v_score for run in runs for each in run.of(Energy)}
    rows = [row for instance in export(runs).instances for row in instance.rows]
    assert len(rows) > 50
    assert [row["v_score"] for row in rows] == pytest.approx([stored[row["energy"]] for row in rows], rel=1e-9)


def test_without_a_coupling_it_is_another_model() -> None:
    """J2 = 0 is VarBench's Heisenberg, whose file has no coupling."""
    (found,) = exported(replace(SIX, J2=0.0, value=-0.678, network=replace(NETWORK, L=6, J2=0.0))).instances
    assert found.as_object() | {"rows": []} == {
        "model": "Heisenberg", "lattice": "square", "n_sites": 36, "boundary": "P", "params": {},
        "instance_id": "Heisenberg/square_36_P", "rows": [],
    }  # fmt: skip


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "bound type": (lambda row: row.update(bound_type="best"), "bound_type is 'best'"),
    "no reference": (lambda row: row.update(reference=""), "there is no reference"),
    "no method": (lambda row: row.update(method_detail=None), "the method is not named"),
    "no sigma": (lambda row: row.update(sigma=None), "a sampled energy without sigma"),
    "sigma of 0": (lambda row: row.update(sigma=0.0), "sigma is 0.0"),
    "sigma is no number": (lambda row: row.update(sigma=float("nan")), "sigma is nan"),
    "theirs": (lambda row: row.update(computed_by="qmbl"), "computed_by is for"),
    "per site": (lambda row: row.update(dof=1, v_score=None), "dof 1 and einf 0 are not 36 and 0"),
    "V-score": (lambda row: row.update(v_score=row["v_score"] * 1.001), "the V-score"),
    "below exact": (lambda row: row.update(energy=VARBENCH_6X6 - 0.015, v_score=None), "below the exact energy"),
    "compute of nobody": (lambda row: row["compute"].update(reported_as=""), "compute has no reported_as"),
    "no hours": (lambda row: row["compute"].update(cpu_core_hours=0), "compute: cpu_core_hours is 0"),
    "hours of nothing": (lambda row: row["compute"].update(gpu_hours=1.0, device=None), "without a device"),
    "normalised": (lambda row: row["compute"].update(h100_equivalent_hours=1.0), "is normalised"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), BROKEN.values(), ids=BROKEN)
def test_a_row_that_breaks_a_rule_is_named(damage: Callable[[dict[str, Any]], Any], said: str) -> None:
    """Each rule of the leaderboard's validator sees what it is there for; the row itself keeps to all."""
    (six,) = exported(SIX).instances
    assert problems(six) == []
    row = json.loads(json.dumps(six.rows[0]))
    damage(row)
    (found,) = problems(Instance(6, 0.5, (row,)))
    assert said in found
    assert found.startswith("J1J2/square_36_P_0.5[0]: ")


def test_nothing_is_written_if_a_row_breaks_a_rule() -> None:
    """An energy below the exact one is no row."""
    with pytest.raises(UserError, match=r"1 rows break the leaderboard's rules.*below the exact energy"):
        exported(replace(SIX, value=-0.5045))


def test_an_energy_that_is_not_to_be_trusted_is_left_out() -> None:
    """It is named with its reasons; without another there is nothing to write."""
    found = exported(SIX, replace(SIX, name="noisy", plateau=False))
    assert [len(each.rows) for each in found.instances] == [1]
    (left,) = found.left_out
    assert left.startswith("evaluate, noisy: NO PLATEAU")
    with pytest.raises(UserError, match="No energy can be exported: evaluate, noisy"):
        exported(replace(SIX, name="noisy", plateau=False))
    with pytest.raises(UserError, match="the records hold none"):
        exported()


def test_the_cost_is_that_of_all_stages() -> None:
    """Seconds, steps and core-hours of a training and of what it started from; of others' networks nothing."""
    (row,) = [each.rows[0] for each in export([reproduction()]).instances if each.L == 6]
    trainings = {each.name: each for each in reproduction().of(Training)}
    seconds = sum(each.seconds for each in trainings.values()) + ENERGY.seconds
    compute = row["compute"]
    assert compute["cpu_core_hours"] == pytest.approx(2 * seconds / 3600, rel=1e-3)
    assert compute["wall_clock"] == f"{seconds:.1f} s"
    assert "without program starts, warm-up" in compute["note"]
    assert compute["iterations"] == sum(each.steps for each in trainings.values())
    assert (compute["samples"], compute["gpu_hours"], compute["scope"]) == (512, None, "row")
    assert all(name in compute["reported_as"] for name in trainings)
    theirs = exported(replace(SIX, network=replace(NETWORK, origin=Origin(citation="nobody"))))
    other = theirs.instances[0].rows[0]
    assert [other["compute"][name] for name in ("cpu_core_hours", "iterations", "wall_clock")] == [None] * 3
    assert "nobody" in other["reference"]


def test_how_sigma_was_estimated_is_said() -> None:
    """The rules ask for it: blocking, and the autocorrelation time."""
    note = exported(SIX).instances[0].rows[0]["verified"]["note"]
    assert "blocking over 64 independent chains" in note
    assert "tau = 1.0" in note
    assert "S^z = 0" in note


def test_the_command_writes_both_forms(tmp_path: Path) -> None:
    """Of the committed records: JSON that is strict, and Markdown tables with VarBench's columns."""
    book = str(BOOK / "records" / "reproduce-cpu.jsonl")
    done = called("export", book, "--format", "leaderboard", "--out", tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    instances = json.loads((tmp_path / "rows.json").read_text())
    assert [each["instance_id"] for each in instances] == ["J1J2/square_16_P_0.5", "J1J2/square_36_P_0.5"]
    called("export", book, "--format", "varbench", "--out", tmp_path / "rows.md")
    lines = (tmp_path / "rows.md").read_text().splitlines()
    header = "| Energy | Sigma | Energy Variance | DOF | Einf | Method | Reference |"
    assert lines.count(header) == 2
    cells = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert len(cells) == 7
    assert cells[:2] == ["-72.3542", "0.0047"]
    assert cells[3:5] == ["36", "0"]
    document = json.loads(called("export", book, "--format", "varbench", "--out", tmp_path / "b.md", "--json").stdout)
    assert (document["rows"], document["left_out"]) == (3, [])
    wrong = called("export", book, "--format", "csv", "--out", tmp_path / "no.csv")
    one_sentence(wrong, "'csv' is not one of varbench, leaderboard")
    assert not (tmp_path / "no.csv").exists()


def test_a_run_without_a_version_says_so() -> None:
    """A checkout that was not installed has none: no row is of the version None, and the chapter says it too."""
    made = replace(MADE, versions=dict(MADE.versions) | {"qmcbench": None})
    run = Run(job="evaluate", provenance=made, records=(SIX,))
    (row,) = export([run]).instances[0].rows
    assert row["reference"].startswith("qmcbench (unversioned), evaluated 2000-01-01")
    assert row["verified"]["method"].startswith("qmcbench (unversioned), `")
    assert pages.chapters([run])[0].sections[0].tables[1].rows[0][1] == "qmcbench (unversioned)"
    assert exported(SIX).instances[0].rows[0]["reference"].startswith("qmcbench 0.1.0, evaluated")
