"""Figures of a reproduction: training curves, energies against J2, shares of the time, throughput, sampler health."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from qmcbench.report.figure import (
    BLUE,
    COLOURS,
    GREY,
    PHASES,
    SKY,
    VERMILION,
    WIDTH,
    Plot,
    Result,
    name_rows,
    provenance,
    render,
)
from qmcbench.report.numbers import count, duration, format_value_error, number

WINDOW = 10
"""Steps in a running mean."""
COUNTED = "counting the fused network's multiply-adds (Fourier space needs fewer, so 1 is no bound)"
"""How rates of a forward pass are meant."""


def figures(results: Result) -> list[Plot]:
    """Every figure that the results have data for, in the order of the report."""
    trained = [run for run in results["runs"] if run["curve"]["step"]]
    origin = provenance(results)
    plots = [_training(i, run, results["paper"], origin) for i, run in enumerate(trained, 1)]
    evaluated = [run for run in results["runs"] if run.get("evaluation")]
    if evaluated:
        plots.append(_against_j2(evaluated, results["exact"], origin))
    timed = [run for run in results["runs"] if sum(run["phase_seconds"].values()) > 0]
    if timed:
        plots.append(_phases(timed, origin))
    forwards = [t for t in results["timings"] if t["name"].startswith("forward") and t.get("fraction_of_sgemm")]
    if forwards:
        plots.append(_throughput(forwards, results["rates"], origin))
    return plots + [_health(i, run, origin) for i, run in enumerate(trained, 1) if run["L"] == 6]


def _panels(figure: Figure, heights: list[float]) -> list[Axes]:
    """Panels above each other with a common horizontal axis."""
    return list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])


def _array(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def running_mean(values: NDArray[np.float64], window: int = WINDOW) -> NDArray[np.float64]:
    """Mean over the last ``window`` entries for each entry that has that many before it; NaN for the others."""
    means = np.full(values.shape, np.nan)
    if values.size >= window:
        means[window - 1 :] = np.convolve(values, np.full(window, 1 / window), mode="valid")
    return means


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a logarithmic axis can show of ``values``; gaps elsewhere."""
    return np.where(values > 0, values, np.nan)


def _training(index: int, run: Result, paper: list[Result], origin: str) -> Plot:
    curve, exact, evaluation = run["curve"], run["reference"]["energy"], run.get("evaluation")
    step, energy, error = (_array(curve[key]) for key in ("step", "energy", "error"))
    excess = (energy - exact) / abs(exact)
    published = [row["paper"] for row in paper if row["run"] == run["name"] and row["quantity"] == "E/N"]

    def draw(figure: Figure) -> None:
        top, bottom = _panels(figure, [1.0, 1.0])
        top.fill_between(step, energy - error, energy + error, color=BLUE, alpha=0.25, linewidth=0)
        top.plot(step, energy, color=BLUE, linewidth=1, label="training")
        top.axhline(exact, color="black", linestyle="--", linewidth=1, label="exact")
        for value in published:
            top.axhline(value, color=VERMILION, linestyle=":", linewidth=1.2, label="paper, end of its stage")
        top.set_ylabel("E/N")
        bottom.set_yscale("log")
        bottom.plot(step, _positive(excess), ".", color=BLUE, alpha=0.3, markersize=4, label="one step")
        bottom.plot(step, _positive(running_mean(excess)), color=BLUE, label=f"mean of the last {WINDOW} steps")
        if evaluation:
            _relative_errors(bottom, step[-1:], [run], VERMILION, "evaluated")
        bottom.set(xlabel="step", ylabel="(E - E0)/|E0|")
        figure.legend(loc="outside upper center", ncols=3)

    below = int((excess <= 0).sum())
    caption = (
        f"Energy per site during training (top; band: one standard error of a step's mean, from its "
        f"{count(run['chains'])} chains) against the exact {format_value_error(exact, run['reference']['error'])} "
        f"({run['reference']['source']}), and the relative error (bottom). Training energies are noisy and, where "
        f"reweighted, biased by a finite sample: only the evaluated energy counts"
        + (
            f", {format_value_error(evaluation['energy'], evaluation['error'])}. "
            if evaluation
            else ", not yet there. "
        )
        + (
            f"{below} of {len(step)} steps fluctuated below E0 and have no point on the logarithmic axis. "
            if below
            else ""
        )
        + origin
    )
    name = f"training-{index}"
    return Plot(name, f"Training of {run['name']}", caption, render(name, (WIDTH, 4.6), draw))


def _column(records: list[Result], key: str) -> NDArray[np.float64]:
    return _array([record[key] for record in records])


def _relative_errors(axes: Axes, x: NDArray[np.float64], runs: list[Result], colour: str, label: str) -> None:
    """Relative errors of evaluated runs, with their errors, on a logarithmic axis.

    One at or below zero becomes a triangle at its upper limit, two errors above it; where that is negative too, a
    cross on the lower edge.
    """
    value, error = _column(runs, "relative_error"), _column(runs, "relative_error_error")
    above, limit = value > 0, value + 2 * np.nan_to_num(error)
    within, violates = ~above & (limit > 0), ~above & (limit <= 0)
    if above.any():
        bars = error[above]
        axes.errorbar(x[above], value[above], bars, fmt="o", markersize=5, capsize=3, color=colour, label=label)
    if within.any():
        axes.plot(x[within], limit[within], "v", color=colour, markersize=7, label=f"{label}, upper limit")
    if violates.any():
        edge: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "color": "#c00000"}
        axes.plot(x[violates], np.zeros(int(violates.sum())), "X", markersize=9, label=f"{label}, below E0", **edge)


def _against_j2(runs: list[Result], exact: list[Result], origin: str) -> Plot:
    sizes = sorted({record["L"] for record in runs + exact})

    def draw(figure: Figure) -> None:
        top, bottom = _panels(figure, [1.4, 1.0])
        bottom.set_yscale("log")
        for colour, size in zip(cycle(COLOURS), sizes, strict=False):
            known = {run["J2"]: run["reference"]["energy"] for run in runs if run["L"] == size}
            known |= {record["J2"]: record["energy"] for record in exact if record["L"] == size}
            couplings = sorted(known)
            label = f"{size}x{size} exact"
            top.plot(couplings, [known[j] for j in couplings], "--_", color=colour, markersize=14, label=label)
            own = [run for run in runs if run["L"] == size]
            if own:
                energy, error = (_column([run["evaluation"] for run in own], key) for key in ("energy", "error"))
                label = f"{size}x{size} evaluated"
                top.errorbar(_column(own, "J2"), energy, error, fmt="o", color=colour, capsize=3, label=label)
            _relative_errors(bottom, _column(own, "J2"), own, colour, f"{size}x{size}")
        top.set_ylabel("E/N")
        top.legend()
        bottom.set(xlabel="J2/J1", ylabel="(E - E0)/|E0|")
        bottom.margins(y=0.2)

    caption = (
        "Evaluated energies per site (circles; bars: one standard error by blocking, which may be smaller than the "
        "circle) and exact ones (dashes; the line between them only guides the eye); below, the relative error with "
        "its standard error. An energy at or below E0 shows as a triangle at its upper limit (two standard errors "
        "above it), or as a cross on the lower edge if even that is below E0. The tables name the sources of the "
        "exact energies. " + origin
    )
    return Plot("energy-j2", "Energy against J2", caption, render("energy-j2", (WIDTH, 4.6), draw))


def _phases(runs: list[Result], origin: str) -> Plot:
    names = list(dict.fromkeys([*PHASES, *(phase for run in runs for phase in run["phase_seconds"])]))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        left = np.zeros(len(runs))
        totals = np.array([sum(run["phase_seconds"].values()) for run in runs])
        for name in names:
            shares = np.array([run["phase_seconds"].get(name, 0.0) for run in runs]) / totals
            label = name.replace("_", " ")
            axes.barh(range(len(runs)), shares, 0.6, left, color=PHASES.get(name, GREY), label=label)
            for row, share in enumerate(shares):
                if share >= 0.06:
                    axes.text(left[row] + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8)
            left += shares
        name_rows(axes, [run["name"] for run in runs])
        axes.set(xlim=(0, 1), xlabel="share of the timed phases")
        figure.legend(loc="outside upper center", ncols=len(names))

    totals = "; ".join(
        f"{run['name']}: {duration(sum(run['phase_seconds'].values()))} over {count(run['steps'])} steps"
        for run in runs
    )
    caption = (
        f"Where an iteration's time goes, summed over each run ({totals}). Wall times of one run each on a machine "
        f"that may have been shared: without error bars. {origin}"
    )
    size = (WIDTH, 1.2 + 0.36 * len(runs))
    return Plot("phases", "Share of an iteration by phase", caption, render("phases", size, draw))


def _throughput(timings: list[Result], rates: Result, origin: str) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        fraction = np.array([t["fraction_of_sgemm"] for t in timings])
        median, fastest, slowest = (np.array([t[key] for t in timings]) for key in ("median_s", "min_s", "max_s"))
        bars = np.clip([fraction - fraction * median / slowest, fraction * median / fastest - fraction], 0, None)
        style = {"capsize": 3, "ecolor": "black"}
        axes.barh(range(len(timings)), fraction, 0.6, xerr=bars, color=SKY, error_kw=style)
        name_rows(axes, [_timed(t) for t in timings])
        axes.set(xlim=(0, 1.1 * float((fraction + bars[1]).max())), xlabel="fraction of the measured sgemm rate")

    repeats = sorted({t["repeats"] for t in timings})
    caption = (
        f"Arithmetic rate of the forward pass, {COUNTED}, over that of a single-precision matrix product (sgemm), "
        f"measured in the same session at {number(rates.get('sgemm_GFs'))} GF/s. Bars: medians of "
        f"{' or '.join(map(str, repeats))} repeats; whiskers: fastest and slowest repeat. {origin}"
    )
    size = (WIDTH, 0.9 + 0.36 * len(timings))
    return Plot("throughput", "Forward throughput against sgemm", caption, render("throughput", size, draw))


def _timed(timing: Result) -> str:
    """Short name of what was timed."""
    what = timing["name"].removeprefix("forward").strip()
    return f"{timing['network']} {what}".strip() + f", {timing['L']}x{timing['L']}, batch {timing['batch']}"


def _health(index: int, run: Result, origin: str) -> Plot:
    curve = run["curve"]
    step = _array(curve["step"])

    def draw(figure: Figure) -> None:
        panels = _panels(figure, [1.0] * 4)
        quantities = ("acceptance", "effective_fraction", "alpha", "r_hat")
        labels = ("acceptance", "effective\nfraction", "alpha", "R-hat")
        for axes, key, label, colour in zip(panels, quantities, labels, COLOURS, strict=False):
            axes.plot(step, _array(curve[key]), color=colour, linewidth=1.2)
            axes.set_ylabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.ticklabel_format(axis="y", useOffset=False)
        panels[0].set_ylim(0, 1)
        panels[1].set_ylim(0, 1)
        panels[3].axhline(1.0, color="black", linestyle=":", linewidth=1)
        panels[3].set_xlabel("step")
        figure.align_ylabels(panels)

    caption = (
        f"Acceptance of proposals, effective sample size over samples (Kish), the exponent alpha of |psi|^alpha that "
        f"is sampled, and split R-hat of the chains' local energies over the last steps (dotted: 1, chains that "
        f"agree). Diagnostics of {count(run['chains'])} chains, without error bars. Chains restarted as abnormal, "
        f"over all steps: {count(sum(curve['restarted']))}. {origin}"
    )
    name = f"sampler-{index}"
    return Plot(name, f"Sampler health of {run['name']}", caption, render(name, (WIDTH, 4.8), draw))
