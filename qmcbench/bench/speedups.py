"""Speedups over one scalar core, from the records of ``qmcbench bench speedup``; torch is not needed."""

from __future__ import annotations

from dataclasses import dataclass

from qmcbench.bench.names import SCALAR
from qmcbench.store.bench import WorkTime
from qmcbench.store.records import Run


@dataclass(frozen=True)
class Speedup:
    """One operation, or the whole pass, by the baseline, on one core and on all."""

    scalar: WorkTime
    one: WorkTime
    every: WorkTime

    @property
    def of_one(self) -> float:
        """Of one core over the baseline."""
        return self.scalar.value / self.one.value

    @property
    def of_all(self) -> float:
        """Of all cores over the baseline: what the paper's Fig. 8 plots."""
        return self.scalar.value / self.every.value

    @property
    def range_of_all(self) -> tuple[float | None, float | None]:
        """The same by the least and the greatest repeats, where they are kept."""
        scalar, every = self.scalar, self.every
        low = scalar.low / every.high if scalar.low and every.high else None
        high = scalar.high / every.low if scalar.high and every.low else None
        return low, high


def speedups(run: Run) -> list[Speedup]:
    """Those whose three times are there, in their order."""
    found = []
    groups: dict[tuple[object, ...], list[WorkTime]] = {}
    for each in run.of(WorkTime):
        groups.setdefault((each.network, each.L, each.batch, each.work), []).append(each)
    for times in groups.values():
        scalar = [each for each in times if each.form == SCALAR]
        others = sorted((each for each in times if each.form != SCALAR), key=lambda each: each.threads or 1)
        if scalar and others:
            found.append(Speedup(scalar[0], others[0], others[-1]))
    return found
