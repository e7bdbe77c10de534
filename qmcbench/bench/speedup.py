"""How much faster than the paper's baseline the package is (paper Fig. 8).

A vector unit and a tuned library make one core faster before there is a second: PyTorch's operations on one core are
timed beside those on all, to tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench import baseline, operations
from qmcbench.bench.names import FORWARD, OPERATIONS, SCALAR
from qmcbench.bench.operations import Step, calls, grid, run
from qmcbench.bench.timing import clock
from qmcbench.cores import threads
from qmcbench.lattice import random_configurations
from qmcbench.provenance import available_cores
from qmcbench.store.bench import WorkTime


@dataclass(frozen=True)
class Sizes:
    """What is timed."""

    systems: tuple[tuple[str, int], ...]
    """Networks and L."""
    batches: tuple[int, ...]
    configurations: int = 4
    """How many the baseline is timed with."""
    repeats: int = 5
    """Of each timing, after two uncounted calls."""


FULL = Sizes(
    (("medium", 6), ("medium", 10), ("medium", 16), ("large", 6), ("large", 10), ("large", 16), ("large", 24)),
    (8, 16, 32, 48, 64, 96, 128, 192, 256),
)
"""Those of the paper's Fig. 8, whose "small" model has 16249 parameters and is our medium one."""
QUICK = Sizes((("small", 4),), (8, 32), repeats=1)


def total(quick: bool) -> int:
    """How many works :func:`measure` times."""
    sizes = QUICK if quick else FULL
    return len(sizes.systems) * len(sizes.batches) * (len(OPERATIONS) + 1)


def measure(quick: bool) -> Iterator[list[WorkTime]]:
    """:func:`speedups` at the sizes of the paper, or tiny ones."""
    return speedups(QUICK if quick else FULL)


@torch.no_grad()
def speedups(sizes: Sizes) -> Iterator[list[WorkTime]]:
    """Time every operation (all its calls in a forward pass) and the whole pass, float32, for every batch.

    Yields
    ------
    list of WorkTime
        Three medians: the baseline on one core, batch times its time for one configuration, since it does them one by
        one (form "scalar"); PyTorch's operation, or the package's forward pass, on one core; and on all.

    Raises
    ------
    ArithmeticError
        If baseline and package do not agree: a time of a wrong result means nothing.
    """
    for model, L in sizes.systems:
        network = CNN(model)
        scalar = _scalar_seconds(network, random_configurations(L, sizes.configurations), sizes.repeats)
        for batch in sizes.batches:
            for operation, work in _works(network, random_configurations(L, batch)):
                row = partial(WorkTime, network=model, L=L, batch=batch, work=operation, repeats=sizes.repeats)
                rows = [row(value=batch * scalar[operation], threads=1, form=SCALAR)]
                for cores in (1, available_cores()):
                    with threads(cores):
                        rows.append(row(value=median(clock(work, sizes.repeats)), threads=cores))
                yield rows


def _scalar_seconds(network: CNN, spins: Tensor, repeats: int) -> dict[str, float]:
    """Seconds of each operation and of the whole pass for one configuration, the average of several."""
    difference = (baseline.forward(network, spins)[0] - network(spins)[0]).abs().max().item()
    if not difference <= baseline.TOLERANCE * spins[0].numel():
        raise ArithmeticError(f"log|psi| of the baseline and the package differ by {difference:.1e}")
    plain, inputs = operations.steps(network, baseline.Loops()), baseline.configurations(network, spins)
    works: dict[str, list[Callable[[], object]]] = {
        operation: [calls(plain, each, operation) for each in inputs] for operation in OPERATIONS
    }
    works[FORWARD] = [partial(run, plain, each) for each in inputs]
    return {
        operation: median(clock(partial(_call_all, each), repeats)) / len(spins) for operation, each in works.items()
    }


def _call_all(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        work()


def _works(network: CNN, spins: Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each operation and the whole pass as the package, or else PyTorch, does it."""
    plain: list[Step[Tensor]] = operations.steps(network, operations.Torch())
    for operation in OPERATIONS:
        yield operation, calls(plain, grid(network, spins), operation)
    yield FORWARD, lambda: network(spins)
