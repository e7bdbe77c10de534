"""How much of its time a training run has used: by its log, the same after it was interrupted, and on every rank."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from qmcbench.log import OTHER, wall
from qmcbench.ranks.comm import Communicator, on_root
from qmcbench.vmc import Step

Foresight = Callable[[Sequence[Step]], float]
"""Seconds that what comes after a run will take, from its last steps."""

FEW, RECENT = 4, 16
"""Steps from which that is foreseen (the first may build what the others use), and the most that are looked at.

With fewer than the latter it is taken for half of the time at most: the first steps on another lattice have several
times the variance of later ones, and an evaluation foreseen from these would leave no time to train.
"""


class Hours:
    """The time of a run, counted from now on.

    Parameters
    ----------
    hours
        What it may take in all; None for no limit.
    comm
        The ranks that share it: rank 0's clock counts.
    ahead
        What of the hours is to be left for what comes after.
    """

    def __init__(self, hours: float | None, comm: Communicator, ahead: Foresight | None = None) -> None:
        self.limit = None if hours is None else 3600 * hours
        self.comm, self.ahead = comm, ahead
        self.share = 0.0
        """Of its time, that is used; the same on every rank, 0 before the first step and without a limit."""
        self._spent, self._recent = 0.0, list[Step]()
        self._last = time.monotonic()

    def go_on(self, log: Callable[[], Sequence[Step]]) -> None:
        """Count what a log says that was done before; every rank must call it, rank 0 reads."""
        if self.limit is not None:
            self.share = on_root(self.comm, lambda: self._after(log()))

    def count(self, step: Step) -> Step:
        """The step with the seconds of all else since the one before, counted; every rank must call it."""
        now = time.monotonic()
        rest, self._last = max(0.0, now - self._last - step.seconds["step"]), now
        step = replace(step, seconds={**step.seconds, OTHER: rest})
        if self.limit is not None:
            self.share = self.comm.broadcast(self._after([step]))
        return step

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self.share >= 1

    def _after(self, steps: Sequence[Step]) -> float:
        """The share that is used after these steps too."""
        self._spent += wall(steps)
        self._recent = [*self._recent, *steps][-RECENT:]
        if self.limit is None or not self._recent:
            return 0.0
        left = self.limit
        if self.ahead is not None and len(self._recent) >= FEW:
            most = math.inf if len(self._recent) == RECENT else self.limit / 2
            left -= min(self.ahead(self._recent), most)
        return self._spent / left if left > 0 else 1.0
