"""A check passes only where it should: nothing missing, not finite or too noisy to tell ever passes."""

import math
from dataclasses import replace

import pytest

from qmcbench.gates.check import Check, Verdict

CHECK = Check(value=0.5, name="n", check="unbiased", bound=1.0, statement="It holds.")


@pytest.mark.parametrize(
    ("relation", "value", "verdict"),
    [
        ("at most", 1.0, Verdict.PASS),
        ("at most", 1.1, Verdict.FAIL),
        ("below", 0.9, Verdict.PASS),
        ("below", 1.0, Verdict.FAIL),
        ("at least", 1.0, Verdict.PASS),
        ("at least", 0.9, Verdict.FAIL),
    ],
)
def test_relations(relation: str, value: float, verdict: Verdict) -> None:
    """Each relation decides as its words say, at the bound and beside it."""
    assert replace(CHECK, relation=relation, value=value).verdict is verdict


@pytest.mark.parametrize("relation", ["at most", "at least", "below"])
@pytest.mark.parametrize("value", [None, math.nan], ids=["none", "nan"])
def test_what_is_not_finite_fails(relation: str, value: float | None) -> None:
    """NaN keeps to no bound, whatever the relation."""
    assert replace(CHECK, relation=relation, value=value).verdict is Verdict.FAIL


def test_what_was_not_measured_is_not_measured() -> None:
    """Neither a missing value with its reason nor a quick one decides anything."""
    for check in (replace(CHECK, value=None, not_run="no GPU"), replace(CHECK, quick=True)):
        assert check.verdict is Verdict.NOT_MEASURED
        assert not check.passed


@pytest.mark.parametrize("value", [0.5, 2.0, None])
@pytest.mark.parametrize("sigma", [0.2, math.nan, math.inf])
def test_noise_decides_nothing(value: float | None, sigma: float) -> None:
    """An error too large to have seen the smallest effect neither passes nor fails."""
    check = replace(CHECK, value=value, smallest_effect=1.0, sigma=sigma)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert not check.passed


def test_a_small_error_decides() -> None:
    """At a 6.5th of the smallest effect the check decides either way."""
    check = replace(CHECK, smallest_effect=1.0, sigma=1 / 6.5)
    assert check.verdict is Verdict.PASS
    assert replace(check, value=2.0).verdict is Verdict.FAIL
