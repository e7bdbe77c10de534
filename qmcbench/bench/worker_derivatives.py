"""Time and memory of the log-derivatives and the solve in sample space, in a process that does nothing else."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import psutil
import torch
from torch import Tensor, nn

from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.bench import kernels
from qmcbench.config import Scalapack, Wavefunction
from qmcbench.lattice import random_configurations
from qmcbench.ranks.comm import Communicator
from qmcbench.sr import make_solver
from qmcbench.sr.solvers import Centred, centre
from qmcbench.vmc import build_ansatz

SOLVER = "sample_space"
SHIFT = 1e-3
FEW = 16
"""Samples of the first call, which compiles what is to be compiled before the memory is taken down."""


@dataclass(frozen=True)
class Answer:
    """Medians in seconds, and the memory of the process."""

    derivatives_s: float
    solve_s: float
    peak_bytes: int
    """The most that was ever resident, by the operating system's account."""
    before_bytes: int
    """What was resident before all but the first few samples."""
    repeats: int


@dataclass(frozen=True)
class Request:
    """What is measured, how often."""

    network: str
    L: int
    samples: int
    repeats: int = 5


def measure(comm: Communicator, request: Request) -> Answer:
    """The derivatives of a fresh network without rotations, and centring and solving, after uncounted ones."""
    psi = build_ansatz(Wavefunction(network=request.network, symmetry="none"), seed=0)
    solver = make_solver(SOLVER, Scalapack(), comm)
    _seconds(comm, psi, solver, random_configurations(request.L, FEW))
    gc.collect()
    before = psutil.Process().memory_info().rss
    spins = random_configurations(request.L, request.samples)
    _seconds(comm, psi, solver, spins)
    times = [_seconds(comm, psi, solver, spins) for _ in range(request.repeats)]
    derivatives, solve = (median(each) for each in zip(*times, strict=True))
    return Answer(derivatives, solve, kernels.peak_memory(comm)[0], before, request.repeats)


def _seconds(
    comm: Communicator, psi: nn.Module, solver: Callable[[Centred, float], object], spins: Tensor
) -> tuple[float, float]:
    """Of the derivatives, and of the solve."""
    energies = torch.linspace(-1, 1, len(spins), dtype=torch.float64)
    weights = torch.full_like(energies, 1 / len(spins))
    taken, rows = kernels.timed(comm, lambda: log_derivatives(psi, spins))
    return taken, kernels.timed(comm, lambda: solver(centre(rows, energies, weights, comm), SHIFT))[0]
