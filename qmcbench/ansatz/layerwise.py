"""Per-sample log-derivatives of the paper's network, layer by layer.

One backward pass gives d log|psi| / d(output of each layer) for every sample; a weight's gradient is then one matrix
product per sample between these and the layer's inputs. This takes the plain (unfused) form: its kernels are the
parameters themselves, so nothing has to be pulled back through the fusion, which costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz.fused import pad

if TYPE_CHECKING:
    from qmcbench.ansatz.cnn import Block

# Samples are taken in chunks whose largest im2col matrix has about this many numbers, so that it stays in cache.
WINDOW_NUMBERS = 4_000_000


def chunk_size(blocks: Sequence[Block], L: int) -> int:
    """How many samples to take at once."""
    largest = max(block.conv.weight[0].numel() for block in blocks) * L * L
    return max(1, WINDOW_NUMBERS // largest)


def log_derivatives(blocks: Sequence[Block], spins: Tensor, out: Tensor) -> None:
    """Write d log|psi| / d theta of ``spins`` (batch, L, L) into ``out`` (batch, parameters), block after block."""
    patches, pooled, before_pool, after = [], [], [], []
    with torch.enable_grad():
        x = spins.to(out.dtype).unsqueeze(-1).requires_grad_()  # (batch, L, L, channels), as everything below
        for block in blocks:
            k = block.conv.weight.shape[-1]
            padded = pad(x, k // 2, k // 2)
            z = F.conv2d(padded.permute(0, 3, 1, 2), block.conv.weight.detach(), block.conv.bias.detach())
            z = z.permute(0, 2, 3, 1)
            p = torch.maximum(z[:, :, 0::2], z[:, :, 1::2])
            pair_to_columns = block.deconv.weight.detach().permute(2, 1, 0).flatten(0, 1)
            x = F.linear(p, pair_to_columns).unflatten(-1, (2, -1)).flatten(2, 3) + block.deconv.bias.detach()
            patches.append(padded.detach().unfold(1, k, 1).unfold(2, k, 1))
            pooled.append(p.detach())
            before_pool.append(z)
            after.append(x)
        loss = x.abs().log().sum()
    deltas = torch.autograd.grad(loss, [*before_pool, *after])
    start = 0
    n = len(blocks)
    for patch, p, dz, dx in zip(patches, pooled, deltas[:n], deltas[n:], strict=True):
        batch, outputs, k = len(spins), dz.shape[-1], patch.shape[-1]
        dz, dx = dz.flatten(1, 2), dx.flatten(1, 2)
        conv = dz.transpose(1, 2) @ patch.permute(0, 1, 2, 4, 5, 3).reshape(batch, dz.shape[1], -1)
        conv = conv.view(batch, outputs, k, k, -1).permute(0, 1, 4, 2, 3)
        deconv = p.flatten(1, 2).transpose(1, 2) @ dx.reshape(batch, p[0, ..., 0].numel(), -1)
        deconv = deconv.unflatten(-1, (2, -1)).transpose(-1, -2)
        for gradient in (conv, dz.sum(1), deconv, dx.sum(1)):
            size = gradient[0].numel()
            out[:, start : start + size] = gradient.reshape(batch, size)
            start += size
