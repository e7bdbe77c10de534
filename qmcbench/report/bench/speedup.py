"""Speedup over one scalar core in the benchmark chapter (the paper's Fig. 8), like for like first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from qmcbench.bench.names import FORWARD, OPERATIONS
from qmcbench.bench.speedups import Speedup, speedups
from qmcbench.reference import paper
from qmcbench.report.bench.words import lattice, whence
from qmcbench.report.colours import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from qmcbench.report.document import Row, Table, grouped
from qmcbench.report.figure import WIDTH, Plot, log_axis, plain_numbers, printable, render
from qmcbench.report.numbers import DASH, count, duration, number
from qmcbench.store.bench import WorkTime
from qmcbench.store.records import Run

OTHERS = {"max_pool": "MaxPool", "deconv": "Conv1DBackpropInput", "bias": "Add"}
"""What the paper's Fig. 8 calls the operations other than the convolution."""
COLOURS = {
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
NAMES = (*OPERATIONS, FORWARD)


def tables(run: Run) -> list[Table]:
    """Times and speedups at the largest batch of each system: each operation against itself, then whole passes."""
    largest = []
    for own in systems(speedups(run)):
        batch = max(each.every.batch for each in own)
        largest.append([each for each in own if each.every.batch == batch])
    return [_operations(each for own in largest for each in own if each.every.work != FORWARD), _passes(largest)]


def systems(rows: Sequence[Speedup]) -> list[list[Speedup]]:
    """Rows of each network and L, in their order."""
    return list(grouped(rows, lambda row: (row.every.network, row.every.L)).values())


def _cells(row: Speedup) -> Row:
    return [
        lattice(row.every), count(row.every.batch), row.every.work.replace("_", " "), duration(row.scalar.value),
        duration(row.one.value), duration(row.every.value), count(row.every.threads), number(row.of_one),
        number(row.of_all),
    ]  # fmt: skip


COLUMNS = [
    "network", ">batch", "operation", ">scalar", ">one core", ">all cores", ">cores", ">speedup of one core",
    ">of all cores",
]  # fmt: skip


def _operations(rows: Iterable[Speedup]) -> Table:
    caption = (
        "Like for like: all calls of one operation in a forward pass of the largest batch, in scalar loops on one "
        "core, one configuration at a time (the paper's baseline), over the same operation by PyTorch on one core "
        "and on all. Medians. The paper's speedups (Fig. 8 and its text) are of the same operations on 64 compute "
        "cores of an SW26010Pro processor over its one management core: another machine with many more cores, so "
        "they show what its baseline means and are no bound for these."
    )
    shown: list[Row] = [[*_cells(row), stated(row.every)] for row in rows]
    return Table("Each operation against itself, as in Fig. 8", [*COLUMNS, ">paper states"], shown, caption)


def _passes(largest: Sequence[Sequence[Speedup]]) -> Table:
    rows: list[Row] = []
    for own in largest:
        each = [row for row in own if row.every.work in OPERATIONS]
        plain = sum(row.scalar.value for row in each) / sum(row.every.value for row in each) if each else None
        rows += [[*_cells(row), number(plain)] for row in own if row.every.work == FORWARD]
    caption = (
        "Not like for like, and of no number in the paper: the same scalar pass over this package's whole pass, "
        "which does less work (fused, in Fourier space). Last column, like for like: the sums of the operations "
        "above, by PyTorch on all cores. Medians."
    )
    columns = [*COLUMNS, ">of PyTorch's plain operations on all cores"]
    return Table("Whole forward passes, by another algorithm", columns, rows, caption)


def stated(work: WorkTime) -> str:
    """The speedup that the paper states of this operation and system, or a dash."""
    printed = paper.figure8
    # What it calls small there has 16249 parameters, as our medium network.
    network = {"medium": "small", "small": ""}.get(work.network, work.network)
    if f"{network}-{work.L}" not in printed["series"]:
        return DASH
    if work.work == "conv2d" and network == "large":
        saturated = printed["saturated_speedup"]
        return number(saturated.get(f"large_{work.L}", saturated["large"]))
    return number(printed["other_operations"].get(OTHERS.get(work.work, "")))


def plots(run: Run) -> list[Plot]:
    """Speedup over the scalar core against the batch: a figure for each network, a panel for each lattice."""
    panels = systems(speedups(run))
    networks = dict.fromkeys(own[0].every.network for own in panels)
    return [
        _plot(run, f"speedup-{position}", [own for own in panels if own[0].every.network == network])
        for position, network in enumerate(networks, start=1)
    ]


def _plot(run: Run, name: str, panels: Sequence[Sequence[Speedup]]) -> Plot:
    rows = [row for own in panels for row in own]
    network = rows[0].every.network
    down = -(-len(panels) // min(2, len(panels)))
    cores = sorted({row.every.threads or 1 for row in rows})
    caption = (
        f"Network {network}: time of the scalar baseline on one core over that of PyTorch's operation on all cores "
        f"({' or '.join(map(str, cores))}); forward: over the package's whole forward pass, another algorithm. "
        "Medians, without error bars. The line: as fast as the baseline. The paper's Fig. 8 shows the convolution "
        f"(conv2d) on other hardware. {whence(run)}"
    )
    drawn = render(name, (WIDTH, 1.1 + 1.75 * down), lambda figure: _draw(figure, panels))
    return Plot(name, f"Speedup over a scalar core: {network}", caption, drawn)


def _draw(figure: Figure, panels: Sequence[Sequence[Speedup]]) -> None:
    rows = [row for own in panels for row in own]
    works = [name for name in NAMES if any(row.every.work == name for row in rows)]
    across = min(2, len(panels))
    grid = figure.subplots(-(-len(panels) // across), across, sharex=True, sharey=True, squeeze=False)
    for index, (axes, own) in enumerate(zip(grid.flat, panels, strict=False)):
        for style, name in zip("os^Dv<>", works, strict=False):
            of = sorted((row for row in own if row.every.work == name), key=lambda row: row.every.batch)
            axes.plot(
                [row.every.batch for row in of], [row.of_all for row in of], style + "-", color=COLOURS[name],
                linewidth=1.8 if name == FORWARD else 1.0, markersize=3.5,
                label=name.replace("_", " ") if index == 0 else None,
            )  # fmt: skip
        axes.axhline(1.0, color=GREY, linewidth=1)
        L = own[0].every.L
        axes.set_title(printable(f"{L}x{L}"), fontsize=9)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    log_axis(grid[0, 0], _ticks(sorted({row.every.batch for row in rows})), "", base=2)
    grid[0, 0].set_yscale("log")
    plain_numbers(grid[0, 0])
    for axes in grid.flat[max(0, len(panels) - across) : len(panels)]:
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xlabel("batch")
    for axes in grid[:, 0]:
        axes.set_ylabel("times as fast")
    figure.legend(loc="outside upper center", ncols=4, columnspacing=1)


def _ticks(batches: Sequence[int]) -> list[int]:
    """Batches that are nearly twice as large as the one before, so that their labels do not touch."""
    kept: list[int] = []
    for batch in batches:
        if not kept or batch >= 1.9 * kept[-1]:
            kept.append(batch)
    return kept
