"""Two sets of benchmarks: which timings have changed, and which differences are noise; torch is not needed.

A ratio is significant if it is larger than its standard error can explain, in as many comparisons as there are. The
error has two parts: the spread of the repeats of each timing, and what two sessions differ by. The second is taken
from the timings themselves: the scale (median absolute deviation) of all logarithms of ratios about their median, as
most timings do not change; and never less than FLOOR.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist, median, stdev

from qmcbench.errors import UserError
from qmcbench.store.bench import AsvBenchmark, Rate, SamplingRate, WorkTime
from qmcbench.store.records import Record, Run, Timing

RATE = 0.01
"""Probability of any false alarm among all timings, if errors are normal."""
SMALLEST = 1.1
"""Ratio from which on a change is one."""
FLOOR, FEW_FLOOR, FEW = 0.06, 0.1, 8
"""Least scatter of ln(ratio) between sessions; more of it where fewer than FEW timings tell. On the machine of this
repository's book two sessions of the same code differed by 1.33 in one timing of four (reproduce-quick, -cpu)."""
UNKNOWN = 0.1
"""Standard error of ln(time) of a timing without repeats, which asv gives equal quartiles."""
MEDIAN = 1.2533
"""Standard error of a median over that of a mean."""
QUARTILES = 1.349
"""Distance of the quartiles of normal numbers, in standard deviations."""
ASV_REPEATS = 4
"""That a median of asv stands for at least, unless it was quick; it makes up to ten, and does not say how many."""
RANGES = (1.128, 1.693, 2.059, 2.326, 2.534, 2.704, 2.847, 2.970, 3.078)
"""Expected range of 2 to 10 normal numbers, in standard deviations."""
Key = tuple[object, ...]


class Verdict(StrEnum):
    """What became of a timing; in the order of a report."""

    SLOWER = "slower"
    UNDECIDED = "undecided"
    FASTER = "faster"
    SAME = "same"


@dataclass(frozen=True)
class Sample:
    """A timing, or a rate as the time that one unit takes."""

    seconds: float
    error: float
    """Standard error of its logarithm, within its session."""
    rate: bool


@dataclass(frozen=True)
class Change:
    """One timing in both sets."""

    what: str
    before: Sample
    after: Sample
    error: float
    """Standard error of ln(ratio), with the scatter between sessions."""
    needed: float
    """Standard errors from which on it is no noise."""

    @property
    def ratio(self) -> float:
        """Time after over time before: above 1 is slower."""
        return self.after.seconds / self.before.seconds

    @property
    def z(self) -> float:
        """ln(ratio) in standard errors."""
        return math.log(self.ratio) / self.error

    @property
    def verdict(self) -> Verdict:
        """Large and significant, large and not, or neither."""
        if 1 / SMALLEST < self.ratio < SMALLEST:
            return Verdict.SAME
        if abs(self.z) < self.needed:
            return Verdict.UNDECIDED
        return Verdict.SLOWER if self.ratio > 1 else Verdict.FASTER


@dataclass(frozen=True)
class Comparison:
    """All timings that both sets have: regressions first, the largest of each sort first."""

    changes: tuple[Change, ...]
    between: float
    """Scatter of ln(ratio) between the sessions."""
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def of(self, verdict: Verdict) -> list[Change]:
        """Those with one verdict."""
        return [each for each in self.changes if each.verdict is verdict]


def compare(before: Sequence[Run], after: Sequence[Run]) -> Comparison:
    """Hold the timings of two sets of runs against each other.

    Raises
    ------
    UserError
        If they have no timing in common.
    """
    first, second = dict(_timings(before)), dict(_timings(after))
    common = [key for key in first if key in second]
    if not common:
        raise UserError(
            f"The two sets of records have no timing in common (one has {len(first)}, the other {len(second)}); "
            "compare two runs of the same `qmcbench bench`, of the same sizes."
        )
    logs = [math.log(second[key].seconds / first[key].seconds) for key in common]
    middle = median(logs)
    between = max(FLOOR if len(logs) >= FEW else FEW_FLOOR, 1.4826 * median(abs(each - middle) for each in logs))
    needed = NormalDist().inv_cdf(1 - RATE / 2 / len(common))
    changes = [
        Change(_name(key), a, b, math.hypot(a.error, b.error, between), needed)
        for key, a, b in ((key, first[key], second[key]) for key in common)
    ]
    order = list(Verdict)
    changes.sort(key=lambda each: (order.index(each.verdict), -abs(math.log(each.ratio)), each.what))
    return Comparison(
        tuple(changes),
        between,
        tuple(_name(key) for key in first if key not in second),
        tuple(_name(key) for key in second if key not in first),
    )


def _timings(runs: Sequence[Run]) -> Iterator[tuple[Key, Sample]]:
    """Every timing by what it is of; of several of the same the last."""
    for run in runs:
        for record in run.records:
            key, sample = _key(record), _sample(record)
            if key is not None and sample is not None:
                yield (run.job, *key, *(("quick",) if run.quick else ())), sample


def _key(record: Record) -> Key | None:
    """What a timing is of; None for records that are none."""
    if isinstance(record, WorkTime):
        size: Key = (record.network, f"{record.L}x{record.L}", f"batch {record.batch}", record.form, record.dtype)
        return (record.work, *size, record.program, record.device, _threads(record))
    if isinstance(record, SamplingRate):
        size = (record.network, f"{record.L}x{record.L}", f"{record.chains} chains", record.symmetry, record.weights)
        return ("sampling", *size, f"{record.proposals} proposals", record.device, _threads(record))
    if isinstance(record, Rate):
        return (record.operation, record.size, record.device, _threads(record))
    if isinstance(record, AsvBenchmark) and record.unit in ("seconds", "s"):
        return (record.benchmark, *(f"{name} {value}" for name, value in record.parameters.items()))
    return None


def _threads(record: Record) -> str | None:
    return None if record.threads is None else f"{record.threads} threads"


def _name(key: Key) -> str:
    return ", ".join(str(part) for part in key if part not in (None, ""))


def _sample(record: Record) -> Sample | None:
    if record.value is None or record.value <= 0:
        return None
    rate = isinstance(record, SamplingRate | Rate)
    return Sample(1 / record.value if rate else record.value, _error(record), rate)


def _error(record: Record) -> float:
    """Standard error of the logarithm of a median of repeats; equal ones, as of a single one, say nothing of it."""
    return _spread(record) or UNKNOWN


def _spread(record: Record) -> float:
    """That error, 0 where nothing tells."""
    if isinstance(record, Timing) and len(record.each) >= 3:
        return MEDIAN * stdev(math.log(each) for each in record.each) / math.sqrt(len(record.each))
    low, high = getattr(record, "low", None), getattr(record, "high", None)
    if not low or not high:
        return 0.0
    if isinstance(record, AsvBenchmark):
        return MEDIAN * math.log(high / low) / QUARTILES / math.sqrt(ASV_REPEATS)
    repeats = getattr(record, "repeats", None) or 1
    if repeats < 2:
        return 0.0
    deviation = math.log(high / low) / RANGES[min(repeats, len(RANGES) + 1) - 2]
    return MEDIAN * deviation / math.sqrt(repeats)
