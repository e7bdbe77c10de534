"""Trainings beside each other: where parameters come from, samples to reach an energy, networks of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qmcbench.bench.accuracy import means
from qmcbench.store.energies import Energy, Training
from qmcbench.store.records import Run

TARGET = -0.49
"""Energy per site that direct training and transfer are compared at, units of J1."""
FRESH = 0
"""The lattice that random parameters come from."""


@dataclass(frozen=True)
class Trained:
    """A training with those of its run that its parameters come from."""

    run: Run
    training: Training
    before: tuple[Training, ...] = ()
    """From the first one to the one that it started from."""

    @property
    def first(self) -> Training:
        """The first training of the chain that it ends."""
        return (*self.before, self.training)[0]

    @property
    def origin(self) -> int | None:
        """L of what it started from, FRESH, or None: a file or a shipped network of which nothing is known."""
        if self.before:
            return self.before[-1].L
        return FRESH if self.training.start is None else self.training.start_L

    @property
    def energy(self) -> Energy | None:
        """What its run evaluated its network to; None if it did not."""
        return next((each for each in self.run.of(Energy) if each.name == self.training.name), None)

    @property
    def transferred(self) -> bool:
        """Whether it started from another network than its own lattice's and coupling's."""
        last = self.before[-1] if self.before else None
        at = (self.training.L, self.training.J2)
        return self.training.start is not None and (last is None or at != (last.L, last.J2))

    @property
    def offset(self) -> int | None:
        """Samples of the trainings before it; None if the first of them started from elsewhere."""
        if self.first.start is not None:
            return None
        return sum(each.steps * each.chains for each in self.before)

    @property
    def points(self) -> list[tuple[int, float]]:
        """Samples of this training alone and the running mean of its energy, after each step."""
        return [(step * self.training.chains, mean) for step, mean in means(self.training.curve.energy)]

    def reached(self, target: float = TARGET) -> int | None:
        """Samples of this training until the running mean is at ``target`` or below; None if it never is."""
        return next((samples for samples, energy in self.points if energy <= target), None)


def trained(runs: Sequence[Run]) -> list[Trained]:
    """Every training, in the order of the records; those of quick runs decide nothing, and are left out."""
    return [each for run in runs if not run.quick for each in of_run(run)]


def of_run(run: Run) -> list[Trained]:
    """The trainings of a run; one starts from an earlier one of this name, or from elsewhere."""
    found: dict[str | None, Trained] = {}
    made = []
    for each in run.of(Training):
        start = found.get(each.start)
        made.append(Trained(run, each, (*start.before, start.training) if start else ()))
        found[each.name] = made[-1]
    return made


@dataclass(frozen=True)
class Rivals:
    """Direct trainings and transfers of one network, symmetry, lattice and coupling."""

    direct: tuple[Trained, ...]
    transfer: tuple[Trained, ...]

    def gain(self, transfer: Trained, *, whole: bool = False) -> float | None:
        """Samples of direct training over those of ``transfer`` until TARGET; None where one never got there.

        The direct training is the quickest of the same run, or of all where that has none. ``whole`` counts the
        samples of the trainings before the transfer too.
        """
        own = [each for each in self.direct if each.run is transfer.run] or self.direct
        direct = min((samples for each in own if (samples := each.reached()) is not None), default=None)
        samples = total(transfer) if whole else transfer.reached()
        return direct / samples if direct and samples else None


def total(each: Trained) -> int | None:
    """Samples until TARGET with those of the trainings before; None where one of the two is not known."""
    samples, before = each.reached(), each.offset
    return None if samples is None or before is None else before + samples


def rivals(runs: Sequence[Run]) -> list[Rivals]:
    """All pairs of direct training and transfer that these runs have, in their order."""
    found: dict[tuple[object, ...], list[Trained]] = {}
    for each in trained(runs):
        of = each.training
        found.setdefault((of.L, of.J2, of.network, of.symmetry, of.sign), []).append(each)
    pairs = [
        Rivals(
            tuple(each for each in those if each.origin == FRESH), tuple(each for each in those if each.transferred)
        )
        for those in found.values()
    ]
    return [each for each in pairs if each.direct and each.transfer]


def sizes(runs: Sequence[Run]) -> list[list[Trained]]:
    """Direct trainings of several networks that one run trained alike, with equal steps; the smallest first."""
    found: dict[tuple[object, ...], list[Trained]] = {}
    for each in trained(runs):
        of = each.training
        if each.origin == FRESH:
            key = (id(each.run), of.L, of.J2, of.symmetry, of.sign, of.steps, of.chains)
            found.setdefault(key, []).append(each)
    groups = [those for those in found.values() if len({each.training.network for each in those}) > 1]
    return [sorted(those, key=lambda each: each.training.parameters) for those in groups]
