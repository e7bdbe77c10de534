"""Fitted to part of the paper's times, the cost model predicts the others: Table 3 and Fig. 9, then Fig. 10.

Every number that the paper prints in Table 3 (``sr``, ``iteration``) and Fig. 9 (``factorisation``, ``product``) is
predicted, and Table 3's Monte Carlo time besides. Sums (``sr``, ``iteration``) are never fitted, only their parts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import fit
from qmcbench.scaling.model import Costs, Point, Work, seconds

PRINTED = ("factorisation", "product", "sr", "iteration")
"""The phases of Table 3 and Fig. 9 as printed; the Monte Carlo time is derived from them."""


@dataclass(frozen=True)
class Prediction:
    """One measured time and the model's."""

    split: str
    fold: str
    """The part of the points that is held out."""
    point: Point
    predicted: float
    held_out: bool
    """Whether the model that predicts was fitted without this point (and without its parts, if it is a sum)."""

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted / self.point.seconds - 1


def median_error(predictions: Sequence[Prediction]) -> float:
    """Median of the absolute relative errors of the held-out ones."""
    return statistics.median(abs(prediction.error) for prediction in predictions if prediction.held_out)


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
    "halves": lambda point: _half(point.work),
    "halves by symmetry": _symmetry,
    "each process count": lambda point: f"{point.work.processes} processes",
    "each network and lattice": _case,
})  # fmt: skip
"""Which fold a point is held out in; None: it is always fitted and never predicted. Halves are fitted both ways."""


def held_out(split: str) -> list[Prediction]:
    """All predictions of one of ``SPLITS``, fold by fold; in halves, those of fitted points besides."""
    fold_of = SPLITS[split]
    points, tested = paper_points.small_scale(), paper_points.monte_carlo() + printed()
    folds = dict.fromkeys(fold for point in points if (fold := fold_of(point)) is not None)
    predictions = []
    for fold in folds:
        costs = fit([point for point in points if fold_of(point) != fold]).costs
        for point in tested:
            own = fold_of(point)
            if own == fold or (own is not None and len(folds) == 2):
                predictions.append(_predict(split, str(fold), point, costs, own == fold))
    return predictions


def printed() -> list[Point]:
    """Every time of Table 3 and Fig. 9."""
    return paper_points.figure9() + paper_points.table3()


def extrapolation() -> list[Prediction]:
    """Fig. 10 from a fit to all of Table 3 and Fig. 9: twelve times as many processes, half the samples on each."""
    costs = fit(paper_points.small_scale()).costs
    points = paper_points.figure10() + paper_points.figure10_sums()
    return [_predict("extrapolation", "Fig. 10", point, costs, True) for point in points]


def _predict(split: str, fold: str, point: Point, costs: Costs, held: bool) -> Prediction:
    return Prediction(split, fold, point, seconds(point.phase, point.work, costs), held)
