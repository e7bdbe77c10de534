"""What the programs share that train against the clock: their job, the clock, the fresh energies, the answers.

A program gets its job as one JSON argument and prints a JSON line for each thing that happens: ``ready`` once,
``step`` after every update, ``fresh`` whenever the energy is evaluated anew at fixed parameters, the last time at the
end. Its clock starts with the program, so imports and compilation count; it stands still during fresh evaluations.
"""

import time

BEGAN = time.perf_counter()  # before anything large is imported

import json  # noqa: E402
import math  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import Any, Protocol  # noqa: E402

import numpy as np  # noqa: E402

WINDOW = 20
"""Most steps whose mean tells that a target may be reached."""
AGAIN = 1.1
"""How many times the clock must show before a target that was not reached is looked at again."""
SIGMAS = 2.0
"""Standard errors by which a fresh energy must be within a target: of several looks, one is low by chance."""
SETTLE = 5
"""Sweeps before fresh samples: the chains were those of other parameters."""

# Answers go to standard output, and nothing else does: a peer prints remarks of its own.
ANSWERS, sys.stdout = sys.stdout, sys.stderr


@dataclass(frozen=True)
class Job:
    """One program in one configuration."""

    L: int
    J2: float
    threads: int
    seed: int
    limit: float
    """Seconds on the clock after which no step begins."""
    exact: float
    """The ground-state energy per site that the targets are relative to."""
    targets: tuple[float, ...]
    """Relative errors, from the largest."""
    fresh_samples: int
    data: str
    """File with the weights that the twins start from."""
    configuration: dict[str, Any]


class Learner(Protocol):
    """A program that trains; energies are per site in units of J1 S.S."""

    versions: dict[str, str]
    parameters: int
    samples: int
    """Of a step."""

    def step(self) -> tuple[float, float]:
        """One whole step, finished: the energy of its samples, drawn before the update, and its standard error."""
        ...

    def fresh(self, samples: int) -> tuple[float, float, int]:
        """The energy at the parameters as they are: mean, standard error, number of samples."""
        ...

    def finished(self) -> bool:
        """Whether its own recipe ends here."""
        ...


def job() -> Job:
    """The job on the command line."""
    plain = json.loads(sys.argv[1])
    return Job(**{**plain, "targets": tuple(plain["targets"])})


def of_chains(energies: np.ndarray) -> tuple[float, float, int]:
    """Mean of local energies (chains, samples), the error from the spread of the chains, and their number."""
    means = energies.mean(1)
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means))), energies.size


def learn(job: Job, program: Learner) -> None:
    """Train until the time or the recipe is over, with a fresh energy whenever a target seems to be reached."""
    described = {name: getattr(program, name) for name in ("versions", "parameters", "samples")}
    say("ready", seconds=time.perf_counter() - BEGAN, **described)
    waiting, paused, again = list(job.targets), 0.0, 0.0
    energies: list[float] = []
    errors: list[float] = []
    while True:
        energy, error = program.step()
        seconds = time.perf_counter() - BEGAN - paused
        energies.append(energy)
        errors.append(error)
        say("step", seconds=seconds, energy=_finite(energy), error=_finite(error), peak_MiB=peak_memory())
        over = seconds >= job.limit or program.finished()
        hopeful = waiting and seconds >= again and seems_within(energies, errors, job.exact, waiting[0])
        if over or hopeful:
            before = time.perf_counter()
            mean, sigma, samples = program.fresh(job.fresh_samples)
            paused += time.perf_counter() - before
            say("fresh", seconds=seconds, energy=_finite(mean), error=_finite(sigma), samples=samples)
            while waiting and mean + SIGMAS * sigma - job.exact <= waiting[0] * abs(job.exact):
                del waiting[0]
            again = AGAIN * seconds
        if over:
            return


def seems_within(energies: list[float], errors: list[float], exact: float, target: float) -> bool:
    """Whether the last energies say so: as many of them as give an error of a quarter of the target, or WINDOW."""
    for count in range(1, min(WINDOW, len(energies)) + 1):
        error = math.sqrt(sum(each**2 for each in errors[-count:])) / count
        if error <= target * abs(exact) / 4 or count == WINDOW:
            return sum(energies[-count:]) / count - exact <= target * abs(exact)
    return False


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def say(what: str, **fields: Any) -> None:
    """Answer with one line of JSON."""
    print(json.dumps({what: fields}), file=ANSWERS, flush=True)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
