"""The leaderboard's own runs beside ours: their numbers in our units, one protocol, and what was not run."""

from dataclasses import replace

import pytest
from helpers.energies import ENERGY, MADE

from qmcbench.jobs.plan import load_profile
from qmcbench.reference import known_energy, leaderboard
from qmcbench.report.document import Cell, Row
from qmcbench.report.leaderboard import pages
from qmcbench.store.energies import Energy, Training
from qmcbench.store.records import Run

TRAINED = Training(
    value=-0.5, unit="J1", name="6x6", network="small", parameters=3531, symmetry="C4", sign="marshall", L=6, J2=0.5,
    start=None, steps=2000, chains=4096, samples=8_192_000, seconds=4000.0,
)  # fmt: skip
SIX: Energy = replace(
    ENERGY, name="6x6", L=6, value=-0.50246, sigma=3.2e-5, variance=1.66e-4, gap=36, r_hat=1.001, samples=131072,
    seconds=99.6,
)  # fmt: skip


def rows(table: int, *runs: Run) -> list[dict[str, str | Cell]]:
    """A table of the chapter, by the names of its columns."""
    (chapter,) = pages.chapters(runs)
    found = chapter.sections[0].tables[table]

    def named(row: Row) -> dict[str, str | Cell]:
        return {column.strip(">"): cell for column, cell in zip(found.columns, row, strict=True)}

    return [named(row) for row in found.rows]


def caption(*runs: Run) -> str:
    """Of the first table."""
    return pages.chapters(runs)[0].sections[0].tables[0].caption


def test_their_numbers_are_in_our_units() -> None:
    """The four that are known from elsewhere: relative errors on 6x6, energies on 10x10, and their seconds."""
    found = {(row["lattice"], str(row["method"]).split()[0]): row for row in rows(0)}
    six, ten = "6x6", "10x10"
    assert (found[six, "ViT"]["above the best known"], found[six, "ViT"]["seconds"]) == ("0.00352(8)", "6,584")
    assert (found[six, "GCNN"]["above the best known"], found[six, "GCNN"]["seconds"]) == ("0.00172(5)", "1,168")
    assert (found[ten, "ViT"]["E/N"], found[ten, "ViT"]["seconds"]) == ("-0.496126(15)", "12,768")
    assert (found[ten, "GCNN"]["E/N"], found[ten, "GCNN"]["seconds"]) == ("-0.49543(3)", "5,494")


@pytest.mark.parametrize("run", leaderboard.runs(), ids=lambda run: f"{run.L}-{run.method.split()[0].strip(',')}")
def test_their_energies_are_variational(run: leaderboard.LeaderboardRun) -> None:
    """None lies below what is known to be exact, or (on 10x10) below -0.4977."""
    exact = known_energy(run.L, run.J2)
    assert run.energy / run.scale > (exact[0] if exact else -0.4977)
    assert run.file == f"checks/cost/results/h100-{run.file.split('-')[1]}-j1j2-{run.L**2}.json"


def test_what_was_not_run_is_said() -> None:
    """With the command that runs it, on either lattice, until there is an evaluated energy."""
    assert "Ours: " not in caption()
    assert pages.absent([]) == ["6x6", "10x10"]
    absent = [row for row in rows(0) if row["program"] == "qmcbench"]
    assert [row["lattice"] for row in absent] == ["6x6", "10x10"]
    assert all(row["E/N"] == Cell("not run", "absent") for row in absent)
    run = Run(job="transfer", profile="leaderboard", provenance=MADE, records=(TRAINED, SIX))
    six, ten = [row for row in rows(0, run) if str(row["program"]).startswith("qmcbench")]
    assert (six["E/N"], six["seconds"], six["steps"]) == ("-0.50246(3)", "4,100", "2,000")
    assert (six["samples a step"], six["evaluated"]) == ("4,096", "131,072")
    assert ten["E/N"] == Cell("not run", "absent")
    assert len(pages.chapters([run])[0].sections[0].tables) == 1
    assert pages.absent([run]) == ["10x10"]
    assert "single precision" in caption(run)
    assert "without program starts, warm-up and trial networks" in caption(run)


def test_other_energies_stand_apart() -> None:
    """Those of other profiles are not of the protocol; one that is not to be trusted is nowhere."""
    run = Run(job="reproduce", profile="cpu", provenance=MADE, records=(TRAINED, SIX, replace(SIX, r_hat=1.5)))
    (other,) = rows(1, run)
    assert other["source"] == "reproduce cpu, 6x6"
    assert len([row for row in rows(0, run) if row["E/N"] == Cell("not run", "absent")]) == 2


def test_the_plan_keeps_to_the_protocol() -> None:
    """Steps, samples a step, samples of the evaluation, learning rate in units of S.S, and the lattices."""
    common, plan = leaderboard.protocol(), load_profile("leaderboard", kind="transfer")
    for run in plan.runs:
        sampling, optimizer = run.config.sampling, run.config.optimizer
        assert (optimizer.steps, sampling.chains) == (common.steps, common.samples)
        assert run.evaluation.chains * run.evaluation.samples == common.evaluation
        assert optimizer.learning_rate(1000) == pytest.approx(4 * 0.01)
        assert (optimizer.metric, optimizer.shift(0)) == ("diagonal", 0.01)
        assert optimizer.solver == "sample_space_float32"  # as the book's caption says
        assert (optimizer.momentum, sampling.alpha, run.start, run.config.sampling.gap) == (0.0, 2.0, None, None)
    lattices = [(run.config.model.L, run.config.model.J2) for run in plan.runs]
    assert lattices == list(dict.fromkeys((each.L, each.J2) for each in leaderboard.runs()))
