"""Orbits of all configurations under the symmetries of a cluster, and where each exchange of two spins leads.

They serve every coupling J2 and every symmetry sector of one dimension. In the amplitudes ``u(r) = psi(r)`` of the
orbits' representatives, the exchange on one bond has the matrix element ``sign / 2`` towards the representative of
the exchanged configuration, whatever the orbits' lengths: these enter the scalar product only, ``<u|v> = sum_r u(r)
v(r) / n(r)`` with ``n(r)`` the order of the stabiliser. The sign is the character of the symmetry that leads there;
in the fully symmetric sector all signs are +1. So an index and four parities for each exchange are all there is to
store: 4 bytes (5 GB for 6x6).

The representatives are enumerated here, piece by piece; that none is missing follows from the lengths of their
orbits, which add up to the number of configurations. QuSpin is the judge of the exchanges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qmcbench.reference.bit_basis import BONDS, NEAREST, NEXT_NEAREST, pair_masks, parities, symmetric_basis
from qmcbench.reference.bits import Words, largest_row, largest_rows, representative
from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.pieces import Pieces

# Pieces of the list of exchanges that are computed, reported and kept one by one.
CHUNKS = 32
# States that one compiled call looks at: below a second, so that Ctrl-C is heard.
STRIDE = 1 << 15
# One state in this many is held against QuSpin, which takes 30 microseconds for it.
SAMPLED = 8
# An exchange is the index of its target in the low bits, and above it the parities of the symmetry that leads there.
INDEX_BITS = 27

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Representatives:
    """One configuration of each orbit of one cluster: all that a look-up needs."""

    rows: int
    columns: int
    """Of the cluster."""
    states: Words
    """Representatives as integers (see `qmcbench.reference.bits`), descending, shape (n,), uint64."""
    stabiliser: npt.NDArray[np.uint16]
    """Order of each representative's stabiliser, shape (n,), uint16."""
    seen: npt.NDArray[np.uint16]
    """Bit ``p`` says that the stabiliser has a symmetry with the parities ``p``; shape (n,), uint16."""

    def words(self, spins: npt.NDArray[np.int8]) -> Words:
        """Integers of configurations +-1, shape (count, rows, columns): as `states`."""
        bits = (spins.reshape(len(spins), -1) > 0).astype(np.uint64)
        shifts = np.arange(bits.shape[1] - 1, -1, -1, dtype=np.uint64)
        found: Words = (bits << shifts).sum(axis=1, dtype=np.uint64)
        return found

    def configurations(self, begin: int, end: int) -> npt.NDArray[np.int8]:
        """Spins +1 (up) and -1 (down) of the representatives begin to end, shape (count, rows, columns)."""
        sites = self.rows * self.columns
        shifts = np.arange(sites - 1, -1, -1, dtype=np.uint64)
        bits = (self.states[begin:end, None] >> shifts) & np.uint64(1)
        spins: npt.NDArray[np.int8] = 2 * bits.astype(np.int8) - 1
        return spins.reshape(-1, self.rows, self.columns)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """How many states have upper three rows that are at least this number, shape (2**(3 columns) + 1,)."""
        uppers = self.states >> np.uint64(_below(self.rows, self.columns))
        count = np.bincount(uppers.astype(np.int64), minlength=1 << 3 * self.columns)
        return np.append(count[::-1].cumsum()[::-1], 0)


@dataclass(frozen=True)
class Orbits(Representatives):
    """Orbits of one cluster, and where the exchange on each bond leads."""

    starts: npt.NDArray[np.int64]
    """Where each representative's exchanges begin in `exchanges`, shape (n + 1,), int64."""
    nearest: npt.NDArray[np.uint8]
    """How many of them are on nearest-neighbour bonds; these stand first. Shape (n,), uint8."""
    exchanges: npt.NDArray[np.uint32]
    """Index and parities (see `INDEX_BITS`) of each exchanged configuration, uint32."""
    seconds: float
    """What the build took, in all of its sittings."""


def build(rows: int, columns: int, folder: Path | None = None, progress: Progress | None = None) -> Orbits:
    """Orbits of a cluster with at least 4 rows and columns, both even, and at most 36 sites.

    Every piece of the exchanges is compared with QuSpin: those of every eighth state on one bond.

    Parameters
    ----------
    rows, columns
        Of the cluster.
    folder
        Where finished pieces are kept, so that an interrupted build resumes; None keeps nothing.
    progress
        Called with what is being done, how many pieces are done and how many there are.

    Raises
    ------
    ReferenceLayerError
        If QuSpin is missing, or the folder holds pieces of another build, or damaged ones.
    """
    report = progress or (lambda what, done, total: None)
    kept = Pieces(folder)
    basis = len(_tops(columns))
    total = basis + CHUNKS
    found = representatives(rows, columns, kept, lambda what, done, of: report(what, done, total))
    nearest, other = (
        antiparallel_count(found.states, rows, columns, map(BONDS.__getitem__, kind))
        for kind in (NEAREST, NEXT_NEAREST)
    )
    starts = np.zeros(len(found.states) + 1, dtype=np.int64)
    np.cumsum(nearest.astype(np.int64) + other, out=starts[1:])
    orbits = Orbits(
        **vars(found), starts=starts, nearest=nearest, exchanges=np.empty(starts[-1], np.uint32), seconds=0.0
    )
    edges = np.linspace(0, len(found.states), CHUNKS + 1).astype(np.int64)
    for chunk, (begin, end) in enumerate(pairwise(edges.tolist())):
        report("exchanges", basis + chunk, total)
        piece = kept.get(f"exchanges_{chunk:02d}", partial(_exchanges, orbits, chunk, begin, end))
        if [array.shape for array in piece] != [(starts[end] - starts[begin],)] or piece[0].dtype != np.uint32:
            raise _foreign(rows, columns, folder)
        orbits.exchanges[starts[begin] : starts[end]] = piece[0]
    report("built", total, total)
    return replace(orbits, seconds=kept.seconds)


def representatives(rows: int, columns: int, kept: Pieces, report: Progress) -> Representatives:
    """The representatives alone, from the kept pieces as far as there are any; ``report`` as ``progress`` of `build`.

    Raises
    ------
    ReferenceLayerError
        If the pieces are those of another build, or damaged.
    """
    tops, found = _tops(columns), []
    for done, top in enumerate(tops):
        report("basis", done, len(tops))
        found.append(kept.get(f"basis_{top:02d}", partial(enumerate_orbits, rows, columns, top)))
    if any([array.dtype for array in piece] != [np.uint64, np.uint16, np.uint16] for piece in found):
        raise _foreign(rows, columns, kept.folder)
    states, stabiliser, seen = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    if not complete(rows, columns, states, stabiliser):
        raise _foreign(rows, columns, kept.folder)
    return Representatives(rows, columns, states, stabiliser, seen)


def basis_pieces(L: int) -> list[str]:
    """Names of the pieces of an L x L build that `representatives` needs."""
    return [f"basis_{top:02d}" for top in _tops(L)]


def exchange_pieces() -> list[str]:
    """Names of the others."""
    return [f"exchanges_{chunk:02d}" for chunk in range(CHUNKS)]


def _tops(columns: int) -> list[int]:
    """Upper rows that a representative can have, largest first."""
    return sorted(set(largest_rows(columns).tolist()), reverse=True)


def _foreign(rows: int, columns: int, folder: Path | None) -> ReferenceLayerError:
    return ReferenceLayerError(
        f"{folder} holds pieces of another build than {rows}x{columns}: name another folder, or delete it"
    )


def group(rows: int, columns: int) -> int:
    """Number of symmetries: translations, reflections, transposition (squares), inversion of all spins."""
    return rows * columns * 4 * (2 if rows == columns else 1) * 2


def complete(rows: int, columns: int, states: Words, stabiliser: npt.NDArray[np.uint16]) -> bool:
    """Whether the orbits of these representatives, each one once, hold all configurations with S^z = 0."""
    sites = rows * columns
    symmetries = group(rows, columns)
    lengths = sum(symmetries // order * int(count) for order, count in enumerate(np.bincount(stabiliser)) if count)
    descending = bool((states[1:] < states[:-1]).all())
    return descending and lengths == math.comb(sites, sites // 2)


def enumerate_orbits(rows: int, columns: int, top: int) -> tuple[Words, npt.NDArray[Any], npt.NDArray[Any]]:
    """Representatives with this top row, descending; the orders of their stabilisers, and the parities in these."""
    usable = np.array([row for row in range(1 << columns) if largest_rows(columns)[row] <= top], dtype=np.uint64)[
        ::-1
    ]
    collect = _collector(rows, columns)
    found = [collect(np.uint64(top), second, np.ascontiguousarray(usable)) for second in usable if second <= top]
    states, orders, seen = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return states, orders, seen


@cache
def _collector(rows: int, columns: int) -> Callable[..., tuple[Words, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Compiled ``(top, second, usable)``: what `enumerate_orbits` returns, of words with these two upper rows."""
    find, top_row = representative(rows, columns), largest_row(rows, columns)
    half = rows * columns // 2
    width = np.uint64(columns)
    counts = np.array([row.bit_count() for row in range(1 << columns)])

    @numba.njit
    def collect(top: Any, second: Any, usable: Any) -> Any:
        states, orders, seens = np.empty(1024, np.uint64), np.empty(1024, np.uint16), np.empty(1024, np.uint16)
        found = 0
        # An odometer over the rows below: which usable row each has, the word so far and the spins up in it.
        chosen = np.zeros(rows, np.int64)
        above = np.zeros(rows + 1, np.uint64)
        ups = np.zeros(rows + 1, np.int64)
        above[2] = (top << width) | second
        ups[2] = counts[top] + counts[second]
        depth = 2
        while depth >= 2:
            if depth == rows or chosen[depth] == len(usable):
                if depth == rows and ups[rows] == half and top_row(above[rows]) == top:
                    word, _, ways, seen = find(above[rows])
                    if word == above[rows]:
                        if found == len(states):
                            states = np.append(states, np.empty_like(states))
                            orders = np.append(orders, np.empty_like(orders))
                            seens = np.append(seens, np.empty_like(seens))
                        states[found], orders[found], seens[found] = word, ways, seen
                        found += 1
                depth -= 1
                if depth >= 2:
                    chosen[depth] += 1
                continue
            row = usable[chosen[depth]]
            up = ups[depth] + counts[row]
            left = (rows - 1 - depth) * columns
            if up > half or up + left < half:
                chosen[depth] += 1
                continue
            above[depth + 1] = (above[depth] << width) | row
            ups[depth + 1] = up
            depth += 1
            if depth < rows:
                chosen[depth] = 0
        return states[:found].copy(), orders[:found].copy(), seens[:found].copy()

    compiled: Callable[..., tuple[Words, npt.NDArray[Any], npt.NDArray[Any]]] = collect
    return compiled


def _exchanges(orbits: Orbits, chunk: int, begin: int, end: int) -> tuple[npt.NDArray[np.uint32]]:
    """Exchanges of the states begin to end, and QuSpin's judgement of those on one bond."""
    masks = np.concatenate([pair_masks(orbits.rows, orbits.columns, BONDS[bond]) for bond in NEAREST + NEXT_NEAREST])
    out = np.empty(orbits.starts[end] - orbits.starts[begin], dtype=np.uint32)
    for low in range(begin, end, STRIDE):
        high = min(end, low + STRIDE)
        part = slice(*(orbits.starts[[low, high]] - orbits.starts[begin]))
        find_exchanges(orbits, orbits.states[low:high], orbits.starts[low : high + 1], masks, out[part])
    # Another bond for each piece, so that all kinds and many sites have their turn.
    site, bond = 7 * chunk % (orbits.rows * orbits.columns), tuple(BONDS)[chunk % len(BONDS)]
    compare(orbits, bond, site, range(begin, end, SAMPLED))
    return (out,)


def compare(orbits: Orbits, bond: str, site: int, rows: range) -> None:
    """Hold the exchanges of some representatives on one bond against QuSpin: targets, elements and parities.

    What QuSpin has as the matrix element, ``sqrt(n(target) / n(source)) / 2``, is the 1/2 of this module in its
    scalar product. The parities of the symmetry that QuSpin finds may differ by those of one that changes nothing.
    """
    basis = symmetric_basis(orbits.rows, orbits.columns)
    mask = pair_masks(orbits.rows, orbits.columns, BONDS[bond])[site : site + 1]
    for low in range(0, len(rows), STRIDE):
        some = np.asarray(rows[low : low + STRIDE])
        source = some[antiparallel(orbits.states[some], mask[0])]
        packed = np.empty(len(source), dtype=np.uint32)
        find_exchanges(orbits, orbits.states[source], np.arange(len(source) + 1), mask, packed)
        target = packed & np.uint32((1 << INDEX_BITS) - 1)
        expected = np.sqrt(orbits.stabiliser[target] / orbits.stabiliser[source].astype(float)) / 2
        elements, bra, ket = basis.Op_bra_ket(bond, [site], 1.0, np.float64, orbits.states[some])
        same = np.array_equal(bra, orbits.states[target]) and np.array_equal(ket, orbits.states[source])
        same = same and np.allclose(elements, expected, rtol=1e-14, atol=0)
        _, powers = basis.representative(orbits.states[source] ^ mask[0], return_g=True)
        apart = (packed >> INDEX_BITS) ^ parities(orbits.rows, orbits.columns, powers)
        if not (same and (orbits.seen[target] >> apart & 1).all()):
            raise AssertionError(
                f"QuSpin finds other exchanges on the bond {bond!r} of site {site} of {orbits.rows}x{orbits.columns}"
            )


def antiparallel(states: Words, mask: np.uint64) -> npt.NDArray[np.bool_]:
    """Which configurations have opposite spins on the two sites of ``mask``, shape as ``states``."""
    pair = states & mask
    found: npt.NDArray[np.bool_] = (pair != 0) & (pair != mask)
    return found


def antiparallel_count(
    states: Words, rows: int, columns: int, steps: Iterable[tuple[int, int]]
) -> npt.NDArray[np.uint8]:
    """How many pairs of sites one of ``steps`` (down, right) apart have opposite spins, shape as ``states``."""
    count = np.zeros(len(states), dtype=np.uint8)
    for step in steps:
        for mask in pair_masks(rows, columns, step):
            count += antiparallel(states, mask)
    return count


def find_exchanges(
    orbits: Orbits, sources: Words, starts: npt.NDArray[np.int64], masks: Words, out: npt.NDArray[np.uint32]
) -> None:
    """Write to ``out`` where the exchanges on the bonds ``masks`` lead from each of ``sources``.

    Those of the source ``k`` go to ``out[starts[k] - starts[0] : starts[k + 1] - starts[0]]``.
    """
    place = _placer(orbits.rows, orbits.columns)
    _find(place, sources, starts, masks, orbits.states, orbits.places, out)


def locate(orbits: Representatives, configurations: Words) -> npt.NDArray[np.uint32]:
    """Index of each configuration's representative, and parities of a symmetry that leads there: see `INDEX_BITS`."""
    place = _placer(orbits.rows, orbits.columns)
    out = np.empty(len(configurations), dtype=np.uint32)
    _locate(place, configurations, orbits.states, orbits.places, out)
    return out


@cache
def _placer(rows: int, columns: int) -> Callable[..., Any]:
    """Compiled ``(word, states, places) -> `` index and parities."""
    largest = representative(rows, columns)
    below = np.uint64(_below(rows, columns))
    shift = np.uint32(INDEX_BITS)

    @numba.njit
    def place(word: Any, states: Any, places: Any) -> Any:
        word, parities, _, _ = largest(word)
        # Binary search among the states, which descend, with these upper rows.
        low, high = places[(word >> below) + np.uint64(1)], places[word >> below]
        while low < high:
            middle = (low + high) // 2
            if states[middle] > word:
                low = middle + 1
            else:
                high = middle
        return np.uint32(low) | np.uint32(parities) << shift

    compiled: Callable[..., Any] = place
    return compiled


@numba.njit(parallel=True)
def _locate(place: Any, sources: Any, states: Any, places: Any, out: Any) -> None:
    for k in numba.prange(len(sources)):
        out[k] = place(sources[k], states, places)


@numba.njit(parallel=True)
def _find(place: Any, sources: Any, starts: Any, masks: Any, states: Any, places: Any, out: Any) -> None:
    for k in numba.prange(len(sources)):
        position = starts[k] - starts[0]
        for mask in masks:
            pair = sources[k] & mask
            if pair != 0 and pair != mask:
                out[position] = place(sources[k] ^ mask, states, places)
                position += 1


def _below(rows: int, columns: int) -> int:
    """Bits of a word below its upper three rows."""
    return (rows - 3) * columns
