"""The last chapter of the book: where every number comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qmcbench.report.claims import machine_text, versions_text
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.numbers import DASH, count, duration
from qmcbench.store.records import Run


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter of all runs."""
    records = sum(len(run.records) for run in runs)
    machines = len({run.provenance.machine.cpu for run in runs})
    words = f"{count(len(runs))} runs, {count(records)} records, {machines} kind{'s' * (machines != 1)} of machine"
    sections = [Section("Runs", [_runs(runs)]), Section("Records", [_kinds(runs)])]
    return [
        Chapter("provenance", "Where the numbers come from", Judgement(words, True, [], []), sections, "Provenance")
    ]


def _runs(runs: Sequence[Run]) -> Table:
    rows: list[Row] = [
        [
            run.job, run.profile or DASH, "quick" if run.quick else "full", count(len(run.records)),
            Cell(run.provenance.command, "code"), run.provenance.date, machine_text(run.provenance),
            run.provenance.machine.gpu or "none", str(run.provenance.machine.torch_threads),
            "none" if run.seed is None else str(run.seed), duration(run.seconds), versions_text(run.provenance),
        ]
        for run in runs
    ]  # fmt: skip
    columns = [
        "job", "profile", "sizes", ">records", "command", "date", "machine", "GPU", ">torch threads", ">seed",
        ">time", "versions",
    ]  # fmt: skip
    return Table("Every run", columns, rows)


def _kinds(runs: Sequence[Run]) -> Table:
    found = Counter((record.kind, run.job) for run in runs for record in run.records)
    rows: list[Row] = [[kind, job, count(number)] for (kind, job), number in sorted(found.items())]
    return Table("Records by kind", ["kind", "job", ">records"], rows)
