"""The distributed solver: (M + shift I) Delta = G by ScaLAPACK on all ranks (paper Sec. 3.2.2).

No rank holds more than its samples and its part of one matrix: the covariance X^T X (parameters x parameters, the
paper's) or the Gram matrix X X^T (samples x samples; Chen & Heyl, Nat. Phys. 20, 1476 (2024)), dealt out over a mesh.
See :mod:`qmcbench.sr.solvers` for the two and for X.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from qmcbench.config import Scalapack as Options
from qmcbench.ranks.comm import Communicator, share
from qmcbench.sr.scalapack_mesh import Matrix, Mesh
from qmcbench.sr.solvers import COLUMNS, RETRIES, Centred, FactorisationError, Solution

PHASES = ("redistribution", "product", "factorisation", "solves")


class Scalapack:
    """Solver for the samples that all ranks of a communicator hold together, each those of its ``share``.

    Parameters
    ----------
    comm
        The ranks.
    options
        Grid, block, routines.
    space
        "parameters" or "samples": which matrix.

    Raises
    ------
    UserError
        If the grid does not take all ranks, or there is no ScaLAPACK.
    """

    def __init__(self, comm: Communicator, options: Options, space: str) -> None:
        self.comm, self.options, self.space = comm, options, space
        self.mesh = Mesh(comm, options.grid, options.block)
        self.seconds = dict.fromkeys(PHASES, 0.0)
        """Of the last call, between barriers. "solves" is all from the energies and the factor to the step."""

    def __call__(self, samples: Centred, shift: float) -> Solution:
        """The step, the same to the last bit on every rank.

        Raises
        ------
        FactorisationError
            On all ranks, if no shift that was tried made the matrix positive definite.
        """
        self.seconds = dict.fromkeys(PHASES, 0.0)
        for attempt in range(RETRIES):
            trial = shift * 10.0**attempt
            factor = self._factor(samples.rows, trial)
            if factor is not None:
                with self._phase("solves"):
                    return Solution(self._step(factor, samples), trial, attempt)
        raise FactorisationError(trial)

    def _factor(self, rows: Tensor, shift: float) -> Matrix | None:
        """Cholesky factor of the shifted matrix, None if it is indefinite. There is only ever one matrix."""
        with self._phase("redistribution"):
            redistribute = self.mesh.alltoall if self.options.redistribution == "alltoall" else self.mesh.pdgemr2d
            distributed = redistribute(rows)
        with self._phase("product"):
            product = self.mesh.covariance if self.space == "parameters" else self.mesh.gram
            matrix = product(distributed, symmetric=self.options.product == "pdsyrk")
            del distributed
            self.mesh.add_to_diagonal(matrix, shift)
        with self._phase("factorisation"):
            return matrix if self.mesh.factorise(matrix) else None

    def _step(self, factor: Matrix, samples: Centred) -> Tensor:
        """Delta = M^-1 X^T e, or X^T (X X^T)^-1 e."""
        rows, energies = samples
        if self.space == "parameters":
            return self.mesh.solve(factor, self._back(rows, energies)).to(rows.device)
        dual = self.mesh.solve(factor, self.comm.gather(energies)).to(rows.device)
        mine = share(len(dual), self.comm.rank, self.comm.size)
        return self._back(rows, dual[mine.start : mine.stop])

    def _back(self, rows: Tensor, vector: Tensor) -> Tensor:
        """X^T v of all ranks' samples, on every rank, in float64."""
        return self.comm.sum(torch.cat([columns.double().T @ vector for columns in rows.split(COLUMNS, dim=1)]))

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self.mesh.mpi.Barrier()
        start = time.perf_counter()
        yield
        self.mesh.mpi.Barrier()
        self.seconds[name] += time.perf_counter() - start
