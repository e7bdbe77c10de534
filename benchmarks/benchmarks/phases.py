"""The phases of an optimisation step, and the solvers of stochastic reconfiguration, in one process."""

from qmcbench.bench import suite


class Phase:
    """A forward pass, a proposal in every chain, a sweep of L * L, and so on, up to the whole step."""

    params = (suite.PHASES, suite.sizes().training, suite.sizes().chains)
    param_names = ("phase", "system", "chains")
    version = "1"
    timeout = suite.TIMEOUT
    number = 1
    repeat = (3, 7, 10.0)

    def setup(self, phase: str, system: str, chains: int) -> None:
        self.work = suite.phase(phase, system, chains)

    def time_phase(self, phase: str, system: str, chains: int) -> None:
        self.work()


class PeakMemory:
    """The most memory that a process holds which does nothing but the phase."""

    params = (("forward", "log_derivatives", "iteration"), suite.sizes().training, suite.sizes().chains)
    param_names = Phase.param_names
    version = "1"
    timeout = suite.TIMEOUT

    def setup(self, phase: str, system: str, chains: int) -> None:
        self.work = suite.phase(phase, system, chains)

    def peakmem_phase(self, phase: str, system: str, chains: int) -> None:
        self.work()


class Solve:
    """One solve; those of ScaLAPACK are timed in ``ranks.py``, on one rank too."""

    params = (suite.SOLVERS_IN_PROCESS, suite.sizes().solved)
    param_names = ("solver", "network")
    version = "1"
    timeout = suite.TIMEOUT
    number = 1
    repeat = (2, 5, 20.0)

    def setup(self, solver: str, network: str) -> None:
        self.work = suite.solve(solver, network, suite.sizes().samples)

    def time_solve(self, solver: str, network: str) -> None:
        self.work()
