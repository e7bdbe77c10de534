"""Markov-chain Monte Carlo with many independent chains in one batch (paper Sec. 3.2.1, Figs. 2 and 3).

A proposal exchanges a random antiparallel nearest-neighbour pair. The number n(S) of such pairs changes with the
move, so the acceptance carries the Hastings factor n(S)/n(S'). Chains follow |psi|^alpha; samples are reweighted to
|psi|^2 by |psi|^(2 - alpha). alpha = 2 is the paper's sampling; alpha < 2 visits configurations near the nodes of
psi, without which the signs of psi freeze in training at J2 = 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.hamiltonian import antiparallel
from qmcbench.lattice import nearest_bonds, neel
from qmcbench.ranks.comm import Communicator, Serial
from qmcbench.rng import chain_uniforms


@dataclass
class Chains:
    """State of all chains of one process; with the seed it determines everything that follows."""

    spins: Tensor
    """Configurations, shape (chains, L, L), int8."""
    numbers: Tensor
    """Global chain numbers, shape (chains,), int64: each has its own random stream."""
    proposals: int = 0
    """Proposals made by each chain so far: the counter of the random streams."""

    @classmethod
    def neel(cls, L: int, chains: int, *, first: int = 0, device: torch.device | str = "cpu") -> Chains:
        """All chains in the Neel state; ``first`` is the global number of the first one."""
        spins = neel(L).to(device).expand(chains, L, L).clone()
        return cls(spins, torch.arange(first, first + chains, device=device))

    def to(self, device: torch.device | str) -> Chains:
        """The same chains on another device."""
        return Chains(self.spins.to(device), self.numbers.to(device), self.proposals)


@dataclass(frozen=True)
class Sweep:
    """What a run of proposals ended with."""

    log_psi: Tensor
    """log|psi| of the chains' configurations, shape (chains,), float64."""
    phase: Tensor
    """Their phases, shape (chains,)."""
    accepted: int
    proposals: int
    """Of all these chains together."""

    @property
    def acceptance(self) -> float:
        """Accepted fraction of the proposals."""
        return self.accepted / max(1, self.proposals)


class Sampler:
    """Advances chains under |psi|^alpha.

    Parameters
    ----------
    L
        Linear size.
    seed
        Seed of all random streams.
    """

    def __init__(self, L: int, seed: int, *, device: torch.device | str = "cpu") -> None:
        self.seed = seed
        self.pairs = nearest_bonds(L).to(device)
        # The bonds that share just one site with each bond: its exchange turns them parallel or antiparallel.
        shared = self.pairs[:, None, :, None] == self.pairs[None, :, None, :]
        self._touching = (shared.sum((2, 3)) == 1).nonzero()[:, 1].view(len(self.pairs), -1)

    @torch.no_grad()
    def advance(self, psi: Ansatz, chains: Chains, proposals: int, alpha: float) -> Sweep:
        """Make ``proposals`` proposals in every chain, in place.

        Parameters
        ----------
        psi
            Wave function.
        chains
            Changed in place.
        proposals
            How many; the sampling gap of the paper is L * L.
        alpha
            Exponent of the sampled weight |psi|^alpha.
        """
        log_psi, phase = amplitudes(psi, chains.spins, check=True)
        movable = antiparallel(chains.spins, self.pairs)
        count = movable.sum(1)
        shape, spins = chains.spins.shape, chains.spins.flatten(1).clone()
        accepted = torch.zeros((), dtype=torch.int64, device=spins.device)
        uniforms = chain_uniforms(self.seed, chains.numbers, chains.proposals, proposals)
        for choice, threshold in uniforms:
            # The k-th antiparallel pair, k uniform in 0..count-1.
            k = (choice * count).to(torch.int32)
            bond = torch.searchsorted(movable.cumsum(1, dtype=torch.int32), k[:, None], right=True).squeeze(1)
            pair, touching = self.pairs[bond], self._touching[bond]
            before, touched = spins.gather(1, pair), movable.gather(1, touching)
            # Exchanging opposite spins flips both.
            new_log_psi, new_phase = amplitudes(psi, spins.scatter(1, pair, -before).view(shape))
            new_count = count + touching.shape[1] - 2 * touched.sum(1)
            log_ratio = alpha * (new_log_psi - log_psi) + (count / new_count).log()
            # A non-finite current weight (an abnormal chain) compares false for ever: let it move instead.
            accept = (threshold.log() < log_ratio) | (~log_psi.isfinite() & new_log_psi.isfinite())
            spins.scatter_(1, pair, torch.where(accept[:, None], -before, before))
            movable.scatter_(1, touching, touched ^ accept[:, None])
            count = torch.where(accept, new_count, count)
            log_psi = torch.where(accept, new_log_psi, log_psi)
            phase = torch.where(accept, new_phase, phase)
            accepted += accept.sum()
        chains.spins = spins.view(shape)
        chains.proposals += proposals
        return Sweep(log_psi, phase, int(accepted.item()), proposals * len(spins))


def importance_weights(log_psi: Tensor, alpha: float) -> Tensor:
    """Weights |psi|^(2 - alpha) of samples drawn from |psi|^alpha, normalised to sum 1, shape as ``log_psi``."""
    # Written so that a vanishing psi has no weight at alpha = 2 either.
    exponent = ((2 - alpha) * log_psi).masked_fill(log_psi.isneginf(), -torch.inf)
    weights = (exponent - exponent.max()).exp()
    return weights / weights.sum()


def restart(chains: Chains, healthy: Tensor, comm: Communicator | None = None) -> None:
    """Put each abnormal chain where the next healthy one is, or in the Neel state if none is healthy.

    Parameters
    ----------
    chains
        This rank's, changed in place.
    healthy
        Which of all ranks' chains are, shape (all chains,), bool.
    """
    if healthy.all():
        return
    L = chains.spins.shape[-1]
    if not healthy.any():
        chains.spins = neel(L).to(chains.spins.device).expand_as(chains.spins).clone()
        return
    abnormal, good = (~healthy).nonzero().squeeze(1), healthy.nonzero().squeeze(1)
    donors = good[torch.searchsorted(good, abnormal) % len(good)]
    first, count = int(chains.numbers[0]), len(chains.spins)
    # Each donor's configuration from the rank that owns it, zeros from all others.
    own = (donors >= first) & (donors < first + count)
    lattices = chains.spins.new_zeros(len(donors), L, L)
    lattices[own] = chains.spins[donors[own] - first]
    lattices = (comm or Serial()).sum(lattices)
    mine = (abnormal >= first) & (abnormal < first + count)
    chains.spins[abnormal[mine] - first] = lattices[mine]
