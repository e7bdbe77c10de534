"""Our runs as points of the model."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import store, strong_run, unfit, weak_run

from qmcbench.errors import UserError
from qmcbench.scaling.measurements import points
from qmcbench.scaling.model import Point
from qmcbench.store import jsonl
from qmcbench.store.scaling import SolveTimes, StrongRun, WeakRun, Work

STRONG, WEAK = "scale strong", "scale weak"


def test_strong_scaling() -> None:
    """Product, factorisation, and redistribution and solves as one time, in the order of parameters and ranks."""
    one, two, small = Work(16249, 2560, 1), Work(16249, 2560, 2), Work(3531, 2560, 2)
    assert points(store(strong_run(ranks=2), strong_run(), strong_run(3531, 2))) == [
        Point("data", small, 1.5, STRONG),
        Point("factorisation", small, 8.0, STRONG),
        Point("product", small, 4.0, STRONG),
        Point("data", one, 3.0, STRONG),
        Point("factorisation", one, 16.0, STRONG),
        Point("product", one, 8.0, STRONG),
        Point("data", two, 1.5, STRONG),
        Point("factorisation", two, 8.0, STRONG),
        Point("product", two, 4.0, STRONG),
    ]


def test_what_is_not_the_paper_s() -> None:
    """Half a product by pdsyrk is left out; the Gram matrix is marked."""
    found = points(store(strong_run(product="pdsyrk", space="samples")))
    assert [(point.phase, point.solver) for point in found] == [
        ("data", "sample_space"),
        ("factorisation", "sample_space"),
    ]


def test_fastest_of_several_layouts() -> None:
    """Of each phase by itself, whichever comes first; the Gram matrix is another matter."""
    runs = [
        strong_run(seconds={"product": 8.0, "factorisation": 15.0}),
        strong_run(block=64, seconds={"product": 7.0}),
        strong_run(product="pdsyrk", seconds={"product": 3.0, "factorisation": 14.0}),
        strong_run(space="samples", seconds={"product": 1.0}),
    ]
    for order in (runs, runs[::-1]):
        found = [point for point in points(store(*order)) if point.solver == "covariance"]
        assert [(point.phase, point.seconds) for point in found] == [
            ("data", 3.0),
            ("factorisation", 14.0),
            ("product", 7.0),
        ]


def test_weak_scaling() -> None:
    """The slowest rank's time, samples of all ranks, the network's parameters, and its projection's images."""
    runs = [
        weak_run(10, 2, network="small", chains=8),
        weak_run(16, 2, symmetry="C4"),
        weak_run(6, 2, symmetry="full", network="small", chains=8),
    ]
    assert points(store(*runs)) == [
        Point("monte_carlo", Work(3531, 16, 2, 10, 1), 4.0, WEAK),
        Point("monte_carlo", Work(3531, 16, 2, 6, 32), 4.0, WEAK),
        Point("monte_carlo", Work(16249, 32, 2, 16, 4), 4.0, WEAK),
    ]


@pytest.mark.parametrize("run", [strong_run, weak_run])
def test_oversubscribed_runs_are_left_out(run: Any) -> None:
    """More ranks than cores measure the sharing of cores, not the machine; there must be others."""
    found = points(store(run(ranks=4), run(ranks=2)))
    assert {point.work.processes for point in found} == {2}
    for runs in ([run(ranks=4)], []):
        words = r"The records of `scale .*` \(2000-.*\) have no run with a core for each rank, .* with fewer ranks"
        with pytest.raises(UserError, match=words):
            points(store(*runs))


@pytest.mark.parametrize(
    ("run", "changes", "words"),
    [
        pytest.param(strong_run(), {"times": []}, "there is no times", id="times"),
        pytest.param(weak_run(), {"parameters": None}, "there is no parameters", id="parameters"),
        pytest.param(strong_run(), {"dgemm_GFs": 0.0}, r"dgemm_GFs = 0.0 is not between 1e-15 and 1e\+18", id="rate"),
        pytest.param(
            strong_run(),
            {"times": [vars(SolveTimes(1.0, -1.0, 1.0, 1.0))]},
            "times.product = -1.0 is not between",
            id="time",
        ),
        pytest.param(strong_run(), {"peak_bytes": [0]}, "peak_bytes = 0 is not between", id="memory"),
    ],
)
def test_what_cannot_be_computed_with_is_named(
    run: StrongRun | WeakRun, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """On reading; so are the line and what to do."""
    path = jsonl.save(tmp_path, "scaling", store(run))
    head, line = path.read_text().splitlines()
    path.write_text(f"{head}\n{json.dumps(json.loads(line) | changes)}\n")
    with pytest.raises(UserError, match=f"line 2: .*{words}.*measure again"):
        jsonl.read(path)


def test_what_was_not_measured_is_no_point() -> None:
    """Neither with a reason nor without."""
    found = points(store(strong_run(), unfit(strong_run(ranks=2)), strong_run(3531, value=None)))
    assert {(point.work.parameters, point.work.processes) for point in found} == {(16249, 1)}
