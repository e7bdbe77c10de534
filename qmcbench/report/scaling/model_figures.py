"""Figures of the cost model in a scaling report."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qmcbench.report.figure import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    Plot,
    Result,
    log_axis,
    render,
    seconds_axis,
)
from qmcbench.report.numbers import count
from qmcbench.report.scaling.model import EXTRAPOLATION, HALVES
from qmcbench.report.scaling.model import PHASES as NAMES

MODEL_COLOURS = {
    "factorisation": VERMILION,
    "product": BLUE,
    "data": GREEN,
    "sr": PURPLE,
    "iteration": ORANGE,
    "monte_carlo": SKY,
}


def model_plots(projection: Result) -> list[Plot]:
    """Table 3, Fig. 9 and Fig. 10 with bands and the paper's points."""
    return [_table3(projection), _figure9(projection), _figure10(projection)]


def held_out_plots(projection: Result) -> list[Plot]:
    """Relative errors of all held-out predictions of printed times."""
    held = [
        each for each in projection["predictions"] if each["held_out"] and each["point"]["phase"] != "monte_carlo"
    ]
    kinds = {HALVES: ("o", True), EXTRAPOLATION: ("s", False)}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhspan(-10, 10, color=GREY, alpha=0.15, linewidth=0)
        for phase, colour in MODEL_COLOURS.items():
            mine = [each for each in held if each["point"]["phase"] == phase]
            for split, (style, filled) in kinds.items():
                those = [each for each in mine if each["split"] == split]
                x = [each["point"]["work"]["processes"] for each in those]
                y = [100 * each["error"] for each in those]
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


def _estimates(
    axes: Axes, rows: list[Result], key: str, colour: str, label: str, paper: str, bands: Iterable[str] = BANDS
) -> None:
    """Line and bands of the model, and the paper's points."""
    x = [each["work"]["processes"] for each in rows]
    axes.plot(x, [each[key]["value"] for each in rows], color=colour, linewidth=1.2, label=label)
    for level in bands:
        if all(each[key][level] for each in rows):
            low, high = zip(*(each[key][level] for each in rows), strict=True)
            axes.fill_between(x, low, high, color=colour, alpha=BANDS[level], linewidth=0)
    printed = [(each["work"]["processes"], each[paper]) for each in rows if each[paper] is not None]
    axes.plot(*zip(*printed, strict=True), "o", color=colour, markersize=4.5)


def _machine(projection: Result) -> str:
    machine = projection["machine"]
    bands = "Bands: 68 % and 95 %." if machine["errors"] or machine["spread"] else "Without bands: no errors given."
    return f"Lines: the model for {machine['name']}. {bands} Circles: printed in the paper, for its machine."


def _rows(
    projection: Result, source: str, parameters: int | None, key: Callable[[Result], object]
) -> dict[object, list[Result]]:
    """Times of one source in series."""
    found: dict[object, list[Result]] = {}
    for each in projection["times"]:
        if each["source"] == source and parameters in (None, each["work"]["parameters"]):
            found.setdefault(key(each), []).append(each)
    return found


def _figure9(projection: Result) -> Plot:
    sizes = dict.fromkeys(each["work"]["parameters"] for each in projection["times"] if each["source"] == "figure9")

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(sizes), 1)
        for axes, parameters in zip(panels, sizes, strict=True):
            series = _rows(projection, "figure9", parameters, lambda each: each["phase"])
            for phase, rows in series.items():
                _estimates(axes, rows, "seconds", MODEL_COLOURS[str(phase)], NAMES[str(phase)], "paper_s")
            _process_axis(axes, rows)
            seconds_axis(axes)
            axes.set_title(f"{count(parameters)} parameters", fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)

    caption = f"The paper's Fig. 9: pdpotrf and pdgemm with 16 samples a process. {_machine(projection)}"
    return Plot("figure-9", "Fig. 9: pdpotrf and pdgemm", caption, render("figure-9", (WIDTH, 4.8), draw))


def _process_axis(axes: Axes, rows: list[Result]) -> None:
    log_axis(axes, [each["work"]["processes"] for each in rows], "processes")


def _table3(projection: Result) -> Plot:
    sizes = dict.fromkeys(each["work"]["parameters"] for each in projection["times"] if each["source"] == "table3")

    def label(each: Result) -> str:
        work = each["work"]
        if each["phase"] == "sr":
            return "ScaLAPACK"
        return f"{work['L']}x{work['L']}" + (", C4" if work["rotations"] > 1 else "")

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(sizes), 1)
        for axes, parameters in zip(panels, sizes, strict=True):
            series = _rows(projection, "table3", parameters, label)
            for colour, (name, rows) in zip(COLOURS, series.items(), strict=False):
                _estimates(axes, rows, "seconds", colour, str(name), "paper_s")
            _process_axis(axes, rows)
            seconds_axis(axes)
            axes.set_title(f"{count(parameters)} parameters", fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, columnspacing=1)

    caption = (
        "The paper's Table 3: ScaLAPACK, and the whole iteration (the column MC-CNN) on each lattice with and "
        f"without C4. {_machine(projection)}"
    )
    return Plot("table-3", "Table 3: iterations and ScaLAPACK", caption, render("table-3", (WIDTH, 5.6), draw))


def _figure10(projection: Result) -> Plot:
    series = _rows(projection, "figure10", None, lambda each: each["phase"])
    first = {each["work"]["processes"] for each in series["product"]}
    same = [each for each in projection["times"] if each["source"] == "figure9" and each["phase"] == "factorisation"]
    large = series["factorisation"][0]["work"]["parameters"]
    # pdpotrf does not depend on the samples: where Fig. 9 has it already, Fig. 10's points do not list it again.
    shared = [w for w in same if w["work"]["parameters"] == large and w["work"]["processes"] in first]
    series["factorisation"] = shared + series["factorisation"]
    efficiencies: dict[int, list[Result]] = {}
    for each in projection["efficiencies"]:
        efficiencies.setdefault(each["work"]["L"], []).append(each)

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, height_ratios=[1.2, 1])
        for phase, rows in series.items():
            _estimates(top, rows, "seconds", MODEL_COLOURS[str(phase)], NAMES[str(phase)], "paper_s")
        for colour, (L, rows) in zip((SKY, ORANGE, PURPLE), efficiencies.items(), strict=False):
            _estimates(bottom, rows, "efficiency", colour, f"{L}x{L}", "paper", ["band68"])
        bottom.axhline(1.0, color="black", linestyle="--", linewidth=1)
        seconds_axis(top)
        bottom.set(ylabel="efficiency, whole iteration")
        for axes in (top, bottom):
            log_axis(axes, [10000, 40000, 90000, 160000, 250000, 490000], "processes")
            axes.tick_params(axis="x", labelsize=8)
            axes.legend(ncols=3, loc="lower left" if axes is bottom else "lower right", fontsize=8)

    caption = (
        "The paper's Fig. 10: parts of SR (top), and weak scaling of the whole iteration with C4 (bottom), where the "
        "paper prints only the last point and not how it was computed (see the table; 68 % bands only). With 8 "
        f"samples a process. {_machine(projection)}"
    )
    return Plot("figure-10", "Fig. 10: weak scaling", caption, render("figure-10", (WIDTH, 5.4), draw))


def sample_space_plots(projection: Result) -> list[Plot]:
    """How much faster SR in sample space is, against samples over parameters."""
    series: dict[str, list[Result]] = {}
    for each in projection["comparisons"]:
        source = {"table3": "Table 3", "figure10": "Fig. 10"}[each["source"]]
        series.setdefault(f"{count(each['work']['parameters'])} parameters, {source}", []).append(each)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, (label, rows) in zip((BLUE, VERMILION, GREEN), series.items(), strict=False):
            x = [each["work"]["samples"] / each["work"]["parameters"] for each in rows]
            axes.plot(x, [each["speedup"]["value"] for each in rows], "o-", color=colour, markersize=4, label=label)
            if all(each["speedup"]["band95"] for each in rows):
                low, high = zip(*(each["speedup"]["band95"] for each in rows), strict=True)
                axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.axhline(1.0, color="black", linestyle="--", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="samples / parameters", ylabel="covariance / sample space")
        handles, labels = axes.get_legend_handles_labels()
        line = Line2D([], [], color="black", linestyle="--", linewidth=1)
        figure.legend([*handles, line], [*labels, "equally fast"], loc="outside upper center", ncols=2)

    caption = (
        f"Time of SR with the covariance (the paper's) over that in sample space by the model for "
        f"{projection['machine']['name']}, at each of the paper's points; above the dashed line sample space is "
        "faster. Bands: 95 %."
    )
    svg = render("sample-space", (WIDTH, 3.6), draw)
    return [Plot("sample-space", "Sample space against covariance", caption, svg)]
