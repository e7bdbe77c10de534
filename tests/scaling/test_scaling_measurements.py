"""Our stores as points of the model."""

from typing import Any

import pytest

from qmcbench.errors import UserError
from qmcbench.scaling.measurements import strong, weak
from qmcbench.scaling.model import Point, Work

STRONG: dict[str, Any] = {
    "parameters": 16249,
    "samples": 2048,
    "ranks": 2,
    "grid": [1, 2],
    "seconds": {"redistribution": 0.5, "product": 3.0, "factorisation": 9.0, "solves": 0.25},
}
WEAK: dict[str, Any] = {
    "L": 10,
    "network": "medium",
    "symmetry": "C4",
    "ranks": 2,
    "samples_per_rank": 16,
    "seconds": {"monte_carlo": 12.0, "sr": 1.0},
}


def test_strong_scaling() -> None:
    """Product, factorisation, and the data operations as one time."""
    work = Work(16249, 2048, 2)
    assert strong({"runs": [STRONG]}, "s") == [
        Point("product", work, 3.0, "s"),
        Point("factorisation", work, 9.0, "s"),
        Point("data", work, 0.75, "s"),
    ]


def test_what_is_not_the_paper_s() -> None:
    """Half a product by pdsyrk is left out; the Gram matrix is marked."""
    found = strong({"runs": [STRONG | {"product": "pdsyrk", "space": "samples"}]})
    assert [(point.phase, point.solver) for point in found] == [
        ("factorisation", "sample_space"),
        ("data", "sample_space"),
    ]


def test_weak_scaling() -> None:
    """Samples of all ranks, the network's parameters, four rotations with C4."""
    assert weak({"runs": [WEAK]}, "w") == [Point("monte_carlo", Work(16249, 32, 2, 10, 4), 12.0, "w")]
    assert weak({"runs": [WEAK | {"symmetry": "none"}]})[0].work.rotations == 1


def test_oversubscribed_runs_are_left_out() -> None:
    """More ranks than cores measure the sharing of cores, not the machine."""
    assert strong({"runs": [STRONG | {"oversubscribed": True}]}) == []
    assert weak({"runs": [WEAK | {"oversubscribed": True}]}) == []


@pytest.mark.parametrize("read", [strong, weak])
def test_a_missing_key_is_named(read: Any) -> None:
    """So are the file and what to do."""
    with pytest.raises(UserError, match="store: the key 'runs' is missing; measure again"):
        read({}, "store")
    with pytest.raises(UserError, match="store: the key 'ranks' is missing"):
        read({"runs": [{key: value for key, value in (STRONG | WEAK).items() if key != "ranks"}]}, "store")
