"""Sum over the four lattice rotations (paper Eq. 10)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes, log_sum
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives


class C4(nn.Module):
    """psi(S) = sum_{r=0..3} base(T^r S), T the rotation by 90 degrees, summed with signs and without overflow."""

    def __init__(self, base: Ansatz) -> None:
        super().__init__()
        self.base = base

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase), each of shape (batch,)."""
        return log_sum(*self._terms(spins), dim=0)

    @torch.no_grad()
    def log_derivatives(self, spins: Tensor) -> Tensor:
        """O = sum_r (psi_r / psi) O_r, shape (batch, parameters)."""
        log_psi, phase = self._terms(spins)
        total, total_phase = log_sum(log_psi, phase, dim=0)
        shares = phase * total_phase * (log_psi - total).exp()
        if isinstance(self.base, CNN):
            return self.base.log_derivatives(torch.stack(rotations(spins), dim=1), shares.T)
        parts = (log_derivatives(self.base, rotated) for rotated in rotations(spins))
        out = torch.zeros((), device=spins.device)
        for share, part in zip(shares, parts, strict=True):
            out = out + share[:, None].to(part.dtype) * part
        return out

    def _terms(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, phase = amplitudes(self.base, torch.cat(rotations(spins)))
        return log_psi.view(4, -1), phase.view(4, -1)


def rotations(spins: Tensor) -> list[Tensor]:
    """The configurations (batch, L, L) rotated by 0, 90, 180 and 270 degrees."""
    return [spins.rot90(turns, (-2, -1)) for turns in range(4)]
