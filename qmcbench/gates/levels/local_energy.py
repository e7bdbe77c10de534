"""Level *local_energy*: sums over connected configurations, for wave functions that hide no mistake in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.gates import plain
from qmcbench.gates.check import Check
from qmcbench.gates.levels.ansatz import exactly
from qmcbench.gates.models import quspin
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.tables import codes, hard, table
from qmcbench.gates.targets.target import Target
from qmcbench.lattice import random_configurations

VANISHING = 0.2
"""Share of the amplitudes that are zero where psi vanishes."""


@gate(
    "exact",
    needs=("local_energies",),
    cause="local energies clipped, or cut off; the phase or its conjugate left out",
)
def hard_psi(target: Target, setting: Setting) -> Iterator[Check]:
    """Local energies of a wild psi on 4x4, real or complex, one by one and in their full sum; none is clipped."""
    assert target.local_energies is not None
    _, spins, vector = hard(setting.seed)
    for label, amplitudes in (("real", vector), ("complex", _turned(vector, setting.seed))):
        expected = _exact(target.J2, spins, amplitudes)
        psi = table(spins, amplitudes)
        found = target.local_energies(psi, 4, target.J2, spins)
        largest = float(expected.abs().amax()) / 16
        off = ((found - expected).abs() / (1 + expected.abs())).nan_to_num(torch.inf)
        yield exactly(
            f"local energies of a hard psi, {label}, 4x4, J2 = {target.J2:g}",
            float(off.amax()),
            1e-10,
            f"Largest relative difference from (H psi)(S) / psi(S) with QuSpin's H, on all {len(spins)} "
            f"configurations; the largest of them is {largest:.0f} per site.",
        )
        weights = amplitudes.abs().square() / amplitudes.abs().square().sum()
        energy = complex((weights * expected).sum()).real
        yield exactly(
            f"full sum of a hard psi, {label}, 4x4, J2 = {target.J2:g}",
            float(((weights * found).sum() - energy).abs().nan_to_num(torch.inf)) / 16,
            1e-12,
            f"Sum of |psi|^2 E_loc, per site, against <psi|H|psi> / <psi|psi> with QuSpin's H, {energy / 16:.6f}.",
        )


@gate(
    "exact",
    needs=("local_energies",),
    cause="0 / 0, or the logarithm of zero, where psi vanishes on a connected configuration",
)
def vanishing_psi(target: Target, setting: Setting) -> Iterator[Check]:
    """Where psi vanishes on a fifth of the configurations of 4x4, the local energies of all the others are right."""
    assert target.local_energies is not None
    _, spins, vector = hard(setting.seed)
    generator = torch.Generator().manual_seed(setting.seed)
    zero = torch.rand(len(spins), generator=generator) < VANISHING
    for label, amplitudes in (("real", vector), ("complex", _turned(vector, setting.seed))):
        holed = amplitudes.masked_fill(zero, 0.0)
        expected = _exact(target.J2, spins, holed)[~zero]
        found = target.local_energies(table(spins, holed), 4, target.J2, spins[~zero])
        off = ((found - expected).abs() / (1 + expected.abs())).nan_to_num(torch.inf)
        yield exactly(
            f"local energies beside zeros of psi, {label}, 4x4",
            float(off.amax()),
            1e-10,
            f"Largest relative difference from QuSpin's; {int(zero.sum())} of {len(spins)} amplitudes are (-inf, 0).",
        )


def _exact(J2: float, spins: Tensor, amplitudes: Tensor) -> Tensor:
    """(H psi)(S) / psi(S) with QuSpin's matrix, for all configurations of 4x4."""
    configurations, matrix = quspin(J2)
    order = codes(spins).argsort()
    place = order[codes(torch.from_numpy(configurations)).argsort().argsort()].numpy()
    product = np.empty_like(amplitudes.numpy())
    product[place] = matrix @ amplitudes.numpy()[place]
    return torch.from_numpy(product) / amplitudes


def _turned(vector: Tensor, seed: int) -> Tensor:
    """The amplitudes, each turned by a random angle."""
    generator = torch.Generator().manual_seed(seed + 1)
    angle = 2 * torch.pi * torch.rand(len(vector), generator=generator, dtype=torch.float64)
    return torch.polar(vector.abs(), angle)


def generic(L: int, seed: int) -> Ansatz:
    """A complex psi of no symmetry on any lattice, whose amplitudes all differ."""
    generator = torch.Generator().manual_seed(seed)
    field, coupling, angle, twist = 0.3 * torch.randn(4, L * L, generator=generator, dtype=torch.float64)

    def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
        flat = spins.flatten(1).double()
        log_psi = flat @ field + (flat @ coupling).square() / L
        turn = flat @ angle + (flat @ twist).square()
        return log_psi, torch.polar(torch.ones_like(turn), turn)

    return psi


@gate(
    "exact",
    needs=("local_energies",),
    cause="a bond wrapped wrongly at the edge; the phase or its conjugate; a buffer's end",
)
def bond_by_bond(target: Target, setting: Setting) -> Iterator[Check]:
    """Local energies of a generic complex psi are plain sums over bonds, on lattices larger than any table."""
    assert target.local_energies is not None
    for L, count in ((6, 100), (8, 60)) if setting.quick else ((6, 100), (8, 60), (10, 40)):
        for J2 in (0.0, 0.5):
            psi, spins = generic(L, setting.seed), random_configurations(L, count, setting.seed)
            expected = torch.from_numpy(plain.local_energies(psi, spins, J2))
            found = target.local_energies(psi, L, J2, spins)
            off = ((found - expected).abs() / (1 + expected.abs())).nan_to_num(torch.inf)
            yield exactly(
                f"generic complex psi, {L}x{L}, J2 = {J2:g}",
                float(off.amax()),
                1e-10,
                f"Largest relative difference of {count} local energies from a loop over bonds.",
            )


@gate(
    "exact",
    needs=("local_energies",),
    cause="a bond left out or too many; next-nearest ones at J2 = 0; moves that leave S^z = 0",
)
def connected(target: Target, setting: Setting) -> Iterator[Check]:
    """The configurations that psi is asked for are those that H connects to the given ones, every one of them."""
    assert target.local_energies is not None
    for L in (4, 6, 8):
        for J2 in (0.0, 0.5):
            wrong = 0
            for spins in random_configurations(L, 4, setting.seed).split([1, 3]):
                asked: set[bytes] = set()
                target.local_energies(_recorder(generic(L, setting.seed), asked), L, J2, spins)
                given = {one.tobytes() for one in spins.numpy()}
                wanted = {other.tobytes() for one in spins.numpy() for other in plain.row_of_hamiltonian(one, J2)[1]}
                wrong += len((wanted - asked) | (asked - wanted - given))
            yield exactly(
                f"connected configurations, {L}x{L}, J2 = {J2:g}",
                float(wrong),
                0.0,
                "How many are missing, or are connected to none of those that were given.",
            )


def _recorder(psi: Ansatz, asked: set[bytes]) -> Ansatz:
    """psi, which notes what it is asked for."""

    def recorded(spins: Tensor) -> tuple[Tensor, Tensor]:
        asked.update(one.tobytes() for one in spins.to(torch.int8).numpy())
        return psi(spins)

    return recorded


@gate("exact", needs=("local_energies",), cause="the seam between two pieces of a large batch", quick=False)
def many(target: Target, setting: Setting) -> Check:
    """So many configurations that any code has to take them in pieces: each has its local energy, in closed form.

    psi is Marshall's signs, so that E_loc = sum_nn (1/4 - [antiparallel]) + J2 N / 2.
    """
    assert target.local_energies is not None
    L, J2, count = 16, 0.5, 2200
    spins = random_configurations(L, count, setting.seed)
    found = target.local_energies(lambda asked: (asked[:, 0, 0] * 0.0, plain.marshall_sign(asked)), L, J2, spins)
    unlike = (spins != spins.roll(1, 1)).sum((1, 2)) + (spins != spins.roll(1, 2)).sum((1, 2))
    expected = L * L / 2 * (1 + J2) - unlike
    off = (found - expected).abs().nan_to_num(torch.inf) if found.shape == expected.shape else None
    return exactly(
        f"{count} local energies at once, {L}x{L}",
        None if off is None else float(off.amax()) / L**2,
        1e-11,
        "Largest difference per site from the closed form.",
    )
