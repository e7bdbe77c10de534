"""Exact diagonalization of 6x6 (4x4 by the same code) in symmetry sectors: orbits, QuSpin as their judge, Lanczos."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from pathlib import Path

import numpy as np
import psutil

from qmcbench.reference.ed import ExactResult, check_coupling, orbit, provenance, structure_factors
from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.hamiltonian import WIDTH, Problem
from qmcbench.reference.irrep import Irrep
from qmcbench.reference.lanczos import LowestState, lowest_states
from qmcbench.reference.orbits import Orbits, Progress, Representatives, antiparallel_count, build
from qmcbench.reference.pieces import Pieces
from qmcbench.reference.published import published

CANDIDATES = (Irrep(), Irrep(transposition=-1))
"""Sectors that hold the ground state of 6x6: A1, and B1 where stripes win (Schulz, Ziman, Poilblanc 1996)."""


@dataclass(frozen=True)
class Requirements:
    """What a diagonalization takes."""

    memory: int
    disk: int
    """Peak memory, and size of the kept pieces if a folder is given, in bytes."""
    seconds: float
    """On 2 cores."""


# Orbits and exchanges, counted by `build`; seconds that the build takes one core.
_SIZES = {4: (107, 3_664, 10.0), 6: (15_804_956, 1_170_496_152, 600.0)}
# Products in both passes of a Lanczos run, and what one takes a core: nanoseconds for each exchange, in all and for
# each problem (16 s for eight problems on 6x6).
_PRODUCTS, _PRODUCT, _EACH = 200, 4.5, 1.2


def requirements(L: int, couplings: int) -> Requirements:
    """Estimate for this many couplings.

    Raises
    ------
    ReferenceLayerError
        If the lattice is neither 4 nor 6.
    """
    if L not in _SIZES:
        raise ReferenceLayerError(
            f"L = {L} cannot be diagonalized, only L = 4 and 6 can: the sector of 8x8 has 10^15 states; "
            "look for a published energy with `qmcbench reference show`"
        )
    states, exchanges, build_seconds = _SIZES[L]
    problems = couplings * len(CANDIDATES)
    width = min(problems, WIDTH)
    # Exchanges, tables of 21 bytes for each state, three Lanczos vectors; 0.4 GB for Python and its libraries.
    memory = 4 * exchanges + 21 * states + 3 * 8 * width * states + 400_000_000
    # Exchanges, tables of 12 bytes, an unfinished run, the states found.
    disk = 4 * exchanges + 12 * states + 3 * 8 * width * states + 8 * problems * states
    runs = -(-problems // WIDTH)
    products = 1e-9 * exchanges * _PRODUCTS * (runs * _PRODUCT + problems * _EACH)
    return Requirements(memory, disk, (build_seconds + products) / 2)


def diagonalize_sparse(
    L: int, couplings: Sequence[float], folder: Path | None = None, progress: Progress | None = None
) -> Iterator[ExactResult]:
    """Lowest states of the sectors `CANDIDATES`, the lower one for each coupling, in their order.

    The exchanges serve every coupling and sector, and up to eight of these share a run. The correlations are three
    times those of S^z, as for any singlet; that it is one is verified by the energy that follows from them.

    Parameters
    ----------
    L
        4 or 6.
    folder
        Where finished pieces, an unfinished Lanczos run and the states found are kept (see `requirements`), so that
        an interrupted computation resumes and a later one has them.
    progress
        Called with what is being done, how many parts are done and how many there are.

    Raises
    ------
    ReferenceLayerError
        If the lattice is not served, a coupling cannot be, memory or disk will not suffice, QuSpin is missing, the
        folder holds something else, Lanczos does not converge, or a ground state is not a singlet.
    """
    for J2 in couplings:
        check_coupling(J2)
    refuse_if_short(L, requirements(L, len(couplings)), folder)
    return _diagonalize(L, couplings, folder, progress)


def _diagonalize(
    L: int, couplings: Sequence[float], folder: Path | None, progress: Progress | None
) -> Iterator[ExactResult]:
    orbits = build(L, L, folder, progress)
    problems = [Problem(float(J2), irrep) for J2, irrep in product(couplings, CANDIDATES)]
    states = find_states(orbits, problems, Pieces(folder), progress)
    for _ in couplings:
        sectors = [next(states) for _ in CANDIDATES]
        yield _result(orbits, sorted(sectors, key=lambda state: state.energy))


def find_states(
    orbits: Orbits, problems: Sequence[Problem], kept: Pieces, progress: Progress | None = None
) -> Iterator[LowestState]:
    """Lowest states in the order of the problems: those that are kept, and the others by Lanczos, eight at a time.

    Raises
    ------
    ReferenceLayerError
        If Lanczos does not converge, or a kept state is damaged.
    """
    missing = [problem for problem in problems if not kept.has(state_name(problem))]
    computed: dict[Problem, LowestState] = {}
    for problem in problems:
        if problem in missing and problem not in computed:
            start = missing.index(problem)
            batch = missing[start : start + WIDTH]
            try:
                found = lowest_states(orbits, batch, kept=kept, progress=progress)
            except ArithmeticError as error:
                names = ", ".join(f"J2 = {each.J2:g} {each.irrep.name}" for each in batch)
                raise ReferenceLayerError(f"{orbits.rows}x{orbits.columns}, {names}: {error}") from error
            computed |= {state.problem: state for state in found}
            for state in found:
                numbers = state.energy, state.residual, state.gap, state.gap_residual, state.iterations
                kept.save(
                    state_name(state.problem), (np.array([*numbers, state.together, state.seconds]), state.vector)
                )
        yield computed.pop(problem) if problem in computed else kept_state(orbits, problem, kept)


def state_name(problem: Problem) -> str:
    """By which a lowest state is kept."""
    return f"state_{problem.irrep.code}_{problem.J2!r}"


def kept_state(orbits: Representatives, problem: Problem, kept: Pieces) -> LowestState:
    """The lowest state of a problem that was kept.

    Raises
    ------
    ReferenceLayerError
        If there is none, or it is another lattice's or damaged.
    """
    found = kept.load(state_name(problem))
    if found is None or [array.shape for array in found] != [(7,), orbits.states.shape]:
        raise ReferenceLayerError(
            f"{kept.folder} holds another lattice's state {state_name(problem)}: name another folder, or delete it"
        )
    (energy, residual, gap, gap_residual, iterations, together, seconds), vector = found
    return LowestState(
        problem=problem,
        energy=float(energy),
        residual=float(residual),
        gap=float(gap),
        gap_residual=float(gap_residual),
        iterations=int(iterations),
        together=int(together),
        seconds=float(seconds),
        vector=vector,
    )


def _result(orbits: Orbits, sectors: Sequence[LowestState]) -> ExactResult:
    """The first of the ``sectors``, lowest first, as a result."""
    state, *others = sectors
    L, sites, J2 = orbits.rows, orbits.rows**2, state.problem.J2
    correlation = spin_correlations(orbits, state)
    # Two bonds of each kind per site.
    from_correlations = 2 * sites * (correlation["0,1"] + J2 * correlation["1,1"])
    if abs(from_correlations - state.energy) > 1e-7 * max(1, abs(J2)):
        raise ReferenceLayerError(
            f"the lowest state of {L}x{L} at J2 = {J2} is not a singlet: its energy is {state.energy:.9f}, but three "
            f"times its S^z correlations give {from_correlations:.9f}"
        )
    pi_pi, pi_0 = structure_factors(L, correlation)
    made = provenance(
        f"python -m qmcbench.reference.store OUT.json --L {L} --work FOLDER",
        "orbits judged by QuSpin (user_basis); Lanczos in two passes, residual computed from the vector",
    )
    made |= {"seconds": {"build": round(orbits.seconds, 1), "lanczos": round(state.seconds, 1)}}
    made |= {"problems_together": state.together, "iterations": state.iterations, "gap_residual": state.gap_residual}
    return ExactResult(
        L=L,
        J2=J2,
        energy=state.energy / sites,
        total_energy=state.energy,
        residual=state.residual,
        sector=str(state.problem.irrep),
        ground_state=evidence(L, J2, state.energy / sites),
        other_sectors={other.problem.irrep.name: other.energy for other in others},
        states=len(orbits.states),
        gap=state.gap,
        spin_correlation=correlation,
        structure_factor_pi_pi=pi_pi,
        structure_factor_pi_0=pi_0,
        provenance=made | {"peak_memory_bytes": _peak_memory()},
    )


def evidence(L: int, J2: float, energy: float) -> str:
    """How an energy per site is known to be that of the ground state: by a published exact one, or not at all."""
    rows = [row for row in published(L, J2, "exact") if row.verified and not row.conflict]
    agreeing = [row for row in rows if abs(row.energy - energy) <= row.resolution + 1e-12]
    if not agreeing:
        return f"not known: no published exact energy of {L}x{L} to compare with"
    row = min(agreeing, key=lambda row: row.resolution)
    apart = max(1e-12, abs(row.energy - energy))
    return f"the published exact energy {row.energy:.12g} ({row.cite}) agrees to {apart:.0e}"


def spin_correlations(orbits: Orbits, state: LowestState) -> dict[str, float]:
    """``3 <S^z_0 S^z_d>``, by displacement as in `ExactResult`."""
    L, sites = orbits.rows, orbits.rows**2
    weights = state.vector**2 / orbits.stabiliser
    found = {}
    for dx, dy in combinations_with_replacement(range(L // 2 + 1), 2):
        # One of each pair d and -d; the mean over both and over all sites is the same.
        steps = {min((x, y), (-x % L, -y % L)) for x, y in orbit(L, dx, dy)}
        mean = antiparallel_count(orbits.states, L, L, steps) @ weights / (sites * len(steps))
        found[f"{dx},{dy}"] = float(0.75 * (weights.sum() - 2 * mean))
    return found


def refuse_if_short(L: int, needed: Requirements, folder: Path | None) -> None:
    """Raise a ReferenceLayerError if memory, or room in an empty folder, will not suffice."""
    available = psutil.virtual_memory().available
    if needed.memory > available:
        raise ReferenceLayerError(
            f"{L}x{L} needs about {needed.memory / 1e9:.1f} GB of memory, but {available / 1e9:.1f} GB are free: "
            "free some, take fewer couplings at once, or use the stored results"
        )
    if folder and not (folder.is_dir() and any(folder.iterdir())):
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
        free = shutil.disk_usage(there).free
        if needed.disk > free:
            raise ReferenceLayerError(
                f"{L}x{L} needs {needed.disk / 1e9:.1f} GB in {folder}, but {free / 1e9:.1f} GB are free: name "
                "another folder"
            )


def _peak_memory() -> int:
    """Of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
