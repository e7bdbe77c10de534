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
    again = commands(made)
    wrong = (Verdict.FAIL, Verdict.INCONCLUSIVE)
    return [explain(check, again[check.gate]) for check in made.of(Check) if check.verdict in wrong]


def explain(check: Check, again: str) -> str:
    """What was expected, what was seen, how sure, the likely cause, and the command line that shows it again."""
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
    return "\n".join([*lines, f"  again:    {again}"])


def commands(made: Run) -> dict[str, str]:
    """By the name of each gate, the command line that runs it alone and again."""
    session = made.of(GateSession)[0]
    return {each.name: command(each, session, quick=made.quick) for each in made.of(GateRun)}


def command(gate: GateRun, session: GateSession, *, quick: bool = False) -> str:
    """The command line that runs one gate of a session alone, with the same bits.

    Its rate is the gate's share of the session's: so each of its tests has the same odds, and as many samples.
    """
    words = ["qmcbench", "gate", *([] if session.target == ENGINE else [session.target])]
    words += ["--L", str(session.L), "--j2", repr(session.J2), "--only", gate.name, "--seed", str(session.seed)]
    if gate.tests:
        words += ["--rate", f"{session.stage_rate**2 * gate.tests:.12g}"]
    if gate.effect is not None:
        words += ["--effect", f"{gate.name}={gate.effect!r}"]
    return shlex.join([*words, *(["--quick"] if quick else [])])
