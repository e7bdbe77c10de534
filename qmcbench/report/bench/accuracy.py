"""Time to accuracy in the benchmark chapter: a table, who was first, and the error against seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.bench.accuracy import (
    ANOTHERS,
    KINDS,
    LOST,
    NEAR,
    OWN,
    PROGRAMS,
    SIGMAS,
    SMOOTH,
    TARGETS,
    TWIN,
    best,
    broke_down,
    collapsed,
    exact_energy,
    kind,
    reached,
    smooth,
)
from qmcbench.bench.names import OURS
from qmcbench.report.bench.words import settings, whence
from qmcbench.report.claims import machine_text
from qmcbench.report.colours import COLOURS, GREY
from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import WIDTH, Plot, plain_numbers, printable, render
from qmcbench.report.numbers import DASH, count, duration, format_value_error, number
from qmcbench.store.bench import Learning
from qmcbench.store.records import Run

NOT_RUN = "not run"
APART = 1.005
"""Least ratio of the seconds of two points of a curve."""
Style = str | tuple[float, tuple[float, ...]]
LINES: dict[str, tuple[Style, ...]] = {
    OWN: ("-", "-.", (0.0, (7.0, 1.5, 1.0, 1.5, 1.0, 1.5))),
    ANOTHERS: (":",),
    TWIN: ("--",),
}
"""By the kind of a run, those of a program's first, second, ... run of it."""


def tables(run: Run) -> list[Table]:
    """Seconds to each accuracy, the fastest run of each program, and what was run."""
    found = run.of(Learning)
    return [_seconds(found), _first(found), _settings(found), _made(found)]


def _seconds(found: Sequence[Learning]) -> Table:
    targets = [f">{target:g}" for target in TARGETS]
    columns = [
        "program", "practice", ">parameters", ">samples a step", ">first step", ">a step", *targets,
        ">error at the end", ">steps", ">collapsed",
    ]  # fmt: skip
    rows: list[Row] = [
        [
            each.program, each.practice, count(each.parameters), count(each.samples), duration(each.first_s),
            duration(step_seconds(each)), *(_reached(each, target) for target in TARGETS), _end(each),
            count(len(each.curve.seconds)), _collapsed(each),
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
        f"the end; a target is reached when the error and {number(SIGMAS)} standard errors are within it, and the "
        "seconds are those of the first look that says so. In brackets: the lattice of a practice's source, and the "
        f"steps it makes if few. One program at a time, threads: {some.threads}; none began a step after "
        f"{duration(some.limit_s)}. One seed ({some.seed}), so another run may be faster or slower. A step is the "
        f"median of the time between steps. Collapsed: steps whose energy was off by more than {number(100 * LOST)} "
        f"%, after the mean of {SMOOTH} had been within {number(100 * NEAR)} %, and when. Broke down: it ended with "
        "an energy that is not finite, or not below 0."
    )


def step_seconds(learning: Learning) -> float | None:
    """Median seconds between steps, fresh evaluations left out; None of fewer than two."""
    between = [later - earlier for earlier, later in pairwise(learning.curve.seconds)]
    return median(between) if between else None


def _reached(learning: Learning, target: float) -> str:
    seconds = reached(learning, target)
    return f"not in {duration(learning.seconds)}" if seconds is None else duration(seconds)


def _collapsed(learning: Learning) -> str | Cell:
    lost = collapsed(learning)
    if not lost:
        return DASH if lost is None else "0"
    return Cell(f"{count(len(lost))}, {duration(lost[0])} to {duration(lost[-1])}", "bad")


def _end(learning: Learning) -> str | Cell:
    if broke_down(learning):
        energy = learning.fresh[-1].energy
        return Cell("broke down: " + ("not finite" if energy is None else f"E/N = {number(energy, 4)}"), "bad")
    if learning.value is None:
        last = _last(learning)
        steps = "" if last is None else f"{number(last)} by its last {SMOOTH} steps; no fresh energy: "
        return Cell(steps + (learning.not_run or DASH), "bad")
    return format_value_error(learning.value, learning.sigma)


def _first(found: Sequence[Learning]) -> Table:
    rows: list[Row] = []
    for of in KINDS:
        for program in PROGRAMS:
            known = [each for each in found if each.program == program and kind(each) == of]
            if known:
                ran = any(each.curve.seconds for each in known)
                rows.append(
                    [of, program, *(_fastest(known, program, target, of) if ran else NOT_RUN for target in TARGETS)]
                )
    columns = ["what", "program", *(f">{target:g}" for target in TARGETS)]
    caption = (
        "Of all runs of a program with its own practices, with another program's network and settings, or with the "
        f"twin network, the one that was there first. {NOT_RUN}: none of them has been run."
    )
    return Table("The fastest of each program", columns, rows, caption)


def _fastest(known: Sequence[Learning], program: str, target: float, of: str) -> str:
    fastest = best(known, program, target, of)
    return DASH if fastest is None else f"{duration(reached(fastest, target))} ({fastest.practice})"


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


def _made(found: Sequence[Learning]) -> Table:
    rows: list[Row] = [
        [
            each.program, each.practice, each.provenance.date, Cell(each.provenance.command, "code"),
            machine_text(each.provenance),
        ]
        for each in found
        if each.provenance is not None
    ]  # fmt: skip
    caption = (
        "The date is that of a run's end. The provenance of the part, below, is that of the last command, "
        "which collected these; its time is the sum of their clocks."
    )
    columns = ["program", "practice", "date", "command", "machine"]
    return Table("When and where each was run", columns, rows, caption)


def plots(run: Run) -> list[Plot]:
    """The relative error against seconds of all runs of this package, and of each other program's best."""
    shown = _shown(run.of(Learning))
    if not shown:
        return []
    caption = (
        f"Relative error of the mean energy of the last {SMOOTH} steps against seconds since the program's start, "
        "both axes logarithmic; points: fresh energies. All runs of qmcbench; of each other program the run that "
        "ends lowest with its own practice (solid), with another's network and settings (dotted) and with the twin "
        "network (dashed), one seed each, without error bars. Means at or below the exact energy, or not finite, are "
        f"left out. Dotted and grey: the targets. {_dates(shown)}{whence(run)}"
    )
    svg = render("accuracy", (WIDTH, 4.0 + 0.2 * len(shown)), lambda figure: _draw(figure, shown))
    return [Plot("accuracy", "Relative error against seconds", caption, svg)]


def _dates(shown: Sequence[Learning]) -> str:
    dates = sorted(each.provenance.date for each in shown if each.provenance is not None)
    return (
        f"Runs that ended from {dates[0]} to {dates[-1]}, collected by the command of the last date. "
        if dates
        else ""
    )


def _shown(found: Sequence[Learning]) -> list[Learning]:
    """All runs of this package; of each other program the run that ends lowest, of each kind."""
    shown = [each for each in found if each.program == OURS and each.curve.seconds]
    for program in PROGRAMS:
        for of in KINDS if program != OURS else ():
            runs = [
                (end, number)
                for number, each in enumerate(found)
                if each.program == program and kind(each) == of and (end := _last(each)) is not None
            ]
            if runs:
                shown.append(found[min(runs)[1]])
    return shown


def _last(learning: Learning) -> float | None:
    """The error at the end: of the fresh energy, or else of the last steps."""
    if learning.value is not None:
        return learning.value
    steps = smooth(learning)
    return steps[-1][1] if steps else None


def _draw(figure: Figure, shown: Sequence[Learning]) -> None:
    axes = figure.subplots()
    drawn: Counter[tuple[str, str]] = Counter()
    for each in shown:
        of = kind(each)
        _line(axes, each, LINES[of][drawn[each.program, of] % len(LINES[of])])
        drawn[each.program, of] += 1
    for target in TARGETS:
        axes.axhline(target, color=GREY, linestyle=":", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_numbers(axes, "x")
    axes.set_xlabel("seconds")
    axes.set_ylabel("(E - E_exact) / |E_exact|")
    figure.legend(loc="outside upper left")  # one below the other: the names are long


def _thinned(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of its points that a logarithmic axis of seconds tells apart, the last one included."""
    kept: list[tuple[float, float]] = []
    for point in curve:
        if not kept or point[0] >= APART * kept[-1][0]:
            kept.append(point)
    return [*kept, *(curve[-1:] if kept and kept[-1] != curve[-1] else ())]


def _line(axes: Axes, learning: Learning, style: Style) -> None:
    """The curve of one run, and its fresh energies."""
    colour = COLOURS[PROGRAMS.index(learning.program)]
    curve = _thinned([(seconds, error) for seconds, error in smooth(learning) if error > 0])
    axes.plot(
        [seconds for seconds, _ in curve], [error for _, error in curve], linestyle=style, color=colour,
        linewidth=1.2, label=printable(f"{learning.program}: {learning.practice}"),
    )  # fmt: skip
    exact = exact_energy(learning)
    if exact is None:
        return
    fresh = [(each.seconds, (each.energy - exact) / abs(exact)) for each in learning.fresh if each.energy is not None]
    above = [(seconds, error) for seconds, error in fresh if error > 0]
    axes.plot(
        [seconds for seconds, _ in above], [error for _, error in above], "o", color=colour, markersize=4,
        markerfacecolor="white" if kind(learning) == TWIN else colour,
    )  # fmt: skip
