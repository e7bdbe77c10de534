"""The fused network on the CPU, its convolutions in Fourier space.

On a torus a convolution is a product at each frequency, whatever its kernel's size: three real multiply-adds for each
pair of channels and complex frequency, so 1.5 for each place of the grid, instead of 6 (kernel 3) or 15 (kernel 5).
The pooling needs the lattice, so that each layer transforms its sums back and the maxima forth again, channel by
channel. Configurations lie side by side, one in each lane of the vector registers; a tile of as many goes from spins
to outputs without leaving the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz.fast import codelets
from qmcbench.ansatz.fast.threads import in_shares
from qmcbench.ansatz.fast.vector_code import Vectors, vectors
from qmcbench.ansatz.layers import Layer
from qmcbench.errors import UserError
from qmcbench.lattice import check_size

Array = NDArray[Any]


class FourierNetwork:
    """The fused ``layers`` and ``head`` on an L x L lattice, without gradients.

    Its first call for a lattice compiles, for one to two seconds. ``machine`` says which vectors there are; those of
    this processor if it is None.
    """

    def __init__(self, layers: Sequence[Layer], head: Layer, L: int, machine: Vectors | None = None) -> None:
        weight, bias = head.weight.numpy(), head.bias.numpy()
        self.L = check_size(L)
        self._vectors = machine or vectors(weight.itemsize)
        channels = [len(layer.bias) for layer in layers]
        inputs = [layer.weight.shape[1] for layer in layers]
        self._block = block_size(channels, self._vectors)
        weights = [in_fourier_space(layer, L, self._block).astype(weight.dtype) for layer in layers]
        # Inputs, channels, and where the weights and the bias of each layer begin.
        starts = [np.cumsum([0, *sizes[:-1]]) for sizes in ([each.size for each in weights], channels)]
        self._layers = np.stack([inputs, channels, *starts], axis=1)
        biases = np.concatenate([layer.bias.numpy() for layer in layers])
        self._parameters = np.concatenate([each.ravel() for each in weights]), biases, weight, bias
        places, lanes = L * (L // 2), self._vectors.lanes
        # Of two transformed grids; a block's sums; an even and an odd output on the lattice; the network's outputs.
        parts = [places // 2 * (2 * max(2, *channels) + 1)] * 2 + [2 * self._block * places, 2 * places, 2 * places]
        self._starts = np.cumsum([0, *parts]) * lanes
        self._memory: list[Array] = []

    def outputs(self, spins: Tensor) -> Tensor:
        """All v_i of each configuration (batch, L, L), shape (batch, L * L), in no particular order of sites."""
        if spins.shape[1:] != (self.L, self.L):
            raise UserError(f"Configurations have the shape (batch, L, L), not {tuple(spins.shape)}.")
        array = spins.flatten(1).contiguous().numpy()
        out = np.empty((len(spins), self.L**2), dtype=self._parameters[-1].dtype)
        run = _network(self.L, self._block, self._vectors)

        def work(first: int, last: int) -> None:
            # Kept, since fresh memory costs more than it looks: the system clears each page.
            try:
                memory = self._memory.pop()
            except IndexError:
                memory = np.empty(self._starts[-1] + self._vectors.lanes, dtype=out.dtype)
            run(array, out, first, last, self._layers, *self._parameters, self._aligned(memory), self._starts)
            self._memory.append(memory)

        in_shares(-(-len(spins) // self._vectors.lanes), work)
        return torch.from_numpy(out)

    def _aligned(self, memory: Array) -> Array:
        """All of it from where a vector may begin."""
        return memory[-memory.ctypes.data % self._vectors.size // memory.itemsize :]


def block_size(channels: list[int], vectors: Vectors) -> int:
    """How many pooled channels are summed at once: as many as divide all and as the registers hold the sums of.

    Each has two outputs of three sums; beside them stand three factors and a weight.
    """
    common = math.gcd(*channels)
    return next(block for block in range((vectors.registers - 4) // 6, 0, -1) if common % block == 0)


def in_fourier_space(layer: Layer, L: int, block: int) -> NDArray[np.float64]:
    """A layer's weights for :func:`~qmcbench.ansatz.fourier_codelets.products`, block by block, from its kernel W.

    At the frequency (k, l) a + i b = sum_(y, x) W(y, x) exp(i (k y + l x)), times what makes the transposed
    transforms inverse ones. Shape (blocks, frequencies, inputs, 2 (even and odd columns), block, 3).
    """
    outputs, inputs, rows, width = layer.weight.shape
    pairs = L // 2
    kernel = layer.weight.double().permute(2, 3, 1, 0).reshape(rows * width, -1).numpy()
    # In the gap form a pair's odd column is in the sums of the next gap.
    ahead = np.repeat([0, rows // 2 % 2], outputs // 2)

    def transformed(frequency: Array) -> Array:
        row, column = 2 * np.pi * frequency.T / [[L], [pairs]]
        phase = row[:, None, None] * (np.arange(rows)[:, None] - rows // 2)
        phase = (phase + column[:, None, None] * (np.arange(width) - width // 2)).reshape(len(row), -1)
        # Two real products: a complex one would need a complex kernel.
        value = (np.cos(phase) @ kernel + 1j * (np.sin(phase) @ kernel)).reshape(len(row), inputs, outputs)
        return np.asarray(value * np.exp(1j * column[:, None, None] * ahead)) / (L * pairs)

    found = codelets.frequencies(L, pairs)
    value = 2 * transformed(np.array([each.cosine for each in found]))
    a, b = value.real, value.imag
    real = [number for number, each in enumerate(found) if each.real]
    a[real] /= 2
    b[real] = transformed(np.array([found[number].sine for number in real])).real
    weights = np.stack([a, b, a - b], axis=-1).reshape(len(found), inputs, 2, -1, block, 3)
    return np.ascontiguousarray(weights.transpose(3, 0, 1, 2, 4, 5))


@cache
def _network(L: int, block: int, vectors: Vectors) -> Any:
    """The whole network, for tiles ``first`` to ``last``."""
    P, lanes, size, itemsize = L // 2, vectors.lanes, vectors.size, vectors.itemsize
    grid, row, sums_step = L * P * lanes, P * size, 4 * block * size
    rows_in = codelets.rows_in(P, vectors)
    pooled, pooled_forth = (codelets.rows_pooled(P, vectors, forth=forth) for forth in (False, True))
    forth, back = (codelets.columns(L, P, vectors, back=back) for back in (False, True))
    products = codelets.products(L, P, 2 * block, vectors)

    # One function: Numba takes seconds to compile those that it calls once more. Frequencies of a grid are an odd
    # number of vectors apart, or its channels would compete for the same lines of the cache.
    @njit(nogil=True)
    def run(
        spins: NDArray[np.int8],
        out: Array,
        first: int,
        last: int,
        layers: NDArray[np.int64],
        weights: Array,
        bias: Array,
        head: Array,
        head_bias: Array,
        buffer: Array,
        starts: NDArray[np.int64],
    ) -> None:
        # Signed, since the sum of an unsigned and a signed integer is a floating-point number here as in NumPy.
        at = np.intp(buffer.ctypes.data)
        source, target = at, at + starts[1] * itemsize
        sums_at, even_at = at + starts[2] * itemsize, at + starts[3] * itemsize
        odd_at = even_at + grid * itemsize
        sums, even, totals = buffer[starts[2] :], buffer[starts[3] :], buffer[starts[4] :]
        for start in range(first * lanes, last * lanes, lanes):
            count = min(lanes, len(spins) - start)
            for column in range(2):
                # Zeros in lanes without any configuration.
                for place in range(L * P):
                    for lane in range(lanes):
                        spin = spins[start + lane, 2 * place + column] if lane < count else 0
                        even[place * lanes + lane] = spin
                for y in range(L):
                    rows_in((even_at + y * row,))
                forth((even_at, source + 2 * column * size, (2 * 2 + 1) * size))
            for place in range(2 * grid):
                totals[place] = head_bias[0]
            for number in range(len(layers)):
                inputs, channels, weights_start, bias_start = layers[number]
                for channel in range(channels):
                    within = channel % block
                    if within == 0:
                        own = np.intp(weights.ctypes.data) + (weights_start + channel * L * P * inputs * 3) * itemsize
                        products((source, (2 * inputs + 1) * size, own, inputs, sums_at))
                    for column in range(2):
                        output = 2 * (column * block + within)
                        # A constant on the lattice is all in the first number, the cosine part of frequency (0, 0).
                        for lane in range(lanes):
                            sums[output * lanes + lane] += bias[bias_start + channel]
                        back((even_at + column * grid * itemsize, sums_at + output * size, sums_step))
                    if number < len(layers) - 1:
                        for y in range(L):
                            pooled_forth((even_at + y * row, odd_at + y * row))
                        forth((even_at, target + 2 * channel * size, (2 * channels + 1) * size))
                        continue
                    for y in range(L):
                        pooled((even_at + y * row, odd_at + y * row))
                    for place in range(L * P):
                        for column in range(2):
                            for lane in range(lanes):
                                share = head[column, channel] * even[place * lanes + lane]
                                totals[(2 * place + column) * lanes + lane] += share
                source, target = target, source
            for lane in range(count):
                for site in range(L * L):
                    out[start + lane, site] = totals[site * lanes + lane]

    return run
