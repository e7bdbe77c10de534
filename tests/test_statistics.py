"""Error bars against processes whose means, variances and autocorrelation times are known in closed form."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from qmcbench.statistics import (
    MIN_BLOCKS,
    Estimate,
    blocking_error,
    effective_sample_size,
    estimate,
    integrated_autocorrelation_time,
    r_hat,
    v_score,
)

REPLICAS = 400
RHO = 0.8


def ar1(rho: float, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Stationary AR(1) chains along the last axis of ``shape``: mean 0, variance 1, ``rho_t = rho^t``."""
    series = np.random.default_rng(seed).standard_normal(shape)
    series[..., 1:] *= math.sqrt(1.0 - rho**2)
    for t in range(1, shape[-1]):
        series[..., t] += rho * series[..., t - 1]
    return series


def exact_error(rho: float, chains: int, samples: int) -> float:
    """Standard deviation of the mean of ``ar1(rho, (chains, samples))``, from the finite sum of its correlations."""
    t = np.arange(1, samples)
    return math.sqrt((1.0 + 2.0 * float(((1.0 - t / samples) * rho**t).sum())) / (chains * samples))


def covers(z: list[float]) -> bool:
    """Whether the z-scores are within 1 and 2 of zero as often as normal ones, within 3.5 binomial standard errors.

    The bounds are +-8.2% about 68.3% and +-3.7% about 95.4% for 400 replicas: an error too small or too large by a
    quarter falls outside one of them.
    """
    size = np.abs(z)
    return all(
        abs(float((size < bound).mean()) - p) < 3.5 * math.sqrt(p * (1.0 - p) / len(z))
        for bound, p in ((1.0, math.erf(1.0 / math.sqrt(2.0))), (2.0, math.erf(math.sqrt(2.0))))
    )


def test_coverage_criterion_has_teeth() -> None:
    """The coverage criterion takes normal scores and refuses those of errors 1.4 times too small or too large."""
    z = np.random.default_rng(0).standard_normal(REPLICAS)
    assert covers(list(z))
    assert not covers(list(z * 1.4))
    assert not covers(list(z / 1.4))


@pytest.mark.parametrize(("rho", "bound"), [(-0.5, 0.05), (0.0, 0.05), (0.5, 0.05), (0.9, 0.1)])
def test_tau_of_ar1(rho: float, bound: float) -> None:
    """tau follows the convention 1 + 2 sum rho_t: (1 + rho) / (1 - rho) for AR(1), 1 for independent samples."""
    tau = integrated_autocorrelation_time(ar1(rho, (16, 8192), seed=1))
    assert tau == pytest.approx((1.0 + rho) / (1.0 - rho), rel=bound)


@pytest.mark.parametrize(
    ("series", "tau"),
    [
        # common mean 0; autocovariances 40/8, 24/6, 14/4, 6/2; pairs 9/5 and 13/10
        ([[3.0, 1.0, 2.0, 2.0], [0.0, -2.0, -3.0, -3.0]], 2 * (9 / 5 + 13 / 10) - 1),
        # autocovariances 1, -1/3, 0, 1; the second pair, 1, may not rise above the first, 2/3
        ([[1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, -1.0]], 2 * (2 / 3 + 2 / 3) - 1),
    ],
    ids=["falling", "capped"],
)
def test_tau_by_hand(series: list[list[float]], tau: float) -> None:
    """Autocovariances are averaged over chains about the common mean, each lag over its own number of terms."""
    assert integrated_autocorrelation_time(series) == pytest.approx(tau, rel=1e-12)


def test_tau_of_alternating_series_stays_positive() -> None:
    """A perfectly alternating series, where the sum gives -1, meets the floor 1 / log10(N)."""
    series = np.tile([1.0, -1.0], (4, 250))
    assert integrated_autocorrelation_time(series) == pytest.approx(1.0 / math.log10(2000))


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.9])
@pytest.mark.parametrize(("chains", "samples"), [(1, 131072), (16, 8192), (2048, 64)], ids=str)
def test_blocking_error_of_ar1(rho: float, chains: int, samples: int) -> None:
    """From one long chain to many short ones, the error is the exact one within 20% and a plateau is reported.

    The criterion leaves at least 130 blocks here, so the error is uncertain by at most 6%.
    """
    result = blocking_error(ar1(rho, (chains, samples), seed=2))
    assert result.plateau
    assert result.error == pytest.approx(exact_error(rho, chains, samples), rel=0.2)
    assert result.errors[0] == pytest.approx(exact_error(0.0, chains, samples), rel=0.03)


def test_block_length_balances_bias_and_noise() -> None:
    """The shortest length with B^3 > 2 N tau^2 is taken: 2 * 131072 * 19^2 = 456^3, so 512 for AR(1) with rho 0.9."""
    result = blocking_error(ar1(0.9, (16, 8192), seed=2))
    assert result.block_lengths[result.errors.index(result.error)] == 512


def test_without_a_plateau_the_largest_error_is_kept() -> None:
    """Eight alternating samples are too few for a plateau, and their blocks' error 0 is not believed."""
    result = blocking_error([[1.0, -1.0] * 4])
    assert result.errors[1:] == (0.0, 0.0)
    assert (result.error, result.plateau) == (result.errors[0], False)
    assert result.error == pytest.approx(1 / 7**0.5, rel=1e-12)


def test_blocking_by_hand() -> None:
    """Halved block lengths, blocks pooled over chains, the samples that fill no block still counted in the mean."""
    series = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [3.0, 5.0, 7.0, 1.0, 9.0]])
    result = blocking_error(series)
    assert result.block_lengths == (1, 2, 5)
    pairs = np.array([1.5, 3.5, 4.0, 4.0])
    expected = [
        series.std(ddof=1) / 10**0.5,
        pairs.std(ddof=1) * (2 / 10) ** 0.5,
        np.std([3.0, 5.0], ddof=1) / 2**0.5,
    ]
    assert result.errors == pytest.approx(expected, rel=1e-12)
    assert (result.error, result.plateau) == (max(result.errors), False)


@pytest.mark.parametrize(("chains", "samples"), [(1, 4096), (8, 512), (256, 8)], ids=str)
def test_coverage(chains: int, samples: int) -> None:
    """The true mean lies within 1 and 2 errors as often as it should for correlated chains; with naive errors not."""
    replicas = [estimate(series) for series in ar1(RHO, (REPLICAS, chains, samples), seed=3)]
    assert covers([e.z(0.0) for e in replicas])
    assert not covers([e.mean / math.sqrt(e.variance / e.samples) for e in replicas])
    assert np.mean([e.plateau for e in replicas]) > 0.97


def test_coverage_of_one_sample_a_chain() -> None:
    """With one sample a chain the error is the standard deviation over the chains by sqrt(chains), and it covers."""
    values = ar1(0.0, (REPLICAS, 64, 1), seed=4)
    replicas = [estimate(series) for series in values]
    assert [e.error for e in replicas] == pytest.approx(list(values.std(axis=(1, 2), ddof=1) / 8.0), rel=1e-12)
    assert all(e.plateau and e.tau == 1.0 and math.isnan(e.r_hat) for e in replicas)
    assert covers([e.z(0.0) for e in replicas])


def test_no_plateau_on_a_chain_shorter_than_its_correlations() -> None:
    """One chain of 2 tau has no plateau; its error is the largest of those seen, well above the naive one."""
    result = blocking_error(ar1(0.998, (1, 2048), seed=5))
    assert not result.plateau
    assert result.error == max(result.errors) > 5.0 * result.errors[0]


def test_no_plateau_between_few_disagreeing_chains() -> None:
    """An offset between 8 chains that the block-length criterion alone lets pass is seen by the flatness check."""
    series = ar1(0.0, (8, 4096), seed=6) + 0.2 * np.arange(-3.5, 4.0)[:, None] / 3.5
    result = blocking_error(series)
    passed = [
        length**3 > 2 * series.size * (error / result.errors[0]) ** 4
        for length, error in zip(result.block_lengths, result.errors, strict=True)
    ]
    assert any(passed[:-3])  # at lengths with MIN_BLOCKS blocks or more
    assert not result.plateau
    assert result.error == pytest.approx(float(series.mean(axis=1).std(ddof=1)) / 8**0.5, rel=1e-12)


def test_plateau_needs_enough_blocks() -> None:
    """Whole chains count as a plateau from MIN_BLOCKS chains on, and not below."""
    series = ar1(0.9, (MIN_BLOCKS, 4), seed=7)
    assert blocking_error(series).plateau
    assert not blocking_error(series[1:]).plateau


def importance_sample(seed: int, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values ``x + x^2`` and weights to N(0, 1) of correlated samples x of N(0, 1.5^2): mean 1, variance 3."""
    y = ar1(RHO, shape, seed)
    x = 1.5 * y
    return x + x**2, np.exp(0.5 * (y**2 - x**2))


def test_importance_weighted_coverage() -> None:
    """Weighted means, errors and variances are right for a known target; forgetting the weights is far off.

    The bias of self-normalisation is of order 1 / samples, so it is bounded by the error of the mean of 400 replicas.
    """
    replicas = [estimate(*sample) for sample in zip(*importance_sample(8, (REPLICAS, 16, 256)), strict=True)]
    means = np.array([e.mean for e in replicas])
    variances = np.array([e.variance for e in replicas])
    assert abs(means.mean() - 1.0) < 4.0 * means.std(ddof=1) / REPLICAS**0.5
    assert abs(variances.mean() - 3.0) < 4.0 * variances.std(ddof=1) / REPLICAS**0.5
    assert covers([e.z(1.0) for e in replicas])
    values, weights = importance_sample(8, (16, 256))
    assert abs(estimate(values).z(1.0)) > 6.0
    assert abs(estimate(values, weights).z(1.0)) < 4.0


def test_effective_samples() -> None:
    """Kish's size by hand, at 1e300 too, and its share of importance weights; estimate divides it by tau."""
    assert effective_sample_size([[1e300, 2e300], [3e300, 0.0]]) == pytest.approx(36 / 14, rel=1e-12)
    values, weights = importance_sample(9, (16, 4096))
    kish = effective_sample_size(weights)
    # E_q[w]^2 / E_q[w^2] for N(0, 1) sampled from N(0, s^2): sqrt(2 s^2 - 1) / s^2
    assert kish / weights.size == pytest.approx(math.sqrt(2 * 1.5**2 - 1) / 1.5**2, rel=0.02)
    result = estimate(values, weights)
    assert result.tau > 1.5
    assert result.samples == weights.size
    assert result.effective_samples == pytest.approx(kish / result.tau, rel=1e-12)


def test_diagnostics_are_those_of_the_linearised_series() -> None:
    """Error, tau and R-hat of a weighted mean come from w (e - E) / mean(w), not from the bare values."""
    values, weights = importance_sample(9, (8, 128))
    result = estimate(values, weights)
    linearised = weights / weights.mean() * (values - np.average(values, weights=weights))
    for function, found in ((integrated_autocorrelation_time, result.tau), (r_hat, result.r_hat)):
        assert found == pytest.approx(function(linearised), rel=1e-9)
        assert found != pytest.approx(function(values), rel=1e-3)
    assert result.error == pytest.approx(blocking_error(linearised).error, rel=1e-9)


def test_weights_up_to_a_factor() -> None:
    """Equal weights change nothing, and only the ratios of weights count."""
    values, weights = importance_sample(10, (4, 64))
    plain, scaled = estimate(values), estimate(values, 1e-200 * weights)
    for name in ("mean", "error", "variance", "tau", "r_hat", "effective_samples"):
        equal = getattr(estimate(values, np.full_like(values, 7.0)), name)
        assert equal == pytest.approx(getattr(plain, name), rel=1e-9)
        assert getattr(scaled, name) == pytest.approx(getattr(estimate(values, weights), name), rel=1e-9)
    assert plain.mean == pytest.approx(values.mean(), rel=1e-12)
    assert plain.variance == pytest.approx(values.var(ddof=1), rel=1e-12)


def test_r_hat() -> None:
    """R-hat is near 1 for mixed chains, above 1.1 for chains with different means and for chains that all drift."""
    mixed = ar1(0.5, (8, 1000), seed=11)
    assert 0.999 < r_hat(mixed) < 1.01
    assert r_hat(mixed + np.arange(8)[:, None] % 2) > 1.1
    assert r_hat(mixed + np.linspace(-1.0, 1.0, 1000)) > 1.1
    assert math.isnan(r_hat(mixed[:1]))
    assert math.isnan(r_hat(mixed[:, :3]))
    assert r_hat(np.repeat([[1.0], [2.0]], 8, axis=1)) == math.inf


def test_r_hat_by_hand() -> None:
    """Two chains of five: halves (1, 3), (2, 4), (5, 5), (0, 4) without the middle; W = 3, V = 2."""
    series = [[1.0, 3.0, 99.0, 2.0, 4.0], [5.0, 5.0, -7.0, 0.0, 4.0]]
    assert r_hat(series) == pytest.approx(math.sqrt((1 / 2 * 3 + np.var([2, 3, 5, 2], ddof=1)) / 3), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_constant_series(weighted: bool) -> None:
    """A zero-variance state has error 0, tau 1 and R-hat 1 exactly, whatever the rounding of its energy."""
    weights = importance_sample(12, (4, 100))[1] if weighted else None
    result = estimate(np.full((4, 100), -0.1 * 36), weights)
    assert (result.mean, result.error, result.variance) == (-0.1 * 36, 0.0, 0.0)
    assert (result.tau, result.r_hat, result.plateau) == (1.0, 1.0, True)
    assert (result.z(-0.1 * 36), result.z(-4.0), result.z(0.0)) == (0.0, math.inf, -math.inf)


@pytest.mark.parametrize("constant", [0.1, -3.6, 1 / 3, 1e9 + 0.1])
def test_rounding_of_a_constant_is_no_noise(constant: float) -> None:
    """Equal values whose floating-point mean may differ from them still give error 0, tau 1 and R-hat 1 exactly."""
    series = np.full((7, 11), constant)
    assert (blocking_error(series).error, integrated_autocorrelation_time(series), r_hat(series)) == (0.0, 1.0, 1.0)


def test_single_sample() -> None:
    """One sample has a mean and no error, variance or R-hat; no gate can read a small error from it."""
    result = estimate([[2.5]])
    assert (result.mean, result.samples, result.tau, result.plateau) == (2.5, 1, 1.0, False)
    assert all(map(math.isnan, (result.error, result.variance, result.r_hat, result.z(2.0))))


def test_z_is_signed() -> None:
    """z is (mean - reference) / error: negative below the reference."""
    result = Estimate(1.0, 0.25, 1.0, 1.0, 1.0, 16, 16.0, True)
    assert result.z(1.5) == -2.0


def test_v_score() -> None:
    """16 sites at total energy -8 with variance 2: 16 * 2 / 64; energy 0 is refused."""
    assert v_score(energy=-8.0, variance=2.0, sites=16) == 0.5
    with pytest.raises(ValueError, match="not defined at energy 0"):
        v_score(0.0, 1.0, 16)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyerrors imports scipy.odr
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_error_agrees_with_pyerrors(rho: float) -> None:
    """Error and tau agree with an independent implementation of Wolff's Gamma method on the same replicas."""
    pyerrors = pytest.importorskip("pyerrors")
    series = ar1(rho, (8, 8192), seed=13) - 0.5
    observable = pyerrors.Obs(list(series), [f"ar1|r{i}" for i in range(8)])
    observable.gamma_method()
    result = estimate(series)
    assert result.mean == pytest.approx(observable.value, rel=1e-12)
    assert result.error == pytest.approx(observable.dvalue, rel=0.15)
    assert result.tau == pytest.approx(2.0 * observable.e_tauint["ar1"], rel=0.1)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([[1.0, np.nan, np.inf, 2.0]], None, "2 of 4 values are not finite"),
        ([[1.0, 2.0]], [[1.0, np.nan]], "1 of 2 weights are not finite"),
        ([[1.0, 2.0]], [[1.0, -1.0]], "1 of 2 weights are negative"),
        ([[1.0, 2.0]], [[0.0, 0.0]], "all 2 weights are zero"),
        ([[1.0, 2.0]], [1.0, 1.0], r"shape \(2,\), but the values have shape \(1, 2\)"),
        ([1.0, 2.0], None, r"shape \(chains, samples\).*not \(2,\)"),
        (np.empty((3, 0)), None, r"not \(3, 0\)"),
    ],
)
def test_bad_input_is_refused(values: object, weights: object, message: str) -> None:
    """Every input without a meaning is refused with its numbers, never averaged over."""
    with pytest.raises(ValueError, match=message):
        estimate(values, weights)  # type: ignore[arg-type]
