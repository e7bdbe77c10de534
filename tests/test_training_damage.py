"""What happens to a run when its machine fails it: full disks, closed streams, lost logs, two at once, signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.command import called, one_sentence, shell, written

from qmcbench import checkpoint
from qmcbench.log import LOG, read_log
from qmcbench.ranks import launch
from qmcbench.training import CHECKPOINT


def trained(folder: Path, steps: int = 4) -> Path:
    """The folder of a finished run."""
    out = folder / "out"
    assert called("train", written(folder, steps), "--out", out, "-q").returncode == 0
    return out


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("blocks", [1, 20, 40])
def test_limit_on_file_sizes_is_one_sentence(tmp_path: Path, blocks: int) -> None:
    """``ulimit -f``: the checkpoint does not fit; nothing half written stays; without the limit the run goes on."""
    config, out = written(tmp_path, 6), tmp_path / "out"
    one_sentence(shell(f'ulimit -f {blocks}; qmcbench train "$1" --out "$2" -q', config, out), "File too large")
    assert names(out) == [LOG]
    assert all(line.endswith("}\n") for line in (out / LOG).read_text().splitlines(keepends=True))
    assert called("train", config, "--out", out, "-q").returncode == 0
    assert checkpoint.read(out / CHECKPOINT).state.step == len(read_log(out / LOG)) == 6


def test_standard_streams_may_be_closed_or_full(tmp_path: Path) -> None:
    """Without standard error a run ends well and its files hold no message; a full standard output is a sentence."""
    config = written(tmp_path, 4)
    closed = shell('qmcbench train "$1" --out "$2" 2>&- 0<&-', config, tmp_path / "a")
    assert (closed.returncode, closed.stderr) == (0, "")
    assert len(read_log(tmp_path / "a" / LOG)) == 4
    assert shell('qmcbench train "$1" --out "$2" 2>/dev/full', config, tmp_path / "a").returncode == 0
    one_sentence(shell('qmcbench train "$1" --out "$2" -q >/dev/full', config, tmp_path / "a"), "No space left")


def test_name_that_is_not_utf_8(tmp_path: Path) -> None:
    """A run can stand in such a folder; it is printed with escapes."""
    result = shell('qmcbench train "$1" --out "$2"/$\'caf\\xe9\' -q', written(tmp_path, 1), tmp_path)
    assert result.returncode == 0, result.stderr
    assert "caf\\udce9" in result.stdout
    assert names(Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))) == [CHECKPOINT, LOG]


def test_endless_configuration_is_refused(tmp_path: Path) -> None:
    """/dev/zero is read to a bound and no further."""
    one_sentence(called("train", "/dev/zero", "--out", tmp_path / "out"), "/dev/zero", "longer than")
    assert not (tmp_path / "out").exists()


def test_no_steps_say_what_is_true(tmp_path: Path) -> None:
    """``steps = 0`` stores the warmed-up start, which continues like a run that was never stopped."""
    out = tmp_path / "out"
    first = called("train", written(tmp_path, 0), "--out", out, "-q")
    assert first.returncode == 0
    assert f"0 of 0 steps done; checkpoint: {out / CHECKPOINT}" in first.stdout
    assert checkpoint.read(out / CHECKPOINT).state.step == 0
    for folder in (out, tmp_path / "whole"):
        assert called("train", written(tmp_path, 2), "--out", folder, "-q").returncode == 0
    logs = [[step.energy for step in read_log(folder / LOG)] for folder in (out, tmp_path / "whole")]
    assert logs[0] == logs[1]


def test_last_line_puts_no_energy_beside_the_checkpoint(tmp_path: Path) -> None:
    """The last energy in the log is of the parameters before the last update: it is not that of the checkpoint."""
    done = called("train", written(tmp_path, 2), "--out", tmp_path / "out", "-q").stdout
    assert "2 of 2 steps done" in done
    assert "E/N" not in done
    assert f"{read_log(tmp_path / 'out' / LOG)[-1].energy:.4f}" not in done


@pytest.mark.parametrize("loss", ["deleted", "cut", "of-another-run", "edited", "no-json"])
def test_log_and_checkpoint_are_held_against_each_other(tmp_path: Path, loss: str) -> None:
    """A log that lacks lines, or is not the run's, is named before anything is written; --restart begins anew."""
    out = trained(tmp_path, 4)
    log = out / LOG
    lines = log.read_text().splitlines(keepends=True)
    if loss == "deleted":
        log.unlink()
    elif loss == "cut":
        log.write_text("".join(lines[:2]))
    elif loss == "no-json":
        log.write_text("".join([*lines[:2], "{\n", *lines[3:]]))
    elif loss == "edited":
        log.write_text("".join(lines).replace('"restarted": 0', '"restarted": 1'))
    else:
        log.write_text("".join([lines[0], lines[0].replace('"step": 1', '"step": 2'), *lines[2:]]))
    before = (out / CHECKPOINT).read_bytes()
    result = called("train", written(tmp_path, 6), "--out", out, "-q")
    one_sentence(result, LOG, "JSON" if loss == "no-json" else "--restart")
    assert (out / CHECKPOINT).read_bytes() == before
    assert called("train", written(tmp_path, 4), "--out", out, "-q", "--restart").returncode == 0
    assert len(read_log(log)) == 4


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    """Three started at once: one runs, the others are told which process does; its log and checkpoint agree."""
    config, out = written(tmp_path, 100_000), tmp_path / "out"
    command = [sys.executable, "-P", "-m", "qmcbench", "train", str(config), "--out", str(out), "-q"]
    runs = [
        subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=launch.environment(1)
        )
        for _ in range(3)
    ]
    deadline = time.monotonic() + 100
    while (
        [run.poll() for run in runs].count(2) < 2 or not (out / LOG).exists() or "\n" not in (out / LOG).read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (winner,) = (run for run in runs if run.poll() is None)
    winner.terminate()
    said = [run.communicate(timeout=60)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [2, 2, 130]
    for text in said:
        assert "Traceback" not in text
    assert sum(f"in use: process {winner.pid} " in text for text in said) == 2
    assert checkpoint.read(out / CHECKPOINT).state.step == len(read_log(out / LOG)) > 0


def running(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A long run that has taken some steps."""
    out = folder / "out"
    command = [
        sys.executable,
        "-P",
        "-m",
        "qmcbench",
        "train",
        str(written(folder, 100_000)),
        "--out",
        str(out),
        "-q",
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=launch.environment(1))
    deadline = time.monotonic() + 100
    while not (out / LOG).exists() or (out / LOG).read_text().count("\n") < 4:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return run, out


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_saves_a_completed_step(tmp_path: Path, number: signal.Signals) -> None:
    """A closed terminal, or the end of a batch job's time: the last step is saved and one sentence says so."""
    run, out = running(tmp_path)
    run.send_signal(number)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert said.count("\n") == 1
    step = checkpoint.read(out / CHECKPOINT).state.step
    assert f"Stopped after step {step} of" in said
    assert len(read_log(out / LOG)) == step
    assert names(out) == [CHECKPOINT, LOG]


def test_interrupted_twice(tmp_path: Path) -> None:
    """A second Ctrl-C ends at once: 130 and one sentence."""
    run, out = running(tmp_path)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert said.count("\n") == 1
    assert "topped after step" in said or "nterrupted" in said
    assert names(out) == [CHECKPOINT, LOG]


def test_interrupted_outside_of_training(tmp_path: Path) -> None:
    """Ctrl-C in a command that saves nothing: 130 and one sentence, no traceback."""
    code = "import os, signal, sys; from qmcbench.cli import main as m; from qmcbench.reference import store\n"
    code += "import qmcbench.config as c; c.load = lambda path: os.kill(os.getpid(), signal.SIGINT)\n"
    code += f"sys.argv = ['qmcbench', 'train', 'x.toml', '--out', {str(tmp_path)!r}]; m.main()"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    one_sentence(result, "Interrupted", status=130)
