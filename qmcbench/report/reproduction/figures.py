"""Figures of a reproduction: training curves, energies against J2, shares of the time, throughput, sampler health."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from qmcbench.bench.roofline import of_sgemm, rates
from qmcbench.report.colours import BLUE, COLOURS, GREY, PHASES, SKY, VERMILION
from qmcbench.report.figure import (
    DRAWN,
    WIDTH,
    Plot,
    drawn,
    name_rows,
    origin,
    render,
    stacked_bars,
    stride,
    whiskers,
)
from qmcbench.report.numbers import count, duration, format_value_error, number
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Column, Energy, Exact, Training
from qmcbench.store.records import Run

WINDOW = 10
"""Steps in a running mean."""
COUNTED = "counting the fused network's multiply-adds (Fourier space needs fewer, so 1 is no bound)"
"""How rates of a forward pass are meant."""


def figures(run: Run) -> list[Plot]:
    """Every figure that the records have data for, in the order of the report."""
    trained = [training for training in run.of(Training) if training.curve.step]
    evaluated = {energy.name: energy for energy in run.of(Energy)}
    made = origin(run)
    plots = [_training(i, each, evaluated.get(each.name), made) for i, each in enumerate(trained, 1)]
    if run.job == "transfer" and trained:
        plots.insert(0, _stages(trained, evaluated, made))
    known = [energy for energy in run.of(Energy) if energy.exact is not None]
    if known and run.job == "reproduce":
        plots.append(_against_j2(known, run.of(Exact), made))
    timed = [training for training in run.of(Training) if sum(training.phases.values()) > 0]
    if timed:
        plots.append(_phases(timed, made))
    machine = rates(run)
    forwards = [each for each in run.of(WorkTime) if of_sgemm(each, machine)]
    if forwards:
        plots.append(_throughput(forwards, machine["sgemm"].value, made))
    return plots + [_health(i, each, made) for i, each in enumerate(trained, 1) if each.L == 6]


def _panels(figure: Figure, heights: list[float]) -> list[Axes]:
    """Panels above each other with a common horizontal axis."""
    return list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])


def _array(values: Column) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def running_mean(values: NDArray[np.float64], window: int = WINDOW) -> NDArray[np.float64]:
    """Mean over the last ``window`` entries for each entry that has that many before it; NaN for the others."""
    means = np.full(values.shape, np.nan)
    if values.size >= window:
        means[window - 1 :] = np.convolve(values, np.full(window, 1 / window), mode="valid")
    return means


def _which(steps: int) -> str:
    """Which steps are drawn, where not all are."""
    return f"Drawn is one step in {stride(steps)} of {count(steps)}. " if stride(steps) > 1 else ""


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a logarithmic axis can show of ``values``; gaps elsewhere."""
    return np.where(values > 0, values, np.nan)


def _training(index: int, training: Training, evaluated: Energy | None, made: str) -> Plot:
    curve, known = training.curve, training.reference
    exact = np.nan if known is None else known.value
    step, energy, error = _array(curve.step), _array(curve.energy), _array(curve.error)
    excess = (energy - exact) / abs(exact)
    mean, some = running_mean(excess), drawn(len(step))

    def draw(figure: Figure) -> None:
        top, bottom = _panels(figure, [1.0, 1.0])
        band = ((energy - error)[some], (energy + error)[some])
        top.fill_between(step[some], *band, color=BLUE, alpha=0.25, linewidth=0)
        top.plot(step[some], energy[some], color=BLUE, linewidth=1, label="training")
        top.axhline(exact, color="black", linestyle="--", linewidth=1, label="reference")
        if training.paper is not None:
            value = training.paper.end
            top.axhline(value, color=VERMILION, linestyle=":", linewidth=1.2, label="paper, end of its stage")
        top.set_ylabel("E/N")
        bottom.set_yscale("log")
        dots = _positive(excess)[some]
        bottom.plot(step[some], dots, ".", color=BLUE, alpha=0.3, markersize=4, label="one step")
        bottom.plot(step[some], _positive(mean)[some], color=BLUE, label=f"mean of the last {WINDOW} steps")
        if evaluated is not None and evaluated.exact is not None:
            _relative_errors(bottom, step[-1:], [evaluated], VERMILION, "evaluated")
        bottom.set(xlabel="step", ylabel="(E - E0)/|E0|")
        figure.legend(loc="outside upper center", ncols=3)

    below = int((excess <= 0).sum())
    named = "unknown" if known is None else f"{format_value_error(known.value, 0.0)} ({known.source})"
    finally_ = ", not yet there. "
    if evaluated is not None:
        finally_ = f", {format_value_error(evaluated.value, evaluated.sigma)}. "
    caption = (
        f"Energy per site during training (top; band: one standard error of a step's mean, from its "
        f"{count(training.chains)} chains) against the reference, {named}, and the relative error (bottom). Training "
        f"energies are noisy and, where reweighted, biased by a finite sample: only the evaluated energy counts"
        + finally_
        + (
            f"{below} of {len(step)} steps fluctuated below E0 and have no point on the logarithmic axis. "
            if below
            else ""
        )
        + _which(len(step))
        + made
    )
    name = f"training-{index}"
    return Plot(name, f"Training of {training.name}", caption, render(name, (WIDTH, 4.6), draw))


def _stages(trained: list[Training], evaluated: dict[str, Energy], made: str) -> Plot:
    """The paper's Fig. 11: every stage's energy, one stage behind another."""

    def draw(figure: Figure) -> None:
        axes, first = figure.subplots(), 0
        for colour, training in zip(cycle(COLOURS), trained, strict=False):
            steps = np.arange(first, first + training.steps)
            mean, some = running_mean(_array(training.curve.energy)), drawn(training.steps)
            label = f"{training.name}, {training.symmetry}"
            axes.plot(steps[some], mean[some], color=colour, linewidth=1, label=label)
            energy = evaluated.get(training.name)
            if energy is not None and energy.value is not None:
                axes.errorbar(steps[-1:], [energy.value], [energy.sigma or 0.0], fmt="o", color=colour, markersize=4)
            if training.paper is not None:
                axes.hlines(training.paper.end, first, first + training.steps, color=colour, linestyle=":")
            first += training.steps
        ends = [energy.value for energy in evaluated.values() if energy.value is not None]
        if ends:  # a fresh network starts so high that nothing else would be seen
            axes.set_ylim(min(ends) - 0.005, max(ends) + 0.02)
        axes.set(xlabel="step, all stages together", ylabel="E/N")
        figure.legend(loc="outside upper center", ncols=3)

    caption = (
        f"Energies per site of each stage during training (mean of the last {WINDOW} steps), evaluated afresh at its "
        f"end (points, one standard error), and the end of the paper's stage of that lattice (dotted). Of a stage of "
        f"more than {DRAWN} steps, as many, evenly spaced. {made}"
    )
    return Plot("stages", "Stages of transfer learning", caption, render("stages", (WIDTH, 4.0), draw))


def _relative_errors(axes: Axes, x: NDArray[np.float64], energies: list[Energy], colour: str, label: str) -> None:
    """Relative errors of energies with an exact one, with their errors, on a logarithmic axis.

    One at or below zero becomes a triangle at its upper limit, two errors above it; where that is negative too, a
    cross on the lower edge.
    """
    value = _array(tuple(energy.above(energy.exact) for energy in energies))
    error = _array(tuple(energy.sigma for energy in energies))
    error /= np.array([abs(energy.exact.value) for energy in energies if energy.exact is not None])
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


def _against_j2(energies: list[Energy], exact: list[Exact], made: str) -> Plot:
    sizes = sorted({energy.L for energy in energies} | {record.L for record in exact})

    def draw(figure: Figure) -> None:
        top, bottom = _panels(figure, [1.4, 1.0])
        bottom.set_yscale("log")
        for colour, size in zip(cycle(COLOURS), sizes, strict=False):
            own = [energy for energy in energies if size == energy.L]
            known = {energy.J2: energy.exact.value for energy in own if energy.exact is not None}
            known |= {record.J2: record.value for record in exact if size == record.L and record.value is not None}
            couplings = sorted(known)
            label = f"{size}x{size} exact"
            top.plot(couplings, [known[j] for j in couplings], "--_", color=colour, markersize=14, label=label)
            x = np.array([energy.J2 for energy in own])
            if own:
                energy, error = (_array(tuple(getattr(e, key) for e in own)) for key in ("value", "sigma"))
                top.errorbar(x, energy, error, fmt="o", color=colour, capsize=3, label=f"{size}x{size} evaluated")
            _relative_errors(bottom, x, own, colour, f"{size}x{size}")
        top.set_ylabel("E/N")
        top.legend()
        bottom.set(xlabel="J2/J1", ylabel="(E - E0)/|E0|")
        bottom.margins(y=0.2)

    caption = (
        "Evaluated energies per site (circles; bars: one standard error by blocking, which may be smaller than the "
        "circle) and exact ones (dashes; the line between them only guides the eye); below, the relative error with "
        "its standard error. An energy at or below E0 shows as a triangle at its upper limit (two standard errors "
        "above it), or as a cross on the lower edge if even that is below E0. The tables name the sources of the "
        "exact energies. " + made
    )
    return Plot("energy-j2", "Energy against J2", caption, render("energy-j2", (WIDTH, 4.6), draw))


def _phases(runs: list[Training], made: str) -> Plot:
    names = list(dict.fromkeys([*PHASES, *(phase for run in runs for phase in run.phases)]))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        totals = np.array([sum(run.phases.values()) for run in runs])
        parts = {
            name.replace("_", " "): (
                PHASES.get(name, GREY),
                np.array([run.phases.get(name, 0.0) for run in runs]) / totals,
            )
            for name in names
        }
        stacked_bars(axes, parts, lambda share: f"{share:.0%}" if share >= 0.06 else "", size=8)
        name_rows(axes, [run.name for run in runs])
        axes.set(xlim=(0, 1), xlabel="share of the timed phases")
        figure.legend(loc="outside upper center", ncols=len(names))

    totals = "; ".join(
        f"{run.name}: {duration(sum(run.phases.values()))} over {count(run.steps)} steps" for run in runs
    )
    caption = (
        f"Where an iteration's time goes, summed over each run ({totals}). Wall times of one run each on a machine "
        f"that may have been shared: without error bars. {made}"
    )
    size = (WIDTH, 1.2 + 0.36 * len(runs))
    return Plot("phases", "Share of an iteration by phase", caption, render("phases", size, draw))


def _throughput(timed: list[WorkTime], sgemm: float, made: str) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        fraction = _array(tuple(each.GFs for each in timed)) / sgemm
        median, fastest, slowest = (_array(tuple(getattr(t, key) for t in timed)) for key in ("value", "low", "high"))
        bars = whiskers(fraction, fraction * median / slowest, fraction * median / fastest)
        style = {"capsize": 3, "ecolor": "black"}
        axes.barh(range(len(timed)), fraction, 0.6, xerr=bars, color=SKY, error_kw=style)
        name_rows(axes, [_timed(each) for each in timed])
        axes.set(xlim=(0, 1.1 * float((fraction + bars[1]).max())), xlabel="fraction of the measured sgemm rate")

    repeats = sorted({each.repeats for each in timed if each.repeats is not None})
    caption = (
        f"Arithmetic rate of the forward pass, {COUNTED}, over that of a single-precision matrix product (sgemm), "
        f"measured in the same session at {number(sgemm)} GF/s. Bars: medians of "
        f"{' or '.join(map(str, repeats))} repeats; whiskers: fastest and slowest repeat. {made}"
    )
    size = (WIDTH, 0.9 + 0.36 * len(timed))
    return Plot("throughput", "Forward throughput against sgemm", caption, render("throughput", size, draw))


def _timed(timing: WorkTime) -> str:
    """Short name of what was timed."""
    what = timing.work.removeprefix("forward").strip()
    return f"{timing.network} {what}".strip() + f", {timing.L}x{timing.L}, batch {timing.batch}"


def _health(index: int, training: Training, made: str) -> Plot:
    curve = training.curve
    step = _array(curve.step)
    some = drawn(len(step))

    def draw(figure: Figure) -> None:
        panels = _panels(figure, [1.0] * 4)
        columns = (curve.acceptance, curve.effective_fraction, curve.alpha, curve.r_hat)
        labels = ("acceptance", "effective\nfraction", "alpha", "R-hat")
        for axes, values, label, colour in zip(panels, columns, labels, COLOURS, strict=False):
            axes.plot(step[some], _array(values)[some], color=colour, linewidth=1.2)
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
        f"agree). Diagnostics of {count(training.chains)} chains, without error bars. Chains restarted as abnormal, "
        f"over all steps: {count(sum(curve.restarted))}. {_which(len(step))}{made}"
    )
    name = f"sampler-{index}"
    return Plot(name, f"Sampler health of {training.name}", caption, render(name, (WIDTH, 4.8), draw))
