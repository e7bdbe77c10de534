"""The paper's baseline, one scalar core, and how much faster the package is (paper Fig. 8).

Like the version for the management core of the paper's processor, the baseline does the plain network operation by
operation, one configuration at a time. Its loops are compiled, without leave to reorder sums, so those of the
convolutions are scalar. A vector unit and a tuned library make one core faster before there is a second: PyTorch's
operations on one core are timed beside, to tell the two apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench import operations
from qmcbench.bench.operations import FORWARD, Step, calls, grid, run, threads
from qmcbench.bench.timing import clock, random_spins
from qmcbench.provenance import available_cores

Array = NDArray[Any]

BATCHES = (8, 16, 32, 48, 64, 96, 128, 192, 256)
SYSTEMS = (("medium", 6), ("medium", 10), ("medium", 16), ("large", 6), ("large", 10), ("large", 16), ("large", 24))
"""Those of the paper's Fig. 8, whose "small" model has 16249 parameters and is our medium one."""
TOLERANCE = 1e-5
"""Largest difference of log|psi| per site between baseline and package, float32, for a time to count."""


class Row(NamedTuple):
    """One operation (all its calls in a forward pass), or the whole pass, for one batch: medians in seconds."""

    network: str
    L: int
    batch: int
    operation: str
    scalar_s: float
    """The baseline: ``batch`` times its time for one configuration, since it does them one by one."""
    one_core_s: float
    """PyTorch's operation, or the package's forward pass, on one core."""
    all_cores_s: float
    cores: int

    @property
    def speedup(self) -> float:
        """Of all cores over the baseline: what the paper's Fig. 8 plots."""
        return self.scalar_s / self.all_cores_s


@torch.no_grad()
def speedups(
    systems: Sequence[tuple[str, int]] = SYSTEMS,
    batches: Sequence[int] = BATCHES,
    *,
    configurations: int = 4,
    repeats: int = 5,
    done: Callable[[int], None] = lambda rows: None,
) -> list[Row]:
    """Time every operation and the whole forward pass, float32.

    Parameters
    ----------
    systems
        Networks and L.
    configurations
        How many the baseline is timed with.
    repeats
        Of each timing, after two uncounted calls.
    done
        Called with the number of rows so far.

    Raises
    ------
    ArithmeticError
        If baseline and package do not agree: a time of a wrong result means nothing.
    """
    rows: list[Row] = []
    for model, L in systems:
        network = CNN(model)
        scalar = _scalar_seconds(network, random_spins(L, configurations), repeats)
        for batch in batches:
            for operation, work in _works(network, random_spins(L, batch)):
                with threads(1):
                    one = statistics.median(clock(work, repeats))
                with threads(available_cores()):
                    every = statistics.median(clock(work, repeats))
                rows.append(Row(model, L, batch, operation, batch * scalar[operation], one, every, available_cores()))
                done(len(rows))
    return rows


def _scalar_seconds(network: CNN, spins: Tensor, repeats: int) -> dict[str, float]:
    """Seconds of each operation and of the whole pass for one configuration, the average of several."""
    difference = (forward(network, spins)[0] - network(spins)[0]).abs().max().item()
    if not difference <= TOLERANCE * spins[0].numel():
        raise ArithmeticError(f"log|psi| of the baseline and the package differ by {difference:.1e}")
    plain, inputs = operations.steps(network, Loops()), _configurations(network, spins)
    works: dict[str, list[Callable[[], object]]] = {
        operation: [calls(plain, each, operation) for each in inputs] for operation in operations.OPERATIONS
    }
    works[FORWARD] = [partial(run, plain, each) for each in inputs]
    return {
        operation: statistics.median(clock(partial(_call_all, each), repeats)) / len(spins)
        for operation, each in works.items()
    }


def _call_all(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        work()


def _works(network: CNN, spins: Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each operation and the whole pass as the package, or else PyTorch, does it."""
    plain: list[Step[Tensor]] = operations.steps(network, operations.Torch())
    for operation in operations.OPERATIONS:
        yield operation, calls(plain, grid(network, spins), operation)
    yield FORWARD, lambda: network(spins)


def forward(network: CNN, spins: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, sign) of ``spins`` (batch, L, L) by the baseline, each of shape (batch,), float64."""
    plain = operations.steps(network, Loops())
    found = np.array([run(plain, one) for one in _configurations(network, spins)])
    return torch.from_numpy(found[:, 0].copy()), torch.from_numpy(found[:, 1].copy())


def _configurations(network: CNN, spins: Tensor) -> list[Array]:
    return list(grid(network, spins).numpy())


class Loops:
    """Plain loops for one configuration: grids are (channels, rows, columns)."""

    def array(self, values: Tensor) -> Array:
        return values.contiguous().numpy()

    def pad(self, x: Array, margin: int) -> Array:
        return _pad(x, margin)

    def conv2d(self, x: Array, weight: Array) -> Array:
        return _conv2d(x, weight)

    def bias(self, x: Array, bias: Array) -> Array:
        return _bias(x, bias)

    def max_pool(self, x: Array) -> Array:
        return _max_pool(x)

    def deconv(self, x: Array, weight: Array) -> Array:
        return _deconv(x, weight)

    def product(self, x: Array) -> Array:
        return _product(x)


@njit(nogil=True)
def _pad(x: Array, margin: int) -> Array:
    channels, rows, columns = x.shape
    out = np.empty((channels, rows + 2 * margin, columns + 2 * margin), dtype=x.dtype)
    for channel in range(channels):
        for row in range(rows + 2 * margin):
            for column in range(columns + 2 * margin):
                out[channel, row, column] = x[channel, (row - margin) % rows, (column - margin) % columns]
    return out


@njit(nogil=True)
def _conv2d(x: Array, weight: Array) -> Array:
    outputs, inputs, k, _ = weight.shape
    rows, columns = x.shape[1] - k + 1, x.shape[2] - k + 1
    out = np.empty((outputs, rows, columns), dtype=x.dtype)
    for output in range(outputs):
        for row in range(rows):
            for column in range(columns):
                total = x.dtype.type(0)
                for channel in range(inputs):
                    for a in range(k):
                        for b in range(k):
                            total += weight[output, channel, a, b] * x[channel, row + a, column + b]
                out[output, row, column] = total
    return out


@njit(nogil=True)
def _bias(x: Array, bias: Array) -> Array:
    channels, rows, columns = x.shape
    out = np.empty_like(x)
    for channel in range(channels):
        for row in range(rows):
            for column in range(columns):
                out[channel, row, column] = x[channel, row, column] + bias[channel]
    return out


@njit(nogil=True)
def _max_pool(x: Array) -> Array:
    channels, rows, columns = x.shape
    out = np.empty((channels, rows, columns // 2), dtype=x.dtype)
    for channel in range(channels):
        for row in range(rows):
            for pair in range(columns // 2):
                even, odd = x[channel, row, 2 * pair], x[channel, row, 2 * pair + 1]
                out[channel, row, pair] = even if even > odd else odd
    return out


@njit(nogil=True)
def _deconv(x: Array, weight: Array) -> Array:
    inputs, rows, pairs = x.shape
    outputs = weight.shape[1]
    out = np.empty((outputs, rows, 2 * pairs), dtype=x.dtype)
    for output in range(outputs):
        for row in range(rows):
            for pair in range(pairs):
                for parity in range(2):
                    total = x.dtype.type(0)
                    for channel in range(inputs):
                        total += weight[channel, output, parity] * x[channel, row, pair]
                    out[output, row, 2 * pair + parity] = total
    return out


@njit(nogil=True)
def _product(x: Array) -> Array:
    """log|psi| and sign, float64."""
    log_psi, sign = 0.0, 1.0
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            value = np.float64(x[0, row, column])
            log_psi += np.log(abs(value))
            sign *= np.sign(value)
    return np.array([log_psi, sign])
