"""Exact-diagonalization-validated testing and benchmarking of variational Monte Carlo with neural quantum states."""

from importlib.metadata import version
from pathlib import Path

__version__ = version("qmcbench")

# In a checkout the reference layer stands beside this package; installed, inside it (pyproject.toml, package-dir).
if not (Path(__file__).parent / "reference").exists():
    __path__.append(str(Path(__file__).parents[1]))
