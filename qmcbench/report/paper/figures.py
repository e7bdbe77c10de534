"""Figures of speed: Figs. 7 to 10. Rings are printed, discs measured, diamonds with bands projected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.bench.speedups import speedups
from qmcbench.paper.join import Joined
from qmcbench.reference import paper
from qmcbench.report.colours import BLUE, COLOURS, GREEN, VERMILION
from qmcbench.report.document import grouped
from qmcbench.report.figure import WIDTH, Plot, log_axis, name_rows, plain_numbers, render, seconds_axis
from qmcbench.store.records import Run
from qmcbench.store.scaling import StrongRun

PRINTED: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": "none", "markersize": 5}
MEASURED: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 4}
PROJECTED: dict[str, Any] = {"marker": "D", "linestyle": "--", "linewidth": 0.8, "markersize": 3, "capsize": 2}
MARKS = "Rings: printed in the paper. Discs: measured here."
DIAMONDS = "Diamonds: projected, with one standard error."
PARTS = {"factorisation": ("pdpotrf", VERMILION), "product": ("pdgemm", BLUE), "data": ("data operations", GREEN)}
SIZE = (WIDTH, 3.3)


def figure7(joined: Sequence[Joined]) -> list[Plot]:
    """Shares of a forward pass."""
    shares = [each for each in joined if each.claim.place == "Fig. 7"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, each in enumerate(shares):
            axes.barh(row - 0.18, each.claim.value, 0.34, facecolor="white", edgecolor="black", hatch="///")
            if each.ours:
                axes.barh(row + 0.18, each.ours.value, 0.34, color=BLUE)
        name_rows(axes, [str(each.claim.of["operation"]) for each in shares])
        axes.set(xlabel="share of a forward pass, %", xlim=(0, 100))

    caption = (
        "Hatched: the paper's, on its management core. Blue: measured on one of our cores, of PyTorch's operations; "
        "Other holds padding and the product. 10x10, 106 529 parameters."
    )
    return [Plot("figure-7", "Fig. 7: hotspots of a forward pass", caption, render("figure-7", (WIDTH, 2.8), draw))]


def figure8(runs: Sequence[Run]) -> list[Plot]:
    """Speedup of the convolution against the batch."""
    found = [
        each
        for run in runs
        if run.job == "bench speedup" and not run.quick
        for each in speedups(run)
        if each.every.work == "conv2d" and each.every.network in ("medium", "large")
    ]
    saturated, batches = paper.figure8["saturated_speedup"], paper.figure8["batch_sizes"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        systems = grouped(found, lambda each: (each.every.network, each.every.L))
        sizes = sorted({L for _, L in systems})
        for (network, L), those in systems.items():
            style = MEASURED | {"linestyle": "-" if network == "large" else "--", "linewidth": 0.8}
            at, times = [each.every.batch for each in those], [each.of_all for each in those]
            colour = COLOURS[sizes.index(L) % len(COLOURS)]
            axes.plot(at, times, color=colour, label=f"{network}, {L}x{L}", **style)
        for name, value in saturated.items():
            label = "paper, large, saturated" if name == "large" else None
            axes.plot(batches[-1], value, color="black", label=label, **PRINTED)
        log_axis(axes, [8, 16, 32, 64, 128, 256], "batch", base=2)
        axes.set(yscale="log", ylabel="times as fast as a scalar core")
        plain_numbers(axes)
        figure.legend(loc="outside upper center", ncols=3)

    caption = (
        f"The convolution alone. {MARKS} The paper's curves cannot be read from its text; their saturated values "
        "(300 for 10x10; 400 for 16x16 and 24x24, which lie on one another) stand at its largest batch."
    )
    return [Plot("figure-8", "Fig. 8: speedup of the convolution", caption, render("figure-8", SIZE, draw))]


def figure9(joined: Sequence[Joined], runs: Sequence[Run]) -> list[Plot]:
    """pdpotrf and pdgemm against the processes, of both networks."""
    strong = [
        each
        for run in runs
        for each in run.of(StrongRun)
        if each.times and each.space == "parameters" and not each.oversubscribed
    ]

    def draw(figure: Figure) -> None:
        for axes, name in zip(figure.subplots(1, 2, sharey=True), ("medium", "large"), strict=True):
            size = paper.figure9[name]["parameters"]
            claims = [each for each in joined if each.claim.place == "Fig. 9" and each.claim.of["parameters"] == size]
            for phase in ("factorisation", "product"):
                _times(axes, [each for each in claims if each.claim.of["phase"] == phase], phase)
                own = [each for each in strong if each.parameters == size and each.layout.product == "pdgemm"]
                axes.plot(
                    [each.ranks for each in own],
                    [each.median(phase) for each in own],
                    color=PARTS[phase][1],
                    **MEASURED,
                )
            axes.set_title(f"{size:,} parameters", fontsize=9)
            log_axis(axes, [1, 100, 10000] if name == "medium" else [1024, 4900, 40000], "processes")
            seconds_axis(axes)
        axes.set_ylabel("")
        _legend(figure, ("factorisation", "product"))

    caption = f"{MARKS} {DIAMONDS} Ours on two cores, with fewer samples, and only where the matrix fits."
    return [Plot("figure-9", "Fig. 9: ScaLAPACK against the processes", caption, render("figure-9", SIZE, draw))]


def _times(axes: Axes, claims: Sequence[Joined], phase: str) -> None:
    """Printed and projected times of one phase."""
    colour = PARTS[phase][1]
    axes.plot(
        [each.claim.of["processes"] for each in claims],
        [each.claim.value for each in claims],
        color=colour,
        **PRINTED,
    )
    found = [(each.claim.of["processes"], each.projection) for each in claims if each.projection]
    if found:
        errors = [each.sigma or 0.0 for _, each in found]
        axes.errorbar([x for x, _ in found], [each.value for _, each in found], errors, color=colour, **PROJECTED)


def _legend(figure: Figure, phases: Sequence[str]) -> None:
    lines = [figure.axes[0].plot([], [], color=PARTS[each][1], label=PARTS[each][0])[0] for each in phases]
    figure.legend(handles=lines, loc="outside upper center", ncols=3)


def figure10(joined: Sequence[Joined]) -> list[Plot]:
    """Parts of ScaLAPACK on up to 490 000 processes, and the efficiency there."""
    claims = [each for each in joined if each.claim.place == "Fig. 10"]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[2, 1])
        for phase in PARTS:
            _times(left, [each for each in claims if each.claim.of.get("phase") == phase], phase)
        log_axis(left, [10000, 40000, 160000, 490000], "processes")
        seconds_axis(left)
        ends = [each for each in claims if each.claim.of.get("name") == "efficiency"]
        for each in ends:
            right.plot(each.claim.of["L"], each.claim.value, color="black", **PRINTED)
            if each.projection:
                error = each.projection.sigma or 0.0
                right.errorbar([each.claim.of["L"]], [each.projection.value], [error], color="black", **PROJECTED)
        right.set(xlabel="L", ylabel="efficiency on 490,000 processes", xticks=[each.claim.of["L"] for each in ends])
        _legend(figure, tuple(PARTS))

    caption = (
        f"{MARKS} {DIAMONDS} The paper does not say how it computed its efficiencies; they do not follow from the "
        "ScaLAPACK times printed beside them, which fall."
    )
    return [Plot("figure-10", "Fig. 10: up to 490,000 processes", caption, render("figure-10", SIZE, draw))]
