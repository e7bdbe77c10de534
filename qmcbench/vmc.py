"""Variational Monte Carlo: one optimisation step (paper Fig. 2a)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from qmcbench import statistics
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import (
    check_trainable,
    coordinates,
    count,
    has_complex_phase,
    log_derivatives,
    trainable,
)
from qmcbench.ansatz.sign import MarshallSign
from qmcbench.ansatz.symmetry import Projected
from qmcbench.config import Config, Wavefunction
from qmcbench.errors import UserError
from qmcbench.evaluator import is_healthy, real_part
from qmcbench.hamiltonian import J1J2, antiparallel
from qmcbench.lattice import random_configurations
from qmcbench.leaps import GOOD, HALVINGS, KEPT, RECENT, Good, Past, leapt
from qmcbench.local_energy import local_energies
from qmcbench.mixing import mixing
from qmcbench.ranks.comm import Communicator, Serial, share
from qmcbench.sampler import Chains, Sampler, importance_weights, restart
from qmcbench.sr import Centred, FactorisationError, centre, make_solver
from qmcbench.sr.metric import scale

# Steps of local energies that R-hat looks back on.
HISTORY = 16
# How fast alpha follows its target: the change of alpha per step and unit of effective fraction.
STEERING = 0.1


def build_ansatz(config: Wavefunction, seed: int, kernels: str = "compiled") -> nn.Module:
    """The configured wave function with fresh parameters; ``kernels`` as in :class:`~qmcbench.config.Run`."""
    psi: nn.Module = CNN(config.network, seed=seed, dtype=getattr(torch, config.dtype), kernels=kernels)
    if config.symmetry != "none":
        psi = Projected(psi, config.symmetry)
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
    """How freely the chains move (:mod:`qmcbench.mixing`): above 1.1 many stay where they are; nan until known."""
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
    """Rank 0's time in sampling, local_energy, derivatives, gather (waiting for other ranks), solve, and the step."""
    halvings: int = 0
    """How often the update before was halved because the energy had leapt (:class:`Past`)."""
    leapt_to: float | None = None
    """The highest energy that was left again, or None."""
    returned_to: int | None = None
    """Where no part of the update was small enough: the steps done in the older state that the run fell back to."""
    starts: tuple[float | None, ...] = ()
    """With the first step: the energies by which the best of several fresh networks was chosen
    (:mod:`qmcbench.starts`)."""


class Trainer:
    """A training run in memory; :mod:`qmcbench.training` adds files, progress and resuming.

    Every rank of ``comm`` holds the same parameters and its share of the chains (paper Fig. 2a). What concerns all
    chains is computed by every rank from the gathered local energies, so it cannot differ between ranks, nor, but for
    rounding, between one rank and many.
    """

    def __init__(self, config: Config, psi: nn.Module, comm: Communicator | None = None) -> None:
        model, device = config.model, config.run.device
        self.config = config
        self.comm = comm or Serial()
        self.psi = psi.to(device)
        self.hamiltonian = J1J2(model.L, model.J2, device)
        self.sampler = Sampler(model.L, config.run.seed, device=device)
        self.own = share(config.sampling.chains, self.comm.rank, self.comm.size)
        self.chains = Chains.neel(model.L, len(self.own), first=self.own.start, device=device)
        self.gap = config.sampling.gap or self.hamiltonian.sites
        self.alpha = config.sampling.alpha
        self.history = np.empty((config.sampling.chains, 0))
        self.pairs = np.empty((config.sampling.chains, 0), dtype=np.int16)
        self.step = 0
        self.elapsed = 0.0
        """Share of the run's time that is used, where that is limited; the same on every rank."""
        self.solver = make_solver(config.optimizer.solver, config.scalapack, self.comm)
        some = random_configurations(model.L, 8).to(device)
        check_trainable(self.psi, some)
        if has_complex_phase(self.psi, some) and config.sampling.chains % self.comm.size:
            raise UserError(
                f"{config.sampling.chains} chains on {self.comm.size} ranks: with a complex wave function every rank "
                "needs equally many; use a multiple of the ranks."
            )
        self.last_solution = torch.zeros(count(self.psi), dtype=torch.float64, device=device)
        # MARCH's mean squares begin at 1: its first steps are those of the plain metric.
        self.moments = torch.ones_like(self.last_solution) if config.optimizer.metric == "march" else None
        self.recent = np.empty(0)
        self.past: Past | None = None
        self.good: list[Good] = []
        self.cautious = 0
        self.starts: tuple[float | None, ...] = ()

    @property
    def done(self) -> float:
        """Share of the run that is made, by its steps or by its time, whichever is more."""
        return max(self.step / max(1, self.config.optimizer.steps), self.elapsed)

    def warm_up(self) -> None:
        """Take the chains from the Neel state to the sampled distribution."""
        sampling, sites = self.config.sampling, self.hamiltonian.sites
        lattices = sampling.warm_up_lattices
        chains = self.chains
        if lattices is not None:
            chains = Chains.neel(self.hamiltonian.L, lattices, device=self.config.run.device)
        if lattices is None or self.comm.rank == 0:
            for _ in range(sampling.warm_up):
                self.sampler.advance(self.psi, chains, sites, self.alpha)
        if lattices is not None:
            self.chains.spins = self.comm.broadcast(chains.spins)[self.chains.numbers % lattices]
            self.chains.proposals = sampling.warm_up * sites

    def advance(self) -> Step:
        """One optimisation step: sample, average, solve, update."""
        optimizer, sites = self.config.optimizer, self.hamiltonian.sites
        mine = slice(self.own.start, self.own.stop)
        clock = _Clock(self.config.run.device)
        batch, left = self._settle(clock)
        if batch is None:
            raise UserError(
                f"Step {self.step + 1}: every local energy or log-derivative is abnormal (not finite, or beyond "
                f"sampling.bound = {self.config.sampling.bound:g} per site), so the wave function has broken down; "
                "go on from the last checkpoint with a smaller learning rate or a larger shift."
            )
        estimate = batch.estimate
        self.recent = np.append(self.recent, estimate.mean)[-RECENT:]
        effective = statistics.effective_sample_size(batch.weights.numpy(force=True)) / len(batch.weights)
        if optimizer.leap is not None and self.step % GOOD == 0 and not (left.halvings or self.cautious):
            self.good = [*self.good, Good(self.step, self._parameters(), self.chains.spins)][-KEPT:]
        used_alpha, rate = self.alpha, optimizer.learning_rate(self.step, self.done)
        learning_rate = 0.5 * rate if self.cautious else rate
        self.cautious = max(0, self.cautious - 1)
        own = batch.derivatives, batch.energies[mine], batch.weights[mine]
        samples = centre(*own, self.comm, keep_norm=optimizer.keep_norm)
        update = self._update(samples, learning_rate)
        clock.lap("solve")
        seconds = {**clock.laps, "step": sum(clock.laps.values())}
        restart(self.chains, batch.healthy, self.comm)
        if self.past is not None:
            self.past = replace(self.past, spins=self.chains.spins.clone())
        if self.config.sampling.effective_fraction is not None:
            change = STEERING * (self.config.sampling.effective_fraction - effective)
            self.alpha = min(2.0, max(0.0, self.alpha + change))
        recent = (real_part(batch.energies) / sites).masked_fill(~batch.healthy, torch.nan).numpy(force=True)[:, None]
        self.history = np.concatenate([self.history, recent], axis=1)[:, -HISTORY:]
        self.pairs = np.concatenate([self.pairs, batch.pairs.numpy(force=True)[:, None]], axis=1)[:, -HISTORY:]
        self.step += 1
        return Step(
            step=self.step,
            energy=estimate.mean,
            error=estimate.error,
            variance=estimate.variance * sites,
            acceptance=batch.acceptance,
            r_hat=mixing(self.history, self.pairs),
            alpha=used_alpha,
            effective_fraction=effective,
            restarted=int((~batch.healthy).sum()),
            learning_rate=learning_rate,
            shift=update.shift,
            retries=update.retries,
            step_norm=update.norm,
            shortened=update.shortened,
            refused=update.refused,
            seconds=seconds,
            halvings=left.halvings,
            leapt_to=max(left.energies, default=None),
            returned_to=left.returned_to,
            starts=self.starts if self.step == 1 else (),
        )

    def _settle(self, clock: _Clock) -> tuple[_Batch | None, _Left]:
        """A sample from which a step may be made, and what was left for it."""
        batch, energies = self._sample(clock), list[float]()
        for halvings in range(HALVINGS + 1):
            if not self._leapt(batch):
                return batch, _Left(halvings, energies)
            energies += [] if batch is None else [batch.estimate.mean]
            if halvings < HALVINGS:
                self._return(0.5 ** (halvings + 1))
                batch = self._sample(clock)
        if not self._leapt(batch, clearly=True) or (returned_to := self._fall_back()) is None:
            return batch, _Left(HALVINGS, energies[:-1])
        return self._sample(clock), _Left(HALVINGS, energies, returned_to)

    def _leapt(self, batch: _Batch | None, *, clearly: bool = False) -> bool:
        """Whether the last update is to be taken back; never where there is nothing to return to."""
        leap = self.config.optimizer.leap
        if leap is None or self.past is None:
            return False
        return batch is None or leapt(batch.estimate, self.recent, leap, self.hamiltonian.J2, clearly=clearly)

    def _return(self, part: float) -> None:
        """Go back to the state before the last update, and make only ``part`` of that update."""
        past = self.past
        assert past is not None
        self._set(past.parameters)
        self._subtract(part * past.change)
        self.chains.spins = past.spins.clone()
        # The sweep is made again with the same random numbers.
        self.chains.proposals -= self.gap
        self.last_solution = torch.zeros_like(self.last_solution)
        self.moments = self.moments if past.moments is None else past.moments

    def _fall_back(self) -> int | None:
        """Go back to a good state, and on from there at half the rate; its number of steps, None if there is none.

        It is used once: if the run leaps again before there are others, it goes to the one before.
        """
        old = [good for good in self.good if good.step <= self.step - GOOD // 2]
        if not old:
            return None
        good = old.pop()
        self.good, self.past = old, None
        self._set(good.parameters)
        self.chains.spins = good.spins.clone()
        self.chains.proposals -= self.gap
        self.last_solution = torch.zeros_like(self.last_solution)
        self.moments = None if self.moments is None else torch.ones_like(self.moments)
        self.cautious = GOOD
        return good.step

    def _sample(self, clock: _Clock) -> _Batch | None:
        """One sample of every chain, and what all ranks' samples say; None if every one of them is abnormal."""
        comm, bound = self.comm, self.config.sampling.bound
        sweep = self.sampler.advance(self.psi, self.chains, self.gap, self.alpha)
        clock.lap("sampling")
        energies = local_energies(self.psi, self.hamiltonian, self.chains.spins, sweep.log_psi, sweep.phase)
        clock.lap("local_energy")
        derivatives = log_derivatives(self.psi, self.chains.spins)
        healthy = is_healthy(energies, bound * self.hamiltonian.sites) & derivatives.sum(1).isfinite()
        derivatives[~healthy] = 0.0
        clock.lap("derivatives")
        acceptance = comm.gather(torch.full((len(self.own),), sweep.acceptance, dtype=torch.float64)).mean().item()
        healthy = comm.gather(healthy)
        # With a fixed phase, imaginary parts change no step: their mean is zero.
        energies = energies if derivatives.is_complex() else real_part(energies)
        energies = comm.gather(energies).masked_fill(~healthy, 0.0)
        log_psi = comm.gather(sweep.log_psi).masked_fill(~healthy, -torch.inf)
        pairs = comm.gather(antiparallel(self.chains.spins, self.sampler.pairs).sum(1, dtype=torch.int16))
        if not healthy.any():
            return None
        weights = importance_weights(log_psi, self.alpha)
        estimate = statistics.estimate(*_columns(real_part(energies) / self.hamiltonian.sites, weights))
        clock.lap("gather")
        return _Batch(derivatives, energies, weights, healthy, pairs, acceptance, estimate)

    def _update(self, samples: Centred, learning_rate: float) -> _Update:
        """Solve for the step and apply it, unless it is not finite."""
        optimizer = self.config.optimizer
        shift = optimizer.shift(self.step, self.done)
        self.past = None
        # SPRING (Goldshlager et al., J. Comput. Phys. 516, 113351 (2024)): what these few samples do not determine is
        # kept from the solution before; (M + shift D) Delta = G + shift D carried, written as a correction to it.
        carried = optimizer.momentum * self.last_solution
        explained = (samples.rows @ carried.to(samples.rows.dtype)).double()
        scales = scale(optimizer.metric, samples.rows, self.moments, self.comm)
        if scales is not None:
            samples.rows.mul_(scales)
        try:
            solution = self.solver(samples._replace(energies=samples.energies - explained), shift)
        except FactorisationError as error:
            return _Update(shift, 0, math.nan, refused=str(error))
        # Rank 0's, so that the ranks' parameters stay equal to the last bit on unlike processors too.
        correction = self.comm.broadcast(solution.step)
        direction = carried + (correction if scales is None else scales * correction)
        step = learning_rate * direction
        norm, longest = step.norm().item(), optimizer.max_step_norm(self.step, self.done)
        if not torch.isfinite(step).all():
            return _Update(solution.shift, solution.retries, norm, refused="the step is not finite")
        part = min(1.0, longest / norm) if norm else 1.0
        step *= part
        # Shortened as well: one sample beside a node can make a solution a thousand times too long.
        kept = part * direction
        moments = self.moments
        if self.moments is not None:
            self.moments = optimizer.moments * self.moments + (kept - self.last_solution).square()
        self.last_solution = kept
        if optimizer.leap is not None:
            self.past = Past(self._parameters(), step, self.chains.spins, moments)
        self._subtract(step)
        return _Update(solution.shift, solution.retries, norm, shortened=norm > longest)

    def _parameters(self) -> Tensor:
        return torch.cat([coordinates(parameter).detach().flatten() for parameter in trainable(self.psi).values()])

    def _pieces(self, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Each parameter's numbers with those of ``values`` (parameters,) that are its own, in its precision."""
        parameters = [coordinates(parameter).detach() for parameter in trainable(self.psi).values()]
        for parameter, part in zip(parameters, values.split([p.numel() for p in parameters]), strict=True):
            yield parameter, part.view_as(parameter).to(parameter.dtype)

    def _subtract(self, step: Tensor) -> None:
        for parameter, change in self._pieces(step):
            parameter.sub_(change)

    def _set(self, values: Tensor) -> None:
        for parameter, value in self._pieces(values):
            parameter.copy_(value)


@dataclass(frozen=True)
class _Batch:
    """One sample of every chain: log-derivatives of this rank's, everything else of all ranks'."""

    derivatives: Tensor
    """Shape (own chains, parameters); 0 where abnormal."""
    energies: Tensor
    """Local (total) energies, shape (chains,), complex with complex log-derivatives; 0 where abnormal, where the
    weight is 0 too."""
    weights: Tensor
    healthy: Tensor
    pairs: Tensor
    """Antiparallel nearest neighbours of each configuration, int16."""
    acceptance: float
    estimate: statistics.Estimate
    """Energy per site."""


@dataclass(frozen=True)
class _Left:
    """States that were left again before a step."""

    halvings: int
    energies: list[float]
    returned_to: int | None = None


@dataclass(frozen=True)
class _Update:
    """What became of a step; the fields are those of :class:`Step`."""

    shift: float
    retries: int
    norm: float
    shortened: bool = False
    refused: str | None = None


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
