"""The processor's prefetch instruction for Numba: a random read that is announced early need not be waited for."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


@intrinsic
def _prefetch(_: Any, address: Any) -> Any:
    """``prefetch(address)``: begin to load what stands there into every cache."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.PointerType())
        numbers = [ir.Constant(ir.IntType(32), number) for number in (0, 3, 1)]  # to read, into every cache, data
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, *(number.type for number in numbers)])
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind), [pointer, *numbers])
        return arguments[0]

    return types.int64(types.int64), generate


# Numba calls it without the context; its own annotations say otherwise.
prefetch: Any = _prefetch


@njit(inline="always")
def prefetch_row(array: Any, row: Any) -> None:
    """Begin to load the start of a row of a C-contiguous array."""
    prefetch(np.int64(array.ctypes.data) + row * array.strides[0])
