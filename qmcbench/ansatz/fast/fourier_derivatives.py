"""Per-sample log-derivatives of the paper's network by compiled tiles (:mod:`~qmcbench.ansatz.fast.gradient_tile`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor

from qmcbench.ansatz.fast.fourier import Plan
from qmcbench.ansatz.fast.gradient_plan import GROUP_BYTES, GradientPlan, constants
from qmcbench.ansatz.fast.gradient_tile import compiled
from qmcbench.ansatz.fast.threads import in_shares
from qmcbench.ansatz.fast.vector_code import Vectors, vectors
from qmcbench.ansatz.layers import Block
from qmcbench.lattice import check_size


def log_derivatives(
    blocks: Sequence[Block], spins: Tensor, shares: Tensor, out: Tensor, machine: Vectors | None = None
) -> None:
    """As :func:`qmcbench.ansatz.fast.layerwise.log_derivatives`, for this processor.

    ``machine`` says which vectors there are; those of this processor if it is None.
    """
    if not len(spins):
        return
    plan = gradient_plan(blocks, spins.shape[1], spins.shape[-1], machine)
    run, lanes = compiled(plan)["derivatives"], plan.network.vectors.lanes
    numbers = constants(plan, blocks)
    own = spins.flatten(1).contiguous().numpy()
    weights = shares.to(out.dtype).contiguous().numpy()
    size, end = plan.network.vectors.size, plan.memory()["end"]
    assert out.is_contiguous()

    def work(first: int, last: int) -> None:
        memory = np.empty(end + size, dtype=np.uint8)
        aligned = memory.ctypes.data + -memory.ctypes.data % size
        addresses = own.ctypes.data, weights.ctypes.data, len(spins), spins.shape[1], out.data_ptr()
        run(*addresses, first, last, numbers.ctypes.data, aligned)

    in_shares(-(-len(spins) // lanes), work)


@cache
def _group(plan: GradientPlan, images: int) -> int:
    """How many images of a sample to take at once: all, or as few as make equal groups that fit into the cache."""
    each = plan.memory_of_image()
    groups = -(-images // max(1, GROUP_BYTES // each))
    return -(-images // groups)


def gradient_plan(blocks: Sequence[Block], images: int, L: int, machine: Vectors | None = None) -> GradientPlan:
    """What is compiled for these ``blocks`` and so many ``images`` of a sample."""
    dtype = blocks[0].conv.weight.detach().numpy().dtype
    channels = tuple(len(block.conv.bias) for block in blocks)
    network = Plan(check_size(L), channels, machine or vectors(dtype.itemsize))
    kernels = tuple(block.conv.weight.shape[-1] for block in blocks)
    one = GradientPlan(network, kernels, tuple(len(block.deconv.bias) for block in blocks), 1)
    return one._replace(group=_group(one, images))
