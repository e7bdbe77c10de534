"""The large network on one device: forward pass, sampling and iterations, against its matrix-product rate.

Meant for a GPU, on which the network runs in PyTorch's own operations. On "cpu" it does the same, as a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench.names import FORWARD, ITERATION
from qmcbench.bench.scaling import single
from qmcbench.bench.suite import J2
from qmcbench.bench.timing import clock, fused_multiply_adds, sampling_rate
from qmcbench.config import Wavefunction
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.store.bench import Memory, Rate, WorkTime
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
    return 1 + 3 * len((QUICK if quick else FULL).systems)


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


def measure(quick: bool, device: str) -> Iterator[list[Record]]:
    """Time everything on ``device``, such as "cuda", float32; medians of REPEATS.

    Yields
    ------
    list of Record
        The rate of a large matrix product; then of each system the time of a forward pass (no symmetry; fused
        multiply-adds count as two operations), samples a second with C4 (L * L proposals and a local energy each),
        and the time of an iteration without symmetry, of as many samples as chains, with the most memory of a GPU.

    Raises
    ------
    UserError
        If there is no such device.
    """
    check(device)
    sizes = QUICK if quick else FULL
    on = "cpu" if device == "cpu" else torch.cuda.get_device_name(device)
    a, b = (torch.randn(sizes.gemm, sizes.gemm, device=device) for _ in range(2))
    sgemm = 2 * sizes.gemm**3 / min(_seconds(device, lambda: torch.mm(a, b))) / 1e9
    yield [Rate(value=sgemm, operation="sgemm", size=sizes.gemm, device=on)]
    for size in sizes.systems:
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        row = partial(WorkTime.of, network=size.network, L=size.L, device=on)
        operations = 2 * fused_multiply_adds(CNN(size.network), size.L) * size.batch
        yield [row(_forward(device, size), work=FORWARD, batch=size.batch, operations=operations)]
        psi = build_ansatz(Wavefunction(network=size.network), seed=0).to(device)
        names = {"network": size.network, "symmetry": "C4", "weights": "random", "device": on}
        yield [sampling_rate(psi, J1J2(size.L, J2, device), size.chains, partial(_seconds, device), **names)]
        yield [row(_iteration(device, size), work=ITERATION, batch=size.chains), *_memory(device, on, size)]


def _memory(device: str, on: str, size: Size) -> list[Record]:
    """The most memory that a GPU held."""
    if device == "cpu":
        return []
    most = torch.cuda.max_memory_allocated(device)
    return [Memory(value=most, work="all", network=size.network, L=size.L, batch=size.batch, device=on)]


def _forward(device: str, size: Size) -> list[float]:
    network, spins = CNN(size.network).to(device), random_configurations(size.L, size.batch).to(device)
    return _seconds(device, lambda: network(spins))


def _iteration(device: str, size: Size) -> list[float]:
    config = single(size.network, size.L, size.chains)
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
