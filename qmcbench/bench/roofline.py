"""The roof over a piece of work: what a matrix product and the copying of memory allow it; torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qmcbench.store.bench import Rate, Rates, WorkTime
from qmcbench.store.records import Run

GEMM: dict[str, Rates] = {"float32": "sgemm", "float64": "dgemm", "bfloat16": "bf16 gemm"}
"""The matrix product of each precision. bfloat16 bounds no phase: it is what the machine could do."""


class Roof(NamedTuple):
    """The most that a phase could reach."""

    GFs: float
    bound: str
    """"arithmetic" or "memory"."""


def attainable(intensity: float, gemm: float, copy: float) -> Roof:
    """The roof at so many operations per byte, for a matrix-product rate in GF/s and a bandwidth in GB/s."""
    return Roof(gemm, "arithmetic") if gemm <= intensity * copy else Roof(intensity * copy, "memory")


def intensity(work: WorkTime) -> float | None:
    """Operations per byte of compulsory traffic, if both are counted."""
    if work.operations is None or work.traffic is None:
        return None
    return work.operations / work.traffic


def rates(run: Run) -> dict[str, Rate]:
    """The machine's rates in a run, by what they are of."""
    return {record.operation: record for record in run.of(Rate)}


def of_sgemm(work: WorkTime, known: Mapping[str, Rate]) -> float | None:
    """The rate of the counted operations over that of a matrix product in float32, if both are known."""
    sgemm = known.get("sgemm")
    return work.GFs / sgemm.value if sgemm and work.GFs is not None else None


def roof(work: WorkTime, known: Mapping[str, Rate]) -> Roof | None:
    """The roof over a phase, if its counts and both rates are known."""
    at, gemm, copy = intensity(work), known.get(GEMM.get(work.dtype, "")), known.get("copy")
    return None if at is None or gemm is None or copy is None else attainable(at, gemm.value, copy.value)
