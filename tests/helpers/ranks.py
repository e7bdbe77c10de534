"""Starting several ranks in tests."""

import os
import subprocess
import sys
from pathlib import Path

from qmcbench.ranks import launch


def command(ranks: int, *arguments: object) -> list[str]:
    """The command line that starts Python with ``arguments`` on so many ranks."""
    # -P: the installed package, not the folder that the tests stand in.
    return [str(launch.mpiexec()), "-n", str(ranks), sys.executable, "-P", *map(str, arguments)]


def environment() -> dict[str, str]:
    """One thread a rank, and ``helpers`` for programs."""
    modules = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return launch.environment(1) | {"PYTHONPATH": modules}


def run(ranks: int, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python with ``arguments`` on so many ranks."""
    return subprocess.run(
        command(ranks, *arguments), env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def train(ranks: int, config: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`qmcbench train` on so many ranks."""
    return run(ranks, "-m", "qmcbench", "train", config, "--out", out, *options)
