"""Per-sample log-derivatives of the paper's network, compiled (:mod:`~qmcbench.ansatz.fast.gradient_tile`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from qmcbench.ansatz.fast.gradient_plan import constants, gradient_plan
from qmcbench.ansatz.fast.gradient_tile import compiled
from qmcbench.ansatz.fast.threads import in_shares
from qmcbench.ansatz.fast.vector_code import Vectors
from qmcbench.ansatz.layers import Block, Layer


class FourierDerivatives:
    """Log-derivatives, summed over ``images`` L x L configurations of each sample.

    Of the network ``blocks``, whose fused layers and head are its ``form``.

    The first of a shape compiles, for one or two seconds. ``machine`` says which vectors there are; those of this
    processor if it is None.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        form: tuple[Sequence[Layer], Layer],
        images: int,
        L: int,
        machine: Vectors | None = None,
    ) -> None:
        self._plan = gradient_plan(blocks, images, L, machine)
        compiled(self._plan)
        self._constants = constants(self._plan, blocks, *form)

    def write(self, spins: Tensor, shares: Tensor, out: Tensor) -> None:
        """As :func:`qmcbench.ansatz.fast.layerwise.log_derivatives`; ``out`` is contiguous."""
        size, end = self._plan.network.vectors.size, self._plan.memory()["end"]
        own, weights = spins.flatten(1).contiguous().numpy(), shares.to(out.dtype).contiguous().numpy()
        run, (batch, images) = compiled(self._plan)["derivatives"], shares.shape
        result = out.numpy()

        def work(first: int, last: int) -> None:
            memory = np.empty(end + size, dtype=np.uint8)
            aligned = memory.ctypes.data + -memory.ctypes.data % size
            samples = own.ctypes.data, weights.ctypes.data, batch, images, result.ctypes.data
            run(*samples, first, last, self._constants.ctypes.data, aligned)

        if batch:
            in_shares(-(-batch // self._plan.network.vectors.lanes), work)
