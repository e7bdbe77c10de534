"""What a process that measures answers, as a dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from qmcbench.structure import structure

T = TypeVar("T")

EVERY = ("ranks", "oversubscribed", "libraries", "provenance")
"""What each answer has beside its own."""


def structured(answer: Mapping[str, Any], cls: type[T]) -> T:
    """The answer's own part.

    Raises
    ------
    UserError
        If it is not what ``cls`` says.
    """
    return structure({name: value for name, value in answer.items() if name not in EVERY}, cls, "A job's answer")
