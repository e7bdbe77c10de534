"""The suite's own engine as a target: what `qmcbench gate` runs on when it is given nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from qmcbench import checkpoint, evaluator, hamiltonian, local_energy, sampler, sr
from qmcbench.ansatz import derivatives
from qmcbench.ansatz.base import Ansatz, amplitudes, invariance
from qmcbench.config import Sampling
from qmcbench.gates.targets.target import Draw, Drawn, Evaluated, Evaluation, Target
from qmcbench.vmc import build_ansatz

NETWORKS = {4: "small-4x4-0.5", 6: "small-6x6-0.5"}
"""Shipped networks, each trained on its lattice: the first with C4 symmetry, the second with all symmetries."""


def builtin(L: int = 4, J2: float = 0.5) -> Target:
    """The engine with a trained network; beyond 6x6 that of 4x4."""
    psi = trained(L if L in NETWORKS else 4)
    return Target(
        name="builtin",
        L=L,
        J2=J2,
        psi=psi,
        invariance=invariance(psi),
        local_energies=local_energies,
        log_derivatives=log_derivatives,
        sample=sample,
        evaluate=evaluate,
        step=step,
        engine=True,
    )


def trained(L: int) -> nn.Module:
    """The network that was trained on this lattice at J2 = 0.5, in float64."""
    path = Path(f"{checkpoint.SHIPPED}{NETWORKS[L]}")
    stored = checkpoint.read(path)
    psi = build_ansatz(replace(stored.config.wavefunction, dtype="float64"), seed=0)
    checkpoint.load_parameters(psi, stored, path)
    return psi


# Functions are looked up in their modules when they are called, so that a bug planted there is seen.
def local_energies(psi: Ansatz, L: int, J2: float, spins: Tensor) -> Tensor:
    """The engine's local energies."""
    with torch.no_grad():
        log_psi, phase = amplitudes(psi, spins)
    return local_energy.local_energies(psi, hamiltonian.J1J2(L, J2), spins, log_psi, phase)


def log_derivatives(psi: Ansatz, spins: Tensor) -> Tensor:
    """The engine's log-derivatives."""
    return derivatives.log_derivatives(psi, spins)


def sample(psi: Ansatz, draw: Draw) -> Drawn:
    """The engine's chains."""
    chains = sampler.Chains.neel(draw.L, draw.chains)
    if draw.start is not None:
        chains.spins = draw.start.clone()
    sweep = sampler.Sampler(draw.L, draw.seed).advance(psi, chains, draw.proposals, draw.alpha)
    return Drawn(spins=chains.spins, acceptance=sweep.acceptance)


def evaluate(psi: Ansatz, asked: Evaluation) -> Evaluated:
    """The engine's evaluation."""
    sampling = Sampling(chains=asked.chains, gap=asked.gap, warm_up=asked.warm_up, alpha=asked.alpha)
    drawn = evaluator.sample_energies(
        psi, hamiltonian.J1J2(asked.L, asked.J2), sampling, asked.samples, seed=asked.seed
    )
    estimate = drawn.estimate()
    return Evaluated(
        mean=estimate.mean,
        sigma=estimate.error,
        samples=drawn.energies.size - drawn.abnormal,
        variance=estimate.variance,
        v_score=drawn.v_score(),
        tau=estimate.tau,
        r_hat=estimate.r_hat,
        acceptance=drawn.acceptance,
        plateau=estimate.plateau,
        abnormal=drawn.abnormal,
    )


def step(rows: Tensor, energies: Tensor, weights: Tensor, shift: float) -> Tensor:
    """The engine's step of stochastic reconfiguration."""
    return sr.sample_space(sr.centre(rows.clone(), energies, weights), shift).step
