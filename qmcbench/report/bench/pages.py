"""The benchmark chapter: peers, hot path, limits, speedup, hotspots, growth, a GPU and the asv suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from qmcbench.bench.claims import Parts, checks
from qmcbench.bench.names import COMMANDS, PEERS
from qmcbench.errors import UserError
from qmcbench.gates.check import Check
from qmcbench.report.bench import (
    accuracy,
    device,
    growth,
    hotpath,
    hotspots,
    limits,
    optimisers,
    peers,
    speedup,
    suite,
)
from qmcbench.report.claims import check_tables, judge, machine_text, numbered, together, versions_text
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.figure import Plot
from qmcbench.report.numbers import number
from qmcbench.store.bench import PeerProgram
from qmcbench.store.records import Run

TITLE = "qmcbench bench: how fast, against what, and where the time goes"
ABSENT = {"device": "no GPU where the rest was measured: large on 10x10, 16x16 and 24x24"}
"""Why a part is not there, if nobody could have run it."""


class Content(NamedTuple):
    """What the chapter has of one part."""

    title: str
    tables: Callable[[Run], list[Table]]
    plots: Callable[[Run], list[Plot]] = lambda run: []


CONTENTS = {
    "peers": Content("Peers", peers.tables, peers.plots),
    "accuracy": Content("Time to accuracy", accuracy.tables, accuracy.plots),
    "hotpath": Content("Hot path", hotpath.tables, hotpath.plots),
    "limits": Content("Limits of this machine", limits.tables, limits.plots),
    "speedup": Content("Speedup over one scalar core (paper Fig. 8)", speedup.tables, speedup.plots),
    "hotspots": Content("Hotspots of the forward pass (paper Fig. 7)", hotspots.tables, hotspots.plots),
    "growth": Content("Growth of the cost", growth.tables, growth.plots),
    "device": Content("On a GPU", device.tables),
    "optimisers": Content("Ways of optimising, in equal seconds", optimisers.tables),
    "suite": Content("Benchmark suite (asv)", suite.tables),
}
"""The parts in the order of the chapter."""


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """A chapter of the parts; another one for parts that are there again.

    Raises
    ------
    UserError
        If a run is of no part that there is, or the records of a part are not complete.
    """
    return [_chapter(parts, numbered("bench", n)) for n, parts in enumerate(together(runs, part), start=1)]


def part(run: Run) -> str:
    """The part that a run is of.

    Raises
    ------
    UserError
        If it is of none.
    """
    name = run.job.removeprefix("bench ")
    if name not in CONTENTS:
        raise UserError(f"The job {run.job!r} of a run is not `bench` and one of {', '.join(CONTENTS)}.")
    return name


def tables(run: Run) -> list[Table]:
    """The tables of one part that have rows.

    Raises
    ------
    UserError
        As :func:`chapters`.
    """
    return [table for table in CONTENTS[part(run)].tables(run) if table.rows]


def _chapter(parts: Parts, name: str) -> Chapter:
    found = checks(parts)
    sections = [Section("Checks", [*check_tables(found), _not_run(parts)])]
    for each, content in CONTENTS.items():
        if each in parts:
            plots = content.plots(parts[each])
            sections.append(Section(content.title, tables(parts[each]), plots, "This part was run, and is empty."))
        else:
            sections.append(Section(content.title, empty=f"Nothing yet; {COMMANDS[each]} makes it."))
    sections.append(Section("Provenance", [_provenance(parts)]))
    return Chapter(name, TITLE, _judgement(found, parts), sections)


def _judgement(found: Sequence[Check], parts: Parts) -> Judgement:
    remarks = []
    quick = [name for name, run in parts.items() if run.quick]
    if quick:
        remarks.append(
            f"Measured at quick sizes, which say only that it works and decide nothing: {', '.join(quick)}."
        )
    absent = [name for name in COMMANDS if name not in parts]
    if absent:
        remarks.append(f"Parts not run: {', '.join(absent)}.")
    for check in found:
        if check.passed and check.aim is not None and check.value is not None:
            words = "reached" if check.value >= check.aim else "not reached"
            remarks.append(f"{check.name}: {number(check.value)}; the aim of {number(check.aim)} is {words}.")
    return judge(found, remarks)


def _not_run(parts: Parts) -> Table:
    """What this chapter lacks, and the commands that measure it."""
    rows: list[Row] = []
    for name, command in COMMANDS.items():
        if name not in parts:
            rows.append([name, ABSENT.get(name, "not asked for yet"), Cell(command, "code")])
        elif parts[name].quick:
            rows.append([name, "at quick sizes only", Cell(command, "code")])
    compared = {each.program for each in parts["peers"].of(PeerProgram)} if "peers" in parts else set(PEERS)
    for peer in PEERS:
        if peer not in compared:
            rows.append([f"peers: {peer}", "left out of this comparison", Cell(COMMANDS["peers"], "code")])
    return Table("Not run", ["what", "why", "command that runs it"], rows)


def _provenance(parts: Parts) -> Table:
    """Where each part comes from."""
    rows: list[Row] = [
        [
            name, "quick" if run.quick else "full", Cell(run.provenance.command, "code"), run.provenance.date,
            machine_text(run.provenance), run.provenance.machine.gpu or "none",
            str(run.provenance.machine.torch_threads), versions_text(run.provenance),
        ]
        for name, run in parts.items()
    ]  # fmt: skip
    columns = ["part", "sizes", "command", "date", "machine", "GPU", ">torch threads", "versions"]
    caption = (
        "Each part is measured by itself. peers: the threads of the comparison, which its table gives, and not those "
        "of torch here, are what counted."
    )
    return Table("What these numbers were made with", columns, rows, caption)
