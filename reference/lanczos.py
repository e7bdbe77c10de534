"""Lowest states of the J1-J2 Hamiltonian in symmetry sectors, for several couplings and sectors at once.

A product with the Hamiltonian fetches one random vector element per exchange, and a cache line has room for eight: so
the vectors of up to eight problems are interleaved, and cost little more than one. Two passes of the Lanczos
recurrence, the second to sum up the lowest states, need three such vectors in memory and no more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

from qmcbench.reference.hamiltonian import Hamiltonian, Problem, Vectors, accumulate, scale, subtract
from qmcbench.reference.orbits import Orbits, Progress
from qmcbench.reference.pieces import Pieces

_Numbers = npt.NDArray[np.float64]

MAX_ITERATIONS = 400
# Distance from the ground state, and first component, below which a Ritz vector is a copy made by rounding.
COPY = 1e-6
# Seconds between two savings of an unfinished run.
SAVE_EVERY = 600.0


@dataclass(frozen=True)
class LowestState:
    """Lowest state of one sector at one coupling."""

    problem: Problem
    """Coupling and sector."""
    energy: float
    """Total energy ``<v|H|v>``."""
    residual: float
    """Norm of ``H v - E v`` for the normalised v, computed from the vector."""
    gap: float
    """To the next state of the sector: from the tridiagonal matrix, hence an upper bound; see `gap_residual`."""
    gap_residual: float
    """Norm of the residual of that next state, from the tridiagonal matrix."""
    iterations: int
    """Products with the Hamiltonian in the first pass."""
    together: int
    """Problems that shared the products."""
    seconds: float
    """Of the run that they shared, in all of its sittings."""
    vector: _Numbers
    """Amplitudes of the representatives, shape (states,), normalised in the scalar product of
    `qmcbench.reference.orbits`: that of all configurations is larger by the order of the group."""


def lowest_states(
    orbits: Orbits,
    problems: Sequence[Problem],
    *,
    tolerance: float = 1e-9,
    gap_tolerance: float = 1e-2,
    kept: Pieces | None = None,
    progress: Progress | None = None,
) -> list[LowestState]:
    """Lanczos for all ``problems`` together.

    Parameters
    ----------
    orbits
        Built by `qmcbench.reference.orbits.build`.
    problems
        Couplings and sectors, at most eight.
    tolerance
        Bound on the residual of the lowest state, in units of J1; the residual in the result is computed afresh.
    gap_tolerance
        Bound on the residual of the next state.
    kept
        Where an unfinished run is kept, so that an interrupted one resumes, and the states found.
    progress
        Called with what is being done, how much of it is done, and the expected total.

    Raises
    ------
    ValueError
        If there are no problems, or more than eight.
    ArithmeticError
        If the residual cannot be brought below the tolerance.
    """
    run = _Run(Hamiltonian(orbits, problems), kept or Pieces(None), progress or (lambda what, done, total: None))
    roots = run.first_pass(tolerance, gap_tolerance)
    vectors = run.second_pass([root.lowest for root in roots])
    iterations, seconds = len(run.alphas), run.seconds
    energies, residuals = run.check(vectors)
    if (residuals > tolerance).any():
        raise ArithmeticError(f"the residual is {residuals.max():.1e} after rounding, not {tolerance:.1e}")
    found = [
        LowestState(
            problem=problem,
            energy=float(energies[column]),
            residual=float(residuals[column]),
            gap=roots[column].gap,
            gap_residual=roots[column].gap_residual,
            iterations=iterations,
            together=len(problems),
            seconds=seconds,
            vector=vectors[:, column].copy(),
        )
        for column, problem in enumerate(problems)
    ]
    run.forget()
    return found


@dataclass(frozen=True)
class _Roots:
    """What the tridiagonal matrix of one problem says about its two lowest states."""

    lowest: _Numbers
    residual: float
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


class _Run:
    """The Lanczos recurrence from a fixed start, twice: the same to the bit every time, saved now and then."""

    def __init__(self, hamiltonian: Hamiltonian, kept: Pieces, report: Progress) -> None:
        self.hamiltonian, self.kept, self.report = hamiltonian, kept, report
        self.width = len(hamiltonian.problems)
        self.alphas = self.betas = np.empty((0, self.width))
        self.total: Vectors | None = None
        self.seconds = 0.0
        self._since = self._saved = time.monotonic()
        names = "_".join(f"{problem.irrep.code}-{problem.J2!r}" for problem in hamiltonian.problems)
        self.name = f"lanczos_{names}"
        if not self._resume():
            self._start()

    def first_pass(self, tolerance: float, gap_tolerance: float) -> list[_Roots]:
        """Both states of every problem, each from the tridiagonal matrix in which it converged."""
        lowest: list[_Roots | None] = [None] * self.width
        worst: list[float] = []
        size = 0
        while True:
            if self.total is None and size == len(self.alphas):
                self._step(first=True)
            size += 1
            a, b = self.alphas[:size], self.betas[:size]
            roots = [_roots(a[:, c], b[:, c]) for c in range(self.width)]
            # A tenth of the tolerance: the estimate knows nothing of rounding.
            lowest = [
                found or (root if root.residual < 0.1 * tolerance else None)
                for found, root in zip(lowest, roots, strict=True)
            ]
            worst.append(max((found or root).residual for found, root in zip(lowest, roots, strict=True)))
            self.report(f"Lanczos, residual {worst[-1]:.1e}", size, _expected(worst, 0.1 * tolerance))
            if all(lowest) and all(root.gap_residual < gap_tolerance for root in roots):
                return [
                    replace(root, lowest=found.lowest) for found, root in zip(lowest, roots, strict=True) if found
                ]
            if size == MAX_ITERATIONS or (b[-1] < 1e-12).any():
                raise ArithmeticError(
                    f"Lanczos stopped at a residual of {worst[-1]:.1e} after {size} products, not {tolerance:.1e}"
                )

    def second_pass(self, lowest: list[_Numbers]) -> Vectors:
        """Lowest states: the Lanczos vectors once more, summed up with their components in the tridiagonal matrix."""
        weights = np.array(list(zip_longest(*lowest, fillvalue=0.0)))
        if self.total is None:
            self._start()
            self.total = np.zeros_like(self.vector)
        while self.done < len(weights):
            accumulate(self.total, self.vector, weights[self.done])
            self._step(first=False)
            self.report("lowest states", self.done, len(weights))
        return self.total

    def check(self, vectors: Vectors) -> tuple[_Numbers, _Numbers]:
        """Normalises the vectors in place; their energies and the norms of their residuals."""
        nothing = np.zeros(self.width)
        scale(vectors, 1 / np.sqrt(self.hamiltonian.dot(vectors, vectors)))
        energies = self.hamiltonian.apply(vectors, self.other, nothing)
        return energies, np.sqrt(subtract(self.other, energies, vectors, self.hamiltonian.orbits.stabiliser))

    def forget(self) -> None:
        """Free the memory, and remove what was saved."""
        del self.vector, self.other, self.total
        self.kept.remove(self.name)

    def _start(self) -> None:
        """Signs of the Neel state's sublattices and random sizes, normalised: no sector's state is orthogonal."""
        orbits = self.hamiltonian.orbits
        sublattice = sum(
            1 << bit
            for bit in range(orbits.rows * orbits.columns)
            if (bit // orbits.columns + bit % orbits.columns) % 2
        )
        ups = orbits.states & np.uint64(sublattice)
        for shift in (32, 16, 8, 4, 2, 1):
            ups ^= ups >> np.uint64(shift)
        sign = 1.0 - 2.0 * (ups & np.uint64(1))
        amplitude = sign * np.random.default_rng(0).uniform(0.5, 1.5, len(orbits.states))
        self.vector: Vectors = np.repeat(amplitude[:, None], self.width, axis=1)
        self.hamiltonian.restrict(self.vector)
        scale(self.vector, 1 / np.sqrt(self.hamiltonian.dot(self.vector, self.vector)))
        self.other: Vectors = np.zeros_like(self.vector)
        self.beta = np.zeros(self.width)
        self.done = 0

    def _step(self, *, first: bool) -> None:
        alpha = self.hamiltonian.apply(self.vector, self.other, self.beta)
        self.beta = np.sqrt(subtract(self.other, alpha, self.vector, self.hamiltonian.orbits.stabiliser))
        scale(self.other, 1.0 / self.beta)
        self.vector, self.other = self.other, self.vector
        self.done += 1
        if first:
            self.alphas, self.betas = np.vstack([self.alphas, alpha]), np.vstack([self.betas, self.beta])
        self.seconds += time.monotonic() - self._since
        self._since = time.monotonic()
        if self._since - self._saved > SAVE_EVERY:
            second = () if self.total is None else (self.total,)
            state = np.array([self.done, self.seconds]), self.alphas, self.betas, self.beta, self.vector, self.other
            self.kept.save(self.name, (*state, *second))
            self._saved = time.monotonic()

    def _resume(self) -> bool:
        saved = self.kept.load(self.name)
        if saved is None:
            return False
        (done, self.seconds), self.alphas, self.betas, self.beta, self.vector, self.other, *second = saved
        self.done = int(done)
        self.total = second[0] if second else None
        return True


def _expected(residuals: list[float], target: float) -> int:
    """Products in all, if the residual goes on falling as it did over the last ten; it hardly falls at first."""
    done = len(residuals)
    fall = np.log(residuals[max(0, done - 11)] / residuals[-1]) / min(done, 10)
    return (
        min(MAX_ITERATIONS, done + round(np.log(residuals[-1] / target) / max(fall, 0.3)))
        if residuals[-1] > target
        else done
    )
