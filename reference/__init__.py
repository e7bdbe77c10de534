"""Reference values: exact diagonalization, published exact energies, and the seed paper's network layouts.

Imports nothing from the engine, so that no bug can hide in both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmcbench.reference.ed import ExactResult, diagonalize, ground_state, hamiltonian_matrix
    from qmcbench.reference.errors import ReferenceLayerError
    from qmcbench.reference.models import ModelSpec, model_names, model_spec
    from qmcbench.reference.paper import paper_numbers
    from qmcbench.reference.store import exact, known_energy

__all__ = [
    "ExactResult",
    "ModelSpec",
    "ReferenceLayerError",
    "diagonalize",
    "exact",
    "ground_state",
    "hamiltonian_matrix",
    "known_energy",
    "model_names",
    "model_spec",
    "paper_numbers",
]

_HOME = {
    "ExactResult": "ed",
    "ModelSpec": "models",
    "ReferenceLayerError": "errors",
    "diagonalize": "ed",
    "exact": "store",
    "ground_state": "ed",
    "hamiltonian_matrix": "ed",
    "known_energy": "store",
    "model_names": "models",
    "model_spec": "models",
    "paper_numbers": "paper",
}


def __getattr__(name: str) -> Any:
    # Lazy, because `python -m qmcbench.reference.store` warns when the package has already imported the module.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
