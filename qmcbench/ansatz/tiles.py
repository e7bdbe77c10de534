"""The fused network on the CPU: tile by tile of configurations, from spins to outputs without leaving the cache."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz.threads import in_shares
from qmcbench.ansatz.tile_kernel import LANES, block_size, convolution

if TYPE_CHECKING:
    from qmcbench.ansatz.fused import FusedNetwork, Layer

Array = NDArray[Any]


class TiledLayer(NamedTuple):
    """One fused convolution on an L x L lattice, as the kernel wants it."""

    weights: Array
    """(blocks, k, (k + 1) / 2 * C_in, outputs of a block)."""
    bias: Array
    """(2 C_out,)."""
    offsets: NDArray[np.int64]
    """Bytes from the start of the input to each kernel row of each lattice row, shape (L, k)."""
    inputs: int
    """C_in."""
    gaps: int
    """1 in the gap form, where a pair's odd column belongs to the gap after it; 0 in the site form."""
    margin: int
    """Columns that the next layer wants repeated on either side of the grid."""


class TiledNetwork:
    """A :class:`~qmcbench.ansatz.fused.FusedNetwork` on an L x L lattice, without gradients."""

    def __init__(self, fused: FusedNetwork, L: int) -> None:
        self.L = L
        margins = [layer.weight.shape[3] // 2 for layer in fused.layers] + [0]
        self.first_margin = margins[0]
        self.layers = [_tiled(layer, L, *both) for layer, both in zip(fused.layers, pairwise(margins), strict=True)]
        self._weight, self._bias = fused.head.weight.numpy(), fused.head.bias.numpy()
        self.nothing = np.empty((0, 0, 0, 0), dtype=self._weight.dtype)  # no sums to be kept
        # Of a grid, and of a row of sums before the pooling.
        channels = max(len(layer.bias) for layer in self.layers)
        grid = L * (L // 2 + 2 * max(margins)) * channels // 2 * LANES
        self._sizes = grid, grid, L // 2 * channels * LANES

    def outputs(self, spins: Tensor) -> Tensor:
        """All v_i of each configuration, shape (batch, L * L), in no particular order of sites."""
        tiles = -(-len(spins) // LANES)
        array = spins.contiguous().numpy()
        out = np.empty((len(spins), self.L**2), dtype=self._weight.dtype)
        in_shares(tiles, lambda first, last: self._run(array, out, first, last))
        return torch.from_numpy(out)

    def _run(self, spins: Array, out: Array, first: int, last: int) -> None:
        """Tiles ``first`` to ``last``."""
        source, target, sums = self.buffers()
        for start in range(first * LANES, last * LANES, LANES):
            load(spins[start : start + LANES], source, self.first_margin)
            self.finish(source, target, sums, 0, out[start : start + LANES])

    def finish(self, source: Array, target: Array, sums: Array, number: int, out: Array) -> None:
        """Layers ``number`` and on of a tile whose grid is in ``source``, and its outputs, to ``out``."""
        for layer in self.layers[number:]:
            layer_of(layer.weights.shape[-1], out.itemsize)(source, target, sums, self.L, *layer, self.nothing)
            source, target = target, source
        _head(source, self._weight, self._bias, out, self.L)

    def buffers(self) -> tuple[Array, Array, Array]:
        """Two grids, and a row of sums before the pooling."""
        return tuple(np.empty(size, dtype=self._weight.dtype) for size in self._sizes)  # type: ignore[return-value]


def _tiled(layer: Layer, L: int, margin: int, next_margin: int) -> TiledLayer:
    outputs, inputs, k, width = layer.weight.shape
    bias = layer.bias.numpy()
    block = block_size(outputs, bias.itemsize)
    weights = layer.weight.permute(2, 3, 1, 0).reshape(k, width * inputs, outputs // block, block)
    row_bytes = (L // 2 + 2 * margin) * inputs * LANES * bias.itemsize
    rows = (np.arange(L)[:, None] + np.arange(k) - k // 2) % L
    gaps = (k // 2) % 2
    weights = weights.permute(2, 0, 1, 3).contiguous()
    return TiledLayer(weights.numpy(), bias, rows.astype(np.int64) * row_bytes, inputs, gaps, next_margin)


@njit(nogil=True)
def close(grid: Array, row: int, pairs: int, margin: int) -> None:
    """Repeat the columns of a row of a grid (rows, columns, channels, LANES) on its other side: the torus."""
    # Loops here and below: whole arrays take Numba seconds to compile.
    for column in range(margin):
        for channel in range(grid.shape[2]):
            for lane in range(LANES):
                last, first = margin + (pairs - 1 - column) % pairs, margin + column % pairs
                grid[row, margin - 1 - column, channel, lane] = grid[row, last, channel, lane]
                grid[row, margin + pairs + column, channel, lane] = grid[row, first, channel, lane]


@njit(nogil=True)
def load(spins: NDArray[np.int8], grid: Array, margin: int) -> None:
    """Spins (at most LANES, L, L) as the grid of their pairs; lanes without a configuration get zeros."""
    L = spins.shape[1]
    pairs = L // 2
    filled = grid[: L * (pairs + 2 * margin) * 2 * LANES].reshape(L, pairs + 2 * margin, 2, LANES)
    count = spins.shape[0]
    for row in range(L):
        for column in range(L):
            for lane in range(LANES):
                spin = spins[lane, row, column] if lane < count else 0
                filled[row, margin + column // 2, column % 2, lane] = spin
        close(filled, row, pairs, margin)


@cache
def layer_of(block: int, itemsize: int) -> Any:
    """A fused convolution and the max-pooling behind it, for blocks of that many outputs.

    The sums before the pooling are kept in the last argument, (configurations, L, L / 2, 2 C_out), if it has any.
    """
    kernel = convolution(block, itemsize)

    @njit(nogil=True)
    def layer(
        source: Array,
        target: Array,
        sums: Array,
        L: int,
        weights: Array,
        bias: Array,
        offsets: NDArray[np.int64],
        inputs: int,
        gaps: int,
        margin: int,
        kept: Array,
    ) -> None:
        blocks, rows, run = weights.shape[0], weights.shape[1], weights.shape[2]
        pairs, outputs = L // 2, blocks * block
        channels = outputs // 2
        place = LANES * itemsize
        totals = sums[: pairs * outputs * LANES].reshape(pairs, outputs, LANES)
        grid = target[: L * (pairs + 2 * margin) * channels * LANES].reshape(L, pairs + 2 * margin, channels, LANES)
        for row in range(L):
            for part in range(blocks):
                for pair in range(pairs):
                    kernel(
                        source.ctypes.data + pair * inputs * place,
                        offsets.ctypes.data + row * rows * 8,
                        rows,
                        run,
                        weights.ctypes.data + part * rows * run * block * itemsize,
                        run * block * itemsize,
                        bias.ctypes.data + part * block * itemsize,
                        totals.ctypes.data + (pair * outputs + part * block) * place,
                    )
            for lane in range(kept.shape[0]):
                for pair in range(pairs):
                    for output in range(outputs):
                        kept[lane, row, pair, output] = totals[pair, output, lane]
            for pair in range(pairs):
                odd = (pair + gaps) % pairs
                for channel in range(channels):
                    for lane in range(LANES):
                        a, b = totals[pair, channel, lane], totals[odd, channels + channel, lane]
                        grid[row, margin + pair, channel, lane] = a if a > b else b
            close(grid, row, pairs, margin)

    return layer


@njit(nogil=True)
def _head(grid: Array, weight: Array, bias: Array, out: Array, L: int) -> None:
    """The two outputs of each pair, for the configurations that ``out`` (count, L * L) has room for."""
    pairs, channels = L // 2, weight.shape[1]
    features = grid[: L * pairs * channels * LANES].reshape(L * pairs, channels, LANES)
    totals = np.empty(LANES, dtype=weight.dtype)
    for pair in range(L * pairs):
        for column in range(2):
            for lane in range(LANES):
                totals[lane] = bias[column]
            for channel in range(channels):
                for lane in range(LANES):
                    totals[lane] += weight[column, channel] * features[pair, channel, lane]
            for lane in range(out.shape[0]):
                out[lane, 2 * pair + column] = totals[lane]
