"""Figures of our own measurements in a scaling report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.report.colours import BLUE, COLOURS, GREEN, GREY, ORANGE, PHASES, PURPLE, SKY, VERMILION
from qmcbench.report.document import grouped
from qmcbench.report.figure import WIDTH, Plot, log_axis, printable, render, seconds_axis, stacked_bars, whiskers
from qmcbench.report.numbers import count, duration
from qmcbench.report.scaling.measured import (
    PARTS,
    ROUTINES,
    Problem,
    chosen,
    named,
    problems,
    usual,
    weak_labels,
    weak_runs,
)
from qmcbench.scaling.measurements import efficiency
from qmcbench.store.scaling import OnRanks, StrongRun, WeakRun

ROUTINE_COLOURS = {
    "total": "black",
    "pdpotrf": VERMILION,
    "pdgemm": BLUE,
    "pdsyrk": SKY,
    "pdgemr2d": GREEN,
    "Alltoall": PURPLE,
    "solves": ORANGE,
}
PART_COLOURS = PHASES | {"gather": "#c8c8c8"}


def strong_plots(runs: Iterable[StrongRun], origin: str) -> list[Plot]:
    """Seconds against ranks for each problem, and the fraction of dgemm for all of them."""
    found = problems(runs)
    plots = [_strong_seconds(i, *each, origin) for i, each in enumerate(found.items(), 1)]
    return [*plots, _fractions(found, origin)] if found else []


def _series(runs: list[StrongRun]) -> dict[str, tuple[str, list[StrongRun]]]:
    """Runs of each routine, and its phase, on the usual layout but for that routine."""
    block, product, redistribution = made = usual(runs)
    own = chosen(runs, made)
    found = {"total": ("total", own), "pdpotrf": ("factorisation", own)}
    for value in dict.fromkeys(run.layout.product for run in runs):
        found[value] = ("product", chosen(runs, (block, value, redistribution)))
    for value in dict.fromkeys(run.layout.redistribution for run in runs):
        found[ROUTINES.get(value, value)] = ("redistribution", chosen(runs, (block, product, value)))
    found["solves"] = ("solves", own)
    return {name: each for name, each in found.items() if each[1]}


def _strong_seconds(index: int, problem: Problem, runs: list[StrongRun], origin: str) -> Plot:
    series = _series(runs)
    block, product, redistribution = usual(runs)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, (phase, those) in series.items():
            ranks = _ranks(those)
            median, low, high = (np.array([of(run.all(phase)) for run in those]) for of in (np.median, min, max))
            colour = ROUTINE_COLOURS.get(name, GREY)
            bars, label = whiskers(median, low, high), printable(name)
            axes.errorbar(ranks, median, bars, fmt="-", color=colour, linewidth=1.2, capsize=3, label=label)
            _markers(axes, those, median, colour)
        total = series["total"][1]
        one = total[0].median("total") * total[0].ranks
        axes.plot(_ranks(total), one / np.array(_ranks(total)), ":", color=GREY, label="total / ranks")
        seconds_axis(axes)
        _rank_axis(axes, runs)
        figure.legend(loc="outside upper center", ncols=4)

    caption = (
        f"Phases of one SR solve ({named(problem)}) against ranks, blocks of {block}; each routine is "
        f"drawn with {product} and {ROUTINES.get(redistribution, redistribution)} for the others. Medians; bars from "
        f"the fastest to the slowest repeat. {_HOLLOW}Dotted: the total shared evenly. {origin}"
    )
    name = f"strong-{index}"
    return Plot(name, f"Strong scaling: {named(problem)}", caption, render(name, (WIDTH, 3.9), draw))


_HOLLOW = "Hollow: more ranks than cores, which is no scaling. "


def _ranks(runs: Iterable[OnRanks]) -> list[int]:
    return [run.ranks for run in runs]


def _markers(
    axes: Axes, runs: Sequence[OnRanks], values: Sequence[float] | np.ndarray, colour: str, style: str = "o"
) -> None:
    """A marker for each run, hollow where its ranks shared cores."""
    for run, value in zip(runs, values, strict=True):
        face = "white" if run.oversubscribed else colour
        axes.plot([run.ranks], [value], style, color=colour, markerfacecolor=face, markersize=5)


def _line(axes: Axes, runs: Sequence[OnRanks], values: list[float], colour: str, style: str, label: str) -> None:
    """Values against ranks, with the legend's marker filled whatever the runs' are."""
    axes.plot(_ranks(runs), values, color=colour, linewidth=1)
    _markers(axes, runs, values, colour, style)
    axes.plot([], [], style + "-", color=colour, linewidth=1, label=printable(label))


def _rank_axis(axes: Axes, runs: Iterable[OnRanks]) -> None:
    log_axis(axes, sorted(set(_ranks(runs))), "ranks", base=2)
    axes.margins(x=0.08)


def _fractions(found: dict[Problem, list[StrongRun]], origin: str) -> Plot:
    several = len({samples for _, samples, _ in found}) > 1
    spaces = len({space for *_, space in found}) > 1

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for style, ((parameters, samples, space), runs) in zip(cycle("os^Dv"), found.items(), strict=False):
            label = f"{count(parameters)}" + (f" x {count(samples)}" if several else "")
            label += f", {space}" if spaces else ""
            for name, (phase, those) in _series(runs).items():
                if phase in ("product", "factorisation"):
                    fractions = [run.fraction_of_dgemm(phase) or 0.0 for run in those]
                    _line(axes, those, fractions, ROUTINE_COLOURS.get(name, GREY), style, f"{name}, {label}")
        axes.axhline(1.0, color="black", linestyle="--", linewidth=1)
        axes.set(ylabel="fraction of dgemm")
        axes.set_ylim(bottom=0)
        _rank_axis(axes, [run for runs in found.values() for run in runs])
        figure.legend(loc="outside upper center", ncols=2)

    caption = (
        "Rate of each rank over that of the same library's plain dgemm on as many ranks at once (dashed), by "
        f"parameters. pdsyrk is counted with the half of the operations that it does. {_HOLLOW}{origin}"
    )
    return Plot("dgemm", "Fraction of the machine's dgemm", caption, render("dgemm", (WIDTH, 3.9), draw))


def weak_plots(runs: Iterable[WeakRun], origin: str) -> list[Plot]:
    """Efficiency of Monte Carlo against ranks, and the parts of an iteration."""
    ordered = weak_runs(runs)
    return [*_efficiency(ordered, origin), *([_shares(ordered, origin)] if ordered else [])]


def _efficiency(runs: list[WeakRun], origin: str) -> list[Plot]:
    known = [run for run in runs if efficiency(run, runs) is not None]
    if all(run.ranks == 1 for run in known):
        return []
    series = grouped(zip(weak_labels(known), known, strict=True), lambda pair: pair[0])
    highest = max(efficiency(run, runs) or 0.0 for run in known)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, style, (name, those) in zip(cycle(COLOURS), cycle("os^Dv"), series.items(), strict=False):
            own = [run for _, run in those]
            _line(axes, own, [efficiency(run, runs) or 0.0 for run in own], colour, style, name)
        axes.axhline(1.0, color="black", linestyle="--", linewidth=1)
        axes.set(ylabel="Monte Carlo efficiency")
        axes.set_ylim(0, max(1.1, 1.05 * highest))
        _rank_axis(axes, known)
        figure.legend(loc="outside upper center", ncols=2)

    caption = (
        "Monte Carlo time on one rank over that of the slowest of more, with as many chains on each; 1 is perfect. "
        f"{_HOLLOW}{origin}"
    )
    return [Plot("weak", "Weak scaling of Monte Carlo", caption, render("weak", (WIDTH, 3.6), draw))]


def _shares(runs: list[WeakRun], origin: str) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        totals = np.array([sum(run.median(part) for part in PARTS) for run in runs])
        parts = {
            label: (PART_COLOURS[part], np.array([run.median(part) for run in runs]) / totals)
            for part, label in PARTS.items()
        }
        stacked_bars(axes, parts, lambda share: f"{share:.0%}" if share >= 0.07 else "")
        labels = [
            printable(f"{label}, {run.ranks} rank{'s' * (run.ranks > 1)}")
            for label, run in zip(weak_labels(runs), runs, strict=True)
        ]
        axes.set_yticks(range(len(runs)), labels, fontsize=8)
        for row, run in enumerate(runs):
            axes.text(1.01, row, duration(run.median("step")), va="center", fontsize=7)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlim=(0, 1), xlabel="share of an iteration on rank 0")
        figure.legend(loc="outside upper center", ncols=5, columnspacing=1)

    caption = (
        "Where an iteration's time goes, by medians of the counted steps on rank 0; at the right the whole "
        f"iteration. Waiting: for the slower ranks. {origin}"
    )
    size = (WIDTH, 1.2 + 0.3 * len(runs))
    return Plot("iteration", "Parts of an iteration", caption, render("iteration", size, draw))
