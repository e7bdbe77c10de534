"""Words and numbers that several parts of the benchmark chapter print."""

from __future__ import annotations

from collections.abc import Mapping

from qmcbench.bench.claims import GIB
from qmcbench.report.figure import origin
from qmcbench.report.numbers import DASH, duration, number
from qmcbench.store.bench import Memory, SamplingRate, Share, WorkTime
from qmcbench.store.records import Run
from qmcbench.structure import Scalar


def spread(low: float | None, high: float | None) -> str:
    """The least and the largest of repeated times."""
    return DASH if low is None or high is None else f"{duration(low)}..{duration(high)}"


def settings(values: Mapping[str, Scalar] | Mapping[str, str]) -> str:
    """Names and values in a few words."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def lattice(record: WorkTime | SamplingRate | Memory | Share) -> str:
    """Network and lattice."""
    return f"{record.network}, {record.L}x{record.L}"


def gib(size: float | None) -> str:
    """Bytes in GiB."""
    return DASH if size is None else f"{number(size / GIB)} GiB"


def whence(run: Run) -> str:
    """Where the numbers of a figure come from, and whether they mean anything."""
    return ("Quick: tiny sizes, which say only that it works. " if run.quick else "") + origin(run)


def threads(run: Run) -> str:
    """The most threads of any record."""
    known = [record.threads for record in run.records if record.threads is not None]
    return str(max(known)) if known else DASH
