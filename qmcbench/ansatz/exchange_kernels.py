"""Compiled parts of :mod:`qmcbench.ansatz.exchange_tiles`, each for one tile of exchanges.

``bases``, ``rows`` and ``columns`` (LANES,) say where each exchange's configuration is among all, and where its frame
begins on the lattice.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from qmcbench.ansatz.exchange_plan import Integers
from qmcbench.ansatz.tile_kernel import LANES, convolution
from qmcbench.ansatz.tiles import Array, close


@njit(nogil=True)
def load_moved(
    spins: NDArray[np.int8], bases: Integers, rows: Integers, columns: Integers, grid: Array, margin: int
) -> None:
    """The spins of a tile as the grid of their pairs, each moved into its frame."""
    L = spins.shape[1]
    pairs = L // 2
    filled = grid[: L * (pairs + 2 * margin) * 2 * LANES].reshape(L, pairs + 2 * margin, 2, LANES)
    for row in range(L):
        for lane in range(LANES):
            source = spins[bases[lane], (row + rows[lane]) % L]
            for column in range(L):
                filled[row, margin + column // 2, column % 2, lane] = source[(column + columns[lane]) % L]
        close(filled, row, pairs, margin)


@njit(nogil=True)
def flip(
    spins: NDArray[np.int8],
    bases: Integers,
    rows: Integers,
    columns: Integers,
    sites: Integers,
    change: Array,
    row: int,
    window_rows: int,
    column: int,
    window_columns: int,
) -> None:
    """The change of the spins in a window at (``row``, ``column``): either site's becomes its opposite."""
    L = spins.shape[1]
    filled = change[: window_rows * window_columns * 2 * LANES].reshape(window_rows, window_columns, 2, LANES)
    filled[:] = 0
    for lane in range(LANES):
        for site in range(2):
            i, j = sites[lane, 2 * site], sites[lane, 2 * site + 1]
            spin = spins[bases[lane], (i + rows[lane]) % L, (j + columns[lane]) % L]
            filled[i - row, j // 2 - column, j % 2, lane] = -2 * spin


@njit(nogil=True)
def fetch(
    kept: Array,
    bases: Integers,
    rows: Integers,
    columns: Integers,
    sums: Array,
    row: int,
    window_rows: int,
    column: int,
    window_columns: int,
) -> None:
    """The sums that are kept for a tile, in a window of its frames."""
    L, pairs, outputs = kept.shape[1], kept.shape[2], kept.shape[3]
    filled = sums[: window_rows * window_columns * outputs * LANES].reshape(-1, outputs, LANES)
    for place in range(window_rows * window_columns):
        i, j = row + place // window_columns, column + place % window_columns
        for lane in range(LANES):
            one = kept[bases[lane], (i + rows[lane]) % L, (j + columns[lane] // 2) % pairs]
            for output in range(outputs):
                filled[place, output, lane] = one[output]


@njit(nogil=True)
def store(
    kept: Array,
    bases: Integers,
    rows: Integers,
    columns: Integers,
    sums: Array,
    row: int,
    window_rows: int,
    column: int,
    window_columns: int,
    taken: NDArray[np.bool_],
) -> None:
    """Keep the sums of those of a tile's exchanges that are ``taken``: the way back of :func:`fetch`."""
    L, pairs, outputs = kept.shape[1], kept.shape[2], kept.shape[3]
    filled = sums[: window_rows * window_columns * outputs * LANES].reshape(-1, outputs, LANES)
    for place in range(window_rows * window_columns):
        i, j = row + place // window_columns, column + place % window_columns
        for lane in range(LANES):
            if taken[lane]:
                one = kept[bases[lane], (i + rows[lane]) % L, (j + columns[lane] // 2) % pairs]
                for output in range(outputs):
                    one[output] = filled[place, output, lane]


@cache
def sums_of(block: int, itemsize: int) -> Any:
    """The sums of a layer before the pooling in a window, for blocks of that many outputs."""
    kernel = convolution(block, itemsize)

    @njit(nogil=True)
    def sums_of(
        source: Array,
        sums: Array,
        L: int,
        weights: Array,
        bias: Array,
        offsets: Integers,
        inputs: int,
        row: int,
        window_rows: int,
        column: int,
        window_columns: int,
    ) -> None:
        blocks, rows, run = weights.shape[0], weights.shape[1], weights.shape[2]
        place = LANES * itemsize
        for i in range(window_rows):
            for part in range(blocks):
                for j in range(window_columns):
                    kernel(
                        source.ctypes.data + (column + j) % (L // 2) * inputs * place,
                        offsets.ctypes.data + (row + i) % L * rows * 8,
                        rows,
                        run,
                        weights.ctypes.data + part * rows * run * block * itemsize,
                        run * block * itemsize,
                        bias.ctypes.data + part * block * itemsize,
                        sums.ctypes.data + ((i * window_columns + j) * blocks + part) * block * place,
                    )

    return sums_of


@cache
def change_of(block: int, itemsize: int) -> Any:
    """The change of a layer's pooled output in a window, or the ``whole`` output, for blocks of that many outputs."""
    kernel = convolution(block, itemsize, onto=True)

    @njit(nogil=True)
    def change_of(
        change: Array,
        target: Array,
        sums: Array,
        weights: Array,
        inputs: int,
        gaps: int,
        margin: int,
        whole: bool,
        rows: int,
        columns: int,
        pooled: int,
        calls: Integers,
        starts: Integers,
        offsets: Integers,
    ) -> None:
        blocks, kernel_rows, run = weights.shape[0], weights.shape[1], weights.shape[2]
        outputs = blocks * block
        channels = outputs // 2
        place = LANES * itemsize
        side = margin if whole else 0
        totals = sums[: rows * columns * outputs * LANES].reshape(rows, columns, outputs, LANES)
        grid = target[: rows * (pooled + 2 * side) * channels * LANES].reshape(
            rows, pooled + 2 * side, channels, LANES
        )
        for i in range(rows):
            if not whole:
                for pair in range(pooled):
                    odd = (pair + gaps) % columns
                    for channel in range(channels):
                        for lane in range(LANES):
                            a, b = totals[i, pair, channel, lane], totals[i, odd, channels + channel, lane]
                            grid[i, pair, channel, lane] = a if a > b else b
            for call in range(starts[i], starts[i + 1]):
                for part in range(blocks):
                    kernel(
                        change.ctypes.data + calls[call, 2] * inputs * place,
                        offsets.ctypes.data + calls[call, 1] * 8,
                        calls[call, 3],
                        calls[call, 5] * inputs,
                        weights.ctypes.data + (part * kernel_rows * run + calls[call, 4] * inputs) * block * itemsize,
                        run * block * itemsize,
                        0,
                        sums.ctypes.data + (((i * columns + calls[call, 0]) * blocks) + part) * block * place,
                    )
            for pair in range(pooled):
                odd = (pair + gaps) % columns
                for channel in range(channels):
                    for lane in range(LANES):
                        a, b = totals[i, pair, channel, lane], totals[i, odd, channels + channel, lane]
                        value = a if a > b else b
                        grid[i, side + pair, channel, lane] = value if whole else value - grid[i, pair, channel, lane]
            if whole:
                close(grid, i, pooled, margin)

    return change_of
