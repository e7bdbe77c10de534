"""Products of the J1-J2 Hamiltonian in symmetry sectors, without a matrix: from the list of exchanges alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qmcbench.reference.irrep import SYMMETRIC, Irrep
from qmcbench.reference.orbits import INDEX_BITS, Orbits
from qmcbench.reference.prefetch import prefetch_row

Vectors = npt.NDArray[np.float64]
"""Amplitudes of the representatives, one column for each problem, shape (states, problems)."""

# Problems of one run: eight float64 fill a cache line.
WIDTH = 8
# Rows whose partial sums are added up by one thread, so that sums do not depend on the number of threads.
BLOCK = 4096
# Blocks in one compiled call: below a second, so that Ctrl-C is heard.
BLOCKS = 64
# Exchanges between the announcement of a random read and the read: 8 to 24 make no difference, without it a product
# takes twice as long (6x6, eight couplings).
AHEAD = 16


@dataclass(frozen=True)
class Problem:
    """A coupling J2 (J1 = 1) and a symmetry sector."""

    J2: float
    irrep: Irrep = SYMMETRIC


class Hamiltonian:
    """Products for several problems at once.

    Parameters
    ----------
    orbits
        Built by `qmcbench.reference.orbits.build`.
    problems
        One for each column of the vectors, at most `WIDTH`.
    tick
        Called during a product, every second or so; may raise to give up.

    Raises
    ------
    ValueError
        If there are no problems, or too many.
    """

    def __init__(self, orbits: Orbits, problems: Sequence[Problem], tick: Callable[[], None] = lambda: None) -> None:
        if not 1 <= len(problems) <= WIDTH:
            raise ValueError(f"{len(problems)} problems at once, but 1 to {WIDTH} are possible")
        self.orbits, self.problems, self._tick = orbits, tuple(problems), tick
        self._couplings = np.array([problem.J2 for problem in problems], dtype=np.float64)
        self._signs = np.ascontiguousarray(np.stack([problem.irrep.signs for problem in problems], axis=1))
        self._forbidding = np.array([problem.irrep.forbidding for problem in problems], dtype=np.uint16)

    def apply(self, vector: Vectors, out: Vectors, beta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """``out <- H vector - beta out`` in place; returns ``<vector|out>`` of each problem."""
        o = self.orbits
        tables = o.starts, o.nearest, o.exchanges, o.stabiliser, o.seen
        rules = o.rows * o.columns, self._couplings, self._signs, self._forbidding
        partial = np.zeros((-(-len(vector) // BLOCK), len(beta)))
        product = _product(len(beta))
        for block in range(0, len(partial), BLOCKS):
            self._tick()
            product(*tables, *rules, vector, out, beta, partial, block, min(block + BLOCKS, len(partial)))
        total: npt.NDArray[np.float64] = partial.sum(axis=0)
        return total

    def dot(self, left: Vectors, right: Vectors) -> npt.NDArray[np.float64]:
        """``<left|right>`` of each problem, in the scalar product of all configurations."""
        return _dot(left, right, self.orbits.stabiliser)

    def restrict(self, vector: Vectors) -> None:
        """Set to zero, in place, what the sectors forbid."""
        for column, problem in enumerate(self.problems):
            vector[~problem.irrep.allowed(self.orbits.seen), column] = 0.0


def ticks_of(orbits: Orbits) -> int:
    """How often a product with the Hamiltonian calls ``tick``."""
    return -(-len(orbits.states) // (BLOCK * BLOCKS))


@cache
def _product(width: int) -> Callable[..., None]:
    """Compiled product for ``width`` problems over the blocks ``first_block`` to ``last_block``."""
    shift, index = np.uint32(INDEX_BITS), np.uint32((1 << INDEX_BITS) - 1)

    @numba.njit(parallel=True)
    def product(
        starts: Any,
        nearest: Any,
        exchanges: Any,
        stabiliser: Any,
        seen: Any,
        sites: Any,
        couplings: Any,
        signs: Any,
        forbidding: Any,
        vector: Any,
        out: Any,
        beta: Any,
        partial: Any,
        first_block: Any,
        last_block: Any,
    ) -> Any:
        rows = len(vector)
        last = len(exchanges) - 1
        for block in numba.prange(first_block, last_block):
            first, second = np.empty(width), np.empty(width)
            for r in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
                middle = starts[r] + nearest[r]
                for c in range(width):
                    first[c] = 0.0
                    second[c] = 0.0
                for p in range(starts[r], middle):
                    prefetch_row(vector, np.int64(exchanges[min(p + AHEAD, last)] & index))
                    for c in range(width):
                        first[c] += signs[exchanges[p] >> shift, c] * vector[exchanges[p] & index, c]
                for p in range(middle, starts[r + 1]):
                    prefetch_row(vector, np.int64(exchanges[min(p + AHEAD, last)] & index))
                    for c in range(width):
                        second[c] += signs[exchanges[p] >> shift, c] * vector[exchanges[p] & index, c]
                # Each of the 2 N bonds of a kind has S^z S^z = 1/4, less 1/2 where the spins differ.
                nearest_diagonal = 0.5 * (sites - np.int64(nearest[r]))
                next_diagonal = 0.5 * (sites - (starts[r + 1] - middle))
                for c in range(width):
                    if seen[r] & forbidding[c]:
                        out[r, c] = 0.0
                        continue
                    value = (nearest_diagonal + couplings[c] * next_diagonal) * vector[r, c] - beta[c] * out[r, c]
                    value += 0.5 * (first[c] + couplings[c] * second[c])
                    out[r, c] = value
                    partial[block, c] += value * vector[r, c] / stabiliser[r]

    compiled: Callable[..., None] = product
    return compiled


@numba.njit(parallel=True)
def _dot(left: Any, right: Any, stabiliser: Any) -> Any:
    rows, width = left.shape
    blocks = (rows + BLOCK - 1) // BLOCK
    partial = np.zeros((blocks, width))
    for block in numba.prange(blocks):
        for r in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            for c in range(width):
                partial[block, c] += left[r, c] * right[r, c] / stabiliser[r]
    return partial.sum(axis=0)


@numba.njit(parallel=True)
def subtract(out: Any, factors: Any, vector: Any, stabiliser: Any) -> Any:
    """``out <- out - factors * vector`` in place; returns ``<out|out>`` of each problem."""
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
def scale(vector: Vectors, factors: npt.NDArray[np.float64]) -> None:
    """``vector <- factors * vector`` in place, column by column."""
    rows, width = vector.shape
    for r in numba.prange(rows):
        for c in range(width):
            vector[r, c] *= factors[c]


@numba.njit(parallel=True)
def accumulate(total: Vectors, vector: Vectors, weight: npt.NDArray[np.float64]) -> None:
    """``total <- total + weight * vector`` in place, column by column."""
    rows, width = total.shape
    for r in numba.prange(rows):
        for c in range(width):
            total[r, c] += weight[c] * vector[r, c]
