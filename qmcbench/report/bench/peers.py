"""Peers in a benchmark report: times, ratios to this package and what was tried, in tables and a figure."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from qmcbench.bench.claims import PEER_AIM, PEER_BOUND
from qmcbench.report.bench.tables import settings, spread
from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import COLOURS, GREY, WIDTH, Plot, Result, name_rows, plain_numbers, render, whiskers
from qmcbench.report.numbers import DASH, count, duration, fixed, number

OURS = "qmcbench"
PHASES = {
    "sweep": "sweep of L x L steps",
    "local_energy": "local energies",
    "sr_step": "SR step",
    "iteration": "whole iteration",
}
"""Timed phases of the comparison with peers."""
EFFECTIVE = "effective_sample"
PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
"""Behind text that a line may cross."""
PER_EFFECTIVE = "sweep + local energies per effective sample"


def peer_names(results: Result) -> list[str]:
    """The compared programs other than this package."""
    return [name for name in results["programs"] if name != OURS and name in results["ratios"]]


def tables(results: Result) -> list[Table]:
    """Times of each program, ratios to this package, and everything that was tried."""
    return [_peer_times(results), _peer_ratios(results), _tried(results)]


def _peer_times(results: Result) -> Table:
    job, programs = results["job"], results["programs"]
    names = [OURS, *peer_names(results)]
    own = [programs[name] for name in names]
    rows: list[Row] = []
    for phase, title in PHASES.items():
        times = [[repeat[phase] for repeat in program["repeats"]] for program in own]
        cells = (
            f"{duration(program['medians'][phase])} ({spread(min(each), max(each))})" if each else DASH
            for program, each in zip(own, times, strict=True)
        )
        rows.append([title, *cells])
    rows += [
        [PER_EFFECTIVE, *(duration(program["medians"][EFFECTIVE]) for program in own)],
        ["autocorrelation time, sweeps", *(fixed(program["tau"], 2) for program in own)],
        ["peak memory", *(f"{number(program['peak_MiB'], 4)} MiB" for program in own)],
        ["largest difference of log|psi|", *(number(program["amplitude_difference"], 1) for program in own)],
        ["configuration", *(settings(program["configuration"]) for program in own)],
    ]
    titles = [f">{name} {programs[name]['versions'].get(name, '')}".strip() for name in names]
    caption = (
        f"Network {job['model']}, {job['L']}x{job['L']}, J2 = {number(job['J2'])}, {count(job['samples'])} samples "
        f"of as many chains, float32, no symmetry, Marshall sign, threads: {job['threads']}. Medians "
        f"(least..largest) of {results['repeats']} repeats, the programs in turn within one run, after a warm-up. "
        "All networks start from the same weights; the largest difference of their log|psi| from ours is given. Per "
        "effective sample: the medians of sweep and local energies times the integrated autocorrelation time of the "
        "energy, over the samples."
    )
    return Table("Times", ["what", *titles], rows, caption)


def _peer_ratios(results: Result) -> Table:
    names = peer_names(results)
    rows: list[Row] = []
    for phase, title in PHASES.items():
        each = [results["ratios"][name][phase] for name in names]
        rows.append([title, *(f"{fixed(r['median'], 2)} ({fixed(r['min'], 2)}..{fixed(r['max'], 2)})" for r in each)])
    own = results["programs"][OURS]["medians"][EFFECTIVE]
    effective = (results["programs"][name]["medians"][EFFECTIVE] / own for name in names)
    rows.append([PER_EFFECTIVE, *(fixed(ratio, 2) for ratio in effective)])
    caption = (
        f"Above 1, {OURS} is the faster one. Medians (least..largest) of the ratios of one repeat each; per "
        f"effective sample the ratio of the medians. An iteration should reach {number(PEER_BOUND)} against each "
        f"peer's best, and aims at {number(PEER_AIM)}."
    )
    columns = [f"time over that of {OURS}", *(f">{name}" for name in names)]
    return Table("Ratios", columns, rows if names else [], caption)


def _tried(results: Result) -> Table:
    best = {name: program["configuration"] for name, program in results["programs"].items()}
    rows: list[Row] = []
    for trial in results["trials"]:
        program, configuration = trial["program"], trial["configuration"]
        failure = trial.get("failure")
        outcome: list[str | Cell] = (
            [DASH, DASH, Cell(failure, "bad")]
            if failure
            else [
                duration(trial.get("iteration")),
                f"{number(trial['peak_MiB'], 4)} MiB" if "peak_MiB" in trial else DASH,
                "best" if best.get(program) == configuration else "",
            ]
        )
        rows.append([program, settings(configuration), *outcome])
    caption = (
        "The configuration with the fastest iteration is each program's best, which is compared above; here it is "
        "that of one trial, not of the repeats above."
    )
    return Table("Tried", ["program", "configuration", ">whole iteration", ">peak memory", "note"], rows, caption)


def plots(results: Result, origin: str) -> list[Plot]:
    """Times of each peer over this package's, phase by phase."""
    names = peer_names(results)
    if not names:
        return []
    ratios = results["ratios"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        height = 0.8 / len(names)
        for index, (colour, name) in enumerate(zip(cycle(COLOURS), names, strict=False)):
            rows = np.arange(len(PHASES)) + (index - (len(names) - 1) / 2) * height
            median, low, high = ([ratios[name][phase][key] for phase in PHASES] for key in ("median", "min", "max"))
            bars = whiskers(median, low, high)
            # From 1 on: to the right this package is faster, to the left the peer.
            axes.barh(
                rows, np.array(median) - 1, 0.9 * height, 1.0, xerr=bars, color=colour, label=name,
                error_kw={"capsize": 2, "ecolor": "black", "elinewidth": 1},
            )  # fmt: skip
            for row, value, most in zip(rows, median, high, strict=True):
                axes.text(1.06 * max(most, 1.0), row, f"{value:.2f}", va="center", fontsize=7, bbox=PLAIN)
        axes.set_xscale("log")
        every = [each for name in names for phase in PHASES for each in ratios[name][phase].values()]
        axes.set_xlim(0.8 * min([*every, 1.0]), 1.6 * max([*every, PEER_AIM]))
        axes.axvline(1.0, color="black", linewidth=1)
        axes.axvline(PEER_BOUND, color=GREY, linestyle="--", linewidth=1, label=f"bound {PEER_BOUND:g}")
        axes.axvline(PEER_AIM, color=GREY, linestyle=":", linewidth=1.2, label=f"aim {PEER_AIM:g}")
        plain_numbers(axes, "x")
        name_rows(axes, list(PHASES.values()))
        axes.set_xlabel(f"time over that of {OURS}")
        figure.legend(loc="outside upper center", ncols=4)

    caption = (
        f"Times of the fastest configuration of each peer over those of {OURS}, on a logarithmic axis: to the right "
        f"of 1, {OURS} is the faster one. Medians of {results['repeats']} repeats; whiskers: least and largest ratio "
        f"of one repeat. Bound and aim are for the whole iteration. {origin}"
    )
    size = (WIDTH, 1.3 + len(PHASES) * (0.2 + 0.17 * len(names)))
    return [Plot("peers", "Peers over this package", caption, render("peers", size, draw))]
