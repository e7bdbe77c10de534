"""The limits of a machine in the benchmark chapter: its rates, and what each phase of a step reaches of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qmcbench.bench.roofline import intensity, rates, roof
from qmcbench.report.bench.words import lattice, spread, threads, whence
from qmcbench.report.colours import BLUE, GREEN, GREY, PURPLE, VERMILION
from qmcbench.report.document import Row, Table
from qmcbench.report.figure import WIDTH, Numbers, Plot, plain_numbers, printable, render, whiskers
from qmcbench.report.numbers import DASH, count, duration, number, percent
from qmcbench.store.bench import Rate, WorkTime
from qmcbench.store.records import Run

RATES = {
    "sgemm": "matrix product, float32 (sgemm)",
    "dgemm": "matrix product, float64 (dgemm)",
    "bf16 gemm": "matrix product, bfloat16",
    "copy": "copy, read and write counted",
}
ROOFS = {"bf16 gemm": ("bfloat16", PURPLE), "sgemm": ("float32", BLUE), "dgemm": ("float64", VERMILION)}
DTYPES = {"float32": BLUE, "float64": VERMILION}
LEADER = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3}
"""From a label to its point."""
LINE = 0.062
"""Height of a label, as a part of the roofline's height."""


def tables(run: Run) -> list[Table]:
    """The machine's rates, and what each phase reaches of them."""
    return [_rates(run), _phases(run)]


def _rates(run: Run) -> Table:
    rows: list[Row] = []
    for rate in run.of(Rate):
        size = f"{count(rate.size)} x {count(rate.size)}"
        if rate.operation == "copy" and rate.size is not None:
            size = f"{number(rate.size / 1e6, 4)} MB"
        shown = DASH if rate.size is None else size
        rows.append([RATES[rate.operation], f"{number(rate.value)} {rate.unit}", shown])
    caption = f"The fastest of several repeats on all cores (threads: {threads(run)})."
    return Table("Rates of this machine", ["what", ">rate", ">size"], rows, caption)


def _phases(run: Run) -> Table:
    known = rates(run)
    rows: list[Row] = []
    for work in run.of(WorkTime):
        at, over = intensity(work), roof(work, known)
        reached = work.GFs / over.GFs if over and work.GFs is not None else None
        rows.append([
            _name(work), lattice(work), count(work.batch), work.dtype,
            duration(work.value), spread(work.low, work.high), count(work.repeats),
            number(None if work.operations is None else work.operations / 1e9, 4),
            number(None if work.traffic is None else work.traffic / 1e6, 4), number(at, 4),
            number(work.GFs), number(over.GFs if over else None), percent(reached), over.bound if over else DASH,
        ])  # fmt: skip
    columns = [
        "phase", "network", ">samples", "type", ">median", ">min..max", ">repeats", ">GF", ">MB", ">flop/byte",
        ">GF/s", ">attainable GF/s", ">reached", "bound by",
    ]  # fmt: skip
    caption = (
        "GF: billions of floating-point operations of the algorithm, fused multiply-adds counted as two; of psi its "
        "products in Fourier space, without the transforms. MB: compulsory traffic, every input read once and every "
        "output written once; "
        "intermediate results are not counted. Attainable: the smaller of the matrix product's rate and of the "
        "copy's times flop/byte. Times are medians."
    )
    return Table("Phases", columns, rows, caption)


def _name(work: WorkTime) -> str:
    """A phase, with its solver if it is a solve."""
    return work.work.replace("_", " ") + (f" ({work.form})" if work.form else "")


def plots(run: Run) -> list[Plot]:
    """The roofline: what each phase reaches, below what the machine's matrix product and memory allow."""
    known = rates(run)
    phases = [work for work in run.of(WorkTime) if intensity(work) is not None]
    if not phases or "copy" not in known or not known.keys() & ROOFS.keys():
        return []
    common = {lattice(work) for work in phases}
    where = f"{', '.join(common)}. " if len(common) == 1 else ""
    caption = (
        f"{where}Rate of each phase against its operations per byte of compulsory traffic, both axes logarithmic; "
        "blue points are float32 and red ones float64. Flat lines: the matrix product's rates; the slope: what the "
        "copy's rate allows. In brackets: the part of what is attainable there. Medians; bars: fastest and slowest "
        f"repeat. {whence(run)}"
    )
    size = (WIDTH, max(3.6, 0.9 + 0.2 * len(phases)))
    drawn = render("roofline", size, lambda figure: _roofline(figure, phases, known))
    return [Plot("roofline", "Roofline", caption, drawn)]


def _roofline(figure: Figure, phases: Sequence[WorkTime], known: dict[str, Rate]) -> None:
    axes = figure.subplots()
    copy = known["copy"].value
    tops = {name: known[name].value for name in ROOFS if name in known}
    x = np.array([intensity(work) for work in phases], dtype=np.float64)
    y = np.array([work.GFs for work in phases], dtype=np.float64)
    knees = np.array(list(tops.values())) / copy
    left, right = min(x.min(), knees.min()) / 3, max(x.max(), knees.max()) * 3
    bottom, top = min(y.min(), left * copy) / 2, 2 * max(tops.values())
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    line = np.geomspace(left, right, 200)
    for name, rate in tops.items():
        title, colour = ROOFS[name]
        text = f"{title}, {number(rate)} GF/s"
        axes.plot(line, np.minimum(rate, line * copy), color=colour, linewidth=1.2, label=text)
    slope = line[line * copy <= max(tops.values())]
    axes.plot(slope, slope * copy, color="black", linewidth=1.2, label=f"copy, {number(copy)} GB/s")
    heights = spaced(np.log(y / bottom) / np.log(top / bottom), LINE)
    for work, one, other, text, height in zip(phases, x, y, _labels(phases), heights, strict=True):
        over = roof(work, known)
        reached = f" ({other / over.GFs:.0%})" if over else ""
        _point(axes, work, (one, other), printable(text + reached), height)
    axes.set(xlabel="flop / byte of compulsory traffic", ylabel="GF/s")
    plain_numbers(axes, "x")
    plain_numbers(axes)
    figure.legend(loc="outside upper center", ncols=2)


def _point(axes: Axes, work: WorkTime, at: tuple[float, float], text: str, height: float) -> None:
    """One phase with its bar, and its label at the right."""
    x, y = at
    fastest, slowest = (y * work.value / (each or work.value) for each in (work.low, work.high))
    colour = DTYPES.get(work.dtype, GREEN)
    axes.errorbar(x, y, whiskers([y], [slowest], [fastest]), fmt="o", color=colour, markersize=4.5)
    axes.annotate(
        text, (x, y), (1.03, height), textcoords="axes fraction", va="center", fontsize=7, annotation_clip=False,
        arrowprops=LEADER,
    )  # fmt: skip


def _labels(phases: Sequence[WorkTime]) -> list[str]:
    """Phases with what differs between them, and nothing else."""
    details = [[_name(work)] for work in phases]
    for texts in ([lattice(work) for work in phases], [f"{count(work.batch)} samples" for work in phases]):
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
