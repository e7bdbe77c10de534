"""Log-derivatives O_k(S) = d log psi(S) / d theta_k of any torch module (paper Eq. 5).

The theta_k are real: a complex parameter is two of them, its real and imaginary part, whether psi is holomorphic in
it or not. Where the phase of psi is complex, so is O; its imaginary part is the derivative of the phase's angle.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.errors import UserError


def trainable(psi: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name, in order: those that ask for gradients."""
    return {name: parameter for name, parameter in psi.named_parameters() if parameter.requires_grad}


def coordinates(parameter: Tensor) -> Tensor:
    """The real numbers that a parameter consists of, as a view: of a complex one the real and imaginary parts."""
    return torch.view_as_real(parameter) if parameter.is_complex() else parameter


def count(psi: nn.Module) -> int:
    """How many real numbers are trained."""
    return sum(coordinates(parameter).numel() for parameter in trainable(psi).values())


@torch.no_grad()
def log_derivatives(psi: Ansatz, spins: Tensor, *, chunk: int = 256) -> Tensor:
    """Per-sample log-derivatives, shape (batch, parameters), in the order of :func:`trainable` parameters.

    A module's own ``log_derivatives(spins)`` is used where it has one; any other module is differentiated sample by
    sample with ``torch.func``. Complex where the phase of ``psi`` is.

    Parameters
    ----------
    psi
        A ``torch.nn.Module`` with ``forward(spins) -> (log|psi|, phase)``.
    spins
        Configurations, shape (batch, L, L), int8.
    chunk
        How many samples to differentiate at once in the generic case.

    Raises
    ------
    UserError
        If ``psi`` has no parameters to differentiate (:func:`check_trainable`).
    """
    own = getattr(psi, "log_derivatives", None)
    if callable(own):
        result = own(spins)
        assert isinstance(result, Tensor)
        _check_columns(psi, result)
        return result
    module = check_trainable(psi, spins[:8])
    parameters = {name: parameter.detach() for name, parameter in trainable(module).items()}
    buffers = dict(module.named_buffers())

    def part(number: int, values: dict[str, Tensor], one: Tensor) -> Tensor:
        found = amplitudes(partial(torch.func.functional_call, module, {**values, **buffers}), one.unsqueeze(0))
        return (found[0] if number == 0 else found[1].angle()).squeeze(0)

    def gradients(number: int) -> Tensor:
        """Of log|psi| (0) or of the phase's angle (1)."""
        per_sample = torch.func.vmap(torch.func.grad(partial(part, number)), in_dims=(None, 0))
        found = [per_sample(parameters, few).values() for few in spins.split(chunk)]
        return torch.cat(
            [torch.cat([coordinates(g.detach()).reshape(len(g), -1) for g in each], 1) for each in found]
        )

    with torch.enable_grad():
        real = gradients(0)
        return torch.complex(real, gradients(1)) if has_complex_phase(module, spins[:1]) else real


@torch.no_grad()
def has_complex_phase(psi: Ansatz, spins: Tensor) -> bool:
    """Whether the phase of ``psi`` is complex, so that its log-derivatives are."""
    return amplitudes(psi, spins)[1].is_complex()


def check_trainable(psi: Ansatz, spins: Tensor) -> nn.Module:
    """``psi`` as a module that can be trained, as far as these configurations tell.

    Raises
    ------
    UserError
        If nothing in it is to be trained, or it gives no amplitudes.
    """
    name = type(psi).__name__
    if not isinstance(psi, nn.Module) or not any(True for _ in psi.parameters()):
        raise UserError(
            f"{name} has no parameters, so it can be evaluated but not trained; "
            "wrap it as a torch.nn.Module with parameters."
        )
    if not trainable(psi):
        raise UserError(
            f"{name} has no parameter that asks for gradients (requires_grad), so there is nothing to train."
        )
    with torch.no_grad():
        amplitudes(psi, spins, check=True)
    return psi


def _check_columns(psi: Ansatz, found: Tensor) -> None:
    """A module's own log-derivatives have to be one for each real number that is trained."""
    name = type(psi).__name__
    expected = count(psi) if isinstance(psi, nn.Module) else None
    if found.ndim != 2 or found.shape[1] != expected:
        raise UserError(
            f"{name}.log_derivatives gives the shape {tuple(found.shape)}, but {expected} parameters ask for "
            "gradients; it has to be (configurations, parameters)."
        )
