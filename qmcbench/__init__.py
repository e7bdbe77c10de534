"""Exact-diagonalization-validated testing and benchmarking of variational Monte Carlo with neural quantum states.

The names below are what a script needs; each is imported when it is first used, so that ``import qmcbench`` costs
nothing. ``qmcbench guide`` shows them at work.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qmcbench.cores import limit_numba, limit_spinning

if TYPE_CHECKING:
    from qmcbench import reference
    from qmcbench.ansatz.cnn import CNN
    from qmcbench.config import Config, Model, Sampling
    from qmcbench.errors import UserError
    from qmcbench.estimates import Request
    from qmcbench.evaluation import evaluate
    from qmcbench.evaluator import sample_energies
    from qmcbench.gates.check import Check
    from qmcbench.hamiltonian import J1J2
    from qmcbench.observables import full_sum
    from qmcbench.statistics import Estimate
    from qmcbench.training import load_ansatz, train

__all__ = [
    "CNN",
    "J1J2",
    "Check",
    "Config",
    "Estimate",
    "Model",
    "Request",
    "Sampling",
    "UserError",
    "evaluate",
    "full_sum",
    "load_ansatz",
    "reference",
    "sample_energies",
    "train",
]

_HOME = {
    "CNN": "ansatz.cnn",
    "Check": "gates.check",
    "Config": "config",
    "Estimate": "statistics",
    "J1J2": "hamiltonian",
    "Model": "config",
    "Request": "estimates",
    "Sampling": "config",
    "UserError": "errors",
    "evaluate": "evaluation",
    "full_sum": "observables",
    "load_ansatz": "training",
    "sample_energies": "evaluator",
    "train": "training",
}

# Before anything here loads torch, whose OpenMP library reads the environment only then.
limit_spinning()
limit_numba()

# In a checkout the reference layer stands beside this package; installed, inside it (pyproject.toml, package-dir).
if not (Path(__file__).parent / "reference").exists():
    __path__.append(str(Path(__file__).parents[1]))


def __getattr__(name: str) -> Any:
    """PEP 562: a name at its first use; the version comes from the installed package's metadata."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("qmcbench")
    elif name == "reference":
        value = import_module("qmcbench.reference")
    elif name in _HOME:
        value = getattr(import_module(f"qmcbench.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
