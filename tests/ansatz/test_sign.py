"""The Marshall-Peierls sign: by hand, under the symmetries of the lattice, and against the exact ground state."""

import pytest
import torch
from plain import random_spins
from torch import Tensor

from qmcbench.ansatz.sign import MarshallSign, marshall_sign
from qmcbench.lattice import nearest_bonds, neel, next_nearest_bonds
from qmcbench.reference import ground_state


@pytest.mark.parametrize(
    ("rows", "sign"),
    [
        pytest.param("+-+- -+-+ +-+- -+-+", 1, id="neel"),
        pytest.param("-+-+ +-+- -+-+ +-+-", 1, id="other-neel"),
        pytest.param("-++- -+-+ +-+- -+-+", -1, id="neel-one-exchange"),
        pytest.param("-++- -+-+ +-+- +--+", 1, id="neel-two-exchanges"),
        pytest.param("++++ ---- ++++ ----", 1, id="row-stripes"),
        pytest.param("++++ ++++ ---- ----", 1, id="halves"),
        pytest.param("++++ +++- -+-- ----", -1, id="halves-one-exchange"),
    ],
)
def test_known_configurations(rows: str, sign: int) -> None:
    """(-1)^(up spins on the sublattice of the upper left site), counted by hand."""
    spins = torch.tensor([[1 if s == "+" else -1 for s in row] for row in rows.split()], dtype=torch.int8)
    result = marshall_sign(spins[None])
    assert result.dtype == torch.float64
    assert result.tolist() == [sign]


@pytest.mark.parametrize("L", [4, 6, 36])
def test_every_nearest_neighbour_exchange_flips_the_sign(L: int) -> None:
    """Exchanging antiparallel neighbours flips the sign, exchanging antiparallel next-nearest ones does not."""
    spins = random_spins(L, 1)
    for bonds, factor in ((nearest_bonds(L), -1), (next_nearest_bonds(L), 1)):
        flat = spins.flatten()
        chosen = bonds[flat[bonds[:, 0]] != flat[bonds[:, 1]]]
        connected = flat.repeat(len(chosen), 1).scatter(1, chosen, flat[chosen.flip(1)])
        assert (marshall_sign(connected.view(-1, L, L)) == factor * marshall_sign(spins)).all()


@pytest.mark.parametrize("L", [4, 6, 10])
def test_rotations_leave_the_sign(L: int) -> None:
    """At S^z = 0 on an even lattice a quarter turn, which exchanges the sublattices, keeps the sign."""
    spins = random_spins(L, 50)
    sign = marshall_sign(spins)
    assert sign.unique().numel() == 2
    assert torch.equal(marshall_sign(spins.rot90(1, (1, 2))), sign)


def test_wrapper_multiplies_the_sign() -> None:
    """log|psi| of the wrapped wave function is untouched, its phase, real or complex, is multiplied."""
    spins = random_spins(4, 6)
    log_abs, phase = torch.randn(6), torch.polar(torch.ones(6), torch.arange(6.0))
    for base_phase in (phase, phase.real.sign()):
        got_log, got_phase = MarshallSign(lambda _, p=base_phase: (log_abs, p))(spins)
        assert torch.equal(got_log, log_abs)
        torch.testing.assert_close(got_phase, base_phase * marshall_sign(spins), rtol=1e-6, atol=0, check_dtype=False)


def test_ground_state_without_frustration(configurations: Tensor) -> None:
    """At J2 = 0 the exact ground state times this sign has no zero and one sign throughout (Perron-Frobenius)."""
    vector = torch.from_numpy(ground_state(4, 0.0)[1]) * marshall_sign(configurations)
    assert vector.abs().min() > 1e-4
    assert (vector.sign() == vector[0].sign()).all()


def test_ground_state_with_frustration_has_other_signs(configurations: Tensor) -> None:
    """At J2 = 1 the sign rule fails on a large part of the state: agreement at J2 = 0 is not automatic."""
    vector = torch.from_numpy(ground_state(4, 1.0)[1]) * marshall_sign(configurations)
    share = (vector**2)[vector > 0].sum()
    assert 0.05 < share < 0.95


def test_neel_is_positive() -> None:
    """The start of every chain has sign +1 at all sizes: L^2 / 2 up spins on A, an even number."""
    assert [marshall_sign(neel(L)[None]).item() for L in (4, 6, 10, 36)] == [1.0] * 4
