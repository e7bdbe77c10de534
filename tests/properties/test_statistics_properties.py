"""Properties of the error bars: units, order of chains, weights."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qmcbench.statistics import (
    blocking_error,
    effective_sample_size,
    estimate,
    integrated_autocorrelation_time,
    r_hat,
)

SHAPES = st.tuples(st.integers(2, 6), st.integers(8, 200))
SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.floats(1e-3, 1e3)
SHIFTS = st.floats(-100, 100)


def series(shape: tuple[int, int], seed: int, memory: float = 0.6) -> np.ndarray:
    """Chains that remember their past, shape (chains, samples)."""
    noise = np.random.default_rng(seed).normal(size=shape)
    for t in range(1, shape[1]):
        noise[:, t] += memory * noise[:, t - 1]
    return noise


@given(SHAPES, SEEDS, SCALES, SHIFTS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_another_unit_changes_nothing_but_the_unit(
    shape: tuple[int, int], seed: int, scale: float, shift: float
) -> None:
    """The mean moves and scales, the error scales, R-hat and tau stay."""
    values = series(shape, seed)
    one, other = estimate(values), estimate(scale * values + shift)
    # Rounding of the shift is the largest that is lost.
    tolerance = 1e-9 * (1 + abs(shift) / scale)
    assert math.isclose(other.mean, scale * one.mean + shift, rel_tol=1e-9, abs_tol=1e-9 * (scale + abs(shift)))
    assert math.isclose(other.error, scale * one.error, rel_tol=tolerance)
    assert math.isclose(other.r_hat, one.r_hat, rel_tol=tolerance)
    assert math.isclose(other.tau, one.tau, rel_tol=max(1e-6, tolerance))


@given(SHAPES, SEEDS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_chains_have_no_order(shape: tuple[int, int], seed: int) -> None:
    """Chains are independent, so that their numbers mean nothing."""
    values = series(shape, seed)
    shuffled = np.random.default_rng(seed + 1).permutation(values)
    assert math.isclose(blocking_error(values).error, blocking_error(shuffled).error, rel_tol=1e-9)
    assert math.isclose(r_hat(values), r_hat(shuffled), rel_tol=1e-9)
    assert math.isclose(
        integrated_autocorrelation_time(values), integrated_autocorrelation_time(shuffled), rel_tol=1e-9
    )


@given(SHAPES, SEEDS, SCALES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_weights_have_no_unit(shape: tuple[int, int], seed: int, scale: float) -> None:
    """A common factor of all weights drops out; equal weights are no weights."""
    values = series(shape, seed)
    weights = np.random.default_rng(seed + 1).uniform(0.1, 2.0, size=shape)
    one, other = estimate(values, weights), estimate(values, scale * weights)
    assert math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(one.error, other.error, rel_tol=1e-9)
    assert 1 <= effective_sample_size(weights) <= weights.size
    assert math.isclose(effective_sample_size(scale * np.ones(shape)), weights.size)
    assert math.isclose(estimate(values, scale * np.ones(shape)).mean, values.mean(), rel_tol=1e-9, abs_tol=1e-12)


@given(SHAPES, SEEDS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_repeated_samples_are_no_new_ones(shape: tuple[int, int], seed: int) -> None:
    """Each sample three times over tells as much as once: the blocks that hold whole triples say the same."""
    values = series(shape, seed, memory=0.0)
    once, thrice = blocking_error(values), blocking_error(np.repeat(values, 3, axis=1))
    errors = dict(zip(once.block_lengths, once.errors, strict=True))
    shared = {
        length // 3: error
        for length, error in zip(thrice.block_lengths, thrice.errors, strict=True)
        if length % 3 == 0 and length // 3 in errors
    }
    assert once.error in once.errors
    assert list(once.block_lengths) == sorted(set(once.block_lengths))
    for length, error in shared.items():
        assert math.isclose(error, errors[length], rel_tol=1e-9)
    # Taken for independent, they would seem to be three times as many.
    assert thrice.errors[0] < once.errors[0]
