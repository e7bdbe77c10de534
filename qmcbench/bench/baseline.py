"""The paper's baseline: the network on one scalar core.

Like the version for the management core of the paper's processor, the baseline does the plain network operation by
operation, one configuration at a time. Its loops are compiled, without leave to reorder sums, so those of the
convolutions are scalar.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench import operations
from qmcbench.bench.operations import grid, run

Array = NDArray[Any]

TOLERANCE = 1e-5
"""Largest difference of log|psi| per site between baseline and package, float32, for a time to count."""


def forward(network: CNN, spins: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, sign) of ``spins`` (batch, L, L) by the baseline, each of shape (batch,), float64."""
    plain = operations.steps(network, Loops())
    found = np.array([run(plain, one) for one in configurations(network, spins)])
    return torch.from_numpy(found[:, 0].copy()), torch.from_numpy(found[:, 1].copy())


def configurations(network: CNN, spins: Tensor) -> list[Array]:
    """The first grid of each configuration."""
    return list(grid(network, spins).numpy())


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


class Loops:
    """Plain loops for one configuration: grids are (channels, rows, columns)."""

    pad = staticmethod(_pad)
    conv2d = staticmethod(_conv2d)
    bias = staticmethod(_bias)
    max_pool = staticmethod(_max_pool)
    deconv = staticmethod(_deconv)
    product = staticmethod(_product)

    @staticmethod
    def array(values: Tensor) -> Array:
        return values.contiguous().numpy()
