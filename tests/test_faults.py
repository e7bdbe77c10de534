"""How jobs of several ranks end: stopped and stuck ranks, deaths while loading, too little shared memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from helpers import command, ranks

from qmcbench import checkpoint
from qmcbench.errors import UserError
from qmcbench.log import LOG
from qmcbench.ranks import early, faults, witness
from qmcbench.training import CHECKPOINT


def started(folder: Path, silence: str = "60") -> subprocess.Popen[str]:
    """A long run on 2 ranks, just started."""
    run = ranks.command(2, "-m", "qmcbench", "train", command.written(folder, 100_000), "--out", folder / "out", "-q")
    environment = ranks.environment() | {faults.SILENCE_VARIABLE: silence}
    return subprocess.Popen(run, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def process_of(job: subprocess.Popen[str], rank: int) -> psutil.Process:
    """The process of a rank as soon as it runs Python (and not yet its watching child)."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.Process(job.pid).children(recursive=True):
            try:
                if process.environ().get("PMI_RANK") == str(rank) and "train" in process.cmdline():
                    return process
            except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
                continue
        time.sleep(0.005)
    raise AssertionError(f"no rank {rank}")


def wait_for_steps(out: Path) -> None:
    """Until the run has saved a checkpoint."""
    deadline = time.monotonic() + 200
    while not (out / CHECKPOINT).exists() or (out / LOG).read_text().count("\n") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("rank", [0, 1])
def test_stopped_rank_ends_the_job(tmp_path: Path, rank: int) -> None:
    """SIGSTOP: after the stated silence the job ends with the rank's number, and its checkpoint is whole."""
    job = started(tmp_path, silence="4")
    wait_for_steps(tmp_path / "out")
    stopped = process_of(job, rank)
    everyone = psutil.Process(job.pid).children(recursive=True)
    stopped.send_signal(signal.SIGSTOP)
    said = job.communicate(timeout=100)[1]
    assert job.returncode != 0
    assert said.count(f"error: rank {rank} has been silent for 4 s (stopped), so the job ends") == 1
    assert "the same command continues" in said
    assert checkpoint.read(tmp_path / "out" / CHECKPOINT).state.step >= 3
    psutil.wait_procs(everyone, timeout=10)
    assert not [process for process in everyone if process.is_running() and process.status() != "zombie"]


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_that_dies_while_it_loads_is_named(tmp_path: Path, rank: int) -> None:
    """Before MPI runs, and so before there is a witness: one sentence all the same, and no process is left."""
    job = started(tmp_path)
    doomed = process_of(job, rank)
    # It is watched before it loads anything.
    deadline = time.monotonic() + 60
    while "numpy" not in Path(f"/proc/{doomed.pid}/maps").read_text() and time.monotonic() < deadline:
        time.sleep(0.005)
    everyone = psutil.Process(job.pid).children(recursive=True)
    doomed.kill()
    said = job.communicate(timeout=60)[1]
    assert job.returncode != 0
    assert said.count("error:") == 1, said
    assert f"error: rank {rank} died without a word while it was starting" in said
    psutil.wait_procs(everyone, timeout=10)
    assert not [process for process in everyone if process.is_running() and process.status() != "zombie"]


TWO_LINES = """
import os, signal, sys, time
from qmcbench.ranks import early
for rank in "01":
    os.environ["PMI_RANK"] = rank
    early.watch()
lines, (child,) = dict(zip("01", early._lines, strict=True)), early._children
os.kill(child, signal.SIGSTOP)
for rank in sys.argv[1]:
    lines[rank].close()
os.kill(child, signal.SIGCONT)
os.waitpid(child, 0)
early._lines.clear()
early._children.clear()
"""


@pytest.mark.parametrize("order", ["01", "10"])
def test_the_first_death_is_named_however_late_it_is_looked_at(order: str) -> None:
    """The launcher kills all others at once: on a busy machine both lines are closed when the child looks."""
    command = [sys.executable, "-P", "-c", TWO_LINES, order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == f"error: rank {order[0]} died without a word while it was starting, so the job ends.\n"


def test_heartbeat_is_processor_time() -> None:
    """A busy process beats; one that sleeps is silent; where all are stopped, as by Ctrl-Z, none is."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    asleep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        hearts = {"0": witness.Heartbeat(busy.pid), "1": witness.Heartbeat(asleep.pid)}
        deadline, silent = time.monotonic() + 60, []
        while not silent and time.monotonic() < deadline:
            silent = witness.silent(hearts, 2.0)
            time.sleep(0.2)
        assert silent == ["1"]
        for process in (busy, asleep):
            process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        hearts = {rank: witness.Heartbeat(heart.pid) for rank, heart in hearts.items()}
        for _ in range(8):
            assert witness.silent(hearts, 1.0) == []
            time.sleep(0.25)
    finally:
        for process in (busy, asleep):
            process.kill()
            process.wait()


@pytest.mark.parametrize(("text", "limit"), [(None, faults.SILENCE), ("0", 0.0), ("2.5", 2.5)])
def test_silence_can_be_set(text: str | None, limit: float) -> None:
    """By a variable of the environment."""
    assert faults.silence({} if text is None else {faults.SILENCE_VARIABLE: text}) == limit


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf"])
def test_wrong_silence_is_a_sentence(text: str) -> None:
    """No number of seconds."""
    with pytest.raises(UserError, match=faults.SILENCE_VARIABLE):
        faults.silence({faults.SILENCE_VARIABLE: text})


def test_small_shared_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """MPI dies of a signal when /dev/shm is full: seen before it starts; a node without one is left alone."""
    for name in early.LOCAL_SIZES:
        monkeypatch.delenv(name, raising=False)
    sizes = {"small": 20 * 2**20, "docker": 64 * 2**20}
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=sizes[folder.name], f_frsize=1))
    with pytest.raises(UserError, match=r"20 MiB left, but MPI needs 27 MiB there for 2 ranks.*--shm-size"):
        early.check_shared_memory(2, Path("small"))
    early.check_shared_memory(8, Path("docker"))
    monkeypatch.setenv("MPI_LOCALNRANKS", "1")
    with pytest.raises(UserError, match="for 1 ranks"):
        early.check_shared_memory(64, Path("small"))
    monkeypatch.undo()
    early.check_shared_memory(2, Path("/no/such/folder"))
