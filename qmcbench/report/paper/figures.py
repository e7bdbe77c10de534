"""Figures of the chapter on the paper: rings are printed, discs measured, diamonds with bands projected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.bench.speedups import speedups
from qmcbench.paper.join import Joined
from qmcbench.reference import model_names, model_spec, paper
from qmcbench.report.colours import BLUE, COLOURS, GREEN, GREY, VERMILION
from qmcbench.report.document import grouped
from qmcbench.report.figure import WIDTH, Plot, log_axis, name_rows, plain_numbers, render, seconds_axis
from qmcbench.store.energies import Energy, Training
from qmcbench.store.records import Run
from qmcbench.store.scaling import StrongRun

PRINTED: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": "none", "markersize": 5}
MEASURED: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 4}
PROJECTED: dict[str, Any] = {"marker": "D", "linestyle": "--", "linewidth": 0.8, "markersize": 3, "capsize": 2}
MARKS = "Rings: printed in the paper. Discs: measured here. Diamonds: projected, with one standard error."
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

    caption = f"{MARKS} Ours on two cores, with fewer samples, and only where the matrix fits."
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
        f"{MARKS} The paper does not say how it computed its efficiencies; they do not follow from the ScaLAPACK "
        "times printed beside them, which fall."
    )
    return [Plot("figure-10", "Fig. 10: up to 490,000 processes", caption, render("figure-10", SIZE, draw))]


def figure11(runs: Sequence[Run]) -> list[Plot]:
    """Five stages of transfer learning, and our own training on the same lattices."""
    sizes = {stage["L"] for stage in paper.figure11["stages"]}
    trained = [(run, each) for run in runs if not run.quick for each in run.of(Training)]
    own = [(run.profile or run.job, each) for run, each in trained if each.L in sizes and each.J2 == 0.5]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            _stages(axes, own)
            axes.set_xlabel("step, of all stages")
        left.set(ylabel="energy per site", ylim=(-0.51, -0.24))
        right.set_ylim(-0.5035, -0.4915)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=7)

    caption = (
        "Rings: starts and ends as the paper states them; dotted lines only join them, and a stage without a stated "
        "length is drawn with 200 steps. Grey lines: our trainings on these lattices, of other networks, from step "
        "0. Right: the same, enlarged."
    )
    return [Plot("figure-11", "Fig. 11: five stages to 24x24", caption, render("figure-11", SIZE, draw))]


def _stages(axes: Axes, own: Sequence[tuple[str, Training]]) -> None:
    first = 0
    for colour, stage in zip(COLOURS, paper.figure11["stages"], strict=False):
        last = first + stage.get("steps", 200)
        label = f"paper, {stage['L']}x{stage['L']}{', C4' if stage['symmetry'] == 'C4' else ''}"
        style = PRINTED | {"linestyle": ":"}
        axes.plot([first, last], [stage["start"], stage["end"]], color=colour, label=label, **style)
        first = last
    for dashes, (name, each) in zip(("-", "--", "-."), own, strict=False):
        pairs = zip(each.curve.step, each.curve.energy, strict=True)
        known = [(step, energy) for step, energy in pairs if energy is not None]
        label = f"ours ({name}), {each.name}, {each.network}, {each.symmetry}"
        axes.plot([x for x, _ in known], [y for _, y in known], dashes, color=GREY, linewidth=0.9, label=label)


def figure12(joined: Sequence[Joined], runs: Sequence[Run]) -> list[Plot]:
    """Energy against the number of parameters."""
    claims = [each for each in joined if each.claim.place == "Fig. 12"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        lattices = grouped(claims, lambda each: int(each.claim.of["L"]))
        for colour, (L, those) in zip(COLOURS, lattices.items(), strict=False):
            at = [each.claim.of["parameters"] for each in those]
            axes.plot(at, [each.claim.value for each in those], color=colour, label=f"{L}x{L}", **PRINTED)
            for each in those:
                if each.ours:
                    axes.plot(each.claim.of["parameters"], each.ours.value, color=colour, **MEASURED)
            for energy in _near(runs, L):
                _cross(axes, energy, energy.network.parameters, colour)
        log_axis(axes, [model_spec(name).parameters for name in model_names()], "parameters")
        axes.set_ylabel("energy per site")
        axes.legend()

    caption = (
        f"J2 = 0.5. {MARKS} Crosses: the authors' 12x12 network, not retrained, which decides none of these claims."
    )
    return [Plot("figure-12", "Fig. 12: energy against the network's size", caption, render("figure-12", SIZE, draw))]


def _near(runs: Sequence[Run], L: int) -> list[Energy]:
    """Energies of the lattice that a network has which was not trained for it."""
    there = [each for run in runs if run.job == "zero-shot" for each in run.of(Energy)]
    return [each for each in there if (each.L, each.J2) == (L, 0.5) and each.value is not None]


def _cross(axes: Axes, energy: Energy, at: float, colour: str) -> None:
    axes.errorbar([at], [energy.value or 0.0], [energy.sigma or 0.0], color=colour, fmt="x", capsize=2)


def figure13(joined: Sequence[Joined], runs: Sequence[Run]) -> list[Plot]:
    """Direct training against transfer."""
    lattices = grouped(
        (each for each in joined if each.claim.place == "Fig. 13"), lambda each: int(each.claim.of["L"])
    )

    def draw(figure: Figure) -> None:
        for axes, (L, those) in zip(figure.subplots(1, len(lattices)), lattices.items(), strict=True):
            for at, each in enumerate(those):
                axes.plot(at, each.claim.value, color="black", **PRINTED)
                if each.ours:
                    axes.errorbar([at], [each.ours.value], [each.ours.sigma or 0.0], color=BLUE, **MEASURED)
            for energy in _near(runs, L):
                _cross(axes, energy, len(those), GREY)
            names = [each.claim.what.split(",")[0] for each in those] + ["12x12's, as it is"]
            axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
            axes.set_title(f"{L}x{L}", fontsize=9)
            axes.margins(x=0.15)
        figure.axes[0].set_ylabel("energy per site")

    caption = f"J2 = 0.5, 106 529 parameters. {MARKS} Crosses: the authors' 12x12 network, not retrained."
    return [Plot("figure-13", "Fig. 13: direct training against transfer", caption, render("figure-13", SIZE, draw))]
