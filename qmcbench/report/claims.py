"""What every chapter has: its checks, its judgement, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from qmcbench.gates.check import KINDS, Check, Verdict
from qmcbench.provenance import Provenance
from qmcbench.report.document import Cell, Judgement, Row, Table
from qmcbench.report.numbers import DASH, distinct, duration, number
from qmcbench.store.records import Run


def together(runs: Iterable[Run], part: Callable[[Run], str]) -> list[dict[str, Run]]:
    """The runs of each chapter by the part that they are: at most one of each, another begins another chapter."""
    chapters: list[dict[str, Run]] = []
    for run in runs:
        name = part(run)
        chapter = next((each for each in chapters if name not in each), None)
        if chapter is None:
            chapters.append(chapter := {})
        chapter[name] = run
    return chapters


def numbered(name: str, position: int) -> str:
    """The name of a chapter, of which there may be several, from 1 on."""
    return name if position == 1 else f"{name}-{position}"


COUNTED = {Verdict.INCONCLUSIVE: "inconclusive", Verdict.NOT_MEASURED: "not measured"}


def judge(checks: Sequence[Check], remarks: Sequence[str] = (), missing: Sequence[str] = ()) -> Judgement:
    """The headline of some checks: how many passed, and beside it what did not, was not decided or was not run.

    Parameters
    ----------
    remarks
        What else a reader must know at once.
    missing
        Parts that the run should have and does not: without them nothing has passed as a whole.
    """
    sorted_out = {verdict: [each for each in checks if each.verdict is verdict] for verdict in Verdict}
    passed, failed = sorted_out[Verdict.PASS], sorted_out[Verdict.FAIL]
    headline = f"{len(passed)} of {len(checks)} checks passed" if checks else "No checks were run"
    if failed:
        headline += f", {len(failed)} failed"
    headline += "".join(
        f", {len(those)} {word}" for verdict, word in COUNTED.items() if (those := sorted_out[verdict])
    )
    said = list(remarks)
    for verdict, word in COUNTED.items():
        if sorted_out[verdict]:
            said.insert(0, f"{word.capitalize()}: {'; '.join(each.name for each in sorted_out[verdict])}.")
    if missing:
        headline += ", incomplete"
        said.insert(0, f"Incomplete: there is no {', no '.join(missing)}.")
    undecided = [f"{each.name} ({each.check})" for each in sorted_out[Verdict.INCONCLUSIVE]]
    everything = len(passed) == len(checks) and not missing
    failures = [failure(each) for each in failed]
    whole = everything if checks or missing else None
    return Judgement(headline, whole, failures, said, undecided, len(passed), len(checks))


def failure(check: Check) -> str:
    """A failed check in words."""
    value, bound = distinct(check.value, check.bound)
    outcome = f"Value {value.replace(DASH, 'not finite')}, which should be {check.relation} {bound}."
    return f"{check.name} ({check.check}): {check.statement} {outcome}"


def check_tables(checks: Sequence[Check]) -> list[Table]:
    """One table for each kind of check that there is."""
    kinds = dict.fromkeys([*KINDS, *(check.check for check in checks)])
    return [_table(kind, those) for kind in kinds if (those := [check for check in checks if check.check == kind])]


def _table(kind: str, checks: Sequence[Check]) -> Table:
    aims = any(check.aim is not None for check in checks)
    rows: list[Row] = []
    for check in checks:
        word = str(check.verdict)
        value, bound = distinct(check.value, check.bound)
        row: Row = [
            Cell(word, "bad") if check.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE) else word,
            check.name, value, f"{check.relation} {bound}",
        ]  # fmt: skip
        row += [number(check.aim)] if aims else []
        why = "" if check.not_run is None else f" Not measured: {check.not_run}."
        why += "" if check.doubt is None else f" Nothing is decided: {check.doubt}."
        rows.append([*row, check.statement + why])
    columns = ["verdict", "check", ">value", ">bound", *([">aim"] if aims else []), "statement"]
    return Table(f"Kind: {kind}", columns, rows, KINDS.get(kind, ""))


def machine_text(made: Provenance) -> str:
    """The computer in one line."""
    host = made.machine
    return ", ".join((host.cpu, f"{host.cores} cores", f"{number(host.memory_GiB)} GiB", host.system))


def versions_text(made: Provenance) -> str:
    """The versions in one line."""
    named = {"Python": made.python, **made.versions}
    return ", ".join(f"{package} {version}" for package, version in named.items() if version)


def provenance_table(run: Run, more: Sequence[Row] = ()) -> Table:
    """Command, versions, machine, seed and time, and ``more`` rows of item and value."""
    made = run.provenance
    rows: list[Row] = [
        ["command", Cell(made.command, "code")],
        ["versions", versions_text(made)],
        ["machine", machine_text(made)],
        ["GPU", made.machine.gpu or "none"],
        ["torch threads", str(made.machine.torch_threads)],
        ["date", made.date],
        ["seed", str(run.seed)],
        *more,
        ["time of this command", duration(run.seconds)],
    ]
    return Table("What these numbers were made with", ["item", "value"], rows)
