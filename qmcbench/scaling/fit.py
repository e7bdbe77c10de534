"""Fitting the cost model to measured times: relative errors, costs that cannot be negative, outliers held back.

A few processes do not show every cost. Such a fit is given a base machine and expects each ln(cost) within ``PRIOR``
of the base's: far too weak to change a cost that the times show, enough to hold one that they do not.

``python -m qmcbench.scaling.fit OUT.toml`` fits the paper's times and writes the machine file ``sunway``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from qmcbench.errors import UserError
from qmcbench.scaling import paper_points
from qmcbench.scaling.machine import Machine, dump
from qmcbench.scaling.model import (
    NAMES,
    PHASES,
    POWER,
    SCALE,
    SUMS,
    Array,
    Costs,
    Point,
    counts,
    design,
    evaluate,
    unit_seconds,
)

OUTLIER = 0.1
"""Residuals of ln(measured / model) well above this count linearly rather than squared."""
PRIOR = 3.0
"""Standard deviation of ln(cost / base) before anything is measured: machines differ by factors of 20 either way."""
UNDETERMINED = 0.5
"""Standard error of ln(cost) above which measurements do not determine a cost."""
FLOOR = 0.02
"""Least spread of ln(measured / model): what repeating a measurement moves, however well few points are met."""
HALF_RATE_START = 50.0
FARTHEST = 14.0
"""How far ln(cost) may go: a cost that is better than the start by a factor of a million has no effect any more."""
REPLICAS = 400
SEED = 20220501


@dataclass(frozen=True)
class Fit:
    """Costs fitted to points."""

    costs: Costs
    points: tuple[Point, ...]
    predicted: tuple[float, ...]
    """The model's time of each point, in seconds."""
    base: Costs | None = None
    """What the fit was given."""

    def residuals(self) -> Array:
        """ln(measured / model) of each point, enlarged by what fitting took from their scatter."""
        logs = np.log([point.seconds for point in self.points]) - np.log(self.predicted)
        free = max(1, len(self.points) - int(_Problem.of(self.points).involved().sum()))
        enlarged: Array = logs * np.sqrt(len(self.points) / free)
        return enlarged

    def spread(self) -> dict[str, float]:
        """Root mean square residual of each phase that has points, but at least ``FLOOR``."""
        residuals = self.residuals()
        return {
            phase: max(FLOOR, float(np.sqrt(np.mean(residuals[members] ** 2))))
            for phase, members in self.members().items()
        }

    def members(self) -> dict[str, NDArray[np.intp]]:
        """Which points each phase has."""
        phases = np.array([point.phase for point in self.points])
        return {phase: np.flatnonzero(phases == phase) for phase in dict.fromkeys(phases.tolist())}


class Uncertainty(NamedTuple):
    """What a bootstrap says of all costs."""

    errors: Mapping[str, float]
    """Standard error of ln(cost)."""
    correlation: Array
    """Of the logarithms, in the same order."""


def fit(points: Sequence[Point], base: Costs | None = None) -> Fit:
    """Least squares of ln(measured / model) with the soft-L1 loss, over the logarithms of all costs.

    Parameters
    ----------
    base
        Costs of a machine to stay near to (``PRIOR``) where the points say nothing. Without it nothing holds them.

    Raises
    ------
    UserError
        If there are no points, a time is not positive, or the points do not involve a cost and there is no ``base``.
    """
    if not points:
        raise UserError("There are no measured times to fit the cost model to.")
    for point in points:
        if not 0 < point.seconds < float("inf"):
            raise UserError(
                f"{point.source or 'A point'}: a {point.phase} time of {point.seconds} s cannot be fitted."
            )
    problem = _Problem.of(points)
    used, start = problem.involved(), problem.start()
    if base is not None:
        values = problem.solve(np.where(used, start, base.values()), base.values())
    elif used.all():
        values = problem.solve(start)
    else:
        missing = ", ".join(np.array(NAMES)[~used])
        raise UserError(f"The measured times do not depend on {missing}: give a machine to take it from.")
    return Fit(Costs(*values.tolist()), tuple(points), tuple(problem.times(values).tolist()), base)


def bootstrap(found: Fit, replicas: int = REPLICAS, seed: int = SEED) -> Uncertainty:
    """Refit the model's own times with its residuals dealt out anew within each phase, or normal ones of ``FLOOR``.

    In the refits of a fit with a base, the base is drawn too: from the fitted costs, with the ``PRIOR`` that the fit
    assumes between them. Were the model linear, the refits would be draws from the posterior: a cost that the points
    do not show gets the error ``PRIOR``, whereas one and the same base would bring it back to the same value.

    It says what the scatter of the points makes of the costs, and nothing about a model that is wrong elsewhere.
    """
    rng = np.random.default_rng(seed)
    problem = _Problem.of(found.points)
    members, spread = found.members(), found.spread()
    residuals, predicted, values = found.residuals(), np.array(found.predicted), found.costs.values()
    logs = np.empty((replicas, len(NAMES)))
    for replica in logs:
        noise = np.empty(len(residuals))
        for phase, mine in members.items():
            if spread[phase] > FLOOR:
                noise[mine] = rng.choice(residuals[mine], len(mine))
            else:
                noise[mine] = rng.normal(0, FLOOR, len(mine))
        drawn = replace(problem, measured=predicted * np.exp(noise))
        base = None if found.base is None else values * np.exp(rng.normal(0, PRIOR, len(NAMES)))
        replica[:] = np.log(drawn.solve(values, base))
    errors = dict(zip(NAMES, logs.std(axis=0, ddof=1).tolist(), strict=True))
    return Uncertainty(errors, np.corrcoef(logs.T))


def describe(found: Fit, name: str, description: str, source: str, base: Machine | None = None) -> Machine:
    """The machine of a fit with the errors of its bootstrap; ``base`` has the scatter of phases not measured.

    Of a fit with a base, only costs whose error is at most ``UNDETERMINED`` count as fitted.
    """
    errors, correlation = bootstrap(found)
    fitted = tuple(key for key in NAMES if found.base is None or errors[key] <= UNDETERMINED)
    return Machine(
        name,
        found.costs,
        description,
        source,
        base.processes_per_node if base else 1,
        errors,
        tuple(tuple(row) for row in correlation.tolist()),
        _phase_spread(found.spread(), base.spread if base else {}),
        fitted,
    )


def sunway() -> Machine:
    """The paper's machine, from all times that it prints."""
    found = fit(paper_points.small_scale() + paper_points.figure10())
    text = (
        "New Sunway supercomputer, one process for each core group (64 computing cores and a management core); "
        "effective costs of the paper's software, not the hardware's peak"
    )
    made = describe(
        found, "sunway", text, "arXiv:2108.13830, Table 3 and Figs. 9 and 10; python -m qmcbench.scaling.fit"
    )
    return replace(made, processes_per_node=6)


def _phase_spread(found: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """For each phase its own spread, else that of a measured sum which it is part of, else the one given."""
    spread = dict(base)
    for name, parts in sorted(SUMS.items(), key=lambda item: -len(item[1])):
        if name in found:
            spread |= dict.fromkeys(parts, found[name])
    spread |= {name: value for name, value in found.items() if name in PHASES}
    return {phase: spread[phase] for phase in PHASES if phase in spread}


@dataclass(frozen=True)
class _Problem:
    """Counts (see ``design``) and measured times; ``values`` are those of all costs in their order."""

    plain: Array
    padding: Array
    measured: Array

    @classmethod
    def of(cls, points: Sequence[Point]) -> _Problem:
        plain, padding = design([counts(point.phase, point.work, point.solver) for point in points])
        return cls(plain, padding, np.array([point.seconds for point in points]))

    def involved(self) -> NDArray[np.bool_]:
        """Whether any of the times depends on each cost."""
        return np.append(self.plain.any(axis=0), self.padding.any())

    def times(self, values: Array) -> Array:
        return evaluate(self.plain, self.padding, values)

    def start(self) -> Array:
        """Where to start: non-negative least squares of the relative errors.

        A cost that comes out as zero starts with a hundredth of the time of the point where it matters most.
        """
        relative = self.plain / self.measured[:, None]
        largest = relative.max(axis=0)
        scale = np.where(largest > 0, largest, 1.0)
        shares, _ = nnls(relative / scale, np.ones(len(relative)))
        return np.append((np.maximum(shares, 0.01) / scale / SCALE) ** POWER, HALF_RATE_START)

    def solve(self, start: Array, base: Array | None = None) -> Array:
        """The costs that fit best, held to those of ``base`` as if each had been measured to ``PRIOR``."""
        # As likely as PRIOR for a cost is FLOOR for a time.
        weight = FLOOR / PRIOR

        def residuals(logs: Array) -> Array:
            times = np.log(self.times(np.exp(logs)) / self.measured)
            return times if base is None else np.append(times, weight * (logs - np.log(base)))

        def slopes(logs: Array) -> Array:
            times = self.jacobian(np.exp(logs))
            return times if base is None else np.vstack([times, weight * np.eye(len(logs))])

        first = np.log(start)
        found = least_squares(
            residuals,
            first,
            jac=slopes,
            bounds=(first - FARTHEST, first + FARTHEST),
            loss="soft_l1",
            f_scale=OUTLIER,
            xtol=1e-10,
            ftol=1e-14,
            gtol=1e-12,
            max_nfev=1000,
        )
        values: Array = np.exp(found.x)
        return values

    def jacobian(self, values: Array) -> Array:
        """d ln(model) / d ln(cost), shape (points, costs)."""
        unit = unit_seconds(values)
        linear = (self.plain + values[-1] * self.padding) * unit * POWER
        padded = values[-1] * self.padding @ unit
        slopes: Array = np.column_stack([linear, padded]) / self.times(values)[:, None]
        return slopes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m qmcbench.scaling.fit", description="Fit the paper's times.")
    parser.add_argument("out", type=Path, help="the machine file to write")
    parser.parse_args().out.write_text(dump(sunway()), encoding="utf-8")
