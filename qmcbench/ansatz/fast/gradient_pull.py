"""From gradients of the fused kernels' taps to those of the parameters, compiled: the fusion, transposed."""

from __future__ import annotations

from typing import Any

from qmcbench.ansatz.fast import gradient_codelets
from qmcbench.ansatz.fast.gradient_plan import GradientPlan, part_of
from qmcbench.ansatz.fast.vector_code import Routines, VectorCode
from qmcbench.ansatz.layers import columns


class Pull:
    """Writes it; ``at`` says where everything stands."""

    def __init__(self, plan: GradientPlan, routines: Routines) -> None:
        self.plan, self.routines = plan, routines

    def _matrix(self, outputs: int) -> Any:
        return self.routines.once(gradient_codelets.matrix, outputs)

    def back(self, code: VectorCode, at: dict[str, Any], layer: int) -> None:
        """From the taps' gradients to those of a block's convolution and of the transposed one before it."""
        plan, vectors = self.plan, self.plan.network.vectors
        inputs, sums, taps, read = (each(layer) for each in (plan.inputs, plan.sums, plan.taps, plan.read))
        kernel, channels = plan.kernels[layer], plan.network.channels[layer]
        width, step = (kernel + 1) // 2, plan.taps_step(layer)
        narrow = part_of(read, plan.most)
        matrix = self._matrix(narrow)
        blocks, block_bytes = read // narrow, inputs * narrow * vectors.itemsize
        # For each column of the kernel the places in even and odd columns that it falls on.
        places = [
            [(s, m, r) for s, _, m, r in columns(kernel)[:, b : b + 1].nonzero().tolist()] for b in range(kernel)
        ]

        def channel(carried: list[Any]) -> list[Any]:
            own, gradient, bias = carried
            if layer:
                self._offsets(code, at, layer, bias, gradient)

            def row(carried: list[Any]) -> list[Any]:
                own, gradient = carried

                def some(carried: list[Any]) -> list[Any]:
                    constants, gradient = carried
                    for column, reached in enumerate(places):
                        for s, m, r in reached:
                            x = code.offset(own, s * taps + m)
                            weights = code.behind(constants, r * blocks * block_bytes)
                            target = code.offset(gradient, column)
                            code.call(matrix, x, step, inputs, weights, target, kernel**2 * vectors.size)
                    return [code.behind(constants, block_bytes), code.offset(gradient, narrow * kernel**2)]

                code.loop(blocks, [at[f"columns {layer}"], gradient], some)
                return [code.offset(own, width), code.offset(gradient, kernel)]

            code.loop(kernel, [own, gradient], row)
            return [code.offset(own, 2 * taps), code.offset(gradient, read * kernel**2), code.offset(bias, 1)]

        code.loop(channels, [at[f"taps {layer}"], at[f"conv {layer}"], at[f"conv bias {layer}"]], channel)
        if layer:
            self._transposed(code, at, layer, sums * taps)

    def _offsets(self, code: VectorCode, at: dict[str, Any], layer: int, bias: Any, gradient: Any) -> None:
        """The convolution's weights also multiply the constant of the transposed one before it."""
        plan, kernel = self.plan, self.plan.kernels[layer]
        slope = code.load(bias)

        def channel(carried: list[Any]) -> list[Any]:
            offset, gradient = carried
            value = code.multiply(slope, code.broadcast(offset))

            def place(carried: list[Any]) -> list[Any]:
                code.store(code.add(code.load(carried[0]), value), carried[0])
                return [code.offset(carried[0], 1)]

            (gradient,) = code.loop(kernel**2, [gradient], place)
            return [code.behind(offset, plan.network.vectors.itemsize), gradient]

        code.loop(plan.read(layer), [at[f"offsets {layer}"], gradient], channel)

    def _transposed(self, code: VectorCode, at: dict[str, Any], layer: int, count: int) -> None:
        """Gradients of the weight and the constant of the transposed convolution before a layer."""
        plan, vectors = self.plan, self.plan.network.vectors
        read, channels = plan.read(layer), plan.network.channels[layer]
        wide, narrow = part_of(2 * read, plan.most), part_of(read, plan.most)
        size, itemsize = vectors.size, vectors.itemsize

        def one_input(carried: list[Any]) -> list[Any]:
            own, gradient = carried

            def some(carried: list[Any]) -> list[Any]:
                weights, gradient = carried
                code.call(self._matrix(wide), own, size, count, weights, gradient, size)
                return [code.behind(weights, count * wide * itemsize), code.offset(gradient, wide)]

            _, gradient = code.loop(2 * read // wide, [at[f"placed {layer}"], gradient], some)
            return [code.behind(own, plan.taps_step(layer)), gradient]

        code.loop(plan.inputs(layer), [at[f"taps {layer}"], at[f"deconv {layer - 1}"]], one_input)

        def constant(carried: list[Any]) -> list[Any]:
            weights, gradient = carried
            matrix, own = self._matrix(narrow), at[f"conv bias {layer}"]
            code.call(matrix, own, size, channels, weights, gradient, size)
            return [code.behind(weights, channels * narrow * itemsize), code.offset(gradient, narrow)]

        code.loop(read // narrow, [at[f"whole {layer}"], at[f"deconv bias {layer - 1}"]], constant)
