"""Complex wave functions: log-derivatives, the step of stochastic reconfiguration, and training."""

import numpy as np
import pytest
import torch
from plain import C4, random_spins
from torch import Tensor, nn

from qmcbench.ansatz import MarshallSign, amplitudes, log_derivatives
from qmcbench.ansatz.derivatives import coordinates, count, trainable
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.gates.checks import full_sum_energy
from qmcbench.sr import centre, dense, sample_space
from qmcbench.vmc import Trainer


class Machine(nn.Module):
    """A restricted Boltzmann machine with complex parameters: one complex tensor, log psi."""

    def __init__(self, hidden: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(16, hidden, 2, generator=generator, dtype=torch.float64)
        self.weights = nn.Parameter(0.2 * torch.view_as_complex(weights))
        self.field = nn.Parameter(torch.full((16,), 0.1, dtype=torch.float64))

    def forward(self, spins: Tensor) -> Tensor:
        s = spins.flatten(1).to(torch.complex128)
        return torch.cosh(s @ self.weights).log().sum(1) + s @ (1j * self.field).to(torch.complex128)


class Turning(nn.Module):
    """|psi| nearly the same for all, the phase exp(i sum angle s): only the angles can lower the energy."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.angles = nn.Parameter(0.2 * torch.randn(16, dtype=torch.float64, generator=generator))
        self.field = nn.Parameter(torch.tensor(0.05, dtype=torch.float64))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        s = spins.double()
        return torch.tanh(self.field * s[:, 0, 0]), torch.exp(1j * (s.flatten(1) @ self.angles))


def moved(psi: nn.Module, change: Tensor) -> None:
    """Add ``change`` to the real numbers that are trained."""
    parts = [coordinates(parameter) for parameter in trainable(psi).values()]
    with torch.no_grad():
        for part, own in zip(parts, change.split([part.numel() for part in parts]), strict=True):
            part += own.view_as(part)


@pytest.mark.parametrize(
    "psi", [Machine(), Turning(), MarshallSign(Machine()), C4(Machine()), C4(Turning())],
    ids=["machine", "turning", "sign", "C4-of-machine", "C4-of-turning"],
)  # fmt: skip
def test_log_derivatives_are_those_of_log_psi(psi: nn.Module) -> None:
    """Complex O: real parts of log|psi|, imaginary ones of the angle, against central differences of each number."""
    spins = random_spins(4, 6)
    found = log_derivatives(psi, spins)
    assert found.is_complex()
    assert found.shape == (6, count(psi))
    for number in range(0, count(psi), 7):
        change = torch.zeros(count(psi), dtype=torch.float64)
        change[number] = 1e-5
        values = []
        for sign in (1, -2, 1):
            moved(psi, sign * change)
            values.append(amplitudes(psi, spins))
        (up, up_phase), (down, down_phase), _ = values
        slope = torch.complex(up - down, (up_phase * down_phase.conj()).angle()) / 2e-5
        torch.testing.assert_close(found[:, number], slope.detach(), rtol=1e-7, atol=1e-7)


def test_the_step_is_that_of_imaginary_time() -> None:
    """Delta = (Re O^+ O + shift)^-1 Re O^+ E with centred, weighted samples, by both solvers."""
    generator = torch.Generator().manual_seed(3)
    O = torch.randn(12, 7, dtype=torch.complex128, generator=generator)  # noqa: E741
    E = torch.randn(12, dtype=torch.complex128, generator=generator)
    weights = torch.rand(12, dtype=torch.float64, generator=generator)
    weights /= weights.sum()
    o, e, w = O.numpy(), E.numpy(), weights.numpy()
    o, e = o - w @ o, e - w @ e
    matrix = (o.conj().T @ (w[:, None] * o)).real
    expected = np.linalg.solve(matrix + 1e-3 * np.eye(7), (o.conj().T @ (w * e)).real)
    samples = centre(O.clone(), E, weights)
    assert samples.rows.shape == (24, 7)
    for solver in (dense, sample_space):
        np.testing.assert_allclose(solver(samples, 1e-3).step.numpy(), expected, rtol=1e-9)


def trainer_of(psi: nn.Module, steps: int) -> Trainer:
    """After some steps at J2 = 0."""
    config = parse(
        {
            "model": {"L": 4, "J2": 0.0},
            "sampling": {"chains": 128, "warm_up": 5, "alpha": 2.0, "gap": 16},
            "optimizer": {"steps": steps, "learning_rate": 0.1, "shift": 1e-2, "max_step_norm": 1.0},
            "run": {"threads": 1},
        }
    )
    trainer = Trainer(config, psi)
    trainer.warm_up()
    for _ in range(steps):
        assert trainer.advance().refused is None
    return trainer


def test_phases_are_trained() -> None:
    """With derivatives of log|psi| alone the angles would stay where they are, and the energy near 0.5."""
    psi = Turning()
    before, start = full_sum_energy(psi, 0.0), psi.angles.detach().clone()
    trainer_of(psi, 40)
    assert before > 0.3
    assert full_sum_energy(psi, 0.0) < -0.45  # -0.567: a uniform psi with the Marshall signs
    assert (psi.angles - start).abs().max() > 0.2


def test_a_complex_machine_trains() -> None:
    """Complex parameters, sign rule of the wrapper: the energy falls far below where it starts."""
    psi = MarshallSign(Machine())
    before = full_sum_energy(psi, 0.0)
    trainer_of(psi, 40)
    after = full_sum_energy(psi, 0.0)
    assert before > -0.5
    assert -0.7018 < after < -0.6


def test_ranks_have_equal_shares() -> None:
    """A complex psi on ranks that cannot share the chains equally is refused with both numbers."""

    class Three:
        rank, size, local_rank = 0, 3, 0

    config = parse({"model": {"L": 4, "J2": 0.0}, "sampling": {"chains": 64}})
    with pytest.raises(UserError, match="64 chains on 3 ranks"):
        Trainer(config, Machine(), Three())  # type: ignore[arg-type]
