"""The hot path in the benchmark chapter: forms of the forward pass, steps, samples a second, derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from qmcbench.bench.names import DERIVATIVES, FORWARD, FOURIER, FUSED, PLAIN, SCALAR, SOLVE
from qmcbench.bench.roofline import of_sgemm, rates
from qmcbench.report.bench.words import gib, lattice, spread, threads, whence
from qmcbench.report.colours import BLUE, GREY, ORANGE, PURPLE, SKY
from qmcbench.report.document import Row, Table
from qmcbench.report.figure import WIDTH, Plot, name_rows, render, whiskers
from qmcbench.report.numbers import DASH, count, duration, fixed, number, percent
from qmcbench.store.bench import Memory, SamplingRate, Step, WorkTime
from qmcbench.store.records import Run

COLOURS = {SCALAR: GREY, PLAIN: ORANGE, FUSED: SKY, FOURIER: BLUE}


def tables(run: Run) -> list[Table]:
    """The forward pass in its forms, the steps that made it faster, samples per second, and the derivatives."""
    return [_forwards(run), _steps(run.of(Step)), _sampling(run.of(SamplingRate)), _derivatives(run)]


def plots(run: Run) -> list[Plot]:
    """Fractions of sgemm of the forward pass, and what each step was meant to bring and brought."""
    forwards, steps = _counted(run), run.of(Step)
    return (_forward_plot(run, forwards) if forwards and "sgemm" in rates(run) else []) + (
        _steps_plot(run, steps) if steps else []
    )


def _counted(run: Run) -> list[WorkTime]:
    return [each for each in run.of(WorkTime) if each.work == FORWARD and each.operations is not None]


def _forwards(run: Run) -> Table:
    every = [each for each in run.of(WorkTime) if each.work == FORWARD]
    plain = {_size(each): each for each in every if each.form == PLAIN}
    rows: list[Row] = []
    for each in every:
        before = plain.get(_size(each))
        rows.append([
            lattice(each), count(each.batch), each.form, count(each.threads), duration(each.value),
            spread(each.low, each.high), count(each.repeats), number(each.GFs),
            fixed(of_sgemm(each, rates(run)), 2), fixed(before.value / each.value if before else None, 2),
        ])  # fmt: skip
    columns = [
        "network", ">batch", "form", ">cores", ">median", ">min..max", ">repeats", ">GF/s", ">of sgemm",
        ">times as fast as plain",
    ]  # fmt: skip
    sgemm = rates(run).get("sgemm")
    caption = (
        "One forward pass of a batch, float32. Plain: PyTorch's own operations, one after another; scalar: plain "
        "loops on one core; fused and fourier: this package's. GF/s: the network's fused multiply-adds, of which "
        "Fourier space needs a fraction (so rates above sgemm's are no mistake), counted as two "
        f"operations each, over the median time; sgemm, by the same library: "
        f"{number(sgemm.value if sgemm else None)} GF/s on {threads(run)} threads."
    )
    return Table("Forward pass", columns, rows, caption)


def _size(work: WorkTime) -> tuple[object, ...]:
    """What two forms of the same pass on as many cores have in common."""
    return work.network, work.L, work.batch, work.threads


def _steps(steps: Sequence[Step]) -> Table:
    rows: list[Row] = [
        [
            step.name, step.workload, duration(step.before_s), duration(step.after_s), fixed(step.predicted, 2),
            fixed(step.value, 2), step.remark,
        ]
        for step in steps
    ]  # fmt: skip
    columns = ["step", "workload", ">before", ">after", ">predicted", ">measured", "remark"]
    caption = (
        "How many times as fast each change was predicted to make the workload, and made it: the median of the "
        "ratios, turn by turn, and not the ratio of the median times before and after. A dash: not predicted."
    )
    return Table("Steps", columns, rows, caption)


def _sampling(found: Sequence[SamplingRate]) -> Table:
    rows: list[Row] = [
        [
            lattice(each), each.symmetry, each.weights or DASH, count(each.chains), count(each.proposals),
            number(each.value), f"{number(each.low)}..{number(each.high)}", count(each.repeats),
            percent(each.acceptance), f"one sweep of {each.proposals} proposals and one local energy a sample",
        ]
        for each in found
    ]  # fmt: skip
    columns = [
        "network", "symmetry", "weights", ">chains", ">proposals", ">samples/s", ">min..max", ">repeats",
        ">acceptance", "remark",
    ]  # fmt: skip
    caption = (
        "Samples of all chains a second, each after so many proposals. Medians and range of the repeats. C4: the "
        "amplitudes of all four rotations are computed."
    )
    return Table("Samples per second", columns, rows, caption)


def _derivatives(run: Run) -> Table:
    times = {each.work: each for each in run.of(WorkTime)}
    derivatives, solve = times.get(DERIVATIVES), times.get(SOLVE)
    rows: list[Row] = [
        [
            lattice(memory), count(memory.batch), duration(derivatives.value if derivatives else None),
            duration(solve.value if solve else None), gib(memory.value), gib(memory.before),
            count(derivatives.repeats if derivatives else None),
        ]
        for memory in run.of(Memory)
    ]  # fmt: skip
    columns = ["network", ">samples", ">log-derivatives", ">step", ">peak memory", ">held before", ">repeats"]
    caption = (
        "Log-derivatives of all samples and the stochastic-reconfiguration step in sample space: medians of the "
        "seconds, and the most memory that the process held, with what it held before."
    )
    return Table("Log-derivatives and step", columns, rows, caption)


def _forward_plot(run: Run, rows: Sequence[WorkTime]) -> list[Plot]:
    several = len({row.threads for row in rows}) > 1
    labels = [
        f"{lattice(row)}, batch {row.batch}, {row.form}"
        + (f", {row.threads} core{'s' * (row.threads != 1)}" if several else "")
        for row in rows
    ]
    sgemm = rates(run)["sgemm"].value

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ends = [(row.value, row.low or row.value, row.high or row.value) for row in rows]
        operations = np.array([row.operations or 0.0 for row in rows])
        fraction, fastest, slowest = operations / np.array(ends).T / 1e9 / sgemm
        bars = whiskers(fraction, slowest, fastest)
        colours = [COLOURS.get(row.form, PURPLE) for row in rows]
        axes.barh(range(len(rows)), fraction, 0.65, xerr=bars, color=colours, error_kw={"capsize": 2})
        name_rows(axes, labels)
        axes.set(xlim=(0, 1.08 * float((fraction + bars[1]).max())), xlabel="fraction of the measured sgemm rate")

    caption = (
        "Rate of a forward pass (fused multiply-adds) over that of a single-precision matrix product, "
        f"{number(sgemm)} GF/s in the same session. Colours tell the forms apart: the scalar loops, PyTorch's plain "
        "operations, and this package's fused network and its form in Fourier space, which needs fewer multiply-adds "
        f"than are counted. Medians; whiskers: fastest and slowest repeat. {whence(run)}"
    )
    size = (WIDTH, 0.9 + 0.24 * len(rows))
    return [Plot("forward", "Forward pass against sgemm", caption, render("forward", size, draw))]


def _steps_plot(run: Run, steps: Sequence[Step]) -> list[Plot]:
    bars: dict[str, list[float | None]] = {
        "predicted": [step.predicted for step in steps],
        "measured": [step.value for step in steps],
    }

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for offset, (name, values), colour in zip((-0.18, 0.18), bars.items(), ("#c8c8c8", BLUE), strict=True):
            widths = np.array([np.nan if value is None else value for value in values])
            axes.barh(np.arange(len(steps)) + offset, widths, 0.34, color=colour, label=name)
            for row, value in enumerate(values):
                if value is not None:
                    axes.text(value, row + offset, f" {value:.2f}", va="center", fontsize=7)
        axes.axvline(1.0, color="black", linewidth=1)
        name_rows(axes, [f"{step.name}\n{step.workload}" for step in steps])
        axes.margins(x=0.1)
        axes.set_xlabel("times as fast as before")
        figure.legend(loc="outside upper center", ncols=2)

    caption = (
        "How many times as fast each step was predicted to make its workload, and made it; medians of the ratios, "
        f"without error bars (the table of steps has the times). The line: as fast as before. {whence(run)}"
    )
    size = (WIDTH, 1.0 + 0.48 * len(steps))
    return [Plot("steps", "Steps of the hot path", caption, render("steps", size, draw))]
