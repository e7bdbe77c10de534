"""Runs gates on a target: which apply, at which odds, with a second seed for what raises an alarm.

The family-wise false-alarm rate of a run is shared out equally among all its statistical tests. Each test has two
stages, with seeds that are fixed beforehand: only one that fails with both seeds is a FAIL, so each stage is held at
the square root of the test's share. There is no other repetition. What is too noisy to see its smallest effect is
INCONCLUSIVE, and is not repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qmcbench import provenance
from qmcbench.errors import UserError
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.registry import Gate, Setting, load, select
from qmcbench.gates.targets.target import Target
from qmcbench.store.gates import GateRun, GateSession
from qmcbench.store.records import Record, Run

RATE = 1e-3
"""Family-wise false-alarm rate of a run, unless told otherwise."""
SECOND = 1 << 20
"""What is added to the seed in the second stage."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which gates to run, and at which odds."""

    only: Sequence[str] = ()
    levels: Sequence[str] = ()
    quick: bool = False
    seed: int = 0
    rate: float = RATE
    """Family-wise false-alarm rate of the whole run."""
    effects: Mapping[str, float] = field(default_factory=dict)
    """Smallest effects by the names of gates, where they are not to be the gates' own."""


def parse_effects(texts: Sequence[str]) -> dict[str, float]:
    """Smallest effects by the names of gates, from words of the form ``GATE=SIZE``.

    Raises
    ------
    UserError
        If one has another form.
    """
    effects = {}
    for text in texts:
        name, _, size = text.partition("=")
        try:
            effects[name] = float(size)
        except ValueError as error:
            raise UserError(f"{text!r} is not of the form GATE=SIZE, such as estimator/unbiased=1e-3.") from error
    return effects


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one gate."""

    gate: Gate
    checks: tuple[Check, ...]
    seconds: float = 0.0
    skipped: str | None = None
    """Why it did not run, if it did not."""

    def record(self, plan: Plan) -> GateRun:
        """Of the gate; what it found are the checks."""
        return GateRun(
            value=None if self.skipped else self.seconds,
            name=self.gate.name,
            about=self.gate.about,
            not_run=self.skipped,
            tests=self.gate.tests,
            effect=plan.effects.get(self.gate.name),
        )


def outcomes(target: Target, plan: Plan) -> Iterator[Outcome]:
    """Run the gates one by one, in the order of their levels.

    Raises
    ------
    UserError
        If the plan names a gate that there is not, or a rate or an effect is out of range.
    """
    gates = select(plan.only, plan.levels, quick=plan.quick)
    rate = stage_rate(target, plan, gates)
    for each in gates:
        yield _outcome(each, target, plan, rate)


def one(name: str, target: Target, plan: Plan) -> Outcome:
    """Run one gate of those that the plan selects, at the odds that it has among all of them.

    Raises
    ------
    UserError
        As :func:`outcomes`, or if the gate is not among them.
    """
    gates = select(plan.only, plan.levels, quick=plan.quick)
    asked = next((each for each in gates if each.name == name), None)
    if asked is None:
        raise UserError(f"The gate {name!r} is not among the {len(gates)} that were asked for.")
    return _outcome(asked, target, plan, stage_rate(target, plan, gates))


def _outcome(each: Gate, target: Target, plan: Plan, rate: float) -> Outcome:
    if (lacking := target.lacks(each.needs)) is not None:
        return Outcome(gate=each, checks=(_skipped(each, lacking),), skipped=lacking)
    began = time.monotonic()
    checks = _checks(each, target, plan, rate)
    reasons = dict.fromkeys(check.not_run for check in checks)
    # A gate that had nothing to judge did not run.
    skipped = None if None in reasons else "; ".join(filter(None, reasons))
    return Outcome(gate=each, checks=checks, seconds=time.monotonic() - began, skipped=skipped)


def stage_rate(target: Target, plan: Plan, gates: Sequence[Gate]) -> float:
    """False-alarm rate of each stage of each statistical test."""
    if not 0 < plan.rate < 1:
        raise UserError(f"The false-alarm rate {plan.rate:g} is not between 0 and 1; a usual one is {RATE:g}.")
    for name, effect in plan.effects.items():
        known = load().get(name)
        if known is None or not known.tests:
            raise UserError(
                f"{name!r} is no statistical gate, so it has no smallest effect; see `qmcbench gate --list`."
            )
        if not 0 < effect < math.inf:
            raise UserError(f"The smallest effect {effect:g} of {name} is not a positive number.")
    return math.sqrt(plan.rate / max(1, _tests(target, gates)))


def _tests(target: Target, gates: Sequence[Gate]) -> int:
    """Statistical tests of the gates that apply."""
    return sum(each.tests for each in gates if target.lacks(each.needs) is None)


def _checks(each: Gate, target: Target, plan: Plan, rate: float) -> tuple[Check, ...]:
    own = math.nan if each.effect is None else each.effect.size
    setting = Setting(seed=plan.seed, rate=rate, effect=plan.effects.get(each.name, own), quick=plan.quick)
    first = _made(each, target, setting)
    if not each.tests or not any(check.verdict is Verdict.FAIL for check in first):
        return first
    second = {check.name: check for check in _made(each, target, replace(setting, seed=plan.seed + SECOND))}
    return tuple(
        _settled(check, second.get(check.name)) if check.verdict is Verdict.FAIL else check for check in first
    )


def _settled(first: Check, second: Check | None) -> Check:
    """What two seeds say, of which the first raised an alarm."""
    if second is None or first.false_alarm is None:
        return first
    words = "alarmed too" if second.verdict is Verdict.FAIL else "did not"
    return replace(second, statement=f"{second.statement} The first seed raised an alarm; the second {words}.")


def _made(each: Gate, target: Target, setting: Setting) -> tuple[Check, ...]:
    """The checks of a gate; a target that fails with an exception fails the gate."""
    try:
        made = each.make(target, setting)
        checks = (made,) if isinstance(made, Check) else tuple(made)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        checks = (
            Check(
                name=each.name, check=each.kind, value=None, bound=0.0,
                statement=f"{each.about} The target raised {type(error).__name__}: {said}",
            ),
        )  # fmt: skip
    return tuple(
        replace(
            check, gate=each.name, seed=setting.seed if each.tests else check.seed, cause=check.cause or each.cause
        )
        for check in checks
    )


def _skipped(each: Gate, why: str) -> Check:
    return Check(
        name=each.name, check=each.kind, gate=each.name, value=None, bound=0.0, statement=each.about, not_run=why
    )


def session(target: Target, plan: Plan) -> GateSession:
    """What is tested, and at which odds."""
    gates = select(plan.only, plan.levels, quick=plan.quick)
    return GateSession(
        value=plan.rate,
        target=target.name,
        L=target.L,
        J2=target.J2,
        tests=_tests(target, gates),
        stage_rate=stage_rate(target, plan, gates),
        seed=plan.seed,
    )


def recorded(target: Target, plan: Plan, done: Iterable[Outcome], command: str) -> Run:
    """The records of these outcomes."""
    records: list[Record] = [session(target, plan)]
    for outcome in done:
        records += [outcome.record(plan), *outcome.checks]
    seconds = sum(record.value or 0.0 for record in records if isinstance(record, GateRun))
    made = provenance.collect(command)
    return Run(job="gate", provenance=made, records=tuple(records), seed=plan.seed, quick=plan.quick, seconds=seconds)
