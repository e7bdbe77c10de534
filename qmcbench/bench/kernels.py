"""What the jobs on several ranks are made of: clock, synthetic samples, the machine's dgemm, memory."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ranks.comm import Communicator, share

T = TypeVar("T")


def timed(comm: Communicator, work: Callable[[], T]) -> tuple[float, T]:
    """Seconds from when all ranks begin ``work`` to when all have ended it, and its result."""
    comm.any(False)  # nobody returns from it before everybody has called it
    began = time.perf_counter()
    result = work()
    comm.any(False)
    return time.perf_counter() - began, result


def synthetic(samples: range, parameters: int, seed: int) -> NDArray[np.float32]:
    """Rows ``samples`` of a matrix of standard normal numbers, whoever makes them; shape (own, parameters)."""
    rows = np.empty((len(samples), parameters), dtype=np.float32)
    for row, sample in zip(rows, samples, strict=True):
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, sample], dtype=np.uint64)))
        generator.standard_normal(out=row, dtype=np.float32)
    return rows


def dgemm(comm: Communicator, size: int, repeats: int = 5) -> float:
    """GF/s of each rank with ScaLAPACK's own BLAS at size x size x size on all at once: the best of ``repeats``."""
    from qmcbench.sr.scalapack_library import load

    blas = load().handle
    a, b = (np.asfortranarray(synthetic(range(size), size, seed), dtype=np.float64) for seed in (1, 2))
    c = np.empty((size, size), order="F")
    one, zero = ctypes.c_double(1), ctypes.c_double(0)
    x, y, z = (blas.numpy_ptr(matrix) for matrix in (a, b, c))

    def multiply() -> None:
        blas.dgemm(b"N", b"N", size, size, size, one, x, size, y, size, zero, z, size)

    multiply()
    seconds = [timed(comm, multiply)[0] for _ in range(repeats)]
    return 2 * size**3 / min(seconds) / 1e9


def peak_memory(comm: Communicator) -> list[int]:
    """The most memory that each rank has held, bytes."""
    return [int(each) for each in comm.gather(torch.tensor([_own_peak()]))]


def _own_peak() -> int:
    # Linux hands the portable measure on from the process that started this one, whose peak may be the greater.
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def compare_cholesky(comm: Communicator, size: int = 200, block: int = 16) -> dict[str, Any]:
    """pdpotrf of a size x size covariance by all ranks against numpy's Cholesky: the largest relative difference."""
    from qmcbench.sr.scalapack_mesh import Mesh, local_indices

    mesh = Mesh(comm, block=block)
    everything = synthetic(range(2 * size), size, seed=0).astype(np.float64)
    own = share(len(everything), comm.rank, comm.size)
    matrix = mesh.covariance(mesh.pdgemr2d(torch.from_numpy(everything[own.start : own.stop])))
    positive = mesh.factorise(matrix)
    rows = local_indices(size, block, mesh.row, mesh.rows)
    columns = local_indices(size, block, mesh.column, mesh.columns)
    found = np.zeros((size, size))
    found[np.ix_(rows, columns)] = matrix.local
    total: Tensor = comm.sum(torch.from_numpy(found))
    expected = np.linalg.cholesky(everything.T @ everything)
    difference = np.abs(np.tril(total.numpy()) - expected).max() / np.abs(expected).max()
    return {"size": size, "grid": [mesh.rows, mesh.columns], "positive": positive, "difference": float(difference)}
