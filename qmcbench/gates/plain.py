"""What gates compare with, written as plainly as it can be: it shares no code with what is tested.

Loops over bonds instead of tables, dense algebra in NumPy, the paper's network as in its Sec. 3.1: slow, readable.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz
from qmcbench.reference.models import ModelSpec

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

IMAGES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "rotation": lambda spins: spins.rot90(1, (1, 2)),
    "reflection": lambda spins: spins.flip(2),
    "row shift": lambda spins: spins.roll(1, 1),
    "column shift": lambda spins: spins.roll(1, 2),
    "double row shift": lambda spins: spins.roll(2, 1),
    "double column shift": lambda spins: spins.roll(2, 2),
    "spin flip": lambda spins: -spins,
}
"""What each symmetry of :data:`qmcbench.group.GENERATORS` makes of configurations (batch, L, L)."""


SYMMETRIES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "C4": ("rotation",),
    "full": ("rotation", "reflection", "row shift", "column shift", "spin flip"),
}
"""Generators of what a wave function is summed over, by its name in a configuration."""


def orbits(spins: Tensor, names: tuple[str, ...]) -> Tensor:
    """Images of each configuration under all products of powers of these symmetries, shape (batch, images, L, L)."""
    L = spins.shape[-1]
    found = [spins]
    for name in names:
        order = 4 if name == "rotation" else L if name.endswith("shift") else 2
        for turned in found[:]:
            for _ in range(order - 1):
                turned = IMAGES[name](turned)
                found.append(turned)
    return torch.stack(found, 1)


def bonds(L: int, J2: float) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
    """Every bond of the J1-J2 model on the torus, as two sites (row, column), and its coupling."""
    steps = [(0, 1, 1.0), (1, 0, 1.0), (1, 1, J2), (1, -1, J2)]
    return [
        ((i, j), ((i + di) % L, (j + dj) % L), J)
        for i in range(L)
        for j in range(L)
        for di, dj, J in steps
        if J != 0
    ]  # fmt: skip


def row_of_hamiltonian(spins: NDArray[np.int8], J2: float) -> tuple[float, NDArray[np.int8], Array]:
    """<S|H|S>, the configurations S' that H connects to S (n, L, L), and the elements <S'|H|S> (n,)."""
    diagonal, others, elements = 0.0, [], []
    for one, other, J in bonds(len(spins), J2):
        diagonal += J / 4 * int(spins[one]) * int(spins[other])
        if spins[one] != spins[other]:
            flipped = spins.copy()
            flipped[one], flipped[other] = spins[other], spins[one]
            others.append(flipped)
            elements.append(J / 2)
    return diagonal, np.array(others), np.array(elements)


def local_energies(psi: Ansatz, spins: Tensor, J2: float) -> Complex:
    """Total local energies of each configuration, by a sum over bonds."""
    energies = []
    for one in spins.numpy():
        diagonal, others, elements = row_of_hamiltonian(one, J2)
        ratios = _values(psi, torch.from_numpy(others)) / _values(psi, torch.from_numpy(one[None]))
        energies.append(diagonal + (elements * ratios).sum())
    return np.array(energies)


def _values(psi: Ansatz, spins: Tensor) -> Complex:
    with torch.no_grad():
        log_psi, phase = psi(spins)
    values: Complex = phase.numpy() * np.exp(log_psi.double().numpy() + 0j)
    return values


def marshall_sign(spins: Tensor) -> Tensor:
    """(-1)^(up spins with even row + column) of configurations (batch, L, L), float64."""
    site = torch.arange(spins.shape[-1], device=spins.device)
    even = (site[:, None] + site[None, :]) % 2 == 0
    return (1 - 2 * (((spins > 0) & even).sum((1, 2)) % 2)).double()


def sr_step(
    rows: NDArray[np.inexact],
    energies: NDArray[np.inexact],
    weights: Array,
    shift: float,
    carried: Array | None = None,
) -> Array:
    """(M + shift)^-1 (G + shift carried), M and G from weighted samples, by dense algebra.

    M = Re <(O - <O>)^dagger (O - <O>)>, G = Re <(O - <O>)^dagger (E - <E>)>; half the gradient of the energy.
    """
    rows = rows.astype(np.result_type(rows.dtype, np.float64))
    root = np.sqrt(weights)
    centred, right = root[:, None] * (rows - weights @ rows), root * (energies - weights @ energies)
    # Real and imaginary parts as samples of their own: Re (X^dagger X) = (Re X)^T (Re X) + (Im X)^T (Im X).
    x, e = np.concatenate([centred.real, centred.imag]), np.concatenate([right.real, right.imag])
    gradient = x.T @ e
    if carried is not None:
        gradient = gradient + shift * carried
    solution: Array
    if x.shape[1] <= len(x):
        solution = np.linalg.solve(x.T @ x + shift * np.eye(x.shape[1]), gradient)
    else:  # Woodbury's identity, where there are many parameters
        gram = x @ x.T + shift * np.eye(len(x))
        solution = (gradient - x.T @ np.linalg.solve(gram, x @ gradient)) / shift
    return solution


def outputs(spec: ModelSpec, parameters: Mapping[str, Tensor], spins: Tensor) -> Tensor:
    """All v_i of the paper's network, whose product is psi, shape (batch, L * L), row by row."""
    batch, L, _ = spins.shape
    x = spins.to(parameters["block1.conv.weight"].dtype).unsqueeze(1)
    for number, block in enumerate(spec.blocks, start=1):
        conv_weight, conv_bias, deconv_weight, deconv_bias = (
            parameters[f"block{number}.{layer}.{kind}"] for layer in ("conv", "deconv") for kind in ("weight", "bias")
        )
        padded = F.pad(x, [block.kernel // 2] * 4, mode="circular")
        rows = F.conv2d(padded, conv_weight, conv_bias).flatten(2)
        pooled = F.max_pool1d(rows, kernel_size=2, stride=2)
        x = F.conv_transpose1d(pooled, deconv_weight, deconv_bias, stride=2).view(batch, -1, L, L)
    return x.flatten(1)


@dataclass(frozen=True)
class PaperNetwork:
    """The paper's network by its numbers, with Marshall's sign, summed over images: a wave function in float64."""

    spec: ModelSpec
    parameters: Mapping[str, Tensor]
    """By names such as ``block1.conv.weight``."""
    symmetry: str
    """A key of :data:`SYMMETRIES`."""

    def __call__(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, sign) of configurations (batch, L, L)."""
        psi, _ = self.values(spins)
        return psi.abs().log(), torch.sgn(psi)

    def values(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """psi (batch,), and the sum of its terms' own errors for one rounding of each factor, in units of that."""
        L = spins.shape[-1]
        images = orbits(spins, SYMMETRIES[self.symmetry])
        v = outputs(self.spec, self.parameters, images.flatten(0, 1).contiguous())
        # The engine takes one of each L^2 / 2 images that its network does not tell apart.
        repeated = L * L / 2 if self.symmetry == "full" else 1
        product = v.prod(1).view(len(spins), -1)
        doubts = product.abs() * (v.square().mean().sqrt() / v.abs()).sum(1).view(product.shape)
        return marshall_sign(spins) * product.sum(1) / repeated, doubts.sum(1) / repeated


@torch.no_grad()
def enliven(parameters: Mapping[str, Tensor], spec: ModelSpec, spins: Tensor, seed: int) -> None:
    """Give the paper's network large biases and a good third of negative outputs (a fresh one has hardly any)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in parameters.items():
        if name.endswith("bias"):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    parameters[f"block{len(spec.blocks)}.deconv.bias"].sub_(outputs(spec, parameters, spins).quantile(0.4))


@torch.no_grad()
def stir(psi: nn.Module, spins: Tensor, spread: float = 0.5) -> None:
    """Scale the parameters up until log|psi| spreads so far: a fresh network is almost flat.

    On a flat psi, whatever depends on its signs or on differences of its amplitudes goes unseen.
    """
    for _ in range(12):
        if not psi(spins)[0].double().std() < spread:
            break
        for parameter in psi.parameters():
            parameter.mul_(1.25)


@torch.no_grad()
def cast(psi: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with parameters and buffers in this precision, float32 or float64 (complex ones likewise)."""
    made = copy.deepcopy(psi)
    complex_dtype = torch.complex64 if dtype == torch.float32 else torch.complex128
    for tensor in [*made.parameters(), *made.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
        elif tensor.is_complex():
            tensor.data = tensor.data.to(complex_dtype)
    return made
