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
from qmcbench.paper.counted import count, name_of
from qmcbench.paper.models import Modelled
from qmcbench.paper.trainings import FRESH, Trained, of_run, trained
from qmcbench.reference.claims import Claim
from qmcbench.reference.schemas import document
from qmcbench.store.bench import Share
from qmcbench.store.energies import Correlations, Energy
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
    low: float | None = None
    high: float | None = None
    """By the least and the greatest repeats, where those are kept and there is no standard error."""


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


def projection(claim: Claim, among: Records) -> Answer | None:
    """What the cost model says of a claim that other numbers of the paper answer; None of all others."""
    return _modelled(claim, among) if claim.answer == "printed" else None


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
    return Answer(COUNTED, count(claim.of), 0.0, f"counted: {name_of(claim.of)}")


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
    (low, high), of = best.range_of_all, f"{run.job}: {work}, large, {L}x{L}, batch {best.every.batch}"
    return Answer(MEASURED, best.of_all, None, of, low=low, high=high)


def alike(claim: Claim, run: Run, energy: Energy) -> bool:
    """Whether an energy is of just what a claim is of: network, lattice, coupling, and start where that matters."""
    network, of = energy.network, claim.of
    mine = (network.parameters, network.symmetry, energy.L, energy.J2)
    if not _own(energy) or mine != tuple(of.get(name) for name in ("parameters", "symmetry", "L", "J2")):
        return False
    training = training_of(run, energy)
    return "from" not in of or (training is not None and training.origin == of["from"])


def _own(energy: Energy) -> bool:
    """Whether its network was trained for its lattice and coupling."""
    return (energy.network.L, energy.network.J2) == (energy.L, energy.J2)


def training_of(run: Run, energy: Energy) -> Trained | None:
    """The training of its run that ended with an energy's network; an evaluation alone has none."""
    return next((each for each in of_run(run) if each.training.name == energy.name), None)


def of_authors(run: Run, energy: Energy) -> bool:
    """Whether an energy is of the network that the paper's authors gave away, on whatever lattice."""
    theirs, network = document("models")["checkpoint"], energy.network
    known = (theirs["model"], theirs["L"], theirs["J2"])
    return run.job in ("zero-shot", "evaluate") and (network.name, network.L, network.J2) == known


def beside(claims: Sequence[Claim], runs: Sequence[Run]) -> list[tuple[Run, Energy]]:
    """Our energies at these claims' lattices and couplings, trained for them, which none of the claims is of."""
    at = {(claim.of["L"], claim.of["J2"]) for claim in claims}
    return [
        (run, each)
        for run in runs
        if not run.quick
        for each in run.of(Energy)
        if (each.L, each.J2) in at and _own(each) and not each.network.origin and not of_authors(run, each)
        if not doubts(each) and not any(alike(claim, run, each) for claim in claims)
    ]  # fmt: skip


def _energy(claim: Claim, among: Records) -> Answer | None:
    """The lowest one of just what the claim is of, else the lowest of that lattice and coupling."""
    of = claim.of
    there = [
        (run, each)
        for run, each in among.of(Energy)
        if (of.get("L"), of.get("J2")) == (each.L, each.J2) and each.value is not None and not doubts(each)
    ]
    ranked = []
    for run, each in there:
        training, fits = training_of(run, each), alike(claim, run, each)
        words = f"{run.job}: {each.name}, {each.network.name}, {each.network.symmetry}"
        words += ", imported" if each.network.origin else ""
        words += "" if training is None else f", {origin(training)}"
        words += "" if _own(each) else f", trained for {each.network.L}x{each.network.L}, J2 = {each.network.J2:g}"
        ranked.append((not fits, each.value, Answer(MEASURED, each.value or 0.0, each.sigma, words, fits)))
    return min(ranked, key=lambda row: row[:2])[2] if ranked else None


def origin(training: Trained) -> str:
    """Where the parameters of a training come from, in words."""
    return "from scratch" if training.origin == FRESH else f"from {training.training.start}"


def _start(claim: Claim, among: Records) -> Answer | None:
    """The first step of a training, from another lattice's network or from random parameters; else a near one."""
    of, found = claim.of, []
    for each in trained(among.runs):
        own, curve = each.training, each.training.curve
        if (of["L"], of["J2"]) != (own.L, own.J2) or not curve.energy or curve.energy[0] is None:
            continue
        fits = (own.parameters, own.symmetry, each.origin) == (of["parameters"], of["symmetry"], of["from"])
        words = f"{each.run.job}: first step of {own.name}, {own.network}, {own.symmetry}, {origin(each)}"
        error = curve.error[0] if curve.error else None
        found.append(Answer(MEASURED, curve.energy[0], error, words, fits))
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
        (four.L, four.monte_carlo_median / one.monte_carlo_median, run.job, four, one)
        for run, four in steps
        for _, one in steps
        if four.symmetry == "C4" and replace(four, symmetry="none").alone == one.alone
    ]
    if not pairs:
        return None
    L, value, job, four, one = max(pairs, key=lambda pair: pair[:2])
    words = f"{job}: {four.network}, {L}x{L}, {evaluations('C4', L)} rotations"
    low, high = min(four.monte_carlo) / max(one.monte_carlo), max(four.monte_carlo) / min(one.monte_carlo)
    return Answer(MEASURED, value, None, words, low=low, high=high)


ANSWERS: dict[str, Callable[[Claim, Records], Answer | None]] = {
    "parameters": _parameters,
    "counted": _counted,
    "printed": _counted,
    "modelled": _modelled,
    "share": _share,
    "speedup": _speedup,
    **dict.fromkeys(("longer", "direct", "transferred", "retrained", "stage", "authors"), _energy),
    **dict.fromkeys(("stage start", "transferred start"), _start),
    "forwards": _forwards,
    "rotations": _rotations,
}
"""By the names of ``data/claims.toml``."""
