"""Deliberate bugs of wave functions and their derivatives, each with the gate that has to see it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from helpers.planting import Plant, caught_by, changed, edited, together
from torch import Tensor, nn

from qmcbench.ansatz import derivatives, sign, symmetry
from qmcbench.ansatz.fast import fused, layerwise
from qmcbench.gates.targets import builtin


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


ANSATZ = {
    "NaN on some configurations": caught_by("ansatz/finite", psi(_missing)),
    "underflow of psi before the logarithm": caught_by(
        "ansatz/finite", psi(lambda base, spins: ((base(spins)[0] - 800).exp().log(), base(spins)[1]))
    ),
    "dropout left on": caught_by(
        "ansatz/deterministic",
        psi(lambda base, spins: (base(spins)[0] + 1e-9 * torch.rand(len(spins)), base(spins)[1])),
    ),
    "input changed in place": caught_by("ansatz/deterministic", psi(_in_place)),
    "normalised over the batch": caught_by("ansatz/batches", psi(_over_the_batch)),
    "an angle for a phase": caught_by(
        "ansatz/phase", psi(lambda base, spins: (base(spins)[0], base(spins)[1].arccos()))
    ),
    "psi for psi / |psi|": caught_by(
        "ansatz/phase", psi(lambda base, spins: (base(spins)[0], base(spins)[1] * base(spins)[0].exp()))
    ),
    "claimed symmetry that is not there": caught_by(
        "ansatz/symmetries",
        psi(lambda base, spins: (base(spins)[0] + 1e-3 * spins[:, 0, 0], base(spins)[1])),
    ),
    "odd under a symmetry that is claimed": caught_by(
        "ansatz/symmetries",
        psi(
            lambda base, spins: (
                base(spins)[0],
                base(spins)[1] * spins[:, 0].sum(1).sign().where(spins[:, 0].sum(1) != 0, 1),
            )
        ),
    ),
    "float16 outputs": caught_by(
        "ansatz/papers-network",
        together(
            changed(fused.FusedNetwork, "amplitudes", lambda right, *given: None),
            changed(
                fused.FusedNetwork,
                "outputs",
                lambda right, self, spins: right(self, spins).half().to(self.head.weight),
            ),
        ),
    ),
    "float16 outputs of any psi": caught_by(
        "ansatz/precision", psi(lambda base, spins: (base(spins)[0].half(), base(spins)[1]))
    ),
    "float16 Fourier weights": caught_by(
        "ansatz/precision",
        changed(
            fused,
            "fourier_network",
            lambda right, layers, *rest: right(
                [each._replace(weight=each.weight.half().to(each.weight)) for each in layers], *rest
            ),
        ),
    ),
    "float16 parameters": caught_by(
        "ansatz/precision",
        changed(builtin, "build_ansatz", lambda right, *given, **named: right(*given, **named).to(torch.bfloat16)),
    ),
    "a C4 sum without signs": caught_by(
        "ansatz/papers-network",
        changed(symmetry, "log_sum", lambda right, log_psi, phase, dim: right(log_psi, phase.abs(), dim)),
    ),
    "three rotations of four": caught_by(
        "ansatz/papers-network",
        edited(
            symmetry.Projected._terms,
            (".characters[:, None]", ".characters[:, None].clone().index_fill_(0, torch.tensor(-1), 0)"),
        ),
    ),
    "Marshall's sign of rows": caught_by(
        "ansatz/papers-network",
        changed(sign, "sublattice_a", lambda right, L: (torch.arange(L) % 2 == 0)[:, None].expand(L, L)),
    ),
    "another column first where gradients are asked for": caught_by(
        "ansatz/precision",
        edited(fused.FusedNetwork.outputs, ("x = spins.to(weight.dtype)", "x = spins.roll(1, 2).to(weight.dtype)")),
    ),
}
"""Bugs of wave functions by name."""

DERIVATIVES = {
    "every derivative is NaN": caught_by("derivatives/finite-differences", rows(lambda found: found * torch.nan)),
    "one derivative is NaN": caught_by("derivatives/finite-differences", rows(_poisoned)),
    "derivatives of the other sign": caught_by("derivatives/finite-differences", rows(lambda found: -found)),
    "derivatives of |psi|^2": caught_by("derivatives/finite-differences", rows(lambda found: 2 * found)),
    "derivatives off by 1e-6": caught_by("derivatives/finite-differences", rows(lambda found: found * (1 + 1e-6))),
    "samples in another order": caught_by("derivatives/finite-differences", rows(lambda found: found.flip(0))),
    "parameters in another order": caught_by("derivatives/finite-differences", rows(lambda found: found.roll(1, 1))),
    "one parameter too many": caught_by(
        "derivatives/finite-differences", rows(lambda found: torch.cat([found, found[:, :1]], 1))
    ),
    "the phase left out": caught_by(
        "derivatives/finite-differences", rows(lambda found: found.real if found.is_complex() else found)
    ),
    "the conjugate of the phase": caught_by("derivatives/finite-differences", rows(lambda found: found.conj())),
    "complex parameters taken for analytic": caught_by(
        "derivatives/finite-differences",
        edited(derivatives.log_derivatives, ("if has_complex_phase(module, spins[:1])", "if False")),
    ),
    "derivatives of images without their signs": caught_by(
        "derivatives/finite-differences",
        edited(symmetry.Projected.log_derivatives, ("shares = phase * total_phase.conj()", "shares = phase.abs()")),
    ),
    "images differentiated before their spins are flipped": caught_by(
        "derivatives/finite-differences",
        edited(
            symmetry.Projected.images, ("turned * table.flips[:, None, None] if table.flipping else turned", "turned")
        ),
    ),
    "derivative of one pooled column": caught_by(
        "derivatives/finite-differences",
        together(
            changed(fused, "fourier_derivatives", lambda right, *given: None),
            edited(layerwise.log_derivatives, ("even >= odd", "even >= even")),
        ),
    ),
    "later chunks differentiate the first samples": caught_by(
        "derivatives/batches",
        edited(
            derivatives.log_derivatives, ("per_sample(parameters, few)", "per_sample(parameters, spins[: len(few)])")
        ),
    ),
    "derivatives centred over the batch": caught_by(
        "derivatives/autograd", rows(lambda found: found - found.mean(0))
    ),
}
"""Bugs of log-derivatives by name."""
