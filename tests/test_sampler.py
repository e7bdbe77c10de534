"""The chains against their exact distributions on 4x4: after a few proposals, in equilibrium, and over a long run.

Most tests take one configuration from each of many chains, so that the samples are independent; a chi-square compares
them with exact probabilities, in bins of about equal probability along the number of antiparallel pairs (where a
missing Hastings factor shows) and then along the weight. Seeds are fixed; each bound states its false-alarm rate.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.mutants_statistical import SAMPLER
from numpy.typing import NDArray
from plain import lively
from scipy.sparse import csr_matrix, diags
from scipy.stats import chi2
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.sign import marshall_sign
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import neel
from qmcbench.local_energy import local_energies
from qmcbench.sampler import Chains, Sampler, Sweep, importance_weights
from qmcbench.statistics import estimate

CHAINS = 16384
# Proposals from Neel; what they leave of it adds 1e-3 to a chi-square whose standard deviation is 14 (tested below).
WARM_UP = 150
BINS = 100
FALSE_ALARM = 1e-4


class Made(NamedTuple):
    """A made-up wave function: antiparallel pairs are favoured, the rest is random, a fifth of the signs flipped."""

    psi: Ansatz
    log_psi: Tensor
    sign: Tensor
    pairs: Tensor
    """Antiparallel nearest-neighbour pairs of each configuration."""

    def probabilities(self, alpha: float) -> NDArray[np.float64]:
        """|psi|^alpha, normalised."""
        return torch.softmax(alpha * self.log_psi, 0).numpy()


@pytest.fixture(scope="module")
def made(configurations: Tensor, tabulated: Callable[..., Ansatz]) -> Made:
    right, below = configurations.roll(-1, 2), configurations.roll(-1, 1)
    pairs = ((configurations != right).sum((1, 2)) + (configurations != below).sum((1, 2))).double()
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(len(pairs), generator=generator, dtype=torch.float64)
    flips = torch.rand(len(pairs), generator=generator) < 0.2
    sign = marshall_sign(configurations) * torch.where(flips, -1.0, 1.0)
    log_psi = 0.15 * pairs + 0.4 * noise
    return Made(tabulated(log_psi, sign), log_psi, sign, pairs)


def run(psi: Ansatz, proposals: int, alpha: float, *, hastings: bool = True, seed: int = 1) -> tuple[Chains, Sweep]:
    """Chains from the Neel state, and what their last sweep ended with."""
    chains = Chains.neel(4, CHAINS)
    with pytest.MonkeyPatch.context() as patch:
        if not hastings:
            SAMPLER["no Hastings factor"][0](patch)
        return chains, Sampler(4, seed).advance(psi, chains, proposals, alpha)


def chi_square(found: Tensor, probabilities: NDArray[np.float64], made: Made) -> tuple[float, float]:
    """Chi-square of the configurations ``found`` (their positions), and its bound at ``FALSE_ALARM``."""
    observed = np.bincount(found.numpy(), minlength=len(probabilities))
    expected = probabilities * len(found)
    assert not observed[expected == 0].any(), "a configuration that cannot be reached"
    bins, filled = [[0, 0.0]], len(found) / BINS
    for i in np.lexsort((probabilities, made.pairs.numpy())):
        if bins[-1][1] >= filled:
            bins.append([0, 0.0])
        bins[-1][0] += observed[i]
        bins[-1][1] += expected[i]
    *full, rest = bins
    full[-1] = [a + b for a, b in zip(full[-1], rest, strict=True)]
    counts, means = np.array(full).T
    return float(((counts - means) ** 2 / means).sum()), float(chi2.isf(FALSE_ALARM, len(full) - 1))


def kernel(
    configurations: Tensor, position: Callable[[Tensor], Tensor], made: Made, alpha: float, hastings: bool
) -> csr_matrix:
    """Transition probabilities from row to column, written without the engine: pair by pair, Metropolis-Hastings."""
    site = np.arange(16).reshape(4, 4)
    log_weight, pairs = alpha * made.log_psi.numpy(), made.pairs.numpy()
    parts = []
    for other in (np.roll(site, -1, 0), np.roll(site, -1, 1)):
        for a, b in zip(site.ravel(), other.ravel(), strict=True):
            flat = configurations.flatten(1)
            source = (flat[:, a] != flat[:, b]).nonzero()[:, 0]
            moved = flat[source]
            moved[:, [a, b]] = moved[:, [b, a]]
            target, source = position(moved.view(-1, 4, 4)).numpy(), source.numpy()
            ratio = np.exp(log_weight[target] - log_weight[source])
            if hastings:
                ratio *= pairs[source] / pairs[target]
            parts.append((source, target, np.minimum(1, ratio) / pairs[source]))
    rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    moves = csr_matrix((values, (rows, columns)), shape=(len(pairs), len(pairs)))
    return moves + diags(1 - np.asarray(moves.sum(1)).ravel())


@pytest.fixture(scope="module")
def kernels(
    configurations: Tensor, position: Callable[[Tensor], Tensor], made: Made
) -> dict[tuple[float, bool], csr_matrix]:
    """By alpha and Hastings factor."""
    return {
        (alpha, hastings): kernel(configurations, position, made, alpha, hastings)
        for alpha in (1.0, 2.0)
        for hastings in (True, False)
    }


def after(kernel: csr_matrix, start: int, proposals: int) -> NDArray[np.float64]:
    """Distribution after a number of proposals from one configuration."""
    distribution = np.zeros(kernel.shape[0])
    distribution[start] = 1
    for _ in range(proposals):
        distribution = kernel.T @ distribution
    return distribution


@pytest.mark.parametrize("alpha", [2.0, 1.0])
def test_warm_up_is_long_enough(
    alpha: float, made: Made, kernels: dict[tuple[float, bool], csr_matrix], position: Callable[[Tensor], Tensor]
) -> None:
    """By the exact kernel, |psi|^alpha is stationary, and ``WARM_UP`` proposals leave no trace of the Neel state.

    What is left adds less than 1e-3 to the chi-square of ``CHAINS`` chains, so the stated false-alarm rates hold.
    """
    exact = made.probabilities(alpha)
    assert np.abs(kernels[alpha, True].T @ exact - exact).max() < 1e-15
    left = after(kernels[alpha, True], int(position(neel(4)[None])), WARM_UP) - exact
    assert CHAINS * (left**2 / exact).sum() < 1e-3


@pytest.mark.parametrize("alpha", [2.0, 1.0])
def test_chains_sample_the_exact_distribution(alpha: float, made: Made, position: Callable[[Tensor], Tensor]) -> None:
    """16 384 independent chains are distributed as |psi|^alpha: chi-square over 100 bins, false-alarm rate 1e-4."""
    chains, _ = run(made.psi, WARM_UP, alpha)
    value, bound = chi_square(position(chains.spins), made.probabilities(alpha), made)
    assert value < bound


@pytest.mark.parametrize("alpha", [2.0, 1.0])
def test_without_the_hastings_factor_the_same_test_fails(
    alpha: float, made: Made, position: Callable[[Tensor], Tensor]
) -> None:
    """Without it the chains follow |psi|^alpha times the number of pairs, which the same chi-square refuses twofold.

    The expected excess over 99 degrees of freedom is 380, its standard deviation 40, and the bound is near 160.
    """
    chains, _ = run(made.psi, WARM_UP, alpha, hastings=False)
    found = position(chains.spins)
    value, bound = chi_square(found, made.probabilities(alpha), made)
    assert value > 2 * bound
    wrong = made.probabilities(alpha) * made.pairs.numpy()
    value, bound = chi_square(found, wrong / wrong.sum(), made)
    assert value < bound


@pytest.mark.parametrize("hastings", [True, False], ids=["hastings", "no-hastings"])
@pytest.mark.parametrize("alpha", [2.0, 1.0])
@pytest.mark.parametrize("proposals", [1, 2, 7])
def test_chains_follow_the_exact_kernel(
    proposals: int,
    alpha: float,
    hastings: bool,
    made: Made,
    kernels: dict[tuple[float, bool], csr_matrix],
    position: Callable[[Tensor], Tensor],
) -> None:
    """Also far from equilibrium: after a few proposals from Neel the chains are where the exact kernel puts them.

    This sees proposals that are not uniform over the pairs, as the stationary distribution alone may not. Chi-square,
    false-alarm rate 1e-4 in each of twelve cases.
    """
    chains, _ = run(made.psi, proposals, alpha, hastings=hastings, seed=7)
    expected = after(kernels[alpha, hastings], int(position(neel(4)[None])), proposals)
    value, bound = chi_square(position(chains.spins), expected, made)
    assert value < bound


def test_reweighting(made: Made, configurations: Tensor, position: Callable[[Tensor], Tensor]) -> None:
    """Samples of |psi|, weighted by |psi|, give the averages over |psi|^2; unweighted they do not.

    The energy and the number of pairs, each within 4 standard errors of its exact average (false-alarm rate 6e-5
    each); without weights the number of pairs is off by some 50.
    """
    chains, sweep = run(made.psi, WARM_UP, 1.0, seed=3)
    found = position(chains.spins)
    weights = importance_weights(sweep.log_psi, 1.0)[:, None].numpy()
    model = J1J2(4, 0.5)
    exact = torch.from_numpy(made.probabilities(2.0))
    energies = local_energies(made.psi, model, configurations, made.log_psi, made.sign)
    for observable in (energies, made.pairs):
        average = float(exact @ observable)
        assert abs(estimate(observable[found, None].numpy(), weights).z(average)) < 4
    assert abs(estimate(observable[found, None].numpy()).z(average)) > 10


def test_importance_weights() -> None:
    """Weights are |psi|^(2 - alpha), sum to one, and survive amplitudes that overflow; psi = 0 has none."""
    log_psi = torch.tensor([0.0, 1.0, -2.0, -torch.inf], dtype=torch.float64)
    for alpha in (0.5, 1.0, 1.7):
        expected = ((2 - alpha) * log_psi).exp()
        for shift in (0.0, 5000.0):
            got = importance_weights(log_psi + shift, alpha)
            torch.testing.assert_close(got, expected / expected.sum(), rtol=1e-10, atol=0)


def test_a_chain_without_weight_has_none_at_alpha_two() -> None:
    """An abnormal chain, masked by log|psi| = -inf, is left out at alpha = 2 too: 0 * inf must not spread nan."""
    log_psi = torch.tensor([0.0, 1.0, -torch.inf], dtype=torch.float64)
    assert importance_weights(log_psi, 2.0).tolist() == [0.5, 0.5, 0.0]


def test_weights_at_alpha_two_are_equal() -> None:
    """At alpha = 2 samples are already distributed as |psi|^2."""
    log_psi = torch.tensor([0.0, 30.0, -800.0], dtype=torch.float64)
    assert torch.equal(importance_weights(log_psi, 2.0), torch.full((3,), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("alpha", [2.0, 1.0])
def test_long_run(alpha: float, made: Made, configurations: Tensor, position: Callable[[Tensor], Tensor]) -> None:
    """512 correlated samples of each of 128 chains average to the exact energy within 4 blocked errors (rate 6e-5).

    The samples are two proposals apart, an eighth of a sweep: their autocorrelation is seen and corrected for.
    """
    energies = local_energies(made.psi, J1J2(4, 0.5), configurations, made.log_psi, made.sign)
    exact = float(torch.from_numpy(made.probabilities(2.0)) @ energies)
    sampler, chains = Sampler(4, 5), Chains.neel(4, 128)
    sampler.advance(made.psi, chains, WARM_UP, alpha)
    series, weights = [], []
    for _ in range(512):
        sweep = sampler.advance(made.psi, chains, 2, alpha)
        series.append(energies[position(chains.spins)])
        weights.append(((2 - alpha) * sweep.log_psi).exp())
    result = estimate(torch.stack(series, dim=1).numpy(), torch.stack(weights, dim=1).numpy())
    assert result.plateau
    assert result.tau > 1.5
    assert result.r_hat < 1.05
    assert abs(result.z(exact)) < 4
    assert result.error < 0.01 * abs(exact)


@pytest.mark.parametrize("alpha", [2.0, 1.0])
def test_acceptance_of_one_proposal_is_the_share_of_chains_that_moved(alpha: float, made: Made) -> None:
    """An accepted proposal always changes the configuration, so the recorded fraction can be counted."""
    chains, _ = run(made.psi, 20, alpha)
    before = chains.spins.clone()
    sweep = Sampler(4, 1).advance(made.psi, chains, 1, alpha)
    moved = (chains.spins != before).flatten(1).sum(1)
    assert set(moved.unique().tolist()) == {0, 2}
    assert sweep.acceptance == (moved > 0).double().mean().item()
    assert 0 < sweep.acceptance < 1


def test_acceptance_of_many_proposals(made: Made, kernels: dict[tuple[float, bool], csr_matrix]) -> None:
    """In equilibrium the recorded fraction is the exact kernel's within 5 standard errors of independent proposals.

    The exact one is 0.51. Successive proposals are correlated only weakly: 5 instead of 4 allows for that.
    """
    chains, _ = run(made.psi, WARM_UP, 2.0)
    sweep = Sampler(4, 1).advance(made.psi, chains, 16, 2.0)
    exact = 1 - float(made.probabilities(2.0) @ kernels[2.0, True].diagonal())
    assert abs(sweep.acceptance - exact) < 5 * (exact * (1 - exact) / (16 * CHAINS)) ** 0.5


@pytest.mark.parametrize("L", [4, 6, 10])
def test_chains_start_in_neel_and_conserve_sz(L: int) -> None:
    """Every chain starts in the Neel state, keeps S^z = 0 and the type of its spins, and moves."""
    psi, chains = lively("small", dtype=torch.float32), Chains.neel(L, 20)
    assert torch.equal(chains.spins, neel(L).expand(20, L, L))
    sweep = Sampler(L, 0).advance(psi, chains, 2 * L * L, 1.0)
    assert chains.spins.dtype == torch.int8
    assert set(chains.spins.unique().tolist()) == {-1, 1}
    assert not chains.spins.sum((1, 2)).any()
    assert chains.spins.flatten(1).unique(dim=0).shape[0] > 15
    assert chains.proposals == 2 * L * L
    assert 0 < sweep.acceptance < 1


def test_reported_amplitudes_are_those_of_the_chains() -> None:
    """log|psi| and phase of the sweep are what the wave function gives on the final configurations."""
    psi, chains = lively("small"), Chains.neel(4, 50)
    sweep = Sampler(4, 0).advance(psi, chains, 33, 1.5)
    with torch.no_grad():
        log_psi, sign = psi(chains.spins)
    torch.testing.assert_close(sweep.log_psi, log_psi, rtol=1e-12, atol=1e-12)
    assert torch.equal(sweep.phase, sign)
    assert sign.unique().numel() == 2


def test_same_seed_same_chains() -> None:
    """A run repeats bit for bit with its seed, and differs with another."""
    runs = []
    for seed in (3, 3, 4):
        chains = Chains.neel(6, 10)
        sweep = Sampler(6, seed).advance(lively("small"), chains, 40, 2.0)
        runs.append((chains.spins, sweep.log_psi, sweep.acceptance))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert runs[0][2] == runs[1][2]
    assert not torch.equal(runs[0][0], runs[2][0])


@pytest.mark.parametrize("sizes", [(4, 4), (1, 7), (3, 3, 2)])
def test_chains_do_not_depend_on_the_batch(sizes: tuple[int, ...]) -> None:
    """Chains 0 to 7 in one batch or in several (as on several processes) take the same path.

    log|psi| may differ by rounding, as matrix products of another batch size may; the configurations do not.
    """
    psi, sampler = lively("small"), Sampler(6, 9)
    together = Chains.neel(6, 8)
    whole = sampler.advance(psi, together, 50, 2.0)
    first, spins, log_psi = 0, [], []
    for size in sizes:
        part = Chains.neel(6, size, first=first)
        log_psi.append(sampler.advance(psi, part, 50, 2.0).log_psi)
        spins.append(part.spins)
        first += size
    assert torch.equal(torch.cat(spins), together.spins)
    torch.testing.assert_close(torch.cat(log_psi), whole.log_psi, rtol=1e-10, atol=1e-10)


def test_chains_continue() -> None:
    """10 proposals and then 15, by a fresh sampler, are 25 proposals."""
    psi, once, twice = lively("small"), Chains.neel(6, 8), Chains.neel(6, 8)
    Sampler(6, 2).advance(psi, once, 25, 1.0)
    for proposals in (10, 15):
        Sampler(6, 2).advance(psi, twice, proposals, 1.0)
    assert torch.equal(once.spins, twice.spins)
    assert once.proposals == twice.proposals == 25


@pytest.mark.parametrize("bad", [-torch.inf, torch.nan, torch.inf])
def test_a_chain_leaves_a_configuration_without_weight(
    bad: float, made: Made, tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor]
) -> None:
    """Where psi vanishes or is not finite, a chain moves on at its next proposal instead of staying for ever."""
    log_psi = made.log_psi.clone()
    log_psi[position(neel(4)[None])] = bad
    chains = Chains.neel(4, 100)
    sweep = Sampler(4, 0).advance(tabulated(log_psi, made.sign), chains, 1, 2.0)
    assert sweep.acceptance == 1
    assert sweep.log_psi.isfinite().all()


@pytest.mark.parametrize("bad", [-torch.inf, torch.nan])
@pytest.mark.parametrize("alpha", [2.0, 1.0])
def test_chains_never_enter_a_configuration_without_weight(
    bad: float, alpha: float, made: Made, tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor]
) -> None:
    """With a third of the configurations without weight, no chain is ever in one of them."""
    empty = torch.rand(len(made.log_psi), generator=torch.Generator().manual_seed(0)) < 1 / 3
    empty[position(neel(4)[None])] = False
    psi = tabulated(made.log_psi.masked_fill(empty, bad), made.sign)
    chains, sampler = Chains.neel(4, 500), Sampler(4, 0)
    for _ in range(30):
        sampler.advance(psi, chains, 1, alpha)
        assert not empty[position(chains.spins)].any()


def test_without_proposals_nothing_happens(made: Made) -> None:
    """No proposals: the chains stay, their amplitudes are reported, the acceptance is 0."""
    chains = Chains.neel(4, 3)
    sweep = Sampler(4, 0).advance(made.psi, chains, 0, 2.0)
    assert torch.equal(chains.spins, neel(4).expand(3, 4, 4))
    assert (sweep.acceptance, chains.proposals) == (0, 0)
    assert torch.equal(sweep.log_psi, made.psi(chains.spins)[0])
