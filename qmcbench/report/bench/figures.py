"""Figures of a benchmark report: hot path, hotspots and the speedup over a scalar core."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from qmcbench.bench.operations import FORWARD, OPERATIONS
from qmcbench.report.bench.tables import lattice, paper_shares, systems
from qmcbench.report.figure import (
    BLUE,
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
    name_rows,
    plain_numbers,
    render,
    whiskers,
)
from qmcbench.report.numbers import count, number

FORM_COLOURS = {"scalar": GREY, "plain": ORANGE, "fused": SKY, "fourier": BLUE}
OPERATION_COLOURS = {
    "conv2d": BLUE,
    "max_pool": VERMILION,
    "deconv": GREEN,
    "bias": PURPLE,
    "pad": ORANGE,
    "product": "#f0e442",
    "fused": SKY,
    FORWARD: "black",
    "other": "#c8c8c8",
}


def hotpath(results: Result, origin: str) -> list[Plot]:
    """Fractions of sgemm of the forward pass, and what each step was meant to bring and brought."""
    forward = [_forwards(results["forward"], results["sgemm_GFs"], origin)] if results["forward"] else []
    return forward + ([_steps(results["steps"], origin)] if results["steps"] else [])


def _forwards(rows: list[Result], sgemm: float, origin: str) -> Plot:
    several = len({row["cores"] for row in rows}) > 1
    labels = [
        f"{lattice(row)}, batch {row['batch']}, {row['form']}"
        + (f", {row['cores']} core{'s' * (row['cores'] > 1)}" if several else "")
        for row in rows
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        fraction = np.array([row["fraction_of_sgemm"] for row in rows])
        median, fastest, slowest = (np.array([row[key] for row in rows]) for key in ("median_s", "min_s", "max_s"))
        bars = whiskers(fraction, fraction * median / slowest, fraction * median / fastest)
        colours = [FORM_COLOURS.get(row["form"], PURPLE) for row in rows]
        axes.barh(range(len(rows)), fraction, 0.65, xerr=bars, color=colours, error_kw={"capsize": 2})
        name_rows(axes, labels)
        axes.set(xlim=(0, 1.08 * float((fraction + bars[1]).max())), xlabel="fraction of the measured sgemm rate")

    caption = (
        "Rate of a forward pass (fused multiply-adds) over that of a single-precision matrix product, "
        f"{number(sgemm)} GF/s in the same session. Colours tell the forms apart: the scalar loops, PyTorch's plain "
        "operations, and this package's fused network and its form in Fourier space, which needs fewer multiply-adds "
        f"than are counted. Medians; whiskers: fastest and slowest repeat. {origin}"
    )
    size = (WIDTH, 0.9 + 0.24 * len(rows))
    return Plot("forward", "Forward pass against sgemm", caption, render("forward", size, draw))


def _steps(steps: list[Result], origin: str) -> Plot:
    labels = [f"{step['step']}\n{step['workload']}" for step in steps]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for offset, key, colour in ((-0.18, "predicted", "#c8c8c8"), (0.18, "measured", BLUE)):
            values = [step[key] for step in steps]
            widths = np.array([np.nan if value is None else value for value in values])
            axes.barh(np.arange(len(steps)) + offset, widths, 0.34, color=colour, label=key)
            for row, value in enumerate(values):
                if value is not None:
                    axes.text(value, row + offset, f" {value:.2f}", va="center", fontsize=7)
        axes.axvline(1.0, color="black", linewidth=1)
        name_rows(axes, labels)
        axes.margins(x=0.1)
        axes.set_xlabel("times as fast as before")
        figure.legend(loc="outside upper center", ncols=2)

    caption = (
        "How many times as fast each step was predicted to make its workload, and made it; medians of the ratios, "
        f"without error bars (the table of steps has the times). The line: as fast as before. {origin}"
    )
    size = (WIDTH, 1.0 + 0.48 * len(steps))
    return Plot("steps", "Steps of the hot path", caption, render("steps", size, draw))


def hotspots(results: Result, origin: str) -> list[Plot]:
    """Where a forward pass spends its time: plain, fused, and the paper."""
    printed = paper_shares()
    bars = {"plain": results["plain"]["share_percent"], "fused": results["fused"]["share_percent"], "paper": printed}
    names = dict.fromkeys(name for name in OPERATION_COLOURS if any(name in shares for shares in bars.values()))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        left = np.zeros(len(bars))
        for name in names:
            shares = np.array([each.get(name, 0.0) for each in bars.values()])
            label = name.replace("_", " ")
            axes.barh(range(len(bars)), shares, 0.6, left, color=OPERATION_COLOURS[name], label=label)
            for row, share in enumerate(shares):
                if share >= 5:
                    dark = name == "conv2d"
                    axes.text(
                        left[row] + share / 2, row, f"{share:.0f}", ha="center", va="center", fontsize=7,
                        color="white" if dark else "black",
                    )  # fmt: skip
            left += shares
        name_rows(axes, list(bars))
        axes.set(xlim=(0, 100), xlabel="share of a forward pass, %")
        figure.legend(loc="outside upper center", ncols=5, columnspacing=1)

    caption = (
        f"Shares of the time of one forward pass, in per cent: {lattice(results)}, batch {count(results['batch'])}, "
        f"on one core, over {results['repeats']} repeats, without error bars; the paper's (Fig. 7) are of large, "
        f"10x10, on its management core. {origin}"
    )
    return [Plot("hotspots", "Shares of a forward pass", caption, render("hotspots", (WIDTH, 2.4), draw))]


def speedup(rows: list[Result], origin: str) -> list[Plot]:
    """Speedup over the scalar core against the batch: a figure for each network, a panel for each lattice."""
    return [
        _speedup(network, [own for (name, _), own in systems(rows).items() if name == network], origin)
        for network in dict.fromkeys(row["network"] for row in rows)
    ]


def _speedup(network: str, panels: list[list[Result]], origin: str) -> Plot:
    rows = list(chain.from_iterable(panels))
    operations = [name for name in (FORWARD, *OPERATIONS) if any(row["operation"] == name for row in rows)]
    across = min(2, len(panels))
    down = -(-len(panels) // across)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for index, (axes, own) in enumerate(zip(grid.flat, panels, strict=False)):
            for style, name in zip("os^Dv<>", operations, strict=False):
                of = sorted((row for row in own if row["operation"] == name), key=lambda row: int(row["batch"]))
                batches, values = [row["batch"] for row in of], [row["speedup"] for row in of]
                width = 1.8 if name == FORWARD else 1.0
                axes.plot(
                    batches, values, style + "-", color=OPERATION_COLOURS[name], linewidth=width, markersize=3.5,
                    label=name.replace("_", " ") if index == 0 else None,
                )  # fmt: skip
            axes.axhline(1.0, color=GREY, linewidth=1)
            axes.set_title(f"{own[0]['L']}x{own[0]['L']}", fontsize=9)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        ticks = _ticks(sorted({row["batch"] for row in rows}))
        log_axis(grid[0, 0], ticks, "", base=2)
        grid[0, 0].set_yscale("log")
        plain_numbers(grid[0, 0])
        for axes in grid.flat[max(0, len(panels) - across) : len(panels)]:
            axes.tick_params(axis="x", labelbottom=True)
            axes.set_xlabel("batch")
        for axes in grid[:, 0]:
            axes.set_ylabel("times as fast")
        figure.legend(loc="outside upper center", ncols=4, columnspacing=1)

    cores = sorted({row["cores"] for row in rows})
    caption = (
        f"Network {network}: time of the scalar baseline on one core over that of PyTorch's operation on all cores "
        f"({' or '.join(map(str, cores))}); forward: over the package's whole forward pass. Medians, without error "
        "bars. The line: as fast as the baseline. As the paper's Fig. 8, which shows the convolution on other "
        f"hardware. {origin}"
    )
    name = f"speedup-{network}"
    size = (WIDTH, 1.1 + 1.75 * down)
    return Plot(name, f"Speedup over a scalar core: {network}", caption, render(name, size, draw))


def _ticks(batches: Sequence[int]) -> list[int]:
    """Batches that are at least half again as large as the one before, so that their labels do not touch."""
    kept: list[int] = []
    for batch in batches:
        if not kept or batch >= 1.9 * kept[-1]:
            kept.append(batch)
    return kept
