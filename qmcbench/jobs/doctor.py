"""What of this installation is there and works (``qmcbench doctor``): each thing is used, not only looked for."""

from __future__ import annotations

import math
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import psutil
import torch

from qmcbench import __version__, provenance, reference
from qmcbench.bench.answers import Answer, Factorised, Found, Library
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.structure import structure

A = TypeVar("A", bound=Answer)

# Not importlib.util.find_spec, which stumbles over a PyScalapack that is imported: it puts a class in its place.
find_spec = PathFinder.find_spec
OK, FAILED, ABSENT = "ok", "FAILED", "not there"
# Seconds that a job of two ranks may take.
TIMEOUT = 120.0
# Largest difference of a result that is right, which has about 1e-15.
TOLERANCE = 1e-12
ENERGY = 1e-9
OPTIONAL = f"optional, for several ranks: {launch.INSTALL}"


@dataclass(frozen=True)
class Finding:
    """One line."""

    name: str
    status: str
    """"ok"; "not there": optional and absent; "FAILED": needed, or installed, and does not work."""
    found: str
    advice: str = ""
    """What to do, unless it is ok."""


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; about ten seconds."""
    yield Finding("Python", OK, f"{platform.python_version()}, qmcbench {__version__}")
    yield _guarded("torch", torch_works, "install torch and numpy again")
    yield _guarded("QuSpin", quspin_works, "install quspin again")
    yield Finding(
        "processor", OK, f"{provenance.cpu_model()}, cores for this process: {provenance.available_cores()}"
    )
    memory = psutil.virtual_memory()
    yield Finding("memory", OK, f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free")
    if torch.cuda.is_available():
        yield _guarded("GPU", gpu_works, "see that the driver fits torch's CUDA version")
    else:
        advice = "optional: a CUDA build of torch, and a driver"
        yield Finding("GPU", ABSENT, "torch finds no CUDA device", advice)
    yield from ranks_work()


def _guarded(name: str, check: Callable[[], tuple[bool, str]], advice: str) -> Finding:
    """What a check of whether something works, and what it found, says; a broken library may raise anything."""
    try:
        works, found = check()
    except Exception as error:
        works, found = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Finding(name, OK, found) if works else Finding(name, FAILED, found, advice)


def torch_works() -> tuple[bool, str]:
    """A product of matrices by torch against numpy's."""
    matrix = np.random.default_rng(0).normal(size=(64, 64))
    product = torch.from_numpy(matrix) @ torch.from_numpy(matrix)
    difference = np.abs(product.numpy() - matrix @ matrix).max()
    found = f"torch {torch.__version__}, numpy {np.__version__}, threads: {torch.get_num_threads()}"
    return bool(difference < TOLERANCE), f"{found}; products of matrices differ by {difference:.0e}"


def quspin_works() -> tuple[bool, str]:
    """The exact energy of the 4x4 lattice against the published one."""
    energy, published = reference.diagonalize(4, 0.5).energy, reference.energy(4, 0.5, kind="exact").energy
    found = f"QuSpin {version('quspin')}: 4x4, J2 = 0.5: E/N = {energy:.9f}, published {published:.9f}"
    return abs(energy - published) < ENERGY, found


def gpu_works() -> tuple[bool, str]:
    """A product of matrices on the GPU."""
    product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return bool((product == 64).all()), f"{torch.cuda.get_device_name()}, {memory:.1f} GiB"


def ranks_work() -> Iterator[Finding]:
    """MPI, its launcher, ScaLAPACK, and all of them together, each in processes of their own."""
    names = ("MPI", "mpiexec", "ScaLAPACK", "rank's threads", "pdpotrf")
    if find_spec("mpi4py") is None:
        yield from (Finding(name, ABSENT, "mpi4py is not installed", OPTIONAL) for name in names)
        return
    try:
        alone = _ask(None, "find", Found)
    except UserError as error:
        yield from (Finding(name, FAILED, str(error), f"{launch.INSTALL} again") for name in names)
        return
    yield _library("MPI", alone.mpi)
    launcher = mpiexec_works()
    yield launcher
    if find_spec("PyScalapack") is None:
        scalapack = Finding("ScaLAPACK", ABSENT, "PyScalapack is not installed", OPTIONAL)
    else:
        scalapack = _library("ScaLAPACK", alone.scalapack)
    yield scalapack
    threads = {"torch": alone.provenance.machine.torch_threads}
    threads |= {f"{blas.name} {blas.version or ''}".strip(): blas.threads for blas in alone.libraries.blas}
    text = ", ".join(f"{name}: {count}" for name, count in threads.items())
    if set(threads.values()) == {1}:
        yield Finding("rank's threads", OK, text)
    else:
        yield Finding(
            "rank's threads", FAILED, f"{text}, though 1 was asked for", "see what overrides OMP_NUM_THREADS"
        )
    missing = [finding for finding in (launcher, scalapack) if finding.status != OK]
    if missing:
        yield Finding("pdpotrf", missing[0].status, f"needs {missing[0].name}", "see there")
    else:
        yield pdpotrf_works()


def mpiexec_works() -> Finding:
    """Two ranks that see each other: whether the launcher is that of mpi4py's library."""
    name = "mpiexec"
    try:
        path = launch.mpiexec()
        answer = _ask(2, "find", Found)
    except UserError as error:
        return Finding(name, FAILED, str(error), f"{launch.INSTALL}, or put the mpiexec of mpi4py's library first")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    release = " ".join(" ".join(said[: 2 if said and said[0].endswith(":") else 1]).split())
    found = f"{path} ({release})"
    if answer.ranks == 2:
        return Finding(name, OK, f"{found}: 2 ranks see each other")
    advice = "put the mpiexec of mpi4py's library first on the path"
    return Finding(name, FAILED, f"{found}: 2 processes started by it do not see each other", advice)


def pdpotrf_works() -> Finding:
    """ScaLAPACK's Cholesky by two ranks against numpy's."""
    try:
        answer = _ask(2, "cholesky", Factorised)
    except UserError as error:
        return Finding("pdpotrf", FAILED, str(error), f"{launch.INSTALL} again")
    difference = math.nan if answer.difference is None else answer.difference
    found = f"2 ranks, {answer.size} x {answer.size}: differs from numpy's Cholesky by {difference:.0e}"
    if answer.positive and difference < TOLERANCE:
        return Finding("pdpotrf", OK, found)
    return Finding("pdpotrf", FAILED, found, "do not use the solver 'scalapack' with this library; install another")


def _ask(ranks: int | None, kind: str, answer: type[A]) -> A:
    """What a job without settings of its own answers."""
    return structure(launch.run(ranks, {"kind": kind}, TIMEOUT), answer, f"The answer to {kind!r}")


def _library(name: str, answer: Library) -> Finding:
    if answer.found is not None:
        return Finding(name, OK, answer.found)
    return Finding(name, FAILED, answer.problem or "it was not found", f"{launch.INSTALL} again")


def line(finding: Finding) -> str:
    """A finding as a person reads it."""
    advice = f"  -> {finding.advice}" if finding.advice else ""
    return f"{finding.status:<9}  {finding.name:<14}  {finding.found}{advice}"
