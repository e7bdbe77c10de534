"""What the ranks answer to ``qmcbench doctor``, which reads it without torch."""

from __future__ import annotations

from dataclasses import dataclass

from qmcbench.provenance import Provenance
from qmcbench.store.scaling import Libraries


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
