"""Whether the numbers of a store can be computed with: types alone do not say that a time is above zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from qmcbench.errors import UserError
from qmcbench.provenance import Provenance
from qmcbench.store.records import Run
from qmcbench.store.scaling import Libraries

SMALLEST, LARGEST = 1e-30, 1e15
ANY_SIGN = ("J2", "energies", "correlation")
"""Numbers that may be negative."""
MAY_BE_ZERO = (
    "seed", "warm_up", "residual", "before_bytes", "gather", "rank_waiting", "costs.value", "costs.error", "scatter",
    "monte_carlo_share",
)  # fmt: skip
"""Numbers that may be zero; all others are above."""
NEEDED = {
    "strong scaling": ("samples", "times", "dgemm_GFs", "residual", "estimate_bytes", "peak_bytes", "before_bytes"),
    "weak scaling": ("samples", "parameters", "times", "monte_carlo", "rank_monte_carlo"),
}
"""What a run has unless it was not run."""


def sound(run: Run) -> Run:
    """``run``, if all its numbers can be computed with.

    Raises
    ------
    UserError
        Naming the first that is missing, not finite, or out of range.
    """
    for line, record in enumerate(run.records, start=2):
        where = f"{run.job} of {run.provenance.date}, line {line} ({record.kind})"
        if record.value is None and record.not_run is None:
            raise UserError(f"{where}: there is neither a value nor a reason; measure again.")
        for name in NEEDED.get(record.kind, ()) if record.not_run is None else ():
            if getattr(record, name) in (None, ()):
                raise UserError(f"{where}: there is no {name}; measure again.")
        for name, number in _numbers(record, ""):
            low = -LARGEST if _is(name, ANY_SIGN) else 0.0 if _is(name, MAY_BE_ZERO) else SMALLEST
            if not low <= number <= LARGEST:
                raise UserError(f"{where}: {name} = {number} is outside [{low:g}, {LARGEST:g}]; measure again.")
    return run


def _is(name: str, those: tuple[str, ...]) -> bool:
    return any(f".{name}".endswith(f".{each}") for each in those)


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """All numbers inside, by their dotted names."""
    if isinstance(value, bool | str | Provenance | Libraries | None):
        return
    if isinstance(value, int | float):
        yield name, value
    elif is_dataclass(value):
        for each in fields(value):
            yield from _numbers(getattr(value, each.name), f"{name}.{each.name}".lstrip("."))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _numbers(each, name)
    else:
        for each in value:
            yield from _numbers(each, name)
