"""Figures of the cost model in a scaling report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qmcbench.group import named
from qmcbench.report.colours import BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from qmcbench.report.document import grouped
from qmcbench.report.figure import WIDTH, Plot, log_axis, render, seconds_axis
from qmcbench.report.numbers import count
from qmcbench.report.scaling.model import PHASES as NAMES
from qmcbench.scaling.heldout import COST, EXTRAPOLATION, HALVES
from qmcbench.scaling.projection import Projection
from qmcbench.store.scaling import Band, Modelled, ModelledTime

MODEL_COLOURS = {
    "factorisation": VERMILION,
    "product": BLUE,
    "data": GREEN,
    "sr": PURPLE,
    "iteration": ORANGE,
    "monte_carlo": SKY,
}


def model_plots(projection: Projection) -> list[Plot]:
    """Table 3, Fig. 9 and Fig. 10 with bands and the paper's points."""
    return [_table3(projection), _figure9(projection), _figure10(projection)]


def held_out_plots(projection: Projection) -> list[Plot]:
    """Relative errors of all held-out predictions of printed times."""
    held = [each for each in projection.tests if each.model == COST and each.phase != "monte_carlo"]
    kinds = {HALVES: ("o", True), EXTRAPOLATION: ("s", False)}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhspan(-10, 10, color=GREY, alpha=0.15, linewidth=0)
        for phase, colour in MODEL_COLOURS.items():
            mine = [each for each in held if each.phase == phase]
            for split, (style, filled) in kinds.items():
                those = [each for each in mine if each.split == split]
                x = [each.work.processes for each in those]
                y = [100 * each.error for each in those]
                axes.plot(x, y, style, color=colour, markersize=4.5, markerfacecolor=colour if filled else "none")
            if mine:
                axes.plot([], [], "o", color=colour, markersize=4.5, label=NAMES[phase])
        axes.plot([], [], "s", color=GREY, markerfacecolor="none", markersize=4.5, label="Fig. 10, extrapolated")
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set(ylabel="predicted / printed - 1 (%)")
        log_axis(axes, [256, 1024, 4900, 40000, 490000], "processes")
        figure.legend(loc="outside upper center", ncols=3)

    caption = (
        "Every time of Table 3 and Fig. 9, predicted by a model fitted to the other half of them, and Fig. 10 "
        "(squares) by one fitted to all of both. Grey: 10 % either way."
    )
    return [Plot("held-out", "Held-out predictions", caption, render("held-out", (WIDTH, 3.6), draw))]


BANDS = {"band95": 0.15, "band68": 0.25}
"""Opacity of each."""


def _estimates(axes: Axes, rows: Sequence[Modelled], colour: str, label: str, bands: Iterable[str] = BANDS) -> None:
    """Line and bands of the model, and the paper's points."""
    x = [each.work.processes for each in rows]
    axes.plot(x, [each.value for each in rows], color=colour, linewidth=1.2, label=label)
    for level in bands:
        _fill(axes, x, [getattr(each, level) for each in rows], colour, BANDS[level])
    printed = [(each.work.processes, each.known) for each in rows if each.reference]
    axes.plot(*zip(*printed, strict=True), "o", color=colour, markersize=4.5)


def _fill(axes: Axes, x: Sequence[float], bands: Sequence[Band | None], colour: str, opacity: float) -> None:
    """A band, where all have one."""
    known = [each for each in bands if each is not None]
    if len(known) == len(bands):
        low, high = zip(*known, strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=opacity, linewidth=0)


def _machine(projection: Projection) -> str:
    banded = projection.times[0].band95 is not None
    bands = "Bands: 68 % and 95 %." if banded else "Without bands: no errors given."
    return f"Lines: the model for {projection.machine.name}. {bands} Circles: printed in the paper, for its machine."


def _of(projection: Projection, source: str) -> dict[int, list[ModelledTime]]:
    """Times of one table or figure by the parameters of their network."""
    own = (each for each in projection.times if each.source == source)
    return grouped(own, lambda each: each.work.parameters)


def _panels(
    figure: Figure,
    sizes: Mapping[int, Sequence[ModelledTime]],
    label: Callable[[ModelledTime], str],
    colours: Mapping[str, str],
    **legend: float,
) -> None:
    """A panel for each network, with a line for each label."""
    panels = figure.subplots(len(sizes), 1)
    for axes, (parameters, times) in zip(panels, sizes.items(), strict=True):
        for default, (name, rows) in zip(COLOURS, grouped(times, label).items(), strict=False):
            _estimates(axes, rows, colours.get(name, default), name)
        log_axis(axes, [each.work.processes for each in rows], "processes")
        seconds_axis(axes)
        axes.set_title(f"{count(parameters)} parameters", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", **legend)


def _figure9(projection: Projection) -> Plot:
    colours = {NAMES[phase]: colour for phase, colour in MODEL_COLOURS.items()}

    def draw(figure: Figure) -> None:
        _panels(figure, _of(projection, "Fig. 9"), lambda each: NAMES[each.phase], colours, ncols=2)

    caption = f"The paper's Fig. 9: pdpotrf and pdgemm with 16 samples a process. {_machine(projection)}"
    return Plot("figure-9", "Fig. 9: pdpotrf and pdgemm", caption, render("figure-9", (WIDTH, 4.8), draw))


def _table3(projection: Projection) -> Plot:
    def label(each: ModelledTime) -> str:
        if each.phase == "sr":
            return NAMES["sr"]
        return f"{each.work.L}x{each.work.L}" + (f", {named(each.work.rotations)}" if each.work.rotations > 1 else "")

    def draw(figure: Figure) -> None:
        _panels(figure, _of(projection, "Table 3"), label, {}, ncols=5, columnspacing=1)

    caption = (
        "The paper's Table 3: ScaLAPACK, and the whole iteration (the column MC-CNN) on each lattice with and "
        f"without C4. {_machine(projection)}"
    )
    return Plot("table-3", "Table 3: iterations and ScaLAPACK", caption, render("table-3", (WIDTH, 5.6), draw))


def _figure10(projection: Projection) -> Plot:
    ((large, times),) = _of(projection, "Fig. 10").items()
    series = grouped(times, lambda each: each.phase)
    first = {each.work.processes for each in series["product"]}
    # pdpotrf does not depend on the samples: where Fig. 9 has it already, Fig. 10's points do not list it again.
    same = [each for each in _of(projection, "Fig. 9")[large] if each.phase == "factorisation"]
    series["factorisation"] = [each for each in same if each.work.processes in first] + series["factorisation"]
    efficiencies = grouped(projection.efficiencies, lambda each: each.work.L)

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, height_ratios=[1.2, 1])
        for phase, rows in series.items():
            _estimates(top, rows, MODEL_COLOURS[phase], NAMES[phase])
        for colour, (L, found) in zip((SKY, ORANGE, PURPLE), efficiencies.items(), strict=False):
            _estimates(bottom, found, colour, f"{L}x{L}", ["band68"])
        bottom.axhline(1.0, color="black", linestyle="--", linewidth=1)
        seconds_axis(top)
        bottom.set(ylabel="efficiency, whole iteration")
        for axes in (top, bottom):
            log_axis(axes, [10000, 40000, 90000, 160000, 490000], "processes")
            axes.tick_params(axis="x", labelsize=8)
            axes.legend(ncols=3, loc="lower left" if axes is bottom else "lower right", fontsize=8)

    caption = (
        "The paper's Fig. 10: parts of SR (top), and weak scaling of the whole iteration with C4 (bottom), where the "
        "paper prints only the last point and not how it was computed (see the table; 68 % bands only). With 8 "
        f"samples a process. {_machine(projection)}"
    )
    return Plot("figure-10", "Fig. 10: weak scaling", caption, render("figure-10", (WIDTH, 5.4), draw))


def sample_space_plots(projection: Projection) -> list[Plot]:
    """How much faster SR in sample space is, against samples over parameters."""
    series = grouped(projection.gains, lambda each: f"{count(each.work.parameters)} parameters, {each.source}")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, (label, rows) in zip((BLUE, VERMILION, GREEN), series.items(), strict=False):
            x = [each.samples_per_parameter for each in rows]
            axes.plot(x, [each.value for each in rows], "o-", color=colour, markersize=4, label=label)
            _fill(axes, x, [each.band95 for each in rows], colour, 0.2)
        axes.axhline(1.0, color="black", linestyle="--", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="samples / parameters", ylabel="covariance / sample space")
        handles, labels = axes.get_legend_handles_labels()
        line = Line2D([], [], color="black", linestyle="--", linewidth=1)
        figure.legend([*handles, line], [*labels, "equally fast"], loc="outside upper center", ncols=2)

    caption = (
        f"Time of SR with the covariance (the paper's) over that in sample space by the model for "
        f"{projection.machine.name}, at each of the paper's points; above the dashed line sample space is "
        "faster. Bands: 95 %."
    )
    svg = render("sample-space", (WIDTH, 3.6), draw)
    return [Plot("sample-space", "Sample space against covariance", caption, svg)]
