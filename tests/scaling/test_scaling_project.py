"""Projections: the model's times at the paper's points, bands, efficiencies, and sample space against covariance."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import describe, fit
from qmcbench.scaling.machine import Machine, load
from qmcbench.scaling.model import Costs, Point, Work, seconds
from qmcbench.scaling.project import Projection, project

COSTS = Costs(40.0, 30.0, 2.0, 0.8, 0.02, 0.3, 9.0, 1.5, 60.0)


@pytest.fixture(scope="module")
def sunway() -> Projection:
    """The paper's machine."""
    return project(load("sunway"))


def test_without_errors_there_is_no_band() -> None:
    """A machine of bare costs: the model's time at each of the paper's points, and nothing else."""
    found = project(Machine("bare", COSTS, processes_per_node=6))
    assert len(found.times) == 40 + 16 + 19
    for each in found.times:
        assert each.seconds.value == pytest.approx(seconds(each.phase, each.work, COSTS), rel=1e-12)
        assert each.seconds.band68 is None
        assert each.seconds.band95 is None
        assert each.nodes == -(-each.work.processes // 6)
    measured = {(each.source, each.phase, each.work): each.paper_s for each in found.times}
    assert measured["figure9", "product", Work(106529, 640000, 40000)] == 32.7


def test_the_same_seed_gives_the_same_bands(sunway: Projection) -> None:
    """Projecting again changes nothing; another seed changes the bands and no value."""
    machine = load("sunway")
    assert project(machine) == sunway
    other = project(machine, seed=1)
    assert [each.seconds.value for each in other.times] == [each.seconds.value for each in sunway.times]
    assert other.times[0].seconds.band68 != sunway.times[0].seconds.band68


def test_bands_are_nested(sunway: Projection) -> None:
    """95 % around 68 %, about the value."""
    estimates = [each.seconds for each in sunway.times] + [each.speedup for each in sunway.comparisons]
    for each in estimates:
        assert each.band68 is not None
        assert each.band95 is not None
        assert each.band95[0] < each.band68[0] < each.value < each.band68[1] < each.band95[1]


def test_bands_of_scatter_alone_are_its_quantiles() -> None:
    """With no errors of the costs the band of a phase is exp(+- sigma) and exp(+- 1.96 sigma)."""
    found = project(Machine("m", COSTS, spread={"product": 0.2}), draws=40000)
    each = next(each for each in found.times if each.phase == "product")
    assert each.seconds.band68 == pytest.approx(each.seconds.value * np.exp([-0.199, 0.199]), rel=0.01)
    assert each.seconds.band95 == pytest.approx(each.seconds.value * np.exp([-0.392, 0.392]), rel=0.02)
    assert next(each for each in found.times if each.phase == "data").seconds.band95 is not None


def test_bands_hold_the_truth_as_often_as_they_say() -> None:
    """Machines fitted to noisy times of a known one: 95 % bands hold new noisy times of it 88 to 99 times in 100."""
    rng = np.random.default_rng(3)
    points = paper_points.small_scale() + paper_points.figure10()

    def noisy(point: Point) -> Point:
        return replace(point, seconds=seconds(point.phase, point.work, COSTS) * float(np.exp(rng.normal(0, 0.1))))

    inside = []
    for _ in range(6):
        machine = describe(fit([noisy(point) for point in points]), "m", "", "")
        for each in project(machine, draws=500).times:
            assert each.seconds.band95 is not None
            low, high = each.seconds.band95
            if each.phase in ("product", "factorisation", "data"):
                inside.append(low < noisy(Point(each.phase, each.work, 1.0)).seconds < high)
    assert 0.88 < np.mean(inside) < 0.99


def test_most_of_the_paper_lies_in_the_bands_of_its_machine(sunway: Projection) -> None:
    """Nearly all printed times in their 95 % band; the exceptions are Fig. 9's smallest mesh."""
    outside = []
    for each in sunway.times:
        assert each.seconds.band95 is not None
        low, high = each.seconds.band95
        if not low < each.paper_s < high:
            outside.append((each.source, each.work.processes))
    assert len(outside) <= 3
    assert set(outside) <= {("figure9", 256)}


def test_shapes_of_the_figures(sunway: Projection) -> None:
    """As the paper says: pdpotrf falls with the processes, pdgemm and data operations rise at fixed samples each."""
    for source in ("figure9", "figure10"):
        for parameters in (16249, 106529):
            for phase, sign in (("factorisation", -1), ("product", 1), ("data", 1)):
                rows = [
                    e for e in sunway.times if (e.source, e.phase, e.work.parameters) == (source, phase, parameters)
                ]
                rows.sort(key=lambda each: each.work.processes)
                steps = np.diff([each.seconds.value for each in rows])
                assert (sign * steps > 0).all()


def test_efficiency_of_weak_scaling(sunway: Projection) -> None:
    """1 at the smallest number of processes, T(smallest) / T(P) elsewhere; larger lattices depend less on SR."""
    assert len(sunway.efficiencies) == 3 * 7
    for L in (10, 16, 24):
        rows = [each for each in sunway.efficiencies if each.work.L == L]
        assert rows[0].efficiency.value == 1
        assert rows[0].efficiency.band95 == (1, 1)
        for each in rows:
            assert each.efficiency.value == pytest.approx(rows[0].seconds.value / each.seconds.value)
            mc = seconds("monte_carlo", each.work, sunway.machine.costs)
            assert each.monte_carlo_share == pytest.approx(mc / each.seconds.value)
            assert each.work.rotations == 4
        assert [each.paper for each in rows[:-1]] == [None] * 6
        assert rows[-1].paper == paper.figure10["parallel_efficiency_at_490000"][f"{L}x{L}"]
    last = [each.monte_carlo_share for each in sunway.efficiencies if each.work.processes == 490000]
    assert last[0] < last[1] < last[2]


def test_the_printed_efficiencies_are_not_those_of_the_printed_times() -> None:
    """What ``Efficiency.paper`` says: SR gets faster from 10 000 to 490 000 processes, so no loss can come of it."""
    points = paper_points.figure10_sums()
    assert [round(points[0].seconds, 1), round(points[-1].seconds, 1)] == [58.1, 43.2]


def test_sample_space_wins_with_fewer_samples_than_parameters(sunway: Projection) -> None:
    """The Gram matrix is faster and smaller where N_s < N_p, and only there; at equality it is even."""
    assert len(sunway.comparisons) == 8 + 7
    for each in sunway.comparisons:
        assert each.speedup.value == pytest.approx(each.covariance_s.value / each.sample_space_s.value)
        assert each.samples_per_parameter == each.work.samples / each.work.parameters
        assert (each.speedup.value > 1) == (each.samples_per_parameter < 1)
        assert (each.sample_space_bytes < each.covariance_bytes) == (each.samples_per_parameter < 1)
    even = next(each for each in sunway.comparisons if abs(each.samples_per_parameter - 1) < 0.02)
    assert even.speedup.value == pytest.approx(1, abs=0.03)
    best = max(sunway.comparisons, key=lambda each: each.speedup.value)
    assert (best.work.parameters, best.work.processes) == (106529, 1024)
    assert best.speedup.value > 10


def test_crossover_is_where_both_take_equally_long(sunway: Projection) -> None:
    """One process more and the covariance wins; it happens at N_s = N_p, but for the way back to the parameters."""
    found = {(each.parameters, each.samples_per_process): each for each in sunway.crossovers}
    assert list(found) == [(16249, 16), (106529, 16), (106529, 8)]
    for each in found.values():
        for processes, wins in ((each.processes, True), (each.processes + 1, False)):
            work = Work(each.parameters, each.samples_per_process * processes, processes)
            times = [seconds("sr", work, sunway.machine.costs, solver) for solver in ("sample_space", "covariance")]
            assert (times[0] < times[1]) == wins
        assert each.samples_per_parameter == pytest.approx(1, abs=2e-3)


def test_a_projection_is_plain_data(sunway: Projection) -> None:
    """It turns into dictionaries that JSON can hold."""
    plain = asdict(replace(sunway, machine=Machine("bare", COSTS)))
    assert plain["times"][0]["seconds"]["value"] == sunway.times[0].seconds.value
