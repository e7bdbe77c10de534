"""Log-derivatives O_k(S) = d log|psi(S)| / d theta_k of any torch module (paper Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.errors import UserError

# What a derivative of a fixed phase may be by rounding.
ROUNDING = 1e-5


def trainable(psi: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name, in order: those that ask for gradients."""
    return {name: parameter for name, parameter in psi.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def log_derivatives(psi: Ansatz, spins: Tensor, *, chunk: int = 256) -> Tensor:
    """Per-sample log-derivatives, shape (batch, parameters), in the order of :func:`trainable` parameters.

    A module's own ``log_derivatives(spins)`` is used where it has one; any other real-valued module is
    differentiated sample by sample with ``torch.func``.

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
        If ``psi`` has no parameters to differentiate, or cannot be differentiated yet (:func:`check_trainable`).
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

    def log_psi(values: dict[str, Tensor], one: Tensor) -> Tensor:
        log_abs: Tensor = torch.func.functional_call(module, {**values, **buffers}, (one.unsqueeze(0),))[0]
        return log_abs.squeeze(0)

    with torch.enable_grad():
        per_sample = torch.func.vmap(torch.func.grad(log_psi), in_dims=(None, 0))
        parts = [
            torch.cat([g.detach().reshape(len(part), -1) for g in per_sample(parameters, part).values()], dim=1)
            for part in spins.split(chunk)
        ]
    return torch.cat(parts)


def check_trainable(psi: Ansatz, spins: Tensor) -> nn.Module:
    """``psi`` as a module that can be trained, as far as these configurations tell.

    Raises
    ------
    UserError
        If nothing in it is to be trained, a parameter is complex, or its phase depends on the parameters: the
        log-derivatives here are those of log|psi| alone.
    """
    name = type(psi).__name__
    if not isinstance(psi, nn.Module) or not any(True for _ in psi.parameters()):
        raise UserError(
            f"{name} has no parameters, so it can be evaluated but not trained; "
            "wrap it as a torch.nn.Module with parameters."
        )
    parameters = trainable(psi)
    if not parameters:
        raise UserError(
            f"{name} has no parameter that asks for gradients (requires_grad), so there is nothing to train."
        )
    for key, parameter in parameters.items():
        if parameter.is_complex():
            raise UserError(
                f"{name}: the parameter {key} is complex, which cannot be trained yet; "
                "use two real ones, or freeze it with requires_grad_(False)."
            )
    with torch.enable_grad():
        _, phase = amplitudes(psi, spins, check=True)
        # A real phase is +1 or -1, so it is constant wherever it has a derivative.
        if phase.is_complex() and phase.requires_grad:
            _check_fixed_phase(name, parameters, phase)
    return psi


def _check_fixed_phase(name: str, parameters: dict[str, nn.Parameter], phase: Tensor) -> None:
    for part in torch.view_as_real(phase).flatten():
        gradients = torch.autograd.grad(part, list(parameters.values()), retain_graph=True, allow_unused=True)
        for key, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None and not (gradient.abs() < ROUNDING).all():
                raise UserError(
                    f"{name}: the phase depends on the parameter {key}, but only log|psi| is differentiated so far, "
                    "so it would not be trained; freeze it with requires_grad_(False), or use a fixed phase."
                )


def _check_columns(psi: Ansatz, found: Tensor) -> None:
    """A module's own log-derivatives have to be real, one for each of its parameters."""
    name = type(psi).__name__
    if found.is_complex():
        raise UserError(f"{name}.log_derivatives gives complex numbers, but those of log|psi| are real.")
    expected = sum(parameter.numel() for parameter in trainable(psi).values()) if isinstance(psi, nn.Module) else None
    if found.ndim != 2 or found.shape[1] != expected:
        raise UserError(
            f"{name}.log_derivatives gives the shape {tuple(found.shape)}, but {expected} parameters ask for "
            "gradients; it has to be (configurations, parameters)."
        )
