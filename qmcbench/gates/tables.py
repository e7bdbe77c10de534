"""Wave functions read from a list of amplitudes: exact, at the price of an index."""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.lattice import all_configurations

SPREAD = 1.0
"""Standard deviation of log|psi| of :func:`hard`."""
FLIPPED = 0.2
"""The share of its signs that are not the Marshall rule's."""


def codes(spins: Tensor) -> Tensor:
    """Each configuration of up to 62 sites as one integer, shape (batch,), int64."""
    up = (spins.flatten(1) > 0).to(torch.int64)
    return up @ (2 ** torch.arange(up.shape[1]))


def table(spins: Tensor, amplitudes: Tensor) -> Ansatz:
    """The wave function with these ``amplitudes`` (states,), real or complex, on these ``spins`` (states, L, L).

    Raises
    ------
    UserError
        When it is called, for a configuration that is not among them.
    """
    known = codes(spins)
    order = known.argsort()
    known, log_psi, phase = known[order], amplitudes.abs().log()[order], torch.sgn(amplitudes)[order]

    def psi(asked: Tensor) -> tuple[Tensor, Tensor]:
        wanted = codes(asked)
        index = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
        if not torch.equal(known[index], wanted):
            raise UserError("A configuration was asked for that is not in S^z = 0.")
        return log_psi[index], phase[index]

    return psi


def hard(seed: int = 0) -> tuple[Ansatz, Tensor, Tensor]:
    """A wave function on 4x4 that hides no bug: far from flat, far from an eigenstate, with signs of no rule.

    Returns
    -------
    psi, spins, amplitudes
        The wave function, all configurations (12 870, 4, 4) and its amplitudes on them, float64.
    """
    generator = torch.Generator().manual_seed(seed)
    spins = all_configurations(4)
    log_psi = SPREAD * torch.randn(len(spins), generator=generator, dtype=torch.float64)
    sign = torch.where(torch.rand(len(spins), generator=generator) < FLIPPED, -1.0, 1.0).double()
    amplitudes = sign * (log_psi - log_psi.max()).exp()
    return table(spins, amplitudes), spins, amplitudes
