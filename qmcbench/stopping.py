"""How many samples an evaluation takes: as many as are asked for, or as few of these as a target error needs.

Whoever stops when the energy is low gets a low energy. Here the standard error alone decides, and not whenever it
happens to be small: it is looked at after ``LEAST`` samples of each chain and then, each time, after an eighth more,
and counts where blocking has a plateau. What is left is of the second order: where large local energies are rare, a
set without them has too low a mean and too small an error, which shifts the energy by some skewness / sqrt(samples)
of its error. The looks are the same however often the evaluation was stopped, and whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

from qmcbench.estimates import Request
from qmcbench.evaluator import Evaluator
from qmcbench.ranks.comm import on_root

LEAST, GROWTH = 16, 8
"""Samples of each chain at the first look; by which part of them the next one is later."""


def rounds_of(request: Request) -> int:
    """Samples of each chain that are asked for: with a target error at most so many."""
    return -(-request.samples // request.sampling.chains)


def looks(request: Request) -> Iterator[int]:
    """After how many samples of each chain the evaluation may end, up to all of them."""
    at, most = LEAST, rounds_of(request)
    while request.sigma is not None and at < most:
        yield at
        at += at // GROWTH
    yield most


def enough(evaluator: Evaluator, request: Request, count: int) -> bool:
    """Whether ``count`` samples of each chain are enough; every rank must call it, rank 0 looks.

    They are if there are to be no more, or if the first ``count`` give the energy at each J2 with the target error.

    Raises
    ------
    UserError
        If every one of them is abnormal.
    """
    sigma = request.sigma
    if sigma is None or count >= rounds_of(request):
        return True

    def precise(J2: float) -> bool:
        estimate = evaluator.samples(J2, count).estimate()
        return estimate.plateau and estimate.error <= sigma

    return on_root(evaluator.comm, lambda: all(map(precise, request.J2)))
