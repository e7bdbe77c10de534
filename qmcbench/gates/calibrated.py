"""What a calibration comes to: alarms of each check against its stated rate (no torch here)."""

from __future__ import annotations

from scipy.special import bdtrc

from qmcbench.gates.check import Check
from qmcbench.store.gates import Calibration
from qmcbench.store.records import Run

FALSE_ALARM = 1e-3
"""Of the whole calibration, if every check keeps exactly to its rate."""

FEWEST = 2.0
"""Alarms that a check must be expected to have raised before its count says anything."""


def claims(run: Run) -> list[Check]:
    """For each statistical check: no more alarms on correct code than its rate allows."""
    counts = run.of(Calibration)
    share = FALSE_ALARM / max(1, len(counts))
    return [
        Check(
            name=f"alarms: {record.check}",
            check="unbiased",
            value=float(len(record.alarms)),
            bound=allowed(record, share),
            seed=record.seed,
            samples=record.replicas,
            false_alarm=share,
            doubt=None if record.rate * record.replicas >= FEWEST else f"{record.replicas} replicas are too few",
            statement=f"Of {record.replicas} replicas of {record.gate} on correct code; expected "
            f"{record.rate * record.replicas:.1f}, inconclusive {record.inconclusive}.",
        )
        for record in counts
    ]


def allowed(record: Calibration, probability: float) -> float:
    """The most alarms that a check of the stated rate has but for a ``probability``."""
    return float(
        next(most for most in range(record.replicas + 1) if bdtrc(most, record.replicas, record.rate) <= probability)
    )


def words(run: Run) -> str:
    """One line: all alarms against all replicas."""
    counts = run.of(Calibration)
    alarms, replicas = sum(len(record.alarms) for record in counts), sum(record.replicas for record in counts)
    expected = sum(record.rate * record.replicas for record in counts)
    kept = sum(check.passed for check in claims(run))
    return (
        f"{len(counts)} checks, {replicas} replicas in all: {alarms} alarms, {expected:.1f} expected at the stated "
        f"rates; {kept} of {len(counts)} checks are seen to keep to theirs."
    )
