"""Deliberate bugs of local energies and steps, each with the gate that has to see it; and all mutants together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from helpers.mutants_psi import ANSATZ, DERIVATIVES, rows
from helpers.planting import Mutant, caught_by, changed, edited
from torch import Tensor

from qmcbench import hamiltonian, lattice, local_energy, sampler, sr
from qmcbench.sr import metric, scalapack, scalapack_mesh, solvers
from qmcbench.vmc import Trainer


def _no_wrap(L: int) -> Tensor:
    """Next-nearest bonds that end at the edge's own column instead of beyond it, for L > 4."""
    right = lattice.next_nearest_bonds(L).clone()
    if L > 4:
        crossing = (right[:, 0] % L == L - 1) & (right[:, 1] % L == 0)
        right[crossing, 1] += 1
    return right


def _clipped(energies: Tensor, bound: float) -> Tensor:
    return (
        energies.clamp(-bound, bound)
        if not energies.is_complex()
        else torch.complex(energies.real.clamp(-bound, bound), energies.imag)
    )


def _uniform(right: Callable[..., Any], derivatives: Tensor, energies: Tensor, weights: Tensor, *rest: Any) -> Any:
    return right(derivatives, energies, torch.full_like(weights, 1 / len(weights)), *rest)


RATIO = "new_phase * phase[source].conj()"
LOCAL_ENERGY = {
    "J for J / 2 in the exchange": caught_by(
        "hamiltonian/quspin", changed(hamiltonian.J1J2, "off_diagonal", lambda right, *given: 2 * right(*given))
    ),
    "J2 off by 1e-9": caught_by(
        "hamiltonian/magnons", edited(hamiltonian.J1J2.__init__, ("] = self.J2", "] = self.J2 + 1e-9"))
    ),
    "J2 bonds wrapped wrongly for L > 4": caught_by(
        "local_energy/bond-by-bond",
        changed(hamiltonian, "next_nearest_bonds", lambda right, L: _no_wrap(L)),
    ),
    "J1 bonds not wrapped in one direction": caught_by(
        "local_energy/connected",
        changed(hamiltonian, "nearest_bonds", lambda right, L: right(L)[~((right(L) // L) == L - 1).any(1)]),
    ),
    "clipping at 2 a site": caught_by(
        "local_energy/hard-psi",
        changed(
            local_energy,
            "local_energies",
            lambda right, psi, model, *given: _clipped(right(psi, model, *given), 2 * model.sites),
        ),
    ),
    "clipping at 5 deviations": caught_by(
        "local_energy/hard-psi",
        changed(
            local_energy,
            "local_energies",
            lambda right, *given: _clipped(right(*given), 5 * float(right(*given).abs().std())),
        ),
    ),
    "phase dropped for complex psi": caught_by(
        "local_energy/bond-by-bond", edited(local_energy.amplitude_ratios, (RATIO, "new_phase.abs()"))
    ),
    "conjugate dropped for complex psi": caught_by(
        "local_energy/bond-by-bond", edited(local_energy.amplitude_ratios, (RATIO, "new_phase * phase[source]"))
    ),
    "real part taken too early": caught_by(
        "local_energy/hard-psi",
        edited(local_energy.local_energy_parts, ("return torch.cat(parts)", "return torch.cat(parts).real")),
    ),
    "psi's zeros taken for small numbers": caught_by(
        "local_energy/vanishing-psi",
        edited(
            local_energy.amplitude_ratios,
            ("(new_log_psi - log_psi[source])", "(new_log_psi.clamp(min=-9.0) - log_psi[source])"),
            (RATIO, "torch.where(new_phase == 0, 1, new_phase) * phase[source].conj()"),
        ),
    ),
    "NaN beside a zero of psi": caught_by(
        "local_energy/vanishing-psi",
        edited(local_energy.amplitude_ratios, (RATIO, "new_phase / new_phase.abs() * phase[source].conj()")),
    ),
    "last of each buffer left out": caught_by(
        "local_energy/bond-by-bond",
        edited(
            local_energy.amplitude_ratios,
            ("value[: len(row) - start]", "value[: len(row) - start].index_fill(0, torch.tensor(-1), 0)"),
        ),
    ),
    "next-nearest bonds at J2 = 0 too": caught_by(
        "local_energy/connected",
        edited(hamiltonian.J1J2.__init__, ("first if self.J2 == 0 else", "first if False else")),
    ),
    "both spins of an exchange raised": caught_by(
        "local_energy/connected", edited(hamiltonian.exchange, ("-out.gather(1, pair)", "out.gather(1, pair).abs()"))
    ),
    "every second bond twice, others never": caught_by(
        "local_energy/connected",
        changed(hamiltonian, "nearest_bonds", lambda right, L: right(L)[torch.arange(2 * L * L) // 2 * 2]),
    ),
    "pieces of a large batch in another order": caught_by(
        "local_energy/many", edited(local_energy.local_energy_parts, ("torch.cat(parts)", "torch.cat(parts[::-1])"))
    ),
}
"""Bugs of local energies by name."""


STEP = "step = learning_rate * direction"
OPTIMISER = {
    "O not centred": caught_by("optimiser/dense-algebra", edited(solvers.centre, ("if not keep_norm:", "if False:"))),
    "E not centred, O neither": caught_by(
        "optimiser/fixed-point",
        edited(
            solvers.centre,
            ("if not keep_norm:", "if False:"),
            ("root * (energies - comm.sum(weights @ energies))", "root * energies"),
        ),
    ),
    "E not centred": caught_by(
        "optimiser/single-precision",
        edited(solvers.centre, ("root * (energies - comm.sum(weights @ energies))", "root * energies")),
    ),
    "mean of O without weights": caught_by(
        "optimiser/dense-algebra", edited(solvers.centre, ("weights @ columns.double()", "columns.double().mean(0)"))
    ),
    "weights left out of the step": caught_by("optimiser/dense-algebra", changed(sr, "centre", _uniform)),
    "weights for their roots": caught_by(
        "optimiser/dense-algebra", edited(solvers.centre, ("root = weights.sqrt()", "root = weights"))
    ),
    "gradient of factor 2": caught_by(
        "optimiser/imaginary-time", edited(solvers.centre, ("root * (energies -", "2 * root * (energies -"))
    ),
    "uphill": caught_by(
        "optimiser/imaginary-time", edited(solvers.centre, ("root * (energies -", "-root * (energies -"))
    ),
    "shift twice": caught_by(
        "optimiser/dense-algebra", edited(solvers._solve, ("trial - added", "2 * trial - added"))
    ),
    "no shift": caught_by("optimiser/dense-algebra", edited(solvers._solve, ("trial - added", "0 * trial"))),
    "shift relative to the diagonal": caught_by(
        "optimiser/dense-algebra", edited(solvers._solve, ("trial - added", "(trial - added) * diagonal"))
    ),
    "complex step without its imaginary part": caught_by(
        "optimiser/complex-rows",
        edited(solvers.centre, ("(energies.real, energies.imag)", "(energies.real, 0 * energies.imag)")),
    ),
    "O^T for O^dagger": caught_by(
        "optimiser/complex-rows",
        edited(solvers.centre, ("(energies.real, energies.imag)", "(energies.real, -energies.imag)")),
    ),
    "conjugate of O in the whole chain": caught_by("optimiser/imaginary-time", rows(lambda found: found.conj())),
    "phase left out of the whole chain": caught_by(
        "optimiser/imaginary-time", rows(lambda found: found.real if found.is_complex() else found)
    ),
    "strip of the Gram matrix left out": caught_by(
        "optimiser/solvers",
        edited(solvers.add_lower, ("end = first + start + len(strip)", "end = first + start + 1")),
    ),
    "Gram matrix in bfloat16": caught_by(
        "optimiser/solvers",
        lambda patch: patch.setitem(
            sr.SOLVERS, "sample_space_float32", lambda *given: solvers.sample_space(*given, precision=torch.bfloat16)
        ),
    ),
    "ScaLAPACK's shift twice": caught_by(
        "optimiser/scalapack",
        edited(scalapack.Scalapack._factor, ("add_to_diagonal(matrix, shift)", "add_to_diagonal(matrix, 2 * shift)")),
    ),
    "ScaLAPACK's block size ignored": caught_by(
        "optimiser/scalapack", edited(scalapack.Scalapack.__init__, ("options.grid, options.block", "options.grid"))
    ),
    "ScaLAPACK solves with one triangle only": caught_by(
        "optimiser/scalapack", edited(scalapack_mesh.Mesh.solve, ('(b"N", b"T")', '(b"N",)'))
    ),
    "step doubled": caught_by(
        "optimiser/update", edited(Trainer._update, (STEP, "step = 2 * learning_rate * direction"))
    ),
    "learning rate of the step after": caught_by(
        "optimiser/update",
        edited(Trainer.advance, ("learning_rate(self.step,", "learning_rate(self.step + 1,")),
    ),
    "momentum's sign": caught_by(
        "optimiser/update",
        edited(
            Trainer._update, ("optimizer.momentum * self.last_solution", "-optimizer.momentum * self.last_solution")
        ),
    ),
    "momentum's residual left out": caught_by(
        "optimiser/update", edited(Trainer._update, ("samples.energies - explained", "samples.energies"))
    ),
    "momentum's residual of the other sign": caught_by(
        "optimiser/update", edited(Trainer._update, ("samples.energies - explained", "samples.energies + explained"))
    ),
    "momentum from the solution before it is shortened": caught_by(
        "optimiser/update",
        edited(Trainer._update, ("kept = part * direction", "kept = direction")),
    ),
    "mean squares of the solutions, not of their changes": caught_by(
        "optimiser/update", edited(Trainer._update, ("(kept - self.last_solution).square()", "kept.square()"))
    ),
    "metric applied twice": caught_by("optimiser/update", edited(metric.scale, ("pow(-0.25)", "pow(-0.5)"))),
    "no shortening": caught_by("optimiser/update", edited(Trainer._update, ("step *= part", "pass"))),
    "weights of training left out": caught_by(
        "optimiser/update", edited(sampler.importance_weights, ("exponent = ((2 - alpha)", "exponent = (0"))
    ),
    "weights of training with the wrong exponent": caught_by(
        "optimiser/update", edited(sampler.importance_weights, ("exponent = ((2 - alpha)", "exponent = ((1 - alpha)"))
    ),
    "alpha steered the wrong way": caught_by(
        "optimiser/update", edited(Trainer.advance, ("self.alpha + change", "self.alpha - change"))
    ),
    "parameters of the update in another order": caught_by(
        "optimiser/update",
        edited(Trainer._pieces, ("in trainable(self.psi).values()]", "in list(trainable(self.psi).values())[::-1]]")),
    ),
}
"""Bugs of the step and of the update by name."""

MUTANTS: dict[str, Mutant] = {**ANSATZ, **DERIVATIVES, **LOCAL_ENERGY, **OPTIMISER}
