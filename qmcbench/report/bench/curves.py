"""Figures of a benchmark report with fitted or computed lines: the roofline, and the growth of the cost."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qmcbench.report.bench.tables import lattice, phase_name, settings
from qmcbench.report.figure import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    WIDTH,
    Numbers,
    Plot,
    Result,
    log_axis,
    plain_numbers,
    render,
    seconds_axis,
    whiskers,
)
from qmcbench.report.numbers import DASH, count, number

ROOFS = {"bf16_GFs": ("bfloat16", PURPLE), "sgemm_GFs": ("float32", BLUE), "dgemm_GFs": ("float64", VERMILION)}
DTYPES = {"float32": BLUE, "float64": VERMILION}
LEADER = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3}
"""From a label to its point."""
LINE = 0.062
"""Height of a label, as a part of the roofline's height."""


def limits(results: Result, origin: str) -> list[Plot]:
    """The roofline: what each phase reaches, below what the machine's matrix product and memory allow."""
    phases, rates = results["phases"], results["rates"]
    if not phases:
        return []
    labels = _phase_labels(phases)
    roofs = {name: each for name, each in ROOFS.items() if rates[name] is not None}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x, y = (np.array([row[key] for row in phases], dtype=np.float64) for key in ("intensity", "GFs"))
        knees = np.array([rates[name] / rates["copy_GBs"] for name in roofs])
        left, right = min(x.min(), knees.min()) / 3, max(x.max(), knees.max()) * 3
        bottom, top = min(y.min(), left * rates["copy_GBs"]) / 2, 2 * max(rates[name] for name in roofs)
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
        line = np.geomspace(left, right, 200)
        for name, (title, colour) in roofs.items():
            roof = np.minimum(rates[name], line * rates["copy_GBs"])
            text = f"{title}, {number(rates[name])} GF/s"
            axes.plot(line, roof, color=colour, linewidth=1.2, label=text)
        slope = line[line * rates["copy_GBs"] <= max(rates[name] for name in roofs)]
        text = f"copy, {number(rates['copy_GBs'])} GB/s"
        axes.plot(slope, slope * rates["copy_GBs"], color="black", linewidth=1.2, label=text)
        heights = spaced(np.log(y / bottom) / np.log(top / bottom), LINE)
        for row, one, other, label, height in zip(phases, x, y, labels, heights, strict=True):
            fastest, slowest = (other * row["median_s"] / row[key] for key in ("min_s", "max_s"))
            colour = DTYPES.get(row["dtype"], GREEN)
            axes.errorbar(one, other, whiskers([other], [slowest], [fastest]), fmt="o", color=colour, markersize=4.5)
            axes.annotate(
                f"{label} ({row['fraction']:.0%})", (one, other), (1.03, height), textcoords="axes fraction",
                va="center", fontsize=7, annotation_clip=False,
                arrowprops=LEADER,
            )  # fmt: skip
        axes.set(xlabel="flop / byte of compulsory traffic", ylabel="GF/s")
        plain_numbers(axes, "x")
        plain_numbers(axes)
        figure.legend(loc="outside upper center", ncols=2)

    common = {lattice(row) for row in phases}
    where = f"{', '.join(common)}. " if len(common) == 1 else ""
    caption = (
        f"{where}Rate of each phase against its operations per byte of compulsory traffic, both axes logarithmic; "
        "blue points are float32 and red ones float64. Flat lines: the matrix product's rates; the slope: what the "
        "copy's rate allows. In brackets: the part of what is attainable there. Medians; bars: fastest and slowest "
        f"repeat. {origin}"
    )
    size = (WIDTH, max(3.6, 0.9 + 0.2 * len(phases)))
    return [Plot("roofline", "Roofline", caption, render("roofline", size, draw))]


def _phase_labels(phases: list[Result]) -> list[str]:
    """Phases with what differs between them, and nothing else."""
    details: list[list[str]] = [[phase_name(row)] for row in phases]
    for one in (lattice, lambda row: f"{count(row['samples'])} samples"):
        texts = [one(row) for row in phases]
        if len(set(texts)) > 1:
            for known, text in zip(details, texts, strict=True):
                known.append(text)
    return [", ".join(each) for each in details]


def spaced(heights: Numbers, least: float) -> NDArray[np.float64]:
    """Heights between 0 and 1 moved as little as it takes to lie at least so far apart, in their order."""
    order = np.argsort(heights, kind="stable")
    found = np.array(heights, dtype=np.float64)
    previous = -np.inf
    for index in order:
        found[index] = previous = max(found[index], previous + least)
    ceiling = max(1.0, previous - 1.0)
    for index in order[::-1]:
        found[index] = ceiling = min(found[index], ceiling)
        ceiling -= least
    return found


def growth(results: Result, origin: str) -> list[Plot]:
    """Seconds or bytes against each variable, with the fitted and the expected slopes."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for curve in results["curves"]:
        if curve["points"]:
            groups.setdefault((curve["variable"], curve["quantity"]), []).append(curve)
    return [_growth(*key, curves, origin) for key, curves in groups.items()]


def _growth(variable: str, quantity: str, curves: list[Result], origin: str) -> Plot:
    labels = _labels(curves)
    one, unit = (1.0, "seconds") if quantity == "seconds" else (1e6, "MB")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, style, curve, label in zip(cycle(COLOURS), cycle("os^Dv"), curves, labels, strict=False):
            points = sorted(curve["points"], key=lambda point: float(point["x"]))
            x = np.array([point["x"] for point in points], dtype=np.float64)
            median, low, high = (np.array([point[key] for point in points]) / one for key in ("median", "min", "max"))
            bars = whiskers(median, low, high)
            text = f"{label}: {_exponent(curve)} ({number(curve['expected'])})"
            axes.errorbar(x, median, bars, fmt=style, color=colour, markersize=4, capsize=2, label=text)
            fitted = x >= curve["fitted_from"]
            if not fitted.any():
                continue
            # Both lines go through the middle of the points that were fitted to.
            middle, height = np.log(x[fitted]).mean(), np.log(median[fitted]).mean()
            for slope, line in ((curve["exponent"], "-"), (curve["expected"], "--")):
                if slope is not None:
                    ends = x[fitted][[0, -1]]
                    axes.plot(ends, np.exp(height + slope * (np.log(ends) - middle)), line, color=colour, linewidth=1)
        seconds_axis(axes)
        axes.set_ylabel(unit)
        sizes = sorted({round(point["x"]) for curve in curves for point in curve["points"]})
        log_axis(axes, _apart(sizes), variable)
        axes.margins(x=0.08)
        figure.legend(loc="outside upper center", ncols=2 if max(map(len, labels)) < 30 else 1, columnspacing=1)

    repeats = sorted({point["repeats"] for curve in curves for point in curve["points"]})
    caption = (
        f"{quantity.capitalize()} against {variable}, both axes logarithmic; in the legend the fitted exponent and, "
        f"in brackets, the expected one. Medians (repeats: {' or '.join(map(str, repeats))}); bars: least and "
        "largest. Solid: the fitted power of the points from the first fitted on; dashed: the expected power through "
        f"the same middle. {origin}"
    )
    name = f"growth-{variable}-{quantity}"
    size = (WIDTH, 2.9 + 0.11 * len(curves))
    return Plot(name, f"Growth of {quantity} with {variable}", caption, render(name, size, draw))


def _labels(curves: list[Result]) -> list[str]:
    """What each curve is of, with what is fixed where two are of the same."""
    words = [curve["what"].replace("_", " ") for curve in curves]
    return [
        word + (f", {settings(curve['fixed'])}" if words.count(word) > 1 else "")
        for word, curve in zip(words, curves, strict=True)
    ]


def _exponent(curve: Result) -> str:
    return DASH if curve["exponent"] is None else f"{curve['exponent']:.2f}"


def _apart(sizes: list[int]) -> list[int]:
    """Ticks whose labels do not touch."""
    least = (sizes[-1] / sizes[0]) ** 0.12
    kept = [sizes[0]]
    for size in sizes[1:]:
        if size >= least * kept[-1]:
            kept.append(size)
    return kept
