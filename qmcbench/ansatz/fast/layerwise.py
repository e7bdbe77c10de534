"""Per-sample log-derivatives of the paper's network, layer by layer.

Forward and backward through the plain (unfused) network by hand; the gradient of a weight is then one matrix product
per sample between the gradient at a layer's outputs and its inputs. This is what runs where nothing can be compiled
(:mod:`~qmcbench.ansatz.fast.fourier_derivatives` is many times faster), and what the compiled form is held against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz.layers import Block, periodic_convolution

# Samples are taken in chunks that keep about this many numbers: few enough for caches, enough for long calls.
CHUNK_NUMBERS = 10_000_000


def kept_numbers(blocks: Sequence[Block], images: int, L: int) -> int:
    """How many numbers are kept at once for one sample of ``images`` L x L configurations."""
    kept, neighbours = 0, []
    for block in blocks:
        outputs, inputs, k, _ = block.conv.weight.shape
        # Padded inputs; pooled outputs, and in bytes which of each pair they are.
        kept += (L + k - 1) ** 2 * inputs + L * L // 2 * outputs * 5 // 4
        neighbours.append((L + k - 1) * L * k * inputs)
    return images * (kept + max(neighbours))


def chunk_size(blocks: Sequence[Block], images: int, L: int) -> int:
    """How many samples of ``images`` L x L configurations each to take at once."""
    return max(1, CHUNK_NUMBERS // kept_numbers(blocks, images, L))


def in_chunks(blocks: Sequence[Block], spins: Tensor, shares: Tensor, out: Tensor) -> None:
    """:func:`log_derivatives` of as many samples at once as the caches like."""
    chunk = chunk_size(blocks, spins.shape[1], spins.shape[-1])
    for part in zip(spins.split(chunk), shares.split(chunk), out.split(chunk), strict=True):
        log_derivatives(blocks, *part)


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
        deconv = pooled.reshape(batch, -1, pooled.shape[-1]).mT @ dpairs.reshape(batch, -1, dpairs.shape[-1])
        for gradient in (
            dx.reshape(batch, -1, dx.shape[-1]).sum(1),
            deconv.unflatten(-1, (2, -1)).mT,
            dz.reshape(batch, -1, dz.shape[-1]).sum(1),
            _convolution_gradient(*(each.unflatten(0, (batch, -1)) for each in (padded, dz))),
        ):
            start = stop - gradient[0].numel()
            out[:, start:stop].unflatten(1, gradient.shape[1:]).copy_(gradient)
            stop = start
        if start:  # nobody asks how psi changes with the first block's spins
            # The transpose of a periodic convolution is the one with the mirrored kernel.
            _, dx = periodic_convolution(dz, block.conv.weight.flip(2, 3).transpose(0, 1), None)


def _convolution_gradient(padded: Tensor, dz: Tensor) -> Tensor:
    """Gradients of a convolution's weight, shape (batch, channels_out, channels_in, k, k).

    A product for each row of the kernel. What lies under that row is a part of one matrix, which holds each k
    neighbouring columns of the input: k copies of it and not k * k.

    Parameters
    ----------
    padded
        Inputs, shape (batch, images, L + k - 1, L + k - 1, channels_in).
    dz
        Gradients at the outputs, shape (batch, images, L, L, channels_out).
    """
    images, L = dz.shape[1:3]
    k = padded.shape[2] - L + 1
    # Rows before images, so that neighbouring rows of all images lie side by side.
    neighbours = padded.unfold(3, k, 1).permute(0, 2, 1, 3, 5, 4).flatten(4).flatten(1, 3)
    dz = dz.transpose(1, 2).flatten(1, 3).mT
    step = images * L
    rows = [dz @ neighbours[:, y * step : (y + L) * step] for y in range(k)]
    gradient: Tensor = torch.stack(rows, dim=2).unflatten(3, (k, -1)).permute(0, 1, 4, 2, 3)
    return gradient


def _pair_to_columns(block: Block) -> Tensor:
    """The transposed convolution as a matrix (2 * channels_out, channels_in): even column first, then odd."""
    return block.deconv.weight.permute(2, 1, 0).flatten(0, 1)
