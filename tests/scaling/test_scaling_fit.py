"""Fitting: known costs come back, what is not shown stays near a base, and a bootstrap's errors are the true ones."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from qmcbench.errors import UserError
from qmcbench.scaling import fit as fitting
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import FLOOR, PRIOR, bootstrap, describe, fit, sunway
from qmcbench.scaling.machine import Machine, load
from qmcbench.scaling.model import NAMES, Costs, Point, seconds
from qmcbench.scaling.project import project
from qmcbench.store.scaling import ModelledTime, Work

TRUE = Costs(40.0, 30.0, 2.0, 0.8, 0.02, 0.3, 9.0, 1.5, 60.0)
NODE = Costs(30.0, 45.0, 5.0, 3.0, 0.0005, 1.0, 5.0, 0.3, 20.0)
"""Of an invented node, about as far from Sunway's as ours is."""


def synthetic(points: list[Point], costs: Costs, noise: float = 0.0, seed: int = 0) -> list[Point]:
    """The same work with the model's times, each multiplied by a log-normal factor."""
    factors = np.exp(noise * np.random.default_rng(seed).standard_normal(len(points)))
    return [
        replace(point, seconds=seconds(point.phase, point.work, costs, point.solver) * factor)
        for point, factor in zip(points, factors.tolist(), strict=True)
    ]


def all_points() -> list[Point]:
    """The work of everything that the paper measured."""
    return paper_points.small_scale() + paper_points.figure10()


def test_exact_times_give_the_costs_back() -> None:
    """From noiseless times all nine costs return, far from those of the paper, and the model meets every point."""
    found = fit(synthetic(all_points(), TRUE))
    np.testing.assert_allclose(found.costs.values(), TRUE.values(), rtol=1e-6)
    np.testing.assert_allclose(found.predicted, [point.seconds for point in found.points], rtol=1e-7)


def test_sums_and_the_gram_matrix_can_be_fitted() -> None:
    """Times of whole iterations, of SR and of sample-space phases are points like any other."""
    points = [replace(point, solver="sample_space") for point in paper_points.figure9()]
    points += paper_points.table3() + paper_points.data_operations()
    np.testing.assert_allclose(fit(synthetic(points, TRUE)).costs.values(), TRUE.values(), rtol=1e-5)


def test_one_wild_point_is_held_back() -> None:
    """A time ten times too long moves no cost by more than a quarter."""
    points = synthetic(all_points(), TRUE, noise=0.03)
    at = next(i for i, point in enumerate(points) if point.phase == "product")
    points[at] = replace(points[at], seconds=10 * points[at].seconds)
    assert (abs(np.log(fit(points).costs.values() / TRUE.values())) < 0.25).all()


def own_runs(ranks: Sequence[int], networks: Sequence[int]) -> list[Point]:
    """The work of strong and weak scaling as we measure them."""
    works = [Work(N, 4096, P) for N in networks for P in ranks]
    points = [Point(phase, work, 1.0) for work in works for phase in ("product", "factorisation", "data")]
    weak = [Work(N, 64 * P, P, L, s) for N in networks for P in ranks for L in (10, 16) for s in (1, 4)]
    return points + [Point("monte_carlo", work, 1.0) for work in weak]


def test_a_far_base_changes_no_cost_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact times of two networks on 1 to 8 ranks: what they show comes back, though the base's differ up to 50-fold.

    The others are messages of microseconds, and panels of pdgemm that take less than the scatter of repetitions.
    """
    monkeypatch.setattr(fitting, "bootstrap", partial(bootstrap, replicas=100))
    base = load("sunway")
    found = fit(synthetic(own_runs((1, 2, 4, 8), (3531, 16249)), NODE), base.costs)
    np.testing.assert_allclose(found.predicted, [point.seconds for point in found.points], rtol=0.01)
    made = describe(found, "mine", "", "", base)
    hidden = {"product_bandwidth", "panel_latency", "redistribution_latency"}
    assert set(made.fitted) == set(NAMES) - hidden
    for name in NAMES:
        wrong = abs(np.log(getattr(found.costs, name) / getattr(NODE, name)))
        assert wrong < (1.5 if name in hidden else 0.05), name


def test_small_meshes_leave_the_network_to_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks and one network: every time is met; what they do not show is near the base, with large errors."""
    monkeypatch.setattr(fitting, "bootstrap", partial(bootstrap, replicas=100))
    base = load("sunway")
    found = fit(synthetic(own_runs((1, 2), (16249,)), NODE), base.costs)
    np.testing.assert_allclose(found.predicted, [point.seconds for point in found.points], rtol=0.05)
    made = describe(found, "mine", "", "", base)
    assert set(made.fitted) == {"gemm_rate", "redistribution_bandwidth", "half_rate_sites"}
    for name in set(NAMES) - set(made.fitted):
        assert made.errors[name] > 1, name
        between = sorted(getattr(costs, name) for costs in (NODE, base.costs))
        assert between[0] * 0.7 < getattr(made.costs, name) < between[1] * 1.5, name
    (estimate,) = [
        each for each in project(made)
        if isinstance(each, ModelledTime)
        and (each.source, each.phase, each.work.processes) == ("Fig. 10", "factorisation", 490000)
    ]  # fmt: skip
    assert estimate.band95 is not None
    assert estimate.band95[1] > 100 * estimate.band95[0]


def test_a_base_is_all_that_is_known_of_what_was_not_measured() -> None:
    """The Monte Carlo costs are the base's to the last digit, their error that of any machine, and independent."""
    base = Machine("base", TRUE, errors={"cnn_rate": 0.03}, spread={"monte_carlo": 0.3}, processes_per_node=4)
    points = [Point("factorisation", Work(N, 100, 1), 1.0) for N in (500, 2000, 8000, 32000)]
    made = describe(fit(synthetic(points, TRUE, 0.03), TRUE), "mine", "a", "b", base)
    assert made.fitted == ("gemm_rate", "panel_bandwidth")
    assert tuple(made.errors) == NAMES
    gemm, panel = NAMES.index("gemm_rate"), NAMES.index("panel_bandwidth")
    for name in set(NAMES) - set(made.fitted):
        assert getattr(made.costs, name) == pytest.approx(getattr(TRUE, name))
        assert made.errors[name] == pytest.approx(PRIOR, rel=0.15)
        assert abs(made.correlation[gemm][NAMES.index(name)]) < 0.2
    assert max(made.errors[name] for name in made.fitted) < 0.1
    assert made.correlation[gemm][panel] == pytest.approx(made.correlation[panel][gemm])
    assert made.correlation[gemm][panel] < -0.2
    assert made.spread["monte_carlo"] == 0.3
    assert 0.01 < made.spread["factorisation"] < 0.1
    assert (made.name, made.processes_per_node) == ("mine", 4)


def test_errors_of_the_bootstrap_are_the_scatter_of_fits() -> None:
    """Costs refitted to 60 sets of noisy times scatter by what the bootstrap of one of them says, within a third."""
    fits = [fit(synthetic(all_points(), TRUE, 0.1, seed)) for seed in range(60)]
    scatter = np.log([found.costs.values() for found in fits]).std(axis=0, ddof=1)
    errors = [list(bootstrap(found, 60).errors.values()) for found in fits[:5]]
    np.testing.assert_allclose(np.mean(errors, axis=0), scatter, rtol=0.35)


def test_correlated_costs_are_reported_so() -> None:
    """Rate and bandwidth of pdgemm make up for each other: better one, worse other."""
    found = fit(synthetic(all_points(), TRUE, 0.1))
    errors, correlation = bootstrap(found, 100)
    names = list(errors)
    assert correlation[names.index("gemm_rate"), names.index("product_bandwidth")] < -0.2
    np.testing.assert_allclose(np.diag(correlation), 1)


def test_a_perfect_fit_is_not_believed() -> None:
    """One point for one cost is met exactly; its error and scatter are those of repeating it, not zero."""
    found = fit([Point("product", Work(1000, 1000, 1), 1.0)], TRUE)
    assert found.spread() == {"product": FLOOR}
    assert bootstrap(found).errors["gemm_rate"] == pytest.approx(FLOOR, rel=0.2)


def test_a_sum_lends_its_scatter_to_its_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only SR as a whole was measured, its scatter is that of its phases."""
    monkeypatch.setattr(fitting, "bootstrap", partial(bootstrap, replicas=5))
    points = [Point("sr", Work(N, N, P), 1.0) for N in (2000, 8000, 32000) for P in (1, 16, 256)]
    made = describe(fit(synthetic(points, TRUE, 0.2), TRUE), "m", "", "")
    assert made.spread["product"] == made.spread["data"] == made.spread["factorisation"] > 0.05
    assert "monte_carlo" not in made.spread


def test_what_cannot_be_fitted() -> None:
    """No points, a time that is none, or a cost that nothing depends on: each is named."""
    with pytest.raises(UserError, match="no measured times"):
        fit([])
    points = all_points()
    for time in (0.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"Table 3: a monte_carlo time of .* s cannot be fitted"):
            fit([replace(points[0], seconds=time), *points[1:]])
    with pytest.raises(UserError, match="do not depend on cnn_rate, site_overhead, half_rate_sites: give a machine"):
        fit(paper_points.figure9() + paper_points.data_operations())


def test_committed_machine_is_a_new_fit() -> None:
    """``sunway.toml`` is what fitting the paper's times gives today."""
    new, committed = sunway(), load("sunway")
    np.testing.assert_allclose(committed.costs.values(), new.costs.values(), rtol=2e-4)
    assert (committed.name, committed.description, committed.source) == (new.name, new.description, new.source)
    assert committed.processes_per_node == new.processes_per_node == 6
    assert committed.fitted == new.fitted == NAMES
    assert list(committed.errors) == list(new.errors)
    np.testing.assert_allclose(list(committed.errors.values()), list(new.errors.values()), rtol=0.06)
    np.testing.assert_allclose(committed.correlation, new.correlation, atol=0.02)
    assert committed.spread == pytest.approx(dict(new.spread), rel=0.06)
