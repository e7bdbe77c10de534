"""Cost growth: the fit, what is expected, the memory of a point, and a whole measurement on tiny sizes."""

import math
import os
from itertools import chain
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from qmcbench import provenance
from qmcbench.bench import growth, suite
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Serial
from qmcbench.sr import dense
from qmcbench.store.bench import Point

MIB = 2**20
DENSE = growth.Curve("solve (dense)", "parameters", (500, 1000, 1500), {"samples": 64}, "because")
# Holds some MiB, and others for a moment while it is built; an earlier peak comes from the tiny workload.
STAND_IN = """
import sys
import numpy as np
from qmcbench.bench import growth, worker

def build(what, size):
    rows = np.ones(size["held"] * 2**17)
    np.ones(size["moment"] * 2**17)
    return lambda: rows

growth.build = build
growth._tiny = lambda size: {"held": 0, "moment": size["earlier"]}
worker.main(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times do not matter here."""
    monkeypatch.setattr(provenance, "available_cores", lambda: 1)


def test_fit_recovers_the_exponent_of_the_upper_part() -> None:
    """Overhead below the geometric middle (12 of 6..24) does not count; at it and above, everything does."""
    points = {x: 3e-5 * x**3.5 for x in (24, 20, 16, 12)}
    found = growth.fit(points | {6: 1.0, 8: 1.0, 10: 1.0})
    assert found.exponent == pytest.approx(3.5)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.start == 12
    assert growth.fit(points | {6: 1.0, 12: 1.0}).exponent < 3


def test_fit_takes_three_points_and_their_scatter() -> None:
    """Of 1, 2, 8, 16 only 8 and 16 are in the upper part, so 2 joins them; the error is that of the textbook."""
    found = growth.fit({1: 5.0, 2: 1.0, 8: 8.0, 32: 16.0})
    xs, ys = [math.log(2), math.log(8), math.log(32)], [0.0, math.log(8), math.log(16)]
    # Equidistant xs: the slope is between the ends, and the middle leaves residuals d, -2 d, d.
    slope = (ys[2] - ys[0]) / (xs[2] - xs[0])
    d = (sum(ys) - 3 * ys[1]) / 6
    assert found == pytest.approx((slope, math.sqrt(6 * d * d / 1 / (2 * math.log(4) ** 2)), 2))
    with pytest.raises(ValueError, match="2 points"):
        growth.fit({1: 1.0, 2: 2.0})


def test_operations_of_the_covariance_are_those_that_are_done() -> None:
    """Its product is counted by PyTorch; Cholesky, which is not, has a third of a cube."""
    samples = growth.worker_strong.synthetic(Serial(), 90, 500, seed=0)
    with FlopCounterMode(display=False) as counter:
        dense(samples, 0.1)
    assert counter.get_total_flops() == pytest.approx(growth.covariance_operations(90, 500) - 90**3 / 3)
    # Strips of 128, 128 and 44 rows up to the diagonal.
    strips = 128 * 128 + 128 * 256 + 44 * 300
    assert growth.gram_operations(7, 300) - 300**3 / 3 == pytest.approx(2 * 7 * strips, rel=0.05)


def test_half_of_the_bonds_connect() -> None:
    """As the count of local energies says."""
    found = J1J2(10, 0.5).antiparallel(random_configurations(10, 200)).sum() / 200
    forwards = growth.local_energy_operations("small", 10, 1) / growth.forward_operations("small", 10)
    assert float(found) == pytest.approx(forwards, rel=0.02)


def expected(what: str, variable: str, quantity: str = "work") -> float:
    """The slope of the count of a curve of the full measurement."""
    (curve,) = (each for each in growth.CURVES if (each.what, each.variable) == (what, variable))
    count = getattr(growth.COUNTS[what], quantity)
    return growth.fit({x: count(**curve.size(x)) for x in curve.values}).exponent


def test_expected_exponents() -> None:
    """Powers are powers; sums lie where their terms say."""
    # Real frequencies cost less, and are a smaller part on larger lattices.
    assert expected("forward", "L") == pytest.approx(2, abs=0.03)
    # The fused kernels' way to the parameters weighs less on larger lattices, and more with more channels.
    assert 1 < expected("log_derivatives", "L") < 2
    assert expected("log_derivatives", "samples") == pytest.approx(1)
    assert 1 < expected("log_derivatives", "parameters") < 1.5
    assert expected("log_derivatives", "L", "bytes") == pytest.approx(0)
    assert expected("local_energy", "L") == pytest.approx(4, abs=0.03)
    assert expected("sweep", "L") == pytest.approx(4, abs=0.03)
    assert 3.9 < expected("iteration", "L") < 4
    assert expected("sweep", "chains") == pytest.approx(1)
    assert expected("local_energy", "chains") == pytest.approx(1)
    assert 1.1 < expected("iteration", "chains") < 1.5
    assert expected("solve (sample_space)", "parameters") == pytest.approx(1, abs=0.01)
    assert 1.9 < expected("solve (sample_space)", "samples") < 2.1
    assert 2 < expected("solve (dense)", "parameters") < 3
    assert 0.5 < expected("solve (dense)", "samples") < 1
    assert 1 < expected("solve (dense)", "parameters", "bytes") < 2


def test_curves_are_complete() -> None:
    """Every variable that costs are to be known against, enough points each, and networks by their parameters."""
    assert {curve.variable for curve in growth.CURVES} == {"L", "parameters", "samples", "chains"}
    for curves in (growth.CURVES, growth.QUICK):
        for curve in curves:
            assert list(curve.values) == sorted(set(curve.values))
            assert len(curve.values) >= growth.LEAST
            assert all(growth.COUNTS[curve.what].work(**curve.size(x)) > 0 for x in curve.values)
    (layouts,) = (each for each in growth.CURVES if (each.what, each.variable) == ("log_derivatives", "parameters"))
    assert [layouts.size(x)["network"] for x in layouts.values] == ["small", "medium", "large"]
    assert set(growth.COUNTS) == {curve.what for curve in growth.CURVES}
    assert growth.total(quick=True) == 12


@pytest.mark.parametrize("what", growth.COUNTS)
def test_every_workload_runs_at_the_size_that_is_asked_for(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny one first, then this one; seconds of at least three calls."""
    asked: list[tuple[object, ...]] = []
    phase, synthetic = suite.phase, growth.worker_strong.synthetic
    monkeypatch.setattr(suite, "phase", lambda *size: asked.append(size) or phase(*size))
    monkeypatch.setattr(
        growth.worker_strong,
        "synthetic",
        lambda comm, *size, seed: asked.append(size) or synthetic(comm, *size, seed),
    )
    solver = what in growth.SOLVERS
    size = {"parameters": 90, "samples": 20} if solver else {"network": "small", "L": 6, "samples": 20}
    found = growth.point(Serial(), growth.Request(what, size))
    assert asked == ([(64, 2), (90, 20)] if solver else [(what, "small-6", 2), (what, "small-6", 20)])
    assert 3 <= len(found.seconds) <= 7
    assert min(found.seconds) > 0


@pytest.mark.parametrize(("earlier", "rise"), [(0, 120), (300, 0)])
def test_memory_that_a_workload_takes_is_found(
    earlier: int, rise: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 MiB that stay and 96 MiB for a moment; nothing is claimed of a rise that an earlier peak hides."""
    (tmp_path / "stand_in_growth.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(launch, "WORKER", "stand_in_growth")
    size = {"held": 24, "moment": 96, "earlier": earlier}
    answer = launch.run(None, {"kind": "growth", "what": "", "size": size}, 100)
    assert answer["bytes"] / MIB == pytest.approx(rise, abs=3)


def test_measurement_of_a_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of all points and bytes of those above the noise, near what the solver's matrices take."""
    monkeypatch.setattr(growth, "QUICK", (DENSE,))
    monkeypatch.setattr(growth, "NOISE", 1)
    # Freed blocks go back to the system at once, for the memory to be what is counted.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(MIB))
    steps = list(growth.measure(True))
    assert steps[:-1] == [[], []]
    assert growth.total(quick=True) == 3
    seconds, rises = steps[-1]
    for curve, quantity in ((seconds, "seconds"), (rises, "bytes")):
        assert (curve.quantity, curve.work, curve.variable) == (quantity, "solve (dense)", "parameters")
        assert (curve.fixed, curve.why, curve.fitted_from) == ({"samples": 64}, "because", 500)
        assert curve.threads == 1
        assert [point.x for point in curve.points] == [500, 1000, 1500]
        assert all(0 < point.low <= point.median <= point.high for point in curve.points)
        assert curve.sigma is not None
        assert curve.sigma >= 0
    assert all(point.repeats >= 3 for point in seconds.points)
    assert all(point.repeats == 1 for point in rises.points)
    assert 2.5 < seconds.expected < 3
    assert 1.8 < rises.expected < 2
    for point in rises.points:
        # And what the libraries keep.
        assert -1 < (point.median - growth.covariance_bytes(point.x, 64)) / MIB < 16


def test_points_below_the_noise_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of four, then too many for a line."""
    small, large = growth.NOISE - 1, 10**8
    rises = iter([small, growth.NOISE, 2 * growth.NOISE, 4 * growth.NOISE, small, small, large, 10 * large])
    answer = {"ranks": 1, "oversubscribed": False, "libraries": {}, "provenance": {}, "seconds": [3.0, 1.0, 2.0]}
    monkeypatch.setattr(launch, "run", lambda *_, **__: answer | {"bytes": next(rises)})
    curve = growth.Curve("solve (dense)", "parameters", (1, 2, 4, 8), {"samples": 4}, "because")
    monkeypatch.setattr(growth, "QUICK", (curve, curve))
    seconds, rise, *rest = chain.from_iterable(growth.measure(True))
    assert [point.x for point in rise.points] == [2, 4, 8]
    assert rise.value == pytest.approx(1)
    assert [point.x for point in seconds.points] == [1, 2, 4, 8]
    assert seconds.points[0] == Point(x=1, median=2.0, low=1.0, high=3.0, repeats=3)
    assert [curve.quantity for curve in rest] == ["seconds"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"seconds": "fast", "bytes": 0}, "seconds"),
        ({"seconds": [1.0]}, "the key bytes is missing"),
        ({"seconds": [1.0], "bytes": 0, "more": 1}, "unknown key 'more'"),
    ],
    ids=["kind", "missing", "unknown"],
)
def test_an_answer_that_is_none(answer: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process says is checked as any file is."""
    monkeypatch.setattr(launch, "run", lambda *_, **__: answer)
    with pytest.raises(UserError, match=f"A job's answer: .*{words}"):
        list(growth.measure(True))


def test_point_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process said reaches the caller, as one sentence."""
    curve = growth.Curve("sweep", "L", (4, 6, 8), {"network": "huge", "chains": 2}, "because")
    monkeypatch.setattr(growth, "QUICK", (curve,))
    with pytest.raises(launch.JobError, match=r"A process failed: .*huge") as caught:
        list(growth.measure(True))
    assert "\n" not in str(caught.value)
