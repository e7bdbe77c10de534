"""Per-sample log-derivatives of the paper's network, layer by layer.

Forward and backward through the plain (unfused) network by hand; the gradient of a weight is then one matrix product
per sample between the gradient at a layer's outputs and its inputs. The plain form is the right one here: its kernels
are the parameters themselves, and pulling gradients of fused kernels back costs more than the fusion saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz.fused import periodic_convolution

if TYPE_CHECKING:
    from qmcbench.ansatz.cnn import Block

# Samples are taken in chunks whose largest im2col matrix has about this many numbers, so that it stays in cache.
WINDOW_NUMBERS = 4_000_000


def chunk_size(blocks: Sequence[Block], images: int, L: int) -> int:
    """How many samples of ``images`` L x L configurations each to take at once."""
    largest = max(block.conv.weight[0].numel() for block in blocks) * images * L * L
    return max(1, WINDOW_NUMBERS // largest)


def log_derivatives(blocks: Sequence[Block], spins: Tensor, shares: Tensor, out: Tensor) -> None:
    """Write sum_r shares_r d log|psi(S_r)| / d theta into ``out``.

    Parameters
    ----------
    blocks
        The network.
    spins
        Each sample's images S_r, shape (batch, images, L, L).
    shares
        Their weights, shape (batch, images).
    out
        Shape (batch, parameters); block after block: conv.weight, conv.bias, deconv.weight, deconv.bias.
    """
    batch = len(spins)
    x = spins.flatten(0, 1).to(out.dtype).unsqueeze(-1)  # (batch * images, L, L, channels), channels last throughout
    memory = []
    for block in blocks:
        padded, z = periodic_convolution(x, block.conv.weight, block.conv.bias)
        even, odd = z.unflatten(2, (-1, 2)).unbind(3)
        pooled = torch.maximum(even, odd)
        memory.append((padded, even >= odd, pooled))
        x = F.linear(pooled, _pair_to_columns(block)).unflatten(-1, (2, -1)).flatten(2, 3) + block.deconv.bias
    dx = shares.to(out.dtype).reshape(-1, 1, 1, 1) / x  # psi is the product of the last outputs
    stop = out.shape[1]
    for block, (padded, even_wins, pooled) in zip(reversed(blocks), reversed(memory), strict=True):
        dpairs = dx.unflatten(2, (-1, 2)).flatten(3)
        dpooled = dpairs @ _pair_to_columns(block)
        dz = torch.stack([dpooled * even_wins, dpooled * ~even_wins], dim=3).flatten(2, 3)
        dx_sites, dz_sites = dx.reshape(batch, -1, dx.shape[-1]), dz.reshape(batch, -1, dz.shape[-1])
        k = block.conv.weight.shape[-1]
        windows = padded.unfold(1, k, 1).unfold(2, k, 1).permute(0, 1, 2, 4, 5, 3)
        conv = dz_sites.mT @ windows.reshape(batch, dz_sites.shape[1], -1)
        deconv = pooled.reshape(batch, -1, pooled.shape[-1]).mT @ dpairs.reshape(batch, -1, dpairs.shape[-1])
        for gradient in (
            dx_sites.sum(1),
            deconv.unflatten(-1, (2, -1)).mT,
            dz_sites.sum(1),
            conv.unflatten(-1, (k, k, -1)).permute(0, 1, 4, 2, 3),
        ):
            start = stop - gradient[0].numel()
            out[:, start:stop] = gradient.reshape(batch, -1)
            stop = start
        if start:  # nobody asks how psi changes with the first block's spins
            # The transpose of a periodic convolution is the one with the mirrored kernel.
            _, dx = periodic_convolution(dz, block.conv.weight.flip(2, 3).transpose(0, 1), None)


def _pair_to_columns(block: Block) -> Tensor:
    """The transposed convolution as a matrix (2 * channels_out, channels_in): even column first, then odd."""
    return block.deconv.weight.permute(2, 1, 0).flatten(0, 1)
