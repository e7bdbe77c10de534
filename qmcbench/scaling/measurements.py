"""Our own runs as points of the cost model: the stores of strong and of weak scaling.

Strong scaling: ``{"runs": [{"parameters", "samples", "ranks", "seconds": {"redistribution", "product",
"factorisation", "solves"}}]}``, and where they are not the paper's, ``"product": "pdsyrk"`` and ``"space":
"samples"``. Weak scaling: ``{"runs": [{"L", "network", "symmetry", "ranks", "samples_per_rank", "seconds":
{"monte_carlo"}}]}``. In both ``"oversubscribed": true`` marks runs with more ranks than cores, which say nothing
about costs and are left out; other keys are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qmcbench.errors import UserError
from qmcbench.reference import model_spec
from qmcbench.scaling.model import Point, Work

Store = dict[str, Any]


def strong(store: Store, source: str = "strong scaling") -> list[Point]:
    """``product``, ``factorisation`` and ``data`` (redistribution and solves) of every run.

    Without the product of pdsyrk, which does half of what the model counts.

    Raises
    ------
    UserError
        If a key is missing.
    """
    points = []
    with _explained(source):
        for run in _runs(store):
            work = Work(run["parameters"], run["samples"], run["ranks"])
            solver = "sample_space" if run.get("space") == "samples" else "covariance"
            times = run["seconds"]
            parts = {
                "product": times["product"],
                "factorisation": times["factorisation"],
                "data": times["redistribution"] + times["solves"],
            }
            if run.get("product", "pdgemm") != "pdgemm":
                del parts["product"]
            points += [Point(phase, work, time, source, solver) for phase, time in parts.items()]
    return points


def weak(store: Store, source: str = "weak scaling") -> list[Point]:
    """``monte_carlo`` of every run; the phases of its SR are those of strong scaling.

    Raises
    ------
    UserError
        If a key is missing.
    """
    points = []
    with _explained(source):
        for run in _runs(store):
            ranks, parameters = run["ranks"], model_spec(run["network"]).parameters
            rotations = 4 if run["symmetry"] == "C4" else 1
            work = Work(parameters, run["samples_per_rank"] * ranks, ranks, run["L"], rotations)
            points.append(Point("monte_carlo", work, run["seconds"]["monte_carlo"], source))
    return points


def _runs(store: Store) -> Iterator[Store]:
    return (run for run in store["runs"] if not run.get("oversubscribed", False))


@contextmanager
def _explained(source: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise UserError(f"{source}: the key {error} is missing; measure again with this version.") from error
