"""The product over sites in the logarithm."""

import math

import pytest
import torch

from qmcbench.ansatz.base import Ansatz, log_product


@pytest.mark.parametrize(
    "factors",
    [
        pytest.param([2.0, -3.0, 5.0, 0.5], id="one-negative"),
        pytest.param([-2.0, -3.0, 5.0, 0.5, 1.0, 1.0, 1.0, 7.0], id="two-negative"),
        pytest.param([3e38] * 16, id="largest-float32"),
        pytest.param([1e-38] * 16, id="smallest-normal-float32"),
        pytest.param([1e-45] * 16, id="smallest-float32"),
        pytest.param([-1e38, 1e-38] * 648, id="36x36"),
    ],
)
def test_product_of_float32_factors(factors: list[float]) -> None:
    """log|product| and its sign in float64 for any float32 factors, as the exact sum of logarithms gives them."""
    values = torch.tensor([factors], dtype=torch.float32)
    log_abs, sign = log_product(values)
    assert log_abs.dtype == sign.dtype == torch.float64
    exact = values[0].tolist()
    assert log_abs.item() == pytest.approx(math.fsum(math.log(abs(v)) for v in exact), rel=1e-13, abs=1e-9)
    assert sign.item() == math.prod(math.copysign(1, v) for v in exact)


def test_product_with_a_zero() -> None:
    """One vanishing factor makes psi (-inf, 0), wherever it stands."""
    for place in range(8):
        values = torch.full((1, 8), -2.0)
        values[0, place] = 0
        log_abs, sign = log_product(values)
        assert (log_abs.item(), sign.item()) == (-math.inf, 0)


def test_plain_functions_are_wave_functions() -> None:
    """Anything that can be called counts; what cannot does not."""
    assert isinstance(lambda spins: (spins, spins), Ansatz)
    assert not isinstance(3, Ansatz)
