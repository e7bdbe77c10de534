"""The comparison with peers: what runs it, and the ratios that follow from its times; torch is not needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from qmcbench.bench.names import LOCAL_ENERGY, OURS, PEERS, PHASES, SWEEP
from qmcbench.errors import UserError
from qmcbench.store.bench import PeerProgram, PeerTrial, WorkTime
from qmcbench.store.records import Run

COMPARISON = Path("benchmarks", "peers", "run.py")
INSTALL = '`python -m venv peers; peers/bin/pip install "netket==3.23.*" "quantax==0.4.*" "jax==0.10.2"`'
QUICK = ("--L", "4", "--model", "small", "--samples", "64")
# An empty sentence would be a failure too.
FIND = "import importlib.util as u, sys; sys.exit(' and '.join(n for n in sys.argv[1:] if not u.find_spec(n)) or 0)"


@dataclass(frozen=True)
class Spread:
    """A median, the least and the largest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Side:
    """A program in its best configuration, with its times by phase."""

    program: PeerProgram
    times: Mapping[str, WorkTime]

    @property
    def per_effective_sample(self) -> float:
        """Seconds of sweep and local energies (the median of their sums) times tau, over the samples."""
        sums = [a + b for a, b in zip(self.times[SWEEP].each, self.times[LOCAL_ENERGY].each, strict=True)]
        return median(sums) * self.program.tau / self.program.samples

    def over(self, other: Side) -> dict[str, Spread]:
        """Times of this program over those of ``other``, repeat by repeat of one run, for each phase."""
        return {
            phase: spread([a / b for a, b in zip(own.each, other.times[phase].each, strict=True)])
            for phase, own in self.times.items()
        }


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values))


def sides(run: Run) -> dict[str, Side]:
    """The compared programs, this package first.

    Raises
    ------
    UserError
        If this package is not among them, or a program's times are not those of the same repeats.
    """
    programs = {each.program: each for each in run.of(PeerProgram)}
    if OURS not in programs:
        raise UserError(f"The comparison with peers has no times of {OURS}; measure it again.")
    found = {}
    repeats = {len(each.each) for each in run.of(WorkTime)}
    for name in [OURS, *(name for name in programs if name != OURS)]:
        times = {each.work: each for each in run.of(WorkTime) if each.program == name}
        if times.keys() != PHASES.keys() or len(repeats) != 1 or 0 in repeats:
            raise UserError(
                f"The times of {name} in the comparison with peers are not of {', '.join(PHASES)} in as many repeats "
                "as those of the others; measure it again."
            )
        found[name] = Side(programs[name], {phase: times[phase] for phase in PHASES})
    return found


def best(trials: Iterable[PeerTrial], program: str) -> PeerTrial | None:
    """The trial of ``program`` with the fastest iteration, None if all failed."""
    ran = [(each.value, each) for each in trials if each.program == program and each.value is not None]
    return min(ran, key=lambda pair: pair[0], default=(None, None))[1]


def check(checkout: Path, python: str | None) -> None:
    """See that the comparison can be run by ``python``, the interpreter of the peers' environment.

    Raises
    ------
    UserError
        If not.
    """
    peers = " and ".join(PEERS)
    if python is None:
        raise UserError(
            f"{peers} need an environment of their own, whose Python is --peers-python; make one with {INSTALL} and "
            "use --peers-python peers/bin/python."
        )
    if not (checkout / COMPARISON).is_file():
        raise UserError(
            f"The comparison with peers is part of a checkout of qmcbench, but the folder {checkout.resolve().name} "
            "is none; go to one, or use --checkout."
        )
    try:
        answer = subprocess.run(
            [python, "-c", FIND, *PEERS], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UserError(
            f"--peers-python {python} cannot be started ({error.strerror}); it is the interpreter of an environment "
            f"with {peers}, which {INSTALL} makes."
        ) from error
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"])[-1]
        raise UserError(f"--peers-python {python} lacks what is compared ({last}); {INSTALL} makes one that has it.")


def compare(checkout: Path, out: Path, python: str, *, quick: bool, quiet: bool) -> None:
    """Run the comparison, which leaves its records in ``out`` itself.

    Raises
    ------
    UserError
        If it fails; it has said why.
    """
    command = [sys.executable, str(checkout / COMPARISON), "--peers-python", python, "--out", str(out)]
    # What it prints is progress: standard output is for this command's own result.
    options = [*QUICK * quick, *["--quiet"] * quiet]
    done = subprocess.run([*command, *options], stdin=subprocess.DEVNULL, stdout=sys.__stderr__, check=False)
    if done.returncode:
        raise UserError(
            f"The comparison with peers ended with exit status {done.returncode} and said why above; what it has "
            "tried is kept, and the same command goes on from there."
        )
