"""Samples that another program has written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleFile:
    """Configurations drawn from |psi|^alpha, with psi of each."""

    path: Path
    spins: Tensor
    """(samples, L, L), int8."""
    log_psi: Tensor
    """(samples,), complex128: the imaginary part is the phase's angle."""
    chain: Tensor
    """Which chain each is of, (samples,), int64; samples of one chain stand in the order in which they were drawn."""
    alpha: float = 2.0
    local_energies: Tensor | None = None
    """Total ones, (samples,), complex128, units of J1 (S.S convention)."""
