"""The workloads of the asv suite in ``benchmarks/``, and the sizes that it runs them at.

A factory gives what is to be timed, after calling it once, and remembers the last one: asv repeats a benchmark's
``setup`` before every timed call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psutil
import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.bench import names, operations, speedup, worker_strong
from qmcbench.bench.scaling import StrongRequest, WeakRequest, on_ranks, single
from qmcbench.config import Scalapack
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.local_energy import local_energies
from qmcbench.provenance import cores
from qmcbench.ranks.comm import Serial
from qmcbench.reference import model_spec
from qmcbench.sampler import Chains, Sampler
from qmcbench.sr import SOLVERS, make_solver
from qmcbench.store.scaling import OnRanks
from qmcbench.vmc import Trainer, build_ansatz

Work = Callable[[], object]

VARIABLE = "QMCBENCH_BENCH"
"""Environment variable that chooses the sizes: "quick" or, by default, "full"."""
OPERATIONS = (*names.OPERATIONS, names.FUSED)
PHASES = ("forward", "sampler_step", "sweep", "local_energy", "log_derivatives", "iteration")
SOLVERS_IN_PROCESS = tuple(SOLVERS)
J2 = 0.5
TIMEOUT = 1800.0
"""Seconds that one benchmark may take."""


@dataclass(frozen=True)
class Sizes:
    """What the suite runs at; a system is a network and L, such as "large-10"."""

    systems: tuple[str, ...]
    batches: tuple[int, ...]
    training: tuple[str, ...]
    """Systems whose optimisation steps are timed."""
    chains: tuple[int, ...]
    solved: tuple[str, ...]
    """Networks whose stochastic-reconfiguration systems are solved."""
    samples: int
    """Rows of these."""
    ranks: tuple[int, ...]
    strong: str
    """The network of strong scaling."""
    weak: str
    """The system of weak scaling, 16 chains a rank."""


SIZES = {
    "full": Sizes(
        systems=tuple(f"{model}-{L}" for model, L in speedup.FULL.systems),
        batches=speedup.FULL.batches,
        training=("small-6", "medium-6", "medium-10", "large-10"),
        chains=(16, 256),
        solved=("small", "medium", "large"),
        samples=2560,
        ranks=(1, 2, 4, 8, 16),
        strong="small",
        weak="medium-10",
    ),
    "quick": Sizes(
        systems=("small-4",),
        batches=(8, 32),
        training=("small-4",),
        chains=(8,),
        solved=("small",),
        samples=64,
        ranks=(2,),
        strong="small",
        weak="small-4",
    ),
}


def sizes() -> Sizes:
    """Those that the environment asks for."""
    return SIZES[os.environ.get(VARIABLE, "full")]


def parse(system: str) -> tuple[str, int]:
    """Network and L of a system."""
    model, L = system.rsplit("-", 1)
    return model, int(L)


@lru_cache(maxsize=1)
def operation(name: str, system: str, batch: int) -> Work:
    """All calls of one operation in a forward pass, by PyTorch, or of the fused network in its place; float32."""
    model, L = parse(system)
    network, spins = CNN(model), random_configurations(L, batch)
    # Without gradients when it is called, not only here: with them, the fused network takes another way.
    inference = torch.no_grad()
    with inference:
        if name == names.FUSED:
            work = operations.calls(operations.fused_steps(network), spins, name)
        else:
            plain = operations.steps(network, operations.Torch())
            work = operations.calls(plain, operations.grid(network, spins), name)
    return _ready(inference(work))


@lru_cache(maxsize=1)
def phase(name: str, system: str, chains: int) -> Work:
    """One phase of an optimisation step, or all of it ("iteration"), with sign and without rotations."""
    model, L = parse(system)
    config = single(model, L, chains)
    psi = build_ansatz(config.wavefunction, seed=0)
    state, sampler, hamiltonian = Chains.neel(L, chains), Sampler(L, seed=0), J1J2(L, J2)
    state.spins = random_configurations(L, chains)
    amplitudes = torch.no_grad()(psi)(state.spins)
    works: dict[str, Callable[[], Work]] = {
        "forward": lambda: lambda: torch.no_grad()(psi)(state.spins),
        "sampler_step": lambda: lambda: sampler.advance(psi, state, 1, 1.0),
        "sweep": lambda: lambda: sampler.advance(psi, state, L * L, 1.0),
        "local_energy": lambda: lambda: local_energies(psi, hamiltonian, state.spins, *amplitudes),
        "log_derivatives": lambda: lambda: log_derivatives(psi, state.spins),
        "iteration": lambda: Trainer(config, psi).advance,
    }
    return _ready(works[name]())


@lru_cache(maxsize=1)
def solve(solver: str, model: str, samples: int) -> Work:
    """One solve of stochastic reconfiguration on synthetic samples.

    Raises
    ------
    NotImplementedError
        If the matrix does not fit into memory.
    """
    parameters = model_spec(model).parameters
    # The covariance and its factor, in float64.
    need = 16 * parameters**2 if solver == "dense" else 0
    if need > psutil.virtual_memory().available:
        raise NotImplementedError(f"{need / 1e9:.0f} GB")
    system = worker_strong.synthetic(Serial(), parameters, samples, seed=0)
    solver_of_one = make_solver(solver, Scalapack(), Serial())
    return _ready(lambda: solver_of_one(system, worker_strong.SHIFT))


def require_cores(ranks: int) -> None:
    """Leave a benchmark out whose ranks would share cores.

    Raises
    ------
    NotImplementedError
        Which tells asv so.
    """
    if ranks > len(cores()):
        raise NotImplementedError(f"{ranks} ranks, {len(cores())} cores")


def strong_scaling(ranks: int, space: str, model: str, samples: int) -> dict[str, Any]:
    """Seconds of one ScaLAPACK solve of a fixed problem on so many ranks, as asv takes them."""
    size = model_spec(model).parameters
    request = StrongRequest(parameters=(size,), samples=samples, ranks=(ranks,), space=space, dgemm_size=256)
    (job,) = request.jobs()
    run = on_ranks(job, TIMEOUT)
    return _samples(run, run.all("total"))


def weak_scaling(ranks: int, system: str) -> dict[str, Any]:
    """Seconds of the Monte Carlo part of a step, 16 chains a rank, on the slowest of so many ranks."""
    model, L = parse(system)
    request = WeakRequest(
        sizes=(L,), ranks=(ranks,), network=model, symmetries=("none",), solver="sample_space", warm_up=1
    )
    (job,) = request.jobs()
    run = on_ranks(job, TIMEOUT)
    return _samples(run, run.monte_carlo)


def _samples(run: OnRanks, seconds: Sequence[float]) -> dict[str, Any]:
    if run.not_run:
        raise NotImplementedError(run.not_run)
    return {"samples": list(seconds), "number": 1}


def _ready(work: Work) -> Work:
    """``work`` after a first call, which compiles and fills caches."""
    work()
    return work
