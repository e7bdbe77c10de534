"""What a wave function has to be: something called with configurations that gives (log|psi|, phase)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Ansatz(Protocol):
    """Any torch module or plain function ``spins -> (log|psi|, phase)``.

    ``spins`` are int8 of value +-1, shape (batch, L, L), +1 for spin up. Both results have shape (batch,):
    log|psi| real (float64 where it was accumulated so), phase = psi/|psi| real (+-1) or complex. A vanishing psi is
    (-inf, 0). A ``torch.nn.Module`` can also be trained; see :func:`qmcbench.ansatz.log_derivatives`.
    """

    def __call__(self, spins: Tensor, /) -> tuple[Tensor, Tensor]: ...


def log_sum(log_psi: Tensor, phase: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """(log|psi|, phase) of the sum of signed amplitudes along ``dim``, without overflow."""
    top = log_psi.amax(dim, keepdim=True)
    # Where every term vanishes, the largest exponent is -inf and may not be subtracted.
    top = torch.where(torch.isneginf(top), torch.zeros_like(top), top)
    total = (phase * (log_psi - top).exp()).sum(dim)
    size = total.abs()
    return size.log() + top.squeeze(dim), torch.sgn(total)


def log_product(values: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, sign) of the product along the last axis, accumulated in float64.

    The length must be a multiple of four: four factors are multiplied before each logarithm. With float32 factors
    that can neither overflow nor underflow float64 (4 x 45 decades), and it saves three of four logarithms.
    """
    values = values.double()
    for _ in range(2):
        # Products of halves: several times faster than a reduction over a short axis.
        half = values.shape[-1] // 2
        values = values[..., :half] * values[..., half:]
    return values.abs().log().sum(-1), torch.sign(values).prod(-1)
