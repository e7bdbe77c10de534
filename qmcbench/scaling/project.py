"""The paper's Table 3, Fig. 9 and Fig. 10 on a named machine, and what sample-space SR would have made of them.

Bands: costs drawn from the machine's errors, times the scatter of each phase about the model, 68 % and 95 % of the
draws. They hold what the measurements scatter, not what the model leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.machine import Machine
from qmcbench.scaling.model import SUMS, Array, Point, counts, design, evaluate, seconds
from qmcbench.store.records import Reference
from qmcbench.store.scaling import Crossover, Efficiency, Estimate, Modelled, ModelledTime, SolverGain, Work

DRAWS = 2000
SEED = 20220502
LEVELS = (68, 95)


def project(machine: Machine, draws: int = DRAWS, seed: int = SEED) -> list[Modelled | Crossover]:
    """The times of Table 3, Fig. 9 and Fig. 10, efficiencies of weak scaling, both solvers, and where they cross."""
    dice = _Dice(machine, draws, seed)
    times = [_time(dice, point, machine) for point in printed_points()]
    efficiencies = list(_efficiencies(dice))
    gains = [_gain(dice, point) for point in sr_points()]
    return [*times, *efficiencies, *gains, *_crossovers(machine)]


def printed_points() -> list[Point]:
    """Every time of Table 3, Fig. 9 and Fig. 10."""
    return [*paper_points.table3(), *paper_points.figure9(), *paper_points.figure10()]


def sr_points() -> list[Point]:
    """Every time of all of SR."""
    return [point for point in paper_points.table3() if point.phase == "sr"] + paper_points.figure10_sums()


def efficiency_works() -> list[Work]:
    """Iterations of Fig. 10 (C4) on each lattice, by processes."""
    points = paper_points.figure10_sums()
    return [replace(each.work, L=L, rotations=4) for L in paper_points.FIGURE10_LATTICES for each in points]


def sample_sizes() -> list[tuple[int, int]]:
    """Parameters and samples a process of the paper's solves."""
    return list(dict.fromkeys((p.work.parameters, round(p.work.samples_per_process)) for p in sr_points()))


def printed(point: Point) -> Reference:
    """The paper's time, to compare with."""
    return Reference(value=point.seconds, source=point.source, kind="paper")


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


def _time(dice: _Dice, point: Point, machine: Machine) -> ModelledTime:
    return ModelledTime(
        **vars(dice.estimate(dice.times(point.phase, point.work))),
        reference=printed(point),
        phase=point.phase,
        work=point.work,
        nodes=machine.nodes(point.work.processes),
    )


def _efficiencies(dice: _Dice) -> Iterator[Efficiency]:
    """The last of each lattice with the efficiency that the paper prints.

    It does not say how that was computed, and the times beside it do not give it: its SR falls from 58.1 s to 43.2 s,
    so T(smallest) / T(P) would exceed 1.
    """
    figure = paper.figure10["parallel_efficiency_at_490000"]
    for L in paper_points.FIGURE10_LATTICES:
        works = [work for work in efficiency_works() if work.L == L]
        times = [dice.times("iteration", work) for work in works]
        for work, drawn in zip(works, times, strict=True):
            last = Reference(value=figure[f"{L}x{L}"], source="Fig. 10", kind="paper")
            yield Efficiency(
                **vars(dice.estimate(times[0] / drawn)),
                reference=last if work is works[-1] else None,
                work=work,
                iteration=dice.estimate(drawn),
                monte_carlo_share=float(dice.times("monte_carlo", work)[0] / drawn[0]),
            )


def _gain(dice: _Dice, point: Point) -> SolverGain:
    covariance, gram = (dice.times("sr", point.work, solver) for solver in ("covariance", "sample_space"))
    of_both = dice.estimate(covariance), dice.estimate(gram)
    return SolverGain(
        **vars(dice.estimate(covariance / gram)),
        reference=printed(point),
        work=point.work,
        covariance=of_both[0],
        sample_space=of_both[1],
    )


def _crossovers(machine: Machine) -> Iterator[Crossover]:
    for parameters, each in sample_sizes():
        # With few processes N_s << N_p and the Gram matrix wins; with many it loses.
        low, high = 1, 2 * parameters
        while high - low > 1:
            middle = (low + high) // 2
            if _gram_wins(machine, Work(parameters, each * middle, middle)):
                low = middle
            else:
                high = middle
        yield Crossover(value=low, parameters=parameters, samples_per_process=each)


def _gram_wins(machine: Machine, work: Work) -> bool:
    return seconds("sr", work, machine.costs, "sample_space") < seconds("sr", work, machine.costs)
