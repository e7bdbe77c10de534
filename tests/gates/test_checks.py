"""The shipped checks pass on the engine and fail on deliberately broken ones."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from qmcbench.config import Wavefunction
from qmcbench.gates import checks
from qmcbench.gates.checks import Check
from qmcbench.hamiltonian import J1J2
from qmcbench.sr import SOLVERS, Solution, sample_space
from qmcbench.statistics import Estimate
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


def found(mean: float, error: float) -> Estimate:
    """An estimate with nothing but a mean and an error."""
    return Estimate(mean, error, 1.0, 1.0, 1.0, 100, 100.0, True)


def test_a_value_that_is_not_a_number_does_not_pass() -> None:
    """A nan is not within any bound."""
    assert not Check("", "exact", math.nan, 1.0, "").passed
    assert Check("", "exact", 1.0, 1.0, "").passed


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


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_sampled_distribution(psi: nn.Module, alpha: float) -> None:
    """The engine's chains follow |psi|^alpha; without the Hastings factor they fail far beyond the bound."""
    assert checks.sampled_distribution(psi, alpha, seed=1).passed
    broken = checks.sampled_distribution(psi, alpha, seed=1, hastings=False)
    assert broken.value > 1.4 * broken.bound


def test_statistical_checks() -> None:
    """Bounds are where they say: 3.89 sigma two-sided, 3 sigma below E0, and the tolerance with 2 sigma on top."""
    assert checks.unbiased_energy("", found(-0.5, 0.01), -0.5 + 0.0388).passed
    assert not checks.unbiased_energy("", found(-0.5, 0.01), -0.5 + 0.0390).passed
    assert not checks.unbiased_energy("", found(-0.5, 0.01), -0.5 - 0.0390).passed
    assert checks.variational("", found(-0.529, 0.01), -0.5).passed
    assert not checks.variational("", found(-0.531, 0.01), -0.5).passed
    assert checks.variational("", found(-0.4, 0.01), -0.5).passed
    assert checks.convergence("", -0.4996, 1e-4, -0.5, 1.3e-3).passed
    assert not checks.convergence("", -0.4996, 1e-4, -0.5, 1.1e-3).passed
