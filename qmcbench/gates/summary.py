"""What the records of a run of gates come to: its exit status, and its words."""

from __future__ import annotations

import shlex
from enum import IntEnum

from qmcbench.gates.check import Check, Verdict, worst
from qmcbench.store.gates import GateRun, GateSession
from qmcbench.store.records import Run

ENGINE = "builtin"


class Status(IntEnum):
    """Exit status of a run of gates."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    UNDECIDED = 3
    """A gate was inconclusive, or none ran."""


def status(made: Run) -> Status:
    """The exit status: a failure outweighs what is undecided."""
    verdicts = [check.verdict for check in made.of(Check)]
    if Verdict.FAIL in verdicts:
        return Status.FAILED
    if Verdict.INCONCLUSIVE in verdicts or Verdict.PASS not in verdicts:
        return Status.UNDECIDED
    return Status.PASSED


def verdict(made: Run, name: str) -> Verdict:
    """The verdict of one gate: the worst of its checks'."""
    return worst(check for check in made.of(Check) if check.gate == name).verdict


def headline(made: Run) -> str:
    """``N gates ran: ... passed, ...; M skipped``."""
    gates = made.of(GateRun)
    ran = [each for each in gates if each.not_run is None]
    found = [verdict(made, each.name) for each in ran]
    parts = [f"{found.count(Verdict.PASS)} passed"]
    parts += [f"{found.count(Verdict.FAIL)} failed"] if Verdict.FAIL in found else []
    parts += [f"{found.count(Verdict.INCONCLUSIVE)} inconclusive"] if Verdict.INCONCLUSIVE in found else []
    skipped: dict[str, list[str]] = {}
    for each in gates:
        if each.not_run is not None:
            skipped.setdefault(each.not_run, []).append(each.name)
    words = f"{len(ran)} gate{'s' * (len(ran) != 1)} ran: {', '.join(parts)}; {len(gates) - len(ran)} skipped"
    return words + "".join(f"\n  skipped, {why}: {', '.join(names)}" for why, names in skipped.items())


def failures(made: Run) -> list[str]:
    """Every check that failed or decided nothing, in words."""
    session = made.of(GateSession)[0]
    wrong = (Verdict.FAIL, Verdict.INCONCLUSIVE)
    return [explain(check, session, quick=made.quick) for check in made.of(Check) if check.verdict in wrong]


def explain(check: Check, session: GateSession, *, quick: bool = False, again: str | None = None) -> str:
    """What was expected, what was seen, how sure it is, the likely cause, and how to see it again.

    ``again`` is the command line for that, where it is not :func:`command`'s.
    """
    seen = "nothing finite" if check.value is None else f"{check.value:.4g}"
    if check.sigma is not None:
        seen += f", with a standard error of {check.sigma:.2g}"
    lines = [
        f"{check.verdict} {check.gate}: {check.name}",
        f"  what:     {check.statement}",
        f"  expected: {check.relation} {check.bound:.4g}",
        f"  seen:     {seen}",
    ]
    if check.doubt is not None:
        lines.append(f"  doubt:    {check.doubt}")
    elif check.verdict is Verdict.INCONCLUSIVE:
        lines.append(f"  doubt:    the error is too large to see {check.smallest_effect:.2g}; take more samples")
    if check.false_alarm is not None and check.verdict is Verdict.FAIL:
        lines.append(f"  how sure: correct code fails with a probability of {check.false_alarm**2:.1e} (both seeds)")
    if check.verdict is Verdict.FAIL and check.cause:
        lines.append(f"  likely:   {check.cause}")
    return "\n".join([*lines, f"  again:    {again or command(check.gate, session, quick=quick)}"])


def command(gate: str, session: GateSession, *, quick: bool = False) -> str:
    """The command line that runs one gate of a session again."""
    words = ["qmcbench", "gate"]
    if session.target != ENGINE:
        words += [session.target, "--L", str(session.L), "--j2", f"{session.J2:g}"]
    words += ["--only", gate, "--seed", str(session.seed), "--rate", f"{session.value:g}"]
    return shlex.join([*words, *(["--quick"] if quick else [])])
