"""When the energy of a training leaps, and the states that the run may go back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from qmcbench.hamiltonian import energy_bound
from qmcbench.statistics import Estimate

# How many energies a leap is measured by, and from how many on.
RECENT, ENOUGH = 8, 4
# An error is a leap from so many times the spread of these energies on: they fall fast, or pass zero, in a sound run.
SPREADS = 5
# An energy is unphysical from so many of its own standard errors below what any state can have.
UNPHYSICAL = 6.5
# How often a step is halved before an older state is gone back to, or, with none, this one taken as it is.
HALVINGS = 6
# Steps from one state that is kept to the next, and how many of them are kept: amplitudes can grow out of all measure
# where no chain is yet, and the states before it shows have it too.
GOOD, KEPT = 20, 4


@dataclass(frozen=True)
class Past:
    """The state before the last update: where a run returns to when its energy leaps."""

    parameters: Tensor
    """All trainable ones, shape (parameters,)."""
    change: Tensor
    """What the update subtracted from them, float64."""
    spins: Tensor
    """This rank's chains before the sweep that followed, shape (own chains, L, L)."""
    moments: Tensor | None = None
    """MARCH's mean squares before it, float64; None for other metrics, and in checkpoints of earlier versions."""


@dataclass(frozen=True)
class Good:
    """A state whose sample had not leapt."""

    step: int
    """Updates before it."""
    parameters: Tensor
    """All trainable ones, shape (parameters,)."""
    spins: Tensor
    """This rank's chains, sampled from it, shape (own chains, L, L)."""


def leapt(energy: Estimate, recent: np.ndarray, leap: float, J2: float, *, clearly: bool = False) -> bool:
    """Whether it is above the median of the ``recent`` energies per site by ``leap`` of it, or below what any state
    can have, or its error is half of that leap.

    An error so large, and of several times the spread of the last energies, is that of a few samples beside
    configurations whose amplitudes have grown out of all measure: the energy may be anywhere, below the exact one
    too, and no step may be made from it. ``clearly``: by more than the spread of the last energies explains.
    """
    if energy.mean < energy_bound(J2) - UNPHYSICAL * energy.error:
        return True
    if len(recent) < ENOUGH:
        return False
    median = float(np.median(recent))
    limit = leap * abs(median)
    usual = float(np.std(recent))
    above = max(limit, SPREADS * usual) if clearly else limit
    return energy.mean - median > above or energy.error > max(limit / 2, SPREADS * usual)
