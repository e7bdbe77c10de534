"""Where one core spends a forward pass, as in the paper's Fig. 7 (its 10x10, large, on the management core only)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench.names import FORWARD
from qmcbench.bench.operations import Step, Torch, fused_steps, grid, run, steps
from qmcbench.cores import threads
from qmcbench.lattice import random_configurations
from qmcbench.store.bench import Share


@dataclass(frozen=True)
class Size:
    """What is profiled."""

    network: str
    L: int
    batch: int
    repeats: int


FULL = Size("large", 10, 256, repeats=10)
QUICK = Size("small", 4, 8, repeats=2)


@dataclass(frozen=True)
class Profile:
    """Seconds of a forward pass, and the share of each of its operations in them, in percent."""

    seconds: float
    shares: dict[str, float]


def total(quick: bool) -> int:
    """How many passes :func:`measure` takes apart."""
    return 2


@torch.no_grad()
def measure(quick: bool) -> Iterator[list[Share]]:
    """Take the plain and the fused forward pass of a batch apart, float32.

    Yields
    ------
    list of Share
        Of every operation of one pass, by ``torch.profiler``. What they lack to 100 % lies between them.
    """
    size = QUICK if quick else FULL
    network, spins = CNN(size.network), random_configurations(size.L, size.batch)
    works: tuple[tuple[Literal["plain", "fused"], list[Step[Tensor]], Tensor], ...] = (
        ("plain", steps(network, Torch()), grid(network, spins)),
        ("fused", fused_steps(network), spins),
    )
    with threads(1):
        for form, each, x in works:
            found = profiled(each, x, size.repeats)
            yield [
                Share(
                    value=share, operation=operation, form=form, network=size.network, L=size.L, batch=size.batch,
                    pass_s=found.seconds, repeats=size.repeats, threads=1,
                )
                for operation, share in found.shares.items()
            ]  # fmt: skip


@torch.no_grad()
def profiled(network: Sequence[Step[Tensor]], x: Tensor, repeats: int) -> Profile:
    """What a forward pass takes, and each of its operations."""
    run(network, x)  # compiles, and fills the caches
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(repeats):
            with record_function(_label(FORWARD)):
                y = x
                for step in network:
                    with record_function(_label(step.operation)):
                        y = step.apply(y)
    times = {event.key: event.cpu_time_total for event in profiler.key_averages()}
    total = times[_label(FORWARD)]
    shares = {step.operation: 100 * times[_label(step.operation)] / total for step in network}
    return Profile(total / repeats / 1e6, shares)


def _label(operation: str) -> str:
    """A name that none of PyTorch's own operations has."""
    return f"qmcbench.{operation}"
