"""Variational Monte Carlo: one optimisation step, and sampling at fixed parameters (paper Fig. 2a)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qmcbench import statistics
from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.ansatz.sign import MarshallSign
from qmcbench.ansatz.symmetry import C4
from qmcbench.config import Config, Sampling, Wavefunction
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import neel
from qmcbench.local_energy import local_energies
from qmcbench.sampler import Chains, Sampler, importance_weights
from qmcbench.sr import SOLVERS, centre
from qmcbench.sr.solvers import FactorisationError

# Steps of local energies that R-hat looks back on.
HISTORY = 16
# How fast alpha follows its target: the change of alpha per step and unit of effective fraction.
STEERING = 0.1


def build_ansatz(config: Wavefunction, seed: int) -> nn.Module:
    """The configured wave function with fresh parameters."""
    psi: nn.Module = CNN(config.network, seed=seed, dtype=getattr(torch, config.dtype))
    if config.symmetry == "C4":
        psi = C4(psi)
    if config.sign == "marshall":
        psi = MarshallSign(psi)
    return psi


@dataclass(frozen=True)
class Step:
    """What one optimisation step did; energies per site in units of J1."""

    step: int
    energy: float
    error: float
    variance: float
    """Variance of the total energy divided by the number of sites."""
    acceptance: float
    r_hat: float
    """Split R-hat of the chains' local energies over the last steps (nan until there are enough)."""
    alpha: float
    effective_fraction: float
    """Kish's effective sample size over the number of samples."""
    restarted: int
    """Abnormal chains: left out of this step's averages and restarted."""
    learning_rate: float
    shift: float
    """Shift that was used, after any retries."""
    retries: int
    step_norm: float
    """Euclidean length of the step before shortening."""
    shortened: bool
    refused: str | None
    """Why the parameters were left as they were, or None."""
    seconds: dict[str, float]
    """Time in sampling, local_energy, derivatives, solve, and the whole step."""


class Trainer:
    """A training run in memory; :mod:`qmcbench.training` adds files, progress and resuming."""

    def __init__(self, config: Config, psi: nn.Module) -> None:
        model, device = config.model, config.run.device
        self.config = config
        self.psi = psi.to(device)
        self.hamiltonian = J1J2(model.L, model.J2, device)
        self.sampler = Sampler(model.L, config.run.seed, device=device)
        self.chains = Chains.neel(model.L, config.sampling.chains, device=device)
        self.gap = config.sampling.gap or self.hamiltonian.sites
        self.alpha = config.sampling.alpha
        self.history = np.empty((config.sampling.chains, 0))
        self.step = 0
        size = sum(p.numel() for p in self.psi.parameters())
        self.last_solution = torch.zeros(size, dtype=torch.float64, device=device)

    def warm_up(self) -> None:
        """Take the chains from the Neel state to the sampled distribution."""
        sites = self.hamiltonian.sites
        for _ in range(self.config.sampling.warm_up):
            self.sampler.advance(self.psi, self.chains, sites, self.alpha)

    def advance(self) -> Step:
        """One optimisation step: sample, average, solve, update."""
        optimizer, sites = self.config.optimizer, self.hamiltonian.sites
        clock = _Clock(self.config.run.device)
        sweep = self.sampler.advance(self.psi, self.chains, self.gap, self.alpha)
        clock.lap("sampling")
        energies = local_energies(self.psi, self.hamiltonian, self.chains.spins, sweep.log_psi, sweep.phase)
        clock.lap("local_energy")
        healthy = is_healthy(energies, self.config.sampling.bound * sites)
        weights = importance_weights(sweep.log_psi.masked_fill(~healthy, -torch.inf), self.alpha)
        energies = _real(energies).masked_fill(~healthy, 0.0)
        effective = statistics.effective_sample_size(weights.numpy(force=True)) / len(weights)
        estimate = statistics.estimate(*_columns(energies / sites, weights))
        used_alpha, learning_rate = self.alpha, optimizer.learning_rate(self.step)
        derivatives = log_derivatives(self.psi, self.chains.spins)
        derivatives[~healthy] = 0.0
        clock.lap("derivatives")
        shift, retries, norm, shortened, refused = self._update(derivatives, energies, weights, learning_rate)
        clock.lap("solve")
        seconds = {**clock.laps, "step": sum(clock.laps.values())}
        restart(self.chains, healthy)
        if self.config.sampling.effective_fraction is not None:
            change = STEERING * (self.config.sampling.effective_fraction - effective)
            self.alpha = min(2.0, max(0.0, self.alpha + change))
        recent = (energies / sites).numpy(force=True)[:, None]
        self.history = np.concatenate([self.history, recent], axis=1)[:, -HISTORY:]
        self.step += 1
        return Step(
            step=self.step,
            energy=estimate.mean,
            error=estimate.error,
            variance=estimate.variance * sites,
            acceptance=sweep.acceptance,
            r_hat=statistics.r_hat(self.history),
            alpha=used_alpha,
            effective_fraction=effective,
            restarted=int((~healthy).sum()),
            learning_rate=learning_rate,
            shift=shift,
            retries=retries,
            step_norm=norm,
            shortened=shortened,
            refused=refused,
            seconds=seconds,
        )

    def _update(
        self, derivatives: Tensor, energies: Tensor, weights: Tensor, learning_rate: float
    ) -> tuple[float, int, float, bool, str | None]:
        """Solve for the step and apply it, unless it is not finite: (shift, retries, norm, shortened, refused)."""
        optimizer = self.config.optimizer
        shift = optimizer.shift(self.step)
        samples = centre(derivatives, energies, weights)
        # SPRING (Goldshlager et al., J. Comput. Phys. 516, 113351 (2024)): what these few samples do not determine is
        # kept from the solution before; (M + shift) Delta = G + shift * carried, written as a correction to it.
        carried = optimizer.momentum * self.last_solution
        explained = (samples.rows @ carried.to(samples.rows.dtype)).double()
        try:
            solution = SOLVERS[optimizer.solver](samples._replace(energies=samples.energies - explained), shift)
        except FactorisationError as error:
            return shift, 0, float("nan"), False, str(error)
        direction = carried + solution.step
        step = learning_rate * direction
        norm, longest = step.norm().item(), optimizer.max_step_norm(self.step)
        if not torch.isfinite(step).all():
            return solution.shift, solution.retries, norm, False, "the step is not finite"
        self.last_solution = direction
        if norm > longest:
            step *= longest / norm
        with torch.no_grad():
            parameters = list(self.psi.parameters())
            for parameter, change in zip(parameters, step.split([p.numel() for p in parameters]), strict=True):
                parameter.sub_(change.view_as(parameter).to(parameter.dtype))
        return solution.shift, solution.retries, norm, norm > longest, None


def is_healthy(energies: Tensor, bound: float) -> Tensor:
    """Which local (total) energies are finite and within +-``bound``, shape as ``energies``, bool."""
    return torch.isfinite(energies) & (energies.abs() <= bound)


def restart(chains: Chains, healthy: Tensor) -> None:
    """Put each abnormal chain where the next healthy one is, or in the Neel state if none is healthy."""
    if healthy.all():
        return
    if not healthy.any():
        chains.spins = neel(chains.spins.shape[-1]).to(chains.spins.device).expand_as(chains.spins).clone()
        return
    index = torch.arange(len(healthy), device=healthy.device)
    good = index[healthy]
    donor = good[torch.searchsorted(good, index) % len(good)]
    chains.spins = chains.spins[donor]


@dataclass(frozen=True)
class Samples:
    """Local energies at fixed parameters."""

    energies: np.ndarray
    """Per site, shape (chains, samples), units of J1; abnormal ones are nan."""
    weights: np.ndarray
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
        """V-score of the wave function (see :func:`qmcbench.statistics.v_score`)."""
        found = self.estimate()
        return statistics.v_score(found.mean * self.sites, found.variance * self.sites**2, self.sites)


@torch.no_grad()
def sample_energies(
    psi: Ansatz,
    hamiltonian: J1J2,
    sampling: Sampling,
    samples: int,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Samples:
    """Unbiased local energies of fresh chains, for any ansatz.

    Parameters
    ----------
    psi
        Wave function; for a complex one the real part of E_loc is kept, whose mean is the energy.
    hamiltonian
        Model.
    sampling
        Chains, warm-up, gap, alpha and bound. Nothing is clipped: a sample outside the bound is counted as abnormal
        and its chain restarted.
    samples
        Samples per chain.
    seed
        Of the chains' random streams; use another one than in training.
    progress
        Called with the number of samples per chain taken so far.
    """
    device = hamiltonian.bonds.device
    sampler = Sampler(hamiltonian.L, seed, device=device)
    chains = Chains.neel(hamiltonian.L, sampling.chains, device=device)
    gap = sampling.gap or hamiltonian.sites
    for _ in range(sampling.warm_up):
        sampler.advance(psi, chains, hamiltonian.sites, sampling.alpha)
    energies, log_weights, acceptance = [], [], 0.0
    for done in range(1, samples + 1):
        sweep = sampler.advance(psi, chains, gap, sampling.alpha)
        found = local_energies(psi, hamiltonian, chains.spins, sweep.log_psi, sweep.phase)
        healthy = is_healthy(found, sampling.bound * hamiltonian.sites)
        restart(chains, healthy)
        energies.append((_real(found) / hamiltonian.sites).masked_fill(~healthy, torch.nan))
        log_weights.append(((2 - sampling.alpha) * sweep.log_psi).masked_fill(~healthy, -torch.inf))
        acceptance += sweep.acceptance / samples
        if progress is not None:
            progress(done)
    exponents = torch.stack(log_weights, dim=1)
    if torch.isneginf(exponents).all():
        raise UserError("Every sampled local energy is abnormal; the wave function vanishes or is not finite.")
    weights = (exponents - exponents.max()).exp()
    return Samples(
        torch.stack(energies, dim=1).numpy(force=True), weights.numpy(force=True), acceptance, hamiltonian.sites
    )


def _real(energies: Tensor) -> Tensor:
    return energies.real if energies.is_complex() else energies


def _columns(values: Tensor, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """One sample per chain, as the statistics expect it: two arrays of shape (chains, 1)."""
    return values.numpy(force=True)[:, None], weights.numpy(force=True)[:, None]


class _Clock:
    def __init__(self, device: str) -> None:
        self.laps: dict[str, float] = {}
        self._cuda = device.startswith("cuda")
        self._last = self._now()

    def lap(self, name: str) -> None:
        now = self._now()
        self.laps[name], self._last = now - self._last, now

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()
