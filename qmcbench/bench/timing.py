"""Timed workloads: what asv and the reports both call. Seconds, medians, and ratios within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.ansatz.fast.codelets import frequencies
from qmcbench.bench.names import FORWARD
from qmcbench.config import Sampling, Scalapack, Wavefunction
from qmcbench.evaluator import Evaluator
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.local_energy import local_energies
from qmcbench.ranks.comm import Serial
from qmcbench.sampler import Chains, Sampler
from qmcbench.sr import centre, make_solver
from qmcbench.store.bench import SamplingRate, WorkTime
from qmcbench.vmc import build_ansatz

Clock = Callable[[Callable[[], object]], list[float]]
"""Gives the seconds of several calls of some work."""
REPEATS = 7


def clock(work: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Sorted wall times of ``repeats`` calls after two uncounted ones, in seconds."""
    work(), work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)


def gemm_rate(dtype: torch.dtype = torch.float32, size: int = 4096, repeats: int = 5) -> float:
    """This machine's rate of products of square matrices in GF/s: the best of ``repeats``."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype)
    return 2 * size**3 / clock(lambda: torch.mm(a, b, out=out), repeats)[0] / 1e9


def plain_multiply_adds(network: CNN, L: int) -> float:
    """Multiply-adds of one forward pass in the plain form, for one configuration."""
    # The transposed convolution makes two sites of every second one, each from one column of its kernel.
    return sum(b.conv.weight.numel() + b.deconv.weight.numel() / 2 for b in network.blocks()) * L * L


def fused_multiply_adds(network: CNN, L: int) -> int:
    """Multiply-adds of one forward in the fused form (no structural zeros), for one configuration."""
    fused = network.network()
    per_pair = sum(layer.weight.numel() for layer in fused.layers) + fused.head.weight.numel()
    # The first layer's channels are the two columns of a pair; its kernel holds each tap of the k x k one once per
    # parity, the rest being zeros.
    first = fused.layers[0].weight
    k = first.shape[2]
    per_pair += 2 * (first.shape[0] // 2) * k * k - first.numel()
    return per_pair * L * L // 2


@torch.no_grad()
def fourier_multiply_adds(network: CNN, L: int) -> int:
    """Multiply-adds of one forward as the package does it, in Fourier space, without those of the transforms."""
    fused = network.network()
    numbers = sum(2 if each.real else 3 for each in frequencies(L, L // 2))
    products = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in fused.layers)
    return numbers * products + L * (L // 2) * fused.head.weight.numel()


@torch.no_grad()
def forward(model: str, L: int, batch: int) -> WorkTime:
    """Forward pass of the plain network (no sign, no C4), float32."""
    network, spins = CNN(model), random_configurations(L, batch)
    operations = 2 * fused_multiply_adds(network, L) * batch
    return _timed(FORWARD, clock(lambda: network(spins)), network=model, L=L, batch=batch, operations=operations)


@torch.no_grad()
def iteration(model: str, L: int, J2: float, chains: int, solver: str = "sample_space") -> list[WorkTime]:
    """The four phases of one optimisation step with C4 and sign: sampling of L * L proposals, and so on."""
    psi = build_ansatz(Wavefunction(network=model), seed=0)
    hamiltonian, sampler, state = J1J2(L, J2), Sampler(L, 0), Chains.neel(L, chains)
    sweep = sampler.advance(psi, state, L * L, 1.0)
    energies = local_energies(psi, hamiltonian, state.spins, sweep.log_psi, sweep.phase)
    weights = torch.full((chains,), 1 / chains, dtype=torch.float64)
    derivatives = log_derivatives(psi, state.spins)
    solve = make_solver(solver, Scalapack(), Serial())
    phases: dict[str, Callable[[], object]] = {
        "sampling (L*L proposals)": lambda: sampler.advance(psi, state, L * L, 1.0),
        "local energy": lambda: local_energies(psi, hamiltonian, state.spins, *psi(state.spins)),
        "log-derivatives": lambda: log_derivatives(psi, state.spins),
        f"SR solve ({solver})": lambda: solve(centre(derivatives.clone(), energies, weights), 1e-3),
    }
    return [_timed(name, clock(work, 5), network=model, L=L, batch=chains) for name, work in phases.items()]


def sampling_rate(psi: Ansatz, hamiltonian: J1J2, chains: int, clock: Clock, **parameters: Any) -> SamplingRate:
    """How fast :class:`qmcbench.evaluator.Evaluator` gives energies, L * L proposals and a local energy each."""
    sites = hamiltonian.L**2
    evaluator = Evaluator(psi, hamiltonian, Sampling(chains=chains, warm_up=1, gap=sites, alpha=2.0), seed=1)
    evaluator.advance()  # the sweep of the warm-up
    rates = [chains / seconds for seconds in clock(evaluator.advance)]
    acceptance = evaluator.samples().acceptance
    return SamplingRate.of(
        rates, L=hamiltonian.L, chains=chains, proposals=sites, acceptance=acceptance, seed=1, **parameters
    )


def _timed(work: str, seconds: Sequence[float], **parameters: Any) -> WorkTime:
    return WorkTime.of(seconds, work=work, threads=torch.get_num_threads(), **parameters)
