"""Timed work on several ranks: the ranks' side, ``mpiexec -n P python -m qmcbench.bench.worker JOB``.

JOB is a JSON object: ``kind``, a key of :data:`JOBS`, and that job's own keys. Rank 0 answers with one line of JSON
on standard output; everything else goes to standard error. A rank that fails ends all.
"""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch
from cattrs import structure
from threadpoolctl import threadpool_info

from qmcbench import provenance
from qmcbench.bench import growth, kernels, worker_derivatives, worker_strong, worker_weak
from qmcbench.errors import UserError
from qmcbench.files import dumps
from qmcbench.ranks.comm import Communicator, world
from qmcbench.ranks.faults import Job
from qmcbench.sr import scalapack_library
from qmcbench.structure import unstructure

Answer = dict[str, Any]


def work(comm: Communicator, text: str) -> Answer:
    """Do the job that ``text`` describes; its answer says with what libraries, and on what, it was done."""
    settings = json.loads(text)
    answer = JOBS[settings.pop("kind")](comm, settings)
    command = shlex.join(["mpiexec", "-n", str(comm.size), "python", "-m", "qmcbench.bench.worker", text])
    return {
        "ranks": comm.size,
        "oversubscribed": comm.sharing * torch.get_num_threads() > provenance.available_cores(),
        **answer,
        "libraries": {
            "mpi": mpi_version() if "mpi4py.MPI" in sys.modules else None,
            "scalapack": scalapack_library.load().name if scalapack_library.load.cache_info().currsize else None,
            "blas": [[each["internal_api"], each["version"], each["num_threads"]] for each in threadpool_info()],
        },
        "provenance": unstructure(provenance.collect(command)),
    }


def mpi_version() -> str:
    """The MPI library of mpi4py, such as "MPICH Version: 5.0.2"."""
    from mpi4py import MPI

    return " ".join(MPI.Get_library_version().splitlines()[0].split())


def find_libraries(comm: Communicator) -> Answer:
    """What can be loaded: for ``mpi`` and ``scalapack`` what was found, or why not."""
    found: Answer = {}
    for name, find in (("mpi", mpi_version), ("scalapack", lambda: scalapack_library.load().name)):
        try:
            found[name] = {"found": find()}
        except (ImportError, RuntimeError, UserError) as error:
            found[name] = {"problem": str(error)}
    return found


JOBS: dict[str, Callable[[Communicator, dict[str, Any]], Answer]] = {
    "find": lambda comm, settings: find_libraries(comm),
    "cholesky": lambda comm, settings: kernels.compare_cholesky(comm, **settings),
    "dgemm": lambda comm, settings: kernels.dgemm(comm, **settings),
    "derivatives": lambda comm, settings: worker_derivatives.measure(comm, **settings),
    "growth": lambda comm, settings: growth.point(comm, **settings),
    "strong": lambda comm, settings: worker_strong.measure(comm, structure(settings, worker_strong.Strong)),
    "weak": lambda comm, settings: worker_weak.measure(comm, structure(settings, worker_weak.Weak)),
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
