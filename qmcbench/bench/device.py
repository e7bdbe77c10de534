"""The large network on one device: forward pass, sampling and iterations, against its matrix-product rate.

Meant for a GPU, on which the network runs in PyTorch's own operations. On "cpu" it does the same, as a trial.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from statistics import median
from typing import Any, NamedTuple

import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench.names import FORWARD, ITERATION
from qmcbench.bench.suite import J2
from qmcbench.bench.timing import clock, fused_multiply_adds
from qmcbench.bench.worker_weak import Weak
from qmcbench.config import Sampling, Wavefunction
from qmcbench.errors import UserError
from qmcbench.evaluator import Evaluator
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.store.bench import Memory, Rate, SamplingRate, WorkTime
from qmcbench.store.records import Record
from qmcbench.vmc import Trainer, build_ansatz

REPEATS = 5


class Size(NamedTuple):
    """What is measured."""

    network: str
    L: int
    batch: int
    """Configurations of the forward pass."""
    chains: int
    """Each gives a sample of an iteration, or of an evaluation."""


class Sizes(NamedTuple):
    """All of it."""

    gemm: int
    systems: tuple[Size, ...]


FULL = Sizes(8192, (Size("large", 10, 4096, 1024), Size("large", 16, 2048, 256), Size("large", 24, 1024, 128)))
QUICK = Sizes(256, (Size("small", 4, 16, 8),))


def total(quick: bool) -> int:
    """How many measurements :func:`measure` makes."""
    return 3 * len((QUICK if quick else FULL).systems)


def check(device: str) -> None:
    """See that there is such a device.

    Raises
    ------
    UserError
        If not.
    """
    if device != "cpu" and not device.startswith("cuda"):
        raise UserError(f"--device {device} is neither 'cuda' (or 'cuda:0' and so on) nor 'cpu'.")
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(
            f"--device {device}: torch {torch.__version__} finds no CUDA device; run this where there is one, or try "
            "it with --device cpu --quick."
        )


def measure(
    device: str, *, quick: bool = False, done: Callable[[int], None] = lambda count: None
) -> tuple[Record, ...]:
    """Time everything on ``device``, float32.

    Parameters
    ----------
    device
        Such as "cuda".
    quick
        Tiny sizes.
    done
        Called with the number of measurements so far.

    Returns
    -------
    tuple of Record
        The rate of a large matrix product; of each system the time of a forward pass (no symmetry; fused
        multiply-adds count as two operations), samples a second with C4 (L * L proposals and a local energy each),
        the time of an iteration without symmetry, of as many samples as chains, and on a GPU the most memory. Medians
        of REPEATS.

    Raises
    ------
    UserError
        If there is no such device.
    """
    check(device)
    sizes, steps = QUICK if quick else FULL, count(1)
    on = "cpu" if device == "cpu" else torch.cuda.get_device_name(device)
    a, b = (torch.randn(sizes.gemm, sizes.gemm, device=device) for _ in range(2))
    sgemm = 2 * sizes.gemm**3 / min(_seconds(device, lambda: torch.mm(a, b))) / 1e9
    found: list[Record] = [Rate(value=sgemm, operation="sgemm", size=sizes.gemm, device=on)]
    for size in sizes.systems:
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        row = partial(WorkTime, network=size.network, L=size.L, device=on)
        operations = 2 * fused_multiply_adds(CNN(size.network), size.L) * size.batch
        found.append(row(work=FORWARD, batch=size.batch, operations=operations, **_times(_forward(device, size))))
        done(next(steps))
        found.append(_sampling_rate(device, on, size))
        done(next(steps))
        found.append(row(work=ITERATION, batch=size.chains, **_times(_iteration(device, size))))
        done(next(steps))
        if device != "cpu":
            most = torch.cuda.max_memory_allocated(device)
            found.append(Memory(value=most, work="all", network=size.network, L=size.L, batch=size.batch, device=on))
    return tuple(found)


def _times(seconds: list[float]) -> dict[str, Any]:
    return {"value": median(seconds), "low": min(seconds), "high": max(seconds), "repeats": len(seconds)}


def _sampling_rate(device: str, on: str, size: Size) -> SamplingRate:
    seconds = _sampling(device, size)
    return SamplingRate(
        value=size.chains / median(seconds), low=size.chains / max(seconds), high=size.chains / min(seconds),
        repeats=len(seconds), network=size.network, L=size.L, chains=size.chains, proposals=size.L**2,
        symmetry="C4", weights="random", device=on,
    )  # fmt: skip


def _forward(device: str, size: Size) -> list[float]:
    network, spins = CNN(size.network).to(device), random_configurations(size.L, size.batch).to(device)
    return _seconds(device, lambda: network(spins))


def _sampling(device: str, size: Size) -> list[float]:
    psi = build_ansatz(Wavefunction(network=size.network), seed=0).to(device)
    sampling = Sampling(chains=size.chains, warm_up=1, gap=size.L**2, alpha=2.0)
    evaluator = Evaluator(psi, J1J2(size.L, J2, device), sampling, seed=1)
    evaluator.advance()  # the sweep of the warm-up
    return _seconds(device, evaluator.advance)


def _iteration(device: str, size: Size) -> list[float]:
    config = Weak(size.L, size.network, solver="sample_space", chains=size.chains, J2=J2).config(ranks=1)
    trainer = Trainer(
        replace(config, run=replace(config.run, device=device)), build_ansatz(config.wavefunction, seed=0)
    )
    with torch.enable_grad():
        return _seconds(device, trainer.advance)


@torch.no_grad()
def _seconds(device: str, work: Callable[[], object]) -> list[float]:
    def complete() -> None:
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)

    return clock(complete, REPEATS)
