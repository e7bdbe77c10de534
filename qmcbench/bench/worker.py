"""Timed work on several ranks: the ranks' side, ``mpiexec -n P python -m qmcbench.bench.worker JOB``.

JOB is a JSON object: ``kind``, a key of :data:`JOBS`, and that job's own keys. Rank 0 answers with one line of JSON
on standard output; everything else goes to standard error. A rank that fails ends all.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from threadpoolctl import threadpool_info

from qmcbench import provenance
from qmcbench.bench import kernels
from qmcbench.bench.answers import Library
from qmcbench.errors import UserError
from qmcbench.files import dumps
from qmcbench.ranks.comm import Communicator, world
from qmcbench.ranks.faults import Job
from qmcbench.sr import scalapack_library
from qmcbench.store.scaling import Blas, Libraries, StrongRun, WeakRun
from qmcbench.structure import parse_json, structure, unstructure

Answer = dict[str, Any]


def work(comm: Communicator, text: str) -> Answer:
    """Do the job that ``text`` describes; its answer says with what libraries, and on what, it was done.

    Raises
    ------
    UserError
        If there is no such job, or it has a wrong key or value.
    """
    settings = parse_json(text, "The job of the ranks")
    kind = settings.pop("kind", None) if isinstance(settings, dict) else None
    if kind not in JOBS:
        raise UserError(f"The job of the ranks: kind = {kind!r} is not one of {', '.join(JOBS)}.")
    request, do = JOBS[kind]()
    answer = do(comm, structure(settings, request, f"The job {kind!r} of the ranks"))
    command = shlex.join(["mpiexec", "-n", str(comm.size), "python", "-m", "qmcbench.bench.worker", text])
    plain: Answer = unstructure(answer)
    return plain | {
        "ranks": comm.size,
        "oversubscribed": comm.sharing * torch.get_num_threads() > provenance.available_cores(),
        "libraries": unstructure(libraries()),
        "provenance": unstructure(provenance.collect(command)),
    }


def libraries() -> Libraries:
    """What this rank has loaded."""
    return Libraries(
        mpi_version() if "mpi4py.MPI" in sys.modules else None,
        scalapack_library.load().name if scalapack_library.load.cache_info().currsize else None,
        tuple(Blas(each["internal_api"], each["version"], each["num_threads"]) for each in threadpool_info()),
    )


def mpi_version() -> str:
    """The MPI library of mpi4py, such as "MPICH Version: 5.0.2"."""
    from mpi4py import MPI

    return " ".join(MPI.Get_library_version().splitlines()[0].split())


@dataclass(frozen=True)
class Nothing:
    """What a job takes that has no keys of its own."""


def find_libraries(comm: Communicator, request: Nothing) -> dict[str, Library]:
    """Whether MPI and ScaLAPACK can be loaded."""
    return {"mpi": _find(mpi_version), "scalapack": _find(lambda: scalapack_library.load().name)}


def _find(name: Callable[[], str]) -> Library:
    try:
        return Library(found=name())
    except (ImportError, RuntimeError, UserError) as error:
        return Library(problem=str(error))


Work = tuple[type, Callable[[Communicator, Any], Any]]
"""A job's own keys, and who does it. The answer is a dataclass or a dictionary."""


def _loaded(module: str, request: str, do: str) -> Callable[[], Work]:
    """The work of another module, which alone needs what that imports."""

    def load() -> Work:
        there = import_module(f"qmcbench.bench.{module}")
        return getattr(there, request), getattr(there, do)

    return load


JOBS: dict[str, Callable[[], Work]] = {
    "find": lambda: (Nothing, find_libraries),
    "cholesky": lambda: (Nothing, lambda comm, request: kernels.compare_cholesky(comm)),
    "derivatives": _loaded("worker_derivatives", "Request", "measure"),
    "growth": _loaded("growth", "Request", "point"),
    StrongRun.kind: _loaded("worker_strong", "StrongRun", "measure"),
    WeakRun.kind: _loaded("worker_weak", "WeakRun", "measure"),
}
"""What the ranks can be asked to do."""


def main(text: str) -> None:
    """Do one job, answer, and leave."""
    try:
        job = Job(world())
    except UserError as error:
        sys.exit(f"error: {error}")
    status, message = 0, None
    try:
        answer = work(job.comm, text)
        if job.comm.rank == 0:
            print(dumps(answer), flush=True)
    except UserError as error:
        status, message = 2, f"error: {error}"
    except Exception as error:
        traceback.print_exc()
        status, message = 1, f"error: {type(error).__name__}: {error}"
    job.end(status, message)


if __name__ == "__main__":
    main(sys.argv[1])
