"""What can be said of a job of several ranks before MPI runs: a rank that dies while it loads, too little memory.

Loads neither MPI nor torch, which take seconds. Until the node's witness (:mod:`qmcbench.ranks.witness`) lives, a
forked child of each rank watches its parent.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from qmcbench.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
# Bytes that MPICH takes there for a node and for each of its ranks (measured with 2 to 8 ranks); with less it dies of
# SIGBUS or SIGSEGV without a word.
FOR_A_NODE, FOR_A_RANK = 16 * 2**20, 5.5 * 2**20
# How launchers number the ranks of a node, and count them.
LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
LOCAL_SIZES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
# Seconds that the first one to speak keeps the others of its node silent: their parents die because of its own.
PRECEDENCE = 3.0

_children: list[int] = []


def number(names: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> int | None:
    """The first of these variables that is there and a number."""
    return next((int(environment[name]) for name in names if environment.get(name, "").isdigit()), None)


def check_shared_memory(size: int, folder: Path = SHARED_MEMORY) -> None:
    """See that the node's shared memory holds what MPI puts there.

    Parameters
    ----------
    size
        Ranks of the job; those of this node are taken instead where the launcher says how many they are.
    folder
        Where it is mounted.

    Raises
    ------
    UserError
        If not, with both sizes.
    """
    try:
        free = os.statvfs(folder)
    except OSError:  # another system
        return
    ranks = number(LOCAL_SIZES) or size
    need, there = FOR_A_NODE + FOR_A_RANK * ranks, free.f_bavail * free.f_frsize
    if there < need:
        raise UserError(
            f"{folder} has {there / 2**20:.3g} MiB left, but MPI needs {need / 2**20:.3g} MiB there for {ranks} ranks"
            "; give the container more (docker run --shm-size=1g), or start fewer ranks."
        )


def watch() -> None:
    """Let a forked child say so if this process dies before :func:`dismiss`; it does nothing else.

    Only at the very start of a process, while it has no threads.
    """
    if not hasattr(os, "pidfd_open"):
        return
    # Before the fork: this process may be dead when the child first looks.
    parent, launcher, rank = os.pidfd_open(os.getpid()), os.getppid(), number(RANKS)
    child = os.fork()
    if child:
        os.close(parent)
        _children.append(child)
        return
    try:
        _wait(parent, launcher, rank)
    finally:
        os._exit(0)


def _wait(parent: int, launcher: int, rank: int | None) -> None:
    # A session of its own, which no launcher ends; no open file but standard error, or the launcher waited for it.
    os.setsid()
    kept = sorted({2, parent})
    for low, high in zip([0, *(fd + 1 for fd in kept)], [*kept, 4096], strict=True):
        os.closerange(low, high)
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    poll.poll()
    # Whoever binds the name of the launcher first speaks; it is free again when that process ends.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind(f"\0qmcbench-{launcher}")
        except OSError:
            return
        name = "a rank" if rank is None else f"rank {rank}"
        os.write(2, f"error: {name} died without a word while it was starting, so the job ends.\n".encode())
        time.sleep(PRECEDENCE)


@atexit.register
def dismiss() -> None:
    """End the child: this process is watched otherwise from now on, or ends by itself."""
    while _children:
        child = _children.pop()
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def fail(error: UserError) -> None:
    """Say the mistake that every rank finds, once a node, and leave."""
    if number(LOCAL_RANKS) in (None, 0):
        print(f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(2)
