"""What every report has: its checks and where its numbers come from."""

from __future__ import annotations

from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import Result
from qmcbench.report.numbers import DASH, distinct, duration, number

KINDS = {
    "exact": "Full sums and dense algebra: tight tolerances, no statistics.",
    "unbiased": "Monte Carlo against full sums at fixed parameters: two-sided, at a stated false-alarm rate.",
    "variational": "No energy may lie below the exact one by more than its error allows: a violation is a bug.",
    "convergence": "How close training came: the upper bound of the relative error against a tolerance.",
}
"""The kinds of check, in the order of the report."""


def failed_checks(checks: list[Result]) -> list[str]:
    """Every failed check in words."""
    failures = []
    for check in checks:
        if not check["passed"]:
            value, bound = distinct(check["value"], check["bound"])
            found = f"Value {value.replace(DASH, 'not finite')}, bound {bound}."
            failures.append(f"{check['name']} ({check['kind']}): {check['statement']} {found}")
    return failures


def check_tables(checks: list[Result]) -> list[Table]:
    """One table for each kind of check."""
    kinds = dict.fromkeys([*KINDS, *(check["kind"] for check in checks)])
    return [_checks(kind, checks) for kind in kinds]


def _checks(kind: str, checks: list[Result]) -> Table:
    rows: list[Row] = []
    for check in checks:
        if check["kind"] == kind:
            passed: str | Cell = "passed" if check["passed"] else Cell("FAILED", "bad")
            rows.append([passed, check["name"], *distinct(check["value"], check["bound"]), check["statement"]])
    return Table(
        f"Kind: {kind}", ["result", "check", ">value", ">bound (at most)", "statement"], rows, KINDS.get(kind, "")
    )


def provenance_table(results: Result, more: list[Row]) -> Table:
    """Command, versions, machine, seed and time, and ``more`` rows of item and value."""
    origin = results["provenance"]
    machine = origin["machine"]
    versions = {"Python": origin["python"], **origin["versions"]}
    host = (machine["cpu"], f"{machine['cores']} cores", f"{number(machine['memory_GiB'])} GiB", machine["system"])
    rows: list[Row] = [
        ["command", Cell(origin["command"], "code")],
        ["versions", ", ".join(f"{package} {version}" for package, version in versions.items() if version)],
        ["machine", ", ".join(host)],
        ["GPU", machine["gpu"] or "none"],
        ["torch threads", str(machine["torch_threads"])],
        ["date", origin["date"]],
        ["seed", str(results["seed"])],
        *more,
        ["time of this command", duration(results["seconds"])],
    ]
    return Table("What these numbers were made with", ["item", "value"], rows)
