"""What an exchange of two neighbouring spins changes in the network, layer by layer: pure geometry.

Exchanges are seen in frames: the lattice is moved, by whole pairs of columns, so that the upper left corner of both
sites is at row 0 of pair 0. The product of the outputs does not depend on that, and exchanges of one class change the
same places. There are four classes, by whether the sites differ in their row, and whether the left column is the
second of its pair. The places of the last class contain those of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qmcbench.ansatz.tile_kernel import LANES
from qmcbench.ansatz.tiles import TiledNetwork

Integers = NDArray[np.int64]

CLASSES = 4
# Exchanges of all classes together from which it is worth telling them apart: each has a last tile of its own.
ENOUGH = 24 * LANES
# Multiply-adds that take as long as fetching one number that was kept.
FETCH = 30
# Part of the whole network's operations that must be saved for the rest to be worth the trouble.
WORTH = 0.1


class Window(NamedTuple):
    """Rows and columns of a torus: first, count; first, count."""

    row: int
    rows: int
    column: int
    columns: int


class Step(NamedTuple):
    """How the change of a layer's input becomes that of its pooled output, for one class of exchanges."""

    changed: Window
    """Of the input."""
    window: Window
    """Of the sums that are needed, a column for each pair of sites."""
    pooled: int
    """Columns of the pooled output."""
    calls: Integers
    """(calls, 6): column of the sums; row, column of the changed input; kernel rows; first kernel place, places."""
    starts: Integers
    """Where the calls of each row begin, (rows + 1,)."""
    offsets: Integers
    """Bytes from the start of the changed input to each of its rows."""


Plan = list[list[Step]]
"""For each class, the steps of the first layers; of the others, all is computed."""


class Shape(NamedTuple):
    """What of a layer decides about plans."""

    inputs: int
    outputs: int
    """Sums before the pooling, at each pair of sites."""
    kernel: int
    """Rows of the kernel."""
    gaps: int

    @property
    def weights(self) -> int:
        """Numbers of the kernel."""
        return self.outputs * self.inputs * self.kernel * self.width

    @property
    def width(self) -> int:
        """Columns of the kernel, in pairs of sites."""
        return (self.kernel + 1) // 2


def plan(network: TiledNetwork) -> Plan | None:
    """The cheapest plan for a network on its lattice, None if there is none that is worth it."""
    return _cheapest(network.L, _shapes(network), network.layers[0].bias.itemsize, WORTH)


def multiply_adds(network: TiledNetwork, plan: Plan) -> list[float]:
    """Multiply-adds of one exchange of each class, without the map to outputs; those of all layers, if no steps."""
    return _multiply_adds(network.L, _shapes(network), plan)


def _shapes(network: TiledNetwork) -> tuple[Shape, ...]:
    return tuple(Shape(layer.inputs, len(layer.bias), layer.offsets.shape[1], layer.gaps) for layer in network.layers)


# Training makes a new network of the same shape in every step.
@cache
def _cheapest(L: int, shapes: tuple[Shape, ...], itemsize: int, worth: float) -> Plan | None:
    found, least = None, (1 - worth) * sum(_whole(shape, L) for shape in shapes)
    for count in range(1, len(shapes) + 1):
        steps = [_steps(shapes[:count], L, kind, itemsize) for kind in range(CLASSES)]
        fetched = sum(
            step.window.rows * step.window.columns * shape.outputs
            for shape, step in zip(shapes[1:count], steps[-1][1:], strict=True)
        )
        cost = _multiply_adds(L, shapes, steps)[-1] + FETCH * fetched
        if cost < least:
            found, least = steps, cost
    return found


def _multiply_adds(L: int, shapes: tuple[Shape, ...], plan: Plan) -> list[float]:
    return [
        # The first layer's sums are not kept, but computed.
        sum(step.window.rows * step.window.columns for step in steps[:1]) * shapes[0].weights
        + sum(
            float((step.calls[:, 3] * step.calls[:, 5]).sum()) * shape.inputs * shape.outputs
            for shape, step in zip(shapes, steps, strict=False)
        )
        + sum(_whole(shape, L) for shape in shapes[len(steps) :])
        for steps in plan
    ]


def _whole(shape: Shape, L: int) -> float:
    return shape.weights * L * (L // 2)


def _steps(shapes: Sequence[Shape], L: int, kind: int, itemsize: int) -> list[Step]:
    rows, second = divmod(kind, 2)
    window = Window(0, rows + 1, 0, second + 1)
    steps = []
    for number, shape in enumerate(shapes, start=1):
        steps.append(_step(shape, window, L, itemsize, last=number == len(shapes)))
        window = steps[-1].window._replace(columns=steps[-1].pooled)
    return steps


def _step(shape: Shape, changed: Window, L: int, itemsize: int, *, last: bool) -> Step:
    """The step from the window ``changed`` of a layer's input; the last one gives the whole lattice."""
    pairs = L // 2
    k, width = shape.kernel, shape.width
    half, left = k // 2, width // 2
    if last:
        row, rows, column, pooled = 0, L, 0, pairs
    else:
        row, rows = _clipped(changed.row - half, changed.rows + 2 * half, L)
        first = changed.column + left - (width - 1) - shape.gaps
        column, pooled = _clipped(first, changed.columns + width - 1 + shape.gaps, pairs)
    columns = min(pairs, pooled + shape.gaps)
    calls, starts = [], [0]
    for r in range(row, row + rows):
        down = _runs([(a, (r + a - half - changed.row) % L) for a in range(k)], changed.rows)
        for place in range(columns):
            q = column + place
            across = _runs([(m, (q + m - left - changed.column) % pairs) for m in range(width)], changed.columns)
            # Always in the order of the kernel's rows and columns, so that a sum is the same in every class.
            single = [(a + i, source + i, 1) for a, source, count in down for i in range(count)]
            calls += [
                (place, row_in, column_in, a_count, a * width + m, m_count)
                for a, row_in, a_count in (down if len(across) == 1 else single)
                for m, column_in, m_count in across
            ]
        starts.append(len(calls))
    row_bytes = changed.columns * shape.inputs * LANES * itemsize
    return Step(
        changed,
        Window(row, rows, column, columns),
        pooled,
        np.array(calls, dtype=np.int64).reshape(-1, 6),
        np.array(starts, dtype=np.int64),
        np.arange(changed.rows, dtype=np.int64) * row_bytes,
    )


def _clipped(first: int, count: int, size: int) -> tuple[int, int]:
    """An interval of a circle; all of it from 0 if it is that long."""
    return (first, count) if count < size else (0, size)


def _runs(places: list[tuple[int, int]], count: int) -> list[tuple[int, int, int]]:
    """(kernel place, input place, length) of runs in which both advance together and the input is below ``count``."""
    runs: list[tuple[int, int, int]] = []
    for place, source in places:
        if source >= count:
            continue
        if runs and (place, source) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((place, source, 1))
    return runs


class Frames(NamedTuple):
    """Exchanges in tiles: (tiles, LANES) but for ``kinds``."""

    kinds: list[int]
    """Class of each tile."""
    bases: Integers
    rows: Integers
    columns: Integers
    """Where the frame's origin is on the lattice."""
    sites: Integers
    """Row and column of either site in the frame, (tiles, LANES, 4)."""


def frames(bases: Integers, pairs: Integers, L: int) -> tuple[Frames, Integers]:
    """Exchanges of ``pairs`` (n, 2) in configurations ``bases`` (n,), in tiles; and the place of each among them."""
    rows, columns = np.divmod(pairs, L)
    row, column = (
        np.where((each[:, 1] - each[:, 0]) % L == L - 1, each[:, 1], each[:, 0]) for each in (rows, columns)
    )
    kinds = 2 * (rows[:, 0] != rows[:, 1]) + column % 2
    if len(bases) < ENOUGH:
        kinds = np.full(len(bases), CLASSES - 1)
    column = column - column % 2
    sites = np.stack([(rows - row[:, None]) % L, (columns - column[:, None]) % L], axis=2).reshape(-1, 4)
    order = np.argsort(kinds, kind="stable")
    counts = np.bincount(kinds, minlength=CLASSES)
    tiles = -(-counts // LANES)
    # Each class is filled up to whole tiles with its last exchange.
    first = np.cumsum(counts) - counts
    index = np.concatenate(
        [first[kind] + np.minimum(np.arange(tiles[kind] * LANES), counts[kind] - 1) for kind in range(CLASSES)]
    )
    place = np.empty(len(bases), dtype=np.int64)
    padded = LANES * (np.cumsum(tiles) - tiles)
    place[order] = padded[kinds[order]] + np.arange(len(bases)) - first[kinds[order]]
    chosen = order[index].reshape(-1, LANES)
    kinds_of_tiles = np.repeat(np.arange(CLASSES), tiles).tolist()
    return Frames(kinds_of_tiles, bases[chosen], row[chosen], column[chosen], sites[chosen]), place
