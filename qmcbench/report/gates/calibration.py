"""The chapter of a calibration: alarms of every statistical check on correct code, against its stated rate."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from qmcbench.gates.calibrated import allowed, claims, words
from qmcbench.report.claims import judge, provenance_table
from qmcbench.report.colours import BLUE, GREY, VERMILION
from qmcbench.report.document import Cell, Chapter, Row, Section, Table
from qmcbench.report.figure import Plot, name_rows, origin, render
from qmcbench.report.numbers import count, number, percent
from qmcbench.store.gates import Calibration
from qmcbench.store.records import Run

LOW, HIGH = 0.995, 0.005
"""Of a binomial number: what it exceeds with these probabilities bounds the shown range of 99 %."""


def calibration(run: Run, place: int) -> Chapter:
    """The chapter of one calibration, the ``place``-th from 1."""
    counts = run.of(Calibration)
    fewest, most = min(each.replicas for each in counts), max(each.replicas for each in counts)
    replicas = count(most) if fewest == most else f"{count(fewest)} to {count(most)}"
    remarks = [
        words(run),
        f"{replicas} replicas of each check. Smallest effects were enlarged {counts[0].enlarged:g} times, so that a "
        "replica takes fewer samples; the laws behind the bounds are worst where samples are few.",
    ]
    if undecided := sum(each.inconclusive for each in counts):
        remarks.append(f"{count(undecided)} replicas were inconclusive: too noisy by the rule of their gate.")
    return Chapter(
        name="calibration" if place == 1 else f"calibration-{place}",
        title="Calibration of the gates",
        judgement=judge(claims(run), remarks),
        sections=[
            Section("Alarms on correct code", [_table(run)], [_plot(run, counts)]),
            Section("Provenance", [provenance_table(run)]),
        ],
    )


def _table(run: Run) -> Table:
    rows: list[Row] = []
    for each, claim in zip(run.of(Calibration), claims(run), strict=True):
        alarms = count(len(each.alarms))
        seeds = ", ".join(map(str, each.alarms[:12])) + (" ..." if len(each.alarms) > 12 else "")
        rows.append(
            [each.gate, each.check, count(each.replicas), count(each.samples),
             alarms if claim.passed else Cell(alarms, "bad"), number(each.rate * each.replicas),
             number(claim.bound), percent(each.value), count(each.inconclusive), seeds]
        )  # fmt: skip
    columns = ["gate", "check", ">replicas", ">samples", ">alarms", ">expected", ">allowed", ">rate", ">inconclusive"]
    caption = (
        "Allowed: what a check that keeps to its rate exceeds in one of a thousand calibrations, all checks together."
    )
    return Table("Alarms of one stage", [*columns, "seeds that alarmed"], rows, caption)


def _plot(run: Run, counts: Sequence[Calibration]) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, each in enumerate(counts):
            low, high = (100 * allowed(each, tail) / each.replicas for tail in (LOW, HIGH))
            axes.barh(row, high - low, left=low, height=0.7, color="#d9d9d9")
            wrong = len(each.alarms) > allowed(each, HIGH)
            axes.plot(100 * len(each.alarms) / each.replicas, row, "o", ms=4, color=VERMILION if wrong else BLUE)
        axes.axvline(100 * counts[0].rate, color=GREY, lw=1)
        name_rows(axes, [each.check for each in counts])
        axes.set_xlabel("alarms on correct code (%)")
        axes.set_xlim(left=0)

    return Plot(
        name="alarms",
        title="Alarms of each check on correct code",
        caption="Points: share of replicas that raised an alarm. Line: the stated rate. Bars: where a check "
        f"that keeps to it lies in 99 of 100 calibrations. {origin(run)}",
        svg=render("alarms", (5.2, 0.9 + 0.19 * len(counts)), draw),
    )
