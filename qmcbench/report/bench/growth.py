"""Growth of the cost in the benchmark chapter: fitted and expected exponents, and the curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.report.bench.words import settings, threads, whence
from qmcbench.report.colours import COLOURS
from qmcbench.report.document import Row, Table, grouped
from qmcbench.report.figure import WIDTH, Plot, log_axis, printable, render, seconds_axis, whiskers
from qmcbench.report.numbers import duration, fixed, number
from qmcbench.store.bench import Growth
from qmcbench.store.records import Run


def tables(run: Run) -> list[Table]:
    """Fitted and expected exponents."""
    rows: list[Row] = [
        [
            curve.quantity, curve.work.replace("_", " "), curve.variable, settings(curve.fixed),
            fixed(curve.value, 2) + ("" if curve.sigma is None else f" ± {fixed(curve.sigma, 2)}"),
            number(curve.expected), number(curve.fitted_from), _ends(curve), curve.why,
        ]
        for curve in run.of(Growth)
    ]  # fmt: skip
    columns = [
        "of", "what", "against", "fixed", ">exponent", ">expected", ">fitted from", "points", "why",
    ]  # fmt: skip
    caption = (
        "Slopes of straight lines through the logarithms of the medians, from the size fitted from on, ± their "
        f"standard error. Points: the smallest and the largest. Threads: {threads(run)}."
    )
    return [Table("Exponents", columns, rows, caption)]


def _ends(curve: Growth) -> str:
    """The first and the last point."""
    shown = [
        f"{duration(point.median) if curve.quantity == 'seconds' else f'{number(point.median / 1e6)} MB'} at "
        f"{number(point.x, 6)}"
        for point in curve.points
    ]
    return " to ".join([*shown[:1], *shown[1:][-1:]])


def plots(run: Run) -> list[Plot]:
    """Seconds or bytes against each variable, with the fitted and the expected slopes."""
    drawn = (curve for curve in run.of(Growth) if curve.points)
    groups = grouped(drawn, lambda curve: (curve.variable, curve.quantity))
    return [_plot(run, curves) for curves in groups.values()]


def _plot(run: Run, curves: Sequence[Growth]) -> Plot:
    variable, quantity = curves[0].variable, curves[0].quantity
    repeats = sorted({point.repeats for curve in curves for point in curve.points})
    caption = (
        f"{quantity.capitalize()} against {variable}, both axes logarithmic; in the legend the fitted exponent and, "
        f"in brackets, the expected one. Medians (repeats: {' or '.join(map(str, repeats))}); bars: least and "
        "largest. Solid: the fitted power of the points from the first fitted on; dashed: the expected power through "
        f"the same middle. {whence(run)}"
    )
    # Both are of closed lists, which reading demands.
    name = f"growth-{variable}-{quantity}".lower()
    drawn = render(name, (WIDTH, 2.9 + 0.11 * len(curves)), lambda figure: _draw(figure, curves))
    return Plot(name, f"Growth of {quantity} with {variable}", caption, drawn)


def _draw(figure: Figure, curves: Sequence[Growth]) -> None:
    axes = figure.subplots()
    seconds = curves[0].quantity == "seconds"
    labels = _labels(curves)
    for colour, style, curve, text in zip(cycle(COLOURS), cycle("os^Dv"), curves, labels, strict=False):
        _curve(axes, curve, 1.0 if seconds else 1e6, (colour, style, text))
    seconds_axis(axes)
    axes.set_ylabel("seconds" if seconds else "MB")
    sizes = sorted({point.x for curve in curves for point in curve.points})
    log_axis(axes, _apart(sizes), curves[0].variable)
    axes.margins(x=0.08)
    figure.legend(loc="outside upper center", ncols=2 if max(map(len, labels)) < 45 else 1, columnspacing=1)


def _curve(axes: Axes, curve: Growth, unit: float, look: tuple[str, str, str]) -> None:
    """The points with their ranges, and both lines through the middle of those that were fitted to."""
    colour, style, text = look
    points = sorted(curve.points, key=lambda point: point.x)
    x = np.array([point.x for point in points], dtype=np.float64)
    median = np.array([point.median for point in points]) / unit
    bars = whiskers(median, [point.low / unit for point in points], [point.high / unit for point in points])
    axes.errorbar(x, median, bars, fmt=style, color=colour, markersize=4, capsize=2, label=text)
    fitted = x >= curve.fitted_from
    if not fitted.any():
        return
    middle, height = np.log(x[fitted]).mean(), np.log(median[fitted]).mean()
    ends = x[fitted][[0, -1]]
    for slope, line in ((curve.value, "-"), (curve.expected, "--")):
        axes.plot(ends, np.exp(height + slope * (np.log(ends) - middle)), line, color=colour, linewidth=1)


def _labels(curves: Sequence[Growth]) -> list[str]:
    """What each curve is of, with what is fixed where two are of the same, and its exponents."""
    words = [curve.work.replace("_", " ") for curve in curves]
    return [
        printable(
            word
            + (f", {settings(curve.fixed)}" if words.count(word) > 1 else "")
            + f": {curve.value:.2f} ({number(curve.expected)})"
        )
        for word, curve in zip(words, curves, strict=True)
    ]


def _apart(sizes: Sequence[int]) -> list[int]:
    """Ticks whose labels do not touch."""
    least = (sizes[-1] / sizes[0]) ** 0.12
    kept = [sizes[0]]
    for size in sizes[1:]:
        if size >= least * kept[-1]:
            kept.append(size)
    return kept
