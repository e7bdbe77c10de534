"""What our records answer to a claim of the paper: measured, projected by the cost model, or counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from qmcbench.bench.names import OPERATIONS, PLAIN
from qmcbench.bench.speedups import speedups
from qmcbench.gates.energies import doubts
from qmcbench.group import evaluations
from qmcbench.paper.counted import count
from qmcbench.paper.models import Modelled
from qmcbench.reference.claims import Claim
from qmcbench.store.bench import Share
from qmcbench.store.energies import Correlations, Energy, Training
from qmcbench.store.records import R, Run
from qmcbench.store.scaling import WeakRun

MEASURED, PROJECTED, COUNTED = "measured", "projected", "counted"
THEIRS = {theirs: ours for ours, theirs in OPERATIONS.items() if theirs} | {"Add": "bias"}
"""Our names of the operations that the paper names."""


@dataclass(frozen=True)
class Answer:
    """A value of ours."""

    how: str
    """MEASURED, PROJECTED or COUNTED."""
    value: float
    sigma: float | None
    of: str
    """The record: of which run, and which one."""
    alike: bool = True
    """Whether it is of what the claim is of; otherwise it is only the nearest that there is."""


@dataclass(frozen=True)
class Records:
    """All runs, and what the cost model says."""

    runs: Sequence[Run]
    model: Modelled

    def of(self, kind: type[R]) -> list[tuple[Run, R]]:
        """Each record of a kind with its run."""
        return [(run, record) for run in self.runs if not run.quick for record in run.of(kind)]


def records(runs: Sequence[Run]) -> Records:
    """What answers are looked for in."""
    return Records(runs, Modelled.of(runs))


def answer(claim: Claim, among: Records) -> Answer | None:
    """What our records say of a claim; None where they say nothing."""
    return ANSWERS[claim.answer](claim, among)


def _parameters(claim: Claim, among: Records) -> Answer | None:
    name = claim.of["network"]
    for run, energy in among.of(Energy):
        if energy.network.name == name:
            return Answer(MEASURED, energy.network.parameters, 0.0, f"{run.job}: energy, {energy.name}")
    for run, step in among.of(WeakRun):
        if step.network == name and step.parameters is not None:
            return Answer(MEASURED, step.parameters, 0.0, f"{run.job}: {step.network}, {step.L}x{step.L}")
    return None


def _counted(claim: Claim, among: Records) -> Answer:
    return Answer(COUNTED, count(claim.of), 0.0, f"counted: {claim.of['name']}")


def _modelled(claim: Claim, among: Records) -> Answer | None:
    found = among.model.value(claim.of)
    return None if found is None else Answer(PROJECTED, *found, "scale project")


def _share(claim: Claim, among: Records) -> Answer | None:
    plain = [
        (run, each) for run, each in among.of(Share) if each.form == PLAIN and (each.network, each.L) == ("large", 10)
    ]
    shares = {each.operation: each.value for _, each in plain}
    if not shares:
        return None
    four = sum(shares.get(name, 0.0) for name in set(THEIRS.values()))
    name = str(claim.of["operation"])
    value = {"four": four, "Other": 100 - four}.get(name)
    value = shares.get(THEIRS.get(name, "")) if value is None else value
    where = (
        f"{plain[0][0].job}: {', '.join(sorted(set(THEIRS.values()))) if name in ('four', 'Other') else THEIRS[name]}"
    )
    return None if value is None else Answer(MEASURED, value, None, where)


def _speedup(claim: Claim, among: Records) -> Answer | None:
    work, L = THEIRS[str(claim.of["operation"])], claim.of["L"]
    found = [
        (run, each)
        for run in among.runs
        if run.job == "bench speedup" and not run.quick
        for each in speedups(run)
        if (each.every.network, each.every.L, each.every.work) == ("large", L, work)
    ]
    if not found:
        return None
    run, best = max(found, key=lambda pair: pair[1].every.batch)
    return Answer(MEASURED, best.of_all, None, f"{run.job}: {work}, large, {L}x{L}, batch {best.every.batch}")


def _energy(claim: Claim, among: Records) -> Answer | None:
    """The lowest one of a network of that size trained for it, else the nearest of that lattice and coupling."""
    of = claim.of
    there = [
        (run, each)
        for run, each in among.of(Energy)
        if (of.get("L"), of.get("J2")) == (each.L, each.J2) and each.value is not None and not doubts(each)
    ]
    ranked = []
    for run, each in there:
        own = (each.network.L, each.network.J2) == (each.L, each.J2)
        alike = own and (each.network.parameters, each.network.symmetry) == (of["parameters"], of["symmetry"])
        words = f"{run.job}: {each.name}, {each.network.name}, {each.network.symmetry}"
        words += ", imported" if each.network.origin else ""
        words += "" if own else f", trained for {each.network.L}x{each.network.L}, J2 = {each.network.J2:g}"
        ranked.append((not alike, each.value, Answer(MEASURED, each.value or 0.0, each.sigma, words, alike)))
    return min(ranked, key=lambda row: row[:2])[2] if ranked else None


def _start(claim: Claim, among: Records) -> Answer | None:
    """The first step of a training, from another lattice's network or from random parameters; else a near one."""
    of, found = claim.of, []
    for run, each in among.of(Training):
        if (of["L"], of["J2"]) != (each.L, each.J2) or not each.curve.energy or each.curve.energy[0] is None:
            continue
        first = {other.name: other.L for other in run.of(Training)}.get(each.start or "", 0)
        alike = (each.parameters, each.symmetry, first) == (of["parameters"], of["symmetry"], of["from"])
        words = (
            f"{run.job}: first step of {each.name}, {each.network}, {each.symmetry}, from {each.start or 'scratch'}"
        )
        error = each.curve.error[0] if each.curve.error else None
        found.append(Answer(MEASURED, each.curve.energy[0], error, words, alike))
    return min(found, key=lambda each: not each.alike, default=None)


def antiparallel(among: Records) -> Answer | None:
    """Antiparallel bonds a site, nearest and next-nearest together, from <S.S> at the two distances."""
    for run, each in among.of(Correlations):
        L = each.L
        if each.quantity != "correlation" or each.shape != (L, L) or len(each.mean) != L * L:
            continue
        total, variance = 0.0, 0.0
        for row, column in ((0, 1), (1, 0), (1, 1), (1, L - 1)):
            mean, error = each.mean[row * L + column], each.error[row * L + column]
            if mean is None or error is None:
                return None
            # Two spins are antiparallel with probability 1/2 - 2 <Sz Sz>, and <Sz Sz> = <S.S> / 3.
            total += 0.5 - 2 * mean / 3
            variance += (2 * error / 3) ** 2
        return Answer(MEASURED, total, math.sqrt(variance), f"{run.job}: correlation, {L}x{L}")
    return None


def _forwards(claim: Claim, among: Records) -> Answer | None:
    name = claim.of["name"]
    if name == "sampling gap":
        gaps = Counter(each.gap / each.L**2 for _, each in among.of(Energy))
        # Our usual one: an evaluation may be asked for another. A setting is nothing that was measured.
        return next(
            (Answer(COUNTED, gap, 0.0, f"setting of {n} evaluations") for gap, n in gaps.most_common(1)), None
        )
    bonds = antiparallel(among)
    return replace(bonds, value=bonds.value + 1.0) if bonds and name == "all" else bonds


def _rotations(claim: Claim, among: Records) -> Answer | None:
    steps = [(run, each) for run, each in among.of(WeakRun) if each.times and each.ranks == 1]
    pairs = [
        (each.L, each.monte_carlo_median / plain.monte_carlo_median, f"{run.job}: {each.network}, {each.L}x{each.L}")
        for run, each in steps
        for _, plain in steps
        if each.symmetry == "C4" and replace(each, symmetry="none").alone == plain.alone
    ]
    if not pairs:
        return None
    L, value, words = max(pairs)
    return Answer(MEASURED, value, None, f"{words}, {evaluations('C4', L)} rotations")


ANSWERS: dict[str, Callable[[Claim, Records], Answer | None]] = {
    "parameters": _parameters,
    "counted": _counted,
    "modelled": _modelled,
    "share": _share,
    "speedup": _speedup,
    "energy": _energy,
    "start": _start,
    "forwards": _forwards,
    "rotations": _rotations,
}
"""By the names of ``data/claims.toml``."""
