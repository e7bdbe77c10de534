"""The programs under comparison as processes that wait for requests, and what they answer."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from worker import Job

from qmcbench.bench.names import OURS
from qmcbench.errors import UserError
from qmcbench.ranks.launch import THREADS
from qmcbench.structure import parse_json, structure

T = TypeVar("T")

HERE = Path(__file__).parent
SCRIPTS = {OURS: "ours.py", "netket": "twin_netket.py", "quantax": "twin_quantax.py"}


@dataclass(frozen=True)
class Ready:
    """The first answer: the network has been found to be the same one."""

    versions: Mapping[str, str]
    amplitude_difference: float


@dataclass(frozen=True)
class Iteration:
    """Seconds of one iteration, and the most memory so far."""

    iteration: float
    peak_MiB: float


@dataclass(frozen=True)
class Repeat:
    """Seconds of each phase and of a whole iteration."""

    sweep: float
    local_energy: float
    sr_step: float
    iteration: float
    energy_per_site: float
    peak_MiB: float


@dataclass(frozen=True)
class Series:
    """Antiparallel neighbours of each chain, sweep by sweep."""

    series: tuple[tuple[int, ...], ...]


class Failed(Exception):
    """A program ended, or answered what is no answer."""


class Slow(Failed):
    """It did not answer in time."""


class Running:
    """A program that waits for requests; use as a context manager."""

    def __init__(self, job: Job, program: str, python: str, timeout: float) -> None:
        self.timeout, self.program = timeout, program
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the program)
        self.process = subprocess.Popen(
            [python, str(HERE / SCRIPTS[program]), json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | dict.fromkeys(THREADS, str(job.threads)) | {"JAX_PLATFORMS": "cpu"},
        )

    def ready(self) -> Ready:
        """Its first answer."""
        return self._answer(Ready)

    def ask(self, request: str, answer: type[T]) -> T:
        """Its answer to ``request``.

        Raises
        ------
        Failed
            With the last line of its messages.
        """
        assert self.process.stdin is not None
        try:
            print(request, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        return self._answer(answer)

    def _answer(self, answer: type[T]) -> T:
        assert self.process.stdout is not None
        # One line a request, so that nothing is ever left in Python's own buffer when select looks.
        if not select.select([self.process.stdout], [], [], self.timeout)[0]:
            raise Slow(f"no answer in {self.timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        source = f"An answer of {self.program}"
        try:
            return structure(parse_json(line, source), answer, source)
        except UserError as error:
            raise Failed(str(error)) from error

    def _last_words(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        status = f"exit status {self.process.returncode}"
        return f"{status}: {lines[-1][:200]}" if lines else status

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def interpreter(program: str, peers_python: str) -> str:
    """The Python that runs a program: our own, or that of the peers' environment."""
    return sys.executable if program == OURS else peers_python


def take_cores(threads: int) -> None:
    """Keep this process, and the programs that it starts, to so many cores.

    XLA takes every core it may use, whatever OMP_NUM_THREADS says.

    Raises
    ------
    UserError
        If there are fewer.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        raise UserError(f"{threads} threads need as many cores, but {len(cores)} are here; use --threads.")
    os.sched_setaffinity(0, cores[:threads])
