"""Local energies against (H psi) / psi with QuSpin's matrix, for networks, exact states and complex functions."""

from collections.abc import Callable

import pytest
import torch
from plain import C4, lively
from scipy.sparse import csr_matrix
from torch import Tensor

from qmcbench import local_energy
from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.sign import MarshallSign
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import local_energies, local_energy_parts
from qmcbench.reference import ground_state

COUPLINGS = (0.0, 0.2, 0.5, 1.0)
Table = tuple[Tensor, Tensor]


def network(dtype: torch.dtype = torch.float64) -> MarshallSign:
    """The paper's wave function, with a sign that is not simply Marshall's."""
    return MarshallSign(C4(lively("small", seed=6, dtype=dtype)))


@pytest.fixture(scope="module")
def tables(configurations: Tensor) -> dict[torch.dtype, Table]:
    """log|psi| and sign of the network on all configurations, evaluated in float64 and in float32."""
    with torch.no_grad():
        return {dtype: network(dtype)(configurations) for dtype in (torch.float64, torch.float32)}


def full_sum(log_psi: Tensor, energies: Tensor) -> float:
    """sum |psi|^2 E_loc / sum |psi|^2."""
    weights = (2 * (log_psi - log_psi.max())).exp()
    return float((weights @ energies) / weights.sum())


def dense_vector(log_psi: Tensor, phase: Tensor) -> Tensor:
    """psi as numbers, the largest of size 1."""
    return phase * (log_psi - log_psi.max()).exp()


def test_the_network_of_these_tests_is_not_trivial(tables: dict[torch.dtype, Table], configurations: Tensor) -> None:
    """Its amplitudes differ, and a good part of its weight has another sign than Marshall's rule."""
    log_psi, sign = tables[torch.float64]
    weights = (2 * (log_psi - log_psi.max())).exp()
    share = weights[MarshallSign(lambda _: (log_psi, sign))(configurations)[1] > 0].sum() / weights.sum()
    assert log_psi.std() > 0.3
    assert 0.01 < share < 0.99


@pytest.mark.parametrize("J2", COUPLINGS)
def test_full_sum(
    J2: float,
    tables: dict[torch.dtype, Table],
    configurations: Tensor,
    matrix: Callable[[float], csr_matrix],
    tabulated: Callable[..., Ansatz],
) -> None:
    """Their average over |psi|^2 is psi^T H psi / psi^T psi, and each is (H psi) / psi, to 1e-10."""
    log_psi, sign = tables[torch.float64]
    energies = local_energies(tabulated(log_psi, sign), J1J2(4, J2), configurations, log_psi, sign)
    assert energies.dtype == torch.float64
    psi = dense_vector(log_psi, sign).numpy()
    applied = matrix(J2) @ psi
    expected = (psi @ applied) / (psi @ psi)
    assert full_sum(log_psi, energies) == pytest.approx(expected, rel=1e-10, abs=0)
    torch.testing.assert_close(energies, torch.from_numpy(applied / psi), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("J2", COUPLINGS)
def test_parts(
    J2: float,
    tables: dict[torch.dtype, Table],
    configurations: Tensor,
    matrix: Callable[[float], csr_matrix],
    tabulated: Callable[..., Ansatz],
) -> None:
    """One column is (H psi) / psi of the nearest-neighbour bonds alone, the other is linear in J2."""
    log_psi, sign = tables[torch.float64]
    psi = dense_vector(log_psi, sign).numpy()
    first, second = matrix(0.0) @ psi / psi, (matrix(1.0) - matrix(0.0)) @ psi / psi
    parts = local_energy_parts(tabulated(log_psi, sign), J1J2(4, J2), configurations, log_psi, sign)
    expected = torch.stack([torch.from_numpy(first), torch.from_numpy(J2 * second)], dim=1)
    torch.testing.assert_close(parts, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("J2", [0.0, 0.5])
def test_network_itself(J2: float, configurations: Tensor, matrix: Callable[[float], csr_matrix]) -> None:
    """Called on the network, not on its table: 150 configurations give (H psi) / psi to 1e-10."""
    psi, chosen = network(), torch.randperm(12870, generator=torch.Generator().manual_seed(0))[:150]
    with torch.no_grad():
        log_psi, sign = psi(configurations)
    vector = dense_vector(log_psi, sign).numpy()
    expected = torch.from_numpy((matrix(J2) @ vector) / vector)[chosen]
    got = local_energies(psi, J1J2(4, J2), configurations[chosen], log_psi[chosen], sign[chosen], buffer=512)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("J2", COUPLINGS)
def test_exact_ground_state(J2: float, configurations: Tensor, tabulated: Callable[..., Ansatz]) -> None:
    """Wrapped as a plain function, the exact ground state has the local energy E_0 at every configuration."""
    energy, vector = ground_state(4, J2)
    psi = torch.from_numpy(vector)
    log_psi, sign = psi.abs().log(), psi.sign()
    energies = local_energies(tabulated(log_psi, sign), J1J2(4, J2), configurations, log_psi, sign)
    assert (energies - energy).abs().max() < 1e-8


@pytest.mark.parametrize("J2", [0.0, 0.5])
def test_complex_wave_function(
    J2: float,
    tables: dict[torch.dtype, Table],
    configurations: Tensor,
    matrix: Callable[[float], csr_matrix],
    tabulated: Callable[..., Ansatz],
) -> None:
    """With random phases on every configuration, local energies are the complex (H psi) / psi and average to real."""
    log_psi = tables[torch.float64][0]
    angle = 6.3 * torch.rand(12870, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    phase = torch.polar(torch.ones_like(angle), angle)
    energies = local_energies(tabulated(log_psi, phase), J1J2(4, J2), configurations, log_psi, phase)
    assert energies.dtype == torch.complex128
    psi = dense_vector(log_psi, phase).numpy()
    torch.testing.assert_close(energies, torch.from_numpy((matrix(J2) @ psi) / psi), rtol=1e-10, atol=1e-10)
    weights = (2 * (log_psi - log_psi.max())).exp()
    assert energies.imag.abs().max() > 1
    assert abs((weights * energies).sum().imag / weights.sum()) < 1e-10


@pytest.mark.parametrize("buffer", [1, 7, 64, 4096, 10**5])
def test_buffers(
    buffer: int, configurations: Tensor, tables: dict[torch.dtype, Table], tabulated: Callable[..., Ansatz]
) -> None:
    """Any buffer size gives the same numbers, and every call of the wave function has exactly that many."""
    log_psi, sign = tables[torch.float64]
    psi, model, chosen = tabulated(log_psi, sign), J1J2(4, 0.5), slice(0, 12870, 300)
    expected = local_energies(psi, model, configurations[chosen], log_psi[chosen], sign[chosen])
    sizes = []

    def recording(spins: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(spins))
        assert spins.shape[1:] == (4, 4)
        assert spins.dtype == torch.int8
        return psi(spins)

    got = local_energies(recording, model, configurations[chosen], log_psi[chosen], sign[chosen], buffer=buffer)
    connected = int(model.antiparallel(configurations[chosen]).sum())
    assert sizes == [buffer] * -(-connected // buffer)
    assert torch.equal(got, expected)


def test_chunks_of_a_large_batch(
    monkeypatch: pytest.MonkeyPatch,
    configurations: Tensor,
    tables: dict[torch.dtype, Table],
    tabulated: Callable[..., Ansatz],
) -> None:
    """A batch whose bond table would be too large is taken in parts, with the same numbers in the same order."""
    log_psi, sign = tables[torch.float64]
    arguments = tabulated(log_psi, sign), J1J2(4, 0.5), configurations[:500], log_psi[:500], sign[:500]
    expected = local_energies(*arguments)
    monkeypatch.setattr(local_energy, "TABLE", 64 * 33)
    assert torch.equal(local_energies(*arguments), expected)


def test_scale_of_psi_does_not_matter(
    configurations: Tensor, tables: dict[torch.dtype, Table], tabulated: Callable[..., Ansatz]
) -> None:
    """psi times exp(5000), beyond any floating-point number, with its sign reversed has the same local energies."""
    log_psi, sign = tables[torch.float64]
    model, some = J1J2(4, 0.5), slice(0, 500)
    expected = local_energies(tabulated(log_psi, sign), model, configurations[some], log_psi[some], sign[some])
    scaled, flipped = log_psi + 5000, -sign
    got = local_energies(tabulated(scaled, flipped), model, configurations[some], scaled[some], flipped[some])
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_float32_does_not_move_the_energy(
    configurations: Tensor, tables: dict[torch.dtype, Table], tabulated: Callable[..., Ansatz]
) -> None:
    """float32 forwards change the full-sum energy by less than 1e-5 of it (and do change it)."""
    energies = {}
    for dtype, (log_psi, sign) in tables.items():
        local = local_energies(tabulated(log_psi, sign), J1J2(4, 0.5), configurations, log_psi, sign)
        energies[dtype] = full_sum(log_psi, local)
    assert 0 < abs(energies[torch.float32] / energies[torch.float64] - 1) < 1e-5
