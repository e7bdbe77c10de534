"""Shares of work on the threads that PyTorch's own operations run on.

Threads of ours beside them would lose: after each of its operations PyTorch's wait for the next one without sleeping,
for milliseconds, and keep a core busy meanwhile.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def in_shares(count: int, work: Callable[[int, int], None]) -> None:
    """Call ``work`` with the first and the last of several shares of ``count``, one for each of PyTorch's threads.

    They run at the same time as far as ``work`` does without the interpreter's lock. The first exception of any is
    raised when all have ended.
    """
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count)
        return
    shares = list(pairwise(count * thread // threads for thread in range(threads + 1)))
    errors: list[BaseException] = []

    def take(_: object) -> None:
        # A team may be smaller than it was asked to be: each thread takes shares as long as there are any.
        while True:
            try:
                share = shares.pop()
            except IndexError:
                return
            try:
                work(*share)
            except BaseException as error:
                errors.append(error)

    parallel = _parallel()
    if parallel is None:
        for done in [_pool(threads).submit(take, None) for _ in range(threads)]:
            done.result()
    else:
        parallel(TASK(take), None, threads, 0)
    if errors:
        raise errors[0]


@cache
def _parallel() -> Any:
    """GOMP_parallel of the OpenMP library that PyTorch has loaded, which other such libraries have too; or None."""
    found = [Path(each["filepath"]) for each in threadpool_info() if each["user_api"] == "openmp"]
    # PyTorch brings its own, or takes the system's.
    own = [path for path in found if Path(torch.__file__).parent in path.parents] or found
    if len(own) != 1:
        return None
    try:
        parallel = ctypes.CDLL(str(own[0])).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [TASK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="shares")
