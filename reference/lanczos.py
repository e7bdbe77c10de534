"""Lowest state of the J1-J2 Hamiltonian in a symmetry sector, for several couplings at once.

A product with the Hamiltonian fetches one random vector element per exchange, and a cache line has room for eight: so
the vectors of up to eight couplings are interleaved, and cost little more than one. Two passes of the Lanczos
recurrence, the second to sum up the ground states, need three such vectors in memory and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

from qmcbench.reference.bits import Words
from qmcbench.reference.prefetch import prefetch_row
from qmcbench.reference.sector import Progress, Sector

_Vectors = npt.NDArray[np.float64]
_Numbers = npt.NDArray[np.float64]

# Couplings of one run: eight float64 fill a cache line.
WIDTH = 8
# Rows whose partial sums are added up by one thread, so that sums do not depend on the number of threads.
BLOCK = 4096
# Exchanges between the announcement of a random read and the read: 8 to 24 make no difference, without it a product
# takes twice as long (6x6, eight couplings).
AHEAD = 16
MAX_ITERATIONS = 400
# Distance from the ground state, and first component, below which a Ritz vector is a copy made by rounding.
COPY = 1e-6


@dataclass(frozen=True)
class GroundStates:
    """Lowest states of one sector for several couplings.

    Attributes
    ----------
    energies
        Total energies ``<v|H|v>``, shape (couplings,).
    residuals
        Norms of ``H v - E v`` for normalised v, computed from the vectors, shape (couplings,).
    gaps
        To the next state of the sector: from the tridiagonal matrix, hence an upper bound; see `gap_residuals`.
    gap_residuals
        Norm of the residual of that next state, from the tridiagonal matrix, shape (couplings,).
    iterations
        Products with the Hamiltonian in the first pass.
    vectors
        Amplitudes of the representatives, normalised in the sector's scalar product, shape (states, couplings).
    """

    energies: _Numbers
    residuals: _Numbers
    gaps: _Numbers
    gap_residuals: _Numbers
    iterations: int
    vectors: _Vectors


def ground_states(
    sector: Sector,
    couplings: Sequence[float],
    *,
    tolerance: float = 1e-9,
    gap_tolerance: float = 1e-2,
    progress: Progress | None = None,
) -> GroundStates:
    """Lanczos for all ``couplings`` together.

    Parameters
    ----------
    sector
        Built by `qmcbench.reference.sector.build`.
    couplings
        Values of J2, at most eight.
    tolerance
        Bound on the residual of the ground state, in units of J1; the residual in the result is computed afresh.
    gap_tolerance
        Bound on the residual of the next state.
    progress
        Called with what is being done, how much of it is done, and the expected total.

    Raises
    ------
    ValueError
        If there are no couplings, or more than eight.
    ArithmeticError
        If the residual cannot be brought below the tolerance.
    """
    if not 1 <= len(couplings) <= WIDTH:
        raise ValueError(f"{len(couplings)} couplings at once, but 1 to {WIDTH} are possible")
    report = progress or (lambda what, done, total: None)
    hamiltonian = _Hamiltonian(sector, np.asarray(couplings, dtype=np.float64))
    roots, iterations = _first_pass(hamiltonian, tolerance, gap_tolerance, report)
    vectors = _second_pass(hamiltonian, [root.ground for root in roots], report)
    energies, residuals = hamiltonian.check(vectors)
    if (residuals > tolerance).any():
        raise ArithmeticError(f"the residual is {residuals.max():.1e} after rounding, not {tolerance:.1e}")
    return GroundStates(
        energies=energies,
        residuals=residuals,
        gaps=np.array([root.gap for root in roots]),
        gap_residuals=np.array([root.gap_residual for root in roots]),
        iterations=iterations,
        vectors=vectors,
    )


@dataclass(frozen=True)
class _Roots:
    """What the tridiagonal matrix of one coupling says about its two lowest states."""

    ground: _Numbers
    ground_residual: float
    gap: float
    gap_residual: float


def _roots(diagonal: _Numbers, off_diagonal: _Numbers) -> _Roots:
    """``off_diagonal[j]`` couples j and j + 1; the last one leads out of the matrix and gives the residuals."""
    last = min(9, len(diagonal) - 1)
    values, vectors = eigh_tridiagonal(diagonal, off_diagonal[:-1], select="i", select_range=(0, last))
    residuals = np.abs(off_diagonal[-1] * vectors[-1])
    # Rounding brings copies of a converged state: at its energy, or with nothing of the start vector.
    others = [i for i in range(1, last + 1) if values[i] - values[0] > COPY and abs(vectors[0, i]) > COPY]
    gap, residual = (
        (float(values[others[0]] - values[0]), float(residuals[others[0]])) if others else (np.inf, np.inf)
    )
    return _Roots(vectors[:, 0].astype(np.float64), float(residuals[0]), gap, residual)


def _first_pass(
    hamiltonian: _Hamiltonian, tolerance: float, gap_tolerance: float, report: Progress
) -> tuple[list[_Roots], int]:
    """Both states of every coupling, each from the tridiagonal matrix in which it converged; and the iterations."""
    diagonals: list[_Numbers] = []
    off_diagonals: list[_Numbers] = []
    width = len(hamiltonian.couplings)
    grounds: list[_Roots | None] = [None] * width
    worst: list[float] = []
    for alpha, beta, _ in hamiltonian.recurrence():
        diagonals.append(alpha)
        off_diagonals.append(beta)
        a, b = np.array(diagonals), np.array(off_diagonals)
        roots = [_roots(a[:, c], b[:, c]) for c in range(width)]
        # A tenth of the tolerance: the estimate knows nothing of rounding.
        grounds = [
            kept or (root if root.ground_residual < 0.1 * tolerance else None)
            for kept, root in zip(grounds, roots, strict=True)
        ]
        worst.append(max((kept or root).ground_residual for kept, root in zip(grounds, roots, strict=True)))
        report(f"Lanczos, residual {worst[-1]:.1e}", len(a), _expected(worst, 0.1 * tolerance))
        if all(grounds) and all(root.gap_residual < gap_tolerance for root in roots):
            return [
                replace(root, ground=kept.ground) for kept, root in zip(grounds, roots, strict=True) if kept
            ], len(a)
        if len(a) == MAX_ITERATIONS or (beta < 1e-12).any():
            break
    raise ArithmeticError(
        f"Lanczos stopped at a residual of {worst[-1]:.1e} after {len(a)} products, not {tolerance:.1e}"
    )


def _expected(residuals: list[float], target: float) -> int:
    """Products in all, if the residual goes on falling as it did over the last ten; it hardly falls at first."""
    done = len(residuals)
    fall = np.log(residuals[max(0, done - 11)] / residuals[-1]) / min(done, 10)
    return (
        min(MAX_ITERATIONS, done + round(np.log(residuals[-1] / target) / max(fall, 0.3)))
        if residuals[-1] > target
        else done
    )


def _second_pass(hamiltonian: _Hamiltonian, grounds: list[_Numbers], report: Progress) -> _Vectors:
    """Ground states: the Lanczos vectors once more, summed up with their components in the tridiagonal matrix."""
    total = np.zeros((len(hamiltonian.stabiliser), len(grounds)))
    weights = np.array(list(zip_longest(*grounds, fillvalue=0.0)))
    for done, (weight, (_, _, vector)) in enumerate(zip(weights, hamiltonian.recurrence(), strict=False), start=1):
        _accumulate(total, vector, weight)
        report("ground states", done, len(weights))
    return total


class _Hamiltonian:
    """Products for all couplings, and the Lanczos recurrence from a fixed start."""

    def __init__(self, sector: Sector, couplings: _Numbers) -> None:
        self.sector, self.couplings = sector, couplings
        self.stabiliser = sector.stabiliser

    def start(self) -> _Vectors:
        """Signs of the Neel state's sublattices and random sizes, normalised: no symmetric state is orthogonal."""
        states = self.sector.states
        sublattice = sum(
            1 << bit
            for bit in range(self.sector.rows * self.sector.columns)
            if (bit // self.sector.columns + bit % self.sector.columns) % 2
        )
        sign = 1.0 - 2.0 * _parity(states & np.uint64(sublattice))
        amplitude = sign * np.random.default_rng(0).uniform(0.5, 1.5, len(states))
        amplitude /= np.sqrt((amplitude**2 / self.stabiliser).sum())
        return np.repeat(amplitude[:, None], len(self.couplings), axis=1)

    def recurrence(self) -> Iterator[tuple[_Numbers, _Numbers, _Vectors]]:
        """Lanczos vectors with their alpha and following beta: the same to the bit every time.

        A yielded vector is overwritten by the next step but one.
        """
        vector = self.start()
        other = np.zeros_like(vector)
        beta = np.zeros(len(self.couplings))
        while True:
            alpha = self.apply(vector, other, beta)
            beta = np.sqrt(_subtract(other, alpha, vector, self.stabiliser))
            yield alpha, beta, vector
            _scale(other, 1.0 / beta)
            vector, other = other, vector

    def apply(self, vector: _Vectors, out: _Vectors, beta: _Numbers) -> _Numbers:
        """``out <- H vector - beta out`` in place; returns ``<vector|out>`` of each coupling."""
        s = self.sector
        sites = s.rows * s.columns
        tables = s.starts, s.nearest, s.targets, s.stabiliser
        return _product(len(beta))(*tables, sites, self.couplings, vector, out, beta)

    def check(self, vectors: _Vectors) -> tuple[_Numbers, _Numbers]:
        """Normalises the vectors in place; their energies and the norms of their residuals."""
        nothing = np.zeros(len(self.couplings))
        vectors /= np.sqrt(_subtract(vectors, nothing, vectors, self.stabiliser))
        product = np.zeros_like(vectors)
        energies = self.apply(vectors, product, nothing)
        return energies, np.sqrt(_subtract(product, energies, vectors, self.stabiliser))


@cache
def _product(width: int) -> Callable[..., _Numbers]:
    """Compiled product for ``width`` couplings: ``out <- H vector - beta out``, and the sums of ``<vector|out>``."""

    @numba.njit(parallel=True)
    def product(
        starts: Any,
        nearest: Any,
        targets: Any,
        stabiliser: Any,
        sites: Any,
        couplings: Any,
        vector: Any,
        out: Any,
        beta: Any,
    ) -> Any:
        rows = len(vector)
        last = len(targets) - 1
        blocks = (rows + BLOCK - 1) // BLOCK
        partial = np.zeros((blocks, width))
        for block in numba.prange(blocks):
            first, second = np.empty(width), np.empty(width)
            for r in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
                middle = starts[r] + nearest[r]
                for c in range(width):
                    first[c] = 0.0
                    second[c] = 0.0
                for p in range(starts[r], middle):
                    prefetch_row(vector, np.int64(targets[min(p + AHEAD, last)]))
                    for c in range(width):
                        first[c] += vector[np.uint32(targets[p]), c]
                for p in range(middle, starts[r + 1]):
                    prefetch_row(vector, np.int64(targets[min(p + AHEAD, last)]))
                    for c in range(width):
                        second[c] += vector[np.uint32(targets[p]), c]
                # Each of the 2 N bonds of a kind has S^z S^z = 1/4, less 1/2 where the spins differ.
                nearest_diagonal = 0.5 * (sites - nearest[r])
                next_diagonal = 0.5 * (sites - (starts[r + 1] - middle))
                for c in range(width):
                    value = (nearest_diagonal + couplings[c] * next_diagonal) * vector[r, c] - beta[c] * out[r, c]
                    value += 0.5 * (first[c] + couplings[c] * second[c])
                    out[r, c] = value
                    partial[block, c] += value * vector[r, c] / stabiliser[r]
        return partial.sum(axis=0)

    compiled: Callable[..., _Numbers] = product
    return compiled


@numba.njit(parallel=True)
def _subtract(out: Any, factors: Any, vector: Any, stabiliser: Any) -> Any:
    """``out <- out - factors * vector`` in place; returns ``<out|out>`` of each coupling."""
    rows, width = out.shape
    blocks = (rows + BLOCK - 1) // BLOCK
    partial = np.zeros((blocks, width))
    for block in numba.prange(blocks):
        for r in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            for c in range(width):
                value = out[r, c] - factors[c] * vector[r, c]
                out[r, c] = value
                partial[block, c] += value * value / stabiliser[r]
    return partial.sum(axis=0)


@numba.njit(parallel=True)
def _scale(vector: _Vectors, factors: _Numbers) -> None:
    rows, width = vector.shape
    for r in numba.prange(rows):
        for c in range(width):
            vector[r, c] *= factors[c]


@numba.njit(parallel=True)
def _accumulate(total: _Vectors, vector: _Vectors, weight: _Numbers) -> None:
    rows, width = total.shape
    for r in numba.prange(rows):
        for c in range(width):
            total[r, c] += weight[c] * vector[r, c]


@numba.njit(parallel=True)
def _parity(words: Words) -> npt.NDArray[np.int64]:
    """Number of set bits modulo 2."""
    out = np.empty(len(words), dtype=np.int64)
    for k in numba.prange(len(words)):
        word = words[k]
        for shift in (32, 16, 8, 4, 2, 1):
            word ^= word >> np.uint64(shift)
        out[k] = word & np.uint64(1)
    return out
