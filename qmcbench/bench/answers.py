"""What processes that measure answer, as dataclasses that are read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from qmcbench.provenance import Provenance
from qmcbench.store.scaling import Libraries
from qmcbench.structure import structure

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What every answer has."""

    ranks: int
    oversubscribed: bool
    libraries: Libraries
    provenance: Provenance


@dataclass(frozen=True)
class Library:
    """One that was looked for."""

    found: str | None = None
    problem: str | None = None
    """Why it cannot be used, if it cannot."""


@dataclass(frozen=True, kw_only=True)
class Found(Answer):
    """What can be loaded."""

    mpi: Library
    scalapack: Library


@dataclass(frozen=True, kw_only=True)
class Factorised(Answer):
    """A Cholesky factor by ScaLAPACK."""

    size: int
    grid: tuple[int, int]
    positive: bool
    difference: float | None
    """From numpy's, relative to its largest entry; None if that is not finite."""


EVERY = tuple(each.name for each in fields(Answer))


def structured(answer: Mapping[str, Any], cls: type[T]) -> T:
    """The answer's own part.

    Raises
    ------
    UserError
        If it is not what ``cls`` says.
    """
    return structure({name: value for name, value in answer.items() if name not in EVERY}, cls, "A job's answer")
