"""Infidelity against a known state by Monte Carlo, for wave functions that are in no symmetry sector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.errors import UserError
from qmcbench.exact import GroundState
from qmcbench.progress import Bar
from qmcbench.sampler import Chains, Sampler
from qmcbench.training import load_ansatz

CHAINS = 4096
"""Each gives one sample."""
SWEEPS = 40
"""Of L * L proposals, before it."""


@dataclass(frozen=True, kw_only=True)
class Infidelity:
    """``1 - |<psi|ground>|^2`` of normalised states, with its standard error."""

    L: int
    J2: float
    infidelity: float
    sigma: float
    samples: int
    """Of each of the two states."""


@torch.no_grad()
def infidelity(psi: Ansatz, ground: Ansatz, of_psi: Tensor, of_ground: Tensor) -> tuple[float, float]:
    """Infidelity and its standard error from independent samples of both states.

    The fidelity is the mean of ground/psi under |psi|^2 times that of psi/ground under |ground|^2: norms cancel, both
    means have finite variances, and there is no error at all where the states are equal.

    Parameters
    ----------
    of_psi, of_ground
        Configurations of |psi|^2 and |ground|^2, (samples, L, L), int8.

    Raises
    ------
    UserError
        If psi vanishes on all samples of the ground state, so that nothing sets its scale.
    """
    here, there = _log_ratio(ground, psi, of_psi), _log_ratio(psi, ground, of_ground)
    finite = there.real[there.real.isfinite()]
    if not len(finite):
        raise UserError(
            "The wave function vanishes on all samples of the ground state: its infidelity is beyond sampling."
        )
    scale = finite.median()
    one, other = (here + scale).exp(), (there - scale).exp()
    mean, other_mean = one.mean(), other.mean()
    error = sum(
        float((values * factor).real.var()) / len(values) for values, factor in ((one, other_mean), (other, mean))
    )
    return 1 - float((mean * other_mean).real), math.sqrt(error)


def _log_ratio(upper: Ansatz, lower: Ansatz, spins: Tensor) -> Tensor:
    """Complex logarithm of ``upper`` / ``lower``, whose real part is -inf where ``upper`` vanishes."""
    (log_up, phase_up), (log_low, phase_low) = amplitudes(upper, spins), amplitudes(lower, spins)
    angle = torch.angle(phase_up * phase_low.conj()).double()
    return torch.complex(log_up - log_low, torch.where(log_up.isneginf(), 0.0, angle))


def infidelity_of(
    path: Path,
    *,
    L: int | None = None,
    J2: float | None = None,
    symmetry: str | None = None,
    quiet: bool = False,
) -> Infidelity:
    """Infidelity of the checkpoint at ``path`` against the exact ground state of 4x4 or 6x6.

    Raises
    ------
    UserError
        If the checkpoint cannot be read, and as :func:`infidelity`.
    ReferenceLayerError
        As :class:`~qmcbench.exact.GroundState`.
    """
    psi, config = load_ansatz(path, symmetry)
    size, coupling = L or config.model.L, config.model.J2 if J2 is None else J2
    with Bar("infidelity", 1, quiet=quiet) as bar:
        ground = GroundState(size, coupling, progress=bar.stage)
        of_psi, of_ground = _drawn(psi, size, 0), _drawn(ground, size, 1)
    value, sigma = infidelity(psi, ground, of_psi, of_ground)
    return Infidelity(L=size, J2=coupling, infidelity=value, sigma=sigma, samples=CHAINS)


def _drawn(psi: Ansatz, L: int, seed: int) -> Tensor:
    """Independent configurations of |psi|^2: the last of each chain."""
    chains = Chains.neel(L, CHAINS)
    Sampler(L, seed).advance(psi, chains, SWEEPS * L * L, 2.0)
    return chains.spins
