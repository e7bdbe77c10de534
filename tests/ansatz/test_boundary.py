"""A user's own module: what is taken as it comes, and what is refused with a sentence that says why."""

import math
from collections.abc import Callable

import pytest
import torch
from plain import C4, random_spins
from torch import Tensor, nn

from qmcbench.ansatz import CNN, MarshallSign, amplitudes
from qmcbench.config import Config, parse
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import local_energies
from qmcbench.sampler import Chains, Sampler
from qmcbench.vmc import Trainer

SOLVERS = ("dense", "sample_space", "sample_space_float32")


class Perceptron(nn.Module):
    """log|psi| by a plain ``nn.Sequential`` in torch's default precision, psi positive."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi = self.layers(spins.to(self.layers[1].weight.dtype)).squeeze(-1)
        return log_psi, torch.ones_like(log_psi)


class Answer(nn.Module):
    """Gives what ``form`` makes of (log|psi|, 1)."""

    def __init__(self, form: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(0.5))
        self.form = form

    def forward(self, spins: Tensor) -> object:
        log_psi = self.bias * spins[:, 0, 0]
        return self.form(log_psi, torch.ones_like(log_psi))


def settings(solver: str = "sample_space") -> Config:
    """Three steps of a small 4x4 run."""
    return parse(
        {
            "model": {"L": 4, "J2": 0.0},
            "sampling": {"chains": 64, "warm_up": 2},
            "optimizer": {"steps": 3, "solver": solver},
            "run": {"threads": 1},
        }
    )


def trained(psi: nn.Module, steps: int = 3, solver: str = "sample_space") -> Trainer:
    """After a few steps."""
    trainer = Trainer(settings(solver), psi)
    trainer.warm_up()
    for _ in range(steps):
        assert trainer.advance().refused is None
    return trainer


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "wrap",
    [lambda psi: psi, MarshallSign, lambda psi: MarshallSign(C4(psi))],
    ids=["alone", "sign", "sign-of-C4"],
)
def test_default_precision_trains(solver: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """A float32 module is trained by every solver, alone and wrapped, and stays in float32."""
    psi = Perceptron()
    before = [parameter.clone() for parameter in psi.parameters()]
    trained(wrap(psi), solver=solver)
    assert {parameter.dtype for parameter in psi.parameters()} == {torch.float32}
    moved = sum(bool((old != new).any()) for old, new in zip(before, psi.parameters(), strict=True))
    assert moved >= 3  # all but the last bias, which is only a norm


def test_default_precision_goes_where_double_precision_goes() -> None:
    """The same module in float32 and float64 gives the same first step, but for rounding."""
    single, double = Perceptron(), Perceptron(torch.float64)
    double.load_state_dict(single.state_dict())
    steps = []
    for psi in (single, double):
        before = torch.nn.utils.parameters_to_vector(psi.parameters()).detach().double()
        trained(MarshallSign(psi), steps=1)
        steps.append(torch.nn.utils.parameters_to_vector(psi.parameters()).detach().double() - before)
    assert steps[1].norm() > 1e-3
    assert (steps[0] - steps[1]).norm() < 1e-2 * steps[1].norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_amplitudes_are_double(dtype: torch.dtype) -> None:
    """Whatever a module computes in, its amplitudes are float64 from the boundary on, complex phases complex128."""
    psi, spins = Answer(lambda log_psi, one: (log_psi.to(dtype), one.to(dtype))), random_spins(4, 5)
    log_psi, phase = amplitudes(psi, spins, check=True)
    assert (log_psi.dtype, phase.dtype) == (torch.float64, torch.float64)
    turning = Answer(lambda log_psi, one: (log_psi.to(dtype), torch.exp(0.1j * one)))
    assert amplitudes(turning, spins, check=True)[1].dtype == torch.complex128


def test_frozen_parameters_stay() -> None:
    """Parameters that ask for no gradient are not trained, bit for bit; the others are."""
    psi = MarshallSign(Perceptron())
    psi.base.layers[1].requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in psi.named_parameters()}
    trainer = trained(psi)
    assert len(trainer.last_solution) == 9
    for name, parameter in psi.named_parameters():
        assert torch.equal(parameter, before[name]) == ("layers.1" in name or name.endswith("3.bias")), name


def test_a_frozen_block_stays() -> None:
    """The same of the paper's network, whose log-derivatives are its own."""
    psi = MarshallSign(C4(CNN("small", seed=2)))
    for name, parameter in psi.named_parameters():
        parameter.requires_grad_("block6" in name)
    before = {name: parameter.clone() for name, parameter in psi.named_parameters()}
    trained(psi, steps=1)
    for name, parameter in psi.named_parameters():
        assert torch.equal(parameter, before[name]) == ("block6" not in name), name


def test_nothing_asks_for_gradients() -> None:
    """A module that is frozen altogether is refused."""
    with pytest.raises(UserError, match="Perceptron has no parameter that asks for gradients"):
        Trainer(settings(), Perceptron().requires_grad_(False))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        pytest.param(lambda log_psi, one: log_psi, "gives one tensor, but a wave function", id="one"),
        pytest.param(lambda log_psi, one: (log_psi, one, one), "gives 3 values", id="three"),
        pytest.param(lambda log_psi, one: {"log": log_psi}, "gives a dict", id="dict"),
        pytest.param(lambda log_psi, one: (log_psi + 0.5j, one), "complex log psi and a phase", id="complex-log"),
        pytest.param(lambda log_psi, one: (log_psi[:, None], one[:, None]), r"shapes \(\d+, 1\) and", id="column"),
        pytest.param(lambda log_psi, one: (log_psi, one[0]), r"shapes \(\d+,\) and \(\) for", id="one-phase"),
        pytest.param(lambda log_psi, one: (log_psi, math.pi * one), "3.14159 as a phase.*torch.exp", id="angle-pi"),
        pytest.param(lambda log_psi, one: (log_psi, 0 * one), "0 as a phase, whose modulus is not 1", id="angle-0"),
        pytest.param(lambda log_psi, one: (log_psi, (2 + 1j) * one), r"2\+1j as a phase", id="complex-2+i"),
    ],
)
def test_what_is_no_wave_function_is_refused(form: Callable[[Tensor, Tensor], object], message: str) -> None:
    """By training, sampling and the boundary itself, with a sentence that says what it should be."""
    psi = Answer(form)
    with pytest.raises(UserError, match=f"Answer gives .*{message}|Answer {message}"):
        amplitudes(psi, random_spins(4, 5), check=True)
    with pytest.raises(UserError, match=message):
        Trainer(settings(), psi)
    with pytest.raises(UserError, match=message):
        Sampler(4, seed=0).advance(psi, Chains.neel(4, 5), 1, 1.0)


def test_a_vanishing_or_abnormal_amplitude_has_any_phase() -> None:
    """(-inf, 0) is psi = 0, and nan is a matter of the chain: neither ends a run."""
    log_psi = torch.tensor([-math.inf, math.nan, 1.0, math.inf])
    phase = torch.tensor([0.0, math.nan, -1.0, 0.0])
    found = amplitudes(lambda spins: (log_psi, phase), random_spins(4, 4), check=True)
    torch.testing.assert_close(found, (log_psi.double(), phase.double()), equal_nan=True)


def test_local_energies_of_a_float32_module_are_double() -> None:
    """They agree with those of the same module in float64 to the rounding of float32, and are float64."""
    single, double, spins = Perceptron(), Perceptron(torch.float64), random_spins(4, 20)
    double.load_state_dict(single.state_dict())
    found = []
    for psi in (single, double):
        with torch.no_grad():
            found.append(local_energies(psi, J1J2(4, 0.5), spins, *amplitudes(psi, spins)))
    assert found[0].dtype == torch.float64
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-4)
