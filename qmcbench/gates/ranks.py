"""Ranks in one process: a communicator whose ranks are threads, so that independence of ranks needs no MPI."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds that a rank waits for the others before it gives up."""


class ThreadRank:
    """One of ``size`` threads that talk to each other through ``shared``, a list with a place for each."""

    local_rank = 0

    def __init__(self, rank: int, shared: list[Any], barrier: Barrier) -> None:
        self.rank, self.size = rank, len(shared)
        self.neighbours = self.sharing = self.size
        self._shared, self._barrier = shared, barrier

    def _all(self, value: T) -> list[T]:
        """What every rank brings, in the order of ranks."""
        self._shared[self.rank] = value
        self._barrier.wait(PATIENCE)
        found = list(self._shared)
        self._barrier.wait(PATIENCE)
        return found

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the ranks."""
        return torch.stack(self._all(values)).sum(0)

    def gather(self, values: Tensor) -> Tensor:
        """All ranks' values along dimension 0."""
        return torch.cat(self._all(values))

    def broadcast(self, value: T) -> T:
        """Rank 0's value."""
        return self._all(value)[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return any(self._all(flag))


def on_ranks(size: int, work: Callable[[ThreadRank], T]) -> list[T]:
    """What ``work`` gives on each of ``size`` ranks; an exception of one is raised here."""
    barrier = Barrier(size)
    shared: list[Any] = [None] * size

    def one(rank: int) -> T:
        try:
            return work(ThreadRank(rank, shared, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return [each.result() for each in [pool.submit(one, rank) for rank in range(size)]]
