"""A convolution for one tile of configurations, with its sums in the processor's registers.

``LANES`` configurations lie side by side in memory, so each number of the lattice is a vector of them, and a block of
``outputs`` channels at one place is a sum of (vector x number) products that never leaves the registers. This is
written in LLVM's intermediate language, since no loop in Python or Numba tells the compiler so.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Configurations in a tile."""


@cache
def _registers() -> tuple[int, int]:
    """How many vector registers the processor has, and the bytes of each."""
    return (32, 64) if binding.get_host_cpu_features().get("avx512f") else (16, 32)


def block_size(channels: int, itemsize: int) -> int:
    """How many of ``channels`` outputs are summed at once: the largest divisor whose sums fit into the registers.

    Two registers are kept for what is multiplied, beside those of a tile of inputs.
    """
    count, size = _registers()
    parts = LANES * itemsize // size
    most = min(16, (count - parts - 2) // parts)
    return next(block for block in range(most, 0, -1) if channels % block == 0)


@cache
def convolution(outputs: int, itemsize: int, *, onto: bool = False) -> Any:
    """The kernel for blocks of ``outputs`` channels in float32 or float64, to be called in compiled code.

    ``kernel(x, offsets, rows, run, weights, stride, bias, z)``, all integers, the pointers as addresses in bytes: for
    each of ``rows`` kernel rows, ``run`` vectors of LANES numbers that begin ``offsets[row]`` bytes behind ``x`` are
    multiplied by as many rows of ``weights`` (run, outputs), which begin ``stride`` bytes behind those of the kernel
    row before, and summed onto ``bias`` (outputs,). The sums go to ``z`` (outputs, LANES). With ``onto``, they are
    summed onto what is in ``z``, and there is no ``bias``.
    """
    width = _registers()[1] // itemsize
    parts = range(LANES // width)
    scalar = ir.FloatType() if itemsize == 4 else ir.DoubleType()
    vector = ir.VectorType(scalar, width)
    integer = ir.IntType(64)

    @intrinsic
    def kernel(
        _: Any, x: Any, offsets: Any, rows: Any, run: Any, weights: Any, stride: Any, bias: Any, z: Any
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, offsets, rows, run, weights, stride, bias, z = arguments
            kind, name = ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{width}f{8 * itemsize}"
            multiply_add = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
            nowhere = ir.Constant(vector, ir.Undefined)
            everywhere = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)

            def behind(address: Any, count: int) -> Any:
                return builder.add(address, ir.Constant(integer, count))

            def pointer(address: Any, kind: Any) -> Any:
                return builder.inttoptr(address, kind.as_pointer())

            def number(address: Any, place: int) -> Any:
                """A number, in all places of a vector."""
                one = builder.load(pointer(behind(address, itemsize * place), scalar), align=itemsize)
                first = builder.insert_element(nowhere, one, ir.Constant(ir.IntType(32), 0))
                return builder.shuffle_vector(first, nowhere, everywhere)

            def loop(name: str, carried: list[Any]) -> tuple[Any, Any, list[Any]]:
                """Open a loop: its block, its counter and what each round hands to the next."""
                begin = builder.block
                block = builder.append_basic_block(name)
                builder.branch(block)
                builder.position_at_end(block)
                values = [builder.phi(value.type) for value in [ir.Constant(integer, 0), *carried]]
                for value, first in zip(values, [ir.Constant(integer, 0), *carried], strict=True):
                    value.add_incoming(first, begin)
                return block, values[0], values[1:]

            def close(block: Any, counter: Any, count: Any, carried: list[Any], new: list[Any]) -> None:
                following = behind(counter, 1)
                for value, result in zip([counter, *carried], [following, *new], strict=True):
                    value.add_incoming(result, builder.block)
                after = builder.append_basic_block("after")
                builder.cbranch(builder.icmp_signed("<", following, count), block, after)
                builder.position_at_end(after)

            places = [pointer(behind(z, itemsize * width * place), vector) for place in range(outputs * len(parts))]
            if onto:
                sums = [builder.load(place, align=itemsize) for place in places]
            else:
                sums = [number(bias, output) for output in range(outputs) for _ in parts]
            outer, row, (row_weights, *row_sums) = loop("rows", [weights, *sums])
            offset = builder.load(pointer(builder.add(offsets, builder.mul(row, integer(8))), integer))
            start = builder.add(x, offset)
            inner, step, (at, own, *sums) = loop("run", [start, row_weights, *row_sums])
            vectors = [
                builder.load(pointer(behind(at, itemsize * width * part), vector), align=itemsize) for part in parts
            ]
            new = []
            for output in range(outputs):
                weight = number(own, output)
                for part in parts:
                    total = sums[output * len(parts) + part]
                    new.append(builder.call(multiply_add, [vectors[part], weight, total]))
            done = [behind(at, itemsize * LANES), behind(own, itemsize * outputs), *new]
            close(inner, step, run, [at, own, *sums], done)
            close(outer, row, rows, [row_weights, *row_sums], [builder.add(row_weights, stride), *new])
            for place, total in zip(places, new, strict=True):
                builder.store(total, place, align=itemsize)
            return target.get_dummy_value()

        return types.void(*[types.intp] * 8), generate

    return kernel
