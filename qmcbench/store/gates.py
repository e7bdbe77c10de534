"""Records of ``qmcbench gate``: what was tested, and each gate; what they found are its checks."""

from __future__ import annotations

from dataclasses import dataclass

from qmcbench.store.records import Record


@dataclass(frozen=True, kw_only=True)
class GateSession(Record, kind="gate session"):
    """Gates run on one target; the value is the family-wise false-alarm rate of all of them."""

    unit: str = ""
    target: str
    L: int
    J2: float
    tests: int
    """Statistical tests that shared the rate."""
    stage_rate: float
    """False-alarm rate of each of the two stages of each test."""


@dataclass(frozen=True, kw_only=True)
class GateRun(Record, kind="gate"):
    """One gate that ran or, with ``not_run``, was skipped; the value is the time that it took."""

    unit: str = "s"
    name: str
    about: str
    tests: int = 0
    """Statistical tests that it makes."""
    effect: float | None = None
    """The smallest effect that was asked for, if it is not the gate's own."""


@dataclass(frozen=True, kw_only=True)
class Calibration(Record, kind="gate calibration"):
    """How often a statistical check raised an alarm on correct code; the value is the share of replicas that did."""

    unit: str = ""
    gate: str
    check: str
    replicas: int
    """Each with a seed of its own: ``seed``, ``seed + 1``, ..."""
    alarms: tuple[int, ...] = ()
    """Seeds of the replicas that failed."""
    inconclusive: int = 0
    rate: float
    """The stated false-alarm rate, of one stage."""
    enlarged: float
    """By how much the smallest effect was enlarged, so that a replica takes fewer samples."""


@dataclass(frozen=True, kw_only=True)
class Mutant(Record, kind="mutant"):
    """A deliberate bug planted in the engine, and what the gate that must see it said; the value is the time it took.

    ``samples`` are those of the check that failed, if it is statistical.
    """

    unit: str = "s"
    mutant: str
    gate: str
    check: str
    """The check of the gate that decided."""
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Variant(Record, kind="gate variant"):
    """Gates run on correct code in another form, of this seed and so many threads; the value is the time it took."""

    unit: str = "s"
    variant: str
    """In words: precision, symmetry, sizes of buffers."""
    gates: int
    """That ran."""
    checks: int
    """That were decided."""
    failed: tuple[str, ...] = ()
    """Names of the checks that failed, of which there should be none."""
    undecided: tuple[str, ...] = ()
    """Names of those that were too noisy."""
