"""Exact-diagonalization-validated testing and benchmarking of variational Monte Carlo with neural quantum states."""

from importlib.metadata import version
from pathlib import Path

from qmcbench.cores import limit_spinning

# Before anything here loads torch, whose OpenMP library reads the environment only then.
limit_spinning()

__version__ = version("qmcbench")

# In a checkout the reference layer stands beside this package; installed, inside it (pyproject.toml, package-dir).
if not (Path(__file__).parent / "reference").exists():
    __path__.append(str(Path(__file__).parents[1]))
