"""Reference values: exact diagonalization, published energies, and the seed paper's networks and numbers.

Imports nothing from the engine, so that no bug can hide in both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazy: importing the module would rebind `published` to it, unless the function is bound after that.
from qmcbench.reference.published import PublishedEnergy, best, energy, published

if TYPE_CHECKING:
    from qmcbench.reference import paper
    from qmcbench.reference.ed import ExactResult, diagonalize, ground_state, hamiltonian_matrix
    from qmcbench.reference.ed_sparse import Requirements, diagonalize_sparse, requirements
    from qmcbench.reference.errors import ReferenceLayerError
    from qmcbench.reference.models import ModelSpec, model_names, model_spec
    from qmcbench.reference.networks import NetworkCard, checkpoint, checkpoints, network
    from qmcbench.reference.store import compute, exact, known_energy

__all__ = [
    "ExactResult",
    "ModelSpec",
    "NetworkCard",
    "PublishedEnergy",
    "ReferenceLayerError",
    "Requirements",
    "best",
    "checkpoint",
    "checkpoints",
    "compute",
    "diagonalize",
    "diagonalize_sparse",
    "energy",
    "exact",
    "ground_state",
    "hamiltonian_matrix",
    "known_energy",
    "model_names",
    "model_spec",
    "network",
    "paper",
    "published",
    "requirements",
]

_OFFERED = {
    "ed": ("ExactResult", "diagonalize", "ground_state", "hamiltonian_matrix"),
    "ed_sparse": ("Requirements", "diagonalize_sparse", "requirements"),
    "errors": ("ReferenceLayerError",),
    "models": ("ModelSpec", "model_names", "model_spec"),
    "networks": ("NetworkCard", "checkpoint", "checkpoints", "network"),
    "store": ("compute", "exact", "known_energy"),
}
_HOME = {name: module for module, names in _OFFERED.items() for name in names}


def __getattr__(name: str) -> Any:
    # Lazy, because `python -m qmcbench.reference.store` warns when the package has already imported the module.
    if name == "paper":
        return import_module(f"{__name__}.paper")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
