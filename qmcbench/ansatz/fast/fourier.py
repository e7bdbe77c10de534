"""The fused network on the CPU, its convolutions in Fourier space.

On a torus a convolution is a product at each frequency, whatever its kernel's size: three real multiply-adds for each
pair of channels and complex frequency, so 1.5 for each place of the grid, instead of 6 (kernel 3) or 15 (kernel 5).
The pooling needs the lattice, so that each layer transforms its sums back and the maxima forth again, channel by
channel. Configurations lie side by side, one in each lane of the vector registers; a tile of as many goes from spins
to outputs without leaving the cache. Its memory, with a vector (a number of each configuration) as the unit::

    inputs   | a frequency of all channels: c s c s ... and one vector more | next frequency | ...   L P / 2 of them
    outputs  | the same of the layer's own channels; they become the inputs of the next layer | ...
    sums     | a frequency of a block of channels, even columns then odd: c s c s ... | next | ...   L P / 2 of them
    even     | one channel's even columns on the pooled grid, row by row: P places | next row | ...      L of them
    odd      | its odd columns                                                                |
    totals   | the network's outputs, site by site: L L of them                               |

    inputs --products--> sums --columns_back--> even, odd --rows_pooled_forth--> even --columns_forth--> outputs
                (a block of channels at once)      (channel by channel; the last layer adds to the totals instead)

c and s are the two numbers of a frequency (:mod:`~qmcbench.ansatz.fast.codelets`). Frequencies of a grid are an odd
number of vectors apart, or its channels would compete for the same lines of the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz.fast import codelets
from qmcbench.ansatz.fast.threads import in_shares
from qmcbench.ansatz.fast.vector_code import Compiled, Routines, VectorCode, Vectors, vectors
from qmcbench.ansatz.layers import Layer
from qmcbench.errors import UserError
from qmcbench.lattice import check_size

Array = NDArray[Any]


class FourierNetwork:
    """The fused ``layers`` and ``head`` on an L x L lattice, without gradients.

    The first one of a shape compiles, for about a second. ``machine`` says which vectors there are; those of this
    processor if it is None.
    """

    def __init__(self, layers: Sequence[Layer], head: Layer, L: int, machine: Vectors | None = None) -> None:
        dtype = head.weight.numpy().dtype
        own = machine or vectors(dtype.itemsize)
        self.plan = Plan(check_size(L), tuple(len(layer.bias) for layer in layers), own)
        compiled(self.plan)
        weights = [in_fourier_space(layer, L, self.plan.block).astype(dtype).ravel() for layer in layers]
        biases = [layer.bias.numpy() for layer in layers]
        parameters = np.concatenate(weights), np.concatenate(biases), head.weight.numpy(), head.bias.numpy()
        # As they are read: one number behind the other.
        self.parameters = [np.ascontiguousarray(each) for each in parameters]
        self._memory: list[Array] = []

    def outputs(self, spins: Tensor) -> Tensor:
        """All v_i of each configuration (batch, L, L), shape (batch, L * L), in no particular order of sites."""
        L = self.plan.L
        if spins.shape[1:] != (L, L):
            raise UserError(f"Configurations have the shape (batch, L, L), not {tuple(spins.shape)}.")
        array = spins.to(torch.int8).flatten(1).contiguous().numpy()
        out = np.empty((len(spins), L**2), dtype=self.parameters[0].dtype)
        run, parameters = compiled(self.plan)["network"], [each.ctypes.data for each in self.parameters]

        def work(first: int, last: int) -> None:
            # Kept, since fresh memory costs more than it looks: the system clears each page.
            try:
                memory = self._memory.pop()
            except IndexError:
                memory = np.empty(self.plan.memory.end + self.plan.vectors.size, dtype=np.uint8)
            aligned = memory.ctypes.data + -memory.ctypes.data % self.plan.vectors.size
            run(array.ctypes.data, len(array), out.ctypes.data, first, last, *parameters, aligned)
            self._memory.append(memory)

        if len(array):
            in_shares(-(-len(array) // self.plan.vectors.lanes), work)
        return torch.from_numpy(out)


class Memory(NamedTuple):
    """Where the parts of a tile's memory begin, in bytes."""

    inputs: int
    outputs: int
    sums: int
    even: int
    odd: int
    totals: int
    end: int


class Plan(NamedTuple):
    """What a compiled network depends on."""

    L: int
    channels: tuple[int, ...]
    """Pooled channels of each layer."""
    vectors: Vectors

    @property
    def P(self) -> int:
        """Places of a row of the pooled grid."""
        return self.L // 2

    @property
    def inputs(self) -> tuple[int, ...]:
        """Channels that each layer reads; the first one the two spins of a pair."""
        return (2, *self.channels[:-1])

    @property
    def block(self) -> int:
        return block_size(self.channels, self.vectors)

    def weights_of(self, layer: int) -> int:
        """Bytes of a layer's weights."""
        numbers = 3 * self.inputs[layer] * 2 * self.channels[layer] * (self.L * self.P // 2)
        return numbers * self.vectors.itemsize

    @property
    def memory(self) -> Memory:
        places = self.L * self.P
        grid = places // 2 * (2 * max(2, *self.channels) + 1)
        sizes = [grid, grid, 2 * self.block * places, places, places, 2 * places]
        return Memory(*(self.vectors.size * int(start) for start in np.cumsum([0, *sizes])))


def block_size(channels: Sequence[int], vectors: Vectors) -> int:
    """How many pooled channels are summed at once: as many as divide all and as the registers hold the sums of.

    Each has two outputs of three sums; beside them stand three factors and a weight.
    """
    common = math.gcd(*channels)
    return next(block for block in range((vectors.registers - 4) // 6, 0, -1) if common % block == 0)


def in_fourier_space(layer: Layer, L: int, block: int) -> NDArray[np.float64]:
    """A layer's weights for :func:`~qmcbench.ansatz.fast.codelets.products`, block by block, from its kernel W.

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
def compiled(plan: Plan) -> Compiled:
    """``network(spins, count, out, first, last, weights, biases, head, head_bias, memory)``.

    It writes the outputs of tiles ``first`` to ``last`` of ``count`` configurations; all but these three numbers are
    addresses.
    """
    routines = Routines(plan.vectors)
    tile = Tile(plan, routines)

    def network(code: VectorCode, spins: Any, count: Any, out: Any, first: Any, last: Any, *rest: Any) -> None:
        *parameters, memory = rest
        at = Memory(*(code.behind(memory, start) for start in plan.memory))

        def one(carried: list[Any]) -> list[Any]:
            (start,) = carried
            # Lanes without a configuration have the last one.
            lanes = range(plan.vectors.lanes)
            numbers = [code.least(code.behind(start, lane), code.behind(count, -1)) for lane in lanes]
            own = [code.builder.add(spins, code.times(number, plan.L**2)) for number in numbers]
            tile.spins(code, at.even, own, at.inputs, step(plan, 2))
            tile.layers(code, at, 0, *parameters)
            tile.results(code, at, out, start, count)
            return [code.behind(start, plan.vectors.lanes)]

        code.loop(code.builder.sub(last, first), [code.times(first, plan.vectors.lanes)], one)

    routines.add("network", 10, network)
    return routines.compiled()


class Tile:
    """Writes what happens to one tile."""

    def __init__(self, plan: Plan, routines: Routines) -> None:
        self.plan, L, P = plan, plan.L, plan.P
        self.rows_in = routines.once(codelets.rows_in, L, P)
        self.pooled, self.pooled_forth = (routines.once(codelets.rows_pooled, L, P, forth=f) for f in (False, True))
        self.forth, self.back = (routines.once(codelets.columns, L, P, back=back) for back in (False, True))
        self.products = routines.once(codelets.products, L, P, 2 * plan.block)

    def spins(self, code: VectorCode, even: Any, own: Sequence[Any], target: Any, step: Any) -> None:
        """The transformed spins of the configurations at the addresses ``own``, by way of ``even``, to ``target``."""
        for column in range(2):

            def place(carried: list[Any], column: int = column) -> list[Any]:
                passed, to = carried
                found = [code.behind(code.builder.add(each, passed), column) for each in own]
                code.store(code.gather_bytes(found), to)
                return [code.behind(passed, 2), code.offset(to, 1)]

            code.loop(self.plan.L**2 // 2, [code.integer(0), even], place)
            code.call(self.rows_in, even)
            code.call(self.forth, even, code.offset(target, 2 * column), step)

    def layers(self, code: VectorCode, at: Memory, first: int, *parameters: Any) -> None:
        """From the inputs of the layer number ``first``, whose weights and biases come first, to the totals."""
        weights, biases, head, head_bias = parameters

        def set_total(carried: list[Any]) -> list[Any]:
            code.store(code.broadcast(head_bias), carried[0])
            return [code.offset(carried[0], 1)]

        code.loop(self.plan.L**2, [at.totals], set_total)
        for number in range(first, len(self.plan.channels)):
            weights, biases = self._layer(code, at, number, weights, biases, head)
            at = at._replace(inputs=at.outputs, outputs=at.inputs)

    def _layer(self, code: VectorCode, at: Memory, number: int, weights: Any, biases: Any, head: Any) -> list[Any]:
        """One layer; gives where the next one's weights and biases begin."""
        plan, block, itemsize = self.plan, self.plan.block, self.plan.vectors.itemsize
        inputs, channels, last = plan.inputs[number], plan.channels[number], number == len(plan.channels) - 1

        def channel(carried: list[Any]) -> list[Any]:
            sums, bias, target, head = carried
            for column, rows in enumerate((at.even, at.odd)):
                own = code.offset(sums, 2 * column * block)
                # A constant on the lattice is all in the first number, the cosine part of frequency (0, 0).
                code.store(code.add(code.load(own), code.broadcast(bias)), own)
                code.call(self.back, rows, own, 4 * block * plan.vectors.size)
            code.call(self.pooled if last else self.pooled_forth, at.even, at.odd)
            if last:
                self.to_totals(code, at, head)
            else:
                code.call(self.forth, at.even, target, step(plan, channels))
            return [
                code.offset(sums, 2),
                code.behind(bias, itemsize),
                code.offset(target, 2),
                code.behind(head, itemsize),
            ]

        def block_of_channels(carried: list[Any]) -> list[Any]:
            own, *rest = carried
            code.call(self.products, at.inputs, step(plan, inputs), own, inputs, at.sums)
            _, *rest = code.loop(block, [at.sums, *rest], channel)
            return [code.behind(own, block * plan.L * plan.P * inputs * 3 * itemsize), *rest]

        return code.loop(channels // block, [weights, biases, at.outputs, head], block_of_channels)[:2]

    def to_totals(self, code: VectorCode, at: Memory, head: Any) -> None:
        """Add the maxima of a channel, times the numbers at ``head`` for even and for odd columns."""
        factors = [code.broadcast(head, column * self.plan.channels[-1]) for column in range(2)]

        def place(carried: list[Any]) -> list[Any]:
            source, total = carried
            maximum = code.load(source)
            for column, factor in enumerate(factors):
                own = code.offset(total, column)
                code.store(code.add(code.load(own), code.multiply(factor, maximum)), own)
            return [code.offset(source, 1), code.offset(total, 2)]

        code.loop(self.plan.L * self.plan.P, [at.even, at.totals], place)

    def results(self, code: VectorCode, at: Memory, out: Any, start: Any, count: Any) -> None:
        """The totals, to where each configuration's outputs stand."""
        sites, (itemsize, size, _) = self.plan.L**2, self.plan.vectors

        def configuration(carried: list[Any]) -> list[Any]:
            total, target = carried

            def site(carried: list[Any]) -> list[Any]:
                code.copy_number(*carried)
                return [code.behind(carried[0], size), code.behind(carried[1], itemsize)]

            _, target = code.loop(sites, [total, target], site)
            return [code.behind(total, itemsize), target]

        lanes = code.least(code.builder.sub(count, start), code.integer(self.plan.vectors.lanes))
        code.loop(lanes, [at.totals, code.builder.add(out, code.times(start, sites * itemsize))], configuration)


def step(plan: Plan, channels: int) -> int:
    """Bytes from a frequency of a grid of so many channels to the next."""
    return (2 * channels + 1) * plan.vectors.size
