"""The shipped checks pass on the engine and fail on deliberately broken ones."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from qmcbench.config import Wavefunction
from qmcbench.errors import UserError
from qmcbench.gates import checks
from qmcbench.hamiltonian import J1J2
from qmcbench.sr import SOLVERS, Solution, sample_space
from qmcbench.vmc import build_ansatz


@pytest.fixture(scope="module")
def psi() -> nn.Module:
    """A random small network with sign and C4, float64."""
    return build_ansatz(Wavefunction(dtype="float64"), seed=3)


class Wrapped(nn.Module):
    """A wave function whose log-derivatives are changed by ``mutate``."""

    def __init__(self, base: nn.Module, mutate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.base, self.mutate = base, mutate

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        return self.base(spins)

    def log_derivatives(self, spins: Tensor) -> Tensor:
        return self.mutate(self.base.log_derivatives(spins))


def test_matrix_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes as it is; a wrong sign of the exchange or a J2 that is off by 1e-12 fails."""
    assert checks.matrix_elements(0.5).passed
    right = J1J2.off_diagonal
    monkeypatch.setattr(J1J2, "off_diagonal", lambda self, bond: -right(self, bond))
    assert not checks.matrix_elements(0.5).passed
    monkeypatch.setattr(J1J2, "off_diagonal", lambda self, bond: right(self, bond) * (1 + 1e-12))
    assert not checks.matrix_elements(0.5).passed


def test_full_sum(psi: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes as it is; a diagonal off by 1e-9 a bond fails."""
    assert checks.full_sum(psi, 0.5).passed
    right = J1J2.diagonal
    monkeypatch.setattr(J1J2, "diagonal", lambda self, antiparallel: right(self, antiparallel) + 1e-9)
    assert not checks.full_sum(psi, 0.5).passed


@pytest.mark.parametrize(
    "mutate",
    [lambda o: o * (1 + 1e-6), lambda o: o.roll(1, 1), lambda o: o.flip(0)],
    ids=["scaled", "rolled", "rows"],
)
def test_derivatives(psi: nn.Module, mutate: Callable[[Tensor], Tensor]) -> None:
    """Passes as it is; derivatives that are scaled by 1e-6 or in another order fail. Parameters are left alone."""
    before = nn.utils.parameters_to_vector(psi.parameters()).clone()
    assert checks.derivatives(psi, 4).passed
    assert not checks.derivatives(Wrapped(psi, mutate), 4).passed
    assert torch.equal(nn.utils.parameters_to_vector(psi.parameters()), before)


def test_solvers(psi: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes as it is; a sample-space step that is 1e-7 too long fails."""
    assert checks.solvers(psi, 0.5).passed
    monkeypatch.setattr(checks, "sample_space", lambda *of: Solution(sample_space(*of).step * (1 + 1e-7), 1e-3, 0))
    assert not checks.solvers(psi, 0.5).passed


def test_solver_precision(psi: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Gram matrix in float32 passes, one in bfloat16 does not."""
    assert 0 < checks.solver_precision(psi, 0.5).value < 1e-3
    monkeypatch.setitem(SOLVERS, "sample_space_float32", partial(sample_space, precision=torch.bfloat16))
    assert not checks.solver_precision(psi, 0.5).passed


def test_nan_derivatives_fail(psi: nn.Module) -> None:
    """A single derivative that is not a number, or a wave function that is none, fails."""

    def poison(derivatives: Tensor) -> Tensor:
        derivatives = derivatives.clone()
        derivatives[3, 7] = torch.nan
        return derivatives

    assert not checks.derivatives(Wrapped(psi, poison), 4).passed
    assert not checks.derivatives(Wrapped(psi, lambda o: o * torch.nan), 4).passed


@pytest.mark.parametrize("seed", range(6))
def test_kinks_are_no_mistake(seed: int) -> None:
    """Correct derivatives pass whatever the seed: where a maximum changes over, a shorter step shows the slope."""
    made = build_ansatz(Wavefunction(dtype="float64"), seed=seed)
    assert checks.derivatives(made, 4, seed).passed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_full_sum_in_any_precision(psi: nn.Module, dtype: torch.dtype) -> None:
    """Amplitudes that come in single or half precision are summed in double: the two energies agree as before."""
    with torch.no_grad():
        assert checks.full_sum(lambda spins: tuple(each.to(dtype) for each in psi(spins)), 0.5).passed


def test_what_is_no_wave_function() -> None:
    """The checks ask for amplitudes as the engine does: what gives none is refused in a sentence."""
    for check in (checks.full_sum_energy, checks.full_sum):
        with pytest.raises(UserError, match=r"function gives one tensor, but a wave function gives two"):
            check(lambda spins: spins.sum((1, 2)), 0.5)


@pytest.mark.parametrize("broken", [math.nan, math.inf], ids=["nan", "inf"])
def test_full_sum_sees_what_is_not_finite(psi: nn.Module, broken: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One local energy of nonzero weight that is not finite makes the whole sum so, and the check fail."""
    right = checks.local_energies

    def poison(*arguments: object) -> Tensor:
        energies = right(*arguments)
        energies[5] = broken
        return energies

    monkeypatch.setattr(checks, "local_energies", poison)
    assert not math.isfinite(checks.full_sum_energy(psi, 0.5))
    assert not checks.full_sum(psi, 0.5).passed


def test_full_sum_leaves_out_where_psi_vanishes(psi: nn.Module) -> None:
    """A configuration without weight has no local energy, which is no mistake; a psi that is nan is one."""

    def vanishing(spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, phase = psi(spins)
        return log_psi.masked_fill(spins[:, 0].sum(1) == 4, -torch.inf), phase

    assert math.isfinite(checks.full_sum_energy(vanishing, 0.5))
    assert math.isnan(checks.full_sum_energy(lambda spins: (psi(spins)[0] * torch.nan, psi(spins)[1]), 0.5))
