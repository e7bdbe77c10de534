"""Matrices distributed over a mesh of ranks, and what ScaLAPACK does to them (paper Sec. 3.2.2 and Fig. 4).

ScaLAPACK stores matrices column by column. The rows X_s of one rank, one behind another in memory, are therefore
columns of the matrix A = X^T (parameters x samples), and the paper's pictures are turned: what it calls a row of the
mesh is a column here. Ranks are numbered down the columns, so those of one column own consecutive samples.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.ranks.comm import Communicator, Mpi, share
from qmcbench.ranks.mesh import fit_grid, local_size
from qmcbench.sr.scalapack_library import load

LARGEST = 2**31 - 1
"""Entries of a local array that ScaLAPACK's 32-bit integers can count."""


def local_indices(count: int, block: int, process: int, processes: int) -> NDArray[np.intp]:
    """Which of ``count`` rows (or columns) ``process`` holds when blocks are dealt out cyclically, rising."""
    return np.flatnonzero(np.arange(count) // block % processes == process)


@dataclass(frozen=True, eq=False)
class Matrix:
    """One rank's part of a distributed matrix."""

    shape: tuple[int, int]
    """Rows and columns of the whole matrix."""
    local: NDArray[np.float64]
    """The part, in Fortran order."""
    descriptor: NDArray[np.int32]
    """ScaLAPACK's array descriptor, shape (9,)."""


class Mesh:
    """A mesh of ranks with its two BLACS contexts.

    Parameters
    ----------
    comm
        The ranks.
    grid
        Rows and columns of the mesh; the most square one if absent.
    block
        Edge of the square blocks in which matrices are dealt out.

    Raises
    ------
    UserError
        If the grid does not take all ranks, or there is no ScaLAPACK.
    """

    def __init__(self, comm: Communicator, grid: tuple[int, int] | None = None, block: int = 128) -> None:
        self.rows, self.columns = fit_grid(grid, comm.size)
        self.library = load()
        from mpi4py import MPI  # importing it initialises MPI, which only this solver wants

        self.comm = comm
        self.block = block
        self.mpi = comm.mpi if isinstance(comm, Mpi) else MPI.COMM_SELF
        self.column, self.row = divmod(comm.rank, self.rows)
        self._neighbours = self.mpi.Split(color=self.column, key=self.row)
        self._call = self.library.handle
        self._line = self._context(1, comm.size)
        self._mesh = self._context(self.rows, self.columns)

    def close(self) -> None:
        """Free the contexts; needed only where many meshes are made, and then on all ranks."""
        self._call.blacs_gridexit(self._mesh)
        self._call.blacs_gridexit(self._line)
        self._neighbours.Free()

    def empty(self, rows: int, columns: int) -> Matrix:
        """A rows x columns matrix of arbitrary content in square blocks.

        Raises
        ------
        UserError
            If the part of a rank is too large for ScaLAPACK's integers.
        """
        return self._empty(rows, columns, self.block)

    def pdgemr2d(self, samples: Tensor) -> Matrix:
        """Distribute A = X^T in square blocks, by ScaLAPACK's general redistribution.

        Parameters
        ----------
        samples
            This rank's rows of X, those of ``share``; shape (own samples, parameters), float32 or float64. They are
            promoted to float64; if they are that already, they are not copied.
        """
        count = self._count(samples)
        local = samples.double().cpu().contiguous().numpy().T
        parameters, batch = len(local), math.ceil(count / self.comm.size)
        shape = parameters, count
        source = Matrix(shape, local, self._descriptor(self._line, local, shape, parameters, batch))
        matrix = self.empty(parameters, count)
        self._call.pdgemr2d(parameters, count, *self._arguments(source), *self._arguments(matrix), self._line)
        return matrix

    def alltoall(self, samples: Tensor) -> Matrix:
        """Distribute A = X^T by one exchange within each column of the mesh (paper Fig. 4).

        Each rank cuts the parameters of its samples into blocks and puts together those that go to the same row of
        the mesh: the paper's "new matrix with 3 rows". An all-to-all exchange among the ranks of one column (the
        paper's row: processes #0, #1 and #2 of 9) then leaves each with its parameters of all the column's samples.
        Samples never leave their column: they are dealt out in one block per column, parameters as usual.

        Parameters
        ----------
        samples
            As in :meth:`pdgemr2d`.
        """
        count, parameters = self._count(samples), samples.shape[1]
        matrix = self._empty(parameters, count, self.rows * math.ceil(count / self.comm.size))
        blocks = samples.cpu().split(self.block, dim=1)
        outgoing = np.empty(samples.numel())
        counts = [len(samples) * local_size(parameters, self.block, row, self.rows) for row in range(self.rows)]
        for row, piece in enumerate(np.split(outgoing, np.cumsum(counts)[:-1])):
            if piece.size:
                torch.cat(blocks[row :: self.rows], dim=1, out=torch.from_numpy(piece).view(len(samples), -1))
        first = self.column * self.rows
        batches = [len(share(count, rank, self.comm.size)) for rank in range(first, first + self.rows)]
        # The samples of a rank are columns one behind another, so what arrives lies where it belongs.
        incoming = [len(matrix.local) * batch for batch in batches]
        self._neighbours.Alltoallv((outgoing, counts), (matrix.local.T, incoming))
        return matrix

    def covariance(self, matrix: Matrix, *, symmetric: bool = True) -> Matrix:
        """A A^T (parameters x parameters) by pdsyrk, lower triangle only; in full by pdgemm if not ``symmetric``."""
        return self._product(matrix, matrix.shape, b"N", b"T", symmetric)

    def gram(self, matrix: Matrix, *, symmetric: bool = True) -> Matrix:
        """A^T A (samples x samples), as :meth:`covariance`."""
        return self._product(matrix, matrix.shape[::-1], b"T", b"N", symmetric)

    def add_to_diagonal(self, matrix: Matrix, value: float) -> None:
        """Add ``value`` to each diagonal entry of a square matrix, in place."""
        matrix.local[self._diagonal(matrix)] += value

    def factorise(self, matrix: Matrix) -> bool:
        """Cholesky by pdpotrf: the lower triangle L of a symmetric matrix L L^T given by its own, in place.

        Returns whether the matrix was positive definite and finite, alike on every rank; if not, it is destroyed.
        """
        info = ctypes.c_int()
        self._call.pdpotrf(b"L", matrix.shape[0], *self._arguments(matrix), info)
        # Netlib's pdpotrf, unlike oneMKL's, does not notice what is not finite; it always spreads to the diagonal.
        finite = np.isfinite(matrix.local[self._diagonal(matrix)]).all()
        return not self.comm.any(info.value != 0 or not finite)

    def solve(self, factor: Matrix, right: Tensor) -> Tensor:
        """Solve L L^T x = right by pdtrsv, twice; L from :meth:`factorise`.

        Parameters
        ----------
        right
            The whole right side on every rank, shape (n,), float64. So is x, the same to the last bit.
        """
        count = len(right)
        mine = local_indices(count, self.block, self.row, self.rows)
        vector = self.empty(count, 1)
        if self.column == 0:
            vector.local[:, 0] = right.cpu().numpy()[mine]
        for transposed in (b"N", b"T"):
            arguments = *self._arguments(factor), *self._arguments(vector), 1
            self._call.pdtrsv(b"L", transposed, b"N", count, *arguments)
        solution = torch.zeros(count, dtype=torch.float64)
        if self.column == 0:
            solution.numpy()[mine] = vector.local[:, 0]
        return self.comm.sum(solution)

    def _product(self, matrix: Matrix, size: tuple[int, int], left: bytes, right: bytes, symmetric: bool) -> Matrix:
        order, inner = size
        result = self.empty(order, order)
        one, zero = ctypes.c_double(1), ctypes.c_double(0)
        a, c = self._arguments(matrix), self._arguments(result)
        if symmetric:
            self._call.pdsyrk(b"L", left, order, inner, one, *a, zero, *c)
        else:
            self._call.pdgemm(left, right, order, order, inner, one, *a, *a, zero, *c)
        return result

    def _diagonal(self, matrix: Matrix) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Local rows and columns of the diagonal entries that this rank holds."""
        rows = local_indices(matrix.shape[0], self.block, self.row, self.rows)
        columns = local_indices(matrix.shape[1], self.block, self.column, self.columns)
        _, i, j = np.intersect1d(rows, columns, assume_unique=True, return_indices=True)
        return i, j

    def _count(self, samples: Tensor) -> int:
        """How many samples all ranks have together."""
        counts: list[int] = self.mpi.allgather(len(samples))
        total = sum(counts)
        if counts != [len(share(total, rank, self.comm.size)) for rank in range(self.comm.size)]:
            raise ValueError(f"the ranks have {counts} samples, which is not how they are shared")
        return total

    def _empty(self, rows: int, columns: int, column_block: int) -> Matrix:
        local_rows = local_size(rows, self.block, self.row, self.rows)
        local_columns = local_size(columns, column_block, self.column, self.columns)
        largest = local_size(rows, self.block, 0, self.rows) * local_size(columns, column_block, 0, self.columns)
        if largest > LARGEST:
            raise UserError(
                f"A {rows} x {columns} matrix on {self.rows} x {self.columns} ranks has {largest} entries on one of "
                f"them, and ScaLAPACK's limit is {LARGEST}; use more ranks."
            )
        local = np.empty((local_rows, local_columns), order="F")
        shape = rows, columns
        return Matrix(shape, local, self._descriptor(self._mesh, local, shape, self.block, column_block))

    def _context(self, rows: int, columns: int) -> int:
        """A BLACS context, its ranks numbered down the columns."""
        system = self._call.sys2blacs_handle(self.mpi.py2f())
        context = ctypes.c_int(system)
        self._call.blacs_gridinit(context, b"C", rows, columns)
        self._call.free_blacs_system_handle(system)
        return int(context.value)

    @staticmethod
    def _descriptor(
        context: int, local: NDArray[np.float64], shape: tuple[int, int], row_block: int, column_block: int
    ) -> NDArray[np.int32]:
        return np.array([1, context, *shape, row_block, column_block, 0, 0, max(1, len(local))], dtype=np.int32)

    def _arguments(self, matrix: Matrix) -> tuple[Any, ...]:
        """A matrix as Fortran wants it: its entries, its first row and column, its descriptor."""
        return self._call.numpy_ptr(matrix.local), 1, 1, self._call.numpy_ptr(matrix.descriptor)
