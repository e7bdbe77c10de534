"""Log-derivatives O_k(S) = d log|psi(S)| / d theta_k of any torch module (paper Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError


@torch.no_grad()
def log_derivatives(psi: Ansatz, spins: Tensor, *, chunk: int = 256) -> Tensor:
    """Per-sample log-derivatives, shape (batch, parameters), in the order of ``psi.parameters()``.

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
        If ``psi`` has no parameters to differentiate.
    """
    own = getattr(psi, "log_derivatives", None)
    if callable(own):
        result = own(spins)
        assert isinstance(result, Tensor)
        return result
    if not isinstance(psi, nn.Module) or not any(True for _ in psi.parameters()):
        raise UserError(
            f"{type(psi).__name__} has no parameters, so it can be evaluated but not trained; "
            "wrap it as a torch.nn.Module with parameters."
        )
    module = psi
    parameters = {name: p.detach() for name, p in module.named_parameters()}
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
