"""Gates for anyone's wave function; what a test file needs is imported when it is used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmcbench.gates.cases import parametrize_with_gates

__all__ = ["parametrize_with_gates"]


def __getattr__(name: str) -> Any:
    """PEP 562: loading pytest's plugin must not load torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from qmcbench.gates import cases

    return getattr(cases, name)
