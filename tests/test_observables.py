"""Correlations against QuSpin's operators: exact states, a network without symmetry, zeros, phases; samples."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from dense import Array, Expected, exact_state, expected, table
from plain import lively, random_spins
from scipy.stats import chi2
from torch import Tensor

from qmcbench import observables
from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import local_energies
from qmcbench.observables import full_sum, local_estimators, random_origins
from qmcbench.reference import diagonalize
from qmcbench.rng import chain_uniforms

COUPLINGS = (0.0, 0.5, 0.6)


def assert_exact(found: observables.Observables, wanted: Expected) -> None:
    for name in ("correlation", "structure_factor", "bond", "dimer"):
        measured = getattr(found, name)
        np.testing.assert_allclose(measured.mean, getattr(wanted, name), rtol=0, atol=1e-10, err_msg=name)
        assert measured.mean.shape == measured.error.shape == measured.plateau.shape
        assert not measured.error.any()
    m_squared = found.staggered_magnetisation_squared
    assert float(m_squared.mean) == pytest.approx(wanted.structure_factor[2, 2] / 16, abs=1e-10)


@pytest.fixture(scope="module")
def exact_sum(tabulated: Callable[..., Ansatz]) -> Callable[[float], observables.Observables]:
    """Full sum of the ground state at a J2."""
    return cache(lambda J2: full_sum(tabulated(*table(exact_state(J2)[1]))))


@pytest.mark.parametrize("J2", COUPLINGS)
def test_full_sum_of_the_ground_state(J2: float, exact_sum: Callable[[float], observables.Observables]) -> None:
    """Equal to QuSpin's operators, and to the reference's symmetric sector, to 1e-10."""
    found = exact_sum(J2)
    assert_exact(found, expected(exact_state(J2)[1]))
    sector = diagonalize(4, J2)
    for key, value in sector.spin_correlation.items():
        i, j = map(int, key.split(","))
        assert found.correlation.mean[i, j] == pytest.approx(value, abs=1e-10)
    structure = found.structure_factor.mean
    assert structure[2, 2] == pytest.approx(sector.structure_factor_pi_pi, abs=1e-10)
    assert (structure[2, 0] + structure[0, 2]) / 2 == pytest.approx(sector.structure_factor_pi_0, abs=1e-10)


def test_full_sum_of_a_network_without_symmetry(network: tuple[torch.nn.Module, Array]) -> None:
    """Equal to QuSpin's operators to 1e-10, though rows, columns and the two sublattices all differ."""
    psi, vector = network
    wanted = expected(vector)
    assert abs(wanted.correlation[0, 1] - wanted.correlation[1, 0]) > 1e-3
    assert abs(wanted.dimer[1, 1, 0] - wanted.dimer[1, 0, 1]) > 1e-3
    assert wanted.structure_factor[0, 0] > 1e-3
    assert_exact(full_sum(psi), wanted)


def test_full_sum_with_zeros_and_phases(tabulated: Callable[..., Ansatz]) -> None:
    """A complex state that vanishes on 30% of the configurations: real parts, and leaving those out is exact."""
    generator = np.random.default_rng(1)
    vector = generator.normal(size=12870) + 1j * generator.normal(size=12870)
    vector[generator.random(12870) < 0.3] = 0.0
    assert_exact(full_sum(tabulated(*table(vector))), expected(vector))


def test_full_sum_without_dimers_leaves_them_out(
    tabulated: Callable[..., Ansatz], exact_sum: Callable[[float], observables.Observables]
) -> None:
    """The rest is the same."""
    short, whole = full_sum(tabulated(*table(exact_state(0.5)[1])), dimers=False), exact_sum(0.5)
    assert short.bond is None
    assert short.dimer is None
    assert np.array_equal(short.correlation.mean, whole.correlation.mean)


def test_full_sum_refusals() -> None:
    """A wave function that is nothing, and a lattice that is too large."""
    with pytest.raises(UserError, match="vanishes on all 12870"):
        full_sum(lambda spins: (torch.full((len(spins),), -torch.inf), torch.zeros(len(spins))))
    with pytest.raises(UserError, match="L = 4"):
        full_sum(lively("small"), 6)


def test_sum_rules_of_the_exact_states(exact_sum: Callable[[float], observables.Observables]) -> None:
    """S(k) averages to 3/4; a singlet has S(0) = 0; at J2 = 0 <B H> = <B> E, so the connected dimers add up to 0."""
    for J2 in COUPLINGS:
        energy, found = exact_state(J2)[0], exact_sum(J2)
        correlation, structure = found.correlation.mean, found.structure_factor.mean
        assert structure.mean() == pytest.approx(0.75, abs=1e-12)
        assert structure.min() > -1e-10
        assert correlation.sum() == pytest.approx(0.0, abs=1e-10)
        diagonals = correlation[1, 1] + correlation[1, -1]
        assert 16 * (correlation[0, 1] + correlation[1, 0] + J2 * diagonals) == pytest.approx(energy, abs=1e-9)
        if J2 == 0:
            assert found.dimer is not None
            assert abs(found.dimer.mean).max() > 0.1
            assert found.dimer.mean.sum() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("L", [4, 6])
def test_energy_of_every_configuration(L: int) -> None:
    """With all origins, the correlations (and the bonds) of one configuration give its very local energy."""
    psi, spins, J2 = lively("small", seed=3), random_spins(L, 5), 0.5
    with torch.no_grad():
        log_psi, phase = psi(spins)
    found = local_estimators(psi, spins, log_psi, phase, origins="all")
    correlation = found.correlation
    nearest, diagonal = correlation[:, 0, 1] + correlation[:, 1, 0], correlation[:, 1, 1] + correlation[:, 1, -1]
    energies = local_energies(psi, J1J2(L, J2), spins, log_psi, phase)
    torch.testing.assert_close(L * L * (nearest + J2 * diagonal), energies, rtol=1e-10, atol=1e-10)
    one = local_estimators(psi, spins, log_psi, phase, origins=torch.zeros(5, 1, dtype=torch.int64), dimers=True)
    assert one.bond is not None
    torch.testing.assert_close(one.bond.sum(1), nearest, rtol=1e-10, atol=1e-10)


def test_origins_average_to_all_of_them(network: tuple[torch.nn.Module, Array], configurations: Tensor) -> None:
    """The mean over the 16 single origins is the estimator from all of them: a random origin is unbiased."""
    psi, spins = network[0], configurations[::1500]
    with torch.no_grad():
        state = psi(spins)
    every = local_estimators(psi, spins, *state, origins="all", dimers=True)
    single = [
        local_estimators(psi, spins, *state, origins=torch.full((len(spins), 1), o), dimers=True) for o in range(16)
    ]
    for name in ("correlation", "bond", "dimer"):
        parts = torch.stack([getattr(found, name) for found in single])
        torch.testing.assert_close(parts.mean(0), getattr(every, name), rtol=1e-10, atol=1e-10)
        assert name == "bond" or parts.std(0).max() > 0.1


def test_random_origins_are_uniform_distinct_and_repeatable() -> None:
    """Chi-square of 4096 x 3 origins over 16 sites (false-alarm rate 1e-4); a chain's are its own in any batch."""
    chains = torch.arange(4096)
    origins = random_origins(4, 3, seed=7, chains=chains, draw=2)
    assert origins.shape == (4096, 3)
    assert all(len(set(row)) == 3 for row in origins.tolist())
    counts = torch.bincount(origins.flatten(), minlength=16).double()
    assert float(((counts - 768) ** 2 / 768).sum()) < chi2.isf(1e-4, 15)
    assert torch.equal(random_origins(4, 3, seed=7, chains=chains[100:200], draw=2), origins[100:200])
    for other in ({"seed": 8, "draw": 2}, {"seed": 7, "draw": 3}):
        assert (random_origins(4, 3, chains=chains, **other) == origins).double().mean() < 0.1
    assert random_origins(4, 16, seed=7, chains=chains[:9], draw=0).sort(1).values.eq(torch.arange(16)).all()


def test_random_origins_do_not_follow_from_other_draws_or_the_sampler() -> None:
    """Chi-square over 16 x 16 cells of an origin with the next draw's, and with the sampler's choice (1e-4)."""
    chains, seed = torch.arange(16384), 7
    first, second = (random_origins(4, 1, seed=seed, chains=chains, draw=draw)[:, 0] for draw in (2, 3))
    # What the sampler's own numbers of the same proposals would have made of it.
    proposals = chain_uniforms(seed, chains, 2 * 8, 8).flatten(0, 1).argmin(0)
    for other in (second, proposals):
        counts = torch.bincount(first * 16 + other, minlength=256).double()
        assert float(((counts - 64) ** 2 / 64).sum()) < chi2.isf(1e-4, 255)


@pytest.mark.parametrize("count", [0, 17])
def test_random_origins_refuses_more_than_there_are(count: int) -> None:
    """None, or more than the lattice has."""
    with pytest.raises(UserError, match=f"{count} origins .* 16 sites"):
        random_origins(4, count, seed=0, chains=torch.arange(2), draw=0)


@pytest.mark.parametrize("buffer", [1, 7, 4096])
def test_buffers_and_chunks(
    buffer: int,
    monkeypatch: pytest.MonkeyPatch,
    configurations: Tensor,
    network: tuple[torch.nn.Module, Array],
    tabulated: Callable[..., Ansatz],
) -> None:
    """Buffer size and memory limit change no number; every call of psi has exactly the buffer's size."""
    psi, spins = tabulated(*table(network[1])), configurations[::2000]
    log_psi, phase = psi(spins)
    origins = random_origins(4, 2, seed=1, chains=torch.arange(len(spins)), draw=0)
    whole = local_estimators(psi, spins, log_psi, phase, origins=origins, dimers=True)
    sizes = set()

    def recording(asked: Tensor) -> tuple[Tensor, Tensor]:
        sizes.add(len(asked))
        assert asked.dtype == torch.int8
        return psi(asked)

    monkeypatch.setattr(observables, "TABLE", 2 * 2 * 32)
    found = local_estimators(recording, spins, log_psi, phase, origins=origins, dimers=True, buffer=buffer)
    assert sizes == {buffer}
    for name in ("correlation", "bond", "dimer"):
        assert torch.equal(getattr(found, name), getattr(whole, name))
