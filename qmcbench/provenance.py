"""What a result was made with: versions, machine, date. No host names and no paths."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from qmcbench.ranks.comm import cores

PACKAGES = ("qmcbench", "torch", "numpy", "scipy", "quspin", "numba", "mpi4py", "mpich", "mkl", "PyScalapack")


def collect(command: str) -> dict[str, Any]:
    """Provenance of a run started by ``command``: a JSON-ready dictionary."""
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": {
            "cpu": cpu_model(),
            "cores": available_cores(),
            "memory_GiB": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "torch_threads": torch.get_num_threads(),
        },
    }


def available_cores() -> int:
    """Cores that this process may use."""
    return len(cores())


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
