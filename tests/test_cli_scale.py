"""``qmcbench scale``: what it asks of the measurements, what it prints, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import strong_run, weak_run
from typer.testing import CliRunner

from qmcbench.bench import scaling
from qmcbench.bench.scaling import StrongRequest, WeakRequest
from qmcbench.cli import scale
from qmcbench.cli.main import USAGE_ERROR, app
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.store import jsonl
from qmcbench.structure import unstructure


def run(*arguments: object) -> str:
    """Standard output of a command that succeeds."""
    result = CliRunner().invoke(app, ["scale", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the measurements are called with; nothing is run, and no report is made."""
    calls: dict[str, Any] = {}
    for kind in ("strong", "weak"):

        def record(request: object, out: Path, kind: str = kind, **settings: Any) -> None:
            calls[kind] = request, out, settings

        monkeypatch.setattr(scaling, kind, record)
    monkeypatch.setattr(scale, "_report", lambda *_: None)
    return calls


def test_options_reach_the_measurement(asked: dict[str, Any]) -> None:
    """Each option under the name that it has there, repeated ones as lists; those not given are left to defaults."""
    text = "--parameters 9 --parameters 8 --samples 7 --ranks 2 --grid 1x2 --grid 2x1 --block 6 --block 5"
    text += " --product pdsyrk --redistribution alltoall --space samples --repeats 4 --out x -q"
    run("strong", *text.split())
    request, out, settings = asked["strong"]
    assert settings.pop("command").split()[0] == "qmcbench"
    assert (out, settings) == (Path("x"), {"quiet": True})
    assert request == StrongRequest(
        parameters=[9, 8],
        samples=7,
        ranks=[2],
        grids=[(1, 2), (2, 1)],
        blocks=[6, 5],
        products=["pdsyrk"],
        redistributions=["alltoall"],
        space="samples",
        repeats=4,
    )
    text = "--L 4 --L 6 --ranks 3 --network large --symmetry C4 --solver dense --chains 5 --steps 2 --block 9"
    run("weak", *text.split(), "--product", "pdsyrk", "--redistribution", "alltoall", "--out", "y")
    request, out, settings = asked["weak"]
    assert (out, settings["quiet"]) == (Path("y"), False)
    assert request == WeakRequest(
        sizes=[4, 6],
        ranks=[3],
        network="large",
        symmetries=["C4"],
        solver="dense",
        chains=5,
        steps=2,
        block=9,
        product="pdsyrk",
        redistribution="alltoall",
    )


def test_quick_may_be_changed(asked: dict[str, Any]) -> None:
    """Its sizes, except for what was given."""
    run("strong", "--quick", "--ranks", 4, "--out", "x")
    assert asked["strong"][0] == replace(scaling.QUICK_STRONG, ranks=[4])
    run("weak", "--quick", "--out", "x")
    assert asked["weak"][0] == scaling.QUICK_WEAK
    run("weak", "--out", "x")
    assert asked["weak"][0] == WeakRequest()


def test_strong_prints_the_report_s_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a run with times, rates and fractions, what was not run and why, and where the rest is."""

    def answer(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        if ranks == 4:
            why = "4 ranks would need more than there is."
            return unstructure(replace(strong_run(3531, 4), value=None, not_run=why, times=()))
        return unstructure(strong_run(3531, ranks, oversubscribed=ranks == 2))

    monkeypatch.setattr(launch, "run", answer)
    lines = run("strong", "--parameters", 3531, "--out", tmp_path, "--quiet").splitlines()
    assert lines[0] == "Seconds: 3,531 parameters, 2,560 samples, covariance"
    names = "ranks grid block routines redistribution product pdpotrf solves total min..max speedup note"
    assert lines[1].split() == names.split()
    one, two = (" ".join(line.split()) for line in lines[3:5])
    assert one == "1 1x1 128 pdgemr2d, pdgemm 2 8 16 1 27 24.3..29.7 1.00"
    assert two == "2 1x2 128 pdgemr2d, pdgemm 1 4 8 0.5 13.5 12.1..14.9 2.00 more ranks than cores"
    assert lines[6] == "Rates and memory: 3,531 parameters, 2,560 samples, covariance"
    text = "\n".join(lines)
    assert "3531 parameters, 4 ranks (2x2), block 128, pdgemm  4 ranks would need more than there is." in text
    assert "|" not in text
    # The residual is all that runs of this order decide.
    assert lines[-2].endswith(": 1 of 18 checks passed, 17 not measured")
    assert lines[-1] == f"report: {tmp_path / 'index.html'}"
    assert (tmp_path / "report.md").exists()
    assert len(jsonl.load(tmp_path, "strong").records) == 3


def test_weak_prints_the_report_s_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times, efficiency against one rank, overhead."""

    def answer(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        return unstructure(weak_run(10, ranks, symmetry="C4", mc=4.0 + 0.4 * (ranks - 1)))

    monkeypatch.setattr(launch, "run", answer)
    lines = run("weak", "--L", 10, "--symmetry", "C4", "--out", tmp_path, "--quiet").splitlines()
    assert lines[0] == "Iterations"
    rows = [line.split()[:12] for line in lines[3:5]]
    name = ["medium,", "10x10,", "C4", "scalapack"]
    assert rows == [
        [*name, "1", "16", "4", "1.000", "0.000", "1", "5", "5..5"],
        [*name, "2", "32", "4.4", "0.909", "0.067", "1", "5", "5..5"],
    ]
    assert "Parts of an iteration" in lines
    assert lines[-2].endswith(": 1 of 18 checks passed, 17 not measured")


def test_failed_check_is_exit_status_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement is kept, and the sentence is on standard error."""
    answers = {1: strong_run(3531, residual=2e-9)}
    monkeypatch.setattr(launch, "run", lambda ranks, *_, **__: unstructure(answers[ranks]))
    command = ["scale", "strong", "--parameters", "3531", "--ranks", "1", "--out", str(tmp_path), "--quiet"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 1
    assert "failed: residual of the solves (exact): " in result.stderr
    assert jsonl.load(tmp_path, "strong").records == (answers[1],)


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


@pytest.mark.parametrize("command", [[], ["strong"], ["weak"]], ids=["scale", "strong", "weak"])
def test_help_has_an_example(command: list[str]) -> None:
    """Every --help shows how the command is called."""
    assert "qmcbench scale" in run(*command, "--help")
