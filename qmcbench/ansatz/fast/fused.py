"""The paper's network on the pooled grid: the same function with fewer multiply-adds.

Nothing nonlinear stands between a block's transposed convolution (kernel 2, stride 2) and the next convolution, so
the two are one convolution on the L x L/2 grid of pooled pairs, with one set of outputs for each column parity, and
the next max-pooling is the maximum of the two sets.

Columns: a convolution output at column x = 2j + s reads columns x + t, |t| <= h = k // 2, that is the pairs
j + floor((s + t)/2). For even h both parities of pair j read the same (k+1)/2 pairs ("site" form). For odd h they do
not, but columns 2g - 1 and 2g read the same (k+1)/2 pairs g - (k+1)/4 ... g + (k+1)/4 - 1 ("gap" form): the
convolution has one more output column, and pair j is completed from gaps j and j + 1. The first
block is of the same kind, its two input channels being the spins of a pair; it alone multiplies some zeros.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz.layers import Block, Layer, columns, periodic_convolution
from qmcbench.errors import UserError
from qmcbench.group import Element

if TYPE_CHECKING:
    from qmcbench.ansatz.fast.fourier import FourierNetwork
    from qmcbench.ansatz.fast.fourier_derivatives import FourierDerivatives
    from qmcbench.ansatz.fast.fourier_images import FourierImages

COMPILED = (torch.float32, torch.float64)
T = TypeVar("T")


def compilable(weight: Tensor) -> bool:
    """Whether there are compiled kernels for parameters like ``weight``."""
    return weight.device.type == "cpu" and weight.dtype in COMPILED


class FusedNetwork:
    """Fused layers, and the final map of each pooled pair to its two outputs.

    ``compiled`` allows the form in Fourier space, compiled for this processor, where no gradient is asked for.
    """

    def __init__(self, layers: list[Layer], head: Layer, *, compiled: bool = True) -> None:
        self.layers = layers
        self.head = head
        self._may_compile = compiled and compilable(head.weight)
        self._compiled: dict[int, FourierNetwork | None] = {}
        self._images: dict[tuple[int, tuple[Element, ...]], FourierImages | None] = {}

    def outputs(self, spins: Tensor) -> Tensor:
        """All v_i of each configuration, shape (batch, L * L), in no particular order of sites."""
        weight, network = self.head.weight, self._fourier(spins.shape[-1])
        if network is not None:
            return network.outputs(spins)
        # The two spins of a pair are the channels of the first grid.
        x = spins.to(weight.dtype).unflatten(-1, (-1, 2))
        for layer in self.layers:
            x = torch.maximum(*_parities(periodic_convolution(x, layer.weight, None)[1])) + layer.bias
        return (F.linear(x, weight) + self.head.bias).flatten(1)

    def amplitudes(self, spins: Tensor, images: tuple[Element, ...]) -> tuple[Tensor, Tensor] | None:
        """(log|psi|, sign) of images of each configuration, each (images, batch); None if that is not compiled."""
        L = spins.shape[-1]
        network = self._fourier(L)
        if network is None:
            return None
        if (L, images) not in self._images:
            self._images[L, images] = fourier_images(network, images)
        form = self._images[L, images]
        return None if form is None else form.amplitudes(spins)

    def _fourier(self, L: int) -> FourierNetwork | None:
        if not self._may_compile or torch.is_grad_enabled():
            return None
        if L not in self._compiled:
            self._compiled[L] = fourier_network(self.layers, self.head, L)
        return self._compiled[L]


def fourier_network(layers: Sequence[Layer], head: Layer, L: int) -> FourierNetwork | None:
    """The compiled form, or None where it cannot be built, which one warning says."""

    def build() -> FourierNetwork:
        from qmcbench.ansatz.fast.fourier import FourierNetwork  # only here: llvmlite may be broken

        return FourierNetwork(layers, head, L)

    return built(build)


def fourier_images(network: FourierNetwork, images: tuple[Element, ...]) -> FourierImages | None:
    """The same for psi of images of configurations."""

    def build() -> FourierImages:
        from qmcbench.ansatz.fast.fourier_images import FourierImages

        return FourierImages(network, images)

    return built(build)


def fourier_derivatives(
    blocks: Sequence[Block], form: FusedNetwork, images: int, L: int
) -> FourierDerivatives | None:
    """The same for log-derivatives, summed over so many images of a sample; ``form`` is that of ``blocks``."""

    def build() -> FourierDerivatives:
        from qmcbench.ansatz.fast.fourier_derivatives import FourierDerivatives

        return FourierDerivatives(blocks, (form.layers, form.head), images, L)

    return built(build)


def built(build: Callable[[], T]) -> T | None:
    """What ``build`` compiles, or None where it cannot, which one warning says."""
    if _unavailable:
        return None
    try:
        return build()
    except UserError:
        raise
    # Whatever it is that LLVM, or another version of llvmlite, cannot do: PyTorch can.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _unavailable.append(reason)
        warnings.warn(
            f"The compiled kernels cannot be built here ({reason}); PyTorch's are used, which are several times "
            'slower. Install llvmlite again, or ask for them with [run] kernels = "torch".',
            RuntimeWarning,
            stacklevel=3,
        )
        return None


# Why the compiled form cannot be built in this process, if it cannot: it is not tried again at every step of a run.
_unavailable: list[str] = []


def _parities(z: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd columns of each pair, each (batch, rows, pairs, C), from either form of convolution output."""
    even, odd = z.chunk(2, dim=-1)
    # Rows are the full lattice and columns its pairs; one column too many is the gap form.
    return (even[:, :, :-1], odd[:, :, 1:]) if z.shape[2] > z.shape[1] // 2 else (even, odd)


def fuse(blocks: Sequence[Block], *, compiled: bool = True) -> FusedNetwork:
    """Fused form of a network's blocks; differentiable with respect to their parameters."""
    first = blocks[0].conv.weight
    # The input behaves as the output of a transposed convolution that hands each channel of a pair to its column.
    spread, offset = torch.eye(2, dtype=first.dtype, device=first.device)[:, None, :], first.new_zeros(1)
    layers = []
    for block in blocks:
        weight, bias, kernel = block.conv.weight, block.conv.bias, block.conv.weight.shape[-1]
        placed = torch.einsum("oqab,sbmr->soqamr", weight, columns(kernel).to(weight))
        fused = torch.einsum("soqamr,cqr->socam", placed, spread).flatten(0, 1)
        constant = bias + torch.einsum("oqab,q->o", weight, offset)
        layers.append(Layer(fused.contiguous(memory_format=torch.channels_last), constant))
        spread, offset = block.deconv.weight, block.deconv.bias
    return FusedNetwork(layers, Layer(spread.squeeze(1).T, offset), compiled=compiled)
