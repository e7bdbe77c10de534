"""What a wave function has to be: something called with configurations that gives (log|psi|, phase)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.group import GENERATORS

# How far from 1 the modulus of a phase in float16 may be by rounding.
ROUNDING = 1e-2


@runtime_checkable
class Ansatz(Protocol):
    """Any torch module or plain function ``spins -> (log|psi|, phase)``, or ``spins -> log psi``, complex.

    ``spins`` are int8 of value +-1, shape (batch, L, L), +1 for spin up. Both results have shape (batch,):
    log|psi| real (float64 where it was accumulated so), phase = psi/|psi| real (+-1) or complex. A vanishing psi is
    (-inf, 0). One complex tensor is log psi, whose imaginary part is the phase's angle. A ``torch.nn.Module`` can
    also be trained; see :func:`qmcbench.ansatz.log_derivatives`.
    """

    def __call__(self, spins: Tensor, /) -> tuple[Tensor, Tensor]: ...


def amplitudes(psi: Ansatz, spins: Tensor, *, check: bool = False) -> tuple[Tensor, Tensor]:
    """(log|psi|, phase) in float64 (a complex phase in complex128), whatever precision ``psi`` computes in.

    Parameters
    ----------
    psi
        Wave function.
    spins
        Configurations, shape (batch, L, L), int8.
    check
        Look at the values too: every phase has to have modulus 1, unless psi vanishes or is not finite.

    Raises
    ------
    UserError
        If ``psi`` gives anything but two tensors of shape (batch,), the first one real, or one complex tensor, or if
        a phase is none.
    """
    found: object = psi(spins)
    name = type(psi).__name__
    if isinstance(found, Tensor) and found.is_complex():
        found = found.real, torch.polar(torch.ones_like(found.real), found.imag)
    if not (isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(each, Tensor) for each in found)):
        raise UserError(
            f"{name} gives {_form(found)}, but a wave function gives two tensors, log|psi| and the phase psi/|psi|, "
            "or one complex tensor, log psi."
        )
    log_psi, phase = found
    if log_psi.is_complex():
        raise UserError(
            f"{name} gives a complex log psi and a phase beside it; give log psi alone, or its real part and, as the "
            "second value, the phase torch.exp(1j * imaginary part)."
        )
    if not log_psi.shape == phase.shape == spins.shape[:1]:
        raise UserError(
            f"{name} gives values of the shapes {tuple(log_psi.shape)} and {tuple(phase.shape)} for {len(spins)} "
            f"configurations; both have to be ({len(spins)},)."
        )
    if check:
        _check_phase(name, log_psi, phase)
    return log_psi.double(), phase.to(torch.complex128) if phase.is_complex() else phase.double()


def invariance(psi: Ansatz) -> tuple[str, ...]:
    """Names of the generators (:data:`qmcbench.group.GENERATORS`) that leave ``psi`` as it is, as far as it says so.

    It says so in its attribute ``invariance``.

    Raises
    ------
    UserError
        If it names something else.
    """
    stated = getattr(psi, "invariance", ())
    if not isinstance(stated, tuple | list) or any(name not in tuple(GENERATORS) for name in stated):
        raise UserError(
            f"{type(psi).__name__}.invariance = {stated!r}, but it has to be a tuple of the names of what leaves psi "
            f"as it is, of {', '.join(GENERATORS)}."
        )
    return tuple(stated)


def _check_phase(name: str, log_psi: Tensor, phase: Tensor) -> None:
    # Where psi is not finite, the chain is abnormal: it is restarted, and the run goes on.
    wrong = log_psi.isfinite() & ((phase.abs() - 1).abs() > ROUNDING)
    if wrong.any():
        raise UserError(
            f"{name} gives {phase[wrong][0].item():g} as a phase, whose modulus is not 1; the second value is "
            "psi/|psi|: +1 or -1 or, for an angle a, the complex number torch.exp(1j * a)."
        )


def _form(found: object) -> str:
    if isinstance(found, tuple | list):
        return f"{len(found)} values"
    return "one tensor" if isinstance(found, Tensor) else f"a {type(found).__name__}"


def log_sum(log_psi: Tensor, phase: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """(log|psi|, phase) of the sum of signed amplitudes along ``dim``, without overflow."""
    top = log_psi.amax(dim, keepdim=True)
    # Where every term vanishes, the largest exponent is -inf and may not be subtracted.
    top = torch.where(torch.isneginf(top), torch.zeros_like(top), top)
    total = (phase * (log_psi - top).exp()).sum(dim)
    size = total.abs()
    return size.log() + top.squeeze(dim), torch.sgn(total)


def log_product(values: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, sign) of the product along the last axis, accumulated in float64.

    The length must be a multiple of four: four factors are multiplied before each logarithm. With float32 factors
    that can neither overflow nor underflow float64 (4 x 45 decades), and it saves three of four logarithms.
    """
    values = values.double()
    for _ in range(2):
        # Products of halves: several times faster than a reduction over a short axis.
        half = values.shape[-1] // 2
        values = values[..., :half] * values[..., half:]
    return values.abs().log().sum(-1), torch.sign(values).prod(-1)
