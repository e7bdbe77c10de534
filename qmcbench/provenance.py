"""What a result was made with: versions, machine, date. No host names and no paths."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from qmcbench.cores import available_cores as available_cores
from qmcbench.cores import cores as cores

PACKAGES = (
    "qmcbench",
    "torch",
    "numpy",
    "scipy",
    "quspin",
    "numba",
    "llvmlite",
    "mpi4py",
    "mpich",
    "mkl",
    "PyScalapack",
)


@dataclass(frozen=True)
class Machine:
    """A computer, as far as its times depend on it."""

    cpu: str
    cores: int
    """That the process could use."""
    memory_GiB: float
    system: str
    gpu: str | None = None
    torch_threads: int | None = None


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from."""

    command: str
    date: str
    """ISO 8601, UTC, to the second."""
    python: str
    versions: Mapping[str, str | None]
    machine: Machine


def collect(command: str) -> Provenance:
    """Provenance of a run started by ``command``, here and now."""
    import torch  # only here: whoever reads provenance needs no torch

    return Provenance(
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        versions={name: _version(name) for name in PACKAGES},
        machine=Machine(
            cpu=cpu_model(),
            cores=available_cores(),
            memory_GiB=round(psutil.virtual_memory().total / 2**30, 1),
            system=f"{platform.system()} {platform.machine()}",
            gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            torch_threads=torch.get_num_threads(),
        ),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
