"""What statistical gates share: sizes that see the smallest effect, and checks that say so.

A check may pass only where ``sigma <= effect / POWER`` (:mod:`qmcbench.gates.check`). For a mean with Gaussian errors
sigma is its standard error, and the rule means that the effect is seen but for a miss rate of :data:`MISS`. A
chi-square has another shape, so its *sigma* is defined by what the rule means. Let ``D = sum (q - p)^2 / p`` be the
distance of the law q that is sampled from the law p that should be. With N samples the chi-square follows the
noncentral law with parameter ``N D``. Let ``needed(dof, rate)`` be the parameter at which it exceeds its bound but
for a probability of MISS. With ``sigma = needed / (POWER N)`` the rule ``sigma <= D / POWER`` says ``N D >= needed``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chdtri, chndtr, ndtri

from qmcbench.gates.check import POWER, Check
from qmcbench.gates.registry import Setting

MISS = 0.005
"""Probability that a test misses its smallest effect (in one stage)."""
BINS = 32
FEWEST = 8.0
"""Expected samples that a bin must have for its count to be Gaussian enough."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a check is called, and what a pass means."""

    name: str
    statement: str


def stream(seed: int, number: int) -> int:
    """A seed below 2^31 of its own for each (seed, number)."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0]) >> 1


@cache
def needed(dof: int, rate: float) -> float:
    """The noncentrality that a chi-square test at false-alarm ``rate`` sees but for a probability of :data:`MISS`."""
    bound = float(chdtri(dof, rate))
    return float(brentq(lambda parameter: chndtr(bound, dof, parameter) - MISS, 1e-6, 100 * (bound + 10)))


def size(setting: Setting, dof: int) -> int:
    """How many samples a chi-square of ``dof`` degrees of freedom must have to see the setting's effect."""
    return math.ceil(needed(dof, setting.rate) / setting.effect)


def distance(words: Words, chi_square: float, dof: int, samples: int, setting: Setting) -> Check:
    """A chi-square with its expectation ``dof`` taken off, by the number of samples: an unbiased estimate of D."""
    return Check(
        name=words.name,
        check="unbiased",
        value=(chi_square - dof) / samples,
        bound=(float(chdtri(dof, setting.rate)) - dof) / samples,
        sigma=needed(dof, setting.rate) / (POWER * samples),
        samples=samples,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=f"{words.statement} Chi-square distance: {samples} samples, {dof} degrees of freedom.",
    )


def goodness(observed: NDArray[np.int64], law: NDArray[np.float64], order: NDArray[np.int64]) -> tuple[float, int]:
    """Chi-square of counts against a law, and its degrees of freedom.

    Neighbours in ``order`` share one of :data:`BINS` bins of about equal probability. A count where the law is zero
    makes it infinite.
    """
    if observed[law == 0].any():
        return math.inf, 1
    middle = np.cumsum(law[order]) - law[order] / 2
    bins = np.minimum((middle * BINS).astype(np.int64), BINS - 1)
    seen = np.bincount(bins, observed[order], minlength=BINS)
    mean = np.bincount(bins, law[order], minlength=BINS) * observed.sum()
    while len(mean) > 2 and mean.min() < FEWEST:
        least = int(mean.argmin())
        neighbour = least - 1 if least else 1
        mean[neighbour] += mean[least]
        seen[neighbour] += seen[least]
        seen, mean = np.delete(seen, least), np.delete(mean, least)
    return float(((seen - mean) ** 2 / mean).sum()), len(mean) - 1


def difference(words: Words, off: float, sigma: float, samples: int, setting: Setting) -> Check:
    """A difference with Gaussian error ``sigma`` that should be zero, two-sided."""
    return Check(
        name=words.name,
        check="unbiased",
        value=abs(off),
        bound=-float(ndtri(setting.rate / 2)) * sigma if math.isfinite(sigma) else 0.0,
        sigma=sigma if math.isfinite(sigma) else None,
        samples=samples,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=words.statement,
    )
