"""The plain network as the paper runs it, operation by operation: what Figs. 7 and 8 are about.

A forward pass is a list of steps, the same whoever does them: PyTorch for a batch of configurations
(:class:`Torch`), or plain loops for one (:class:`qmcbench.bench.baseline.Loops`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz.base import log_product
from qmcbench.ansatz.cnn import CNN
from qmcbench.bench.names import FUSED

T = TypeVar("T")


class Kernels(Protocol[T]):
    """The operations in one implementation. Grids are (..., channels, rows, columns)."""

    def array(self, values: Tensor) -> T:
        """A parameter in the form that the others take."""

    def pad(self, x: T, margin: int) -> T:
        """``x`` with its periodic images, ``margin`` deep on every side."""

    def conv2d(self, x: T, weight: T) -> T:
        """Convolution by ``weight`` (out, in, k, k) without padding or bias."""

    def bias(self, x: T, bias: T) -> T:
        """``x`` plus one number for each channel."""

    def max_pool(self, x: T) -> T:
        """The larger of each pair of neighbours along a row."""

    def deconv(self, x: T, weight: T) -> T:
        """Transposed convolution by ``weight`` (in, out, 2): two columns from each."""

    def product(self, x: T) -> T:
        """log|psi| and sign of the product over all sites, along the first axis."""


@dataclass(frozen=True)
class Step(Generic[T]):
    """One operation of a forward pass, with its parameters."""

    operation: str
    apply: Callable[[T], T]


def steps(network: CNN, kernels: Kernels[T]) -> list[Step[T]]:
    """The forward pass of ``network`` (paper Sec. 3.1): six operations for each block, and the product."""
    found = []
    for block in network.blocks():
        conv, deconv = block.conv, block.deconv
        weight, bias, spread, offset = (
            kernels.array(values.detach()) for values in (conv.weight, conv.bias, deconv.weight, deconv.bias)
        )
        found += [
            Step("pad", partial(kernels.pad, margin=conv.weight.shape[-1] // 2)),
            Step("conv2d", partial(kernels.conv2d, weight=weight)),
            Step("bias", partial(kernels.bias, bias=bias)),
            Step("max_pool", kernels.max_pool),
            Step("deconv", partial(kernels.deconv, weight=spread)),
            Step("bias", partial(kernels.bias, bias=offset)),
        ]
    return [*found, Step("product", kernels.product)]


def run(network: Sequence[Step[T]], x: T) -> T:
    """All steps, one after another."""
    for step in network:
        x = step.apply(x)
    return x


def calls(network: Sequence[Step[T]], x: T, operation: str) -> Callable[[], list[T]]:
    """Every call of ``operation`` that one forward pass of ``x`` makes, on what it gets there."""
    found = []
    for step in network:
        if step.operation == operation:
            found.append(partial(step.apply, x))
        x = step.apply(x)
    return lambda: [call() for call in found]


class Torch:
    """PyTorch's own operations for a batch: grids are (batch, channels, rows, columns)."""

    def array(self, values: Tensor) -> Tensor:
        return values

    def pad(self, x: Tensor, margin: int) -> Tensor:
        return F.pad(x, [margin] * 4, mode="circular")

    def conv2d(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight)

    def bias(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + bias[:, None, None]

    def max_pool(self, x: Tensor) -> Tensor:
        pooled: Tensor = F.max_pool1d(x.flatten(2), kernel_size=2, stride=2).unflatten(2, (x.shape[2], -1))
        return pooled

    def deconv(self, x: Tensor, weight: Tensor) -> Tensor:
        spread: Tensor = F.conv_transpose1d(x.flatten(2), weight, stride=2).unflatten(2, (x.shape[2], -1))
        return spread

    def product(self, x: Tensor) -> Tensor:
        return torch.stack(log_product(x.flatten(1)))


def grid(network: CNN, spins: Tensor) -> Tensor:
    """Spins (batch, L, L) as the first grid, (batch, 1, L, L), in the network's precision."""
    return spins.to(network.blocks()[0].conv.weight.dtype).unsqueeze(1)


def fused_steps(network: CNN) -> list[Step[Tensor]]:
    """The forward pass after fusion, from spins (batch, L, L): one operation, and the product."""
    outputs = network.network().outputs
    return [Step(FUSED, outputs), Step("product", lambda values: torch.stack(log_product(values)))]
