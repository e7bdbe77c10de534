"""The paper's claims beside what our records say: does the paper hold?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from qmcbench.paper.answers import COUNTED, MEASURED, PROJECTED, Answer, answer, projection, records
from qmcbench.reference.claims import Claim, answers, claims
from qmcbench.store.records import Run

Z = 3.0
"""Standard errors within which ours and the paper's value agree."""


class Outcome(StrEnum):
    """What is known of a claim."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    PROJECTED = "projected"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Joined:
    """A claim with what answers it."""

    claim: Claim
    answer: Answer | None
    """The nearest there is, if its ``alike`` is False."""
    beside: Answer | None = None
    """What the cost model says too, where the paper's own numbers answer."""

    @property
    def ours(self) -> Answer | None:
        """What was measured or counted of just this."""
        return self.answer if self.answer and self.answer.alike and self.answer.how != PROJECTED else None

    @property
    def projection(self) -> Answer | None:
        """What the cost model says."""
        return self.answer if self.answer and self.answer.how == PROJECTED else self.beside

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's value in our standard errors, or the projection; None where neither has an error."""
        for each in (self.ours, self.projection):
            if each is not None and each.sigma:
                return (each.value - self.claim.value) / each.sigma
        return None

    @property
    def outcome(self) -> Outcome:
        """What is known."""
        if self.ours is None:
            return Outcome.PROJECTED if self.projection else Outcome.NOT_RUN
        return Outcome.AGREES if agrees(self.claim, self.ours) else Outcome.DISAGREES

    @property
    def other_machine(self) -> bool:
        """Whether it is a number of a machine, so that another one differs without anybody being wrong."""
        return bool(answers()[self.claim.answer].differs)

    @property
    def why(self) -> str:
        """Why it disagrees or was not run, and how the paper contradicts itself."""
        said = []
        kind = answers()[self.claim.answer]
        if self.outcome is Outcome.DISAGREES:
            said.append(kind.differs or self._off())
        elif self.outcome is Outcome.NOT_RUN and self.answer:
            said.append(f"nearest: {self.answer.of}")
        elif self.outcome is Outcome.NOT_RUN:
            said.append(
                f"no record; time: {kind.time}" if kind.command else "no record, and no command that makes one yet"
            )
        if self.claim.contradiction:
            said.append(f"the paper contradicts itself: {self.claim.contradiction}")
        return "; ".join(said)

    def _off(self) -> str:
        found = self.ours
        assert found is not None
        factor = found.value / self.claim.value if self.claim.value else math.inf
        return f"{found.how} {found.value:.4g}, {factor:.3g} times the paper's"


def agrees(claim: Claim, ours: Answer) -> bool:
    """Whether ours is where the claim says, within Z standard errors, the printed digits, and what "about" allows."""
    slack = Z * (ours.sigma or 0.0) + rounding(claim.value) * (1 + 1e-9)
    slack += claim.within * abs(claim.value) if claim.relation == "about" else 0.0
    difference = ours.value - claim.value
    if claim.relation == "at least":
        return difference >= -slack
    if claim.relation == "at most":
        return difference <= slack
    return abs(difference) <= slack


def rounding(value: float) -> float:
    """Half a unit of the last digit that a number was printed with; none for whole numbers, which count."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return 0.5 * 10.0**exponent if isinstance(exponent, int) and exponent < 0 else 0.0


def join(runs: Sequence[Run]) -> list[Joined]:
    """Every claim with its answer, in the order of the list."""
    among = records(runs)
    return [Joined(claim, answer(claim, among), projection(claim, among)) for claim in claims()]


@dataclass(frozen=True)
class Counts:
    """How many claims there are of each sort."""

    listed: int
    measured: int
    counted: int
    projected: int
    not_run: int
    agreeing: int
    disagreeing: int
    elsewhere: int
    """Of the disagreeing ones, numbers of another machine."""
    contradicted: int
    """Of the rest of them, those that the paper itself contradicts."""
    contradicting: int
    """Those that the paper itself contradicts, whatever else they are."""


def counts(joined: Sequence[Joined]) -> Counts:
    """Of these claims."""
    of = Counter(each.outcome for each in joined)
    against = [each for each in joined if each.outcome is Outcome.DISAGREES]
    elsewhere = [each for each in against if each.other_machine]
    contradicted = [each for each in against if not each.other_machine and each.claim.contradiction]
    how = Counter(each.ours.how for each in joined if each.ours)
    return Counts(
        listed=len(joined),
        measured=how[MEASURED],
        counted=how[COUNTED],
        projected=of[Outcome.PROJECTED],
        not_run=of[Outcome.NOT_RUN],
        agreeing=of[Outcome.AGREES],
        disagreeing=len(against),
        elsewhere=len(elsewhere),
        contradicted=len(contradicted),
        contradicting=sum(bool(each.claim.contradiction) for each in joined),
    )
