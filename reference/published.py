"""Published ground-state energies with their sources, read from ``data/published.toml``.

Energies are per site in S.S units with J1 = 1. A row marked suspect is in the file so that nobody adds it again, and
is returned by nothing but `every_row`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal

from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.schemas import document

# Best first. The last two are estimates from either side of the ground state, so that neither can be a reference.
KINDS = ("exact", "qmc", "variational", "projected", "extrapolated")
REFERENCE_KINDS = KINDS[:3]

_TOLERANCE = 1e-12


@dataclass(frozen=True)
class PublishedEnergy:
    """One published energy and where it comes from."""

    L: int
    J2: float
    """Side of the periodic lattice and next-nearest-neighbour coupling, J1 = 1."""
    energy: float
    """Energy per site in S.S units."""
    quoted: str
    """The digits as printed; below -1 they are the total energy in Pauli units, ``4 * L**2 * energy``."""
    method: str
    """How it was computed."""
    kind: str
    """``exact`` (diagonalization), ``qmc`` (free of the sign problem, hence J2 = 0), ``variational`` (an upper
    bound up to its statistical error), ``projected`` (fixed-node) or ``extrapolated``; the last two are no bounds."""
    year: int
    cite: str
    id: str
    """Year, authors and journal, and DOI or arXiv number of the source."""
    verified: str | Literal[False]
    """The document in which the number was seen; False if it was only remembered."""
    verified_level: str
    """``primary`` (the source itself), ``secondary`` (another document quotes it) or ``memory`` (not seen)."""
    error: float | None = None
    """Standard error of ``energy``; None if none is printed."""
    variance: float | None = None
    """Variance of the Hamiltonian per site, ``sigma**2 / L**2`` in S.S units; None if unknown."""
    note: str | None = None
    """What else a reader must know."""
    conflict: str | None = None
    """Why the row disagrees beyond its digits with a better one of the same cell and kind; None if it does not."""
    suspect: bool = False
    """True for a row that must not be used; ``note`` says why."""

    @property
    def scale(self) -> int:
        """What ``quoted`` is divided by to give ``energy``: 1, or ``4 * L**2`` for a total in Pauli units."""
        # No energy per site lies below -1: that of J2 = 1, the lowest here, is -0.77 on the smallest lattice.
        return 4 * self.L**2 if self.printed < -1 else 1

    @property
    def printed(self) -> Decimal:
        """``quoted`` without its error."""
        return Decimal(self.quoted.partition("(")[0])

    @property
    def resolution(self) -> float:
        """One unit of the last printed digit, per site in S.S units; authors round, but some truncate."""
        exponent = self.printed.as_tuple().exponent
        assert isinstance(exponent, int)  # the schema admits finite numbers only
        return float(Decimal(1).scaleb(exponent)) / self.scale

    @property
    def uncertainty(self) -> float:
        """The standard error, or the resolution where no error is printed."""
        return self.resolution if self.error is None else self.error

    @property
    def cell(self) -> tuple[int, float]:
        """``(L, J2)``."""
        return self.L, self.J2


def parse(content: Mapping[str, Any]) -> tuple[PublishedEnergy, ...]:
    """All rows of a document like ``published.toml``, suspect ones too, by L, J2, kind (exact first) and energy."""
    rows = (PublishedEnergy(**row) for row in content["energy"])
    return tuple(sorted(rows, key=lambda row: (row.L, row.J2, KINDS.index(row.kind), row.energy)))


@cache
def every_row() -> tuple[PublishedEnergy, ...]:
    """All rows of ``published.toml``, suspect ones too, in the order of `parse`."""
    return parse(document("published"))


def published(L: int | None = None, J2: float | None = None, kind: str | None = None) -> tuple[PublishedEnergy, ...]:
    """All published energies that match, without the suspect ones, by L, J2, kind (exact first) and energy.

    J2 is matched within 1e-12; None matches everything.

    Raises
    ------
    ReferenceLayerError
        If there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise ReferenceLayerError(f"there is no kind {kind!r} of energy: choose one of {', '.join(KINDS)}")
    return tuple(
        row
        for row in every_row()
        if not row.suspect
        and L in (None, row.L)
        and (J2 is None or abs(J2 - row.J2) <= _TOLERANCE)
        and kind in (None, row.kind)
    )


def energy(L: int, J2: float, kind: str | None = None) -> PublishedEnergy:
    """The best published energy of one kind, with its source.

    Of several the best is the lowest for ``variational``, and for the other kinds the one with the smallest
    uncertainty (the standard error, or one unit of the last digit), the lower of two equals, as a diagonalization
    that has not converged lies above. Rows with a ``conflict`` come after the others, and rows that nobody has seen
    (``verified_level == "memory"``) last. L and J2 are matched as by `published`; without a kind it is the `best`.

    Raises
    ------
    ReferenceLayerError
        If there is no such kind, or no such energy; names the kinds or the nearest lattice that there are.
    """
    if kind is None:
        return best(L, J2)
    return _first(published(L, J2, kind), L, J2, kind)


def best(L: int, J2: float) -> PublishedEnergy:
    """The published energy to hold a computed one against.

    The true ground-state energy where it is known: by diagonalization, else by quantum Monte Carlo at J2 = 0. Else
    the lowest variational energy, which lies above the ground state: a computed energy may well lie below it.
    Projected and extrapolated energies bound nothing and never count. An energy that was only remembered is taken if
    no seen one of these three kinds exists; its ``verified_level`` then says ``memory``. L and J2 are matched as by
    `published`.

    Raises
    ------
    ReferenceLayerError
        If no energy of these three kinds is published; names the kinds or the nearest lattice that there are.
    """
    rows = tuple(row for row in published(L, J2) if row.kind in REFERENCE_KINDS)
    return _first(rows, L, J2, "exact, qmc or variational")


def rank(row: PublishedEnergy) -> tuple[bool, int, bool, float, float]:
    """Sort key of the rows of one cell, best first; the order that `energy` and `best` describe."""
    merit = (row.energy, row.uncertainty) if row.kind == "variational" else (row.uncertainty, row.energy)
    return row.verified_level == "memory", KINDS.index(row.kind), row.conflict is not None, *merit


def _first(rows: tuple[PublishedEnergy, ...], L: int, J2: float, wanted: str) -> PublishedEnergy:
    """The best of the rows; if there are none, an error that says what there is instead."""
    if rows:
        return min(rows, key=rank)
    if not math.isfinite(J2):
        raise ReferenceLayerError(f"J2 = {J2} is not a finite number: give the coupling in units of J1, such as 0.5")
    there = published(L, J2)
    if there:
        kinds = [kind for kind in KINDS if any(row.kind == kind for row in there)]
        raise ReferenceLayerError(
            f"no {wanted} energy of L = {L}, J2 = {J2} is published here, only {', '.join(kinds)} ones: "
            "ask for one of these kinds"
        )
    # Two sites of side count as much as 0.1 in the coupling: enough to stay on the asked lattice where it is known.
    near = min(published(), key=lambda row: abs(row.L - L) / 20 + abs(row.J2 - J2))
    raise ReferenceLayerError(
        f"no energy of L = {L}, J2 = {J2} is published here: the nearest is L = {near.L}, J2 = {near.J2}"
    )
