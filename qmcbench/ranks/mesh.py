"""A mesh of ranks and what matrices dealt out over it take, as plain arithmetic: no MPI, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from qmcbench.errors import UserError


class Layout(Protocol):
    """What of :class:`qmcbench.config.Scalapack` decides where the matrices lie."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the mesh; as square as can be if absent."""

    @property
    def block(self) -> int:
        """Edge of the square blocks in which matrices are dealt out."""

    @property
    def product(self) -> str:
        """pdsyrk or pdgemm."""

    @property
    def redistribution(self) -> str:
        """pdgemr2d or alltoall."""


def fit_grid(grid: tuple[int, int] | None, ranks: int) -> tuple[int, int]:
    """Rows and columns of a mesh of all ``ranks``: as asked for, else as square as can be.

    Raises
    ------
    UserError
        If that is not their number.
    """
    side = next(side for side in range(math.isqrt(ranks), 0, -1) if ranks % side == 0)
    rows, columns = grid or (side, ranks // side)
    if rows < 1 or rows * columns != ranks:
        raise UserError(
            f"A ScaLAPACK grid of {rows} x {columns} is for {rows * columns} ranks, and there "
            f"{f'are {ranks}' if ranks > 1 else 'is 1'}; choose for instance {side} x {ranks // side}."
        )
    return rows, columns


def local_size(count: int, block: int, process: int, processes: int) -> int:
    """How many rows (or columns) :func:`qmcbench.sr.scalapack_mesh.local_indices` lists."""
    rounds, rest = divmod(count, block * processes)
    return rounds * block + min(block, max(0, rest - process * block))


@dataclass(frozen=True)
class Memory:
    """What the solver takes on the largest rank beside its samples, in bytes."""

    promoted: int
    """Samples in float64 (none if they are so already and pdgemr2d redistributes), or sorted for the exchange."""
    redistributed: int
    """Samples as they are dealt out over the mesh."""
    buffers: int
    """Of pdgemr2d: the longest message to be sent and the longest to be received."""
    matrix: int
    """Covariance or Gram matrix."""
    panels: int
    """Of the product: of the distributed samples, as wide as their blocks, along rows and columns of the mesh."""

    @property
    def total(self) -> int:
        """The most at any one time."""
        return self.redistributed + max(self.promoted + self.buffers, self.matrix + self.panels)


def memory(parameters: int, samples: int, ranks: int, layout: Layout, space: str) -> Memory:
    """Estimate what :class:`qmcbench.sr.scalapack.Scalapack` takes; arguments as there, sizes of the whole problem.

    Raises
    ------
    UserError
        If the grid does not take all ranks.
    """
    rows, columns = fit_grid(layout.grid, ranks)
    batch = math.ceil(samples / ranks)
    exchanged = layout.redistribution == "alltoall"
    block = rows * batch if exchanged else layout.block
    order = parameters if space == "parameters" else samples
    height = local_size(parameters, layout.block, 0, rows)
    # A message goes to one rank of the mesh: its parameters of those of this rank's samples that are dealt to it.
    message = height * min(batch, local_size(batch, layout.block, 0, columns))
    # pdsyrk takes blocks of its own.
    width = block if layout.product == "pdgemm" and space == "parameters" else layout.block
    edges = local_size(order, layout.block, 0, rows), local_size(order, layout.block, 0, columns)
    return Memory(
        promoted=8 * batch * parameters,
        redistributed=8 * height * local_size(samples, block, 0, columns),
        buffers=0 if exchanged else 2 * 8 * message,
        matrix=8 * edges[0] * edges[1],
        panels=8 * sum(edges) * min(width, samples if space == "parameters" else parameters),
    )
