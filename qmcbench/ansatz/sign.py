"""The Marshall-Peierls sign rule as a prior on the sign of psi (paper Eq. 9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes, invariance
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.lattice import sublattice_a


def marshall_sign(spins: Tensor) -> Tensor:
    """(-1)^(up spins on sublattice A), shape (batch,), float64, for ``spins`` (batch, L, L)."""
    mask = sublattice_a(spins.shape[-1]).to(spins.device)
    up = ((spins > 0) & mask).sum((-2, -1))
    return (1 - 2 * (up % 2)).to(torch.float64)


class MarshallSign(nn.Module):
    """psi(S) = (-1)^{M_A(S)} base(S)."""

    def __init__(self, base: Ansatz) -> None:
        super().__init__()
        self.base = base

    @property
    def invariance(self) -> tuple[str, ...]:
        """That of the base: with N / 2 even, the sign is the same under all symmetries of the model."""
        return invariance(self.base)

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase), each of shape (batch,)."""
        log_psi, phase = amplitudes(self.base, spins)
        return log_psi, phase * marshall_sign(spins)

    @torch.no_grad()
    def log_derivatives(self, spins: Tensor) -> Tensor:
        """Those of the base: a fixed sign does not change d log|psi|."""
        return log_derivatives(self.base, spins)
