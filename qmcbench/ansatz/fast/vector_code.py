"""Routines for the processor's vector registers, in LLVM's intermediate language, to be called in compiled code.

No loop in Python or Numba tells the compiler to keep so many sums in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INTEGER = ir.IntType(64)
NEGLIGIBLE = 1e-12
"""Factors that differ by less from 0 or +-1 are that, but for rounding."""


class Vectors(NamedTuple):
    """The vectors of a processor."""

    itemsize: int
    """Bytes of a number: 4 (float32) or 8 (float64)."""
    size: int
    """Bytes of a vector."""
    registers: int
    """How many there are."""

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.size // self.itemsize


def vectors(itemsize: int) -> Vectors:
    """Those of this processor."""
    return Vectors(itemsize, *((64, 32) if binding.get_host_cpu_features().get("avx512f") else (32, 16)))


class VectorCode:
    """Writes arithmetic with vectors; addresses are integers, in bytes."""

    def __init__(self, builder: Any, vectors: Vectors) -> None:
        self.builder = builder
        self.vectors = vectors
        self._scalar = ir.FloatType() if vectors.itemsize == 4 else ir.DoubleType()
        self._vector = ir.VectorType(self._scalar, vectors.lanes)
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        name = f"llvm.fma.v{vectors.lanes}f{8 * vectors.itemsize}"
        self._fma = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]

    def offset(self, address: Any, count: int, step: Any = None) -> Any:
        """``address`` + ``count`` vectors, or ``count`` times ``step`` bytes."""
        if step is None:
            return self.builder.add(address, INTEGER(count * self.vectors.size))
        return self.builder.add(address, self.builder.mul(step, INTEGER(count)))

    def load(self, address: Any) -> Any:
        """The vector at an address that is a multiple of its size."""
        place = self.builder.inttoptr(address, self._vector.as_pointer())
        return self.builder.load(place, align=self.vectors.size)

    def store(self, vector: Any, address: Any) -> None:
        place = self.builder.inttoptr(address, self._vector.as_pointer())
        self.builder.store(vector, place, align=self.vectors.size)

    def broadcast(self, address: Any, place: int) -> Any:
        """The number ``place`` places behind an address, in all lanes."""
        behind = self.builder.add(address, INTEGER(place * self.vectors.itemsize))
        pointer = self.builder.inttoptr(behind, self._scalar.as_pointer())
        number = self.builder.load(pointer, align=self.vectors.itemsize)
        nowhere = ir.Constant(self._vector, ir.Undefined)
        first = self.builder.insert_element(nowhere, number, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.vectors.lanes), [0] * self.vectors.lanes)
        return self.builder.shuffle_vector(first, nowhere, zeros)

    def constant(self, number: float) -> Any:
        return ir.Constant(self._vector, [number] * self.vectors.lanes)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        return self.builder.call(self._fma, [a, b, c])

    def maximum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def sum(self, terms: Iterable[tuple[float, Any]]) -> Any:
        """The sum of (number, vector) products."""
        total = None
        # Those without a multiplication first: the sum then needs none to begin with.
        for number, vector in sorted(terms, key=lambda term: abs(abs(term[0]) - 1) > NEGLIGIBLE):
            if abs(number) < NEGLIGIBLE:
                continue
            if abs(abs(number) - 1) > NEGLIGIBLE:
                factor = self.constant(number)
                total = (
                    self.builder.fmul(factor, vector) if total is None else self.multiply_add(factor, vector, total)
                )
            elif number > 0:
                total = vector if total is None else self.add(total, vector)
            else:
                total = self.builder.fneg(vector) if total is None else self.sub(total, vector)
        return self.constant(0.0) if total is None else total

    def loop(self, count: Any, carried: Sequence[Any], body: Callable[[list[Any]], Sequence[Any]]) -> list[Any]:
        """``body`` ``count`` times (at least once), each time with what it returned, at first with ``carried``."""
        before, first = self.builder.block, [INTEGER(0), *carried]
        block = self.builder.append_basic_block("loop")
        self.builder.branch(block)
        self.builder.position_at_end(block)
        values = [self.builder.phi(each.type) for each in first]
        following = self.builder.add(values[0], INTEGER(1))
        new = [following, *body(values[1:])]
        for value, start, result in zip(values, first, new, strict=True):
            value.add_incoming(start, before)
            value.add_incoming(result, self.builder.block)
        after = self.builder.append_basic_block("after")
        self.builder.cbranch(self.builder.icmp_signed("<", following, count), block, after)
        self.builder.position_at_end(after)
        return new[1:]


def routine(vectors: Vectors, body: Callable[..., None]) -> Any:
    """What ``body(code, *integers)`` writes, as a function of a tuple of integers that compiled code can call."""

    def generate(target: Any, builder: Any, _: Any, arguments: Any) -> Any:
        body(VectorCode(builder, vectors), *cgutils.unpack_tuple(builder, *arguments))  # type: ignore[no-untyped-call]
        return target.get_dummy_value()

    @intrinsic
    def call(_: Any, integers: Any) -> Any:
        kinds = types.UniTuple(types.intp, len(integers))  # type: ignore[no-untyped-call]
        return types.void(kinds), generate

    return call
