"""What a file of samples says of its wave function: a table of the configurations that were drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import lsmr

from qmcbench.gates.targets.samples import SampleFile

Reals = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Indices = NDArray[np.int64]

ITERATIONS = 4000
"""Of the least-squares solution; one that takes more is not trusted."""
MOST_UNKNOWN = 0.8
"""How many unknown amplitudes there may be for each equation."""
CODED = 6
"""The largest L whose configurations are numbered by 64-bit integers."""


@dataclass(frozen=True)
class Sampled:
    """The samples of a file as arrays, and each configuration once."""

    file: SampleFile

    @cached_property
    def spins(self) -> NDArray[np.int8]:
        """(samples, sites)."""
        return self.file.spins.flatten(1).numpy()

    @cached_property
    def log_psi(self) -> Complexes:
        """(samples,)."""
        return self.file.log_psi.numpy()

    @cached_property
    def energies(self) -> Complexes | None:
        """Total local energies, (samples,)."""
        return None if self.file.local_energies is None else self.file.local_energies.numpy()

    @property
    def L(self) -> int:
        """Side of the lattice."""
        return self.file.spins.shape[1]

    @cached_property
    def doubt(self) -> str | None:
        """Why nothing can be computed from the samples, if so."""
        if not np.isin(self.spins, (-1, 1)).all():
            return "its spins are not all +1 or -1"
        if not np.isfinite(self.log_psi).all():
            return "its log psi is not finite everywhere"
        if self.energies is not None and not np.isfinite(self.energies).all():
            return "its local energies are not finite everywhere"
        return None

    @cached_property
    def _unique(self) -> tuple[Indices, Indices, Indices]:
        packed = np.ascontiguousarray(np.packbits(self.spins > 0, axis=1))
        rows = packed.view(f"V{packed.shape[1]}").ravel()
        _, first, which, counts = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
        return first.astype(np.int64), which.ravel().astype(np.int64), counts.astype(np.int64)

    @property
    def first(self) -> Indices:
        """The sample that showed each configuration first."""
        return self._unique[0]

    @property
    def which(self) -> Indices:
        """The number of each sample's configuration."""
        return self._unique[1]

    @property
    def counts(self) -> Indices:
        """How often each configuration was drawn."""
        return self._unique[2]

    @cached_property
    def chains(self) -> list[Indices]:
        """Indices of the samples of each chain, in their order, as many of each as the shortest has."""
        chain = self.file.chain.numpy()
        order = np.argsort(chain, kind="stable")
        _, starts = np.unique(chain[order], return_index=True)
        parts = np.split(order, starts[1:])
        least = min(len(part) for part in parts)
        return [part[:least] for part in parts]

    def series(self, values: Reals, chains: list[Indices] | None = None) -> Reals:
        """One value a sample as (chains, samples)."""
        return np.stack([values[part] for part in (self.chains if chains is None else chains)])

    def weights(self, alpha: float) -> Reals:
        """|psi|^alpha of each sample, the largest one 1."""
        exponent = alpha * self.log_psi.real
        made: Reals = np.exp(exponent - exponent.max())
        return made


@dataclass(frozen=True)
class Solved:
    """What local energies say."""

    log_psi: Reals
    """log|psi| of configurations that were never drawn; empty if there are too many of these."""
    residual: Complexes
    """What is left of the local energy of each configuration that was drawn."""
    known: NDArray[np.bool_]
    """Whether that has to be 0."""
    unknown: int
    """How many configurations were never drawn, but connected to one that was."""


@dataclass(frozen=True)
class Connected:
    """Each configuration that was drawn with those that H connects it to, where these were drawn, too."""

    sampled: Sampled
    J2: float

    @cached_property
    def bonds(self) -> tuple[Indices, Reals]:
        """Pairs of sites (bonds, 2), and the coupling of each."""
        L = self.sampled.L
        row, column = np.divmod(np.arange(L * L), L)
        steps = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), self.J2), ((1, -1), self.J2))
        pairs, couplings = [], []
        for (down, right), coupling in steps:
            if coupling:
                there = (row + down) % L * L + (column + right) % L
                pairs.append(np.stack([np.arange(L * L), there], axis=1))
                couplings.append(np.full(L * L, coupling))
        return np.concatenate(pairs), np.concatenate(couplings)

    @cached_property
    def _codes(self) -> tuple[Indices, Indices]:
        """Codes of the configurations in rising order, and where each stands among the drawn ones."""
        up = (self.sampled.spins[self.sampled.first] > 0).astype(np.int64)
        codes = up @ (1 << np.arange(up.shape[1], dtype=np.int64))
        order = np.argsort(codes)
        return codes[order], order

    @cached_property
    def neighbours(self) -> tuple[NDArray[np.bool_], Indices, Indices]:
        """For configurations x bonds: whether the bond is antiparallel, the code of the other one, and its number.

        The number is -1 where that configuration was never drawn.
        """
        known, order = self._codes
        own = np.empty_like(known)
        own[order] = known
        spins = self.sampled.spins[self.sampled.first]
        pairs, _ = self.bonds
        antiparallel = spins[:, pairs[:, 0]] != spins[:, pairs[:, 1]]
        flips = (1 << pairs).sum(1)
        # Of an antiparallel pair one bit is set: flipping both exchanges the spins.
        others = own[:, None] ^ flips
        place = np.minimum(np.searchsorted(known, others), len(known) - 1)
        number = np.where(known[place] == others, order[place], -1)
        return antiparallel, others, np.where(antiparallel, number, -1)

    @cached_property
    def solved(self) -> Solved:
        """What the file's own local energies say."""
        assert self.sampled.energies is not None
        return self.solve(self.sampled.energies)

    def solve(self, energies: Complexes) -> Solved:
        """psi of what was never drawn, from the local energies of what was: one linear equation for each of these.

        ``energies`` (samples,) are total ones.
        """
        antiparallel, others, number = self.neighbours
        _, coupling = self.bonds
        first = self.sampled.first
        log_psi = self.sampled.log_psi[first]
        ratio = np.where(number >= 0, np.exp(log_psi[number] - log_psi[:, None]), 0.0)
        diagonal = (coupling * np.where(antiparallel, -0.25, 0.25)).sum(1)
        exact = diagonal + ratio @ (coupling / 2).astype(np.complex128)
        row, bond = np.nonzero(antiparallel & (number < 0))
        codes, column = np.unique(others[row, bond], return_inverse=True)
        left = energies[first] - exact
        whole = np.bincount(row, minlength=len(first)) == 0
        # Where local energies are large, near a node, errors count relative to them.
        size = np.maximum(1.0, np.abs(energies[first]) / self.sampled.L**2)
        unsolved = Solved(np.empty(0), left / size, whole, unknown=len(codes))
        if not len(codes) or len(codes) > MOST_UNKNOWN * len(first):
            return unsolved
        # In units of psi of the row's configuration, so that residuals are errors of local energies.
        top = log_psi.real.max()
        scale = np.exp(top - log_psi.real) / size
        matrix = coo_matrix(
            (coupling[bond] / 2 * scale[row], (row, column.ravel())), shape=(len(first), len(codes))
        ).tocsr()
        norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(0)).ravel())
        scaled = matrix @ diags(1 / norms)
        phased = left * np.exp(1j * log_psi.imag) / size
        parts = [
            lsmr(scaled, part, atol=1e-12, btol=1e-12, conlim=0.0, maxiter=ITERATIONS)
            for part in (phased.real, phased.imag)
        ]
        if any(part[2] >= ITERATIONS for part in parts):
            return unsolved
        psi = (parts[0][0] + 1j * parts[1][0]) / norms
        with np.errstate(divide="ignore"):
            found: Reals = np.log(np.abs(psi)) + top
        return Solved(found, phased - matrix @ psi, np.ones(len(first), dtype=np.bool_), unknown=len(codes))


@lru_cache(maxsize=2)
def connected(file: SampleFile, J2: float) -> Connected:
    """The samples of a file, read once for all gates."""
    return Connected(Sampled(file), J2)


def tail(values: Reals) -> float:
    """How many values a smooth distribution should have had beyond the largest one, at least, given those below it.

    Between eigenstates the distribution of local energies has tails, which end where samples become rare; a window
    ends it where they are not. From the numbers of different values in the last three bins, as far as these fall
    smoothly: twice the fall of the last two is expected in the next one.
    """
    different = np.unique(np.round(values, 9))
    low, high = np.quantile(values, [0.25, 0.75])
    width, top = (high - low) / 8, different[-1]
    if len(different) < 100 or width <= 0:
        return 0.0
    one, two, three = (
        int(((different > top - (i + 1) * width) & (different <= top - i * width)).sum()) for i in range(3)
    )
    if not (two > 0 and three > 0 and 0.2 <= one / two <= 1.5 and 0.2 <= two / three <= 1.5):
        return 0.0
    return one * min(1.0, one / two) ** 2


def quantile(rate: float) -> float:
    """The standard normal deviate that is exceeded with this probability."""
    from statistics import NormalDist

    return -NormalDist().inv_cdf(rate) if 0 < rate < 1 else math.nan
