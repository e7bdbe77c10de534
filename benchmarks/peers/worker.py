"""What the three programs under comparison share: how they are told what to do, and how they answer.

A program gets its job as one JSON argument. It prints a JSON line when it is ready (after comparing its amplitudes
with qmcbench's), then one JSON line for every line on its standard input: to ``iteration``, its time; to ``repeat``,
the time of each phase and of a whole iteration; to ``series SWEEPS``, an observable after that many further sweeps.
The first time of a kind includes compiling.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

# Largest difference of log|psi| between a peer's network and qmcbench's, in float32 on 100 factors.
TOLERANCE = 1e-4

# Answers go to standard output, and nothing else does: a peer prints remarks of its own.
ANSWERS, sys.stdout = sys.stdout, sys.stderr


@dataclass(frozen=True)
class Job:
    """One run of one program."""

    L: int
    J2: float
    model: str
    samples: int
    """Of one iteration; one of each chain, L * L proposals apart."""
    threads: int
    data: str
    """File with the weights, and the configurations whose amplitudes must agree."""
    learning_rate: float
    """In units of J1 S.S."""
    shift: float
    configuration: dict[str, Any]
    """What the program may choose for itself."""


class Program(Protocol):
    """An iteration taken apart; all results are complete when a method returns."""

    versions: dict[str, str]

    def amplitudes(self, spins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(log|psi|, sign) for ``spins`` (batch, L * L)."""
        ...

    def sweep(self) -> None:
        """L * L proposals in every chain."""
        ...

    def spins(self) -> np.ndarray:
        """The chains' configurations, (chains, L * L)."""
        ...

    def local_energies(self) -> np.ndarray:
        """Of all samples, total, in units of J1 S.S."""
        ...

    def sr_step(self) -> None:
        """Log-derivatives, matrix and solution, given the last local energies; the parameters stay as they are."""
        ...

    def iteration(self) -> None:
        """Everything above once, and the update of the parameters."""
        ...


def job() -> Job:
    """The job on the command line."""
    return Job(**json.loads(sys.argv[1]))


def arrays(data: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The network's parameters, and the reference configurations ``spins``, ``log_psi`` and ``sign``."""
    with np.load(data) as file:
        everything = {name: file[name] for name in file.files}
    reference = {name: everything.pop(name) for name in ("spins", "log_psi", "sign")}
    return everything, reference


def serve(job: Job, program: Program) -> None:
    """Compare amplitudes, and answer standard input until it ends."""
    difference = amplitude_difference(program, job.data)
    say(versions=program.versions | {"numpy": np.__version__}, amplitude_difference=difference)
    for line in sys.stdin:
        match line.split():
            case ["iteration"]:
                say(iteration=_clock(program.iteration), peak_MiB=peak_memory())
            case ["repeat"]:
                say(**_repeat(job, program), peak_MiB=peak_memory())
            case ["series", sweeps]:
                say(series=series(program, job.L, int(sweeps)))
            case _:
                raise ValueError(f"unknown request {line!r}")


def amplitude_difference(program: Program, data: str) -> float:
    """Largest difference of log|psi| from qmcbench's.

    :raises SystemExit: if it is above :data:`TOLERANCE`, or a sign differs.
    """
    _, reference = arrays(data)
    log_psi, sign = program.amplitudes(reference["spins"])
    difference = float(np.abs(log_psi - reference["log_psi"]).max())
    if not difference <= TOLERANCE or (sign != reference["sign"]).any():
        sys.exit(f"not the same network: log|psi| differs by {difference:.1e}, bound {TOLERANCE:.0e}, or signs do")
    return difference


def series(program: Program, L: int, sweeps: int) -> list[list[int]]:
    """Antiparallel neighbours (they give the diagonal energy) of each chain after each of ``sweeps`` sweeps."""
    columns = []
    for _ in range(sweeps):
        program.sweep()
        lattice = np.asarray(program.spins()).reshape(-1, L, L)
        columns.append(sum((lattice != np.roll(lattice, 1, axis)).sum((1, 2)) for axis in (1, 2)))
    rows: list[list[int]] = np.stack(columns, axis=1).tolist()
    return rows


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def say(**fields: Any) -> None:
    """Answer with one line of JSON."""
    print(json.dumps(fields), file=ANSWERS, flush=True)


def _repeat(job: Job, program: Program) -> dict[str, float]:
    energies: list[float] = []
    times = {
        "sweep": _clock(program.sweep),
        "local_energy": _clock(lambda: energies.append(float(np.mean(program.local_energies())))),
        "sr_step": _clock(program.sr_step),
        "iteration": _clock(program.iteration),
    }
    return times | {"energy_per_site": energies[0] / job.L**2}


def _clock(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
