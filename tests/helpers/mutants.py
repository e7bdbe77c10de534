"""Deliberate bugs of wave functions, derivatives, local energies and steps, each with the gate that has to see it.

A plant changes the engine with monkeypatch. Where a bug is within a function, the function's own code is replaced by
what its source gives with that piece changed, so every module that has imported it is changed with it; a piece that is
no longer there is an error, so no mutant can become void unnoticed.
"""

from __future__ import annotations

import __future__
import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmcbench import hamiltonian, lattice, local_energy, sampler, sr
from qmcbench.ansatz import cnn, derivatives, sign, symmetry
from qmcbench.ansatz.fast import fused, layerwise
from qmcbench.gates.targets import builtin
from qmcbench.sr import scalapack, scalapack_mesh, solvers
from qmcbench.vmc import Trainer

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A bug, and the gate that has to fail on it."""

    gate: str
    plant: Plant


def edited(function: Callable[..., Any], *changes: tuple[str, str]) -> Plant:
    """A function with pieces of its source replaced, each of which must occur exactly once."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        inner = inspect.unwrap(function)
        source = textwrap.dedent(inspect.getsource(inner))
        for old, new in changes:
            if source.count(old) != 1:
                raise ValueError(f"{inner.__qualname__} holds {old!r} {source.count(old)} times")
            source = source.replace(old, new)
        tree = ast.parse(source)
        assert isinstance(tree.body[0], ast.FunctionDef)
        tree.body[0].decorator_list = []
        space = dict(inner.__globals__)
        exec(compile(tree, "<mutant>", "exec", __future__.annotations.compiler_flag), space)
        patch.setattr(inner, "__code__", space[inner.__name__].__code__)

    return plant


def changed(owner: object, name: str, change: Callable[..., Any]) -> Plant:
    """An attribute replaced by ``change(what it was, *arguments)``."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = getattr(owner, name)
        patch.setattr(owner, name, lambda *given, **named: change(right, *given, **named))

    return plant


class Wrapped(nn.Module):
    """A module's amplitudes, changed."""

    def __init__(self, base: nn.Module, change: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.base, self.change = base, change
        self.invariance = base.invariance

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        return self.change(self.base, spins)

    def log_derivatives(self, spins: Tensor) -> Tensor:
        return derivatives.log_derivatives(self.base, spins)


def psi(change: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]) -> Plant:
    """The target's wave function with its amplitudes changed."""
    return changed(builtin, "build_ansatz", lambda right, *given, **named: Wrapped(right(*given, **named), change))


def rows(change: Callable[[Tensor], Tensor]) -> Plant:
    """The target's log-derivatives, changed."""
    return changed(derivatives, "log_derivatives", lambda right, *given, **named: change(right(*given, **named)))


def _poisoned(found: Tensor) -> Tensor:
    found = found.clone()
    found[3, 7] = torch.nan
    return found


def _in_place(base: nn.Module, spins: Tensor) -> tuple[Tensor, Tensor]:
    found = base(spins)
    spins.neg_()
    return found


def _over_the_batch(base: nn.Module, spins: Tensor) -> tuple[Tensor, Tensor]:
    log_psi, phase = base(spins)
    return log_psi - log_psi.mean(), phase


def _missing(base: nn.Module, spins: Tensor) -> tuple[Tensor, Tensor]:
    log_psi, phase = base(spins)
    return log_psi.masked_fill(spins.flatten(1)[:, :4].sum(1) == 4, torch.nan), phase


def _no_wrap(L: int) -> Tensor:
    """Next-nearest bonds that end at the edge's own column instead of beyond it, for L > 4."""
    right = lattice.next_nearest_bonds(L).clone()
    if L > 4:
        crossing = (right[:, 0] % L == L - 1) & (right[:, 1] % L == 0)
        right[crossing, 1] += 1
    return right


ANSATZ = {
    "NaN on some configurations": Mutant("ansatz/finite", psi(_missing)),
    "underflow of psi before the logarithm": Mutant(
        "ansatz/finite", psi(lambda base, spins: ((base(spins)[0] - 800).exp().log(), base(spins)[1]))
    ),
    "dropout left on": Mutant(
        "ansatz/deterministic", psi(lambda base, spins: (base(spins)[0] + 1e-9 * torch.rand(len(spins)), base(spins)[1]))
    ),
    "input changed in place": Mutant("ansatz/deterministic", psi(_in_place)),
    "normalised over the batch": Mutant("ansatz/batches", psi(_over_the_batch)),
    "an angle for a phase": Mutant("ansatz/phase", psi(lambda base, spins: (base(spins)[0], base(spins)[1].arccos()))),
    "psi for psi / |psi|": Mutant(
        "ansatz/phase", psi(lambda base, spins: (base(spins)[0], base(spins)[1] * base(spins)[0].exp()))
    ),
    "claimed symmetry that is not there": Mutant(
        "ansatz/symmetries",
        psi(lambda base, spins: (base(spins)[0] + 1e-3 * spins[:, 0, 0], base(spins)[1])),
    ),
    "odd under a symmetry that is claimed": Mutant(
        "ansatz/symmetries",
        psi(lambda base, spins: (base(spins)[0], base(spins)[1] * spins[:, 0].sum(1).sign().where(spins[:, 0].sum(1) != 0, 1))),
    ),
    "float16 outputs": Mutant(
        "ansatz/papers-network",
        changed(fused.FusedNetwork, "outputs", lambda right, self, spins: right(self, spins).half().to(self.head.weight)),
    ),
    "float16 outputs of any psi": Mutant(
        "ansatz/precision", psi(lambda base, spins: (base(spins)[0].half(), base(spins)[1]))
    ),
    "float16 Fourier weights": Mutant(
        "ansatz/precision",
        changed(
            fused,
            "fourier_network",
            lambda right, layers, *rest: right(
                [each._replace(weight=each.weight.half().to(each.weight)) for each in layers], *rest
            ),
        ),
    ),
    "float16 parameters": Mutant(
        "ansatz/precision",
        changed(builtin, "build_ansatz", lambda right, *given, **named: right(*given, **named).to(torch.bfloat16)),
    ),
    "a C4 sum without signs": Mutant(
        "ansatz/papers-network",
        changed(symmetry, "log_sum", lambda right, log_psi, phase, dim: right(log_psi, phase.abs(), dim)),
    ),
    "three rotations of four": Mutant("ansatz/papers-network", edited(symmetry.Projected._terms, ("flatten(0, 1)", "flatten(0, 1).clone().index_copy_(0, torch.arange(3, images.shape[0] * count, count), images[:, 0])"))),
    "Marshall's sign of rows": Mutant(
        "ansatz/papers-network",
        changed(sign, "sublattice_a", lambda right, L: (torch.arange(L) % 2 == 0)[:, None].expand(L, L)),
    ),
    "another column first where gradients are asked for": Mutant(
        "ansatz/precision",
        edited(fused.FusedNetwork.outputs, ("x = spins.to(weight.dtype)", "x = spins.roll(1, 2).to(weight.dtype)")),
    ),
}  # fmt: skip
"""Bugs of wave functions by name."""

DERIVATIVES = {
    "every derivative is NaN": Mutant("derivatives/finite-differences", rows(lambda found: found * torch.nan)),
    "one derivative is NaN": Mutant("derivatives/finite-differences", rows(_poisoned)),
    "derivatives of the other sign": Mutant("derivatives/finite-differences", rows(lambda found: -found)),
    "derivatives of |psi|^2": Mutant("derivatives/finite-differences", rows(lambda found: 2 * found)),
    "derivatives off by 1e-6": Mutant("derivatives/finite-differences", rows(lambda found: found * (1 + 1e-6))),
    "samples in another order": Mutant("derivatives/finite-differences", rows(lambda found: found.flip(0))),
    "parameters in another order": Mutant("derivatives/finite-differences", rows(lambda found: found.roll(1, 1))),
    "one parameter too many": Mutant(
        "derivatives/finite-differences", rows(lambda found: torch.cat([found, found[:, :1]], 1))
    ),
    "the phase left out": Mutant(
        "derivatives/finite-differences", rows(lambda found: found.real if found.is_complex() else found)
    ),
    "the conjugate of the phase": Mutant("derivatives/finite-differences", rows(lambda found: found.conj())),
    "complex parameters taken for analytic": Mutant(
        "derivatives/finite-differences",
        edited(derivatives.log_derivatives, ("if has_complex_phase(module, spins[:1])", "if False")),
    ),
    "derivatives of images without their signs": Mutant(
        "derivatives/finite-differences",
        edited(symmetry.Projected.log_derivatives, ("shares = phase * total_phase.conj()", "shares = phase.abs()")),
    ),
    "derivative of one pooled column": Mutant(
        "derivatives/finite-differences", edited(layerwise.log_derivatives, ("even >= odd", "even >= even"))
    ),
    "later chunks differentiate the first samples": Mutant(
        "derivatives/batches",
        edited(
            derivatives.log_derivatives, ("per_sample(parameters, few)", "per_sample(parameters, spins[: len(few)])")
        ),
    ),
    "derivatives centred over the batch": Mutant("derivatives/autograd", rows(lambda found: found - found.mean(0))),
}
"""Bugs of log-derivatives by name."""

RATIO = "new_phase * phase[source].conj()"
LOCAL_ENERGY = {
    "exchange of the other sign": Mutant(
        "hamiltonian/quspin", changed(hamiltonian.J1J2, "off_diagonal", lambda right, *given: -right(*given))
    ),
    "J for J / 2 in the exchange": Mutant(
        "hamiltonian/quspin", changed(hamiltonian.J1J2, "off_diagonal", lambda right, *given: 2 * right(*given))
    ),
    "Pauli matrices for spins": Mutant(
        "hamiltonian/magnons", changed(local_energy, "local_energies", lambda right, *given: 4 * right(*given))
    ),
    "J2 off by 1e-9": Mutant(
        "hamiltonian/magnons", edited(hamiltonian.J1J2.__init__, ("] = self.J2", "] = self.J2 + 1e-9"))
    ),
    "J2 bonds wrapped wrongly for L > 4": Mutant(
        "local_energy/bond-by-bond",
        changed(hamiltonian, "next_nearest_bonds", lambda right, L: _no_wrap(L)),
    ),
    "J1 bonds not wrapped in one direction": Mutant(
        "local_energy/connected",
        changed(hamiltonian, "nearest_bonds", lambda right, L: right(L)[~((right(L) // L) == L - 1).any(1)]),
    ),
    "clipping at 2 a site": Mutant(
        "local_energy/hard-psi",
        changed(local_energy, "local_energies", lambda right, psi, model, *given: _clipped(right(psi, model, *given), 2 * model.sites)),
    ),
    "clipping at 5 deviations": Mutant(
        "local_energy/hard-psi",
        changed(local_energy, "local_energies", lambda right, *given: _clipped(right(*given), 5 * float(right(*given).abs().std()))),
    ),
    "phase dropped for complex psi": Mutant(
        "local_energy/bond-by-bond", edited(local_energy.amplitude_ratios, (RATIO, "new_phase.abs()"))
    ),
    "conjugate dropped for complex psi": Mutant(
        "local_energy/bond-by-bond", edited(local_energy.amplitude_ratios, (RATIO, "new_phase * phase[source]"))
    ),
    "real part taken too early": Mutant(
        "local_energy/hard-psi", edited(local_energy.local_energy_parts, ("return torch.cat(parts)", "return torch.cat(parts).real"))
    ),
    "psi's zeros taken for small numbers": Mutant(
        "local_energy/vanishing-psi",
        edited(local_energy.amplitude_ratios, ("(new_log_psi - log_psi[source])", "(new_log_psi.clamp(min=-9.0) - log_psi[source])"),
               (RATIO, "torch.where(new_phase == 0, 1, new_phase) * phase[source].conj()")),
    ),
    "NaN beside a zero of psi": Mutant(
        "local_energy/vanishing-psi",
        edited(local_energy.amplitude_ratios, (RATIO, "new_phase / new_phase.abs() * phase[source].conj()")),
    ),
    "last of each buffer left out": Mutant(
        "local_energy/bond-by-bond",
        edited(local_energy.amplitude_ratios, ("value[: len(row) - start]", "value[: len(row) - start].clone().index_fill_(0, torch.tensor(-1 if len(row) < start + buffer else buffer - 1) % min(buffer, len(row) - start), 0)")),
    ),
    "next-nearest bonds at J2 = 0 too": Mutant(
        "local_energy/connected", edited(hamiltonian.J1J2.__init__, ("first if self.J2 == 0 else", "first if False else"))
    ),
    "both spins of an exchange raised": Mutant(
        "local_energy/connected", edited(hamiltonian.exchange, ("-out.gather(1, pair)", "out.gather(1, pair).abs()"))
    ),
    "every second bond twice, others never": Mutant(
        "local_energy/connected",
        changed(hamiltonian, "nearest_bonds", lambda right, L: right(L)[torch.arange(2 * L * L) // 2 * 2]),
    ),
    "pieces of a large batch in another order": Mutant(
        "local_energy/many", edited(local_energy.local_energy_parts, ("torch.cat(parts)", "torch.cat(parts[::-1])"))
    ),
}  # fmt: skip
"""Bugs of local energies by name."""


def _clipped(energies: Tensor, bound: float) -> Tensor:
    return (
        energies.clamp(-bound, bound)
        if not energies.is_complex()
        else torch.complex(energies.real.clamp(-bound, bound), energies.imag)
    )


def _uniform(right: Callable[..., Any], derivatives: Tensor, energies: Tensor, weights: Tensor, *rest: Any) -> Any:
    return right(derivatives, energies, torch.full_like(weights, 1 / len(weights)), *rest)


STEP = "step = learning_rate * direction"
OPTIMISER = {
    "O not centred": Mutant(
        "optimiser/dense-algebra", edited(solvers.centre, ("columns.sub_(mean.to(columns.dtype))", "columns"))
    ),
    "E not centred, O neither": Mutant(
        "optimiser/fixed-point",
        edited(solvers.centre, ("columns.sub_(mean.to(columns.dtype))", "columns"), ("root * (energies - comm.sum(weights @ energies))", "root * energies")),
    ),
    "E not centred": Mutant(
        "optimiser/single-precision",
        edited(solvers.centre, ("root * (energies - comm.sum(weights @ energies))", "root * energies")),
    ),
    "mean of O without weights": Mutant(
        "optimiser/dense-algebra", edited(solvers.centre, ("weights @ columns.double()", "columns.double().mean(0)"))
    ),
    "weights left out of the step": Mutant("optimiser/dense-algebra", changed(sr, "centre", _uniform)),
    "weights for their roots": Mutant(
        "optimiser/dense-algebra", edited(solvers.centre, ("root = weights.sqrt()", "root = weights"))
    ),
    "gradient of factor 2": Mutant(
        "optimiser/imaginary-time", edited(solvers.centre, ("root * (energies -", "2 * root * (energies -"))
    ),
    "uphill": Mutant("optimiser/imaginary-time", edited(solvers.centre, ("root * (energies -", "-root * (energies -"))),
    "shift twice": Mutant("optimiser/dense-algebra", edited(solvers._solve, ("trial - added", "2 * trial - added"))),
    "no shift": Mutant("optimiser/dense-algebra", edited(solvers._solve, ("trial - added", "0 * trial"))),
    "shift relative to the diagonal": Mutant(
        "optimiser/dense-algebra", edited(solvers._solve, ("trial - added", "(trial - added) * diagonal"))
    ),
    "complex step without its imaginary part": Mutant(
        "optimiser/complex-rows",
        edited(solvers.centre, ("(energies.real, energies.imag)", "(energies.real, 0 * energies.imag)")),
    ),
    "O^T for O^dagger": Mutant(
        "optimiser/complex-rows",
        edited(solvers.centre, ("(energies.real, energies.imag)", "(energies.real, -energies.imag)")),
    ),
    "conjugate of O in the whole chain": Mutant("optimiser/imaginary-time", rows(lambda found: found.conj())),
    "phase left out of the whole chain": Mutant(
        "optimiser/imaginary-time", rows(lambda found: found.real if found.is_complex() else found)
    ),
    "strip of the Gram matrix left out": Mutant(
        "optimiser/solvers", edited(solvers.add_lower, ("end = first + start + len(strip)", "end = first + start + 1"))
    ),
    "Gram matrix in bfloat16": Mutant(
        "optimiser/solvers",
        lambda patch: patch.setitem(
            sr.SOLVERS, "sample_space_float32", lambda *given: solvers.sample_space(*given, precision=torch.bfloat16)
        ),
    ),
    "ScaLAPACK's shift twice": Mutant(
        "optimiser/scalapack", edited(scalapack.Scalapack._factor, ("add_to_diagonal(matrix, shift)", "add_to_diagonal(matrix, 2 * shift)"))
    ),
    "ScaLAPACK's block size ignored": Mutant(
        "optimiser/scalapack", edited(scalapack.Scalapack.__init__, ("options.grid, options.block", "options.grid"))
    ),
    "ScaLAPACK solves with one triangle only": Mutant(
        "optimiser/scalapack", edited(scalapack_mesh.Mesh.solve, ('(b"N", b"T")', '(b"N",)'))
    ),
    "step doubled": Mutant("optimiser/update", edited(Trainer._update, (STEP, "step = 2 * learning_rate * direction"))),
    "learning rate of the step after": Mutant(
        "optimiser/update", edited(Trainer.advance, ("optimizer.learning_rate(self.step)", "optimizer.learning_rate(self.step + 1)"))
    ),
    "momentum's sign": Mutant(
        "optimiser/update", edited(Trainer._update, ("optimizer.momentum * self.last_solution", "-optimizer.momentum * self.last_solution"))
    ),
    "momentum's residual left out": Mutant(
        "optimiser/update", edited(Trainer._update, ("samples.energies - explained", "samples.energies"))
    ),
    "momentum's residual of the other sign": Mutant(
        "optimiser/update", edited(Trainer._update, ("samples.energies - explained", "samples.energies + explained"))
    ),
    "momentum from the shortened step": Mutant(
        "optimiser/update", edited(Trainer._update, ("self.last_solution = direction", "self.last_solution = step * min(1, longest / norm)"))
    ),
    "no shortening": Mutant("optimiser/update", edited(Trainer._update, ("if norm > longest:", "if norm < 0:"))),
    "weights of training left out": Mutant(
        "optimiser/update", edited(sampler.importance_weights, ("exponent = ((2 - alpha)", "exponent = (0"))
    ),
    "weights of training with the wrong exponent": Mutant(
        "optimiser/update", edited(sampler.importance_weights, ("exponent = ((2 - alpha)", "exponent = ((1 - alpha)"))
    ),
    "alpha steered the wrong way": Mutant(
        "optimiser/update", edited(Trainer.advance, ("self.alpha + change", "self.alpha - change"))
    ),
    "parameters of the update in another order": Mutant(
        "optimiser/update", edited(Trainer._update, ("in trainable(self.psi).values()]", "in list(trainable(self.psi).values())[::-1]]"))
    ),
}  # fmt: skip
"""Bugs of the step and of the update by name."""

MUTANTS: dict[str, Mutant] = {**ANSATZ, **DERIVATIVES, **LOCAL_ENERGY, **OPTIMISER}
