"""The processor's prefetch instruction for Numba: a random read that is announced early need not be waited for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def _prefetch(context: Any, array: Any, row: Any) -> Any:
    """``prefetch_row(array, row)``: begin to load the start of a row of a C-contiguous 2-D array of float64."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = target.make_array(signature.args[0])(target, builder, arguments[0])
        stride = builder.extract_value(view.strides, 0)
        base = builder.bitcast(view.data, ir.IntType(8).as_pointer())
        address = builder.gep(base, [builder.mul(arguments[1], stride)])
        numbers = [ir.Constant(ir.IntType(32), number) for number in (0, 3, 1)]  # to read, into every cache, data
        kind = ir.FunctionType(ir.VoidType(), [address.type, *(number.type for number in numbers)])
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind), [address, *numbers])
        return target.get_dummy_value()

    return types.void(array, types.int64), generate


# Numba calls it without the context; its own annotations say otherwise.
prefetch_row: Any = _prefetch
