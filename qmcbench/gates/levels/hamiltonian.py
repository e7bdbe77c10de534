"""Level *hamiltonian*: matrix elements against QuSpin, and exact eigenstates on any lattice."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.gates import models
from qmcbench.gates.causes import factor
from qmcbench.gates.check import Check
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.tables import table
from qmcbench.gates.targets.target import Target
from qmcbench.lattice import random_configurations

CAUSE = (
    "a bond missing, counted twice or wrapped wrongly at the edge; J/2 for the exchange; the sign of the exchange; "
    "4 times too large: Pauli matrices instead of spins"
)


@gate("exact", needs=("local_energies",), cause=CAUSE)
def magnons(target: Target, setting: Setting) -> Iterator[Check]:
    """Local energies of one-magnon states are their closed-form eigenvalue on every configuration, at every size."""
    assert target.local_energies is not None
    for L in (4, 6, 8) if setting.quick else (4, 6, 8, 10, 16, 24):
        worst, cause = 0.0, None
        for number, J2 in ((1, 0.0), (2, 0.5), (3, 0.7)):
            psi, energy = magnon(L, J2, number)
            spins = random_configurations(L, 64, setting.seed)
            spins = spins[psi(spins)[0].topk(16).indices]  # away from nodes, where rounding is divided by psi
            found = target.local_energies(psi, L, J2, spins)
            off = (found - energy).abs().nan_to_num(torch.inf)
            worst = max(worst, float(off.amax()) / L**2)
            cause = factor(found.numpy(), torch.full_like(found, energy).numpy(), L**2)
        yield Check(
            name=f"one-magnon states, {L}x{L}",
            check="exact",
            value=worst,
            bound=1e-11,
            statement="Largest difference of a local energy per site from the eigenvalue, at J2 = 0, 0.5 and 0.7.",
            cause=cause,
        )


def magnon(L: int, J2: float, number: int) -> tuple[Ansatz, float]:
    """An exact S^z = 0 eigenstate of the J1-J2 model on any torus, and its total energy.

    psi(S) = sum over down spins of cos(q r + phase) is a one-magnon state of the ferromagnet, turned to S^z = 0 by
    the total lowering operator, which commutes with H. Its energy is N (J1 + J2) / 2 + 2 J1 (gamma_q - 1) +
    2 J2 (cos q_x cos q_y - 1), gamma_q = (cos q_x + cos q_y) / 2.

    Parameters
    ----------
    number
        From 1: which momentum, none of them on an axis of symmetry of the lattice where L allows it.
    """
    q = 2 * math.pi / L * torch.tensor([number % L or 1, (2 * number + 1) % L or 1], dtype=torch.float64)
    r = torch.arange(L, dtype=torch.float64)
    wave = torch.cos(q[0] * r[:, None] + q[1] * r[None, :] + 0.3 * number)

    def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
        amplitude = ((1 - spins.double()) / 2 * wave).sum((1, 2))
        return amplitude.abs().log(), torch.sgn(amplitude)

    x, y = torch.cos(q).tolist()
    energy = L**2 * (1 + J2) / 2 + (x + y - 2) + 2 * J2 * (x * y - 1)
    return psi, energy


@gate("exact", needs=("local_energies",), cause=CAUSE)
def quspin(target: Target, setting: Setting) -> Iterator[Check]:
    """H psi of generic vectors psi is what QuSpin's matrix gives, in all 12 870 rows of 4x4 in S^z = 0."""
    assert target.local_energies is not None
    for J2 in (0.0, 0.5, 1.0):
        configurations, exact = models.quspin(J2)
        spins = torch.from_numpy(configurations)
        generator = torch.Generator().manual_seed(setting.seed)
        size, angle = torch.rand(2, len(spins), generator=generator, dtype=torch.float64)
        # Amplitudes between 0.5 and 1.5, of any phase.
        vector = torch.polar(0.5 + size, 2 * math.pi * angle)
        psi = table(spins, vector)
        expected = torch.from_numpy(exact @ vector.numpy())
        found = target.local_energies(psi, 4, J2, spins) * vector
        off = (found - expected).abs().nan_to_num(torch.inf)
        yield Check(
            name=f"H psi, 4x4, J2 = {J2:g}",
            check="exact",
            value=float(off.amax()),
            bound=1e-11,
            statement="Largest difference of psi(S) E_loc(S) from QuSpin's (H psi)(S); a complex psi.",
            cause=factor(found.numpy(), expected.numpy(), 16),
        )
