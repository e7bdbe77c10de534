"""Wave functions on 4x4 whose energies are known from full sums with QuSpin's matrix, without the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.gates.exchange import SITES, Floats, space
from qmcbench.gates.models import quspin
from qmcbench.gates.plain import marshall_sign
from qmcbench.gates.tables import hard, table

J2 = 0.5
SPIKE = 0.15
"""Amplitudes of every second sector of :func:`spiky`."""


@dataclass(frozen=True)
class Known:
    """A real wave function with its full sums; arrays run over :func:`~qmcbench.gates.exchange.space`."""

    psi: Ansatz
    amplitudes: Floats

    @property
    def local_energies(self) -> Floats:
        """Per site, units of J1, at J2 = 0.5."""
        applied: Floats = np.asarray(matrix() @ self.amplitudes)
        energies: Floats = applied / self.amplitudes / SITES
        return energies

    def law(self, alpha: float) -> Floats:
        """|psi|^alpha, normalised."""
        weight = np.abs(self.amplitudes) ** alpha
        normalised: Floats = weight / weight.sum()
        return normalised

    @property
    def mean(self) -> float:
        """Energy per site."""
        return float(self.law(2) @ self.local_energies)

    @property
    def variance(self) -> float:
        """Of the local energy per site under |psi|^2."""
        return float(self.law(2) @ (self.local_energies - self.mean) ** 2)

    def influence(self, alpha: float, values: Floats) -> Floats:
        """First-order influence of one sample of |psi|^alpha on the reweighted mean of ``values``."""
        weight = np.abs(self.amplitudes) ** (2 - alpha)
        weight /= self.law(alpha) @ weight
        return weight * (values - self.law(2) @ values)

    def error(self, alpha: float, values: Floats) -> float:
        """Standard error of that mean from a single sample."""
        return math.sqrt(float(self.law(alpha) @ self.influence(alpha, values) ** 2))


@cache
def matrix() -> csr_array:
    """QuSpin's matrix of the total Hamiltonian at J2 = 0.5."""
    configurations, exact = quspin(J2)
    place = np.argsort(space().where(torch.from_numpy(configurations)))
    return csr_array(csr_array(exact)[place][:, place])


@cache
def rough(power: float = 1.0) -> Known:
    """The hard table of :mod:`qmcbench.gates.tables`; its amplitudes to a ``power``, signs kept."""
    _, spins, values = hard()
    amplitudes = np.empty(len(values))
    amplitudes[space().where(spins)] = (torch.sgn(values) * values.abs() ** power).numpy()
    return _known(amplitudes)


@cache
def spiky() -> Known:
    """Rare configurations with large local energies, which carry energy that a clipped mean loses.

    All amplitudes have Marshall's sign, those with an even number of up spins on sublattice A are :data:`SPIKE` of
    the others, and every exchange of neighbours leads from one kind to the other. So 2 % of |psi|^2 has local
    energies around -3 a site.
    """
    return _known(np.where(marshall_sign(space().spins).numpy() < 0, -1.0, SPIKE))


@cache
def ordered() -> Known:
    """:func:`marshall` on 4x4: the Neel state, where chains begin, is far below its energy."""
    return _known(marshall_sign(space().spins).numpy())


def _known(amplitudes: Floats) -> Known:
    return Known(table(space().spins, torch.from_numpy(amplitudes)), amplitudes)


def flat(spins: Tensor) -> tuple[Tensor, Tensor]:
    """psi = 1."""
    return torch.zeros(len(spins), dtype=torch.float64), torch.ones(len(spins), dtype=torch.float64)


def marshall(spins: Tensor) -> tuple[Tensor, Tensor]:
    """Amplitudes of modulus 1 with Marshall's sign, on any lattice: its local energy falls with every pair."""
    return torch.zeros(len(spins), dtype=torch.float64), marshall_sign(spins)


def valleys(spins: Tensor) -> tuple[Tensor, Tensor]:
    """Two valleys that a chain does not leave: more up spins in the upper half of the lattice, or in the lower half.

    One has Marshall's sign and one has none, so their energies differ; a chain from the Neel state falls into either.
    """
    half = spins.shape[-1] // 2
    moved = (spins[:, :half] > 0).sum((1, 2)).double() - spins.shape[-1] ** 2 / 4
    sign = torch.where(moved > 0, marshall_sign(spins), 1.0)
    return DEPTH * moved.abs().clamp(max=2), sign


DEPTH = 3.0
"""log|psi| of :func:`valleys` for each of the first two up spins that have changed halves."""


def broken(spins: Tensor) -> tuple[Tensor, Tensor]:
    """Marshall's state, but nan wherever the first row is all up: local energies of their neighbours are nan too."""
    log_psi, sign = marshall(spins)
    nan = (spins[:, 0] > 0).all(1)
    return log_psi.masked_fill(nan, torch.nan), sign.masked_fill(nan, torch.nan)
