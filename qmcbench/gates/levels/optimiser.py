"""Level *optimiser*: the step of stochastic reconfiguration against dense algebra, and against the full sum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from qmcbench.config import SCALAPACK, Config, parse
from qmcbench.config import Scalapack as Options
from qmcbench.errors import UserError
from qmcbench.gates import plain
from qmcbench.gates.check import Check
from qmcbench.gates.levels.ansatz import exactly, not_run
from qmcbench.gates.levels.derivatives import Point, degrees, differentiated
from qmcbench.gates.levels.hamiltonian import magnon
from qmcbench.gates.models import Boltzmann, Jastrow, Tilted, full_sum, orbits_of_4x4, quspin
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.targets.target import Step, Target
from qmcbench.lattice import random_configurations
from qmcbench.ranks.comm import Serial
from qmcbench.sr import SOLVERS, Centred, make_solver
from qmcbench.vmc import Trainer

CAUSE = (
    "log-derivatives that are not centred; weights left out; the shift added twice, or not; a factor 2 or a sign in "
    "the gradient; for a complex psi the conjugate of O, or the real part taken too early"
)
REFUSALS = (UserError, NotImplementedError, TypeError, RuntimeError)


@dataclass(frozen=True)
class System:
    """Weighted samples."""

    rows: Tensor
    energies: Tensor
    weights: Tensor

    def solved(self, step: Step, shift: float) -> Tensor:
        """What the target makes of it; it gets copies."""
        return step(self.rows.clone(), self.energies.clone(), self.weights.clone(), shift)

    def off(self, found: Tensor, shift: float) -> float:
        """Distance of a step from that of dense algebra, relative to the latter."""
        expected = torch.from_numpy(
            plain.sr_step(self.rows.numpy(), self.energies.numpy(), self.weights.numpy(), shift)
        )
        if found.shape != expected.shape or found.is_complex():
            return float("inf")
        return float(((found.double() - expected).norm() / expected.norm()).nan_to_num(torch.inf))


def system(samples: int, parameters: int, seed: int, dtype: torch.dtype = torch.float64, mean: float = -8) -> System:
    """Random samples: rows far from centred, energies far from zero, weights over many decades."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.complex128 if dtype.is_complex else torch.float64
    rows = torch.randn(samples, parameters, generator=generator, dtype=kind) + 1
    energies = rows[:, 0] + torch.randn(samples, generator=generator, dtype=kind) + mean
    weights = (1.5 * torch.randn(samples, generator=generator, dtype=torch.float64)).exp()
    return System(rows.to(dtype), energies, weights / weights.sum())


@gate("exact", needs=("step",), cause=CAUSE)
def dense_algebra(target: Target, setting: Setting) -> Iterator[Check]:
    """The step solves (M + shift) Delta = G, with M and G recomputed from the same weighted samples in NumPy."""
    assert target.step is not None
    for samples, parameters in ((40, 90), (160, 30)):
        made = system(samples, parameters, setting.seed)
        for shift in (1e-3, 0.3):
            yield exactly(
                f"step, {samples} samples, {parameters} parameters, shift {shift:g}",
                made.off(made.solved(target.step, shift), shift),
                1e-9,
                "Distance from the solution of dense algebra, relative to it.",
            )


@gate("exact", needs=("step",), cause="energies that are not centred; sums in float32")
def single_precision(target: Target, setting: Setting) -> Check:
    """Log-derivatives in float32 and total energies of a large lattice give the step that float64 gives."""
    assert target.step is not None
    made = system(64, 200, setting.seed, torch.float32, mean=-300)
    return exactly(
        "step from float32 rows, energies of -300",
        made.off(made.solved(target.step, 1e-2), 1e-2),
        1e-3,
        "Distance from the solution of dense algebra in float64 from the same numbers, relative to it.",
    )


@gate("exact", needs=("step",), cause=CAUSE)
def complex_rows(target: Target, setting: Setting) -> Check:
    """The step from complex O and E: M = Re <O^dagger O>, G = Re <O^dagger E>, both centred; or they are refused."""
    assert target.step is not None
    made, name = system(160, 30, setting.seed, torch.complex128), "step from complex rows"
    statement = "Distance from the solution of dense algebra for real parameters, relative to it."
    try:
        found = made.solved(target.step, 1e-2)
    except REFUSALS as refusal:
        return not_run(name, statement, f"the target refuses them: {' '.join(str(refusal).split())[:200]}")
    return exactly(name, made.off(found, 1e-2), 1e-9, statement)


@gate(
    "exact",
    needs=("step", "log_derivatives", "local_energies"),
    cause="energies or log-derivatives that are not centred",
)
def fixed_point(target: Target, setting: Setting) -> Check:
    """At an exact eigenstate of 6x6 the step is zero, however the samples are weighted."""
    assert target.step is not None
    assert target.log_derivatives is not None
    assert target.local_energies is not None
    wave, energy = magnon(6, 0.5, 2)
    psi = Tilted(wave, 6, setting.seed)
    spins = random_configurations(6, 400, setting.seed)
    spins = spins[wave(spins)[0].topk(100).indices]
    rows = target.log_derivatives(psi, spins).double()
    energies = target.local_energies(psi, 6, 0.5, spins)
    energies = energies.real if energies.is_complex() else energies
    step = target.step(rows, energies, system(100, 1, setting.seed).weights, 1e-4)
    return exactly(
        "fixed point at a one-magnon state, 6x6, J2 = 0.5",
        float(step.abs().amax()),
        1e-8,
        f"Largest change of a parameter by the step, where every local energy is {energy:.4f}.",
    )


@gate("exact", needs=("step", "log_derivatives", "local_energies"), cause=CAUSE)
def imaginary_time(target: Target, setting: Setting) -> Iterator[Check]:
    """On all of 4x4 the step is that of imaginary time, and the energy falls along it as 2 G says; QuSpin's H."""
    for kind in ("real", "complex"):
        name, shift = f"imaginary time, {kind} psi, 4x4, J2 = {target.J2:g}", 1e-2
        statement = "Distance of the step from that of psi's vector and its finite differences, relative to it."
        psi = Jastrow(setting.seed, turning=kind == "complex")
        try:
            found = _full_sum_step(target, psi, shift)
        except UserError as refusal:
            if kind == "complex":
                yield not_run(name, statement, f"the target refuses it: {refusal}")
                continue
            raise
        exact = full_sum(psi, target.J2)
        expected = np.linalg.solve(exact.matrix + shift * np.eye(len(exact.gradient)), exact.gradient)
        off = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        yield exactly(name, float(np.nan_to_num(off, nan=np.inf)), 1e-6, statement)
        fall = -(psi.energy_along(found, 1e-4, target.J2) - psi.energy_along(found, -1e-4, target.J2)) / 2e-4
        predicted = 2 * found @ (exact.matrix + shift * np.eye(len(found))) @ found
        yield exactly(
            f"fall of the energy along the step, {kind} psi, 4x4, J2 = {target.J2:g}",
            abs(float(fall / predicted - 1)),
            1e-5,
            "Relative difference of -dE/d(rate), by differences of full sums, from 2 Delta (M + shift) Delta.",
        )


def _full_sum_step(target: Target, psi: Jastrow, shift: float) -> plain.Array:
    """The target's step from all configurations of 4x4, one of each orbit of the symmetries of this psi."""
    assert target.step is not None
    assert target.log_derivatives is not None
    assert target.local_energies is not None
    spins, size = orbits_of_4x4()
    rows = target.log_derivatives(psi, spins)
    energies = target.local_energies(psi, 4, target.J2, spins)
    if not rows.is_complex() and energies.is_complex():
        energies = energies.real
    with torch.no_grad():
        weights = size * (2 * psi(spins)[0]).exp()
    found: plain.Array = target.step(rows, energies, weights / weights.sum(), shift).double().numpy()
    return found


@gate(
    "exact",
    needs=("engine",),
    cause="a factor, the shift, or the triangle that is left out of a symmetric matrix; half precision",
)
def solvers(target: Target, setting: Setting) -> Iterator[Check]:
    """Each serial solver of the engine gives the step of dense algebra, with the shift that it is asked for."""
    made = system(300, 1500, setting.seed)
    made = replace(made, rows=made.rows * torch.logspace(0, -3, 1500, dtype=torch.float64))
    for name, solver in SOLVERS.items():
        solution = solver(_centred(made), 1e-3, Serial())
        off = made.off(solution.step, 1e-3) if solution.shift == 1e-3 else None
        yield exactly(
            f"solver {name}",
            off,
            1e-3 if name.endswith("float32") else 1e-9,
            "Distance of the step from that of dense algebra, relative to it; 300 samples, 1500 parameters.",
        )


@gate(
    "exact", needs=("engine",), cause="the shift added twice; a block size that is not handed on; a triangle left out"
)
def scalapack(target: Target, setting: Setting) -> Iterator[Check]:
    """Each distributed solver, on one rank, gives the step of dense algebra, in blocks of the size asked for."""
    made = system(40, 90, setting.seed)
    for name in SCALAPACK:
        for block, redistribution, product in ((7, "pdgemr2d", "pdsyrk"), (64, "alltoall", "pdgemm")):
            label = f"solver {name}, {redistribution}, {product}, blocks of {block}"
            statement = "Distance of the step from that of dense algebra, relative to it; infinite for another block."
            try:
                solver = make_solver(name, Options(None, block, product, redistribution), Serial())
            except UserError as error:
                yield not_run(label, statement, str(error))
                continue
            solution = solver(_centred(made), 1e-3)
            mesh = solver.mesh  # type: ignore[attr-defined]
            blocks = {int(each) for each in mesh.empty(50, 50).descriptor[4:6]}
            mesh.close()
            right = solution.shift == 1e-3 and blocks == {block}
            yield exactly(label, made.off(solution.step, 1e-3) if right else None, 1e-9, statement)


def _centred(made: System) -> Centred:
    """The system as the engine's solvers take it, centred here."""
    root = made.weights.sqrt()
    rows = root[:, None] * (made.rows - made.weights @ made.rows)
    return Centred(rows, root * (made.energies - made.weights @ made.energies))


UPDATES: Mapping[str, Mapping[str, object]] = {
    "momentum 0.9": {"learning_rate": [[0, 0.2], [2, 0.05]], "max_step_norm": 100.0, "momentum": 0.9},
    "complex psi, momentum 0.9": {"learning_rate": 0.1, "max_step_norm": 100.0, "momentum": 0.9},
    "march": {"learning_rate": 0.1, "max_step_norm": 100.0, "momentum": 0.9, "metric": "march", "moments": 0.9},
    "shortened, with momentum": {"learning_rate": 0.3, "max_step_norm": 0.01, "momentum": 0.5},
}
STEPS = 3


@gate(
    "exact",
    needs=("engine",),
    cause="the step's length or sign; momentum's sign, or the residual it leaves; weights or alpha",
)
def update(target: Target, setting: Setting) -> Iterator[Check]:
    """Training moves the parameters by -rate (M + shift)^-1 (G + shift momentum Delta'), recomputed from its samples.

    Samples follow |psi|^alpha and weigh |psi|^(2 - alpha); a step that is too long is shortened; Delta' is the
    solution before, as it was shortened.
    """
    for label, optimizer in UPDATES.items():
        dtype = torch.complex128 if label.startswith("complex") else torch.float64
        if dtype.is_complex and setting.quick:
            continue
        trainer = Trainer(_training(target.J2, optimizer, setting.seed), Boltzmann(setting.seed, dtype=dtype))
        trainer.warm_up()
        memory, worst, steered = Memory(), 0.0, True
        for number in range(STEPS):
            expected = Expected.of(trainer, dtype)
            trainer.advance()
            fresh = expected.solution(trainer, number, memory)
            change = torch.cat([each.flatten() for each in degrees(trainer.psi)]) - expected.before
            moved = expected.move(trainer, number, fresh)
            memory = memory.after((moved / trainer.config.optimizer.learning_rate(number)).numpy(), trainer)
            off = (change + moved).norm() / moved.norm()
            worst = max(worst, float(off.nan_to_num(torch.inf)))
            steered = steered and (trainer.alpha > expected.alpha) == (expected.effective(trainer) < 0.5)
        yield exactly(
            f"updates of training, {label}, 4x4, J2 = {target.J2:g}",
            worst,
            1e-7,
            f"Largest distance of a change of the parameters from the recomputed one, relative to it; {STEPS} steps.",
        )
        yield exactly(
            f"alpha of training, {label}",
            float(not steered),
            0.0,
            "Whether alpha moved away from where half of the samples are effective.",
        )


def _training(J2: float, optimizer: Mapping[str, object], seed: int) -> Config:
    """48 chains on 4x4, at an alpha that is steered."""
    return parse(
        {
            "model": {"L": 4, "J2": J2},
            "wavefunction": {"dtype": "float64", "sign": "none", "symmetry": "none"},
            "sampling": {"chains": 48, "alpha": 0.7, "effective_fraction": 0.5, "warm_up": 4},
            "optimizer": {"shift": 1e-2, "solver": "sample_space", **optimizer},
            "run": {"seed": seed, "threads": 1},
        }
    )


@dataclass(frozen=True)
class Memory:
    """What a step keeps of those before it: the last solution, and the mean squares of their changes."""

    solution: plain.Array | float = 0.0
    squares: plain.Array | float = 1.0

    def after(self, solution: plain.Array, trainer: Trainer) -> Memory:
        """With a further solution (arXiv:2507.02644)."""
        squares = trainer.config.optimizer.moments * self.squares + (solution - self.solution) ** 2
        return Memory(solution, squares if trainer.config.optimizer.metric == "march" else 1.0)


@dataclass(frozen=True)
class Expected:
    """What is to be known before a step."""

    before: Tensor
    psi: Boltzmann
    alpha: float

    @classmethod
    def of(cls, trainer: Trainer, dtype: torch.dtype) -> Expected:
        """The trainer's parameters and alpha, copied."""
        psi = Boltzmann(0, dtype=dtype)
        psi.load_state_dict(trainer.psi.state_dict())
        return cls(torch.cat([each.flatten() for each in degrees(psi)]), psi, trainer.alpha)

    def weights(self, trainer: Trainer) -> Tensor:
        """|psi|^(2 - alpha) of the samples of the step that has just been made."""
        with torch.no_grad():
            return torch.softmax((2 - self.alpha) * self.psi(trainer.chains.spins)[0], 0)

    def effective(self, trainer: Trainer) -> float:
        """Kish's effective share of these samples."""
        return float(1 / self.weights(trainer).square().sum() / len(trainer.chains.spins))

    def solution(self, trainer: Trainer, number: int, memory: Memory) -> plain.Array:
        """Delta, from autograd's log-derivatives and QuSpin's H: (M + shift D) Delta = G + shift D Delta'."""
        spins, optimizer = trainer.chains.spins, trainer.config.optimizer
        rows = differentiated(Point("", self.psi, spins, True))
        assert rows is not None
        configurations, matrix = quspin(trainer.hamiltonian.J2)
        with torch.no_grad():
            log_psi, sign = self.psi(torch.from_numpy(configurations))
        vector = (sign * log_psi.exp()).numpy()
        place = {one.tobytes(): number for number, one in enumerate(configurations)}
        own = [place[one.tobytes()] for one in spins.numpy()]
        energies = (matrix @ vector)[own] / vector[own]
        weights, root = self.weights(trainer).numpy(), memory.squares**0.25
        carried = root * optimizer.momentum * memory.solution * np.ones(rows.shape[1])
        return plain.sr_step(rows.numpy() / root, energies, weights, optimizer.shift(number), carried) / root

    def move(self, trainer: Trainer, number: int, solution: plain.Array) -> Tensor:
        """What is to be subtracted from the parameters."""
        optimizer = trainer.config.optimizer
        step = optimizer.learning_rate(number) * torch.from_numpy(solution)
        return step * min(1.0, optimizer.max_step_norm(number) / float(step.norm()))
