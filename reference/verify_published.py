"""Checks of the published energies: against their printed digits, each other, and what physics demands."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from qmcbench.reference.published import PublishedEnergy, rank
from qmcbench.reference.verification import Verification

Rows = Sequence[PublishedEnergy]
Cell = tuple[int, float]

# Rounding of numbers of order one on their way through a file and two solvers.
_FLOAT = 1e-12
# Standard errors that two values of the same quantity may be apart.
_SIGMAS = 3
# Kinds whose value is the true energy, within the error.
_TRUE = ("exact", "qmc")


def digits(rows: Rows) -> Verification:
    """Every energy, suspect ones too, is its printed number, converted from Pauli units where it is a total."""
    wrong = [
        f"{_label(row)}: the energy {row.energy} is not the printed number, {float(row.printed) / row.scale:.16g}"
        for row in rows
        if abs(float(row.printed) / row.scale - row.energy) > _FLOAT
    ]
    way = f"quoted digits, Pauli totals / 4 L^2, to {_FLOAT:g}"
    return Verification("energies as printed", way, len(rows), (*wrong,))


def errors(rows: Rows) -> Verification:
    """Every standard error is the one in parentheses, or the total in Pauli units that the note quotes."""

    def printed(row: PublishedEnergy) -> float | None:
        if match := re.search(r"\((\d+)\)$", row.quoted):
            return int(match[1]) * row.resolution
        return _noted(row, r"sigma (\d[\d.e-]*)", row.scale)

    return _converted("errors as printed", "error", printed, rows, 5e-3, "neither in parentheses nor in the note")


def variances(rows: Rows) -> Verification:
    """Every variance per site is the total in Pauli units that the note quotes."""
    return _converted(
        "variances as printed",
        "variance",
        lambda row: _noted(row, r"Var\(H\) = (\d[\d.e-]*)", 16 * row.L**2),
        rows,
        1e-5,
        "not in the note",
    )


def truths(rows: Rows, energies: Mapping[Cell, float], L: int, source: str) -> Verification:
    """The published exact energies of the L x L lattice are the computed ones, to one unit of the last digit.

    ``energies`` are per site by (L, J2), from the ``source``.
    """
    usable = [row for row in rows if row.kind == "exact" and row.L == L and not row.suspect]
    known = [(row, energies[row.cell]) for row in usable if row.cell in energies]
    apart = [
        (row, f"{_label(row)} is {row.energy - true:+.1e} from the computed {true:.12g}")
        for row, true in known
        if abs(row.energy - true) > row.resolution + _FLOAT
    ]
    missing = len(usable) - len(known)
    return Verification(
        f"published exact {L}x{L} energies",
        f"{source}, to one unit of the last digit (authors round or truncate)",
        len(known),
        tuple(text for row, text in apart if row.conflict is None),
        missing,
        "no computed result of the coupling" if missing else "",
        tuple(f"{text}: {row.conflict}" for row, text in apart if row.conflict),
    )


def conflicts(rows: Rows, energies: Mapping[Cell, float]) -> Verification:
    """Exact and QMC energies of the same lattice and coupling agree, or one of the two says why not.

    A reason for a conflict that is not there (among the rows, or with the computed ``energies``) is a failure too.
    """
    failures: list[str] = []
    explained: list[str] = []
    excused: set[PublishedEnergy] = set()
    pairs = 0
    for cell in _cells(row for row in rows if row.kind in _TRUE and not row.suspect).values():
        for a, b in combinations(sorted(cell, key=rank), 2):
            pairs += 1
            if abs(a.energy - b.energy) <= _allowed(a, b):
                continue
            reasons = [row for row in (a, b) if row.conflict]
            excused |= set(reasons)
            text = f"{_label(b)} is {b.energy - a.energy:+.1e} from {a.quoted} ({a.cite})"
            (explained if reasons else failures).append("; ".join([text, *(row.conflict or "" for row in reasons)]))
    for row in rows:
        true = energies.get(row.cell, row.energy)
        if row.conflict and row not in excused and abs(row.energy - true) <= row.resolution + _FLOAT:
            failures.append(f"{_label(row)} explains a conflict that is not there: {row.conflict}")
    way = f"pairs within {_SIGMAS} standard errors and what rounding and truncating the last digits allow"
    return Verification("conflicts of exact and QMC energies", way, pairs, (*failures,), explained=(*explained,))


def bounds(rows: Rows) -> Verification:
    """No variational energy lies below the exact one of its lattice and coupling, or below QMC at J2 = 0."""
    failures, checked, unbounded = [], 0, 0
    for cell in _cells(row for row in rows if not row.suspect).values():
        trial = [row for row in cell if row.kind == "variational"]
        true = min((row for row in cell if row.kind in _TRUE), key=rank, default=None)
        if true is None:
            unbounded += len(trial)
            continue
        checked += len(trial)
        failures += [
            f"{_label(row)} lies {true.energy - row.energy:.1e} below {true.quoted} ({true.kind}, {true.cite})"
            for row in trial
            if true.energy - row.energy > _allowed(row, true)
        ]
    free = sum(row.kind in ("projected", "extrapolated") for row in rows if not row.suspect)
    suspect = sum(row.suspect for row in rows)
    return Verification(
        "variational energies",
        f"not below the exact energy, nor below QMC at J2 = 0, beyond {_SIGMAS} standard errors and the last digits",
        checked,
        (*failures,),
        unbounded + free + suspect,
        f"{unbounded} without exact or QMC energy, {free} projected or extrapolated (no bounds), {suspect} suspect",
    )


def concave(rows: Rows) -> Verification:
    """At fixed L the exact energy is concave in J2: the minimum of energies that are linear in it."""
    failures, checked = [], 0
    exact = [row for row in rows if row.kind == "exact" and not row.suspect]
    lattices = defaultdict(list)
    for cell in _cells(exact).values():
        lattices[cell[0].L].append(min(cell, key=rank))
    for line in lattices.values():
        line.sort(key=lambda row: row.J2)
        for left, middle, right in zip(line, line[1:], line[2:], strict=False):
            checked += 1
            part = (middle.J2 - left.J2) / (right.J2 - left.J2)
            chord = (1 - part) * left.energy + part * right.energy
            allowed = middle.resolution + (1 - part) * left.resolution + part * right.resolution
            if middle.energy < chord - allowed:
                failures.append(
                    f"{_label(middle)} lies {chord - middle.energy:.1e} below the chord of its neighbours "
                    f"at J2 = {left.J2} and {right.J2}"
                )
    alone = sum(len(line) for line in lattices.values() if len(line) < 3)
    why = "fewer than three couplings of the lattice" if alone else ""
    return Verification(
        "concave in the coupling", "exact energies, triples of neighbouring J2", checked, (*failures,), alone, why
    )


def sizes(rows: Rows) -> Verification:
    """At J2 = 0 the energy per site of the periodic lattice rises with L."""
    known = _cells(row for row in rows if row.kind in _TRUE and row.J2 == 0 and not row.suspect)
    line = sorted((min(cell, key=rank) for cell in known.values()), key=lambda row: row.L)
    failures = [
        f"{_label(large)} is not above {small.quoted} of L = {small.L}"
        for small, large in pairwise(line)
        if large.energy <= small.energy
    ]
    way = "exact and QMC energies at J2 = 0, pairs of neighbouring L"
    return Verification("rising with the lattice", way, max(0, len(line) - 1), (*failures,))


def larger(rows: Rows) -> Verification:
    """No variational energy lies below the exact one of the largest smaller lattice that has one at its coupling."""
    failures, checked, missing = [], 0, 0
    exact = [row for row in rows if row.kind == "exact" and not row.suspect]
    for row in rows:
        if row.kind != "variational" or row.suspect:
            continue
        smaller = [other for other in exact if other.L < row.L and other.J2 == row.J2]
        if not smaller:
            missing += 1
            continue
        checked += 1
        small = min(smaller, key=lambda other: (-other.L, rank(other)))
        if small.energy - row.energy > _allowed(row, small):
            failures.append(f"{_label(row)} lies below the exact {small.quoted} of L = {small.L} ({small.cite})")
    return Verification(
        "variational energies and size",
        "not below the exact energy of a smaller lattice, beyond errors and digits (experience, no theorem)",
        checked,
        (*failures,),
        missing,
        "no exact energy of a smaller lattice at the coupling" if missing else "",
    )


def _cells(rows: Iterable[PublishedEnergy]) -> dict[Cell, list[PublishedEnergy]]:
    cells = defaultdict(list)
    for row in rows:
        cells[row.cell].append(row)
    return cells


def _allowed(a: PublishedEnergy, b: PublishedEnergy) -> float:
    """How far apart two rows of one true energy may be: statistics, and digits that one rounds and one truncates."""
    fine, coarse = sorted((a.resolution, b.resolution))
    return _SIGMAS * math.hypot(a.error or 0, b.error or 0) + coarse + fine / 2 + _FLOAT


def _label(row: PublishedEnergy) -> str:
    return f"{row.L}x{row.L}, J2 = {row.J2}: {row.kind} {row.quoted} ({row.cite})"


def _noted(row: PublishedEnergy, pattern: str, scale: int) -> float | None:
    match = re.search(pattern, row.note or "")
    return float(match[1]) / scale if match else None


def _converted(
    name: str,
    field: str,
    printed: Callable[[PublishedEnergy], float | None],
    rows: Rows,
    tolerance: float,
    why: str,
) -> Verification:
    """A field beside the number that ``printed`` finds in the row's text, to a relative tolerance."""
    failures, checked, missing = [], 0, 0
    for row in rows:
        value, source = getattr(row, field), printed(row)
        if source is None:
            missing += value is not None
            continue
        checked += 1
        if value is None or not math.isclose(value, source, rel_tol=tolerance):
            failures.append(f"{_label(row)}: the {field} {value} is not the printed one, {source:.6g}")
    way = f"number in parentheses or in the note, converted, to {tolerance:g} of itself"
    return Verification(name, way, checked, (*failures,), missing, why if missing else "")
