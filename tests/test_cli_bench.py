"""``qmcbench bench``: what it runs, prints and keeps, and what it refuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.benches import peers as comparison
from helpers.benches import save
from typer.testing import CliRunner, Result

from qmcbench.bench import asv_run, growth, hotpath, parts, peers, speedup, worker
from qmcbench.bench.names import PEERS
from qmcbench.bench.parts import PARTS
from qmcbench.cli.main import USAGE_ERROR, app
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Serial
from qmcbench.report import book
from qmcbench.report.document import Chapter, Judgement
from qmcbench.store import jsonl
from qmcbench.store.bench import AsvBenchmark, PeerTrial, Rate, Share, WorkTime
from qmcbench.store.records import Run

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
    """Jobs of one process are done in this one, on one core, which is faster; and of growth only one curve."""

    def work(ranks: int | None, job: dict[str, Any], timeout: float, **others: Any) -> dict[str, Any]:
        assert ranks is None
        return worker.work(Serial(), json.dumps(job))

    monkeypatch.setattr(launch, "run", work)
    monkeypatch.setattr(growth, "QUICK", growth.QUICK[2:3])
    for module in (hotpath, speedup):
        monkeypatch.setattr(module, "available_cores", lambda: 1)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that run, in their order; they and the report do nothing."""
    called: list[str] = []
    for name, part in PARTS.items():
        fake = replace(part, measure=lambda request, name=name: called.append(name) or (), check=lambda request: None)
        monkeypatch.setitem(PARTS, name, fake)
    chapter = Chapter("bench", "Bench", Judgement("nothing", True, [], []), [])
    monkeypatch.setattr(book, "report", lambda folders, out: [chapter])
    return called


def stored(out: Path) -> list[str]:
    """Parts in the store of a folder."""
    return sorted(path.stem for path in (out / "records").iterdir())


def load(out: Path, name: str) -> Run:
    """A part that is there."""
    found = jsonl.load(out, name)
    assert found is not None
    return found


@pytest.mark.usefixtures("in_process")
def test_every_quick_part_and_a_report(tmp_path: Path) -> None:
    """A file of each part with its provenance, its tables, and a report; a later call replaces its own."""
    names = ["limits", "hotpath", "hotspots", "speedup", "growth"]
    result = run(*names, "--quick", "-q", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    for shown in ("attainable", "of sgemm", "86.1", "speedup of one core", "exponent"):  # 86.1: the paper's Conv2D
        assert shown in result.stdout
    # What is printed is what the report has.
    table = result.stdout.split("Rates of this machine\n")[1].split("\n\n")[0]
    cells = [line.split("  ")[0].strip() for line in table.splitlines()[2:]]
    assert all(f"| {cell} " in (tmp_path / "report.md").read_text() for cell in cells)
    assert result.stdout.splitlines()[-1] == f"report: {tmp_path / 'index.html'}"
    assert (tmp_path / "index.html").is_file()
    assert stored(tmp_path) == sorted(names)
    first = {name: load(tmp_path, name) for name in names}
    assert {each.quick for each in first.values()} == {True}
    assert [each.job for each in first.values()] == [f"bench {name}" for name in names]
    assert {each.provenance.command.split()[0] for each in first.values()} == {"qmcbench"}
    assert all(each.seconds and each.seconds > 0 for each in first.values())
    assert {share.network for share in first["hotspots"].of(Share)} == {"small"}
    assert {rate.operation for rate in first["limits"].of(Rate)} == {"sgemm", "dgemm", "bf16 gemm", "copy"}
    passes = [each for each in first["speedup"].of(WorkTime) if each.work == "forward"]
    assert [each.batch for each in passes] == [8, 8, 8, 32, 32, 32]

    again = run("hotspots", "--quick", "-q", "--out", tmp_path)
    assert again.exit_code == 0, again.output
    assert "attainable" not in again.stdout
    assert {name for name in names if load(tmp_path, name) != first[name]} == {"hotspots"}


def test_all_but_peers_by_default(tmp_path: Path, recorded: list[str]) -> None:
    """In the order of the help; named ones run in the order given, each once."""
    assert run("--out", tmp_path).exit_code == 0
    assert recorded == ["limits", "hotpath", "hotspots", "speedup", "growth", "suite"]
    recorded.clear()
    assert run("growth", "limits", "growth", "--out", tmp_path).exit_code == 0
    assert recorded == ["growth", "limits"]


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_interrupted(tmp_path: Path, recorded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished before Ctrl-C is in the store, and the message says what is, and how to get the rest."""
    monkeypatch.setitem(PARTS, "growth", replace(PARTS["growth"], measure=_interrupt))
    with pytest.raises(Interrupted, match="in growth; finished and kept: limits, hotpath") as stop:
        run("limits", "hotpath", "growth", "hotspots", "--out", tmp_path)
    assert f"`qmcbench bench growth hotspots --out {tmp_path}`" in str(stop.value)
    assert stored(tmp_path) == ["hotpath", "limits"]
    assert recorded == ["limits", "hotpath"]


@pytest.mark.usefixtures("recorded")
def test_interrupted_in_the_last_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All has been measured then, and only the report is to be made."""
    monkeypatch.setattr(book, "report", _interrupt)
    with pytest.raises(Interrupted, match="in the report; finished and kept: limits") as stop:
        run("limits", "--out", tmp_path)
    assert f"`qmcbench report {tmp_path} --out {tmp_path}` does the rest" in str(stop.value)


def test_suite_is_run_and_summarised(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asv gets a configuration with absolute paths, the commit, a list of machines of its own and the quick sizes."""
    calls: list[tuple[list[str], dict[str, Any]]] = []
    real = subprocess.run

    def record(command: list[str], **settings: Any) -> Any:
        if asv_run.LAUNCH not in command:
            return real(command, **settings)
        calls.append((command, settings))
        return subprocess.CompletedProcess(command, 2 if "run" in command else 0)

    rows = (
        AsvBenchmark(value=0.125, unit="s", benchmark="m.time_a", parameters={"system": "small-4"}),
        AsvBenchmark(value=None, unit="s", benchmark="m.time_b", parameters={}, failed=True, not_run="failed"),
    )
    monkeypatch.setattr(asv_run.subprocess, "run", record)
    monkeypatch.setattr(asv_run, "read", lambda folder: rows)
    out = tmp_path / "out"
    result = run("suite", "--quick", "-q", "--only", "Solve", "--checkout", checkout, "--out", out)
    assert result.exit_code == 1
    assert "125 ms" in result.stdout
    assert "failed: m.time_b" in result.stderr
    machine, suite = (command for command, _ in calls)
    assert "machine" in machine
    commit = real(
        ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert suite[suite.index("--set-commit-hash") + 1] == commit
    assert suite[suite.index("--bench") + 1] == "Solve"
    assert "--quick" in suite
    folder = out / "runs" / "asv"
    for command, options in calls:
        assert str(folder / "machines.json") in command
        own = {"QMCBENCH_BENCH": "quick", "PYTHONDONTWRITEBYTECODE": "1"}
        assert options["env"] == os.environ | own
    settings = json.loads((folder / "asv.conf.json").read_text())
    assert settings["benchmark_dir"] == str(checkout / "benchmarks" / "benchmarks")
    assert settings["repo"] == str(checkout)
    assert settings["results_dir"] == str(folder / "results")
    assert load(out, "suite").records == rows


def test_asv_leaves_the_home_folder_alone(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real asv keeps its machines beside its results, and everybody still finds the user's git configuration.

    The only benchmark of this checkout passes where git knows the user's name, as it stands in the home folder.
    """
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = Somebody\n")
    monkeypatch.setenv("HOME", str(home))
    for name in ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    own = checkout / "benchmarks" / "benchmarks"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "git.py").write_text(
        "import subprocess\n\n\ndef track_name():\n"
        "    return len(subprocess.run(['git', 'config', 'user.name'], capture_output=True, check=True).stdout)\n"
    )
    result = run("suite", "--quick", "-q", "--checkout", checkout, "--out", out)
    assert result.exit_code == 0, capfd.readouterr().err
    (row,) = load(out, "suite").of(AsvBenchmark)
    assert (row.benchmark, row.value, row.failed) == ("git.track_name", len("Somebody\n"), False)
    assert "this" in json.loads((out / "runs" / "asv" / "machines.json").read_text())
    assert [path.name for path in home.iterdir()] == [".gitconfig"]


def test_asv_that_does_not_run(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other exit status than that of a failing benchmark is an error, with what to do."""
    real = subprocess.run
    monkeypatch.setattr(
        asv_run.subprocess,
        "run",
        lambda command, **settings: (
            subprocess.CompletedProcess(command, 1) if asv_run.LAUNCH in command else real(command, **settings)
        ),
    )
    with pytest.raises(UserError, match="asv machine ended with exit status 1"):
        run("suite", "-q", "--checkout", checkout, "--out", tmp_path / "out")


def test_mistakes_are_found_before_anything_is_timed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is none, an option of another, no checkout, checkpoint or asv, a bad record: nothing is made."""
    out = tmp_path / "out"
    for arguments, message in (
        (["limits", "x"], "'x' is not one of limits, hotpath"),
        (["limits", "--only", "Solve"], "--only is for the part optimisers, suite or accuracy, which"),
        (["--peers-python", "python"], "--peers-python is for the part peers or accuracy"),
        (["peers", "--limit", "5"], "--limit is for the part accuracy, which is not among peers"),
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
    (out / "records").mkdir(parents=True)
    monkeypatch.setattr(parts, "_with_bar", lambda *_, **__: pytest.fail("measured"))
    for content, message in (("{", "is not valid JSON"), ("{}", "is of the format 'None'"), ("[]", "is no object")):
        (out / "records" / "limits.jsonl").write_text(content)
        with pytest.raises(UserError, match=rf"limits\.jsonl.*{message}"):
            run("hotspots", "--quick", "--out", out)


@pytest.mark.usefixtures("recorded")
def test_a_damaged_part_can_be_measured_again(tmp_path: Path) -> None:
    """What is to be replaced need not be readable."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "limits.jsonl").write_text("{")
    assert run("limits", "--out", tmp_path).exit_code == 0
    assert load(tmp_path, "limits").records == ()


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
    assert not (out / "records").exists()
    kept = jsonl.find([out / "trials"])
    trials = [trial for each in kept for trial in each.of(PeerTrial)]
    assert {trial.configuration["solver"] for trial in trials} == {"sample_space", "sample_space_float32"}
    cores = len(os.sched_getaffinity(0))
    assert {(each.network, each.L, each.samples, each.threads) for each in trials} == {("small", 4, 64, cores)}


def test_peers_are_reported(peers_python: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Their records are the comparison's own, and the report is made with what they say."""
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    script = checkout / peers.COMPARISON
    script.parent.mkdir(parents=True)
    save(tmp_path / "made", {"peers": comparison(netket=6.25)})
    script.write_text(
        "import shutil, sys\nprint(sys.argv[1:])\n"
        f"shutil.copytree({str(tmp_path / 'made' / 'records')!r}, sys.argv[4] + '/records')\n"
    )
    result = run("peers", "-q", "--checkout", checkout, "--peers-python", peers_python, "--out", out)
    assert result.exit_code == 0
    assert "6.25 (5.00..7.81)" in result.stdout
    assert "7 checks passed" in result.stdout
    assert stored(out) == ["peers"]
    assert capfd.readouterr().err.startswith(str(["--peers-python", str(peers_python), "--out", str(out), "--quiet"]))


def test_peers_that_are_there_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real interpreter that finds both passes the check: with one of them it does not."""
    for name in PEERS:
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    peers.check(CHECKOUT, sys.executable)
    (tmp_path / "quantax.py").unlink()
    with pytest.raises(UserError, match=r"lacks what is compared .quantax."):
        peers.check(CHECKOUT, sys.executable)


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
