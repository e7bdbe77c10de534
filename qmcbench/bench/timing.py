"""Timed workloads: what asv and the reports both call. Seconds, medians, and ratios within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.ansatz.fast.codelets import frequencies
from qmcbench.config import Scalapack, Wavefunction
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.local_energy import local_energies
from qmcbench.ranks.comm import Serial
from qmcbench.sampler import Chains, Sampler
from qmcbench.sr import centre, make_solver
from qmcbench.vmc import build_ansatz

REPEATS = 7


@dataclass(frozen=True)
class Timing:
    """Wall time of one workload over several repeats, after a warm-up."""

    name: str
    network: str
    L: int
    batch: int
    dtype: str
    median_s: float
    min_s: float
    max_s: float
    repeats: int
    GFs: float | None = None
    """Billions of floating-point operations a second, counting the fused multiply-adds as two each."""
    fraction_of_sgemm: float | None = None


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
def forward(model: str, L: int, batch: int, sgemm: float) -> Timing:
    """Forward pass of the plain network (no sign, no C4), float32."""
    network, spins = CNN(model), random_configurations(L, batch)
    flops = 2 * fused_multiply_adds(network, L) * batch
    times = clock(lambda: network(spins))
    rate = flops / statistics.median(times) / 1e9
    return _timing("forward", model, L, batch, times, rate, rate / sgemm)


@torch.no_grad()
def iteration(model: str, L: int, J2: float, chains: int, solver: str = "sample_space") -> list[Timing]:
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
    return [_timing(name, model, L, chains, clock(work, 5)) for name, work in phases.items()]


def _timing(
    name: str,
    model: str,
    L: int,
    batch: int,
    times: list[float],
    rate: float | None = None,
    part: float | None = None,
) -> Timing:
    return Timing(
        name, model, L, batch, "float32", statistics.median(times), times[0], times[-1], len(times), rate, part
    )
