"""Expectation values of a symmetric state by a full sum over the orbits of all configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qmcbench.reference import store
from qmcbench.reference.ed import check_coupling, ground_state, hamiltonian_matrix
from qmcbench.reference.ed_sparse import (
    CANDIDATES,
    find_states,
    kept_state,
    refuse_if_short,
    requirements,
    state_name,
)
from qmcbench.reference.hamiltonian import Hamiltonian, Problem, scale, subtract
from qmcbench.reference.irrep import IRREPS
from qmcbench.reference.lanczos import LowestState
from qmcbench.reference.orbits import (
    Orbits,
    Progress,
    Representatives,
    basis_pieces,
    build,
    exchange_pieces,
    representatives,
)
from qmcbench.reference.pieces import Pieces

# Share of its energy below which the width of a state is rounding, and Lanczos has nowhere to go.
EIGENSTATE = 1e-12


@dataclass(frozen=True)
class Moments:
    """What the Hamiltonian makes of a state; total energies."""

    energy: float
    variance: float
    """``<H>`` and ``<H^2> - <H>^2``."""
    one_step_energy: float
    one_step_variance: float
    """Of the lowest combination of the state and ``H`` times it: one Lanczos step."""
    extrapolated: float | None
    """Energy at variance 0 on the line through the two points, no bound; None if the variance does not fall."""
    infidelity: float | None
    """``1 - |<state|other>|^2`` for the normalised other state; None if there was none."""


def moments(
    orbits: Orbits,
    problem: Problem,
    amplitudes: npt.NDArray[Any],
    other: npt.NDArray[np.float64] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Moments:
    """Energy, variance and one Lanczos step of a state of one symmetry sector.

    Parameters
    ----------
    orbits
        Built by `qmcbench.reference.orbits.build`.
    problem
        Coupling, and the sector of the state.
    amplitudes
        Of the representatives, real or complex, shape (states,); need not be normalised.
    other
        A real state of the same sector to compare with, shape (states,).
    tick
        Called now and then; may raise to give up.

    Raises
    ------
    ValueError
        If the state vanishes, is not finite, or does not vanish where its sector says so.
    """
    parts = [amplitudes.real, amplitudes.imag] if np.iscomplexobj(amplitudes) else [amplitudes]
    state = np.stack(parts, axis=1).astype(np.float64)
    hamiltonian = Hamiltonian(orbits, [problem] * len(parts), tick)
    size = np.abs(state).max()
    if not np.isfinite(size) or size == 0:
        raise ValueError(f"the largest amplitude is {size}")
    scale(state, np.full(len(parts), 1 / size))
    forbidden = np.abs(state[~problem.irrep.allowed(orbits.seen)]).max(initial=0.0)
    if forbidden > 1e-3:
        raise ValueError(f"an amplitude that {problem.irrep.name} forbids is {forbidden:.1e} of the largest")
    hamiltonian.restrict(state)
    scale(state, np.full(len(parts), hamiltonian.dot(state, state).sum() ** -0.5))
    infidelity = None if other is None else _infidelity(orbits, state, other)
    return _one_step(hamiltonian, state, infidelity)


def _one_step(hamiltonian: Hamiltonian, state: npt.NDArray[np.float64], infidelity: float | None) -> Moments:
    """Of a normalised state, whose array is used up."""
    width, stabiliser = state.shape[1], hamiltonian.orbits.stabiliser
    image = np.zeros_like(state)
    energy = hamiltonian.apply(state, image, np.zeros(width)).sum()
    variance = float(subtract(image, np.full(width, energy), state, stabiliser).sum())
    beta = variance**0.5
    if beta <= EIGENSTATE * abs(energy):
        return Moments(float(energy), variance, float(energy), variance, None, infidelity)
    scale(image, np.full(width, 1 / beta))
    alpha = hamiltonian.apply(image, state, np.full(width, beta)).sum()
    out_of_plane = float(subtract(state, np.full(width, alpha), image, stabiliser).sum())
    return _combined(float(energy), variance, float(alpha), out_of_plane, infidelity)


def _combined(energy: float, variance: float, alpha: float, out_of_plane: float, infidelity: float | None) -> Moments:
    """Of the state and ``H`` times it, ``alpha`` being the energy of what is new in the latter."""
    lowest, mixing = lowest_combination(energy, variance, alpha)
    after = float(mixing[1] ** 2 * out_of_plane)
    return Moments(
        energy=energy,
        variance=variance,
        one_step_energy=lowest,
        one_step_variance=after,
        extrapolated=at_no_variance((energy, variance), (lowest, after)),
        infidelity=infidelity,
    )


def lowest_combination(energy: float, variance: float, alpha: float) -> tuple[float, npt.NDArray[np.float64]]:
    """One Lanczos step, from the moments of a state.

    Parameters
    ----------
    energy, variance
        ``<H>`` and ``<H^2> - <H>^2`` of the state.
    alpha
        Energy of what is new in ``H`` times it: ``<(H - <H>) H (H - <H>)> / variance``.

    Returns
    -------
    lowest : float
        Least energy of all combinations of the two.
    mixing : ndarray
        Shares of the state and of ``(H - <H>)`` times it, both normalised, in that combination.
    """
    beta = variance**0.5
    values, vectors = np.linalg.eigh(np.array([[energy, beta], [beta, alpha]]))
    return float(values[0]), vectors[:, 0]


def at_no_variance(before: tuple[float, float], after: tuple[float, float]) -> float | None:
    """Energy at variance 0 on the line through two points (energy, variance); None if the variance does not fall."""
    (energy, variance), (lowest, left) = before, after
    return lowest - (energy - lowest) / (variance - left) * left if left < variance else None


def whole_moments(
    L: int, J2: float, amplitudes: Callable[[npt.NDArray[np.int8]], npt.NDArray[Any]]
) -> tuple[Moments, float]:
    """`Moments` of any state of 4x4, by all configurations and without symmetries, and the ground-state energy.

    Parameters
    ----------
    L, J2
        As in `qmcbench.reference.hamiltonian_matrix`.
    amplitudes
        Called once with all configurations, int8 +-1, shape (states, L, L); real or complex, shape (states,).

    Raises
    ------
    ValueError
        If the state vanishes or is not finite.
    """
    spins, matrix = hamiltonian_matrix(L, J2)
    state = amplitudes(spins)
    size = np.linalg.norm(state)
    if not np.isfinite(size) or size == 0:
        raise ValueError(f"its norm is {size}")
    state = state / size
    ground_energy, ground = ground_state(L, J2)
    rest = state - ground * (ground @ state)
    image = matrix @ state
    energy = float(np.vdot(state, image).real)
    image = image - energy * state
    variance = float(np.vdot(image, image).real)
    infidelity = float(np.vdot(rest, rest).real)
    if variance**0.5 <= EIGENSTATE * abs(energy):
        return Moments(energy, variance, energy, variance, None, infidelity), ground_energy
    image = image / variance**0.5
    again = matrix @ image - variance**0.5 * state
    alpha = float(np.vdot(image, again).real)
    left = again - alpha * image
    return _combined(energy, variance, alpha, float(np.vdot(left, left).real), infidelity), ground_energy


def _infidelity(orbits: Orbits, state: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Squared length of what is orthogonal to the ``other`` state: no difference of numbers near 1."""
    overlap, length = np.zeros(state.shape[1]), 0.0
    parts = [slice(low, low + (1 << 20)) for low in range(0, len(state), 1 << 20)]
    for part in parts:
        weighted = other[part] / orbits.stabiliser[part]
        overlap += weighted @ state[part]
        length += float(weighted @ other[part])
    missing = 0.0
    for part in parts:
        rest = state[part] - other[part, None] * (overlap / length)
        missing += float((rest**2 / orbits.stabiliser[part, None]).sum())
    return missing


def orbits_and_ground(
    L: int, J2: float, folder: Path | None = None, progress: Progress | None = None
) -> tuple[Orbits, LowestState]:
    """What a full sum needs: the orbits, and the ground state to hold others against.

    ``folder`` and ``progress``, and what is raised, are as in `qmcbench.reference.diagonalize_sparse`.
    """
    check_coupling(J2)
    problems = _ground_problems(L, J2)
    refuse_if_short(L, requirements(L, 1), folder)
    orbits = build(L, L, folder, progress)
    states = find_states(orbits, problems, Pieces(folder), progress)
    return orbits, min(states, key=lambda state: state.energy)


def ground_alone(
    L: int, J2: float, folder: Path | None = None, progress: Progress | None = None
) -> tuple[Representatives, LowestState]:
    """What a look-up needs: the representatives, and the ground state's amplitudes on them.

    The exchanges, most of the memory, are needed only if the folder has not got the state yet. ``folder`` and
    ``progress``, and what is raised, are as in `qmcbench.reference.diagonalize_sparse`.
    """
    if folder is None or not ground_kept(L, J2, folder):
        return orbits_and_ground(L, J2, folder, progress)
    kept = Pieces(folder)
    found = representatives(L, L, kept, progress or (lambda what, done, total: None))
    states = [kept_state(found, problem, kept) for problem in _ground_problems(L, J2)]
    return found, min(states, key=lambda state: state.energy)


def ground_kept(L: int, J2: float, folder: Path) -> bool:
    """Whether the folder has what `ground_alone` returns."""
    kept = Pieces(folder)
    return all(kept.has(name) for name in [*basis_pieces(L), *map(state_name, _ground_problems(L, J2))])


def prepare(L: int, J2: float, folder: Path, progress: Progress | None = None) -> None:
    """See that the folder has all that `orbits_and_ground` returns."""
    orbits_and_ground(L, J2, folder, progress)


def prepared(L: int, J2: float, folder: Path) -> bool:
    """Whether the folder has it."""
    kept = Pieces(folder)
    return ground_kept(L, J2, folder) and all(kept.has(name) for name in exchange_pieces())


def _ground_problems(L: int, J2: float) -> list[Problem]:
    """The sector of the stored ground state, or those that may have it."""
    known = {row.sector for row in store.stored() if row.L == L and row.J2 == J2}
    return [Problem(J2, irrep) for irrep in IRREPS if str(irrep) in known] or [
        Problem(J2, irrep) for irrep in CANDIDATES
    ]
