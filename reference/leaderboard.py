"""Runs of the Quantum Many-Body Leaderboard under its own protocol, read from ``data/leaderboard.toml``."""

from dataclasses import dataclass
from functools import cache

from qmcbench.reference.schemas import document


@dataclass(frozen=True)
class LeaderboardRun:
    """One run; energies are totals of Pauli matrices, as the leaderboard stores them."""

    L: int
    J2: float
    method: str
    parameters: int
    energy: float
    sigma: float
    variance: float
    seconds: float
    """From the start of the process to the end of the evaluation."""
    file: str
    """Of its result, in the leaderboard's repository."""

    @property
    def scale(self) -> int:
        """Total energies of Pauli matrices over energies per site in units of J1 S.S."""
        return 4 * self.L**2


@dataclass(frozen=True)
class Protocol:
    """What all runs had in common."""

    repository: str
    protocol: str
    steps: int
    samples: int
    """Of a step."""
    evaluation: int
    """Samples of the evaluation."""
    program: str
    device: str


@cache
def protocol() -> Protocol:
    """That of every run."""
    return Protocol(**{key: value for key, value in document("leaderboard").items() if key != "run"})


@cache
def runs() -> tuple[LeaderboardRun, ...]:
    """All of them."""
    return tuple(LeaderboardRun(**row) for row in document("leaderboard")["run"])
