"""Stochastic reconfiguration (paper Eqs. 5-7): the step Delta = M^-1 G from log-derivatives and local energies."""

from collections.abc import Callable

from qmcbench.config import SCALAPACK, Scalapack
from qmcbench.ranks.comm import Communicator
from qmcbench.sr.solvers import SOLVERS, Centred, FactorisationError, Solution, centre, dense, sample_space

__all__ = [
    "SOLVERS",
    "Centred",
    "FactorisationError",
    "Solution",
    "Solver",
    "centre",
    "dense",
    "make_solver",
    "sample_space",
]

Solver = Callable[[Centred, float], Solution]


def make_solver(name: str, layout: Scalapack, comm: Communicator) -> Solver:
    """The solver called ``name`` in a configuration, for the samples of all ranks of ``comm``.

    Raises
    ------
    UserError
        If it needs ScaLAPACK and there is none, or the process grid does not fit the ranks.
    """
    if name in SCALAPACK:
        # Only here: it starts MPI.
        from qmcbench.sr.scalapack import Scalapack as Distributed

        return Distributed(comm, layout, SCALAPACK[name])
    return lambda samples, shift: SOLVERS[name](samples, shift, comm)
