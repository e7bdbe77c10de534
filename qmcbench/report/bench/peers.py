"""Peers in the benchmark chapter: times, ratios to this package and what was tried, in tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from qmcbench.bench.claims import PEER_AIM, PEER_BOUND
from qmcbench.bench.names import OURS, PHASES
from qmcbench.bench.peers import Side, Spread, sides
from qmcbench.report.bench.words import settings, spread, whence
from qmcbench.report.colours import COLOURS, GREY
from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import WIDTH, Plot, name_rows, plain_numbers, printable, render, whiskers
from qmcbench.report.numbers import DASH, count, duration, fixed, number
from qmcbench.store.bench import PeerTrial
from qmcbench.store.records import Run

PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
"""Behind text that a line may cross."""
PER_EFFECTIVE = "sweep + local energies per effective sample"
Ratios = Mapping[str, Mapping[str, Spread]]
"""Of each peer, of each phase."""


def tables(run: Run) -> list[Table]:
    """Times of each program, ratios to this package, and everything that was tried.

    Raises
    ------
    UserError
        If the records of the comparison are not complete.
    """
    found = sides(run)
    return [_times(found), _ratios(found), _tried(found, run.of(PeerTrial))]


def _times(found: Mapping[str, Side]) -> Table:
    own, ours = list(found.values()), found[OURS].program
    repeats = len(found[OURS].times["iteration"].each)
    rows: list[Row] = [
        [title, *(f"{duration(t.value)} ({spread(t.low, t.high)})" for side in own for t in [side.times[phase]])]
        for phase, title in PHASES.items()
    ]
    rows += [
        [PER_EFFECTIVE, *(duration(side.per_effective_sample) for side in own)],
        ["autocorrelation time, sweeps", *(fixed(side.program.tau, 2) for side in own)],
        ["peak memory", *(_mib(side.program.peak_bytes) for side in own)],
        ["largest difference of log|psi|", *(number(side.program.value, 1) for side in own)],
        ["configuration", *(settings(side.program.configuration) for side in own)],
    ]
    titles = [f">{name} {side.program.versions.get(name, '')}".strip() for name, side in found.items()]
    caption = (
        f"Network {ours.network}, {ours.L}x{ours.L}, J2 = {number(ours.J2)}, {count(ours.samples)} samples "
        f"of as many chains, float32, no symmetry, Marshall sign, threads: {ours.threads}. Medians "
        f"(least..largest) of {repeats} repeats, the programs in turn within one run, after a warm-up. "
        "All networks start from the same weights; the largest difference of their log|psi| from ours is given. Per "
        "effective sample: the medians of sweep and local energies times the integrated autocorrelation time of the "
        "energy, over the samples."
    )
    return Table("Times", ["what", *titles], rows, caption)


def _mib(size: float | None) -> str:
    return DASH if size is None else f"{number(size / 2**20, 4)} MiB"


def _over_ours(found: Mapping[str, Side]) -> Ratios:
    return {name: side.over(found[OURS]) for name, side in found.items() if name != OURS}


def _ratios(found: Mapping[str, Side]) -> Table:
    over = _over_ours(found)
    rows: list[Row] = [
        [
            title,
            *(
                f"{fixed(each[phase].median, 2)} ({fixed(each[phase].low, 2)}..{fixed(each[phase].high, 2)})"
                for each in over.values()
            ),
        ]
        for phase, title in PHASES.items()
    ]
    own = found[OURS].per_effective_sample
    rows.append([PER_EFFECTIVE, *(fixed(found[name].per_effective_sample / own, 2) for name in over)])
    caption = (
        f"Above 1, {OURS} is the faster one. Medians (least..largest) of the ratios of one repeat each; per "
        f"effective sample the ratio of the medians. An iteration should reach {number(PEER_BOUND)} against each "
        f"peer's best, and aims at {number(PEER_AIM)}."
    )
    columns = [f"time over that of {OURS}", *(f">{name}" for name in over)]
    return Table("Ratios", columns, rows if over else [], caption)


def _tried(found: Mapping[str, Side], trials: Sequence[PeerTrial]) -> Table:
    rows: list[Row] = []
    for trial in trials:
        side = found.get(trial.program)
        note: str | Cell = "best" if side and side.program.configuration == trial.configuration else ""
        if trial.value is None:
            note = Cell(trial.not_run or DASH, "bad")
        rows.append(
            [trial.program, settings(trial.configuration), duration(trial.value), _mib(trial.peak_bytes), note]
        )
    caption = (
        "The configuration with the fastest iteration is each program's best, which is compared above; here it is "
        "that of one trial, not of the repeats above."
    )
    return Table("Tried", ["program", "configuration", ">whole iteration", ">peak memory", "note"], rows, caption)


def plots(run: Run) -> list[Plot]:
    """Times of each peer over this package's, phase by phase."""
    found = sides(run)
    over = _over_ours(found)
    if not over:
        return []
    caption = (
        f"Times of the fastest configuration of each peer over those of {OURS}, on a logarithmic axis: to the right "
        f"of 1, {OURS} is the faster one. Medians of {len(found[OURS].times['iteration'].each)} repeats; whiskers: "
        f"least and largest ratio of one repeat. Bound and aim are for the whole iteration. {whence(run)}"
    )
    size = (WIDTH, 1.3 + len(PHASES) * (0.2 + 0.17 * len(over)))
    return [
        Plot("peers", "Peers over this package", caption, render("peers", size, lambda figure: _draw(figure, over)))
    ]


def _draw(figure: Figure, over: Ratios) -> None:
    axes = figure.subplots()
    height = 0.8 / len(over)
    for index, (colour, (name, ratios)) in enumerate(zip(cycle(COLOURS), over.items(), strict=False)):
        rows = np.arange(len(PHASES)) + (index - (len(over) - 1) / 2) * height
        median, low, high = ([getattr(ratios[phase], end) for phase in PHASES] for end in ("median", "low", "high"))
        # From 1 on: to the right this package is faster, to the left the peer.
        axes.barh(
            rows, np.array(median) - 1, 0.9 * height, 1.0, xerr=whiskers(median, low, high), color=colour,
            label=printable(name), error_kw={"capsize": 2, "ecolor": "black", "elinewidth": 1},
        )  # fmt: skip
        for row, value, most in zip(rows, median, high, strict=True):
            axes.text(1.06 * max(most, 1.0), row, f"{value:.2f}", va="center", fontsize=7, bbox=PLAIN)
    every = [end for ratios in over.values() for each in ratios.values() for end in (each.low, each.high)]
    axes.set_xscale("log")
    axes.set_xlim(0.8 * min([*every, 1.0]), 1.6 * max([*every, PEER_AIM]))
    axes.axvline(1.0, color="black", linewidth=1)
    axes.axvline(PEER_BOUND, color=GREY, linestyle="--", linewidth=1, label=f"bound {PEER_BOUND:g}")
    axes.axvline(PEER_AIM, color=GREY, linestyle=":", linewidth=1.2, label=f"aim {PEER_AIM:g}")
    plain_numbers(axes, "x")
    name_rows(axes, list(PHASES.values()))
    axes.set_xlabel(f"time over that of {OURS}")
    figure.legend(loc="outside upper center", ncols=4)
