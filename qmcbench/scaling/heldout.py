"""Fitted to part of the paper's times, the cost model predicts the others: Table 3 and Fig. 9, then Fig. 10.

Every number that the paper prints in Table 3 (``sr``, ``iteration``) and Fig. 9 (``factorisation``, ``product``) is
predicted, and Table 3's Monte Carlo time besides. Sums (``sr``, ``iteration``) are never fitted, only their parts.

A null model predicts the same times from the same points, without any idea of what is computed: the Monte Carlo time
of a case is that on the nearest number of processes, as it hardly depends on them; any other time follows the power
law through those on the two nearest numbers of processes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import fit
from qmcbench.scaling.model import Point, seconds
from qmcbench.store.records import Reference
from qmcbench.store.scaling import HeldOutTime, Work

PRINTED = ("factorisation", "product", "sr", "iteration")
"""The phases of Table 3 and Fig. 9 as printed; the Monte Carlo time is derived from them."""
HALVES = "halves"
EXTRAPOLATION = "extrapolation"
COST, NULL = "cost model", "null model"


def median_error(predictions: Sequence[HeldOutTime]) -> float:
    """Median of the absolute relative errors."""
    return statistics.median(abs(prediction.error) for prediction in predictions)


def _half(work: Work) -> str:
    """Which half of Table 3's rows: the 1st and 3rd process count of each network, or the 2nd and 4th."""
    rows = [row["processes"] for row in paper.table3["rows"] if row["parameters"] == work.parameters]
    return f"rows {'2 and 4' if rows.index(work.processes) % 2 else '1 and 3'} of each network"


def _symmetry(point: Point) -> str | None:
    if point.phase != "monte_carlo":
        return None
    return "with C4" if point.work.rotations > 1 else "without symmetry"


def _case(point: Point) -> str | None:
    if point.phase != "monte_carlo":
        return None
    return f"{point.work.parameters} parameters, {point.work.L}x{point.work.L}"


SPLITS: Mapping[str, Callable[[Point], Hashable | None]] = MappingProxyType({
    HALVES: lambda point: _half(point.work),
    "halves by symmetry": _symmetry,
    "each process count": lambda point: f"{point.work.processes} processes",
    "each network and lattice": _case,
})  # fmt: skip
"""Which fold a point is held out in; None: it is always fitted and never predicted. Halves are fitted both ways."""
WITH_NULL = (HALVES, "each process count", EXTRAPOLATION)
"""Splits for which the null model has a prediction: the others hold out all times of a case."""


@dataclass(frozen=True)
class Fold:
    """One part of the points that is held out."""

    split: str
    name: str
    tested: tuple[Point, ...]
    fitted: tuple[Point, ...]
    """What the cost model is fitted to."""
    known: tuple[Point, ...]
    """What the null model goes by: the same times, and the sums of them that are printed."""


def folds(split: str) -> Iterator[Fold]:
    """The parts of one of ``SPLITS``, or of the extrapolation.

    The extrapolation is Fig. 10 from all of Table 3 and Fig. 9: twelve times as many processes, half the samples on
    each.
    """
    points, tested = paper_points.small_scale(), paper_points.monte_carlo() + printed()
    known = [*tested, *paper_points.data_operations()]
    if split == EXTRAPOLATION:
        figure = paper_points.figure10() + paper_points.figure10_sums()
        yield Fold(split, "Fig. 10", tuple(figure), tuple(points), tuple(known))
        return
    fold_of = SPLITS[split]
    for name in dict.fromkeys(fold for point in points if (fold := fold_of(point)) is not None):
        yield Fold(
            split,
            str(name),
            tuple(point for point in tested if fold_of(point) == name),
            tuple(point for point in points if fold_of(point) != name),
            tuple(point for point in known if fold_of(point) not in (name, None)),
        )


def printed() -> list[Point]:
    """Every time of Table 3 and Fig. 9."""
    return paper_points.figure9() + paper_points.table3()


def held_out(split: str) -> list[HeldOutTime]:
    """All predictions of one of ``SPLITS``, or of the extrapolation, fold by fold: each model's."""
    found = []
    for fold in folds(split):
        costs = fit(fold.fitted).costs
        found += [_predicted(COST, fold, point, seconds(point.phase, point.work, costs)) for point in fold.tested]
        if split in WITH_NULL:
            found += [_predicted(NULL, fold, point, null_seconds(point, fold.known)) for point in fold.tested]
    return found


def null_seconds(point: Point, known: Sequence[Point]) -> float:
    """What the null model makes of a time, which is not among ``known``."""
    if point.phase == "iteration":
        parts = [Point(phase, point.work, 1.0) for phase in ("monte_carlo", "sr")]
        return sum(null_seconds(part, known) for part in parts)
    P = point.work.processes
    same = [each for each in known if each.phase == point.phase and each.work.parameters == point.work.parameters]
    same.sort(key=lambda each: abs(math.log(each.work.processes / P)))
    if point.phase == "monte_carlo":
        case = point.work.L, point.work.rotations
        return next(each.seconds for each in same if (each.work.L, each.work.rotations) == case)
    one, other = same[:2]
    exponent = math.log(one.seconds / other.seconds) / math.log(one.work.processes / other.work.processes)
    return float(one.seconds * (P / one.work.processes) ** exponent)


def _predicted(model: str, fold: Fold, point: Point, value: float) -> HeldOutTime:
    return HeldOutTime(
        value=value,
        reference=Reference(value=point.seconds, source=point.source, kind="paper"),
        model=model,
        split=fold.split,
        fold=fold.name,
        phase=point.phase,
        work=point.work,
    )


@dataclass(frozen=True)
class Errors:
    """What a model's held-out predictions of some times come out at."""

    split: str
    fold: str | None
    """None: all folds together."""
    times: str
    """A phase, or ``printed``: all that the paper prints."""
    predictions: tuple[HeldOutTime, ...]
    null: tuple[HeldOutTime, ...]
    """The null model's of the same times, where it has them."""

    @property
    def median(self) -> float:
        """Of the absolute relative errors."""
        return median_error(self.predictions)

    @property
    def null_median(self) -> float | None:
        """The same of the null model."""
        return median_error(self.null) if self.null else None

    @property
    def worst(self) -> float:
        """The relative error that is largest in absolute value."""
        return max((each.error for each in self.predictions), key=abs)


def errors(predictions: Sequence[HeldOutTime]) -> list[Errors]:
    """Of each half, and of all folds of the other splits together: all that the paper prints, and each phase."""
    rows = []
    for split in dict.fromkeys(each.split for each in predictions):
        mine = [each for each in predictions if each.split == split]
        names = dict.fromkeys(each.fold for each in mine)
        for fold in names if len(names) <= 2 else [None]:
            those = [each for each in mine if fold in (each.fold, None)]
            phases = {each.phase: (each.phase,) for each in those}
            for times, chosen in {"printed": PRINTED, **phases}.items():
                both = [
                    tuple(each for each in those if each.phase in chosen and each.model == model)
                    for model in (COST, NULL)
                ]
                if both[0]:
                    rows.append(Errors(split, fold, times, *both))
    return rows
