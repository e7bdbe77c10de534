"""The sum over rotations: equal to the explicit sum, invariant, and stable where the explicit sum is not."""

import cmath
import math
from collections.abc import Callable

import pytest
import torch
from plain import C4, lively, random_spins
from torch import Tensor

from qmcbench.ansatz.base import Ansatz, log_sum
from qmcbench.ansatz.sign import MarshallSign

# No rotation leaves it as it is.
ASYMMETRIC = torch.tensor([[1, 1, 1, 1], [1, 1, -1, 1], [-1, -1, -1, -1], [-1, 1, -1, -1]], dtype=torch.int8)


def rotated(spins: Tensor, turns: int) -> Tensor:
    """Site (i, j) takes the spin of (j, L - 1 - i), ``turns`` times: a quarter turn, written out."""
    for _ in range(turns):
        L = spins.shape[-1]
        i, j = torch.meshgrid(torch.arange(L), torch.arange(L), indexing="ij")
        spins = spins[..., j, L - 1 - i]
    return spins


def test_rotations_are_the_four_quarter_turns() -> None:
    """The list holds the configuration turned by 0, 90, 180 and 270 degrees; four turns are none."""
    spins = random_spins(6, 3)
    turned = C4(lively("small")).images(spins).unbind(1)
    assert len(turned) == 4
    for turns, one in enumerate(turned):
        assert torch.equal(one, rotated(spins, turns))
    assert torch.equal(rotated(turned[3], 1), spins)
    assert len({bytes(one.numpy().tobytes()) for one in C4(lively("small")).images(ASYMMETRIC[None]).squeeze(0)}) == 4


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("model", ["small", "medium", "large"])
def test_sum_of_four_amplitudes(model: str, L: int) -> None:
    """psi is the sum of the four signed amplitudes in float64, among which both signs occur."""
    base = MarshallSign(lively(model))
    spins = random_spins(L, 20)
    with torch.no_grad():
        log_abs, sign = C4(base)(spins)
        terms = []
        for turns in range(4):
            one_log, one_sign = base(rotated(spins, turns))
            terms.append(one_sign * one_log.exp())
    total = torch.stack(terms).sum(0)
    assert (torch.stack(terms).sign().sum(0).abs() < 4).any()
    torch.testing.assert_close(sign * log_abs.exp(), total, rtol=1e-9, atol=0)


@pytest.mark.parametrize("model", ["small", "large"])
def test_invariance(model: str) -> None:
    """Turning a configuration changes neither log|psi| nor the sign."""
    psi, spins = C4(MarshallSign(lively(model))), random_spins(6, 20)
    with torch.no_grad():
        log_abs, sign = psi(spins)
        for turns in (1, 2, 3):
            turned, turned_sign = psi(rotated(spins, turns))
            torch.testing.assert_close(turned, log_abs, rtol=0, atol=1e-8)
            assert torch.equal(turned_sign, sign)


def amplitudes(tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor], *terms: complex) -> Ansatz:
    """A wave function with the amplitudes ``exp(800) * terms`` for the four turns of ``ASYMMETRIC``, 1 elsewhere."""
    log_psi = torch.zeros(12870, dtype=torch.float64)
    phase = torch.ones(12870, dtype=torch.complex128 if any(isinstance(t, complex) for t in terms) else torch.float64)
    for turns, term in enumerate(terms):
        where = position(rotated(ASYMMETRIC, turns)[None])
        log_psi[where] = 800 + math.log(abs(term)) if term else -math.inf
        phase[where] = term / abs(term) if term else 0
    return tabulated(log_psi, phase)


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param((1.0, 2.0, -0.5, 1.5), id="mixed-signs"),
        pytest.param((-1.0, -2.0, -3.0, -4.0), id="all-negative"),
        pytest.param((1.0, -1.0, 1e-9, 0.0), id="nearly-cancelling"),
        pytest.param((1.0, -1.0, -1e-14, 0.0), id="cancelling-to-rounding"),
        pytest.param((1e-300, 1e-280, 1.0, 1e300), id="every-scale"),
        pytest.param((0.0, 0.0, -3.0, 0.0), id="one-term-left"),
        pytest.param((1j, 1.0 + 0j, -2.0 + 0j, 3 - 1j), id="complex"),
    ],
)
def test_sums_no_exponential_can_hold(
    terms: tuple[complex, ...], tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor]
) -> None:
    """Terms of the order of exp(800) sum without overflow, to the rounding of the largest one."""
    log_abs, phase = C4(amplitudes(tabulated, position, *terms))(ASYMMETRIC[None])
    total = sum(terms)
    rounding = 1e-12 * max(abs(t) for t in terms) / abs(total)
    assert log_abs.item() - 800 == pytest.approx(math.log(abs(total)), rel=0, abs=rounding + 1e-12)
    assert cmath.isclose(phase.item(), total / abs(total), rel_tol=1e-12 + rounding)


@pytest.mark.parametrize("terms", [(0.0, 0.0, 0.0, 0.0), (1.0, -1.0, 1.0, -1.0)], ids=["no-terms", "cancelling"])
def test_vanishing_sums(
    terms: tuple[float, ...], tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor]
) -> None:
    """Where all terms vanish or cancel exactly psi is (-inf, 0), never nan, and the rest of the batch is unharmed."""
    other = random_spins(4, 1)
    log_abs, phase = C4(amplitudes(tabulated, position, *terms))(torch.cat([ASYMMETRIC[None], other]))
    assert log_abs[0].item() == -math.inf
    assert phase[0].item() == 0
    assert log_abs[1].item() == pytest.approx(math.log(4), abs=1e-14)
    assert phase[1].item() == 1


def test_log_sum_along_either_axis() -> None:
    """The sum runs along the axis that is asked for."""
    log_abs = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, -torch.inf]], dtype=torch.float64)
    sign = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 0.0]], dtype=torch.float64)
    for dim in (0, 1):
        total, total_sign = log_sum(log_abs, sign, dim)
        torch.testing.assert_close(total_sign * total.exp(), (sign * log_abs.exp()).sum(dim), rtol=1e-14, atol=0)
