"""Tables of energies: wrong rows are found, published ones pass, and a mistake in the file is one sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qmcbench import reference
from qmcbench.cli.main import app
from qmcbench.errors import UserError
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.load import load
from qmcbench.gates.targets.target import Target

HEADER = ("L", "J2", "energy", "sigma", "variance", "samples", "method")
PUBLISHED = tuple(
    ClaimedEnergy(
        row=number,
        L=row.L,
        J2=row.J2,
        energy=row.energy,
        sigma=row.error,
        variance=row.variance,
        method=f"{row.kind}: {row.method}",
    )
    for number, row in enumerate(reference.published(), start=1)
)
RIGHT = tuple(row for row in PUBLISHED if row.sigma and row.L in (4, 6, 10))[::6][:20]
"""Twenty published rows with errors, on three lattices."""


def checks(target: Target, **plan: object) -> list[Check]:
    """All checks of the level."""
    return [check for each in outcomes(target, Plan(levels=["claims"], **plan)) for check in each.checks]  # type: ignore[arg-type]


def rows_by_verdict(target: Target, verdict: Verdict) -> dict[int, set[str]]:
    """Numbers of rows with a check of that verdict, and the gates that made them."""
    found: dict[int, set[str]] = {}
    for check in checks(target):
        if check.verdict is verdict and check.name.startswith("row "):
            found.setdefault(int(check.name.split()[1]), set()).add(check.gate)
    return found


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    """A table as a spreadsheet would write it."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, HEADER)
        table.writeheader()
        table.writerows(rows)
    return path


def table(folder: Path) -> Path:
    """Twenty right rows and three wrong ones, the last: 5 sigma below exact, Pauli units, a trace minimum."""
    right: list[dict[str, object]] = [
        {name: getattr(row, name) for name in HEADER if getattr(row, name) is not None} for row in RIGHT
    ]
    wrong: list[dict[str, object]] = [
        {"L": 6, "J2": 0.5, "energy": reference.exact(6, 0.5).energy - 5e-4, "sigma": 1e-4, "method": "CNN"},
        {"L": 4, "J2": 0.5, "energy": 4 * -0.5279, "sigma": 1e-4, "method": "RBM"},
        # The lowest of 2000 means of 1024 samples on 10x10, with the spread of the last ones as its error.
        {"L": 10, "J2": 0.5, "energy": -0.4978, "sigma": 1e-6, "variance": 0.0007, "samples": 1024, "method": "best"},
    ]
    return written(folder / "energies.csv", [*right, *wrong])


def test_three_planted_rows_are_found_and_twenty_right_ones_pass(tmp_path: Path) -> None:
    """Each wrong row fails at the gate that is meant for it; no right row fails or is undecided."""
    target = load(str(table(tmp_path)))
    assert len(target.energies) == 23
    assert rows_by_verdict(target, Verdict.FAIL) == {
        21: {"claims/variational"},
        22: {"claims/units", "claims/variational"},
        23: {"claims/error-bar"},
    }
    assert not rows_by_verdict(target, Verdict.INCONCLUSIVE)
    assert set(rows_by_verdict(target, Verdict.PASS)) >= set(range(1, 21))


def test_the_command_says_which_row_and_why(tmp_path: Path) -> None:
    """Exit status 1, the rows, the sentence about Pauli matrices, and JUnit XML with as many failures."""
    junit = tmp_path / "gates.xml"
    result = CliRunner().invoke(app, ["gate", str(table(tmp_path)), "-q", "--level", "claims", "--junit", str(junit)])
    assert result.exit_code == 1
    assert "4 times the exact energy: Pauli matrices?" in result.output
    assert "row 21 (6x6, J2 = 0.5)" in result.output
    assert "4 gates ran: 1 passed, 3 failed; 1 skipped" in result.output
    assert 'tests="5"' in junit.read_text()
    assert junit.read_text().count("<failure ") == 3


def test_published_energies_pass() -> None:
    """Of all published rows none fails but for an error bar that was not printed."""
    target = Target(name="published", energies=PUBLISHED)
    assert len(PUBLISHED) > 590
    found = checks(target)
    assert {check.gate for check in found if check.verdict is Verdict.FAIL} == {"claims/error-bar"}
    assert not [check for check in found if check.verdict is Verdict.INCONCLUSIVE]
    assert sum(check.gate == "claims/variance" and check.passed for check in found) > 200
    silent = [row for row in PUBLISHED if row.sigma is None]
    failed = rows_by_verdict(target, Verdict.FAIL)
    assert set(failed) <= {row.row for row in silent}


def claimed(**changes: object) -> Target:
    """One row of 6x6 at J2 = 0.5, right but for the changes."""
    exact = reference.exact(6, 0.5).energy
    row: dict[str, object] = {"L": 6, "J2": 0.5, "energy": exact + 1e-4, "sigma": 1e-5, "variance": 6e-4}
    return Target(name="one", energies=(ClaimedEnergy(row=1, **(row | changes)),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "gates"),
    [
        pytest.param({}, set(), id="right"),
        pytest.param({"samples": 200_000}, set(), id="right with samples"),
        pytest.param({"variance": 6e-4 * 36 * 4}, {"claims/variance"}, id="variance of the total"),
        pytest.param({"variance": 6e-7}, {"claims/variance"}, id="variance of a window"),
        pytest.param({"sigma": None}, {"claims/error-bar"}, id="no error bar"),
        pytest.param({"sigma": 1e-7, "samples": 10_000}, {"claims/error-bar"}, id="error too small"),
        pytest.param({"energy": -0.50361 * 36}, {"claims/units", "claims/variational"}, id="total energy"),
        pytest.param({"energy": -0.50361 / 4}, {"claims/units"}, id="divided by 4"),
        pytest.param({"energy": 0.5}, {"claims/units"}, id="wrong sign"),
        pytest.param({"method": "ED", "energy": -0.5036}, {"claims/exact"}, id="said to be exact"),
        pytest.param({"L": 10, "energy": -0.5005}, {"claims/variational"}, id="far below all that is published"),
        pytest.param({"L": 10, "energy": -0.4977, "variance": None}, set(), id="as the best that is published"),
    ],
)
def test_each_mistake_fails_at_its_gate(changes: dict[str, object], gates: set[str]) -> None:
    """A row with one mistake fails there; a right one nowhere."""
    failed = {check.gate for check in checks(claimed(**changes)) if check.verdict is Verdict.FAIL}
    # An energy of other units is no energy for its variance either.
    assert failed - ({"claims/variance"} if "claims/units" in gates else set()) == gates


def test_a_large_error_decides_nothing() -> None:
    """An energy with an error of 2e-3 is INCONCLUSIVE where 5e-3 must be seen, and not where 2e-2 is enough."""
    vague = claimed(sigma=2e-3)
    assert [check.verdict for check in checks(vague) if check.gate == "claims/variational"] == [Verdict.INCONCLUSIVE]
    wide = checks(vague, effects={"claims/variational": 2e-2})
    assert [check.verdict for check in wide if check.gate == "claims/variational"] == [Verdict.PASS]


def test_more_rows_need_more_sigmas() -> None:
    """The false-alarm rate is that of the table: 4 sigma are an alarm for one row, and none among 5000."""
    exact = reference.exact(4, 0.5).energy
    row = ClaimedEnergy(row=1, L=4, J2=0.5, energy=exact - 4e-4, sigma=1e-4)
    plan = Plan(only=["claims/variational"])
    for count, verdict in ((1, Verdict.FAIL), (5000, Verdict.PASS)):
        (outcome,) = outcomes(Target(name="rows", energies=(row,) * count), plan)
        assert {check.verdict for check in outcome.checks} == {verdict}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("a.csv", "L,J2\n4,0.5\n", ("no column 'energy'",), id="column missing"),
        pytest.param("a.csv", "L,J2,energy,error\n4,0.5,-0.5,1\n", ("'error'", "sigma"), id="unknown column"),
        pytest.param("a.csv", "L,J2,energy\n4,0.5,low\n", ("row 1", "energy = 'low'"), id="no number"),
        pytest.param("a.csv", "L,J2,energy\n4,0.5,nan\n", ("row 1", "not finite"), id="not finite"),
        pytest.param("a.csv", "L,J2,energy\n4,0.5\n", ("row 1", "cells"), id="cell missing"),
        pytest.param("a.csv", "L,J2,energy\n", ("no rows",), id="empty"),
        pytest.param("a.csv", "L,J2,energy,sigma\n4,0.5,-0.5,-1\n", ("sigma = -1",), id="negative error"),
        pytest.param("a.json", "[{}]", ("missing",), id="JSON lacks a key"),
        pytest.param("a.json", '[{"L": 4, "J2": 0.5, "E": -0.5}]', ("'E'", "energy"), id="JSON with an unknown key"),
        pytest.param("a.json", "{", ("not valid JSON",), id="no JSON"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, name: str, text: str, words: tuple[str, ...]) -> None:
    """What is wrong, and in which row."""
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        load(str(tmp_path / name))
    for word in words:
        assert word in str(caught.value)


def test_json_and_csv_are_the_same_table(tmp_path: Path) -> None:
    """Rows are read alike, optional cells left out."""
    rows: list[dict[str, object]] = [{"L": 4, "J2": 0.5, "energy": -0.528, "sigma": 1e-4, "method": "RBM"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert load(str(tmp_path / "a.json")).energies == load(str(written(tmp_path / "a.csv", rows))).energies
