"""Symmetries of a rectangular cluster as operations on integers, compiled with Numba.

A configuration is an unsigned integer: site ``(i, j)`` of a ``rows x columns`` cluster is bit
``N - 1 - (i * columns + j)``, and a set bit is an up spin. An orbit's representative is its largest integer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_Compiled = Callable[..., Any]


@dataclass(frozen=True)
class Symmetries:
    """Generators of the cluster's symmetry group, each ``word -> word``, compiled.

    ``transpose`` is None unless the cluster is square; ``translate_columns`` and ``translate_rows`` move by one site.
    """

    translate_columns: _Compiled
    translate_rows: _Compiled
    reflect_columns: _Compiled
    reflect_rows: _Compiled
    invert: _Compiled
    transpose: _Compiled | None


def symmetries(rows: int, columns: int) -> Symmetries:
    """Generators for a cluster of at most 64 sites."""
    sites = rows * columns
    full = np.uint64((1 << sites) - 1)
    low_column = np.uint64(sum(1 << (i * columns) for i in range(rows)))
    low_row = np.uint64((1 << columns) - 1)
    one, wrap = np.uint64(1), np.uint64(columns - 1)
    not_high_column = full ^ (low_column << wrap)
    up, around = np.uint64(columns), np.uint64(sites - columns)
    column_moves = tuple(words((k, columns - 1 - k)) for k in range(columns))
    row_moves = tuple(words((k * columns, (rows - 1 - k) * columns)) for k in range(rows))

    @numba.njit
    def translate_columns(s: Any) -> Any:
        return ((s >> one) & not_high_column) | ((s & low_column) << wrap)

    @numba.njit
    def translate_rows(s: Any) -> Any:
        return (s >> up) | ((s << around) & full)

    @numba.njit
    def reflect_columns(s: Any) -> Any:
        t = np.uint64(0)
        for source, target in column_moves:
            t |= ((s >> source) & low_column) << target
        return t

    @numba.njit
    def reflect_rows(s: Any) -> Any:
        t = np.uint64(0)
        for source, target in row_moves:
            t |= ((s >> source) & low_row) << target
        return t

    @numba.njit
    def invert(s: Any) -> Any:
        return s ^ full

    transpose = _transpose(rows) if rows == columns else None
    return Symmetries(translate_columns, translate_rows, reflect_columns, reflect_rows, invert, transpose)


def _transpose(side: int) -> _Compiled:
    # Bit i * L + j goes to j * L + i: all bits of one diagonal j - i = k move by k * (L - 1).
    masks = {k: sum(1 << (i * side + i + k) for i in range(side) if 0 <= i + k < side) for k in range(1 - side, side)}
    left = tuple(words((masks[k], k * (side - 1))) for k in range(side))
    right = tuple(words((masks[-k], k * (side - 1))) for k in range(1, side))

    @numba.njit
    def transpose(s: Any) -> Any:
        t = np.uint64(0)
        for mask, shift in left:
            t |= (s & mask) << shift
        for mask, shift in right:
            t |= (s & mask) >> shift
        return t

    compiled: _Compiled = transpose
    return compiled


# How a symmetry acts on what a state can be odd under; the parities of a product are the XOR of the factors'.
TRANSLATED, REFLECTED, TRANSPOSED, INVERTED = 1, 2, 4, 8


def representative(rows: int, columns: int) -> _Compiled:
    """Compiled ``word -> (largest word of its orbit, parities, ways, seen)`` under all symmetries.

    ``parities`` are those of a symmetry that makes the largest word of this one: an odd number of translations by one
    site, of reflections (`Symmetries.reflect_rows` and `reflect_columns`, which have their axis between sites), of
    transpositions, of inversions. ``ways`` counts the symmetries that do so: the order of the orbit's stabiliser; bit
    ``p`` of ``seen`` says that one of them has the parities ``p``.

    The top row of the largest word is the largest that any row (or column) can be made: only the few symmetries that
    put such a row on top are tried, instead of all of them (576 for 6x6).
    """
    s = symmetries(rows, columns)
    translate_columns, translate_rows = s.translate_columns, s.translate_rows
    reflect_columns, reflect_rows, invert = s.reflect_columns, s.reflect_rows, s.invert
    transpose = s.transpose or s.invert  # never called for a rectangle
    top_row = largest_row(rows, columns)
    largest = largest_rows(columns)
    orientations = 2 if rows == columns else 1
    top_shift = np.uint64((rows - 1) * columns)

    @numba.njit
    def find(word: Any) -> Any:
        # `largest` knows reflections and inversion, so one look at the rows and one at the columns is enough.
        top = top_row(word)
        best, parities, ways, seen = np.uint64(0), 0, 0, 0
        for orientation in range(orientations):
            turned = transpose(word) if orientation else word
            for inverted in range(2):
                if inverted:
                    turned = invert(turned)
                for down in range(rows):
                    if largest[turned >> top_shift] == top:
                        for mirrored in range(2):
                            moved = reflect_columns(turned) if mirrored else turned
                            for right in range(columns):
                                if moved >> top_shift == top:
                                    parity = TRANSPOSED * orientation | INVERTED * inverted | (down + right) & 1
                                    parity |= REFLECTED * mirrored
                                    image = moved
                                    for flipped in range(2):
                                        if flipped:
                                            # Upside down, the top row comes to lie at the bottom: one translation.
                                            image = translate_rows(reflect_rows(moved))
                                            parity ^= REFLECTED | TRANSLATED
                                        if image > best:
                                            best, parities, ways, seen = image, parity, 1, 1 << parity
                                        elif image == best:
                                            ways += 1
                                            seen |= 1 << parity
                                moved = translate_columns(moved)
                    turned = translate_rows(turned)
        return best, parities, ways, seen

    compiled: _Compiled = find
    return compiled


@cache
def largest_row(rows: int, columns: int) -> _Compiled:
    """Compiled ``word -> top row of the largest word of its orbit``."""
    transpose = symmetries(rows, columns).transpose
    square = transpose is not None
    turn = transpose or symmetries(rows, columns).invert  # never called for a rectangle
    largest = largest_rows(columns)
    row_mask, width = np.uint64((1 << columns) - 1), np.uint64(columns)

    @numba.njit
    def of_rows(word: Any) -> Any:
        top = np.uint64(0)
        for _ in range(rows):
            top = max(top, largest[word & row_mask])
            word >>= width
        return top

    @numba.njit
    def find(word: Any) -> Any:
        top = of_rows(word)
        return max(top, of_rows(turn(word))) if square else top

    compiled: _Compiled = find
    return compiled


def largest_rows(columns: int) -> Words:
    """For every row, the largest it becomes by rotation, reflection and inversion; shape (2**columns,)."""
    full = (1 << columns) - 1

    def turns(row: int) -> Iterable[int]:
        mirrored = sum(((row >> j) & 1) << (columns - 1 - j) for j in range(columns))
        for start in (row, mirrored, row ^ full, mirrored ^ full):
            for k in range(columns):
                yield ((start << k) | (start >> (columns - k))) & full

    return np.array([max(turns(row)) for row in range(full + 1)], dtype=np.uint64)


def words(values: Iterable[int]) -> tuple[np.uint64, ...]:
    """Numba turns a mix of uint64 and int64 into floating point, so every constant is a uint64."""
    return tuple(np.uint64(value) for value in values)
