"""Our own runs: in words, beside the same on one rank, and as points of the cost model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from qmcbench.errors import UserError
from qmcbench.group import evaluations
from qmcbench.scaling.model import Point
from qmcbench.store.records import Run
from qmcbench.store.scaling import OnRanks, StrongRun, WeakRun, Work

R = TypeVar("R", bound=OnRanks)


def describe(run: StrongRun | WeakRun) -> str:
    """A run in a few words."""
    ranks = f"{run.ranks} rank{'s' * (run.ranks > 1)}"
    if isinstance(run, WeakRun):
        return f"{run.L}x{run.L}, {run.network}, symmetry {run.symmetry}, {ranks}"
    rows, columns = run.layout.grid
    return f"{run.parameters} parameters, {ranks} ({rows}x{columns}), block {run.layout.block}, {run.layout.product}"


def measured(runs: Iterable[R]) -> list[R]:
    """Those that have times."""
    return [run for run in runs if run.value is not None]


def on_one_rank(run: R, runs: Sequence[R]) -> R | None:
    """The last of ``runs`` on one rank that is otherwise the same."""
    return next((each for each in reversed(measured(runs)) if each.ranks == 1 and each.alone == run.alone), None)


def speedup(run: StrongRun, runs: Sequence[StrongRun]) -> float | None:
    """Of all phases together over the same on one rank, if that is among ``runs``."""
    one = on_one_rank(run, runs)
    return one.median("total") / run.median("total") if one else None


def efficiency(run: WeakRun, runs: Sequence[WeakRun]) -> float | None:
    """Monte Carlo time of the same on one rank, if that is among ``runs``, over that on more."""
    one = on_one_rank(run, runs)
    return one.monte_carlo_median / run.monte_carlo_median if one else None


def points(run: Run) -> list[Point]:
    """Times of strong scaling (``product``, ``factorisation``, ``data``) and of weak scaling (``monte_carlo``).

    Medians; of several grids, blocks and routines the fastest of each phase, which is what the machine can do. Runs
    with more ranks than cores say nothing about costs and are left out.

    Raises
    ------
    UserError
        If no run says something about costs.
    """
    fastest: dict[tuple[str, Work, str], Point] = {}
    found = [*_strong(run), *_weak(run)]
    for point in found:
        key = point.phase, point.work, point.solver
        fastest[key] = min(point, fastest.get(key, point), key=lambda each: each.seconds)
    if not fastest:
        raise UserError(
            f"The records of `{run.job}` ({run.provenance.date}) have no run with a core for each rank, so there is "
            "nothing to fit to; measure with fewer ranks."
        )
    return sorted(fastest.values(), key=lambda point: (point.work.parameters, point.work.processes, point.phase))


def _fair(runs: Iterable[R]) -> list[R]:
    return [run for run in measured(runs) if not run.oversubscribed]


def _strong(store: Run) -> list[Point]:
    """Redistribution and solves together are ``data``; pdsyrk does half of the product that the model counts."""
    found = []
    for run in _fair(store.of(StrongRun)):
        work = Work(run.parameters, run.samples, run.ranks)
        solver = "sample_space" if run.space == "samples" else "covariance"
        times = {name: run.median(name) for name in ("product", "factorisation")}
        times["data"] = run.median("redistribution") + run.median("solves")
        if run.layout.product != "pdgemm":
            del times["product"]
        found += [Point(phase, work, time, store.job, solver) for phase, time in times.items()]
    return found


def _weak(store: Run) -> list[Point]:
    """The slowest rank's; the phases of its SR are those of strong scaling."""
    found = []
    for run in _fair(store.of(WeakRun)):
        images = evaluations(run.symmetry, run.L)
        work = Work(run.parameters or 0, run.samples, run.ranks, run.L, images)
        found.append(Point("monte_carlo", work, run.monte_carlo_median, store.job))
    return found
