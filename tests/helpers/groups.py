"""One start of several ranks that is also jobs of fewer: a start takes each rank seconds of loading."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from qmcbench.ranks.comm import Communicator, Mpi, Serial


def groups(world: Communicator, turns: Sequence[Sequence[tuple[int, Any]]]) -> Iterator[tuple[Communicator, Any]]:
    """Turn after turn, the ranks of each group (its size, and what it does) as a communicator of their own.

    A group of one is a single process, as without a launcher. Ranks left over sleep, and leave the cores alone.
    """
    from mpi4py import MPI

    assert isinstance(world, Mpi)
    for turn in turns:
        colours = [colour for colour, (size, _) in enumerate(turn) for _ in range(size)]
        assert len(colours) <= world.size, "a turn has more ranks than there are"
        own = colours[world.rank] if world.rank < len(colours) else MPI.UNDEFINED
        part = world.mpi.Split(own, world.rank)
        if own != MPI.UNDEFINED:
            yield Serial() if part.size == 1 else Mpi(part), turn[own][1]
        everyone = world.mpi.Ibarrier()
        while not everyone.Test():
            time.sleep(0.01)
