"""How freely chains move: split R-hat of what an update of the parameters does not hide."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qmcbench import statistics


def mixing(history: NDArray[np.float64], pairs: NDArray[np.int16]) -> float:
    """How freely the chains move: the larger split R-hat of two things that each chain has at each of the last steps.

    One is the place that its local energy takes among all chains': an update moves all energies together, and one
    near a node of psi is larger than all the rest, which hides everything else. The other does not depend on psi at
    all, so that a chain that stays where it is shows whatever the parameters do.

    Parameters
    ----------
    history
        Local energies, shape (chains, steps); nan where abnormal.
    pairs
        Antiparallel nearest neighbours, shape (chains, steps).

    Returns
    -------
    float
        1 when the chains move freely, above it otherwise, infinite when none moves. nan (unknown) with fewer than 4
        steps or 2 chains, or where all chains are alike. Chains that were abnormal count by their pairs alone.
    """
    normal = history[np.isfinite(history).all(axis=1)]
    places = np.apply_along_axis(_places, 0, normal) if normal.size else normal
    known = [statistics.r_hat(each) for each in (places, pairs) if each.size and each.min() < each.max()]
    return float(np.fmax.reduce(known, initial=math.nan))


def _places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1, equal values sharing the mean of theirs (importing ``scipy.stats`` for it takes a third of a start)."""
    order = values.argsort()
    starts = np.flatnonzero(np.diff(values[order], prepend=math.nan))
    counts = np.diff(starts, append=len(values))
    places = np.empty(len(values))
    places[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return places
