"""The one type of claim: a value, a bound, and what is known of the odds that the verdict is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from qmcbench.store.records import Record

RELATIONS = ("at most", "at least", "below")
POWER = 6.5
"""A statistical check must see its smallest effect at so many standard errors (3.9 for two-sided 1e-4, 2.6 more for a
miss rate of 0.5 %); with a larger error it decides nothing."""
KINDS = {
    "exact": "Full sums and dense algebra: tight tolerances, no statistics.",
    "unbiased": "Monte Carlo against full sums at fixed parameters: two-sided, at a stated false-alarm rate.",
    "variational": "No energy may lie below the exact one by more than its error allows: a violation is a bug.",
    "convergence": "How close training came: the relative error, or by samples its upper bound, against a tolerance.",
    "timing": "Speeds and memory of one machine in one session, which may have been shared.",
    "held out": "A model against times that it was not fitted to.",
}
"""The kinds of check, never mixed, in the order of a report."""


class Verdict(StrEnum):
    """What a check says."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_MEASURED = "NOT MEASURED"


WORST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.NOT_MEASURED)
"""What outweighs what where several checks have one verdict."""


@dataclass(frozen=True, kw_only=True)
class Check(Record, kind="check"):
    """One claim about one value.

    ``sigma`` is the standard error of what the check is about, in the units of ``smallest_effect``: where it is
    larger than a :data:`POWER`-th of that, or not known, the check is INCONCLUSIVE whatever the value says. A value
    that is None is one that was not finite, unless ``not_run`` says why there is none.
    """

    unit: str = ""
    name: str
    check: str
    """A key of :data:`KINDS`."""
    relation: str = "at most"
    """One of :data:`RELATIONS`."""
    bound: float
    statement: str
    """What a pass means, in words."""
    smallest_effect: float | None = None
    """The smallest deviation that it must see, if it is statistical."""
    false_alarm: float | None = None
    """The probability that correct code fails, if it is statistical."""
    doubt: str | None = None
    """Why what was measured can decide nothing, if it cannot: then the check is INCONCLUSIVE."""
    aim: float | None = None
    """What was hoped for beyond the bound."""
    quick: bool = False
    """Measured only at sizes that decide nothing."""
    gate: str = ""
    """The gate that made it (:mod:`qmcbench.gates.registry`), if one did."""
    cause: str | None = None
    """What is usually wrong when it fails."""

    @property
    def verdict(self) -> Verdict:
        """PASS only where the value keeps to the bound, and the error is small enough to have seen it break it."""
        if self.not_run is not None or self.quick:
            return Verdict.NOT_MEASURED
        if self.doubt is not None or self._noisy:
            return Verdict.INCONCLUSIVE
        if self.value is None or math.isnan(self.value):
            return Verdict.FAIL
        keeps = {
            "at most": self.value <= self.bound,
            "at least": self.value >= self.bound,
            "below": self.value < self.bound,
        }.get(self.relation, False)
        return Verdict.PASS if keeps else Verdict.FAIL

    @property
    def _noisy(self) -> bool:
        """Whether the error is unknown, or too large to have seen the smallest effect."""
        if self.smallest_effect is None:
            return False
        return self.sigma is None or not self.sigma <= self.smallest_effect / POWER

    @property
    def passed(self) -> bool:
        """Whether the verdict is PASS."""
        return self.verdict is Verdict.PASS


def unmeasured(name: str, check: str, why: str, statement: str = "") -> Check:
    """A claim of the kind ``check`` that says why there is nothing to check."""
    return Check(name=name, check=check, value=None, bound=0.0, statement=statement, not_run=why)


def worst(checks: Iterable[Check]) -> Check:
    """The check whose verdict is that of all of them."""
    return min(checks, key=lambda each: WORST.index(each.verdict))
