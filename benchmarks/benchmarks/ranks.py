"""Scaling on MPI ranks, which are processes of their own; MPI is never loaded here."""

from typing import Any

from qmcbench.bench import suite


class StrongScaling:
    """One ScaLAPACK solve of a fixed problem, with the covariance or (space = samples) the Gram matrix."""

    params = (suite.sizes().ranks, ("parameters", "samples"))
    param_names = ("ranks", "space")
    version = "1"
    unit = "seconds"
    timeout = suite.TIMEOUT

    def setup(self, ranks: int, space: str) -> None:
        suite.require_cores(ranks)

    def track_solve(self, ranks: int, space: str) -> dict[str, Any]:
        return suite.strong_scaling(ranks, space, suite.sizes().strong, suite.sizes().samples)


class WeakScaling:
    """The Monte Carlo part of a step with 16 chains on each rank."""

    params = (suite.sizes().ranks,)
    param_names = ("ranks",)
    version = "1"
    unit = "seconds"
    timeout = suite.TIMEOUT

    def setup(self, ranks: int) -> None:
        suite.require_cores(ranks)

    def track_monte_carlo(self, ranks: int) -> dict[str, Any]:
        return suite.weak_scaling(ranks, suite.sizes().weak)
