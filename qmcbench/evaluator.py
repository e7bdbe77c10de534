"""Sampling at fixed parameters: local energies of fresh chains and what is estimated from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench import statistics
from qmcbench.ansatz.base import Ansatz
from qmcbench.config import Sampling
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import local_energy_parts
from qmcbench.ranks.comm import Communicator, Serial, share
from qmcbench.sampler import Chains, Sampler, restart

Observe = Callable[[Tensor, Tensor, Tensor, int], dict[str, Tensor]]
"""Called once a round with spins (chains, L, L), log_psi and phase (chains,), and the number of the round, from 0;
gives named tensors (chains, ...)."""


def is_healthy(energies: Tensor, bound: float) -> Tensor:
    """Which local (total) energies are finite and within +-``bound``, shape as ``energies``, bool."""
    return torch.isfinite(energies) & (energies.abs() <= bound)


def real_part(energies: Tensor) -> Tensor:
    """Local energies without the imaginary part, which is zero in the mean."""
    return energies.real if energies.is_complex() else energies


@dataclass(frozen=True)
class Samples:
    """Local energies at fixed parameters."""

    energies: NDArray[np.float64]
    """Per site, shape (chains, samples), units of J1; abnormal ones are nan."""
    weights: NDArray[np.float64]
    """|psi|^(2 - alpha), scaled by one common factor, same shape; 0 for abnormal samples."""
    acceptance: float
    sites: int

    @property
    def abnormal(self) -> int:
        """How many samples were not finite or outside the bound."""
        return int(np.isnan(self.energies).sum())

    def estimate(self) -> statistics.Estimate:
        """Energy per site with its blocking error; the variance is that of the energy per site."""
        return statistics.estimate(np.nan_to_num(self.energies), self.weights)

    def v_score(self) -> float:
        """V-score of the wave function (see :func:`qmcbench.statistics.v_score`); nan at energy 0."""
        found = self.estimate()
        if found.mean == 0.0:
            return math.nan
        return statistics.v_score(found.mean * self.sites, found.variance * self.sites**2, self.sites)

    def window(self, low: float, high: float) -> tuple[float, statistics.Estimate | None]:
        """Share of |psi|^2 outside low < E_loc / N < high, and the (biased) energy of the rest, None if all is."""
        inside = (self.energies > low) & (self.energies < high)
        weights = self.weights * inside
        outside = 1.0 - float(weights.sum() / self.weights.sum())
        return outside, statistics.estimate(np.nan_to_num(self.energies), weights) if weights.any() else None


class Evaluator:
    """Sampling at fixed parameters in memory; `qmcbench.evaluation` adds files, progress and resuming.

    Parameters
    ----------
    psi
        Wave function; for a complex one the real part of E_loc is kept, whose mean is the energy.
    hamiltonian
        Model.
    sampling
        Chains, warm-up, gap, alpha and bound. Nothing is clipped: a sample outside the bound is counted as abnormal
        and its chain restarted.
    seed
        Of the chains' random streams; use another one than in training.
    observe
        Further quantities to keep of every sample.
    comm
        The ranks that share the chains, all of which must make the same calls; rank 0 keeps the samples. One process
        if absent.
    """

    def __init__(
        self,
        psi: Ansatz,
        hamiltonian: J1J2,
        sampling: Sampling,
        seed: int,
        observe: Observe | None = None,
        comm: Communicator | None = None,
    ) -> None:
        device = hamiltonian.bonds.device
        self.comm = comm or Serial()
        self.own = share(sampling.chains, self.comm.rank, self.comm.size)
        """Numbers of this rank's chains."""
        self.psi, self.hamiltonian, self.sampling, self.observe = psi, hamiltonian, sampling, observe
        self.sampler = Sampler(hamiltonian.L, seed, device=device)
        self.chains = Chains.neel(hamiltonian.L, len(self.own), first=self.own.start, device=device)
        self.taken = 0
        """Samples that each chain has given."""
        self.rounds: dict[str, list[Tensor]] = {}
        """On rank 0, tensors of each round so far by name, float64, on the CPU: parts (chains, 2), log_psi (chains,),
        both nan where abnormal, acceptance (), and what ``observe`` gives under ``observed/``."""

    @property
    def sweeps_left(self) -> int:
        """Sweeps of warm-up still to do."""
        return max(0, self.sampling.warm_up - self.chains.proposals // self.hamiltonian.sites)

    @torch.no_grad()
    def advance(self) -> None:
        """A sweep of the warm-up or, after it, one sample of every chain."""
        sites, alpha = self.hamiltonian.sites, self.sampling.alpha
        if self.sweeps_left:
            self.sampler.advance(self.psi, self.chains, sites, alpha)
            return
        sweep = self.sampler.advance(self.psi, self.chains, self.sampling.gap or sites, alpha)
        state = self.chains.spins, sweep.log_psi, sweep.phase
        parts = local_energy_parts(self.psi, self.hamiltonian, *state)
        healthy = is_healthy(parts, self.sampling.bound * sites).all(1)
        found = {
            "parts": (real_part(parts) / sites).masked_fill(~healthy[:, None], torch.nan),
            "log_psi": sweep.log_psi.double().masked_fill(~healthy, torch.nan),
        }
        if self.observe is not None:
            found |= {f"observed/{name}": value for name, value in self.observe(*state, self.taken).items()}
        restart(self.chains, self.comm.gather(healthy), self.comm)
        self.taken += 1
        # Of every chain, whoever computed it.
        whole = {name: self.comm.gather(value.cpu()) for name, value in found.items()}
        accepted, proposals = self.comm.sum(torch.tensor([sweep.accepted, sweep.proposals], dtype=torch.float64))
        whole["acceptance"] = accepted / proposals
        if self.comm.rank == 0:
            for name, value in whole.items():
                self.rounds.setdefault(name, []).append(value)

    def samples(self, J2: float = 1.0, count: int | None = None) -> Samples:
        """The first ``count`` samples of each chain (all by default), on rank 0.

        Parameters
        ----------
        J2
            In units of the J2 of ``hamiltonian``.
        count
            At least 1.

        Raises
        ------
        UserError
            If every one of them is abnormal.
        """
        parts, log_psi, acceptance = (
            torch.stack(self.rounds[name][:count]).numpy() for name in ("parts", "log_psi", "acceptance")
        )
        normal = np.isfinite(log_psi)
        if not normal.any():
            raise UserError("Every sampled local energy is abnormal; the wave function vanishes or is not finite.")
        exponents = np.where(normal, (2 - self.sampling.alpha) * log_psi, -np.inf)
        energies = parts[..., 0] + J2 * parts[..., 1]
        weights = np.exp(exponents - exponents.max())
        return Samples(energies.T, weights.T, float(acceptance.mean()), self.hamiltonian.sites)

    def observed(self, count: int | None = None) -> dict[str, Tensor]:
        """What ``observe`` gave for the samples of :meth:`samples`, by name, shapes (chains, samples, ...)."""
        own = {name: values for name, values in self.rounds.items() if name.startswith("observed/")}
        return {name.removeprefix("observed/"): torch.stack(values[:count], dim=1) for name, values in own.items()}


def sample_energies(
    psi: Ansatz,
    hamiltonian: J1J2,
    sampling: Sampling,
    samples: int,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Samples:
    """Unbiased local energies of fresh chains, for any ansatz; parameters as those of :class:`Evaluator`.

    Parameters
    ----------
    samples
        Samples per chain.
    progress
        Called with the number of samples per chain taken so far.
    """
    evaluator = Evaluator(psi, hamiltonian, sampling, seed)
    while evaluator.taken < samples:
        evaluator.advance()
        if progress is not None and evaluator.taken:
            progress(evaluator.taken)
    return evaluator.samples()
