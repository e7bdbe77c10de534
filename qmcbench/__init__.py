"""Exact-diagonalization-validated testing and benchmarking of variational Monte Carlo with neural quantum states."""

from importlib.metadata import version

__version__ = version("qmcbench")
