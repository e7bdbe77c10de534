"""The paper's Table 3 and Figs. 9 and 10 on a named machine, and what sample-space SR would have made of them.

Bands: costs drawn from the machine's errors, times the scatter of each phase about the model, 68 % and 95 % of the
draws. They hold what the measurements scatter, not what the model leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.machine import Machine
from qmcbench.scaling.model import SUMS, Array, Point, Work, bytes_per_process, counts, design, evaluate, seconds

DRAWS = 2000
SEED = 20220502
LEVELS = (68, 95)

Band = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A number and its uncertainty; no bands where the machine file has no errors."""

    value: float
    band68: Band | None = None
    band95: Band | None = None


@dataclass(frozen=True)
class Projected:
    """One time of the paper on the machine."""

    source: str
    """Where the paper prints it: ``table3``, ``figure9`` or ``figure10``."""
    phase: str
    work: Work
    nodes: int
    seconds: Estimate
    paper_s: float


@dataclass(frozen=True)
class Efficiency:
    """Weak scaling of a whole iteration (Fig. 10's network and samples, C4) from the smallest number of processes."""

    work: Work
    seconds: Estimate
    efficiency: Estimate
    """T(smallest) / T(P)."""
    monte_carlo_share: float
    """Of the iteration."""
    paper: float | None
    """As printed at the largest number of processes. The paper does not say how it was computed, and the times beside
    it do not give it: its SR falls from 58.1 s to 43.2 s, so T(smallest) / T(P) would exceed 1."""


@dataclass(frozen=True)
class Comparison:
    """SR with the N_p x N_p covariance against SR with the N_s x N_s Gram matrix, which gives the same step."""

    source: str
    work: Work
    covariance_s: Estimate
    sample_space_s: Estimate
    speedup: Estimate
    """Covariance over sample space: above 1, the Gram matrix is faster."""
    covariance_bytes: float
    sample_space_bytes: float
    """Memory of a process: its part of the matrix, and of the log-derivatives."""
    paper_s: float
    """The paper's SR time, with the covariance."""

    @property
    def samples_per_parameter(self) -> float:
        """N_s / N_p."""
        return self.work.samples / self.work.parameters


@dataclass(frozen=True)
class Crossover:
    """Where the two take equally long at a fixed number of samples a process."""

    parameters: int
    samples_per_process: int
    processes: int
    """The Gram matrix is faster up to here."""
    samples_per_parameter: float
    """N_s / N_p there."""


@dataclass(frozen=True)
class Projection:
    """Everything for one machine."""

    machine: Machine
    times: tuple[Projected, ...]
    efficiencies: tuple[Efficiency, ...]
    comparisons: tuple[Comparison, ...]
    crossovers: tuple[Crossover, ...]


def project(machine: Machine, draws: int = DRAWS, seed: int = SEED) -> Projection:
    """Project all of them."""
    dice = _Dice(machine, draws, seed)
    return Projection(
        machine,
        tuple(
            Projected(
                point.source,
                point.phase,
                point.work,
                machine.nodes(point.work.processes),
                dice.estimate(dice.times(point.phase, point.work)),
                point.seconds,
            )
            for point in (*paper_points.table3(), *paper_points.figure9(), *paper_points.figure10())
        ),
        tuple(_efficiencies(dice)),
        tuple(_comparison(dice, point) for point in _sr_points()),
        tuple(_crossovers(machine)),
    )


class _Dice:
    """One set of draws for everything that is projected; the first of them is the machine as it is."""

    def __init__(self, machine: Machine, draws: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._banded = machine.has_band
        self._spread = machine.spread
        drawn = machine.draw(draws if self._banded else 0, self._rng)
        self._values = np.vstack([machine.costs.values(), drawn])

    def times(self, phase: str, work: Work, solver: str = "covariance") -> Array:
        """Seconds, shape (1 + draws,)."""
        total = np.zeros(len(self._values))
        for part in SUMS.get(phase, (phase,)):
            noise = self._rng.standard_normal(len(total)) * self._spread.get(part, 0.0)
            noise[0] = 0
            total += evaluate(*design([counts(part, work, solver)]), self._values)[:, 0] * np.exp(noise)
        return total

    def estimate(self, drawn: Array) -> Estimate:
        """The first value with the quantiles of the others."""
        if not self._banded:
            return Estimate(float(drawn[0]))
        bands = [np.percentile(drawn[1:], [50 - level / 2, 50 + level / 2]).tolist() for level in LEVELS]
        (low68, high68), (low95, high95) = bands
        return Estimate(float(drawn[0]), (low68, high68), (low95, high95))


def _sr_points() -> list[Point]:
    return [point for point in paper_points.table3() if point.phase == "sr"] + paper_points.figure10_sums()


def _efficiencies(dice: _Dice) -> list[Efficiency]:
    found = []
    printed = paper.figure10["parallel_efficiency_at_490000"]
    points = paper_points.figure10_sums()
    for L in paper_points.FIGURE10_LATTICES:
        works = [replace(point.work, L=L, rotations=4) for point in points]
        times = [dice.times("iteration", work) for work in works]
        for work, drawn in zip(works, times, strict=True):
            last = work is works[-1]
            found.append(
                Efficiency(
                    work,
                    dice.estimate(drawn),
                    dice.estimate(times[0] / drawn),
                    float(dice.times("monte_carlo", work)[0] / drawn[0]),
                    printed[f"{L}x{L}"] if last else None,
                )
            )
    return found


def _comparison(dice: _Dice, point: Point) -> Comparison:
    covariance, gram = (dice.times("sr", point.work, solver) for solver in ("covariance", "sample_space"))
    return Comparison(
        point.source,
        point.work,
        dice.estimate(covariance),
        dice.estimate(gram),
        dice.estimate(covariance / gram),
        bytes_per_process(point.work),
        bytes_per_process(point.work, "sample_space"),
        point.seconds,
    )


def _crossovers(machine: Machine) -> list[Crossover]:
    found = []
    for parameters, each in dict.fromkeys(
        (p.work.parameters, round(p.work.samples_per_process)) for p in _sr_points()
    ):
        # With few processes N_s << N_p and the Gram matrix wins; with many it loses.
        low, high = 1, 2 * parameters
        while high - low > 1:
            middle = (low + high) // 2
            if _gram_wins(machine, Work(parameters, each * middle, middle)):
                low = middle
            else:
                high = middle
        found.append(Crossover(parameters, each, low, each * low / parameters))
    return found


def _gram_wins(machine: Machine, work: Work) -> bool:
    return seconds("sr", work, machine.costs, "sample_space") < seconds("sr", work, machine.costs)
