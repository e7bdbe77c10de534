"""The full sum of an energy on 4x4, in any precision, and what it makes of amplitudes that are none."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from qmcbench.config import Wavefunction
from qmcbench.errors import UserError
from qmcbench.gates import checks
from qmcbench.vmc import build_ansatz


@pytest.fixture(scope="module")
def psi() -> nn.Module:
    """A random small network with sign and C4, float64."""
    return build_ansatz(Wavefunction(dtype="float64"), seed=3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_full_sum_in_any_precision(
    psi: nn.Module, dtype: torch.dtype, configurations: Tensor, matrix: Callable[[float], csr_matrix]
) -> None:
    """Amplitudes in single or half precision are summed in double: QuSpin's energy of these very numbers."""

    def rounded(spins: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            log_psi, phase = psi(spins)
        return log_psi.to(dtype), phase.to(dtype)

    log_psi, phase = (each.double() for each in rounded(configurations))
    vector = (phase * (log_psi - log_psi.max()).exp()).numpy()
    expected = np.vdot(vector, matrix(0.5) @ vector) / np.vdot(vector, vector) / 16
    assert checks.full_sum_energy(rounded, 0.5) == pytest.approx(expected, rel=0, abs=1e-10)


def test_what_is_no_wave_function() -> None:
    """The sum asks for amplitudes as the engine does: what gives none is refused in a sentence."""
    with pytest.raises(UserError, match=r"function gives one tensor, but a wave function gives two"):
        checks.full_sum_energy(lambda spins: spins.double().sum((1, 2)), 0.5)


@pytest.mark.parametrize("broken", [math.nan, math.inf], ids=["nan", "inf"])
def test_full_sum_sees_what_is_not_finite(psi: nn.Module, broken: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One local energy of nonzero weight that is not finite makes the whole sum so."""
    right = checks.local_energies

    def poison(*arguments: object) -> Tensor:
        energies = right(*arguments)
        energies[5] = broken
        return energies

    monkeypatch.setattr(checks, "local_energies", poison)
    assert not math.isfinite(checks.full_sum_energy(psi, 0.5))


def test_full_sum_leaves_out_where_psi_vanishes(psi: nn.Module) -> None:
    """A configuration without weight has no local energy, which is no mistake; a psi that is nan is one."""

    def vanishing(spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, phase = psi(spins)
        return log_psi.masked_fill(spins[:, 0].sum(1) == 4, -torch.inf), phase

    assert math.isfinite(checks.full_sum_energy(vanishing, 0.5))
    assert math.isnan(checks.full_sum_energy(lambda spins: (psi(spins)[0] * torch.nan, psi(spins)[1]), 0.5))
