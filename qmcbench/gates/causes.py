"""Causes that the numbers themselves give away."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

CLOSE = 0.02
"""How far from a telling factor the ratio may be by default."""


def factors(sites: int) -> dict[float, str]:
    """Telling multiples of an energy, each with what it means."""
    return {
        4.0: "4 times the exact energy: Pauli matrices?",
        0.25: "a quarter of the exact energy: divided by 4 though it was in spins?",
        float(sites): f"{sites} times the exact energy: a total where the energy per site belongs?",
        4.0 * sites: f"{4 * sites} times the exact energy: a total, in Pauli matrices?",
        1.0 / sites: f"1/{sites} of the exact energy: per site where the total belongs?",
        4.0 / sites: f"4/{sites} of the exact energy: per site where the total belongs, and Pauli matrices?",
    }


def factor(seen: ArrayLike, expected: ArrayLike, sites: int, close: float = CLOSE) -> str | None:
    """What it means if energies are a telling multiple of what they should be; None if they are not.

    Parameters
    ----------
    seen, expected
        Energies, of one unit and the same shape.
    sites
        Of the lattice.
    close
        How far from the factor the ratio may be, relative to it.
    """
    had, wanted = np.ravel(seen), np.ravel(expected)
    size = float(np.vdot(wanted, wanted).real)
    if size == 0.0 or not np.isfinite(had).all():
        return None
    ratio = float(np.vdot(wanted, had).real) / size
    off = float(np.linalg.norm(had - ratio * wanted)) / size**0.5
    for known, meaning in factors(sites).items():
        if abs(ratio - known) <= close * known and off <= close * known:
            return meaning
    return None
