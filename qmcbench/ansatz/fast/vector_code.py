"""Routines for the processor's vector registers, in LLVM's intermediate language, compiled while the program runs.

No loop in Python tells a compiler to keep so many sums in registers. Pointers are opaque, and every number that a
routine takes is an integer: a count, or an address in bytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from llvmlite import binding, ir

INTEGER = ir.IntType(64)
LANE = ir.IntType(32)
POINTER = ir.PointerType()
MASK = ir.IntType(16)
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
    """Writes arithmetic with vectors into the function of a ``builder``; addresses are integers, in bytes."""

    def __init__(self, builder: Any, vectors: Vectors) -> None:
        self.builder = builder
        self.vectors = vectors
        self._scalar = ir.FloatType() if vectors.itemsize == 4 else ir.DoubleType()
        self._vector = ir.VectorType(self._scalar, vectors.lanes)
        self._wide = ir.VectorType(ir.DoubleType(), vectors.lanes)
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        name = f"llvm.fma.v{vectors.lanes}f{8 * vectors.itemsize}"
        self._fma = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)

    def offset(self, address: Any, count: int, step: Any = None) -> Any:
        """``address`` + ``count`` vectors, or ``count`` times ``step`` bytes."""
        if step is None:
            return self.behind(address, count * self.vectors.size)
        return self.builder.add(address, self.builder.mul(step, INTEGER(count)))

    def integer(self, number: int) -> Any:
        return INTEGER(number)

    def times(self, number: Any, factor: int) -> Any:
        """The integer ``number`` times ``factor``."""
        return self.builder.mul(number, INTEGER(factor))

    def quotient(self, number: Any, divisor: int) -> Any:
        """The integer ``number``, not negative, over ``divisor``, without the rest."""
        return self.builder.udiv(number, INTEGER(divisor))

    def least(self, a: Any, b: Any) -> Any:
        """The smaller of two integers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def behind(self, address: Any, size: int) -> Any:
        """``address`` + ``size`` bytes."""
        return self.builder.add(address, INTEGER(size))

    def load(self, address: Any) -> Any:
        """The vector at an address that is a multiple of its size."""
        return self._load(address, self._vector)

    def store(self, vector: Any, address: Any) -> None:
        self.builder.store(vector, self.builder.inttoptr(address, POINTER), align=self.vectors.size)

    def broadcast(self, address: Any, place: int = 0) -> Any:
        """The number ``place`` places behind an address, in all lanes."""
        number = self._load(self.behind(address, place * self.vectors.itemsize), self._scalar)
        first = self.builder.insert_element(ir.Constant(self._vector, ir.Undefined), number, LANE(0))
        zeros = ir.Constant(ir.VectorType(LANE, self.vectors.lanes), [0] * self.vectors.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(self._vector, ir.Undefined), zeros)

    def gather_bytes(self, addresses: Sequence[Any]) -> Any:
        """The signed bytes at as many addresses as there are lanes, as numbers."""
        found = ir.Constant(ir.VectorType(ir.IntType(8), self.vectors.lanes), ir.Undefined)
        for lane, address in enumerate(addresses):
            found = self.builder.insert_element(found, self._load(address, ir.IntType(8)), LANE(lane))
        return self.builder.sitofp(found, self._vector)

    def gather(self, addresses: Sequence[Any]) -> Any:
        """The numbers at as many addresses as there are lanes."""
        found = ir.Constant(self._vector, ir.Undefined)
        for lane, address in enumerate(addresses):
            found = self.builder.insert_element(found, self._load(address, self._scalar), LANE(lane))
        return found

    def store_mask(self, mask: Any, address: Any) -> None:
        """Two bytes that say for each lane whether."""
        bits = self.builder.bitcast(mask, ir.IntType(self.vectors.lanes))
        whole = bits if self.vectors.lanes == MASK.width else self.builder.zext(bits, MASK)
        self.builder.store(whole, self.builder.inttoptr(address, POINTER), align=2)

    def load_mask(self, address: Any) -> Any:
        """What :meth:`store_mask` has stored."""
        bits = self._load(address, MASK)
        if self.vectors.lanes < MASK.width:
            bits = self.builder.trunc(bits, ir.IntType(self.vectors.lanes))
        return self.builder.bitcast(bits, ir.VectorType(ir.IntType(1), self.vectors.lanes))

    def load_integer(self, address: Any) -> Any:
        return self._load(address, INTEGER)

    def wide(self, vector: Any) -> Any:
        """The same numbers in float64."""
        return vector if self.vectors.itemsize == 8 else self.builder.fpext(vector, self._wide)

    def wide_constant(self, number: float) -> Any:
        return ir.Constant(self._wide, [number] * self.vectors.lanes)

    def mantissas(self, wide: Any) -> tuple[Any, Any]:
        """Numbers in float64 without their powers of two, and these powers; 0, inf and nan are left as they are."""
        builder, integers = self.builder, ir.VectorType(INTEGER, self.vectors.lanes)

        def every(number: int) -> Any:
            return ir.Constant(integers, [number] * self.vectors.lanes)

        bits = builder.bitcast(wide, integers)
        field = builder.and_(builder.lshr(bits, every(52)), every(0x7FF))
        ordinary = builder.and_(
            builder.icmp_unsigned("!=", field, every(0)), builder.icmp_unsigned("!=", field, every(0x7FF))
        )
        one = builder.or_(builder.and_(bits, every(~(0x7FF << 52))), every(0x3FF << 52))
        power = builder.sitofp(builder.sub(field, every(0x3FF)), self._wide)
        return (
            builder.select(ordinary, builder.bitcast(one, self._wide), wide),
            builder.select(ordinary, power, self.wide_constant(0.0)),
        )

    def store_wide(self, wide: Any, address: Any) -> None:
        """To an address that is a multiple of 8."""
        self.builder.store(wide, self.builder.inttoptr(address, POINTER), align=8)

    def copy_number(self, source: Any, target: Any) -> None:
        """One number from an address to another."""
        number = self._load(source, self._scalar)
        self.builder.store(number, self.builder.inttoptr(target, POINTER), align=self.vectors.itemsize)

    def _load(self, address: Any, kind: Any) -> Any:
        align = {self._vector: self.vectors.size, self._scalar: self.vectors.itemsize, INTEGER: 8}.get(kind, 1)
        return self.builder.load(self.builder.inttoptr(address, POINTER), align=align, typ=kind)

    def constant(self, number: float) -> Any:
        return ir.Constant(self._vector, [number] * self.vectors.lanes)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def multiply(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b)

    def divide(self, a: Any, b: Any) -> Any:
        return self.builder.fdiv(a, b)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        return self.builder.call(self._fma, [a, b, c])

    def at_least(self, a: Any, b: Any) -> Any:
        """For each lane whether a >= b."""
        return self.builder.fcmp_ordered(">=", a, b)

    def choose(self, mask: Any, a: Any, b: Any) -> Any:
        """``a`` in the lanes of ``mask``, ``b`` in the others."""
        return self.builder.select(mask, a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def negative(self, a: Any) -> Any:
        return self.builder.fneg(a)

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

    def call(self, routine: Any, *integers: Any) -> None:
        """Call a routine of the same module; plain numbers become integers."""
        self.builder.call(routine, [INTEGER(each) if isinstance(each, int) else each for each in integers])

    def loop(self, count: Any, carried: Sequence[Any], body: Callable[[list[Any]], Sequence[Any]]) -> list[Any]:
        """``body`` ``count`` times (at least once), each time with what it returned, at first with ``carried``."""
        count = INTEGER(count) if isinstance(count, int) else count
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


class Routines:
    """Functions of integers that may call one another, to be compiled together."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.module = ir.Module()
        self._written: dict[tuple[object, ...], Any] = {}

    def add(self, name: str, integers: int, body: Callable[..., None]) -> Any:
        """A function of so many integers, written by ``body(code, *integers)``, for :meth:`VectorCode.call`."""
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [INTEGER] * integers), name)
        builder = ir.IRBuilder(function.append_basic_block())
        body(VectorCode(builder, self.vectors), *function.args)
        builder.ret_void()
        return function

    def once(self, write: Callable[..., Any], *numbers: int, **options: bool) -> Any:
        """What ``write(self, *numbers, **options)`` adds; it is added the first time only."""
        key = (write, *numbers, *options.items())
        if key not in self._written:
            self._written[key] = write(self, *numbers, **options)
        return self._written[key]

    def compiled(self) -> Compiled:
        """All of them, for this processor."""
        return Compiled(self.module)


class Compiled:
    """Compiled routines, which live as long as this does."""

    def __init__(self, module: ir.Module) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_triple(binding.get_process_triple())
        machine = target.create_target_machine(
            cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3, jit=True
        )
        parsed = binding.parse_assembly(str(module))
        parsed.verify()
        self._engine = binding.create_mcjit_compiler(parsed, machine)
        self._engine.finalize_object()
        self._names = {function.name: len(function.args) for function in module.functions if function.blocks}

    def __getitem__(self, name: str) -> Callable[..., None]:
        """The routine of that name; it runs without the interpreter's lock."""
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * self._names[name])
        return kind(self._engine.get_function_address(name))
