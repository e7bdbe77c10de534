"""What can be said of a job of several ranks before MPI runs: a rank that dies while it loads, too little memory.

Loads neither MPI nor torch, which take seconds. Until the node's witness (:mod:`qmcbench.ranks.witness`) lives, a
forked child of the first of its ranks watches them all.
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
# What a rank says that need not be watched any longer, and what one hears that is watched from now on.
DISMISSED, SEEN = b"dismissed", b"seen"
SEEN_WITHIN = 10.0
"""Seconds that a rank waits for it."""

_children: list[int] = []
_lines: list[socket.socket] = []


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
    """Let a child of the node's first rank say so if this process dies before :func:`dismiss`; it does nothing else.

    Only at the very start of a process, while it has no threads.
    """
    if not hasattr(select, "epoll"):
        return
    # A name without a file, which is free again when nobody has it open.
    address, rank = f"\0qmcbench-{os.getppid()}", number(RANKS)
    # No error if another rank was the first.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, suppress(OSError):
        listener.bind(address)
        listener.listen(4096)
        _fork(listener)
    own = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _lines.append(own)
    for _ in range(100):
        try:
            own.connect(address)
            own.send(str(rank).encode())
            # Nothing that may kill this process comes before it is watched.
            own.settimeout(SEEN_WITHIN)
            own.recv(16)
            return
        except ConnectionRefusedError:  # bound, but it does not listen yet
            time.sleep(0.01)
        except OSError:
            return


def _fork(listener: socket.socket) -> None:
    child = os.fork()
    if child:
        _children.append(child)
        return
    try:
        _wait(listener)
    finally:
        os._exit(0)


def _wait(listener: socket.socket) -> None:
    # A session of its own, which no launcher ends; no open file but standard error, or the launcher waited for it.
    os.setsid()
    kept = sorted({2, listener.fileno()})
    for low, high in zip([0, *(fd + 1 for fd in kept)], [*kept, 4096], strict=True):
        os.closerange(low, high)
    poll, ranks, names = select.epoll(), dict[int, socket.socket](), dict[int, str]()
    poll.register(listener, select.EPOLLIN)
    # A line is closed when its rank dies. The launcher kills the other ranks at once, but epoll tells in the order of
    # the deaths, however late this process looks.
    while True:
        for line, _ in poll.poll():
            if line == listener.fileno():
                new = listener.accept()[0]
                # At an edge alone: a line that has been read is at once out of the queue that tells the order.
                poll.register(new, select.EPOLLIN | select.EPOLLET)
                ranks[new.fileno()] = new
                continue
            while (word := _heard(ranks[line])) is not None:
                if word == DISMISSED:
                    return
                if not word:
                    name = names.get(line, "a rank")
                    os.write(
                        2, f"error: {name} died without a word while it was starting, so the job ends.\n".encode()
                    )
                    return
                if word.isdigit():
                    names[line] = f"rank {int(word)}"
            # After the last look at it: the next word of this line comes in its turn.
            with suppress(OSError):
                ranks[line].send(SEEN)


def _heard(line: socket.socket) -> bytes | None:
    """What a rank says; nothing (b"") if it is dead, None if it is silent."""
    try:
        return line.recv(16, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


@atexit.register
def dismiss() -> None:
    """End the watch over all ranks: they are watched otherwise from now on, or this one ends by itself."""
    while _lines:
        with _lines.pop() as line, suppress(OSError):
            line.send(DISMISSED)
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
