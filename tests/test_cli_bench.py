"""``qmcbench bench``: what it runs, prints and keeps, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qmcbench.bench import asv_run, growth, worker
from qmcbench.cli import bench as cli_bench
from qmcbench.cli.main import USAGE_ERROR, app
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Serial
from qmcbench.report.bench import pages as report

CHECKOUT = Path(__file__).parents[1]


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


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of one process are done in this one, which is faster; and of the curves of growth only one."""

    def work(ranks: int | None, job: dict[str, Any], timeout: float, **others: Any) -> dict[str, Any]:
        assert ranks is None
        return worker.work(Serial(), json.dumps(job))

    monkeypatch.setattr(launch, "run", work)
    monkeypatch.setattr(growth, "QUICK", growth.QUICK[:1])


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that run, in their order; they and the report do nothing."""
    called: list[str] = []
    for name, part in cli_bench.PARTS.items():
        fake = part._replace(run=lambda options, name=name: called.append(name) or [], check=lambda options: None)
        monkeypatch.setitem(cli_bench.PARTS, name, fake)
    monkeypatch.setattr(report, "refresh", lambda out: [out / "index.html"])
    return called


@pytest.mark.usefixtures("in_process")
def test_every_quick_part_and_a_report(tmp_path: Path) -> None:
    """One file with each part and its provenance, a table of each, and a report; a later call replaces its own."""
    parts = ["limits", "hotpath", "hotspots", "speedup", "growth"]
    result = run(*parts, "--quick", "-q", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    for shown in ("attainable", "of sgemm", "86.1", "speedup of one", "exponent"):  # 86.1: the paper's Conv2D
        assert shown in result.stdout
    assert result.stdout.splitlines()[-1] == f"report: {tmp_path / 'index.html'}"
    assert (tmp_path / "index.html").is_file()
    first = json.loads((tmp_path / "bench.json").read_text())
    assert list(first) == ["format", *parts]
    assert {first[part]["quick"] for part in parts} == {True}
    assert {first[part]["provenance"]["command"].split()[0] for part in parts} == {"qmcbench"}
    assert first["hotspots"]["results"]["network"] == "small"
    rows = first["speedup"]["results"]
    assert {row["batch"] for row in rows if row["operation"] == "forward"} == {8, 32}
    for row in rows:
        assert row["speedup"] == pytest.approx(row["scalar_s"] / row["all_cores_s"])

    again = run("hotspots", "--quick", "-q", "--out", tmp_path)
    assert again.exit_code == 0, again.output
    assert "attainable" not in again.stdout
    second = json.loads((tmp_path / "bench.json").read_text())
    assert {name for name in first if first[name] != second[name]} == {"hotspots"}


def test_all_but_peers_by_default(tmp_path: Path, recorded: list[str]) -> None:
    """In the order of the help; named ones run in the order given, each once."""
    assert run("--out", tmp_path).exit_code == 0
    assert recorded == ["limits", "hotpath", "hotspots", "speedup", "growth", "suite"]
    recorded.clear()
    assert run("growth", "limits", "growth", "--out", tmp_path).exit_code == 0
    assert recorded == ["growth", "limits"]


def test_interrupted(tmp_path: Path, recorded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished before Ctrl-C is in the file, and the message says what is, and how to get the rest."""

    def interrupt(options: cli_bench.Options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli_bench.PARTS, "growth", cli_bench.PARTS["growth"]._replace(run=interrupt))
    with pytest.raises(Interrupted, match="in growth; finished and kept: limits, hotpath") as stop:
        run("limits", "hotpath", "growth", "hotspots", "--out", tmp_path)
    assert f"`qmcbench bench growth hotspots --out {tmp_path}`" in str(stop.value)
    assert list(json.loads((tmp_path / "bench.json").read_text())) == ["format", "limits", "hotpath"]
    assert recorded == ["limits", "hotpath"]


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
    result = run("suite", "--quick", "-q", "--only", "Solve", "--checkout", checkout, "--out", out)
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
        run("suite", "-q", "--checkout", checkout, "--out", tmp_path / "out")


def test_mistakes_are_found_before_anything_is_timed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is none, an option of another, no checkout, checkpoint or asv, a file not ours: nothing is made."""
    out = tmp_path / "out"
    for arguments, message in (
        (["limits", "x"], "'x' is not one of limits, hotpath"),
        (["limits", "--only", "Solve"], "--only is for the part suite, which is not among limits"),
        (["--peers-python", "python"], "--peers-python is for the part peers"),
    ):
        with pytest.raises(USAGE_ERROR, match=message):
            CliRunner().invoke(
                app, ["bench", *arguments, "--out", str(out)], standalone_mode=False, catch_exceptions=False
            )
    with pytest.raises(UserError, match="part of a git checkout"):
        run("--checkout", tmp_path, "--out", out)
    with pytest.raises(UserError, match=r"none\.safetensors"):
        run("limits", "hotpath", "--checkpoint", tmp_path / "none.safetensors", "--out", out)
    monkeypatch.setattr(asv_run, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"qmcbench\[bench\]"):
        run("--checkout", checkout, "--out", out)
    assert not out.exists()
    out.mkdir()
    for content, message in (("{", "cannot be read"), ("{}", "not of the format"), ("[]", "not of the format")):
        (out / "bench.json").write_text(content)
        with pytest.raises(UserError, match=message):
            run("hotspots", "--quick", "--out", out)


@pytest.fixture
def peers_python(tmp_path: Path) -> Path:
    """An interpreter that says it has the peers, and then cannot run them."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "no jax here" >&2\nexit 3\n')
    path.chmod(0o755)
    return path


def test_peers_that_do_not_run(peers_python: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It says why in one sentence, and so does the command; it takes the quick sizes, and tries both our solvers."""
    out = tmp_path / "out"
    with pytest.raises(UserError, match="comparison with peers ended with exit status 1"):
        run("peers", "--quick", "--checkout", CHECKOUT, "--peers-python", peers_python, "--out", out)
    said = capfd.readouterr()
    assert "error: no configuration of netket ran: exit status 3: no jax here\n" in said.err
    assert "Traceback" not in said.err
    assert not (out / "bench.json").exists()
    jobs = [json.loads(path.read_text())["job"] for path in (out / "trials").iterdir()]
    assert {job["configuration"]["solver"] for job in jobs} == {"sample_space", "sample_space_float32"}
    for job in jobs:
        assert (job["model"], job["L"], job["samples"]) == ("small", 4, 64)
        assert job["threads"] == len(os.sched_getaffinity(0))


def test_peers_are_reported(
    peers_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Their file is the comparison's own; bench.json is not touched, and the report is made with what it says."""
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    script = checkout / cli_bench.COMPARISON
    script.parent.mkdir(parents=True)
    script.write_text("import pathlib, sys\nprint(sys.argv[1:])\npathlib.Path(sys.argv[4], 'peers.json').touch()\n")
    found: list[bool] = []
    monkeypatch.setattr(
        report, "refresh", lambda out: found.append((out / "peers.json").exists()) or [out / "index.html"]
    )
    result = run("peers", "-q", "--checkout", checkout, "--peers-python", peers_python, "--out", out)
    assert result.exit_code == 0
    assert found == [True]
    assert not (out / "bench.json").exists()
    assert capfd.readouterr().out.startswith(str(["--peers-python", str(peers_python), "--out", str(out), "--quiet"]))


def test_peers_that_are_there_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real interpreter that finds both passes the check: with one of them it does not."""
    for name in cli_bench.PEERS:
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = cli_bench.Options(tmp_path, True, True, None, CHECKOUT, sys.executable, None, None)
    cli_bench._check_peers(options)
    (tmp_path / "quantax.py").unlink()
    with pytest.raises(UserError, match=r"lacks what is compared .quantax."):
        cli_bench._check_peers(options)


def test_mistakes_with_peers(peers_python: Path, tmp_path: Path) -> None:
    """No interpreter, one that is none, one without the peers, no checkout: a sentence that says what to do."""
    out, bare = tmp_path / "out", tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # no installed packages
    bare.chmod(0o755)
    for arguments, message in (
        ([], r"peers/bin/pip install \"netket==3\.23\.\*\" \"quantax==0\.4\.\*\""),
        (["--peers-python", tmp_path / "none"], "cannot be started .No such file"),
        (["--peers-python", bare], "lacks what is compared .netket and quantax"),
    ):
        with pytest.raises(UserError, match=message):
            run("limits", "peers", *arguments, "--checkout", CHECKOUT, "--out", out)
    with pytest.raises(UserError, match="part of a checkout"):
        run("peers", "--peers-python", peers_python, "--checkout", tmp_path, "--out", out)
    assert not out.exists()
