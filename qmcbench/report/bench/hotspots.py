"""Hotspots of a forward pass in the benchmark chapter (the paper's Fig. 7)."""

from __future__ import annotations

from matplotlib.figure import Figure

from qmcbench.bench.names import FORWARD, FUSED, OPERATIONS, PLAIN
from qmcbench.reference import paper
from qmcbench.report.bench.speedup import COLOURS
from qmcbench.report.bench.words import lattice, whence
from qmcbench.report.document import Row, Table
from qmcbench.report.figure import WIDTH, Plot, name_rows, render, stacked_bars
from qmcbench.report.numbers import DASH, count, duration, fixed
from qmcbench.store.bench import Share
from qmcbench.store.records import Run

OTHER = "other"
Shares = dict[str, float]


def paper_shares() -> Shares:
    """The paper's Fig. 7 by our names of the operations."""
    names = {theirs: ours for ours, theirs in OPERATIONS.items()} | {"Other": OTHER}
    return {names[printed]: share for printed, share in paper.figure7["share_percent"].items()}


def shares(run: Run, form: str) -> Shares:
    """The shares of the plain or the fused pass, in percent; "other" is what lies between its operations."""
    found = {each.operation: each.value for each in run.of(Share) if each.form == form}
    return found | {OTHER: 100 - sum(found.values())} if found else {}


def tables(run: Run) -> list[Table]:
    """Shares of a forward pass, plain and fused, beside the paper's."""
    if not run.of(Share):
        return []
    columns = (shares(run, PLAIN), shares(run, FUSED), paper_shares())
    names = dict.fromkeys(name for each in columns for name in each)
    rows: list[Row] = [[name.replace("_", " "), *(fixed(each.get(name), 1) for each in columns)] for name in names]
    seconds = {each.form: each.pass_s for each in run.of(Share)}
    rows.append(
        [f"seconds of a {FORWARD} pass", duration(seconds.get("plain")), duration(seconds.get("fused")), DASH]
    )
    caption = (
        f"Share of the time of a forward pass of {_what(run)}, by torch.profiler. Other: what lies between the "
        "operations. The paper's (Fig. 7): large, 10x10, on the management core alone; its Other contains pad and "
        "product."
    )
    return [Table("Shares of a forward pass", ["operation", ">plain, %", ">fused, %", ">paper, %"], rows, caption)]


def _what(run: Run) -> str:
    one = run.of(Share)[0]
    return f"{lattice(one)}, batch {count(one.batch)}, on one core, over {one.repeats} repeats"


def plots(run: Run) -> list[Plot]:
    """Where a forward pass spends its time: plain, fused, and the paper."""
    if not run.of(Share):
        return []
    bars = {"plain": shares(run, PLAIN), "fused": shares(run, FUSED), "paper": paper_shares()}
    caption = (
        f"Shares of the time of one forward pass, in per cent: {_what(run)}, without error bars; the paper's "
        f"(Fig. 7) are of large, 10x10, on its management core. {whence(run)}"
    )
    drawn = render("hotspots", (WIDTH, 2.4), lambda figure: _draw(figure, bars))
    return [Plot("hotspots", "Shares of a forward pass", caption, drawn)]


def _draw(figure: Figure, bars: dict[str, Shares]) -> None:
    axes = figure.subplots()
    parts = {
        name.replace("_", " "): (colour, [each.get(name, 0.0) for each in bars.values()])
        for name, colour in COLOURS.items()
        if any(name in each for each in bars.values())
    }
    stacked_bars(axes, parts, lambda share: f"{share:.0f}" if share >= 5 else "")
    name_rows(axes, list(bars))
    axes.set(xlim=(0, 100), xlabel="share of a forward pass, %")
    figure.legend(loc="outside upper center", ncols=5, columnspacing=1)
