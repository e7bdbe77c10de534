"""Projections: the model's times at the paper's points, bands, efficiencies, and sample space against covariance."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from qmcbench.reference import paper
from qmcbench.scaling import fit as fitting
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import describe, fit
from qmcbench.scaling.machine import Machine, load
from qmcbench.scaling.model import Costs, Point, bytes_per_process, seconds
from qmcbench.scaling.project import project
from qmcbench.store.records import Record
from qmcbench.store.scaling import Crossover, Efficiency, ModelledTime, SolverGain, Work

COSTS = Costs(40.0, 30.0, 2.0, 0.8, 0.02, 0.3, 9.0, 1.5, 60.0)


Projected = list[Record]


@pytest.fixture(scope="module")
def sunway() -> Projected:
    """The paper's machine."""
    return list(project(load("sunway")))


def of(kind: type, found: Projected) -> list:
    """Its records of one kind."""
    return [each for each in found if isinstance(each, kind)]


def test_without_errors_there_is_no_band() -> None:
    """A machine of bare costs: the model's time at each of the paper's points, and nothing else."""
    found = project(Machine("bare", COSTS, processes_per_node=6))
    times = of(ModelledTime, found)
    assert len(times) == 40 + 16 + 19
    for each in times:
        assert each.value == pytest.approx(seconds(each.phase, each.work, COSTS), rel=1e-12)
        assert each.band68 is None
        assert each.band95 is None
        assert each.nodes == -(-each.work.processes // 6)
    measured = {(each.source, each.phase, each.work): each.known for each in times}
    assert measured["Fig. 9", "product", Work(106529, 640000, 40000)] == 32.7


def test_the_same_seed_gives_the_same_bands(sunway: Projected) -> None:
    """Projecting again changes nothing; another seed changes the bands and no value."""
    machine = load("sunway")
    assert project(machine) == sunway
    other = project(machine, seed=1)
    assert [each.value for each in other] == [each.value for each in sunway]
    assert other[0].band68 != sunway[0].band68


def test_bands_are_nested(sunway: Projected) -> None:
    """95 % around 68 %, about the value."""
    for each in of(ModelledTime, sunway) + of(SolverGain, sunway):
        assert each.band68 is not None
        assert each.band95 is not None
        assert each.band95[0] < each.band68[0] < each.value < each.band68[1] < each.band95[1]


def test_bands_of_scatter_alone_are_its_quantiles() -> None:
    """With no errors of the costs the band of a phase is exp(+- sigma) and exp(+- 1.96 sigma)."""
    found = project(Machine("m", COSTS, spread={"product": 0.2}), draws=10000)
    each = next(each for each in of(ModelledTime, found) if each.phase == "product")
    assert each.band68 == pytest.approx(each.value * np.exp([-0.199, 0.199]), rel=0.01)
    assert each.band95 == pytest.approx(each.value * np.exp([-0.392, 0.392]), rel=0.02)
    assert next(each for each in of(ModelledTime, found) if each.phase == "data").band95 is not None


def test_bands_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines fitted to noisy times of a known one: 95 % bands hold new noisy times of it 88 to 99 times in 100."""
    monkeypatch.setattr(fitting, "bootstrap", partial(fitting.bootstrap, replicas=100))
    rng = np.random.default_rng(3)
    points = paper_points.small_scale() + paper_points.figure10()

    def noisy(point: Point) -> Point:
        return replace(point, seconds=seconds(point.phase, point.work, COSTS) * float(np.exp(rng.normal(0, 0.1))))

    inside = []
    for _ in range(6):
        machine = describe(fit([noisy(point) for point in points]), "m", "", "")
        for each in of(ModelledTime, project(machine, draws=500)):
            assert each.band95 is not None
            low, high = each.band95
            if each.phase in ("product", "factorisation", "data"):
                inside.append(low < noisy(Point(each.phase, each.work, 1.0)).seconds < high)
    assert 0.88 < np.mean(inside) < 0.99


def test_most_of_the_paper_lies_in_the_bands_of_its_machine(sunway: Projected) -> None:
    """Nearly all printed times in their 95 % band; the exceptions are Fig. 9's smallest mesh."""
    outside = []
    for each in of(ModelledTime, sunway):
        assert each.band95 is not None
        low, high = each.band95
        if not low < each.known < high:
            outside.append((each.source, each.work.processes))
    assert len(outside) <= 3
    assert set(outside) <= {("Fig. 9", 256)}


def test_shapes_of_the_figures(sunway: Projected) -> None:
    """As the paper says: pdpotrf falls with the processes, pdgemm and data operations rise at fixed samples each."""
    for source in ("Fig. 9", "Fig. 10"):
        for parameters in (16249, 106529):
            for phase, sign in (("factorisation", -1), ("product", 1), ("data", 1)):
                rows = [
                    e
                    for e in of(ModelledTime, sunway)
                    if (e.source, e.phase, e.work.parameters) == (source, phase, parameters)
                ]
                rows.sort(key=lambda each: each.work.processes)
                steps = np.diff([each.value for each in rows])
                assert (sign * steps > 0).all()


def test_efficiency_of_weak_scaling(sunway: Projected) -> None:
    """1 at the smallest number of processes, T(smallest) / T(P) elsewhere; larger lattices depend less on SR."""
    efficiencies = of(Efficiency, sunway)
    assert len(efficiencies) == 3 * 7
    costs = load("sunway").costs
    for L in (10, 16, 24):
        rows = [each for each in efficiencies if each.work.L == L]
        assert rows[0].value == 1
        assert rows[0].band95 == (1, 1)
        for each in rows:
            assert each.value == pytest.approx(rows[0].iteration.value / each.iteration.value)
            mc = seconds("monte_carlo", each.work, costs)
            assert each.monte_carlo_share == pytest.approx(mc / each.iteration.value)
            assert each.work.rotations == 4
        assert [each.reference for each in rows[:-1]] == [None] * 6
        assert rows[-1].known == paper.figure10["parallel_efficiency_at_490000"][f"{L}x{L}"]
    last = [each.monte_carlo_share for each in efficiencies if each.work.processes == 490000]
    assert last[0] < last[1] < last[2]


def test_the_printed_efficiencies_are_not_those_of_the_printed_times() -> None:
    """As is said of them: SR gets faster from 10 000 to 490 000 processes, so no loss can come of it."""
    points = paper_points.figure10_sums()
    assert [round(points[0].seconds, 1), round(points[-1].seconds, 1)] == [58.1, 43.2]


def test_sample_space_wins_with_fewer_samples_than_parameters(sunway: Projected) -> None:
    """The Gram matrix is faster and smaller where N_s < N_p, and only there; at equality it is even."""
    gains = of(SolverGain, sunway)
    assert len(gains) == 8 + 7
    for each in gains:
        assert each.value == pytest.approx(each.covariance.value / each.sample_space.value)
        assert each.samples_per_parameter == each.work.samples / each.work.parameters
        assert (each.value > 1) == (each.samples_per_parameter < 1)
        smaller = bytes_per_process(each.work, "sample_space") < bytes_per_process(each.work)
        assert smaller == (each.samples_per_parameter < 1)
    even = next(each for each in gains if abs(each.samples_per_parameter - 1) < 0.02)
    assert even.value == pytest.approx(1, abs=0.03)
    best = max(gains, key=lambda each: each.value)
    assert (best.work.parameters, best.work.processes) == (106529, 1024)
    assert best.value > 10


def test_crossover_is_where_both_take_equally_long(sunway: Projected) -> None:
    """One process more and the covariance wins; it happens at N_s = N_p, but for the way back to the parameters."""
    found = {(each.parameters, each.samples_per_process): each for each in of(Crossover, sunway)}
    costs = load("sunway").costs
    assert list(found) == [(16249, 16), (106529, 16), (106529, 8)]
    for each in found.values():
        for processes, wins in ((each.value, True), (each.value + 1, False)):
            work = Work(each.parameters, each.samples_per_process * processes, processes)
            times = [seconds("sr", work, costs, solver) for solver in ("sample_space", "covariance")]
            assert (times[0] < times[1]) == wins
        assert each.samples_per_parameter == pytest.approx(1, abs=2e-3)
