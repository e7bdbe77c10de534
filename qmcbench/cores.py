"""How many cores this process may use, how many threads it takes by default, and how its threads wait.

Imported before anything else, and torch above all, since OpenMP reads the environment when it is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

SPIN_COUNT = "1000"
"""Turns of a loop, tens of microseconds in all, that a thread of OpenMP waits for the others before it sleeps.

GNU's default, milliseconds, is as long as an operating system's time slice: beside other busy processes each thread
burns the time that the thread it waits for would need.
"""
SPINNING = "GOMP_SPINCOUNT"
NUMBA = "NUMBA_NUM_THREADS"
# What a user may have decided about waiting threads.
DECIDED = (SPINNING, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
GROUPS = Path("/sys/fs/cgroup")


def limit_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """See that threads of OpenMP soon sleep while they wait, unless the user decided or torch is loaded already."""
    if "torch" not in sys.modules and not any(name in environment for name in DECIDED):
        environment[SPINNING] = SPIN_COUNT


def limit_numba(environment: MutableMapping[str, str] = os.environ) -> None:
    """See that numba takes no more threads than torch, unless the user decided or numba is loaded already.

    It would take all cores, whatever a quota or ``OMP_NUM_THREADS`` says, and where it shares torch's OpenMP it gives
    torch as many.
    """
    if "numba" not in sys.modules and NUMBA not in environment:
        environment[NUMBA] = str(default_threads(environment=environment))


def cores() -> frozenset[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def available_cores() -> int:
    """Cores that this process may use: of those it may run on, as many as its container's quota pays for."""
    limit = quota()
    return len(cores()) if limit is None else max(1, min(len(cores()), int(limit)))


def default_threads(sharing: int = 1, most: int | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Threads for a process that was told no number.

    Parameters
    ----------
    sharing
        Processes that share the cores, this one included.
    most
        What there is work for, whatever the number of cores.
    environment
        Its ``OMP_NUM_THREADS`` is the answer where it is a positive number.
    """
    asked = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    share = available_cores() // sharing
    return max(1, share if most is None else min(share, most))


def quota(root: Path = GROUPS, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that the process's control groups allow it (versions 1 and 2), None without a limit."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # not on Linux
        return None
    limits = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            limits += [_limit(folder / "cpu.max") for folder in _upwards(root, group)]
        elif "cpu" in controllers.split(","):
            for name in {controllers, "cpu"}:
                limits += [
                    _limit(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
                    for folder in _upwards(root / name, group)
                ]
    return min((limit for limit in limits if limit is not None), default=None)


def _upwards(root: Path, group: str) -> Iterator[Path]:
    """The folders of a control group and of those it is in; inside a container only the outermost may exist."""
    own = Path(group.lstrip("/"))
    for folder in (own, *own.parents):
        yield root / folder


def _limit(*files: Path) -> float | None:
    """Quota over period from the words of these files."""
    try:
        quota, period = (word for file in files for word in file.read_text().split())
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no such file; "max"; -1
        return None


def describe(environment: Mapping[str, str] = os.environ) -> str:
    """One line: cores, quota, threads by default and how they wait."""
    limit = quota()
    quotas = "no CPU quota" if limit is None else f"a CPU quota of {limit:g}"
    asked = environment.get("OMP_NUM_THREADS")
    omp = "OMP_NUM_THREADS not set" if asked is None else f"OMP_NUM_THREADS = {asked}"
    waiting = [f"{name} = {environment[name]}" for name in DECIDED if name in environment]
    if environment.get(SPINNING) == SPIN_COUNT:
        waiting[0] += " (qmcbench's own)"
    how = ", ".join(waiting) or "spinning for milliseconds, since torch was loaded before qmcbench"
    return (
        f"{default_threads(environment=environment)} threads by default ({len(cores())} cores, {quotas}, {omp}); "
        f"they wait with {how}"
    )


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of torch within, if a number is given, and then as many as before."""
    import torch  # which must not be loaded before its threads are told how to wait

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
