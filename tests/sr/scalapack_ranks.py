"""Run on several ranks by test_scalapack: solves many systems and prints, on rank 0, what every rank found.

mpiexec -n P python scalapack_ranks.py systems | memory
"""

import ctypes
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from helpers.groups import groups

from qmcbench.config import Scalapack as Options
from qmcbench.ranks.comm import Communicator, Mpi, share, world
from qmcbench.ranks.mesh import memory
from qmcbench.sr.scalapack import Scalapack
from qmcbench.sr.scalapack_library import load
from qmcbench.sr.scalapack_mesh import Mesh, local_indices
from qmcbench.sr.solvers import Centred, FactorisationError, centre, dense, sample_space

SAMPLES, PARAMETERS, SHIFT = 50, 173, 1e-2
# Many rounds of small blocks; and so large that some ranks have nothing of the matrix.
BLOCKS = (7, 64)
SPACES = ("parameters", "samples")
Record = dict[str, Any]


def weighted(seed: int = 1, dtype: torch.dtype = torch.float64) -> Centred:
    """All samples, the same on every rank: random numbers of very unequal weight."""
    generator = torch.Generator().manual_seed(seed)
    derivatives = torch.randn(SAMPLES, PARAMETERS, generator=generator, dtype=torch.float64) + 1
    energies = derivatives[:, 0] + torch.randn(SAMPLES, generator=generator, dtype=torch.float64) - 8
    weights = (1.5 * torch.randn(SAMPLES, generator=generator, dtype=torch.float64)).exp()
    return centre(derivatives.to(dtype), energies, weights / weights.sum())


def own(everything: Centred, comm: Communicator) -> Centred:
    """The samples of this rank."""
    mine = share(len(everything.rows), comm.rank, comm.size)
    return Centred(everything.rows[mine.start : mine.stop], everything.energies[mine.start : mine.stop])


def distance(step: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative to the expected step."""
    return float((step - expected).norm() / expected.norm())


def on_all(comm: Communicator, value: Any) -> list[Any]:
    """The values of all ranks."""
    return comm.mpi.allgather(value) if isinstance(comm, Mpi) else [value]


def solved(solver: Scalapack, everything: Centred, shift: float, reference: float) -> Record:
    """How far the step is from those of the serial solvers at the shift ``reference``, and what each rank got."""
    step, used, retries = solver(own(everything, solver.comm), shift)
    promoted = Centred(everything.rows.double(), everything.energies)
    serial = [solve(promoted, reference).step for solve in (dense, sample_space)]
    return {
        "distance": max(distance(step, expected) for expected in serial),
        "equal": len(set(on_all(solver.comm, step.numpy().tobytes()))) == 1,
        "outcomes": on_all(solver.comm, (used, retries)),
        "seconds": on_all(solver.comm, solver.seconds),
    }


def grids(ranks: int) -> list[tuple[int, int]]:
    """All of so many ranks."""
    return [(rows, ranks // rows) for rows in range(1, ranks + 1) if ranks % rows == 0]


def everywhere(comm: Communicator) -> list[Record]:
    """All grids, blocks, routines and both matrices."""
    everything, records = weighted(), []
    choices = itertools.product(grids(comm.size), BLOCKS, ("pdsyrk", "pdgemm"), ("pdgemr2d", "alltoall"), SPACES)
    for *choice, space in choices:
        options = Options(*choice)
        solver = Scalapack(comm, options, space)
        record = solved(solver, everything, SHIFT, SHIFT)
        solver.mesh.close()
        records.append(dataclasses.asdict(options) | {"space": space} | record)
    return records


def redistributed(comm: Communicator) -> list[bool]:
    """Whether, on each rank, every entry of A = X^T is where the distribution puts it, to the last bit."""
    everything = weighted(dtype=torch.float32)
    right = []
    for grid, block in itertools.product(grids(comm.size), BLOCKS):
        mesh = Mesh(comm, grid, block)
        rows = local_indices(PARAMETERS, block, mesh.row, mesh.rows)
        batch = mesh.rows * -(-SAMPLES // comm.size)
        for redistribute, column_block in ((mesh.pdgemr2d, block), (mesh.alltoall, batch)):
            columns = local_indices(SAMPLES, column_block, mesh.column, mesh.columns)
            local = redistribute(own(everything, comm).rows).local
            expected = everything.rows.double().numpy().T[np.ix_(rows, columns)]
            right.append(local.shape == expected.shape and bool((local == expected).all()))
        mesh.close()
    return [all(flags) for flags in on_all(comm, right)]


def shifted(comm: Communicator, space: str) -> Record:
    """A matrix that is indefinite by 0.05 more than its shift: 1e-3 and 1e-2 fail, 1e-1 is in truth 0.05."""
    solver = Scalapack(comm, Options(block=8), space)
    add: Callable[..., None] = solver.mesh.add_to_diagonal
    solver.mesh.add_to_diagonal = lambda matrix, value: add(matrix, value - 0.05)  # type: ignore[method-assign]
    return solved(solver, weighted(), 1e-3, 0.05)


def failed(comm: Communicator, space: str, value: float) -> list[str]:
    """What every rank says to one sample that is not finite, on the last rank."""
    everything = weighted()
    everything.rows[-1, 17] = value
    try:
        Scalapack(comm, Options(block=8), space)(own(everything, comm), SHIFT)
    except FactorisationError as error:
        return on_all(comm, str(error))
    return on_all(comm, "solved")


def unnoticed(comm: Communicator) -> list[list[bool]]:
    """What every rank says of a finite factor, and of a nan on the last rank that pdpotrf has not noticed."""
    mesh = Mesh(comm, block=7)
    mesh._call = SimpleNamespace(pdpotrf=lambda *_: None, numpy_ptr=mesh._call.numpy_ptr)
    matrix = mesh.empty(PARAMETERS, PARAMETERS)
    matrix.local[:] = 1
    finite = mesh.factorise(matrix)
    mesh.add_to_diagonal(matrix, np.nan if comm.rank == comm.size - 1 else 0.0)
    return on_all(comm, [finite, mesh.factorise(matrix)])


def apart(comm: Communicator) -> list[float]:
    """Distances where each half of the ranks solves a system of its own."""
    assert isinstance(comm, Mpi)
    half = Mpi(comm.mpi.Split(comm.rank * 2 // comm.size))
    seed = comm.rank * 2 // comm.size
    return on_all(
        comm, solved(Scalapack(half, Options(block=8), "parameters"), weighted(seed), SHIFT, SHIFT)["distance"]
    )


def misshared(comm: Communicator) -> list[str]:
    """What every rank says if the first has a sample too many."""
    rows = torch.zeros(3 + (comm.rank == 0) - (comm.rank == 1), 5)
    try:
        Mesh(comm).pdgemr2d(rows)
    except ValueError as error:
        return on_all(comm, str(error))
    return on_all(comm, "distributed")


def systems(comm: Communicator) -> Record:
    """Everything about many small systems."""
    found: Record = {
        "library": [load().name, *load().files],
        "everywhere": everywhere(comm),
        "redistributed": redistributed(comm),
        "shifted": {space: shifted(comm, space) for space in SPACES},
        "failed": {f"{space} {value}": failed(comm, space, value) for space in SPACES for value in (np.nan, np.inf)},
        "unnoticed": unnoticed(comm),
        "float32": solved(Scalapack(comm, Options(), "samples"), weighted(dtype=torch.float32), SHIFT, SHIFT),
    }
    if comm.size > 1:
        found |= {"misshared": misshared(comm), "apart": apart(comm)}
    return found


def peaks(comm: Communicator, parameters: int = 3531, samples: int = 1024) -> list[Record]:
    """Estimated and measured memory of one solution, bytes."""
    # Whatever was allocated before, large arrays come from the system and go back to it (glibc's M_MMAP_THRESHOLD).
    ctypes.CDLL(None).mallopt(-3, 65536)
    mine = share(samples, comm.rank, comm.size)
    rows = torch.rand(len(mine), parameters)
    whole, part = (Centred(x, torch.rand(len(mine), dtype=torch.float64)) for x in (rows, rows[:, :300].contiguous()))
    records = []
    pairs = (("pdgemr2d", "pdsyrk"), ("alltoall", "pdgemm"))
    for (redistribution, product), space in itertools.product(pairs, SPACES):
        options = Options(product=product, redistribution=redistribution)
        solver = Scalapack(comm, options, space)
        solver(part, 1.0)  # what libraries set up once for all is no part of the estimate
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
        solver(whole, 1.0)
        estimate = memory(parameters, samples, comm.size, options, space)
        records.append(
            {
                "options": [redistribution, product, space],
                "estimate": estimate.total,
                "measured": on_all(comm, status("VmHWM") - before),
            }
        )
    return records


def status(key: str) -> int:
    """A number of bytes that the kernel keeps on this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def all_sizes(comm: Communicator) -> dict[int, Record]:
    """The systems on 1 to 4 ranks, each found by rank 0 of its group."""
    turns = [[(3, None), (1, None)], [(2, None)], [(4, None)]]
    own = {part.size: systems(part) for part, _ in groups(comm, turns)}
    gathered = on_all(comm, own)
    return {size: next(record[size] for record in gathered if size in record) for size in (1, 2, 3, 4)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    ranks = world()
    results = all_sizes(ranks) if sys.argv[1] == "systems" else peaks(ranks)
    if ranks.rank == 0:
        print(json.dumps(results))
