"""Stochastic reconfiguration (paper Eqs. 5-7): the step Delta = M^-1 G from log-derivatives and local energies."""

from qmcbench.sr.solvers import SOLVERS, Centred, Solution, centre, dense, sample_space

__all__ = ["SOLVERS", "Centred", "Solution", "centre", "dense", "sample_space"]
