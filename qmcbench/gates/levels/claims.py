"""Level *claims*: energies from a table against exact and published ones, and their own errors and variances.

The data are what they are, whatever the seed: both stages of a test say the same, so each row is held at the square
of the rate of a stage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from statistics import NormalDist

from qmcbench import reference
from qmcbench.gates.causes import factor
from qmcbench.gates.check import Check, unmeasured
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.target import Target

EXACT = re.compile(r"\bED\b|exact diagonali|^exact\b")
"""Methods that give the ground state's energy to all printed digits."""
NO_BOUND = re.compile(r"extrapolat|fixed.node|GFMC|Green|zero.variance|series|^projected", re.IGNORECASE)
"""Methods whose energies are not expectation values, so that they may lie below the exact one."""
NO_NOISE = re.compile(r"DMRG|VQE|PEPS|MPS|tensor|statevector|mean.field|full.sum|extrapolat", re.IGNORECASE)
"""Methods that do not sample, or whose errors are no sampling errors."""
ROUNDING = 2e-5
"""By so much an energy printed with five digits may be off; some authors truncate."""
FACTOR = 1.5
"""An energy of the right units is within this factor of the exact one: published ones are within 1.3, a Jastrow's."""
AHEAD = 1e-3
"""By so much a new energy may be lower than all published ones; of those, the best agree to 2e-4."""
SMALLEST, LARGEST = 0.05, 40.0
"""Bounds of variance / (E - E0), both per site. Of the 137 published rows with a variance it is 0.1 to 17. Between
eigenstates it cannot be small: the variance is at least (E - E0) (E1 - E) (Temple)."""


@gate(
    "exact",
    needs=("energies",),
    cause="energies of Pauli matrices (4 times too large), or totals instead of energies per site",
)
def units(target: Target, setting: Setting) -> Iterator[Check]:
    """Each energy has the size of an energy per site in units of J1, S.S convention."""
    for row in target.energies:
        known = _known(row)
        if known is None:
            yield Check(
                name=_name("lower bound of any state's energy", row),
                check="exact",
                value=row.energy,
                relation="at least",
                bound=-0.75 * (1 + row.J2) if row.J2 >= 0 else -0.75 + 0.5 * row.J2,
                statement="Energy per site against the sum of the lowest energies of a site with its neighbours.",
            )
            continue
        ratio = row.energy / known
        yield Check(
            name=_name("ratio to the ground state's energy", row),
            check="exact",
            value=max(ratio, 1 / ratio) if ratio > 0 else None,
            bound=FACTOR,
            statement=f"Factor between this energy, {row.energy:.6g}, and {known:.6g}; of either sense.",
            cause=factor(row.energy, known, row.L**2, close=0.2),
        )


@gate(
    "variational",
    needs=("energies",),
    effect=Effect(size=5e-3, unit="of the energy per site"),
    cause="the lowest point of a training curve; a window or clipping of local energies; too small an error bar; "
    "other units or another model",
)
def variational(target: Target, setting: Setting) -> Iterator[Check]:
    """No energy lies below the exact one by more than its error allows, or far below all published ones."""
    rate = setting.rate**2 / len(target.energies)
    bound = -NormalDist().inv_cdf(rate)
    yield from _some(_below(row, bound, rate, setting) for row in target.energies)


def _below(row: ClaimedEnergy, bound: float, rate: float, setting: Setting) -> Check | None:
    exact = reference.known_energy(row.L, row.J2)
    if NO_BOUND.search(row.method) or (exact is None and _known(row) is None):
        return None
    if exact is None:
        lowest = min(each.energy for each in reference.published(row.L, row.J2))
        return Check(
            name=_name("lowest published energy", row),
            check="variational",
            value=lowest - row.energy - 3 * (row.sigma or 0.0),
            bound=AHEAD,
            statement=f"How far it lies, 3 standard errors apart, below all published energies, {lowest:.6g}.",
        )
    if not row.sigma:
        return Check(
            name=_name("exact energy", row),
            check="variational",
            value=exact[0] - row.energy,
            bound=ROUNDING,
            statement=f"How far it lies below the exact energy, {exact[0]:.7g}; it states no error.",
        )
    return Check(
        name=_name("exact energy", row),
        check="variational",
        value=(exact[0] - row.energy) / row.sigma,
        bound=bound,
        sigma=row.sigma,
        smallest_effect=setting.effect,
        false_alarm=math.sqrt(rate),
        statement=f"Standard errors by which it lies below the exact energy, {exact[0]:.7g} (negative: above).",
    )


@gate("exact", needs=("energies",), cause="another model, lattice or boundary; other units")
def exact(target: Target, setting: Setting) -> Iterator[Check]:
    """Energies that are said to be exact are."""
    yield from _some(_equal(row) for row in target.energies)


def _equal(row: ClaimedEnergy) -> Check | None:
    known = reference.known_energy(row.L, row.J2)
    if known is None or not EXACT.search(row.method):
        return None
    return Check(
        name=_name("equal to the exact energy", row),
        check="exact",
        value=abs(row.energy - known[0]),
        bound=ROUNDING,
        statement=f"Distance from the exact energy, {known[0]:.7g} ({known[1]}).",
    )


@gate(
    "exact",
    needs=("energies",),
    cause="the lowest point of a training curve (a mean of few samples, chosen because it is low); correlations of "
    "samples left out; the error of one chain of many",
)
def error_bar(target: Target, setting: Setting) -> Iterator[Check]:
    """A sampled energy states an error, and one that its variance and samples allow."""
    yield from _some(_error(row) for row in target.energies)


def _error(row: ClaimedEnergy) -> Check | None:
    if NO_NOISE.search(row.method) or EXACT.search(row.method):
        return None
    name = _name("error bar", row)
    if row.sigma is None:
        return Check(
            name=name,
            check="exact",
            value=None,
            relation="at least",
            bound=0.0,
            statement="The error of the energy, which is not stated: its place among all energies is unknown.",
            cause="the lowest point of a training curve? A mean of all samples after training has an error",
        )
    if row.variance is None or row.samples is None:
        return None
    least = math.sqrt(row.variance / (row.L**2 * row.samples))
    return Check(
        name=name,
        check="exact",
        value=row.sigma / least if least else None if row.sigma else 1.0,
        relation="at least",
        bound=0.5,
        statement=f"The stated error in units of that of as many independent samples, {least:.2g}.",
    )


@gate(
    "variational",
    needs=("energies",),
    cause="variance of a window, or of another unit (Pauli: 16 times; of the total: not divided by the number of "
    "sites); an energy that is not that of the state whose variance it is",
)
def variance(target: Target, setting: Setting) -> Iterator[Check]:
    """The variance is one that a state of that energy can have."""
    yield from _some(check for row in target.energies for check in _spread(row))


def _spread(row: ClaimedEnergy) -> Iterator[Check]:
    known, sites = _known(row), row.L**2
    if row.variance is None or known is None or NO_BOUND.search(row.method):
        return
    noise = 3 * (row.sigma or 0.0) + ROUNDING
    lower, upper = row.energy - noise - known, row.energy + noise - known
    if reference.known_energy(row.L, row.J2) is None:
        upper += AHEAD
    score = sites * row.variance / (sites * row.energy**2) if row.energy else math.nan
    words = f"Variance over E - E0, both per site and E0 = {known:.6g}; the V-score is {score:.2g}."
    if lower > 0:
        yield Check(
            name=_name("variance, at least", row),
            check="variational",
            value=row.variance / lower,
            relation="at least",
            bound=SMALLEST,
            statement=f"{words} So far from an eigenstate it cannot be smaller.",
        )
    if upper > 0:
        yield Check(
            name=_name("variance, at most", row),
            check="variational",
            value=row.variance / upper,
            bound=LARGEST,
            statement=f"{words} So near to the ground state it is not larger.",
        )


def _some(checks: Iterable[Check | None]) -> Iterator[Check]:
    """The checks of the rows that can be judged; if there are none, that."""
    made = [check for check in checks if check is not None]
    yield from made
    if not made:
        yield unmeasured("rows to judge", "exact", "no row says enough")


def _known(row: ClaimedEnergy) -> float | None:
    """The exact energy, or the lowest published one that is a bound; None if there is neither."""
    exact = reference.known_energy(row.L, row.J2)
    if exact is not None:
        return exact[0]
    kinds = ("qmc", "variational")
    return min((each.energy for kind in kinds for each in reference.published(row.L, row.J2, kind)), default=None)


def _name(what: str, row: ClaimedEnergy) -> str:
    return f"row {row.row} ({row.L}x{row.L}, J2 = {row.J2:g}): {what}"
