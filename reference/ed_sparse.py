"""Exact diagonalization of 6x6 (4x4 by the same code) in the fully symmetric sector: QuSpin's basis and Lanczos."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from qmcbench.reference.ed import SECTOR, ExactResult, check_coupling, orbit, provenance, structure_factors
from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.lanczos import WIDTH, GroundStates, ground_states
from qmcbench.reference.sector import Progress, Sector, antiparallel_count, build


@dataclass(frozen=True)
class Requirements:
    """What a diagonalization takes.

    Attributes
    ----------
    memory, disk
        Peak memory, and size of the kept parts if a folder is given, in bytes.
    seconds
        On 2 cores.
    """

    memory: int
    disk: int
    seconds: float


# Representatives and exchanges of the sector, counted by `build`; seconds of the build and of one Lanczos run with
# eight couplings, measured on 2 cores that had other work beside.
_SIZES = {4: (107, 3_664, 5.0, 5.0), 6: (15_804_956, 1_170_496_152, 1290.0, 2100.0)}


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
    states, exchanges, build_seconds, run_seconds = _SIZES[L]
    width = min(couplings, WIDTH)
    # Targets, four arrays of one number per state, three Lanczos vectors; 0.3 GB for Python and its libraries.
    memory = 4 * exchanges + 4 * 8 * states + 3 * 8 * width * states + 300_000_000
    runs = -(-couplings // WIDTH)
    return Requirements(memory, 4 * exchanges + 16 * states, build_seconds + runs * run_seconds)


def diagonalize_sparse(
    L: int, couplings: Sequence[float], folder: Path | None = None, progress: Progress | None = None
) -> Iterator[ExactResult]:
    """Lowest states of the fully symmetric sector, for several couplings.

    The exchanges serve every coupling, and up to eight couplings share a run. The correlations are three times those
    of S^z, as for any singlet; that it is one is verified by the energy that follows from them.

    Parameters
    ----------
    L
        4 or 6.
    couplings
        Values of J2.
    folder
        Where the finished parts of the build are kept (5 GB for 6x6), so that an interrupted one resumes.
    progress
        Called with what is being done, how many parts are done and how many there are.

    Returns
    -------
    iterator of ExactResult
        In the order of the couplings, eight at a time. For 6x6 the sector is not compared with the whole S^z = 0
        space (9 075 135 300 states), but published energies of that space agree (`qmcbench reference verify`).

    Raises
    ------
    ReferenceLayerError
        If the lattice is not served, a coupling is not finite, memory or disk will not suffice, QuSpin is missing,
        the folder holds something else, Lanczos does not converge, or a ground state is not a singlet.
    """
    for J2 in couplings:
        check_coupling(J2)
    _refuse_if_short(L, requirements(L, len(couplings)), folder)
    return _diagonalize(L, couplings, folder, progress)


def _diagonalize(
    L: int, couplings: Sequence[float], folder: Path | None, progress: Progress | None
) -> Iterator[ExactResult]:
    sector = build(L, L, folder, progress)
    for start in range(0, len(couplings), WIDTH):
        began = time.perf_counter()
        batch = list(couplings[start : start + WIDTH])
        try:
            found = ground_states(sector, batch, progress=progress)
        except ArithmeticError as error:
            raise ReferenceLayerError(f"{L}x{L}, J2 = {', '.join(f'{J2:g}' for J2 in batch)}: {error}") from error
        correlations = _spin_correlations(sector, found.vectors)
        seconds = {"build": round(sector.seconds, 1), "lanczos": round(time.perf_counter() - began, 1)}
        for column, J2 in enumerate(batch):
            correlation = {displacement: float(values[column]) for displacement, values in correlations.items()}
            made = provenance(
                f"python -m qmcbench.reference.store OUT.json --L {L} --work FOLDER",
                "QuSpin user_basis of the symmetric sector; Lanczos in two passes, residual computed from the vector",
            )
            made |= {"seconds": seconds, "couplings_together": len(batch), "iterations": found.iterations}
            made |= {"gap_residual": float(found.gap_residuals[column]), "peak_memory_bytes": _peak_memory()}
            yield _result(sector, J2, found, column, correlation, made)


def _result(
    sector: Sector, J2: float, found: GroundStates, column: int, correlation: dict[str, float], made: dict[str, Any]
) -> ExactResult:
    L, sites = sector.rows, sector.rows**2
    total = float(found.energies[column])
    # Two bonds of each kind per site.
    from_correlations = 2 * sites * (correlation["0,1"] + J2 * correlation["1,1"])
    if abs(from_correlations - total) > 1e-7:
        raise ReferenceLayerError(
            f"the lowest state of {L}x{L} at J2 = {J2} is not a singlet: its energy is {total:.9f}, but three times "
            f"its S^z correlations give {from_correlations:.9f}"
        )
    pi_pi, pi_0 = structure_factors(L, correlation)
    return ExactResult(
        L=L,
        J2=float(J2),
        energy=total / sites,
        total_energy=total,
        residual=float(found.residuals[column]),
        sector=SECTOR,
        states=len(sector.states),
        gap=float(found.gaps[column]),
        spin_correlation=correlation,
        structure_factor_pi_pi=pi_pi,
        structure_factor_pi_0=pi_0,
        provenance=made,
    )


def _spin_correlations(sector: Sector, vectors: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """``3 <S^z_0 S^z_d>`` of each coupling's state, by displacement as in `ExactResult`."""
    L, sites = sector.rows, sector.rows**2
    weights = vectors**2 / sector.stabiliser[:, None]
    found = {}
    for dx, dy in combinations_with_replacement(range(L // 2 + 1), 2):
        # One of each pair d and -d; the mean over both and over all sites is the same.
        steps = {min((x, y), (-x % L, -y % L)) for x, y in orbit(L, dx, dy)}
        mean = antiparallel_count(sector.states, L, L, steps) @ weights / (sites * len(steps))
        found[f"{dx},{dy}"] = 0.75 * (weights.sum(axis=0) - 2 * mean)
    return found


def _refuse_if_short(L: int, needed: Requirements, folder: Path | None) -> None:
    available = psutil.virtual_memory().available
    if needed.memory > available:
        raise ReferenceLayerError(
            f"{L}x{L} needs about {needed.memory / 1e9:.1f} GB of memory, but {available / 1e9:.1f} GB are free: "
            "free some, take fewer couplings at once, or use the stored results"
        )
    if folder and folder.is_dir() and not any(folder.iterdir()):
        free = shutil.disk_usage(folder).free
        if needed.disk > free:
            raise ReferenceLayerError(
                f"{L}x{L} needs {needed.disk / 1e9:.1f} GB in {folder}, but {free / 1e9:.1f} GB are free: name "
                "another folder"
            )


def _peak_memory() -> int:
    """Of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
