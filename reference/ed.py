"""Exact diagonalization of the J1-J2 model with QuSpin, and the observables of its ground state.

``H = sum_<ij> S_i.S_j + J2 sum_<<ij>> S_i.S_j``: spin 1/2, periodic L x L square lattice, J1 = 1, S^z = 0.
Site ``(i, j)`` has the row-major index ``i * L + j``. Energies are in S.S units (Pauli units are four times larger).
"""

from __future__ import annotations

import math
import os
import platform
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.irrep import Irrep

SECTOR = str(Irrep())
# Lanczos brings the residual to 1e-9: thirteen digits of the energy at this coupling, ten of what J1 contributes.
LARGEST_J2 = 1e3
_NEAREST = ((0, 1), (1, 0))
_NEXT_NEAREST = ((1, 1), (1, -1))

_Bond = tuple[float, int, int]


@dataclass(frozen=True)
class ExactResult:
    """Ground state of one lattice and coupling, with the diagnostics that say how far to trust it."""

    L: int
    """Side of the lattice."""
    J2: float
    """Next-nearest-neighbour coupling, J1 = 1."""
    energy: float
    """Ground-state energy per site."""
    total_energy: float
    """Ground-state energy of the whole lattice."""
    residual: float
    """Norm of ``H v - E v`` for the normalised ground state ``v``, in units of the total energy."""
    sector: str
    """Symmetries and quantum numbers of the state."""
    ground_state: str
    """How this is known to be the ground state of the whole S^z = 0 space; begins with "not known" if it is not."""
    other_sectors: dict[str, float]
    """Lowest total energies in the other sectors that were computed, by the names of `qmcbench.reference.irrep`."""
    states: int
    """Number of orbits of configurations, which is the dimension of the fully symmetric sector."""
    gap: float
    """From the ground state to the next state of the same sector, total energy."""
    spin_correlation: dict[str, float]
    """``<S_0 . S_d>``, averaged over sites and over the displacements that the point group makes equivalent. Keys
    are ``"dx,dy"`` with ``0 <= dx <= dy <= L/2``; ``"0,0"`` is 3/4."""
    structure_factor_pi_pi: float
    structure_factor_pi_0: float
    """``S(q) = sum_d exp(i q.d) <S_0 . S_d>`` over the L*L displacements, not divided by the number of sites: it
    is extensive where there is order, and its mean over all q is 3/4. ``pi_0`` is the mean of ``S(pi, 0)`` and
    ``S(0, pi)``."""
    provenance: dict[str, Any]
    """Command, method, library versions, machine, seconds and date of the computation."""


def diagonalize(L: int, J2: float) -> ExactResult:
    """Ground state of the L x L lattice in the fully symmetric sector, and its observables.

    The sector's lowest energy is compared with the lowest one of the whole S^z = 0 space before it is returned. L = 4
    is the only lattice served, and J2 is at most 1000 in size.

    Raises
    ------
    ReferenceLayerError
        If the lattice is not served, J2 is not finite, QuSpin is missing, or the ground state of the S^z = 0 space
        lies outside the symmetric sector.
    """
    _check(L, J2)
    start = time.perf_counter()
    basis = _symmetric_basis(L)
    matrix = _matrix(basis, _bonds(L, J2)).toarray()
    energies, vectors = np.linalg.eigh(matrix)
    total, vector = float(energies[0]), vectors[:, 0]

    unsymmetrised, _ = ground_state(L, J2)
    if abs(total - unsymmetrised) > 1e-9 * max(1.0, abs(total)):
        raise ReferenceLayerError(
            f"the ground state of L = {L}, J2 = {J2} is not in the symmetric sector (E = {total:.12g} there, "
            f"{unsymmetrised:.12g} in the whole S^z = 0 space): use ground_state, which takes it from the whole space"
        )

    correlation = {
        f"{dx},{dy}": 0.75
        if dx == dy == 0
        else float(vector @ (_matrix(basis, _pairs(L, orbit(L, dx, dy))) @ vector))
        for dx, dy in combinations_with_replacement(range(L // 2 + 1), 2)
    }
    pi_pi, pi_0 = structure_factors(L, correlation)
    return ExactResult(
        L=L,
        J2=float(J2),
        energy=total / L**2,
        total_energy=total,
        residual=float(np.linalg.norm(matrix @ vector - total * vector)),
        sector=SECTOR,
        ground_state="lowest energy of the whole S^z = 0 space, by Lanczos (ARPACK) without symmetries",
        other_sectors={},
        states=len(vector),
        gap=float(energies[1]) - total,
        spin_correlation=correlation,
        structure_factor_pi_pi=pi_pi,
        structure_factor_pi_0=pi_0,
        provenance=provenance(
            f"qmcbench.reference.diagonalize({L}, {J2})",
            "dense diagonalization of the symmetric sector; "
            "its energy checked against Lanczos (ARPACK) on the whole S^z=0 space",
        )
        | {"seconds": round(time.perf_counter() - start, 3)},
    )


def hamiltonian_matrix(L: int, J2: float) -> tuple[npt.NDArray[np.int8], csr_array[Any, tuple[int, int]]]:
    """Hamiltonian over all S^z = 0 configurations, without symmetries; L and J2 as in `diagonalize`.

    Returns
    -------
    configurations : int8 array, shape (states, L, L)
        Spins +1 (up) and -1 (down).
    matrix : csr_array of float64, shape (states, states)
        ``matrix[a, b] = <configurations[a]| H |configurations[b]>`` in S.S units; real and symmetric.

    Raises
    ------
    ReferenceLayerError
        If the lattice is not served, J2 is not finite or QuSpin is missing.
    """
    _check(L, J2)
    spin_basis_general, _ = _quspin()
    sites = L**2
    basis = spin_basis_general(sites, Nup=sites // 2, pauli=False)
    # QuSpin keeps site 0 in the highest bit, and a set bit is an up spin.
    bits = (basis.states[:, None] >> np.arange(sites - 1, -1, -1, dtype=basis.states.dtype)) & 1
    configurations = (2 * bits.astype(np.int8) - 1).reshape(-1, L, L)
    return configurations, csr_array(_matrix(basis, _bonds(L, J2)))


def ground_state(L: int, J2: float) -> tuple[float, npt.NDArray[np.float64]]:
    """Lowest state of the whole S^z = 0 space; L and J2 as in `diagonalize`.

    Returns
    -------
    energy : float
        Total energy in S.S units.
    vector : float64 array, shape (states,)
        Normalised amplitudes in the order of the configurations of `hamiltonian_matrix`; the largest is positive.

    Raises
    ------
    ReferenceLayerError
        If the lattice is not served, J2 is not finite or QuSpin is missing.
    """
    _, matrix = hamiltonian_matrix(L, J2)
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    energies, vectors = eigsh(matrix, k=1, which="SA", v0=start, tol=0)
    vector = vectors[:, 0]
    return float(energies[0]), vector * np.sign(vector[np.argmax(np.abs(vector))])


def _check(L: int, J2: float) -> None:
    if L != 4:
        raise ReferenceLayerError(
            f"L = {L} is too large for the whole S^z = 0 space, only L = 4 is served: use L = 4, or "
            "qmcbench.reference.exact, which has 6x6 too"
        )
    check_coupling(J2)


def check_coupling(J2: float) -> None:
    """Refuse a coupling that is not a finite number, or too large for the digits of J1 beside it to be seen.

    Raises
    ------
    ReferenceLayerError
        If it is one of these.
    """
    if not math.isfinite(J2):
        raise ReferenceLayerError(f"J2 = {J2} is not a finite number: give the coupling in units of J1, such as 0.5")
    if abs(J2) > LARGEST_J2:
        raise ReferenceLayerError(
            f"J2 = {J2:g} is beyond {LARGEST_J2:g} in size, where J1 = 1 is lost beside it: give the coupling in "
            "units of J1, such as 0.5"
        )


def _quspin() -> tuple[Any, Any]:
    try:
        import quspin  # noqa: F401  the parent first: a loaded submodule would hide that it is missing
        from quspin.basis import spin_basis_general
        from quspin.operators import hamiltonian
    except ImportError as cause:
        raise ReferenceLayerError(
            "exact diagonalization needs QuSpin, which cannot be imported: install it with `pip install quspin`"
        ) from cause
    return spin_basis_general, hamiltonian


def _symmetric_basis(L: int) -> Any:
    spin_basis_general, _ = _quspin()
    sites = np.arange(L**2).reshape(L, L)
    with warnings.catch_warnings():
        # The diagonal reflection swaps kx with ky and px with py: harmless, as each pair has equal quantum numbers.
        warnings.filterwarnings("ignore", message="using non-commuting symmetries")
        return spin_basis_general(
            L**2,
            Nup=L**2 // 2,
            pauli=False,
            kx=(np.roll(sites, 1, axis=0).ravel(), 0),
            ky=(np.roll(sites, 1, axis=1).ravel(), 0),
            px=(sites[::-1].ravel(), 0),
            py=(sites[:, ::-1].ravel(), 0),
            pd=(sites.T.ravel(), 0),
            z=(-(sites.ravel() + 1), 0),
        )


def _matrix(basis: Any, bonds: list[_Bond]) -> Any:
    """``sum of weight * S_a . S_b`` over (weight, a, b), as a scipy CSR matrix in the basis."""
    _, hamiltonian = _quspin()
    flips = [[weight / 2, a, b] for weight, a, b in bonds]
    terms = [["+-", flips], ["-+", flips], ["zz", [list(bond) for bond in bonds]]]
    # One thread: a bond takes microseconds, and QuSpin's threads spin for seconds when the machine is busy.
    # QuSpin's own checks print to stdout; `diagonalize` checks against the unsymmetrised matrix instead.
    with threadpool_limits(1):
        return hamiltonian(
            terms, [], basis=basis, dtype=np.float64, check_herm=False, check_symm=False, check_pcon=False
        ).tocsr()


def _neighbour_pairs(L: int, steps: tuple[tuple[int, int], ...], weight: float) -> list[_Bond]:
    return [(weight, i * L + j, (i + x) % L * L + (j + y) % L) for i in range(L) for j in range(L) for x, y in steps]


def _bonds(L: int, J2: float) -> list[_Bond]:
    """Every bond of the Hamiltonian once."""
    return _neighbour_pairs(L, _NEAREST, 1.0) + _neighbour_pairs(L, _NEXT_NEAREST, J2)


def orbit(L: int, dx: int, dy: int) -> tuple[tuple[int, int], ...]:
    """Distinct displacements on the torus that the point group makes of (dx, dy)."""
    return tuple(sorted({(s * a % L, t * b % L) for a, b in ((dx, dy), (dy, dx)) for s in (1, -1) for t in (1, -1)}))


def structure_factors(L: int, correlation: dict[str, float]) -> tuple[float, float]:
    """``S(pi, pi)`` and the mean of ``S(pi, 0)`` and ``S(0, pi)``, as in `ExactResult`, from its correlations."""
    pi_pi = pi_0 = 0.0
    for displacement, value in correlation.items():
        dx, dy = map(int, displacement.split(","))
        for x, y in orbit(L, dx, dy):
            pi_pi += value * (-1) ** (x + y)
            pi_0 += value * ((-1) ** x + (-1) ** y) / 2
    return pi_pi, pi_0


def _pairs(L: int, orbit: tuple[tuple[int, int], ...]) -> list[_Bond]:
    """Pairs at these displacements, weighted so that their sum is the mean of S_a . S_b."""
    return _neighbour_pairs(L, orbit, 1 / (L**2 * len(orbit)))


def provenance(command: str, method: str) -> dict[str, Any]:
    """How a value was obtained: command, method, library versions, machine and date."""
    return {
        "command": command,
        "method": method,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("quspin", "numpy", "scipy", "numba")},
        "machine": f"{_cpu_model()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).date().isoformat(),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
