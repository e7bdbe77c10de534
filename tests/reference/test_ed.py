"""Exact diagonalization of the 4x4 lattice: against the literature, without symmetries, by sum rules."""

import math
import sys

import numpy as np
import numpy.typing as npt
import pytest

from qmcbench.reference import ExactResult, ReferenceLayerError, diagonalize, ground_state, hamiltonian_matrix

COUPLINGS = (0.0, 0.3, 0.5, 0.6, 1.0)


@pytest.fixture(scope="module")
def results() -> dict[float, ExactResult]:
    return {J2: diagonalize(4, J2) for J2 in COUPLINGS}


def full_correlation(result: ExactResult) -> npt.NDArray[np.float64]:
    """<S_0 . S_d> for every displacement, shape (L, L), from the stored irreducible ones."""
    L = result.L
    folded = [[sorted((min(x, L - x), min(y, L - y))) for y in range(L)] for x in range(L)]
    return np.array([[result.spin_correlation[f"{a},{b}"] for a, b in row] for row in folded])


@pytest.mark.parametrize(
    ("J2", "published", "tolerance"),
    [
        pytest.param(0.0, -0.7017802, 1e-7, id="J2=0"),
        pytest.param(0.5, -0.5286202094621775, 1e-10, id="J2=0.5"),
        pytest.param(0.6, -0.525895821875, 1e-8, id="J2=0.6"),
        pytest.param(1.0, -0.7684681390625, 1e-8, id="J2=1"),
    ],
)
def test_energy_is_the_published_one(
    results: dict[float, ExactResult], J2: float, published: float, tolerance: float
) -> None:
    """The energy per site equals the published one (VarBench: Wu et al., Science 386, 296 (2024)) in its digits."""
    assert results[J2].energy == pytest.approx(published, rel=0, abs=tolerance)


@pytest.mark.parametrize("J2", COUPLINGS)
def test_symmetric_sector_holds_the_ground_state(results: dict[float, ExactResult], J2: float) -> None:
    """Dense diagonalization of the sector and Lanczos on the whole S^z = 0 space give one energy."""
    result = results[J2]
    total, vector = ground_state(4, J2)
    assert result.total_energy == pytest.approx(total, rel=0, abs=1e-10)
    assert result.energy == result.total_energy / 16
    assert (result.states, vector.shape) == (107, (12870,))
    assert result.residual < 1e-8
    assert result.gap > 0.1


@pytest.mark.parametrize("J2", COUPLINGS)
def test_energy_follows_from_the_correlations(results: dict[float, ExactResult], J2: float) -> None:
    """Two bonds of each kind belong to a site, hence E/N = 2 C(1,0) + 2 J2 C(1,1)."""
    correlation = results[J2].spin_correlation
    energy = 2 * correlation["0,1"] + 2 * J2 * correlation["1,1"]
    assert energy == pytest.approx(results[J2].energy, rel=0, abs=1e-10)


@pytest.mark.parametrize("J2", COUPLINGS)
def test_sum_rules(results: dict[float, ExactResult], J2: float) -> None:
    """A singlet has S(0,0) = 0; S(q) is nowhere negative, its mean is 3/4, and the two stored values are its own."""
    correlation = full_correlation(results[J2])
    structure = np.fft.fft2(correlation)
    assert correlation.sum() == pytest.approx(0, abs=1e-10)
    assert np.abs(structure.imag).max() < 1e-12
    assert structure.real.min() > -1e-10
    assert structure.real.mean() == pytest.approx(0.75, abs=1e-12)
    assert results[J2].structure_factor_pi_pi == pytest.approx(structure[2, 2].real, abs=1e-12)
    assert results[J2].structure_factor_pi_0 == pytest.approx((structure[2, 0] + structure[0, 2]).real / 2, abs=1e-12)


@pytest.mark.parametrize("J2", [0.5, 1.0])
def test_correlations_match_the_unsymmetrised_vector(results: dict[float, ExactResult], J2: float) -> None:
    """Without QuSpin's operators: in a singlet <S_0 . S_d> = 3 <S^z_0 S^z_d>, an average over |psi|^2."""
    configurations, _ = hamiltonian_matrix(4, J2)
    _, vector = ground_state(4, J2)
    power = np.abs(np.fft.fft2(configurations)) ** 2
    correlation = 0.75 * np.fft.ifft2(np.tensordot(vector**2, power, axes=1)).real / 16
    np.testing.assert_allclose(correlation, full_correlation(results[J2]), rtol=0, atol=1e-8)


def test_order_changes_from_neel_to_stripes(results: dict[float, ExactResult]) -> None:
    """S(pi,pi) dominates at J2 = 0 and S(pi,0) at J2 = 1: the two structure factors are not exchanged."""
    assert results[0.0].structure_factor_pi_pi > 3 * results[0.0].structure_factor_pi_0
    assert results[1.0].structure_factor_pi_0 > 3 * results[1.0].structure_factor_pi_pi


def test_matrix_elements_by_definition() -> None:
    """Rows of the matrix, rebuilt bond by bond from the configurations alone, agree element by element."""
    J2 = 0.3
    configurations, matrix = hamiltonian_matrix(4, J2)
    assert configurations.dtype == np.int8
    assert configurations.shape == (12870, 4, 4)
    assert not configurations.sum(axis=(1, 2)).any()
    index = {spins.tobytes(): row for row, spins in enumerate(configurations)}
    assert len(index) == 12870
    assert abs(matrix - matrix.T).max() == 0
    for row in np.random.default_rng(1).choice(12870, size=40, replace=False):
        spins = configurations[row]
        expected = np.zeros(12870)
        for site in np.ndindex(4, 4):
            for (x, y), weight in {(0, 1): 1.0, (1, 0): 1.0, (1, 1): J2, (1, 3): J2}.items():
                other = (site[0] + x) % 4, (site[1] + y) % 4
                expected[row] += weight * spins[site] * spins[other] / 4
                if spins[site] != spins[other]:
                    flipped = spins.copy()
                    flipped[site], flipped[other] = spins[other], spins[site]
                    expected[index[flipped.tobytes()]] += weight / 2
        np.testing.assert_allclose(matrix[[row]].toarray()[0], expected, rtol=0, atol=1e-14)


def test_site_order_is_row_major_from_the_highest_bit() -> None:
    """The first state, the largest integer of QuSpin's basis, has the sites of the upper two rows up."""
    configurations, _ = hamiltonian_matrix(4, 0.5)
    np.testing.assert_array_equal(configurations[0], np.repeat([1, 1, -1, -1], 4).reshape(4, 4))


def test_ground_state_has_one_sign_and_obeys_marshall() -> None:
    """At J2 = 0 the normalised vector has the Marshall sign: (-1)^(up spins on sublattice A)."""
    configurations, matrix = hamiltonian_matrix(4, 0.0)
    total, vector = ground_state(4, 0.0)
    even = np.add.outer(np.arange(4), np.arange(4)) % 2 == 0
    marshall = (-1) ** (configurations[:, even] == 1).sum(axis=1)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-12)
    assert vector[np.argmax(np.abs(vector))] > 0
    assert (vector * marshall > 0).all()
    assert np.linalg.norm(matrix @ vector - total * vector) < 1e-8


@pytest.mark.parametrize(
    ("L", "J2", "message"),
    [
        pytest.param(6, 0.5, "L = 6 .*which has 6x6 too", id="6x6"),
        pytest.param(5, 0.5, "L = 5 .*use L = 4", id="odd"),
        pytest.param(8, 0.5, "L = 8 .*use L = 4", id="8x8"),
        pytest.param(4, math.nan, "J2 = nan", id="nan"),
    ],
)
def test_what_is_not_served_is_one_sentence(L: int, J2: float, message: str) -> None:
    """Every entry point refuses the same lattices with the value, the bound and the next step."""
    for entry in (diagonalize, hamiltonian_matrix, ground_state):
        with pytest.raises(ReferenceLayerError, match=message):
            entry(L, J2)


def test_missing_quspin_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without QuSpin the error names it and the command that installs it."""
    monkeypatch.setitem(sys.modules, "quspin", None)
    for entry in (diagonalize, hamiltonian_matrix, ground_state):
        with pytest.raises(ReferenceLayerError, match="pip install quspin"):
            entry(4, 0.5)


def test_ground_state_outside_the_sector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check against the whole S^z = 0 space is live: a lower energy there is an error, not a result."""
    total, vector = ground_state(4, 0.5)
    monkeypatch.setattr("qmcbench.reference.ed.ground_state", lambda L, J2: (total - 1e-6, vector))
    with pytest.raises(ReferenceLayerError, match="not in the symmetric sector"):
        diagonalize(4, 0.5)
