"""Energy, variance and infidelity of a fully symmetric wave function by a full sum: 4x4 and 6x6, no sampling.

A wave function that is multiplied by +1 or -1 under every translation, reflection and rotation of the lattice and
under the inversion of all spins need only be known on one configuration of each orbit: 107 on 4x4, 15 804 956 on 6x6.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qmcbench import statistics
from qmcbench.ansatz.base import Ansatz
from qmcbench.cores import threads
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals
from qmcbench.progress import Bar
from qmcbench.reference import requirements
from qmcbench.reference.apart import apart
from qmcbench.reference.full_sum import (
    Moments,
    ground_alone,
    ground_kept,
    moments,
    orbits_and_ground,
    prepare,
    prepared,
    whole_moments,
)
from qmcbench.reference.hamiltonian import Problem, ticks_of
from qmcbench.reference.lanczos import LowestState
from qmcbench.reference.orbits import INDEX_BITS, Orbits, group, locate
from qmcbench.reference.pieces import Pieces, cache_folder
from qmcbench.sector import NoSector, called, random_configurations, sector_of
from qmcbench.training import load_ansatz

Progress = Callable[[str, int, int], None]

WHOLE = 4
"""Largest lattice all of whose configurations are summed over where there is no symmetry."""

# Pieces of the amplitudes that are kept one by one.
CHUNKS = 32


@dataclass(frozen=True, kw_only=True)
class ExactEvaluation:
    """What a full sum says of a wave function; energies per site, S.S units, J1 = 1.

    Attributes
    ----------
    L, J2
        Lattice and coupling.
    sector, ground_sector
        Symmetry sector of the wave function, and of the ground state; see :mod:`qmcbench.reference.irrep`.
    energy, variance, v_score
        ``<H>/N``, ``(<H^2> - <H>^2)/N^2``, and the V-score (:func:`qmcbench.statistics.v_score`).
    exact_energy, relative_error
        Of the ground state, and ``(energy - exact_energy) / |exact_energy|``.
    infidelity
        ``1 - |<psi|ground state>|^2``; 1 in another sector.
    one_step_energy, one_step_variance
        After one Lanczos step, from ``<H>, <H^2>, <H^3>`` (and ``<H^4>``).
    extrapolated_energy
        On the line through both points at variance 0, an estimate and no bound; None if the variance does not fall.
    asymmetry
        Largest median change of log|psi| under a symmetry, on random configurations; nan in no sector.
    configurations
        Orbits summed over, or configurations where the wave function is in no sector.
    seconds
        What the amplitudes took and what the sums took.
    """

    L: int
    J2: float
    sector: str
    ground_sector: str
    energy: float
    variance: float
    v_score: float
    exact_energy: float
    relative_error: float
    infidelity: float
    one_step_energy: float
    one_step_variance: float
    extrapolated_energy: float | None
    asymmetry: float
    configurations: int
    seconds: tuple[float, float]


@threads(None)  # numba, which shares torch's OpenMP, leaves torch with its own number
def exact_energy(
    psi: Ansatz, L: int, J2: float, *, folder: Path | None = None, batch: int = 4096, progress: Progress | None = None
) -> ExactEvaluation:
    """Evaluate a wave function by a full sum over the orbits of all configurations.

    Parameters
    ----------
    psi
        Called with int8 spins +-1, shape (batch, L, L); returns (log|psi|, phase): :class:`qmcbench.ansatz.Ansatz`.
        Its phase may be complex.
    L, J2
        4 or 6, and the coupling.
    folder
        Where 6x6 keeps what is built once (:func:`qmcbench.reference.requirements` says how much), and the amplitudes
        of an evaluation that was interrupted; absent, the user's cache.
    batch
        Configurations that ``psi`` is called with.
    progress
        Called with what is being done, how much of it is done, and the total, several times a second when it can; it
        may raise to give up.

    Raises
    ------
    UserError
        If ``psi`` lacks a symmetry (which is named), vanishes everywhere or is not finite.
    ReferenceLayerError
        As :func:`qmcbench.reference.diagonalize_sparse`.
    """
    report = progress or (lambda what, done, total: None)
    irrep, asymmetry = sector_of(psi, L)
    orbits, ground = _orbits_and_ground(L, J2, folder, report)
    began = time.monotonic()
    amplitudes = _amplitudes(psi, orbits, Pieces(folder or _cache(L) if L > 4 else None), batch, report)
    between = time.monotonic()
    other = ground.vector if ground.problem.irrep == irrep else None
    ticks = count(1)

    def tick() -> None:
        # Two products with the Hamiltonian.
        report("full sum", next(ticks), 2 * ticks_of(orbits))
        if signals:
            raise KeyboardInterrupt

    try:
        with catch_signals() as signals:
            found = moments(orbits, Problem(J2, irrep), amplitudes, other, tick)
    except ValueError as error:
        raise UserError(f"The wave function cannot be summed on {L}x{L}: {error}.") from error
    return ExactEvaluation(
        **_per_site(found, L, ground.energy),
        J2=J2,
        sector=irrep.name,
        ground_sector=ground.problem.irrep.name,
        asymmetry=asymmetry,
        configurations=int(irrep.allowed(orbits.seen).sum()),
        seconds=(between - began, time.monotonic() - between),
    )


def whole_sum(psi: Ansatz, L: int, J2: float) -> ExactEvaluation:
    """As :func:`exact_energy`, of any wave function on 4x4: a sum over all 12 870 configurations, in no sector."""
    began = time.monotonic()

    def amplitudes(spins: npt.NDArray[np.int8]) -> npt.NDArray[Any]:
        log_psi, phase = called(psi, torch.from_numpy(spins))
        values: npt.NDArray[Any] = phase * np.exp(log_psi - log_psi.max())
        return values

    try:
        found, ground_energy = whole_moments(L, J2, amplitudes)
    except ValueError as error:
        raise UserError(f"The wave function cannot be summed on {L}x{L}: {error}.") from error
    return ExactEvaluation(
        **_per_site(found, L, ground_energy),
        J2=J2,
        sector="none",
        ground_sector="the lowest state of all",
        asymmetry=math.nan,
        configurations=math.comb(L * L, L * L // 2),
        seconds=(0.0, time.monotonic() - began),
    )


def _per_site(found: Moments, L: int, ground_energy: float) -> dict[str, Any]:
    """What moments say, as an evaluation has it."""
    sites, exact = L * L, ground_energy / (L * L)
    return {
        "L": L,
        "energy": found.energy / sites,
        "variance": found.variance / sites**2,
        "v_score": statistics.v_score(found.energy, found.variance, sites),
        "exact_energy": exact,
        "relative_error": (found.energy / sites - exact) / abs(exact),
        "infidelity": 1.0 if found.infidelity is None else found.infidelity,
        "one_step_energy": found.one_step_energy / sites,
        "one_step_variance": found.one_step_variance / sites**2,
        "extrapolated_energy": None if found.extrapolated is None else found.extrapolated / sites,
    }


class GroundState:
    """The exact ground state of 4x4 or 6x6 as a wave function, looked up: local energies without variance.

    Parameters
    ----------
    L, J2, folder, progress
        As in :func:`exact_energy`.

    Attributes
    ----------
    energy
        Exact, per site.

    Raises
    ------
    ReferenceLayerError
        As :func:`qmcbench.reference.diagonalize_sparse`.
    """

    @threads(None)
    def __init__(self, L: int, J2: float, folder: Path | None = None, progress: Progress | None = None) -> None:
        there = None if L == 4 else folder or _cache(L)
        if there is not None and not ground_kept(L, J2, there):
            apart(prepare, L, J2, there, progress=progress)
        self._orbits, state = ground_alone(L, J2, there, progress)
        self.energy = state.energy / (L * L)
        self._vector = state.vector / group(L, L) ** 0.5
        self._signs = state.problem.irrep.signs

    def __call__(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, sign) in float64, each of shape (batch,), of a normalised psi; for S^z = 0 only."""
        packed = locate(self._orbits, self._orbits.words(spins.cpu().numpy()))
        psi = self._signs[packed >> INDEX_BITS] * self._vector[packed & ((1 << INDEX_BITS) - 1)]
        found = torch.from_numpy(psi).to(spins.device)
        return found.abs().log(), torch.sgn(found)


def _orbits_and_ground(
    L: int, J2: float, folder: Path | None, progress: Progress | None
) -> tuple[Orbits, LowestState]:
    if L == 4:
        return orbits_and_ground(L, J2)
    there = folder or _cache(L)
    if not prepared(L, J2, there):
        apart(prepare, L, J2, there, progress=progress)
    return orbits_and_ground(L, J2, there, progress)


def at_hand(L: int, J2: float) -> bool:
    """Whether :class:`GroundState` takes seconds, not the time of a diagonalization."""
    return L == 4 or (L == 6 and ground_kept(L, J2, _cache(L)))


def _cache(L: int) -> Path:
    return cache_folder(f"ed_{L}x{L}")


def _amplitudes(
    psi: Ansatz, orbits: Orbits, kept: Pieces, batch: int, report: Progress
) -> npt.NDArray[np.float64] | npt.NDArray[np.complex128]:
    """psi of all representatives, the largest of size 1; pieces are kept until all are there."""
    total = len(orbits.states)
    probes = called(psi, random_configurations(orbits.rows))
    digest = hashlib.sha256(b"".join(values.tobytes() for values in probes)).hexdigest()[:16]

    def compute(begin: int, end: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        parts = []
        for low in range(begin, end, batch):
            report("amplitudes", low, total)
            parts.append(called(psi, torch.from_numpy(orbits.configurations(low, min(end, low + batch)))))
        log_psi, phase = (np.concatenate(values) for values in zip(*parts, strict=True))
        return log_psi, phase

    edges = np.unique(np.linspace(0, total, CHUNKS + 1).astype(np.int64)).tolist()
    names = [f"amplitudes_{digest}_{begin}" for begin in edges[:-1]]
    found = [
        kept.get(name, partial(compute, begin, end))
        for name, (begin, end) in zip(names, pairwise(edges), strict=True)
    ]
    log_psi, phase = (np.concatenate(values) for values in zip(*found, strict=True))
    top = log_psi.max()
    if not np.isfinite(top):
        raise UserError("The wave function vanishes everywhere: nothing to sum up.")
    for name in names:
        kept.remove(name)
    amplitudes: npt.NDArray[np.float64] = phase * np.exp(log_psi - top)
    return amplitudes


def exact_energy_of(
    path: Path,
    *,
    L: int | None = None,
    J2: float | None = None,
    symmetry: str | None = None,
    quiet: bool = False,
) -> ExactEvaluation:
    """:func:`exact_energy` of the checkpoint at ``path``; lattice, coupling and symmetry are its own if absent.

    Raises
    ------
    UserError
        If the checkpoint cannot be read, and as :func:`exact_energy`.
    Interrupted
        After SIGINT or SIGTERM.
    """
    psi, config = load_ansatz(path, symmetry)
    size, coupling = L or config.model.L, config.model.J2 if J2 is None else J2
    folder = _cache(size)
    needed = requirements(size, 1)
    if size > 4 and not quiet and not prepared(size, coupling, folder):
        print(
            f"{size}x{size}: first what every wave function is summed with, about {needed.seconds / 60:.0f} minutes "
            f"on 2 cores, {needed.memory / 1e9:.1f} GB of memory and {needed.disk / 1e9:.1f} GB in {folder}.",
            file=sys.stderr,
        )
    try:
        with Bar(f"{size}x{size} full sum", 1, quiet=quiet) as bar:
            try:
                return exact_energy(psi, size, coupling, folder=folder, progress=bar.stage)
            except NoSector:
                if size > WHOLE:
                    raise
                return whole_sum(psi, size, coupling)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted; what is finished is kept in {folder}, and the same command goes on from there."
        ) from None
