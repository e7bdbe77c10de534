"""Small wave functions with parameters, for gates on steps: so few that all of 4x4 can be summed and differenced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from qmcbench import reference
from qmcbench.ansatz.base import Ansatz
from qmcbench.gates.plain import Array, Complex, marshall_sign, orbits
from qmcbench.gates.tables import codes, table
from qmcbench.lattice import all_configurations

PAIRS = ((0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
"""Distances on 4x4, one of each kind."""
SYMMETRIES = ("rotation", "reflection", "row shift", "column shift", "spin flip")


@cache
def quspin(J2: float) -> tuple[NDArray[np.int8], scipy.sparse.csr_array]:
    """All configurations of 4x4 and QuSpin's matrix over them."""
    configurations, matrix = reference.hamiltonian_matrix(4, J2)
    return configurations, matrix


@cache
def lowest(J2: float) -> tuple[Ansatz, float, float]:
    """QuSpin's ground state on 4x4 as a wave function, its energy, and the gap above it in S^z = 0; per site."""
    configurations, matrix = quspin(J2)
    energy, vector = reference.ground_state(4, J2)
    energies = np.sort(eigsh(matrix, k=2, which="SA", return_eigenvectors=False, v0=np.ones(len(vector))))
    vector = np.where(np.abs(vector) > 1e-9 * np.abs(vector).max(), vector, 0.0)  # what symmetry makes vanish
    psi = table(torch.from_numpy(configurations), torch.from_numpy(vector))
    return psi, energy / 16, float(energies[1] - energy) / 16


class Jastrow(nn.Module):
    """log psi = sum_d J_d C_d + K_d C_d^2 with Marshall's signs: all symmetries of 4x4, and no eigenstate.

    ``turning`` gives it a phase of the same form, with parameters of its own.
    """

    def __init__(self, seed: int, *, turning: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        count = 2 * len(PAIRS)
        self.size = nn.Parameter(0.2 * torch.randn(count, generator=generator, dtype=torch.float64))
        angle = 0.5 * torch.randn(count, generator=generator, dtype=torch.float64)
        self.angle = nn.Parameter(angle) if turning else None

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase) of configurations (batch, 4, 4)."""
        s = spins.double()
        around = [torch.stack([s * s.roll(turn, (1, 2)) for turn in _turns(pair)]) for pair in PAIRS]
        known = [each.sum((0, 2, 3)) / 16 for each in around]
        features = torch.stack([*known, *[each**2 for each in known]], 1)
        sign = marshall_sign(spins)
        if self.angle is None:
            return features @ self.size, sign
        angle = features @ self.angle
        return features @ self.size, sign * torch.complex(angle.cos(), angle.sin())

    def vector_along(self, direction: Array, rate: float) -> Complex:
        """psi of all configurations with its parameters moved by -rate * direction, then put back."""
        parameters = list(self.parameters())
        start = nn.utils.parameters_to_vector(parameters).detach()
        moved = start - rate * torch.from_numpy(np.asarray(direction, dtype=np.float64))
        with torch.no_grad():
            nn.utils.vector_to_parameters(moved, parameters)
            log_psi, phase = self(torch.from_numpy(quspin(0.0)[0]))
            nn.utils.vector_to_parameters(start, parameters)
        vector: Complex = (phase * log_psi.exp()).numpy().astype(complex)
        return vector

    def energy_along(self, direction: Array, rate: float, J2: float) -> float:
        """The total energy there."""
        vector, matrix = self.vector_along(direction, rate), quspin(J2)[1]
        applied: Complex = np.asarray(matrix @ vector)
        return float((vector.conj() @ applied).real / (vector.conj() @ vector).real)


def _turns(pair: tuple[int, int]) -> set[tuple[int, int]]:
    """The same distance in all directions of the torus."""
    y, x = pair
    return {(a % 4, b % 4) for a, b in ((y, x), (y, -x), (-y, x), (-y, -x), (x, y), (x, -y), (-x, y), (-x, -y))}


class Tilted(nn.Module):
    """A given psi times exp(sum_k theta_k f_k(S)), at theta = 0."""

    def __init__(self, base: Ansatz, L: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.base = base
        self.field = torch.randn(L * L, 12, generator=generator, dtype=torch.float64)
        self.tilt = nn.Parameter(torch.zeros(12, dtype=torch.float64))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase)."""
        log_psi, phase = self.base(spins)
        return log_psi + torch.tanh(spins.flatten(1).double() @ self.field / 4) @ self.tilt, phase


@dataclass(frozen=True)
class FullSum:
    """M and G of all configurations."""

    matrix: Array
    gradient: Array


def full_sum(psi: Jastrow, J2: float, step: float = 1e-5) -> FullSum:
    """M and G from the vector psi, its finite differences and QuSpin's H: no log-derivatives, no local energies."""
    count = sum(parameter.numel() for parameter in psi.parameters())
    vector = psi.vector_along(np.zeros(count), 0.0)
    norm = np.linalg.norm(vector)
    matrix = quspin(J2)[1]
    tangents = np.array(
        [(psi.vector_along(one, -step) - psi.vector_along(one, step)) / (2 * step) for one in np.eye(count)]
    )
    vector, tangents = vector / norm, tangents / norm
    tangents = tangents - np.outer(tangents @ vector.conj(), vector)  # orthogonal to psi
    return FullSum((tangents.conj() @ tangents.T).real, (tangents.conj() @ (matrix @ vector)).real)


@cache
def orbits_of_4x4() -> tuple[Tensor, Tensor]:
    """One configuration of each orbit of the 256 symmetries of 4x4, and the sizes of the orbits."""
    spins = all_configurations(4)
    images = orbits(spins, SYMMETRIES)
    smallest = codes(images.flatten(0, 1)).view(len(spins), -1).amin(1)
    first, size = smallest.unique(return_counts=True)
    own = codes(spins)
    order = own.argsort()
    return spins[order[torch.searchsorted(own[order], first)]], size.double()


class Boltzmann(nn.Module):
    """psi = prod_h cosh(s (b_h + w_h . S)) times Marshall's signs: parameters of several shapes, of no symmetry.

    With complex parameters psi is complex.
    """

    def __init__(self, seed: int, *, dtype: torch.dtype = torch.float64, hidden: int = 5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(0.4 * torch.randn(hidden, 4, 4, generator=generator, dtype=dtype))
        self.bias = nn.Parameter(0.4 * torch.randn(hidden, generator=generator, dtype=dtype))
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase) of configurations (batch, 4, 4)."""
        hidden = torch.einsum("bij,hij->bh", spins.to(self.bias.dtype), self.weight) + self.bias
        factors = (self.scale * hidden).cosh()
        size, sign = factors.abs().log().sum(1), marshall_sign(spins)
        return size, sign * (torch.sgn(factors).prod(1) if factors.is_complex() else factors.sign().prod(1))
