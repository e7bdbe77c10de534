"""The blocks of the paper's network, and what its forms are made of."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Module):
    """``weight`` and ``bias`` of a convolution; the forms that apply them are functions elsewhere."""

    def __init__(self, *shape: int, bias: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.empty(bias, dtype=torch.float64))


class Block(nn.Module):
    """One block's parameters, under the names of the authors' checkpoint.

    ``conv.weight`` (out, in, k, k); ``deconv.weight`` (in, out, 2), of the transposed convolution.
    """

    def __init__(self, channels: int, conv: int, deconv: int, kernel: int) -> None:
        super().__init__()
        self.conv = Convolution(conv, channels, kernel, kernel, bias=conv)
        self.deconv = Convolution(conv, deconv, 2, bias=deconv)


class Layer(NamedTuple):
    """One fused convolution: ``weight`` (2 C_out, C_in, k, (k+1)/2), even columns first; ``bias`` (C_out,)."""

    weight: Tensor
    bias: Tensor


def periodic_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Padded input and output of a convolution on the torus, each (batch, height, width, channels)."""
    padded = pad(x, weight.shape[2] // 2, weight.shape[3] // 2)
    return padded, F.conv2d(padded.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)


def pad(x: Tensor, rows: int, columns: int) -> Tensor:
    """Periodic padding of the grid ``x`` (batch, height, width, channels)."""
    if columns:
        x = torch.cat([x[:, :, -columns:], x, x[:, :, :columns]], dim=2)
    if rows:
        x = torch.cat([x[:, -rows:], x, x[:, :rows]], dim=1)
    return x


@cache
def columns(kernel: int) -> Tensor:
    """Selector (parity s, kernel column b, fused column m, column r in its pair): 1 where b falls on (m, r)."""
    h, width = kernel // 2, (kernel + 1) // 2
    selector = torch.zeros(2, kernel, width, 2)
    for s in range(2):
        for b in range(kernel):
            pair, r = divmod(s + b - h, 2)
            # In the gap form the odd column belongs to the gap after its pair.
            m = pair + width // 2 - (s if h % 2 else 0)
            selector[s, b, m, r] = 1
    return selector
