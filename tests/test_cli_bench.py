"""``qmcbench bench``: what it runs, prints and keeps, and what it refuses."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qmcbench.bench import asv_run
from qmcbench.cli import USAGE_ERROR, app
from qmcbench.errors import UserError


def run(*arguments: object) -> Result:
    """The command, whatever it ends with."""
    return CliRunner().invoke(app, ["bench", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with the suite's configuration, and one commit."""
    folder = tmp_path / "checkout"
    (folder / "benchmarks").mkdir(parents=True)
    source = Path(__file__).parents[1] / "benchmarks" / "asv.conf.json"
    (folder / "benchmarks" / "asv.conf.json").write_bytes(source.read_bytes())
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def test_hotspots_and_speedup(tmp_path: Path) -> None:
    """One file with both, each with its provenance; a later call adds to it and prints only its own part."""
    first = run("--quick", "-q", "--part", "hotspots", "--out", tmp_path)
    assert first.exit_code == 0, first.output
    assert "86.1" in first.stdout  # the paper's Conv2D
    assert "scalar" not in first.stdout
    second = run("--quick", "-q", "--part", "speedup", "--out", tmp_path)
    assert second.exit_code == 0, second.output
    assert "86.1" not in second.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    assert set(found) == {"format", "hotspots", "speedup"}
    assert {found[part]["quick"] for part in ("hotspots", "speedup")} == {True}
    assert {found[part]["provenance"]["command"].split()[0] for part in ("hotspots", "speedup")} == {"qmcbench"}
    assert found["hotspots"]["results"]["network"] == "small"
    rows = found["speedup"]["results"]
    assert {(row["batch"], row["operation"]) for row in rows if row["operation"] == "forward"} == {
        (8, "forward"),
        (32, "forward"),
    }
    for row in rows:
        assert row["speedup"] == pytest.approx(row["scalar_s"] / row["all_cores_s"])


def test_suite_is_run_and_summarised(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asv gets a configuration with absolute paths, the commit, a home of its own and the quick sizes."""
    calls: list[tuple[list[str], dict[str, Any]]] = []
    real = subprocess.run

    def record(command: list[str], **settings: Any) -> Any:
        if "asv" not in command:
            return real(command, **settings)
        calls.append((command, settings))
        return subprocess.CompletedProcess(command, 2 if "run" in command else 0)

    rows = [
        {"benchmark": "m.time_a", "parameters": {"system": "small-4"}, "unit": "seconds", "median": 0.125},
        {"benchmark": "m.time_b", "parameters": {}, "unit": "seconds", "not_run": "failed"},
    ]
    monkeypatch.setattr(asv_run.subprocess, "run", record)
    monkeypatch.setattr(asv_run, "read", lambda folder: rows)
    out = tmp_path / "out"
    result = run("--quick", "-q", "--part", "suite", "--only", "Solve", "--checkout", checkout, "--out", out)
    assert result.exit_code == 1
    assert "0.125 seconds" in result.stdout
    assert "failed: m.time_b" in result.stderr
    machine, suite = (command for command, _ in calls)
    assert "machine" in machine
    commit = real(
        ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert suite[suite.index("--set-commit-hash") + 1] == commit
    assert suite[suite.index("--bench") + 1] == "Solve"
    assert "--quick" in suite
    environment = calls[1][1]["env"]
    assert environment["QMCBENCH_BENCH"] == "quick"
    folder = out / "runs" / "asv"
    assert environment["HOME"] == str(folder)
    settings = json.loads((folder / "asv.conf.json").read_text())
    assert settings["benchmark_dir"] == str(checkout / "benchmarks" / "benchmarks")
    assert settings["repo"] == str(checkout)
    assert settings["results_dir"] == str(folder / "results")
    assert json.loads((out / "bench.json").read_text())["suite"]["results"] == rows


def test_asv_that_does_not_run(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other exit status than that of a failing benchmark is an error, with what to do."""
    real = subprocess.run
    monkeypatch.setattr(
        asv_run.subprocess,
        "run",
        lambda command, **settings: (
            subprocess.CompletedProcess(command, 1) if "asv" in command else real(command, **settings)
        ),
    )
    with pytest.raises(UserError, match="asv machine ended with exit status 1"):
        run("-q", "--part", "suite", "--checkout", checkout, "--out", tmp_path / "out")


def test_mistakes_are_found_before_anything_is_timed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is none, no checkout, no asv, and a file that is not ours: one sentence, and nothing is made."""
    out = tmp_path / "out"
    with pytest.raises(USAGE_ERROR, match="'x' is not one of hotspots"):
        CliRunner().invoke(
            app, ["bench", "--part", "x", "--out", str(out)], standalone_mode=False, catch_exceptions=False
        )
    with pytest.raises(UserError, match="part of a git checkout"):
        run("--checkout", tmp_path, "--out", out)
    monkeypatch.setattr(asv_run, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"qmcbench\[bench\]"):
        run("--checkout", checkout, "--out", out)
    assert not out.exists()
    out.mkdir()
    for content, message in (("{", "cannot be read"), ("{}", "not of the format")):
        (out / "bench.json").write_text(content)
        with pytest.raises(UserError, match=message):
            run("--quick", "--part", "hotspots", "--out", out)
