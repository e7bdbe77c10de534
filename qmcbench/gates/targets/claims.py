"""Energies that somebody claims, one a row, from a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClaimedEnergy:
    """One claimed energy, per site in units of J1 (S.S convention)."""

    row: int
    """Of the table, the first one below the header being 1."""
    L: int
    J2: float
    energy: float
    sigma: float | None = None
    variance: float | None = None
    """Of the total energy, divided by the number of sites."""
    samples: int | None = None
    method: str = ""
