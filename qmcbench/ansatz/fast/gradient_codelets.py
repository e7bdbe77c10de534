"""What gradients need besides :mod:`~qmcbench.ansatz.fast.codelets`: a configuration in each lane of a vector.

The gradient of a transform is the transposed one, and that of a product with weights a + i b the product with
a - i b; :func:`~qmcbench.ansatz.fast.codelets.products` serves both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qmcbench.ansatz.fast.codelets import each_frequency, store, transformed, transposed
from qmcbench.ansatz.fast.vector_code import INTEGER, Routines, VectorCode

MASK_BYTES = 2
"""Of a mask in memory (:meth:`VectorCode.store_mask`)."""


def rows_kept(routines: Routines, L: int, P: int, *, forth: bool) -> Any:
    """``rows_kept(even, odd, masks)``: as :func:`~qmcbench.ansatz.fast.codelets.rows_pooled`.

    Where the even number is at least the odd one goes to ``masks``.
    """

    def body(code: VectorCode, even: Any, odd: Any, masks: Any) -> None:
        def row(carried: list[Any]) -> list[Any]:
            *starts, masks = carried
            both = [
                transposed(code, [code.load(code.offset(start, column)) for column in range(P)]) for start in starts
            ]
            maxima = []
            for column, (a, b) in enumerate(zip(*both, strict=True)):
                wins = code.at_least(a, b)
                code.store_mask(wins, code.behind(masks, MASK_BYTES * column))
                maxima.append(code.choose(wins, a, b))
            store(code, transformed(code, maxima) if forth else maxima, _row(code, starts[0], P))
            return [*(code.offset(start, P) for start in starts), code.behind(masks, MASK_BYTES * P)]

        code.loop(L, [even, odd, masks], row)

    return routines.add("rows_kept_forth" if forth else "rows_kept", 3, body)


def rows_parted(routines: Routines, L: int, P: int, *, back: bool) -> Any:
    """``rows_parted(even, odd, masks)``: gradients of maxima, at ``even``, to the numbers that were the maxima.

    Both are transformed. ``back`` transforms what is at ``even`` back before.
    """

    def body(code: VectorCode, even: Any, odd: Any, masks: Any) -> None:
        zero = code.constant(0.0)

        def row(carried: list[Any]) -> list[Any]:
            *starts, masks = carried
            own = [code.load(place) for place in _row(code, starts[0], P)]
            own = transposed(code, own) if back else own
            wins = [code.load_mask(code.behind(masks, MASK_BYTES * column)) for column in range(P)]
            parts = (
                [code.choose(each, number, zero) for each, number in zip(wins, own, strict=True)],
                [code.choose(each, zero, number) for each, number in zip(wins, own, strict=True)],
            )
            for part, start in zip(parts, starts, strict=True):
                store(code, transformed(code, part), _row(code, start, P))
            return [*(code.offset(start, P) for start in starts), code.behind(masks, MASK_BYTES * P)]

        code.loop(L, [even, odd, masks], row)

    return routines.add("rows_parted_back" if back else "rows_parted", 3, body)


def outer(routines: Routines, L: int, P: int, outputs: int) -> Any:
    """Gradients of weights in Fourier space, summed over images.

    ``outer(x, step, next, inputs, dz, step, next, blocks, images, out, step)``: for each of so many inputs at ``x``
    and of ``blocks`` times ``outputs`` gradients at ``dz``, those of a and of b; an image is ``next`` bytes before
    the next one. From c' = a c + b s and s' = a s - b c follow c dc' + s ds' and s dc' - c ds': again three products.
    If both numbers of a frequency are real, a and b are theirs.
    """

    def body(code: VectorCode, *arguments: Any) -> None:
        x, x_step, x_next, inputs, dz, dz_step, dz_next, blocks, images, out, out_step = arguments

        def at_frequency(real: bool) -> Callable[[list[Any]], list[Any]]:
            def all_pairs(carried: list[Any]) -> list[Any]:
                x, dz, out = carried

                def one_input(carried: list[Any]) -> list[Any]:
                    x, out = carried

                    def block(carried: list[Any]) -> list[Any]:
                        own, out = carried
                        found = _summed_pairs(code, outputs, [x, own], [x_next, dz_next], images, real=real)
                        store(code, found, [code.offset(out, number) for number in range(2 * outputs)])
                        return [code.offset(own, 2 * outputs), code.offset(out, 2 * outputs)]

                    _, out = code.loop(blocks, [dz, out], block)
                    return [code.offset(x, 2), out]

                code.loop(inputs, [x, out], one_input)
                steps = zip(carried, (x_step, dz_step, out_step), strict=True)
                return [code.offset(at, 1, step) for at, step in steps]

            return all_pairs

        each_frequency(code, L, P, [x, dz, out], at_frequency)

    return routines.add(f"outer_{outputs}", 11, body)


def _summed_pairs(
    code: VectorCode, outputs: int, starts: list[Any], following: list[Any], images: Any, *, real: bool
) -> list[Any]:
    """Gradients of a and b of one input and so many outputs at one frequency, one behind the other."""
    each = 2 if real else 3

    def add(carried: list[Any]) -> list[Any]:
        x, dz, *sums = carried
        c, s = code.load(x), code.load(code.offset(x, 1))
        factors = (c, s) if real else (code.sub(c, s), c, s)
        new = []
        for output in range(outputs):
            dc, ds = code.load(code.offset(dz, 2 * output)), code.load(code.offset(dz, 2 * output + 1))
            others = (dc, ds) if real else (dc, code.sub(ds, dc), code.add(dc, ds))
            own = sums[each * output : each * (output + 1)]
            new += [code.multiply_add(*three) for three in zip(factors, others, own, strict=True)]
        return [code.builder.add(x, following[0]), code.builder.add(dz, following[1]), *new]

    zeros = [code.constant(0.0)] * (each * outputs)
    _, _, *sums = code.loop(images, [*starts, *zeros], add)
    if real:
        return sums
    # k1 = dc (c - s), k2 = c (ds - dc), k3 = s (dc + ds).
    found = []
    for output in range(outputs):
        k1, k2, k3 = sums[3 * output : 3 * output + 3]
        found += [code.add(k1, k3), code.sum([(-1, k1), (-1, k2)])]
    return found


def matrix(routines: Routines, outputs: int, adjacent: int = 1) -> Any:
    """``matrix(x, step, count, weights, y, step)``: adds the product of a matrix of numbers with vectors to ``y``.

    ``adjacent`` vectors stand side by side at each of ``count`` places of ``x``. The numbers of a vector, one for
    each output, follow one another.
    """

    def body(code: VectorCode, *arguments: Any) -> None:
        x, x_step, count, weights, y, y_step = arguments
        places = [code.offset(y, number, y_step) for number in range(outputs)]

        def add(carried: list[Any]) -> list[Any]:
            x, weights, *sums = carried
            for part in range(adjacent):
                vector = code.load(code.offset(x, part))
                sums = [
                    code.multiply_add(code.broadcast(weights, part * outputs + number), vector, total)
                    for number, total in enumerate(sums)
                ]
            passed = INTEGER(code.vectors.itemsize * adjacent * outputs)
            return [code.builder.add(x, x_step), code.builder.add(weights, passed), *sums]

        _, _, *sums = code.loop(count, [x, weights, *(code.load(place) for place in places)], add)
        store(code, sums, places)

    return routines.add(f"matrix_{outputs}_{adjacent}", 6, body)


def _row(code: VectorCode, start: Any, P: int) -> list[Any]:
    return [code.offset(start, column) for column in range(P)]
