"""Fourier transforms on an L x P torus, and products in Fourier space: a configuration in each lane of a vector.

A real sequence x_0 ... x_{n-1} becomes its cosine parts c_k = sum_j x_j cos(2 pi j k / n), k = 0 ... n // 2, and sine
parts s_k, 0 < k < n / 2, in the order c_0, c_1, s_1, c_2, s_2, ... The way back is the transposed map, x_j =
sum_k (c_k cos + s_k sin); the weights have to contain the factors that make it the inverse. Everything is written out
for one length, as codelets are (Frigo and Johnson, Proc. IEEE 93, 216 (2005)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from qmcbench.ansatz.fast.vector_code import INTEGER, Routines, VectorCode


class Frequency(NamedTuple):
    """Two numbers of a transformed grid that stand together: of row and column frequency (k, l)."""

    cosine: tuple[int, int]
    """Frequency of the first number, a cosine part."""
    sine: tuple[int, int]
    """Frequency of the second number: a sine part of the same, or the cosine part of another if both are real."""

    @property
    def real(self) -> bool:
        return self.cosine != self.sine


class Variant(NamedTuple):
    """How an image differs from another whose first convolution it shares."""

    shifted: bool
    """By one column, to the right."""
    flipped: bool
    """In the sign of all spins."""


def frequencies(L: int, P: int) -> list[Frequency]:
    """Those of the L x P torus (L even), in the order in which :func:`columns` writes them."""
    half, found = L // 2, []
    for column in range(P // 2 + 1):
        if 2 * column % P == 0:
            found.append(Frequency((0, column), (half, column)))
            found += [Frequency((row, column), (row, column)) for row in range(1, half)]
        else:
            pairs = [(0, column), (half, column)]
            for row in range(1, half):
                pairs += [(row, column), (row, -column)]
            found += [Frequency(each, each) for each in pairs]
    return found


def rows_in(routines: Routines, L: int, P: int) -> Any:
    """``rows_in(x)``: each of L rows of P numbers, one behind the other from ``x``, becomes its transform."""

    def body(code: VectorCode, x: Any) -> None:
        def row(carried: list[Any]) -> list[Any]:
            places = [code.offset(carried[0], column) for column in range(P)]
            store(code, transformed(code, [code.load(place) for place in places]), places)
            return [code.offset(carried[0], P)]

        code.loop(L, [x], row)

    return routines.add("rows_in", 1, body)


def rows_pooled(routines: Routines, L: int, P: int, *, forth: bool) -> Any:
    """``rows_pooled(even, odd)``: L rows of each are transformed back, and their maximum goes to ``even``.

    ``forth`` transforms that again.
    """

    def body(code: VectorCode, even: Any, odd: Any) -> None:
        def row(starts: list[Any]) -> list[Any]:
            places = [code.offset(starts[0], column) for column in range(P)]
            both = [
                transposed(code, [code.load(code.offset(start, column)) for column in range(P)]) for start in starts
            ]
            maximum = [code.maximum(*pair) for pair in zip(*both, strict=True)]
            store(code, transformed(code, maximum) if forth else maximum, places)
            return [code.offset(start, P) for start in starts]

        code.loop(L, [even, odd], row)

    return routines.add("rows_pooled_forth" if forth else "rows_pooled", 2, body)


def rows_of_images(routines: Routines, L: int, P: int, variants: Sequence[Variant]) -> Any:
    """``rows_of_images(even, odd, maxima)``: as :func:`rows_pooled`, and forth, for each of some ``variants``.

    Their maxima go to grids that stand one behind the other from ``maxima`` on.
    """

    def body(code: VectorCode, even: Any, odd: Any, maxima: Any) -> None:
        def row(starts: list[Any]) -> list[Any]:
            both = [[code.load(code.offset(start, column)) for column in range(P)] for start in starts[:2]]
            e, o = (transposed(code, each) for each in both)
            for number, variant in enumerate(variants):
                pairs = zip(o[-1:] + o[:-1], e, strict=True) if variant.shifted else zip(e, o, strict=True)
                # The maximum of what has the other sign is minus the minimum.
                pooled = [code.negative(code.minimum(*p)) if variant.flipped else code.maximum(*p) for p in pairs]
                start = code.offset(starts[2], number * L * P)
                store(code, transformed(code, pooled), [code.offset(start, column) for column in range(P)])
            return [code.offset(start, P) for start in starts]

        code.loop(L, [even, odd, maxima], row)

    return routines.add("rows_of_images", 3, body)


def product(routines: Routines, count: int) -> Any:
    """``product(x, mantissa, exponent)``: of ``count`` vectors, in float64, as mantissa times a power of two.

    ``count`` is a multiple of four: four factors in float32 can neither overflow nor underflow float64.
    """

    def body(code: VectorCode, x: Any, mantissa: Any, exponent: Any) -> None:
        def four(carried: list[Any]) -> list[Any]:
            x, total, power = carried
            factors = [code.wide(code.load(code.offset(x, number))) for number in range(4)]
            pairs = code.multiply(factors[0], factors[1]), code.multiply(factors[2], factors[3])
            found, own = code.mantissas(code.multiply(*pairs))
            return [code.offset(x, 4), code.multiply(total, found), code.add(power, own)]

        start = [x, code.wide_constant(1.0), code.wide_constant(0.0)]
        _, total, power = code.loop(count // 4, start, four)
        code.store_wide(total, mantissa)
        code.store_wide(power, exponent)

    return routines.add("product", 3, body)


def columns(routines: Routines, L: int, P: int, *, back: bool) -> Any:
    """``columns(rows, x, step)``: L transformed rows, at ``rows``, become frequencies ``step`` bytes apart, at ``x``.

    A frequency is two vectors, one behind the other.
    ``back`` goes from ``x`` to ``rows`` by the transposed map.
    """

    def body(code: VectorCode, rows: Any, x: Any, step: Any) -> None:
        def next_pair(carried: list[Any]) -> list[Any]:
            rows, x = carried
            _columns(code, L, P, rows, x, step, pair=True, back=back)
            return [code.offset(rows, 2), code.offset(x, L, step)]

        _columns(code, L, P, rows, x, step, pair=False, back=back)
        rows, x = code.offset(rows, 1), code.offset(x, P, step)
        if P > 2:
            rows, x = code.loop((P - 1) // 2, [rows, x], next_pair)
        if P % 2 == 0:
            _columns(code, L, P, rows, x, step, pair=False, back=back)

    return routines.add("columns_back" if back else "columns_forth", 3, body)


def _columns(code: VectorCode, L: int, P: int, rows: Any, x: Any, step: Any, *, pair: bool, back: bool) -> None:
    """The column of a real frequency along the row, or the cosine column of a complex one and its sine column."""
    half, parts = L // 2, 2 if pair else 1
    places = [[code.offset(rows, row * P + part) for row in range(L)] for part in range(parts)]
    starts = [code.offset(x, number, step) for number in range(parts * half)]
    targets = [code.offset(start, part) for start in starts for part in range(2)]
    if back:
        found = _columns_of(code, [code.load(target) for target in targets], half, pair=pair)
        for column, its_places in zip(found, places, strict=True):
            store(code, transposed(code, column), its_places)
    else:
        found = [transformed(code, [code.load(place) for place in column]) for column in places]
        store(code, _frequencies_of(code, found, half, pair=pair), targets)


def _frequencies_of(code: VectorCode, columns: list[list[Any]], half: int, *, pair: bool) -> list[Any]:
    if not pair:
        (own,) = columns
        return [own[0], own[-1], *own[1:-1]]
    cosine, sine = columns
    found = [cosine[0], sine[0], cosine[-1], sine[-1]]
    for k in range(1, half):
        # cos(a +- b) = cos a cos b -+ sin a sin b; sin(a +- b) = sin a cos b +- cos a sin b
        cc, sc, cs, ss = cosine[2 * k - 1], cosine[2 * k], sine[2 * k - 1], sine[2 * k]
        found += [code.sub(cc, ss), code.add(sc, cs), code.add(cc, ss), code.sub(sc, cs)]
    return found


def _columns_of(code: VectorCode, x: list[Any], half: int, *, pair: bool) -> list[list[Any]]:
    """The transposed map of :func:`_frequencies_of`."""
    if not pair:
        return [[x[0], *x[2:], x[1]]]
    cosine, sine = [x[0]], [x[1]]
    for k in range(1, half):
        c, s, c_minus, s_minus = x[4 * k : 4 * k + 4]
        cosine += [code.add(c, c_minus), code.add(s, s_minus)]
        sine += [code.sub(s, s_minus), code.sub(c_minus, c)]
    return [[*cosine, x[2]], [*sine, x[3]]]


def products(routines: Routines, L: int, P: int, outputs: int) -> Any:
    """``products(x, step, weights, inputs, z)``: at each frequency, sums over inputs, ``outputs`` of them, to ``z``.

    Frequencies of the inputs are ``step`` bytes apart, those of the sums as closely as possible. A complex product
    takes three real ones (Gauss; Knuth, The Art of Computer Programming 2, 4.6.4): with weights a + i b and c - i s
    for each input, c' = a c + b s and s' = (a - b)(c + s) - a c + b s. The weights, a, b and a - b for each output,
    stand input by input; if both numbers of a frequency are real, a and b are theirs.
    """

    def body(code: VectorCode, x: Any, step: Any, weights: Any, inputs: Any, z: Any) -> None:
        weights_step = code.builder.mul(inputs, INTEGER(3 * outputs * routines.vectors.itemsize))

        def following(real: bool) -> Callable[[list[Any]], list[Any]]:
            def multiply(carried: list[Any]) -> list[Any]:
                x, weights, z = carried
                _product(code, outputs, x, weights, inputs, z, real=real)
                return [code.offset(x, 1, step), code.offset(weights, 1, weights_step), code.offset(z, 2 * outputs)]

            return multiply

        each_frequency(code, L, P, [x, weights, z], following)

    return routines.add(f"products_{outputs}", 5, body)


def each_frequency(
    code: VectorCode, L: int, P: int, carried: list[Any], body: Callable[[bool], Callable[[list[Any]], list[Any]]]
) -> None:
    """``body(real)(carried)`` at each frequency, in the order of :func:`frequencies`."""
    # P of a real column, L of each complex one, P of a second real one if P is even.
    for others in (L * P // 2 - 1,) if P % 2 else (L * P // 2 - P - 1, P - 1):
        carried = code.loop(others, body(True)(carried), body(False))


def _product(code: VectorCode, outputs: int, x: Any, weights: Any, inputs: Any, z: Any, *, real: bool) -> None:
    each = 2 if real else 3

    def add(carried: list[Any]) -> list[Any]:
        at, own, *sums = carried
        c, s = code.load(at), code.load(code.offset(at, 1))
        factors = (c, s) if real else (c, s, code.add(c, s))
        new = [
            code.multiply_add(code.broadcast(own, 3 * output + part), factor, sums[each * output + part])
            for output in range(outputs)
            for part, factor in enumerate(factors)
        ]
        return [code.offset(at, 2), code.builder.add(own, INTEGER(code.vectors.itemsize * 3 * outputs)), *new]

    zeros = [code.constant(0.0)] * (each * outputs)
    _, _, *sums = code.loop(inputs, [x, weights, *zeros], add)
    for output in range(outputs):
        c, s, *rest = sums[each * output : each * (output + 1)]
        for both in rest:
            c, s = code.add(c, s), code.add(both, code.sub(s, c))
        code.store(c, code.offset(z, 2 * output))
        code.store(s, code.offset(z, 2 * output + 1))


def store(code: VectorCode, values: Sequence[Any], places: Sequence[Any]) -> None:
    for value, place in zip(values, places, strict=True):
        code.store(value, place)


def transformed(code: VectorCode, x: Sequence[Any]) -> list[Any]:
    """Cosine and sine parts of ``x``."""
    n, half = len(x), len(x) // 2
    if n == 1:
        return list(x)
    if n % 2:
        plus = [(j, code.add(x[j], x[n - j])) for j in range(1, half + 1)]
        minus = [(j, code.sub(x[j], x[n - j])) for j in range(1, half + 1)]
        found = [code.sum([(1, x[0]), *((1, each) for _, each in plus)])]
        for k in range(1, half + 1):
            found += [_cosines(code, n, k, [(0, x[0]), *plus]), _sines(code, n, k, minus)]
        return found
    # Even k from sums of opposite numbers; odd k from their differences, which are (anti)symmetric once more.
    even = transformed(code, [code.add(x[j], x[j + half]) for j in range(half)])
    rest = [code.sub(x[j], x[j + half]) for j in range(half)]
    below = range(1, (half + 1) // 2)
    minus = [(0, rest[0]), *((j, code.sub(rest[j], rest[half - j])) for j in below)]
    plus = [(j, code.add(rest[j], rest[half - j])) for j in below]
    if half % 2 == 0:
        plus.append((half // 2, rest[half // 2]))
    found = [None] * n
    found[0], found[3::4], found[4::4] = even[0], even[1::2], even[2::2]
    for k in range(1, half + 1, 2):
        found[2 * k - 1] = _cosines(code, n, k, minus)
        if k < half:
            found[2 * k] = _sines(code, n, k, plus)
    return found


def transposed(code: VectorCode, parts: Sequence[Any]) -> list[Any]:
    """The transposed map of :func:`transformed`."""
    n, half = len(parts), len(parts) // 2
    if n == 1:
        return list(parts)
    cosines = [(k, parts[max(0, 2 * k - 1)]) for k in range(half + 1)]
    sines = [(k, parts[2 * k]) for k in range(1, (n + 1) // 2)]
    x: list[Any] = [None] * n
    if n % 2:
        x[0] = code.sum((1, each) for _, each in cosines)
        for j in range(1, half + 1):
            c, s = _cosines(code, n, j, cosines), _sines(code, n, j, sines)
            x[j], x[n - j] = code.add(c, s), code.sub(c, s)
        return x
    even_parts = [parts[0], *(part for k in range(2, half + 1, 2) for part in parts[2 * k - 1 : 2 * k + 1])]
    even = transposed(code, even_parts)
    cosines, sines = cosines[1::2], sines[::2]
    rest: list[Any] = [None] * half
    rest[0] = code.sum((1, each) for _, each in cosines)
    for j in range(1, (half + 1) // 2):
        c, s = _cosines(code, n, j, cosines), _sines(code, n, j, sines)
        rest[j], rest[half - j] = code.add(c, s), code.sub(s, c)
    if half % 2 == 0:
        rest[half // 2] = _sines(code, n, half // 2, sines)
    for j in range(half):
        x[j], x[j + half] = code.add(even[j], rest[j]), code.sub(even[j], rest[j])
    return x


def _cosines(code: VectorCode, n: int, k: int, numbered: Sequence[tuple[int, Any]]) -> Any:
    return code.sum((math.cos(2 * math.pi * j * k / n), each) for j, each in numbered)


def _sines(code: VectorCode, n: int, k: int, numbered: Sequence[tuple[int, Any]]) -> Any:
    return code.sum((math.sin(2 * math.pi * j * k / n), each) for j, each in numbered)
