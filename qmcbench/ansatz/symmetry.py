"""Sum over the four lattice rotations (paper Eq. 10)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, Exchanges, exchanges, log_sum
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
    def exchanges(self, spins: Tensor) -> Exchanges | None:
        """Those of the base, for all rotations."""
        found = exchanges(self.base, torch.cat(rotations(spins)))
        return None if found is None else _Rotated(found, *spins.shape[:2])

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
        log_psi, phase = self.base(torch.cat(rotations(spins)))
        return log_psi.view(4, -1), phase.view(4, -1)


def rotations(spins: Tensor) -> list[Tensor]:
    """The configurations (batch, L, L) rotated by 0, 90, 180 and 270 degrees."""
    return [spins.rot90(turns, (-2, -1)) for turns in range(4)]


class _Rotated:
    """Exchanges in all rotations of ``count`` configurations, which stand one behind another."""

    def __init__(self, base: Exchanges, count: int, L: int) -> None:
        self.base = base
        self.first = count * torch.arange(4)[:, None]
        # Where each site goes: the argsort of a permutation is its inverse.
        sites = torch.arange(L * L).view(1, L, L)
        self.site = torch.cat([rotated.flatten().argsort()[None] for rotated in rotations(sites)])

    def __call__(self, rows: Tensor, pairs: Tensor, *, remember: bool = False) -> tuple[Tensor, Tensor]:
        images, sites = (self.first + rows).flatten(), self.site[:, pairs].flatten(0, 1)
        log_psi, phase = self.base(images, sites, remember=remember)
        return log_sum(log_psi.view(4, -1), phase.view(4, -1), dim=0)

    def accept(self, accepted: Tensor) -> None:
        self.base.accept(accepted.repeat(4))
