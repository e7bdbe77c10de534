"""Time to accuracy in the benchmark chapter: a table, who was first, and the error against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from matplotlib.figure import Figure

from qmcbench.bench.accuracy import (
    PROGRAMS,
    SMOOTH,
    TARGETS,
    best,
    exact_energy,
    is_twin,
    reached,
    smooth,
)
from qmcbench.report.bench.words import settings, whence
from qmcbench.report.colours import COLOURS, GREY
from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import WIDTH, Plot, plain_numbers, printable, render
from qmcbench.report.numbers import DASH, count, duration, format_value_error, number
from qmcbench.store.bench import Learning
from qmcbench.store.records import Run

KINDS = {False: "its own practices", True: "the twin network"}
"""What is compared: whether it is the twin, in words."""


def tables(run: Run) -> list[Table]:
    """Seconds to each accuracy, the fastest run of each program, and what was run."""
    found = run.of(Learning)
    return [_seconds(found), _first(found), _settings(found)]


def _seconds(found: Sequence[Learning]) -> Table:
    targets = [f">{target:g}" for target in TARGETS]
    columns = [
        "program", "practice", ">parameters", ">samples a step", ">first step", ">a step", *targets,
        ">error at the end", ">steps",
    ]  # fmt: skip
    rows: list[Row] = [
        [
            each.program, each.practice, count(each.parameters), count(each.samples), duration(each.first_s),
            duration(step_seconds(each)), *(_reached(each, target) for target in TARGETS), _end(each),
            count(len(each.curve.seconds)),
        ]
        for each in found
        if each.curve.seconds
    ]  # fmt: skip
    return Table("Seconds to an accuracy", columns, rows, _caption(found))


def _caption(found: Sequence[Learning]) -> str:
    some = next((each for each in found if each.curve.seconds), None)
    if some is None:
        return ""
    fresh = sorted({each.samples for learning in found for each in learning.fresh})
    samples = f"{count(fresh[0])} to {count(fresh[-1])}" if fresh else "no"
    return (
        f"{some.L}x{some.L}, J2 = {number(some.J2)}; exact E/N = {number(exact_energy(some), 10)}. Seconds since the "
        "program was started until its energy was within so much of the exact one, relative: imports and compilation "
        f"count (first step), fresh evaluations do not. The energy is evaluated afresh, with {samples} samples at "
        "fixed parameters, whenever the energies of the last steps say that the next target may be reached, and at "
        f"the end. One program at a time, threads: {some.threads}; none began a step after "
        f"{duration(some.limit_s)}. One seed ({some.seed}), so another run may be somewhat faster or slower. A step "
        "is the median of the time between steps."
    )


def step_seconds(learning: Learning) -> float | None:
    """Median seconds between steps, fresh evaluations left out; None of fewer than two."""
    between = [later - earlier for earlier, later in pairwise(learning.curve.seconds)]
    return median(between) if between else None


def _reached(learning: Learning, target: float) -> str:
    seconds = reached(learning, target)
    return f"not in {duration(learning.seconds)}" if seconds is None else duration(seconds)


def _end(learning: Learning) -> str | Cell:
    if learning.value is None:
        return Cell(learning.not_run or DASH, "bad")
    return format_value_error(learning.value, learning.sigma)


def _first(found: Sequence[Learning]) -> Table:
    rows: list[Row] = []
    for twin, kind in KINDS.items():
        for program in PROGRAMS:
            if not any(each.program == program and is_twin(each) == twin and each.curve.seconds for each in found):
                continue
            cells: list[str | Cell] = []
            for target in TARGETS:
                fastest = best(found, program, target, twin=twin)
                seconds = None if fastest is None else reached(fastest, target)
                cells.append(DASH if fastest is None else f"{duration(seconds)} ({fastest.practice})")
            rows.append([kind, program, *cells])
    columns = ["what", "program", *(f">{target:g}" for target in TARGETS)]
    caption = (
        "Of all runs of a program with its own practices, or with the twin network, the one that was there first."
    )
    return Table("The fastest of each program", columns, rows, caption)


def _settings(found: Sequence[Learning]) -> Table:
    rows: list[Row] = []
    for each in found:
        versions = ", ".join(f"{name} {version}" for name, version in each.versions.items())
        note: str | Cell = "" if each.not_run is None else Cell(each.not_run, "bad")
        rows.append([each.program, each.practice, settings(each.configuration), versions or DASH, note])
    caption = (
        "Learning rates of NetKet and quantax are for their Pauli matrices, whose energies are 4 times those of S.S. "
        "The twin is the paper's network without symmetry, from the same weights, with plain SR and its authors' "
        "settings."
    )
    return Table("What was run", ["program", "practice", "configuration", "versions", "not run"], rows, caption)


def plots(run: Run) -> list[Plot]:
    """The relative error of each program's best run against seconds, with its own practice and as the twin."""
    shown = _shown(run.of(Learning))
    if not shown:
        return []
    caption = (
        f"Relative error of the mean energy of the last {SMOOTH} steps against seconds since the program's start, "
        "both axes logarithmic; points: fresh energies. Of each program the run that ends lowest with its own "
        f"practice (solid) and with the twin network (dashed), one seed each, without error bars; dotted: the "
        f"targets. {whence(run)}"
    )
    svg = render("accuracy", (WIDTH, 4.2), lambda figure: _draw(figure, shown))
    return [Plot("accuracy", "Relative error against seconds", caption, svg)]


def _shown(found: Sequence[Learning]) -> list[Learning]:
    """Of each program the run that ends lowest, with its own practice and as the twin."""
    shown = []
    for program in PROGRAMS:
        for twin in KINDS:
            runs = [
                (each.value, number)
                for number, each in enumerate(found)
                if each.program == program and is_twin(each) == twin and each.value is not None
            ]
            if runs:
                shown.append(found[min(runs)[1]])
    return shown


def _draw(figure: Figure, shown: Sequence[Learning]) -> None:
    axes = figure.subplots()
    for each in shown:
        colour = COLOURS[PROGRAMS.index(each.program)]
        style = "--" if is_twin(each) else "-"
        points = [(seconds, error) for seconds, error in smooth(each) if error > 0]
        axes.plot(
            [seconds for seconds, _ in points], [error for _, error in points], style, color=colour, linewidth=1.2,
            label=printable(f"{each.program}: {each.practice}"),
        )  # fmt: skip
        exact = exact_energy(each)
        if exact is None:
            continue
        fresh = [
            (point.seconds, (point.energy - exact) / abs(exact)) for point in each.fresh if point.energy is not None
        ]
        above = [(seconds, error) for seconds, error in fresh if error > 0]
        axes.plot(
            [seconds for seconds, _ in above], [error for _, error in above], "o", color=colour, markersize=4,
            markerfacecolor="white" if is_twin(each) else colour,
        )  # fmt: skip
    for target in TARGETS:
        axes.axhline(target, color=GREY, linestyle=":", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_numbers(axes, "x")
    axes.set_xlabel("seconds")
    axes.set_ylabel("(E - E_exact) / |E_exact|")
    figure.legend(loc="outside upper center", ncols=2 if len(shown) > 3 else 1)
