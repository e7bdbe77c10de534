"""The chapter of ``qmcbench gate``, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.gates import summary
from qmcbench.gates.check import Check, Verdict
from qmcbench.report.claims import check_tables, judge, provenance_table
from qmcbench.report.document import Cell, Chapter, Row, Section, Table
from qmcbench.report.gates.calibration import calibration
from qmcbench.report.gates.mutants import mutants
from qmcbench.report.numbers import duration
from qmcbench.store.gates import Calibration, GateRun, GateSession, Mutant
from qmcbench.store.records import Run


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter for each run of gates, each table of mutants and each calibration."""
    kinds = ((GateSession, _chapter), (Mutant, mutants), (Calibration, calibration))
    return [
        make(run, number)
        for kind, make in kinds
        for number, run in enumerate((run for run in runs if run.of(kind)), start=1)
    ]


def _chapter(run: Run, number: int) -> Chapter:
    session = run.of(GateSession)[0]
    remarks = [
        f"Correct code fails with a probability of {session.value:g} in the whole run: {session.tests} statistical "
        f"tests of two stages, each at {session.stage_rate:.2g}.",
        *summary.failures(run),
    ]
    checks = [check for check in run.of(Check) if check.verdict is not Verdict.NOT_MEASURED]
    return Chapter(
        name="gates" if number == 1 else f"gates-{number}",
        title=f"Gates: {session.target}, {session.L}x{session.L}, J2 = {session.J2:g}",
        judgement=judge(checks, remarks),
        sections=[
            Section("Gates", [gates_table(run)]),
            Section("Checks", check_tables(checks)),
            Section("Provenance", [provenance_table(run)]),
        ],
    )


def gates_table(run: Run, *, skipped: bool = True) -> Table:
    """One row for each gate: verdict, time, and what it proves; perhaps without those that were skipped."""
    rows: list[Row] = []
    for each in run.of(GateRun):
        if each.not_run is not None and not skipped:
            continue
        word = "skipped" if each.not_run is not None else str(summary.verdict(run, each.name))
        bad = word in (Verdict.FAIL, Verdict.INCONCLUSIVE)
        about = each.about if each.not_run is None else f"{each.about} Skipped: {each.not_run}."
        rows.append([Cell(word, "bad") if bad else word, each.name, duration(each.value), about])
    return Table(summary.headline(run).split("\n")[0], ["verdict", "gate", ">time", "what it proves"], rows)
