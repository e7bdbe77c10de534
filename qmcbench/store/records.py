"""What was measured: every number is a record, every record a frozen dataclass that says of what it is.

A *kind* of record is a subclass of :class:`Record` whose own fields are the parameters of the measurement. Energies
are per site in units of J1 (S.S convention), times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from statistics import median
from typing import Any, ClassVar, Self, TypeVar

from qmcbench.provenance import Provenance

KINDS: dict[str, type[Record]] = {}
"""Every kind of record by its name in a file; :mod:`qmcbench.store.kinds` makes all of them known."""

R = TypeVar("R", bound="Record")
LEAST, MOST = 1e-15, 1e18
"""A measured time, rate or size is between these, in whatever unit."""
UNCHECKED = ("provenance", "libraries")
"""Fields that nobody computes with."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A value to compare with, and where it stands."""

    value: float
    source: str
    kind: str = "exact"
    """``exact``, ``variational``, ``published`` or ``paper``."""
    sigma: float | None = None
    """One standard error, if its source states one."""

    def above(self, value: float | None) -> float | None:
        """``(value - reference) / |reference|``; None without a value, or where the reference is 0."""
        return None if value is None or self.value == 0.0 else (value - self.value) / abs(self.value)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number and everything needed to trust it."""

    kind: ClassVar[str] = ""

    value: float | None
    """None: not measured; then ``not_run`` says why."""
    unit: str
    sigma: float | None = None
    """One standard error of the value; None where there is none, or it is not known."""
    samples: int | None = None
    tau: float | None = None
    """Integrated autocorrelation time in samples."""
    seed: int | None = None
    ranks: int = 1
    threads: int | None = None
    """Of each rank."""
    seconds: float | None = None
    """That the measurement took."""
    reference: Reference | None = None
    not_run: str | None = None

    def __init_subclass__(cls, kind: str = "", **more: object) -> None:
        super().__init_subclass__(**more)
        if kind:
            cls.kind = kind
            KINDS[kind] = cls


@dataclass(frozen=True, kw_only=True)
class Measured(Record):
    """A record whose numbers are checked, so that nobody divides by what was never a time."""

    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Of the fields that are not from LEAST to MOST, by the ends of their dotted names."""

    def __post_init__(self) -> None:
        """Refuse the first number that is out of its range, anywhere inside.

        Raises
        ------
        ValueError
            Naming it.
        """
        ranges = {"seed": (0, MOST), "sigma": (0, MOST)} | dict(self.RANGES)
        for name, number in _numbers(self, ""):
            low, high = next((ends for key, ends in ranges.items() if name.endswith(f".{key}")), (LEAST, MOST))
            if not low <= number <= high:
                raise ValueError(f"{name[1:]} = {str(number)[:30]} is not between {low:g} and {high:g}")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """All numbers inside, by their dotted names."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
    elif is_dataclass(value):
        for each in fields(value):
            if each.name not in UNCHECKED:
                yield from _numbers(getattr(value, each.name), f"{name}.{each.name}")
    elif isinstance(value, Mapping | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(each, name)


@dataclass(frozen=True, kw_only=True)
class Timing(Record):
    """The median of repeated times, or rates."""

    unit: str = "s"
    low: float | None = None
    high: float | None = None
    """The least and the greatest repeat."""
    repeats: int | None = None
    each: tuple[float, ...] = ()
    """All of them, in their order."""

    @classmethod
    def of(cls, repeats: Sequence[float], **parameters: Any) -> Self:
        """The record of these repeats: their median, least, greatest and number."""
        return cls(value=median(repeats), low=min(repeats), high=max(repeats), repeats=len(repeats), **parameters)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one command, or one part of it, measured: one file of the store."""

    job: str
    """The command in two words at most: ``reproduce``, ``evaluate``, ``bench hotpath``, ``scale strong``."""
    provenance: Provenance
    records: tuple[Record, ...] = ()
    profile: str | None = None
    """The plan it followed, if it has a name."""
    seed: int | None = None
    quick: bool = False
    """Measured at sizes that say only that it works, and decide nothing."""
    seconds: float | None = None
    """That all of it took."""

    def of(self, kind: type[R]) -> list[R]:
        """Its records of one kind (or of kinds derived from it), in their order."""
        return [record for record in self.records if isinstance(record, kind)]
