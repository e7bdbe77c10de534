"""The paper's convolutional network (its Sec. 3.1; layouts in ``reference/data/models.toml``).

One block: periodic padding, Conv2d, max-pooling over pairs of sites along a row, and a transposed convolution that
doubles the row again. psi is the product of the L x L outputs of the last block (not an exponential: it has a sign).
The module holds the paper's parameters; it evaluates them in the fused form of :mod:`qmcbench.ansatz.fast.fused`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import log_product
from qmcbench.ansatz.fast import fused, layerwise
from qmcbench.ansatz.layers import Block
from qmcbench.errors import UserError
from qmcbench.group import IDENTITY, PAIRED_COLUMNS, Element
from qmcbench.reference import ModelSpec, model_spec


class CNN(nn.Module):
    """psi(S) = prod_i v_i(S), v the output of the stacked blocks.

    Parameters
    ----------
    model
        ``"small"``, ``"medium"``, ``"large"`` or a layout of one's own. The network fits every even L from 4 to 36.
    seed
        Seeds the initial parameters: Xavier-uniform weights, biases uniform in +-5e-3 but for the last, which is 1
        (with 0 the signs of psi start out random and training never recovers).
    dtype
        Precision of the parameters and of the forward pass; the product over sites is always float64.
    kernels
        ``"compiled"`` for this processor where no gradient is asked for, or ``"torch"``: PyTorch's operations alone.

    Raises
    ------
    UserError
        If a layout of one's own has an even kernel, several output channels or another number of parameters.
    """

    invariance = PAIRED_COLUMNS

    def __init__(
        self,
        model: str | ModelSpec,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        kernels: str = "compiled",
    ) -> None:
        super().__init__()
        self.kernels = kernels
        self.spec = model_spec(model) if isinstance(model, str) else model
        _check_layout(self.spec)
        generator = torch.Generator().manual_seed(seed)
        channels = 1
        for number, block in enumerate(self.spec.blocks, start=1):
            self.add_module(f"block{number}", Block(channels, block.conv, block.deconv, block.kernel))
            channels = block.deconv
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                bound = 5e-3 if name.endswith("bias") else _xavier_bound(parameter)
                # Drawn in float64, so that every precision starts from the same network.
                draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(bound * (2 * draw - 1))
            self.blocks()[-1].deconv.bias.fill_(1.0)
        self.to(dtype)
        self._fused: fused.FusedNetwork | None = None
        self._fused_values = torch.empty(0)

    def blocks(self) -> Sequence[Block]:
        """The blocks in order."""
        return [block for block in self.children() if isinstance(block, Block)]

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, sign), each of shape (batch,), float64, for ``spins`` of shape (batch, L, L)."""
        found = self.image_amplitudes(spins, (IDENTITY,))
        return log_product(self.network().outputs(spins)) if found is None else (found[0][0], found[1][0])

    def image_amplitudes(self, spins: Tensor, images: tuple[Element, ...]) -> tuple[Tensor, Tensor] | None:
        """(log|psi|, sign) of each configuration's images by these symmetries, each (images, batch), float64.

        At less cost than one by one; None where nothing compiled is to be used.
        """
        return self.network().amplitudes(spins, images)

    @torch.no_grad()
    def log_derivatives(self, spins: Tensor) -> Tensor:
        """O_k = d log|psi| / d theta_k (paper Eq. 5), shape (batch, parameters).

        Of the parameters that ask for gradients, in the order of ``parameters()``.
        """
        return self.summed_log_derivatives(spins.unsqueeze(1), torch.ones(len(spins), 1, device=spins.device))

    @torch.no_grad()
    def summed_log_derivatives(self, spins: Tensor, shares: Tensor) -> Tensor:
        """The sum of the images' O, weighted by ``shares`` (batch, images), at less cost than one by one.

        ``spins`` has the shape (batch, images, L, L), the result that of :meth:`log_derivatives`.
        """
        blocks, first = self.blocks(), self.blocks()[0].conv.weight
        out = spins.new_empty(len(spins), self.spec.parameters, dtype=first.dtype)
        may_compile = self.kernels == "compiled" and fused.compilable(first)
        compiled = fused.fourier_derivatives(blocks, self.network(), *spins.shape[1:3]) if may_compile else None
        if compiled is not None:
            compiled.write(spins, shares, out)
        else:
            layerwise.in_chunks(blocks, spins, shares, out)
        if all(parameter.requires_grad for parameter in self.parameters()):
            return out
        asked = [torch.full((p.numel(),), p.requires_grad, device=out.device) for p in self.parameters()]
        return out[:, torch.cat(asked)]

    def network(self) -> fused.FusedNetwork:
        """The fused form of the present parameters; recomputed only when a parameter has changed."""
        if torch.is_grad_enabled():
            return self._fuse()
        # Compared by value: torch's version counters miss changes through ``.data`` and shared storage.
        layers = [layer for block in self.blocks() for layer in (block.conv, block.deconv)]
        values = torch.cat([each.flatten() for layer in layers for each in (layer.weight, layer.bias)])
        known = self._fused_values
        same = (values.dtype, values.device) == (known.dtype, known.device) and torch.equal(values, known)
        if self._fused is None or not same:
            self._fused, self._fused_values = self._fuse(), values
        return self._fused

    def _fuse(self) -> fused.FusedNetwork:
        return fused.fuse(self.blocks(), compiled=self.kernels == "compiled")


def _xavier_bound(weight: Tensor) -> float:
    """Bound of the Xavier-uniform distribution; fan-in and fan-out enter alike, so the order of channels is free."""
    return math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * math.prod(weight.shape[2:])))


def _check_layout(spec: ModelSpec) -> None:
    channels, count = 1, 0
    for block in spec.blocks:
        if block.kernel % 2 == 0:
            raise UserError(
                f"The network {spec.name!r} has a kernel of {block.kernel}; periodic padding needs odd ones."
            )
        count += (channels * block.kernel**2 + 1) * block.conv + (2 * block.conv + 1) * block.deconv
        channels = block.deconv
    if channels != 1:
        raise UserError(f"The network {spec.name!r} ends in {channels} channels; psi is a product over one.")
    if count != spec.parameters:
        raise UserError(
            f"The network {spec.name!r} states {spec.parameters} parameters, but its blocks have {count}."
        )
