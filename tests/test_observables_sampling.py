"""Observables by sampling: means and errors against full sums, and what is done with samples of no weight."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from dense import Array, exact_state, expected, table
from scipy.stats import chi2, norm

from qmcbench import observables
from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.observables import LocalObservables, full_sum, local_estimators, random_origins, summarise
from qmcbench.sampler import Chains, Sampler


def sampled(psi: Ansatz, alpha: float, chains: int, samples: int, seed: int) -> tuple[LocalObservables, Array]:
    """Local estimators from three random origins, shape (chains, samples, ...), and weights."""
    sampler, state = Sampler(4, seed), Chains.neel(4, chains)
    sampler.advance(psi, state, 10 * 16, alpha)
    parts, log_weights = [], []
    for draw in range(samples):
        sweep = sampler.advance(psi, state, 8, alpha)
        assert sweep.acceptance > 0.2
        origins = random_origins(4, 3, seed=seed, chains=state.numbers, draw=draw)
        parts.append(
            local_estimators(psi, state.spins, sweep.log_psi, sweep.phase, origins=origins, dimers=True, buffer=8192)
        )
        log_weights.append((2 - alpha) * sweep.log_psi)
    names = ("correlation", "bond", "dimer")
    stacked = {name: torch.stack([getattr(part, name) for part in parts], dim=1) for name in names}
    exponents = torch.stack(log_weights, dim=1)
    return LocalObservables(**stacked), (exponents - exponents.max()).exp().numpy()


def components(found: observables.Observables) -> tuple[Array, Array]:
    """Means and errors of everything that is neither known beforehand nor the same as another entry."""
    assert found.bond is not None
    assert found.dimer is not None
    inner = np.array([(i, j) for i in range(4) for j in range(4) if (i, j) <= (-i % 4, -j % 4)]).T
    columns = [
        (found.correlation, tuple(inner[:, 1:])),
        (found.structure_factor, tuple(inner)),
        (found.bond, ...),
        (found.dimer, ...),
    ]
    return tuple(
        np.concatenate([getattr(measured, kind)[index].ravel() for measured, index in columns])
        for kind in ("mean", "error")
    )


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_samples_agree_with_the_full_sum_and_their_errors_with_the_spread(
    alpha: float, network: tuple[torch.nn.Module, Array], tabulated: Callable[..., Ansatz]
) -> None:
    """1024 chains: max |z| over all components (false-alarm rate 1e-4); 32 replicas of 32 chains spread as they say.

    The spread's chi-square is bounded for every component (rate 1e-4 over all), and its mean ratio to the quoted
    variance, some 50 correlated components with 31 degrees of freedom each, lies within 20% of 1.

    The network's |psi|^0.2 with its signs: the network itself has its weight on a dozen configurations, of which
    the chains accept 1% of the moves at alpha = 2, far too few to leave the Neel state behind.
    """
    log_psi, phase = table(network[1])
    psi = tabulated(0.2 * log_psi, phase)
    values, weights = sampled(psi, alpha, 1024, 24, seed=11)
    exact = full_sum(psi)
    truth, _ = components(exact)
    found = summarise(values, weights)
    mean, error = components(found)
    assert len(mean) == 9 + 10 + 2 + 32
    z = (mean - truth) / error
    assert np.abs(z).max() < norm.isf(0.5e-4 / len(z))
    assert np.isfinite(error).all()
    assert 1e-4 < np.median(error) < 0.02
    m_squared, wanted = found.staggered_magnetisation_squared, exact.staggered_magnetisation_squared
    assert abs(m_squared.mean - wanted.mean) < 4.5 * m_squared.error

    replicas = []
    for start in range(0, 1024, 32):
        part = slice(start, start + 32)
        own = LocalObservables(*(getattr(values, name)[part] for name in ("correlation", "bond", "dimer")))
        replicas.append(components(summarise(own, weights[part])))
    means, errors = (np.array(column) for column in zip(*replicas, strict=True))
    ratio = means.var(axis=0, ddof=1) / np.square(errors).mean(axis=0)
    assert (31 * ratio).max() < chi2.isf(0.5e-4 / len(ratio), 31)
    assert (31 * ratio).min() > chi2.ppf(0.5e-4 / len(ratio), 31)
    assert 0.8 < ratio.mean() < 1.2


def test_exact_state_sampled(tabulated: Callable[..., Ansatz]) -> None:
    """The ground state at J2 = 0.5, alpha = 1: max |z| against QuSpin (false-alarm rate 1e-4)."""
    vector = exact_state(0.5)[1]
    psi = tabulated(*table(vector))
    found = summarise(*sampled(psi, 1.0, 512, 16, seed=4))
    wanted = expected(vector)
    assert found.dimer is not None
    for measured, truth in ((found.correlation, wanted.correlation), (found.dimer, wanted.dimer)):
        varying = measured.error > 0
        z = (measured.mean - truth)[varying] / measured.error[varying]
        assert len(z) >= 15
        assert np.abs(z).max() < norm.isf(0.5e-4 / len(z))


@pytest.mark.parametrize("weighted", [False, True])
def test_error_of_connected_dimers_knows_their_factors(weighted: bool) -> None:
    """With D = b_x b_mu sample by sample, the connected part is the covariance, and its error that of a covariance.

    For b = 1 + 0.1 g with independent normal g it is 0.01 in D_y and sqrt(2) 0.01 in D_x, over sqrt(n) (times the
    second moment of the weights); D alone, or without one factor, has errors ten times as large.
    """
    generator = torch.Generator().manual_seed(2)
    bond = 1 + 0.1 * torch.randn(4096, 4, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(4096, 4, generator=generator, dtype=torch.float64) if weighted else torch.ones(4096, 4)
    dimer = (bond[..., :1] * bond)[..., None, None].expand(-1, -1, 2, 4, 4)
    found = summarise(LocalObservables(torch.zeros(4096, 4, 4, 4), bond, dimer), weights)
    assert found.dimer is not None
    scale = math.sqrt(4 / 3 if weighted else 1.0) / math.sqrt(4096 * 4)
    errors = 0.01 * scale * np.array([math.sqrt(2), 1.0])
    np.testing.assert_allclose(found.dimer.error[:, 1, 2], errors, rtol=0.15)
    assert np.abs((found.dimer.mean[:, 1, 2] - (0.01, 0.0)) / errors).max() < 4


def test_samples_without_weight_are_not_looked_at() -> None:
    """Not-a-number with weight 0 changes nothing but the number of samples."""
    values = torch.randn(40, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.ones(40, 2, dtype=torch.float64)
    values[3, 1], weights[3, 1] = math.nan, 0.0
    found = summarise(LocalObservables(values), weights)
    np.testing.assert_allclose(found.correlation.mean, values.flatten(0, 1).nanmean(0), rtol=1e-12)
    assert found.bond is None


@pytest.mark.parametrize("weight", [0.0, math.nan])
def test_summarise_refuses_samples_without_any_weight(weight: float) -> None:
    """All weights zero, or not numbers."""
    with pytest.raises(UserError, match="Of 6 weights"):
        summarise(LocalObservables(torch.zeros(3, 2, 4, 4)), torch.full((3, 2), weight))
