"""Timed work on several ranks: the launcher's side, which never loads MPI itself.

The ranks are started as ``mpiexec -n P python -m qmcbench.bench.worker JOB``; rank 0 answers with a line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qmcbench.errors import UserError

WORKER = "qmcbench.bench.worker"
# Variables by which a launcher talks to the process it started: with them, ours would join that job. What a user sets
# (MPICH_..., OMPI_MCA_..., the Slurm allocation) stays.
LAUNCHER = (
    "PMI_", "PMIX_", "HYDI_", "MPI_LOCAL", "MV2_COMM_WORLD", "OMPI_COMM_WORLD", "OMPI_UNIVERSE", "PRTE_LAUNCHED",
    "SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_TASK_PID",
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
# Variables in which launchers tell a process how many there are: mpiexec of MPICH and Intel MPI, of Open MPI, of
# MVAPICH, and srun (last: an mpiexec may itself use srun to start one process a node).
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
# Seconds between looks at whether to stop, and that a job has to end by itself once it is told to.
INTERVAL = 0.2
GRACE = 10.0
INSTALL = 'pip install "qmcbench[mpi]"'


class JobError(UserError):
    """A job of several ranks failed, ran out of time or gave no answer."""


class Stopped(Exception):
    """A job was ended because its caller asked for it."""


def mpiexec() -> Path:
    """The launcher beside this Python, which is that of the MPI library installed with it, or else that on the path.

    Raises
    ------
    UserError
        If there is none.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = beside if os.access(beside, os.X_OK) else shutil.which("mpiexec")
    if found is None:
        raise UserError(f"Several ranks need mpiexec, but there is none beside Python or on the path; {INSTALL}.")
    return Path(found)


def launched(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes the launcher of this one says that it started; 1 without a launcher."""
    return next((int(environment[name]) for name in SIZES if environment.get(name, "").isdigit()), 1)


def environment(threads: int, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``outer`` for a job of its own with ``threads`` threads a rank."""
    kept = {name: value for name, value in outer.items() if not name.startswith(LAUNCHER)}
    return kept | dict.fromkeys(THREADS, str(threads))


def run(
    ranks: int | None,
    job: Mapping[str, Any],
    timeout: float,
    *,
    threads: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Do ``job`` on ``ranks`` ranks and return rank 0's answer.

    Parameters
    ----------
    ranks
        Their number; None for one plain process without a launcher.
    job
        What to do: ``kind`` (a key of ``qmcbench.bench.worker.JOBS``) and what that takes; JSON-ready.
    timeout
        Seconds after which the job is ended.
    threads
        Threads of each rank.
    stop
        Asked every fraction of a second whether to end the job.

    Raises
    ------
    JobError
        If the job fails, saying what its ranks said, or takes too long.
    UserError
        If there is no mpiexec.
    Stopped
        If ``stop`` said so.
    """
    launcher = [] if ranks is None else [str(mpiexec()), "-n", str(ranks)]
    command = [*launcher, sys.executable, "-P", "-m", WORKER, json.dumps(job)]
    what = "A process" if ranks is None else f"A job of {ranks} rank{'s' * (ranks != 1)}"
    # In a session of its own, so that Ctrl-C reaches this process alone, which then ends the job.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(threads),
        start_new_session=True,
    )
    try:
        output, errors = _watch(process, timeout, stop)
    except subprocess.TimeoutExpired:
        raise JobError(f"{what} took longer than {timeout:g} s; give it less work or more time.") from None
    finally:
        _end(process)
    if process.returncode:
        raise JobError(f"{what} failed: {_sentence(errors) or f'exit status {process.returncode}'}")
    try:
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise JobError(f"{what} ended without an answer: {_sentence(errors) or 'it said nothing'}") from error
    return answer


def _watch(process: subprocess.Popen[str], timeout: float, stop: Callable[[], bool]) -> tuple[str, str]:
    """What the job has written by its end, which its witness may outlive by a moment."""
    end = time.monotonic() + timeout
    while True:
        try:
            return process.communicate(timeout=INTERVAL)
        except subprocess.TimeoutExpired:
            if stop():
                raise Stopped from None
            if time.monotonic() > end:
                raise


def _end(process: subprocess.Popen[str]) -> None:
    """End the launcher, which ends its ranks; nothing to do if it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.communicate(timeout=GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sentence(text: str) -> str:
    """What the ranks said that went wrong, or else the last lines of all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.replace("error: ", "") for line in lines if line.startswith("error: ")]
    return " ".join(dict.fromkeys(said)) or " / ".join(lines[-5:])
