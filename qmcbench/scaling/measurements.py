"""Our own runs as points of the cost model: the stores of :mod:`qmcbench.bench.scaling`."""

from __future__ import annotations

from typing import Any

from qmcbench.errors import UserError
from qmcbench.scaling.model import Point, Work

Store = dict[str, Any]


def points(store: Store, source: str) -> list[Point]:
    """The times of a ``strong.json`` (``product``, ``factorisation``, ``data``) or ``weak.json`` (``monte_carlo``).

    Medians; of several grids, blocks and routines the fastest of each phase, which is what the machine can do. Runs
    with more ranks than cores say nothing about costs and are left out.

    Parameters
    ----------
    source
        The file's name, for the points and for messages.

    Raises
    ------
    UserError
        If a key is missing, or no run says something about costs.
    """
    fastest: dict[tuple[str, Work, str], Point] = {}
    try:
        for run in store["runs"]:
            measured = _weak(run, source) if "L" in run["job"] else _strong(run, source)
            for point in [] if run["oversubscribed"] else measured:
                key = point.phase, point.work, point.solver
                fastest[key] = min(point, fastest.get(key, point), key=lambda each: each.seconds)
    except KeyError as error:
        raise UserError(f"{source}: the key {error} is missing; measure again with this version.") from error
    if not fastest:
        raise UserError(
            f"{source} has no run with a core for each rank, so there is nothing to fit to; measure with fewer ranks."
        )
    return sorted(fastest.values(), key=lambda point: (point.work.parameters, point.work.processes, point.phase))


def _strong(run: Store, source: str) -> list[Point]:
    """Redistribution and solves together are ``data``; pdsyrk does half of the product that the model counts."""
    job = run["job"]
    work = Work(job["parameters"], job["samples"], run["ranks"])
    solver = "sample_space" if job["space"] == "samples" else "covariance"
    medians = {name: phase["median_s"] for name, phase in run["phases"].items()}
    times = {name: medians[name] for name in ("product", "factorisation")}
    times["data"] = medians["redistribution"] + medians["solves"]
    if job["layout"]["product"] != "pdgemm":
        del times["product"]
    return [Point(phase, work, time, source, solver) for phase, time in times.items()]


def _weak(run: Store, source: str) -> list[Point]:
    """The slowest rank's; the phases of its SR are those of strong scaling."""
    job = run["job"]
    work = Work(run["parameters"], run["samples"], run["ranks"], job["L"], 4 if job["symmetry"] == "C4" else 1)
    return [Point("monte_carlo", work, run["mc"]["median_s"], source)]
