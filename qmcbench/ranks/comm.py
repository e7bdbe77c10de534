"""One process or many ranks of MPI behind the same interface (paper Fig. 2a: data-parallel Markov chains).

What every rank computes from the same numbers in the same order is the same on every rank; what they compute from
their own chains goes through :class:`Communicator`. A run does not depend on how its chains are spread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from qmcbench import provenance
from qmcbench.errors import UserError
from qmcbench.ranks import early
from qmcbench.ranks.launch import launched

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")


class Communicator(Protocol):
    """What the ranks of a job say to each other; all of them must make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Number of this rank, from 0."""

    @property
    def size(self) -> int:
        """Number of ranks."""

    @property
    def neighbours(self) -> int:
        """Ranks that share this one's memory, itself included."""

    @property
    def local_rank(self) -> int:
        """Number of this rank among them, from 0."""

    @property
    def sharing(self) -> int:
        """Ranks that may use this one's cores, itself included."""

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the ranks, shape as ``values``, the same on every rank."""

    def gather(self, values: Tensor) -> Tensor:
        """All ranks' values one behind another along dimension 0, in the order of ranks, on every rank."""

    def broadcast(self, value: T) -> T:
        """Rank 0's value."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""


class Serial:
    """The communicator of a single process."""

    rank = local_rank = 0
    size = neighbours = sharing = 1

    def sum(self, values: Tensor) -> Tensor:
        """As they are."""
        return values

    def gather(self, values: Tensor) -> Tensor:
        """As they are."""
        return values

    def broadcast(self, value: T) -> T:
        """As it is."""
        return value

    def any(self, flag: bool) -> bool:
        """As it is."""
        return flag


class Mpi:
    """Communicator over an mpi4py one; tensors travel through the CPU's memory."""

    def __init__(self, mpi: MPI.Intracomm) -> None:
        from mpi4py import MPI

        self.mpi = mpi
        self.rank, self.size = mpi.rank, mpi.size
        self.node = mpi.Split_type(MPI.COMM_TYPE_SHARED)
        """The ranks that share this one's memory."""
        self.neighbours, self.local_rank = self.node.size, self.node.rank
        # A launcher may bind each rank to cores of its own.
        self.sharing = self.node.allgather(provenance.cores()).count(provenance.cores())

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the ranks, shape as ``values``, the same on every rank."""
        own = values.cpu().contiguous().numpy()
        total = np.empty_like(own)
        self.mpi.Allreduce(own, total)
        # An Allreduce need not give every rank the same last bit.
        self.mpi.Bcast(total)
        return torch.from_numpy(total).to(values.device)

    def gather(self, values: Tensor) -> Tensor:
        """All ranks' values one behind another along dimension 0, in the order of ranks, on every rank."""
        plain = values.byte() if values.dtype == torch.bool else values
        own = plain.cpu().contiguous().numpy()
        counts = np.array(self.mpi.allgather(own.size))
        everything = np.empty(counts.sum(), dtype=own.dtype)
        self.mpi.Allgatherv(own, (everything, counts))
        return torch.from_numpy(everything).view(-1, *values.shape[1:]).to(values.device, values.dtype)

    def broadcast(self, value: T) -> T:
        """Rank 0's value."""
        received: T = self.mpi.bcast(value)
        return received

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(self.mpi.allreduce(int(flag)))


def share(count: int, rank: int, size: int) -> range:
    """Which of ``count`` chains (or samples) a rank owns.

    Blocks of ceil(count / size) in the order of ranks, so the last may own fewer: ScaLAPACK's block distribution.

    Raises
    ------
    UserError
        If some rank would own none.
    """
    block = -(-count // size)
    if (size - 1) * block >= count:
        best = size * (count // size) or size
        raise UserError(
            f"{count} chains in blocks of {block} leave the last of {size} ranks without any; "
            f"take a multiple of {size} chains ({best}), or fewer ranks."
        )
    return range(rank * block, min(count, (rank + 1) * block))


def on_root(comm: Communicator, work: Callable[[], T]) -> T:
    """The result of ``work`` on rank 0, on every rank; a UserError or ArithmeticError there is raised on all."""
    outcome: tuple[T | None, Exception | None] = (None, None)
    if comm.rank == 0:
        try:
            outcome = work(), None
        except (UserError, ArithmeticError) as error:
            outcome = None, error
    result, mistake = comm.broadcast(outcome)
    if mistake is not None:
        raise mistake
    return result  # type: ignore[return-value]  # with no mistake it is what `work` returned


@cache
def world() -> Communicator:
    """All ranks that an MPI launcher started together with this process.

    Raises
    ------
    UserError
        If there are several, but mpi4py is missing or belongs to another MPI library, or /dev/shm is too small.
    """
    size = launched()
    if size == 1:
        return Serial()
    early.check_shared_memory(size)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"{size} processes were started, but mpi4py cannot be used here ({error}); "
            'install it with pip install "qmcbench[mpi]".'
        ) from error
    found = MPI.COMM_WORLD.size
    if found != size:
        raise UserError(
            f"The launcher started {size} processes, but the MPI library of mpi4py sees {found} "
            f"({MPI.Get_library_version().splitlines()[0].strip()}); start them with the mpiexec of that library, or "
            "give srun the --mpi that it needs (pmi2 for MPICH)."
        )
    return Mpi(MPI.COMM_WORLD)
