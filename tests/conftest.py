"""What the tests of the engine share: QuSpin's 4x4 Hamiltonian, and wave functions read from a list of amplitudes."""
# ruff: noqa: E402  (the environment comes before what reads it when it is loaded)

import os
from collections.abc import Callable
from functools import cache

# Arrays this small gain nothing from threads, and on busy cores threads waiting for one another are 80 times slower:
# one thread here and in every process that a test starts, unless the test says otherwise.
for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
# Ranks, of which there are more than cores, that sleep while they wait; MPICH would look 4096 times first.
os.environ |= {"MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT": "1"}

import pytest
import torch
from dense import Array
from plain import lively
from scipy.sparse import csr_matrix
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.config import Wavefunction
from qmcbench.reference import hamiltonian_matrix
from qmcbench.vmc import build_ansatz

torch.set_num_threads(1)

LONG = (
    "test_training_ranks.py", "test_pages.py", "test_ed_sparse.py", "test_scalapack.py", "test_evaluation_ranks.py",
    "test_training.py", "test_transfer.py", "test_exact.py", "test_full_sum.py", "test_faults.py", "test_suite.py",
    "test_peers.py", "test_cli_bench.py", "test_growth.py", "test_scaling_runs.py",
)  # fmt: skip
"""Files whose single tests take seconds, the longest first."""

_BITS = 2 ** torch.arange(16)


def _codes(spins: Tensor) -> Tensor:
    """One integer for each 4x4 configuration."""
    return (spins.flatten(1) > 0).long() @ _BITS.to(spins.device)


@cache
def _quspin(J2: float) -> tuple[Tensor, csr_matrix]:
    configurations, matrix = hamiltonian_matrix(4, J2)
    return torch.from_numpy(configurations.copy()), matrix


@cache
def _positions() -> Tensor:
    """Position of each code in QuSpin's order; -1 outside S^z = 0."""
    configurations = _quspin(0.5)[0]
    positions = torch.full((1 << 16,), -1)
    positions[_codes(configurations)] = torch.arange(len(configurations))
    return positions


@pytest.fixture(scope="session")
def configurations() -> Tensor:
    """All S^z = 0 configurations of the 4x4 lattice in QuSpin's order, shape (12870, 4, 4), int8."""
    return _quspin(0.5)[0]


@pytest.fixture(scope="session")
def matrix() -> Callable[[float], csr_matrix]:
    """QuSpin's Hamiltonian matrix for a J2, in the order of ``configurations``."""
    return lambda J2: _quspin(J2)[1]


@pytest.fixture(scope="session")
def position() -> Callable[[Tensor], Tensor]:
    """Where given configurations (batch, 4, 4) stand in ``configurations``; outside S^z = 0 is an error."""

    def find(spins: Tensor) -> Tensor:
        found = _positions()[_codes(spins)]
        assert (found >= 0).all(), "a configuration has left S^z = 0"
        return found

    return find


@pytest.fixture(scope="session")
def tabulated(position: Callable[[Tensor], Tensor]) -> Callable[..., Ansatz]:
    """Turns ``log|psi|`` and phases of all configurations, shape (12870,) each, into a plain function of spins."""

    def make(log_psi: Tensor, phase: Tensor) -> Ansatz:
        def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
            where = position(spins)
            return log_psi[where], phase[where]

        return psi

    return make


@pytest.fixture(scope="session")
def network(configurations: Tensor) -> tuple[torch.nn.Module, Array]:
    """A random float64 network without sign rule or symmetry, made uneven, and its vector."""
    psi = build_ansatz(Wavefunction(symmetry="none", sign="none", dtype="float64"), seed=5)
    lively_psi = lively("small", seed=5)
    psi.load_state_dict(lively_psi.state_dict())
    with torch.no_grad():
        log_psi, phase = psi(configurations)
    return psi, (phase * (log_psi - log_psi.max()).exp()).numpy()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """What pytest would only number is named by its value: a failure must say what failed."""
    if isinstance(val, int | float | bool | None) or (isinstance(val, str) and len(val) <= 60):
        return None
    if callable(val):
        # One that has no name of its own is told by the parameters beside it.
        return argname if (name := getattr(val, "__name__", "<lambda>")) == "<lambda>" else name
    if isinstance(val, bytes):
        raise pytest.UsageError(f"{argname}: bytes name no test (they may hold a time stamp): give ids")
    # Members of a set come in another order in each process.
    text = repr(sorted(val) if isinstance(val, set | frozenset) else val)
    return text if len(text) <= 60 else f"{text[:57]}..."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long tests first: two workers then end together, and none waits for the last long test of another."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))
