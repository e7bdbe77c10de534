"""``qmcbench scale``: what it asks of the measurements, what it prints, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qmcbench.bench import scaling
from qmcbench.cli.main import USAGE_ERROR, app
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.report.document import Verdict
from qmcbench.report.scaling import pages as report


def run(*arguments: object) -> str:
    """Standard output of a command that succeeds."""
    result = CliRunner().invoke(app, ["scale", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose report is asked for; none is made."""
    folders: list[Path] = []

    def record(out: Path) -> Verdict:
        folders.append(out)
        return Verdict("3 of 4 checks met", False, [], [])

    monkeypatch.setattr(report, "refresh", record)
    return folders


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the measurements are called with; nothing is run."""
    calls: dict[str, Any] = {}
    for kind in ("strong", "weak"):

        def record(out: Path, kind: str = kind, **settings: Any) -> dict[str, Any]:
            calls[kind] = {"out": out, **settings}
            return {"runs": [], "not_run": []}

        monkeypatch.setattr(scaling, kind, record)
    return calls


def test_options_reach_the_measurement(asked: dict[str, Any]) -> None:
    """Each option under the name that it has there, repeated ones as lists; those not given are left to defaults."""
    text = "--parameters 9 --parameters 8 --samples 7 --ranks 2 --grid 1x2 --grid 2x1 --block 6 --block 5"
    text += " --product pdsyrk --redistribution alltoall --space samples --repeats 4 --out x -q"
    run("strong", *text.split())
    command = asked["strong"].pop("command")
    assert command.split()[0] == "qmcbench"
    assert asked["strong"] == {
        "out": Path("x"),
        "parameters": [9, 8],
        "samples": 7,
        "ranks": [2],
        "grids": [(1, 2), (2, 1)],
        "blocks": [6, 5],
        "products": ["pdsyrk"],
        "redistributions": ["alltoall"],
        "space": "samples",
        "repeats": 4,
        "quiet": True,
    }
    text = "--L 4 --L 6 --ranks 3 --network large --symmetry C4 --solver dense --chains 5 --steps 2 --block 9"
    run("weak", *text.split(), "--product", "pdsyrk", "--redistribution", "alltoall", "--out", "y")
    del asked["weak"]["command"]
    assert asked["weak"] == {
        "out": Path("y"),
        "sizes": [4, 6],
        "ranks": [3],
        "network": "large",
        "symmetries": ["C4"],
        "solver": "dense",
        "chains": 5,
        "steps": 2,
        "block": 9,
        "product": "pdsyrk",
        "redistribution": "alltoall",
        "quiet": False,
    }


def test_quick_may_be_changed(asked: dict[str, Any]) -> None:
    """Its sizes, except for what was given."""
    run("strong", "--quick", "--ranks", 4, "--out", "x")
    assert {name: asked["strong"][name] for name in scaling.QUICK_STRONG} == scaling.QUICK_STRONG | {"ranks": [4]}
    run("weak", "--quick", "--out", "x")
    assert {name: asked["weak"][name] for name in scaling.QUICK_WEAK} == scaling.QUICK_WEAK


def test_strong_prints_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: list[Path]) -> None:
    """One line a run with rates and fractions, what was not run and why, and where the rest is."""

    def answer(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        if ranks == 4:
            return {"not_run": "4 ranks would need more than there is."}
        times = {"redistribution": 0.25, "product": 8.0, "factorisation": 4.0, "solves": 0.5, "total": 12.75}
        phases: dict[str, Any] = {name: {"median_s": seconds / ranks} for name, seconds in times.items()}
        for name in ("product", "factorisation"):
            phases[name] |= {"GFs": 10.0 * ranks, "fraction_of_dgemm": 0.75}
        return {"phases": phases, "dgemm": {"GFs_per_rank": 40.0}, "oversubscribed": ranks == 2}

    monkeypatch.setattr(launch, "run", answer)
    lines = run("strong", "--parameters", 3531, "--out", tmp_path, "--quiet").splitlines()
    names = "parameters samples ranks grid block routines data product GF/s of dgemm pdpotrf GF/s of dgemm"
    assert lines[0].replace(" s ", " ").split() == [*names.split(), "solves", "total", "speedup"]
    shared = "3531 2560 {} 128 pdgemr2d, pdgemm "
    one, two = (" ".join(line.split()) for line in lines[2:4])
    assert one == shared.format("1 1x1") + "0.25 8 10.0 0.75 4 10.0 0.75 0.5 12.8 1.00"
    assert two == shared.format("2 1x2") + "0.125 4 20.0 0.75 2 20.0 0.75 0.25 6.38 2.00 more ranks than cores"
    assert lines[4].startswith("not run: 3531 parameters, 4 ranks (2x2), block 128, pdgemm: 4 ranks would need more")
    assert lines[-2] == f"medians; all times: {tmp_path / 'strong.json'}"
    assert lines[-1] == f"3 of 4 checks met; report: {tmp_path / 'index.html'}"
    assert reported == [tmp_path]
    assert len(json.loads((tmp_path / "strong.json").read_text())["runs"]) == 2


def test_weak_prints_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times, efficiency against one rank, overhead."""

    def answer(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        times = {"mc": 4.0 + ranks, "sr": 2.0, "iteration": 8.0}
        found: dict[str, Any] = {name: {"median_s": seconds} for name, seconds in times.items()}
        return found | {"samples": 16 * ranks, "overhead": 0.25, "samples_per_second": 2.0, "oversubscribed": False}

    monkeypatch.setattr(launch, "run", answer)
    lines = run("weak", "--L", 10, "--symmetry", "C4", "--out", tmp_path, "--quiet").splitlines()
    rows = [line.split() for line in lines[2:4]]
    run_ = ["10x10", "medium", "C4", "scalapack"]
    assert rows == [
        [*run_, "1", "16", "5", "1.000", "2", "8", "0.250", "2.0"],
        [*run_, "2", "32", "6", "0.833", "2", "8", "0.250", "2.0"],
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("strong", "--grid", "4"), "'4' is not rows x columns, such as 2x4"),
        (("strong", "--grid", "2x-2"), "'2x-2' is not rows x columns"),
        (("strong", "--grid", "3x3"), "The grid 3x3 is for 9 ranks"),
        (("strong", "--product", "dgemm"), "'dgemm' is not one of pdsyrk, pdgemm"),
        (("strong", "--ranks", "-1"), "ranks = -1: give numbers of at least 1"),
        (("weak", "--L", "5"), "L = 5 is odd"),
        (("weak", "--solver", "guess"), "optimizer.solver = 'guess' is not one of"),
        (("weak", "--steps", "0"), "steps = 0: give numbers of at least 1"),
        (("weak", "--chains", "1"), r"sampling.chains = 1 is outside \[2"),
    ],
)
def test_wrong_options(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """One sentence each, before anything is started."""
    with pytest.raises((UserError, USAGE_ERROR), match=words):
        app(["scale", *arguments, "--out", str(tmp_path / "x")], standalone_mode=False)


@pytest.mark.parametrize("command", [[], ["strong"], ["weak"]])
def test_help_has_an_example(command: list[str]) -> None:
    """Every --help shows how the command is called."""
    assert "qmcbench scale" in run(*command, "--help")
