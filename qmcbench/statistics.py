"""Error bars of Markov chain averages: blocking, autocorrelation time, split R-hat, importance weights, V-score.

A *series* is a float64 array of shape ``(chains, samples)``: one row per independent chain, in the order of sampling.
Results carry the units of the series unless their docstring says otherwise.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_BLOCKS = 32
"""Fewest blocks that a trusted error may come from: with 32 the error itself is uncertain by 1 / sqrt(62) = 13%."""

FLATNESS = 3.0
"""How many of its own standard errors the error of a longer block may lie above the plateau."""


@dataclass(frozen=True)
class BlockingResult:
    """The error of a mean and how it was found; see :func:`blocking_error`.

    ``errors[i]`` is the error of the mean from blocks of ``block_lengths[i]`` samples, shortest first; both are empty
    for a single sample. The unblocked (naive) error is ``errors[0]``.
    """

    error: float
    plateau: bool
    errors: tuple[float, ...]
    block_lengths: tuple[int, ...]


@dataclass(frozen=True)
class Estimate:
    """A mean with everything needed to decide whether to trust it; see :func:`estimate`.

    ``variance`` is in squared units of the values; ``tau`` in samples, 1 for independent ones; ``samples`` counts all
    chains; ``effective_samples`` is Kish's size of the weights divided by ``tau``.
    """

    mean: float
    error: float
    variance: float
    tau: float
    r_hat: float
    samples: int
    effective_samples: float
    plateau: bool

    def z(self, reference: float) -> float:
        """Distance from an exact ``reference`` in standard errors, signed; 0 or infinite where the error is 0."""
        difference = self.mean - reference
        if self.error == 0.0:
            return math.copysign(math.inf, difference) if difference else 0.0
        return difference / self.error


def effective_sample_size(weights: ArrayLike) -> float:
    """Kish's effective sample size ``(sum w)^2 / sum w^2`` of weights of any shape, as a number of samples.

    Source: L. Kish, Survey Sampling (1965). Between 1 and the number of weights; autocorrelation is not in it.
    """
    w = _checked_weights(weights)
    return float(w.sum() ** 2 / np.square(w).sum())


def integrated_autocorrelation_time(series: ArrayLike) -> float:
    """``tau = 1 + 2 sum_{t >= 1} rho_t`` of a series ``(chains, samples)``, in samples; 1 for independent samples.

    Twice the ``1/2 + sum rho_t`` of Sokal and Wolff, so the variance of the mean is ``tau * variance / samples``.
    The autocovariance is averaged over the chains about their common mean, so chains that disagree show as a long
    tau. The sum is cut by Geyer's initial monotone sequence (C. J. Geyer, Statist. Sci. 7, 473 (1992)): pairs
    ``rho_2k + rho_2k+1``, positive and decreasing for a reversible chain, are summed while positive and never let
    rise. As in Stan, tau is at least ``1 / log10(N)`` of the N > 10 samples, so noise cannot make it 0 or negative.
    A chain short of some 50 tau gives too small a tau. A constant series has tau = 1.
    """
    centred = _centred(series)
    samples = centred.shape[1]
    if samples == 1 or not centred.any():
        return 1.0
    spectrum = np.fft.rfft(centred, n=2 * samples, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    covariance = np.fft.irfft(power, n=2 * samples)[:samples] / np.arange(samples, 0, -1)
    rho = covariance / covariance[0]
    pairs = rho[: samples - samples % 2].reshape(-1, 2).sum(axis=1)
    falling = np.minimum.accumulate(pairs)
    tau = 2.0 * float(falling[falling > 0.0].sum()) - 1.0
    return max(tau, 1.0 / math.log10(max(centred.size, 10)))


def blocking_error(series: ArrayLike) -> BlockingResult:
    """Error of the mean of a series ``(chains, samples)`` by blocking.

    Source: H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989). Each chain is cut into blocks of equal length
    (the whole chain, its half, a quarter, down to one sample), and the block means of all chains are pooled about
    their common mean. The error is that of the shortest blocks that

    - are long enough: ``B^3 > 2 N (error_B / error_1)^4`` with N samples in all (U. Wolff, CPC 156, 143 (2004);
      R. M. Lee et al., PRE 83, 066706 (2011)), which balances the bias left by correlations between blocks against
      the noise of few blocks; or are whole chains, which are independent of each other however short;
    - number at least ``MIN_BLOCKS``;
    - lie on a plateau: no longer blocks give an error higher by more than ``FLATNESS`` of its standard errors.

    Where no length does all this, ``plateau`` is False and the error is the largest one seen. A single sample has
    error nan, a constant series error 0.
    """
    centred = _centred(series)
    chains, samples = centred.shape
    halvings = (samples >> shift for shift in reversed(range(samples.bit_length())))
    lengths = tuple(length for length in halvings if chains * (samples // length) >= 2)
    if not lengths:
        return BlockingResult(math.nan, False, (), ())
    errors = tuple(_error_from_blocks(centred, length) for length in lengths)
    counts = [chains * (samples // length) for length in lengths]

    for i, (length, error, count) in enumerate(zip(lengths, errors, counts, strict=True)):
        growth = error / errors[0] if errors[0] > 0.0 else 1.0
        long_enough = length == samples or length**3 > 2 * centred.size * growth**4
        flat = all(
            later <= error * (1.0 + FLATNESS / math.sqrt(2.0 * (blocks - 1)))
            for later, blocks in zip(errors[i + 1 :], counts[i + 1 :], strict=True)
        )
        if long_enough and flat and count >= MIN_BLOCKS:
            return BlockingResult(error, True, errors, lengths)
    return BlockingResult(max(errors), False, errors, lengths)


def r_hat(series: ArrayLike) -> float:
    """Split R-hat of a series ``(chains, samples)``: 1 when all half-chains agree, above it otherwise; no unit.

    ``sqrt(((m - 1) / m * W + V) / W)`` for half-chains of m samples, with W the mean of their variances and V the
    variance of their means (A. Gelman et al., Bayesian Data Analysis, 3rd ed. (2013), section 11.4; without the rank
    normalisation of Vehtari et al. (2021)). The middle sample of an odd chain is left out. nan with fewer than 2
    chains or 4 samples a chain; 1 for a constant series, infinite for constant chains that differ.
    """
    centred = _centred(series)
    chains, samples = centred.shape
    if chains < 2 or samples < 4:
        return math.nan
    half = samples // 2
    halves = np.concatenate([centred[:, :half], centred[:, samples - half :]])
    within = float(halves.var(axis=1, ddof=1).mean())
    between = float(halves.mean(axis=1).var(ddof=1))
    if within == 0.0:
        return 1.0 if between == 0.0 else math.inf
    return math.sqrt((half - 1) / half + between / within)


def estimate(values: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Mean and error of values ``(chains, samples)``, with importance weights of the same shape if given.

    The mean is self-normalised, ``E = sum w e / sum w``. Error, tau and R-hat are those of the linearised series
    ``w (e - E) / mean(w)``, to first order the influence of each sample on E (the delta method for a ratio;
    A. B. Owen, Monte Carlo theory, methods and examples (2013), section 9.2); E keeps a bias of order 1 / samples.
    The variance is ``sum w (e - E)^2 / sum w`` times ``K / (K - 1)``, K being Kish's size: with equal weights the
    usual unbiased one, and nan for a single sample.

    :raises ValueError: on values or weights that are not finite (it says how many), negative weights or other shapes.
    """
    series = _checked_series(values)
    w = np.ones_like(series) if weights is None else _checked_weights(weights)
    if w.shape != series.shape:
        raise ValueError(
            f"weights have shape {w.shape}, but the values have shape {series.shape}: one weight per value"
        )
    origin = float(series[0, 0])  # subtracted first, so that equal values give an exact mean and error 0
    mean = origin + float((w * (series - origin)).sum() / w.sum())
    deviation = series - mean
    linearised = w * deviation / w.mean()
    kish = effective_sample_size(w)
    variance = float((w * np.square(deviation)).sum() / w.sum())
    tau = integrated_autocorrelation_time(linearised)
    blocking = blocking_error(linearised)
    return Estimate(
        mean=mean,
        error=blocking.error,
        variance=variance * kish / (kish - 1.0) if kish > 1.0 else math.nan,
        tau=tau,
        r_hat=r_hat(linearised),
        samples=series.size,
        effective_samples=kish / tau,
        plateau=blocking.plateau,
    )


def v_score(energy: float, variance: float, sites: int) -> float:
    """V-score ``N Var E / (E - E_inf)^2`` with ``E_inf = 0``; D. Wu et al., Science 386, 296 (2024). It has no unit.

    ``energy`` is the total energy (not per site), ``variance`` the variance of the total local energy, in the square
    of the same unit; ``sites`` is N. The infinite-temperature energy is 0 for spin models without a constant term.
    """
    if energy == 0.0:
        raise ValueError("the V-score is not defined at energy 0, the energy at infinite temperature")
    return sites * variance / energy**2


def _error_from_blocks(centred: NDArray[np.float64], length: int) -> float:
    """Error of the mean of ``centred`` (chains, samples) if its blocks of ``length`` samples are independent."""
    chains, samples = centred.shape
    count = samples // length
    blocks = centred[:, : count * length].reshape(chains, count, length).mean(axis=2)
    return math.sqrt(float(blocks.var(ddof=1)) * length / centred.size)


def _centred(series: ArrayLike) -> NDArray[np.float64]:
    """``series`` (chains, samples) about its common mean; exactly 0 if it is constant."""
    checked = _checked_series(series)
    shifted = checked - float(checked[0, 0])
    return shifted - float(shifted.mean())


def _checked_series(series: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(series, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"a series has shape (chains, samples) with at least one of each, not {array.shape}")
    _refuse_nonfinite(array, "values")
    return array


def _checked_weights(weights: ArrayLike) -> NDArray[np.float64]:
    """``weights`` of any shape, scaled to a maximum of 1, so that no sum or square of them overflows."""
    array = np.asarray(weights, dtype=np.float64)
    _refuse_nonfinite(array, "weights")
    if (array < 0.0).any():
        raise ValueError(f"{np.count_nonzero(array < 0.0)} of {array.size} weights are negative")
    if not array.any():
        raise ValueError(f"all {array.size} weights are zero")
    return array / float(array.max())


def _refuse_nonfinite(array: NDArray[np.float64], name: str) -> None:
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"{bad} of {array.size} {name} are not finite")
