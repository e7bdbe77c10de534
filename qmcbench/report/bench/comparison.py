"""The page of a comparison of two sets of benchmarks: regressions first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from qmcbench.bench.compare import RATE, SMALLEST, Change, Comparison, Sample, Verdict
from qmcbench.report.claims import machine_text, versions_text
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.numbers import count, duration, fixed, number, percent
from qmcbench.store.records import Run

TITLE = "Two sets of benchmarks"


def chapter(comparison: Comparison, before: Sequence[Run], after: Sequence[Run]) -> Chapter:
    """Everything that a comparison says."""
    sections = [
        Section("Timings", [table(comparison.changes)]),
        Section("Where they come from", [_origin(before, after)]),
    ]
    alone = {"only before": comparison.only_before, "only after": comparison.only_after}
    rows: list[Row] = [[word, name] for word, names in alone.items() for name in names]
    if rows:
        sections.append(Section("Not compared", [Table("Not compared", ["where", "timing"], rows)]))
    return Chapter("comparison", TITLE, judgement(comparison, before, after), sections)


def judgement(comparison: Comparison, before: Sequence[Run], after: Sequence[Run]) -> Judgement:
    """How many timings are slower, faster, the same, or not decided."""
    found = Counter(each.verdict for each in comparison.changes)
    slower = comparison.of(Verdict.SLOWER)
    headline = f"{count(len(slower))} of {count(len(comparison.changes))} timings slower, " + ", ".join(
        f"{count(found[verdict])} {verdict}" for verdict in (Verdict.FASTER, Verdict.SAME, Verdict.UNDECIDED)
    )
    remarks = [
        f"Between the two sessions timings scatter by {percent(comparison.between)}; a change is one of {SMALLEST:g} "
        f"times or more that noise explains with a probability below {RATE:g} in all comparisons together."
    ]
    machines = [sorted({machine_text(run.provenance) for run in runs}) for runs in (before, after)]
    if machines[0] != machines[1]:
        remarks.insert(0, "The machines are not the same, so this compares machines too.")
    left = len(comparison.only_before) + len(comparison.only_after)
    remarks += [f"Timings that only one of them has: {left}."] if left else []
    return Judgement(headline, not slower, [], [*(_words(each) for each in slower[:5]), *remarks])


def _words(change: Change) -> str:
    return f"{number(change.ratio)} times slower: {change.what}."


def table(changes: Sequence[Change]) -> Table:
    """Every timing: the slower ones first."""
    rows: list[Row] = []
    for each in changes:
        word = str(each.verdict)
        low, high = (each.ratio * math.exp(sign * 1.96 * each.error) for sign in (-1, 1))
        rows.append([
            Cell(word, "bad") if each.verdict is Verdict.SLOWER else word, each.what, _shown(each.before),
            _shown(each.after), number(each.ratio), f"{number(low)}..{number(high)}", fixed(each.z, 1),
        ])  # fmt: skip
    columns = ["verdict", "timing", ">before", ">after", ">time after / before", ">95 %", ">standard errors"]
    caption = "Medians; rates as rates, with the ratio of the times. Above 1 is slower."
    return Table("Timings", columns, rows, caption)


def _shown(sample: Sample) -> str:
    return f"{number(1 / sample.seconds)} a second" if sample.rate else duration(sample.seconds)


def _origin(before: Sequence[Run], after: Sequence[Run]) -> Table:
    rows: list[Row] = [
        [
            word, run.job, Cell(run.provenance.command, "code"), run.provenance.date, machine_text(run.provenance),
            versions_text(run.provenance),
        ]
        for word, runs in (("before", before), ("after", after))
        for run in runs
    ]  # fmt: skip
    return Table("Where they come from", ["which", "job", "command", "date", "machine", "versions"], rows)
