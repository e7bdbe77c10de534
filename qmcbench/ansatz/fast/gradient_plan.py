"""What the compiled log-derivatives depend on, where their numbers stand, and the constants that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from qmcbench.ansatz.fast.codelets import frequencies
from qmcbench.ansatz.fast.fourier import Plan, in_fourier_space
from qmcbench.ansatz.fast.gradient_codelets import MASK_BYTES
from qmcbench.ansatz.fast.vector_code import Vectors, vectors
from qmcbench.ansatz.layers import Block, Layer, columns
from qmcbench.lattice import check_size

Array = NDArray[Any]

# Images of a tile's samples that are kept at once: about so many bytes of them, for they should stay in the cache.
GROUP_BYTES = 1 << 22


class GradientPlan(NamedTuple):
    """A network on a lattice, and so many images of each sample at once."""

    network: Plan
    kernels: tuple[int, ...]
    """Kernel of each block's convolution."""
    widths: tuple[int, ...]
    """Channels that each block hands on to the next one; the last hands on one."""
    group: int

    @property
    def depth(self) -> int:
        return len(self.kernels)

    @property
    def frequencies(self) -> int:
        return self.network.L * self.network.P // 2

    def read(self, layer: int) -> int:
        """Channels of the lattice that a block reads."""
        return (1, *self.widths)[layer]

    def inputs(self, layer: int) -> int:
        """Channels of the pooled grid that a fused layer reads."""
        return self.network.inputs[layer]

    def sums(self, layer: int) -> int:
        """Outputs of a fused layer: two, of an even and of an odd column, for each of its channels."""
        return 2 * self.network.channels[layer]

    def taps(self, layer: int) -> int:
        """Places of a fused kernel."""
        return self.kernels[layer] * (self.kernels[layer] + 1) // 2

    def part(self, layer: int) -> int:
        """Inputs of a layer whose gradients are summed at once: three sums each, three factors and a weight."""
        return part_of(self.inputs(layer), (self.network.vectors.registers - 4) // 3)

    def multiply_adds(self, images: int) -> int:
        """Those of a sample's products: forward, backward and outer ones of each image, and what its taps take."""
        L, P, total = self.network.L, self.network.P, 0
        real = sum(2 if each.real else 3 for each in frequencies(L, P))
        for n in range(self.depth):
            pairs, kernel, read = self.inputs(n) * self.sums(n), self.kernels[n], self.read(n)
            total += images * real * pairs * (3 if n else 2)
            total += L * P * pairs * self.taps(n)
            # Each place of a convolution's kernel falls on one tap of the even and one of the odd column.
            total += pairs * kernel**2 * read
            if n:
                total += pairs * self.taps(n) * 2 * read + self.network.channels[n] * read
        # The outputs, the gradients of the last map, and from its outputs back to the maxima.
        return total + images * self.network.channels[-1] * L * P * (2 + 2 + 1)

    def steps(self, count: int) -> int:
        """Bytes from a frequency of ``count`` channels of all images of a group to the next."""
        return (2 * count * self.group + 1) * self.network.vectors.size

    def taps_step(self, layer: int) -> int:
        """Bytes from the gradients of one input's taps to the next one's; an odd number of vectors."""
        return (self.sums(layer) * self.taps(layer) + 1) * self.network.vectors.size

    @property
    def most(self) -> int:
        """Outputs of a product with a matrix: their sums, a vector and a number have to fit into the registers."""
        return self.network.vectors.registers - 4

    def sizes(self) -> dict[str, int]:
        """Numbers of each constant."""
        found = {}
        for n in range(self.depth):
            own = self.network.channels[n]
            found[f"weights {n}"] = 3 * self.frequencies * self.inputs(n) * self.sums(n)
            found[f"biases {n}"] = own
            found[f"taps of {n}"] = 2 * self.frequencies * 2 * self.taps(n)
            found[f"columns {n}"] = 2 * self.inputs(n) * self.read(n)
            if n:
                found[f"back {n}"] = found[f"weights {n}"]
                found[f"placed {n}"] = self.sums(n) * self.taps(n) * 2 * self.read(n)
                found[f"whole {n}"] = own * self.read(n)
                found[f"offsets {n}"] = self.read(n)
        return {**found, "head": self.sums(self.depth - 1), "head bias": 1}

    def constants(self) -> dict[str, int]:
        """Where each constant begins, in bytes."""
        return _starts(self.sizes(), self.network.vectors.itemsize)

    def gradients(self) -> dict[str, int]:
        """Where the gradients of each kind of a block's parameters begin, in bytes; ``end`` is behind the last."""
        sizes = {}
        for n in range(self.depth):
            own = self.network.channels[n]
            sizes[f"conv {n}"] = own * self.read(n) * self.kernels[n] ** 2
            sizes[f"conv bias {n}"] = own
            sizes[f"deconv {n}"] = own * self.widths[n] * 2
            sizes[f"deconv bias {n}"] = self.widths[n]
        return _starts({**sizes, "end": 0}, self.network.vectors.size)

    def memory(self) -> dict[str, int]:
        """Where the parts of a tile's memory begin, in bytes; ``end`` is behind the last."""
        L, P, size = self.network.L, self.network.P, self.network.vectors.size
        layers = range(self.depth)
        sums = max(2 * self.network.block, *(self.part(n) for n in layers))
        pairs = max(self.pairs_step(n) for n in layers)
        sizes = {f"inputs {n}": self.frequencies * self.steps(self.inputs(n)) for n in layers}
        sizes |= {f"taps {n}": self.inputs(n) * self.taps_step(n) for n in layers}
        sizes |= {
            "gradients": self.gradients()["end"],
            "slopes 0": self.frequencies * max(self.steps(self.sums(n)) for n in layers),
            "slopes 1": self.frequencies * max(self.steps(self.sums(n)) for n in layers),
            "pairs": self.frequencies * pairs,
            "sums": 2 * sums * self.frequencies * size,
            "even": L * P * size,
            "odd": L * P * size,
            "maxima": self.network.channels[-1] * L * P * size,
            "totals": L * L * size,
            "masks": self.group * self.masks_step(),
            "end": 0,
        }
        return _starts(sizes, 1)

    def memory_of_image(self) -> int:
        """Bytes that an image of a group takes."""
        layers = range(self.depth)
        kept = sum(self.inputs(n) for n in layers) + 2 * max(self.sums(n) for n in layers)
        return 2 * kept * self.frequencies * self.network.vectors.size + self.masks_step()

    def pairs_step(self, layer: int) -> int:
        """Bytes from a frequency of the pairs of some inputs and all sums to the next."""
        return (2 * part_of(self.inputs(layer), INPUTS) * self.sums(layer) + 1) * self.network.vectors.size

    def masks_step(self) -> int:
        """Bytes of an image's masks."""
        whole = sum(self.network.channels) * self.network.L * self.network.P * MASK_BYTES
        return -(-whole // self.network.vectors.size) * self.network.vectors.size


INPUTS = 8
"""At most so many inputs of a layer share what is read of the gradients at its outputs."""


def part_of(count: int, most: int) -> int:
    """The largest divisor of ``count`` that is not above ``most``."""
    return next(part for part in range(min(count, most), 0, -1) if count % part == 0)


def _starts(sizes: Mapping[str, int], unit: int) -> dict[str, int]:
    ends = accumulate(sizes.values(), initial=0)
    return {name: unit * end for name, end in zip(sizes, ends, strict=False)}


def gradient_plan(blocks: Sequence[Block], images: int, L: int, machine: Vectors | None = None) -> GradientPlan:
    """What is compiled for these ``blocks`` and so many ``images`` of a sample.

    As many of them at once as fit into the cache, but in groups that are equal as far as that goes.
    """
    dtype = blocks[0].conv.weight.detach().numpy().dtype
    channels = tuple(len(block.conv.bias) for block in blocks)
    network = Plan(check_size(L), channels, machine or vectors(dtype.itemsize))
    kernels = tuple(block.conv.weight.shape[-1] for block in blocks)
    plan = GradientPlan(network, kernels, tuple(len(block.deconv.bias) for block in blocks), 1)
    groups = -(-images // max(1, GROUP_BYTES // plan.memory_of_image()))
    return plan._replace(group=-(-images // groups))


def constants(plan: GradientPlan, blocks: Sequence[Block], layers: Sequence[Layer], head: Layer) -> Array:
    """All constants, one behind the other, in the parameters' precision; ``layers`` are the fused ``blocks``."""
    found: dict[str, Array] = {}
    for n, layer in enumerate(layers):
        weights = in_fourier_space(layer, plan.network.L, plan.network.block)
        spread = _spread(blocks, n)
        read = plan.read(n)
        most = part_of(read, plan.most)
        found[f"weights {n}"] = weights
        found[f"biases {n}"] = layer.bias.numpy()
        found[f"taps of {n}"] = _taps(plan, n)
        found[f"columns {n}"] = spread.reshape(-1, read // most, most, 2).transpose(3, 1, 0, 2)
        if n:
            found[f"back {n}"] = _back(plan, n, weights)
            found |= _pulled_back(plan, n, blocks)
    found["head"], found["head bias"] = head.weight.numpy(), head.bias.numpy()
    dtype = head.weight.numpy().dtype
    sizes = plan.sizes()
    assert {name: each.size for name, each in found.items()} == sizes
    return np.concatenate([np.ascontiguousarray(found[name]).astype(dtype).ravel() for name in sizes])


def _spread(blocks: Sequence[Block], layer: int) -> Array:
    """The transposed convolution before a layer, shape (pooled channels, channels, 2); at first a pair's spins."""
    return blocks[layer - 1].deconv.weight.detach().numpy() if layer else np.eye(2)[:, None]


def _back(plan: GradientPlan, layer: int, weights: Array) -> Array:
    """Weights of the products that lead back: a - i b, from a layer's sums, channel by channel, to its inputs."""
    inputs = plan.inputs(layer)
    part = plan.part(layer)
    # (blocks, frequencies, inputs, 2, block, 3) -> (parts, frequencies, sums, part, 3), even and odd alternating
    turned = weights.transpose(1, 2, 0, 4, 3, 5).reshape(len(weights[0]), inputs // part, part, -1, 3)
    a, b = (turned[..., number].transpose(1, 0, 3, 2) for number in range(2))
    real = np.array([each.real for each in frequencies(plan.network.L, plan.network.P)])
    b = np.where(real[:, None, None], b, -b)
    return np.stack([a, b, a - b], axis=-1)


def _pulled_back(plan: GradientPlan, layer: int, blocks: Sequence[Block]) -> dict[str, Array]:
    """What leads from gradients of a fused layer to those of the transposed convolution before it."""
    weight, read = blocks[layer].conv.weight.detach().numpy(), plan.read(layer)
    selector = columns(plan.kernels[layer]).numpy()
    placed = np.einsum("oqab,sbmr->osamqr", weight, selector).reshape(-1, 2 * read)
    wide, narrow = part_of(2 * read, plan.most), part_of(read, plan.most)
    return {
        f"placed {layer}": placed.reshape(len(placed), -1, wide).transpose(1, 0, 2),
        f"whole {layer}": weight.sum((2, 3)).reshape(len(weight), -1, narrow).transpose(1, 0, 2),
        f"offsets {layer}": blocks[layer - 1].deconv.bias.detach().numpy(),
    }


@cache
def _taps(plan: GradientPlan, layer: int) -> Array:
    """How the gradients of a and b at all frequencies make those of a kernel's taps.

    Shape (2 (even and odd columns), blocks, frequencies, 2, taps of a block).
    """
    taps, kernel = plan.taps(layer), plan.kernels[layer]
    # A layer that reads each tap alone.
    unit = torch.eye(taps, dtype=torch.float64).view(1, taps, kernel, -1).expand(2, -1, -1, -1)
    ab = in_fourier_space(Layer(unit, torch.zeros(1)), plan.network.L, 1)[0, :, :, :, 0, :2]
    most = part_of(taps, plan.most)
    return np.ascontiguousarray(ab.transpose(2, 0, 3, 1).reshape(2, len(ab), 2, -1, most).transpose(0, 3, 1, 2, 4))
