"""psi after the exchange of two neighbouring spins, from that part of the network which the exchange changes.

Before the pooling, a convolution is linear: an exchange changes its sums by the convolution of the change of its
input, which vanishes outside of a window around the two sites. So the sums of the first layers are kept for each
configuration, and the convolution of the change is added to them; how many layers are worth it follows from the
operations. The same numbers come out as from the whole network, but for rounding.

A tile is LANES exchanges of one class (:mod:`qmcbench.ansatz.exchange_plan`), each in a frame of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz import exchange_kernels as kernels
from qmcbench.ansatz.exchange_plan import Frames, Plan, frames
from qmcbench.ansatz.threads import in_shares
from qmcbench.ansatz.tile_kernel import LANES
from qmcbench.ansatz.tiles import Array, TiledNetwork, layer_of, load


class TiledExchanges:
    """Outputs of a network for exchanges in a number of configurations, without gradients.

    Parameters
    ----------
    network
        The network.
    plan
        What :func:`qmcbench.ansatz.exchange_plan.plan` gave for it.
    spins
        The configurations, shape (count, L, L), int8.
    """

    def __init__(self, network: TiledNetwork, plan: Plan, spins: Tensor) -> None:
        self._network, self._plan, self._layers = network, plan, network.layers[: len(plan[0])]
        L, count, dtype = network.L, len(spins), network.layers[0].bias.dtype
        self._spins = spins.contiguous().numpy().copy()
        # The first layer's sums are not kept: they are most of all numbers, and soon computed.
        self._kept = [np.empty((count, L, L // 2, len(layer.bias)), dtype) for layer in self._layers[1:]]
        # Of a changed input, and of sums before the pooling; the last class has the largest windows.
        most = list(zip(self._layers, plan[-1], strict=True))
        inputs = [layer.inputs * LANES * step.changed.rows * step.changed.columns for layer, step in most]
        sums = [len(layer.bias) * LANES * step.window.rows * step.window.columns for layer, step in most]
        self._sizes = max(inputs), max(inputs), max(sums)
        # Sums after the last exchanges, tile by tile.
        self._pending = np.empty((0, len(self._kept), 0), dtype)
        in_shares(-(-count // LANES), self._keep)

    def _keep(self, first: int, last: int) -> None:
        """Sums of the first layers, before the pooling, of all configurations."""
        source, target, sums = self._network.buffers()
        for start in range(first * LANES, last * LANES, LANES):
            tile = slice(start, start + LANES)
            load(self._spins[tile], source, self._network.first_margin)
            for layer, kept in zip(self._layers, [self._network.nothing, *self._kept], strict=True):
                layer_of(layer.weights.shape[-1], sums.itemsize)(
                    source, target, sums, self._network.L, *layer, kept[tile]
                )
                source, target = target, source

    def outputs(self, rows: Tensor, pairs: Tensor, remember: bool = False) -> tuple[Tensor, Tensor]:
        """All v_i after each exchange, and where to find them.

        Parameters
        ----------
        rows
            Configurations, shape (n,).
        pairs
            Nearest or next-nearest neighbours, antiparallel in it, shape (n, 2).
        remember
            Whether :meth:`accept` may follow; then at most one exchange in each configuration.

        Returns
        -------
        tuple of Tensor
            Outputs of at least n exchanges, shape (m, L * L), and the row of each of the n, shape (n,).
        """
        tiles, place = frames(rows.numpy(), pairs.numpy(), self._network.L)
        count, dtype = len(tiles.kinds), self._network.layers[0].bias.dtype
        if remember:
            self._last = tiles, place, rows.numpy(), pairs.numpy()
            if count > len(self._pending):
                self._pending = np.empty((count, len(self._kept), self._sizes[2]), dtype)
        pending = self._pending if remember else np.empty((count, 0, 0), dtype)
        out = np.empty((tiles.bases.size, self._network.L**2), dtype)
        in_shares(count, lambda first, last: self._run(tiles, pending, out, first, last))
        return torch.from_numpy(out), torch.from_numpy(place)

    def accept(self, accepted: Tensor) -> None:
        """Make those of the last exchanges that ``accepted`` (n,), bool, says."""
        tiles, place, rows, pairs = self._last
        chosen = accepted.numpy()
        taken = np.zeros(tiles.bases.shape, dtype=np.bool_)
        taken.flat[place[chosen]] = True
        in_shares(len(tiles.kinds), lambda first, last: self._store(tiles, taken, first, last))
        self._spins.reshape(len(self._spins), -1)[rows[chosen, None], pairs[chosen]] *= -1

    def _store(self, tiles: Frames, taken: NDArray[np.bool_], first: int, last: int) -> None:
        for tile in range(first, last):
            steps = self._plan[tiles.kinds[tile]]
            for kept, sums, step in zip(self._kept, self._pending[tile], steps[1:], strict=True):
                where = tiles.bases[tile], tiles.rows[tile], tiles.columns[tile]
                kernels.store(kept, *where, sums, *step.window, taken[tile])

    def _run(self, tiles: Frames, pending: Array, out: Array, first: int, last: int) -> None:
        """Tiles ``first`` to ``last``: outputs after the exchanges, and the sums into ``pending``, if it has room."""
        network = self._network
        source, target, row_sums = network.buffers()
        size, dtype = row_sums.itemsize, row_sums.dtype
        change, changed, sums = (np.empty(most, dtype=dtype) for most in self._sizes)
        for tile in range(first, last):
            where = tiles.bases[tile], tiles.rows[tile], tiles.columns[tile]
            steps = self._plan[tiles.kinds[tile]]
            kernels.load_moved(self._spins, *where, source, network.first_margin)
            kernels.flip(self._spins, *where, tiles.sites[tile], change, *steps[0].changed)
            for number, (layer, step) in enumerate(zip(network.layers, steps, strict=False)):
                block, whole = layer.weights.shape[-1], number == len(steps) - 1
                if number:
                    kernels.fetch(self._kept[number - 1], *where, sums, *step.window)
                else:
                    kernels.sums_of(block, size)(source, sums, network.L, *layer[:4], *step.window)
                kernels.change_of(block, size)(
                    change, target if whole else changed, sums, layer.weights, layer.inputs, layer.gaps,
                    layer.margin, whole, step.window.rows, step.window.columns, *step[2:],
                )  # fmt: skip
                if number and pending.size:
                    pending[tile, number - 1] = sums
                change, changed = changed, change
            network.finish(target, source, row_sums, len(steps), out[tile * LANES : (tile + 1) * LANES])
