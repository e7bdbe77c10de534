"""What the list of the paper's claims may say, worked out again from the lines of the records that a row names."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from helpers.tracing import Line, Number, Row, trace

from qmcbench.report.numbers import format_value_error, number
from qmcbench.store.bench import Share, WorkTime
from qmcbench.store.energies import Correlations
from qmcbench.store.records import Record
from qmcbench.store.scaling import Efficiency, Modelled, ModelledTime, WeakRun

PHASES = {
    "ScaLAPACK": "sr", "iteration": "iteration", "pdpotrf": "factorisation", "pdgemm": "product",
    "data operations": "data",
}  # fmt: skip
LARGE = 106529
Found = tuple[float, float | None]


def answered(row: Row, text: str, among: Sequence[Line]) -> bool:
    """Whether the records that a row of the list names print ``text`` as an answer to its claim."""
    # What follows from printed numbers names them first, and then the model.
    job, _, rest = row["record"].split("; ")[-1].partition(": ")
    words = frozenset(re.split(r"[ ,]+", rest))
    own = [each for each in among if each.job == job]
    records = [each.record for each in own]
    if job == "scale project":
        return text in {printed(*projected(row, records))}
    if job == "bench speedup":
        return text in {printed(speedup(words, records), None, *speedup_ends(words, records))}
    if job == "bench hotspots":
        return text in {printed(share(row["claim"], words, records), None)}
    if "rotations" in words:
        return text in rotations(words, records)
    if "correlation" in words:
        return text in {printed(*bonds(row["claim"], words, records))}
    return bool(trace(Number(row.chapter, row.table, "ours", text, words), own))


def printed(value: float, sigma: float | None, low: float | None = None, high: float | None = None) -> str:
    """With its error or range, if it has one, as everywhere in the book."""
    if low and high:
        return f"{number(value, 4)} ({number(low)}..{number(high)})"
    return number(value, 4) if sigma is None else format_value_error(value, sigma)


def sides(words: frozenset[str], records: Sequence[Record]) -> tuple[WorkTime, WorkTime]:
    """The times of one scalar core and of all cores."""
    times = [
        each
        for each in records
        if isinstance(each, WorkTime) and {each.work, each.network, f"{each.L}x{each.L}", str(each.batch)} <= words
    ]
    (scalar,) = [each for each in times if each.form == "scalar"]
    return scalar, max((each for each in times if each.form != "scalar"), key=lambda each: each.threads)


def speedup(words: frozenset[str], records: Sequence[Record]) -> float:
    """One scalar core's seconds over those of all cores."""
    scalar, every = sides(words, records)
    return scalar.value / every.value


def speedup_ends(words: frozenset[str], records: Sequence[Record]) -> tuple[float, ...]:
    """The same by the least and the greatest repeats; nothing of records that have none."""
    scalar, every = sides(words, records)
    return (scalar.low / every.high, scalar.high / every.low) if scalar.low and every.low else ()


def share(claim: str, words: frozenset[str], records: Sequence[Record]) -> float:
    """Of these operations together, or of all others."""
    shares = [
        each.value for each in records if isinstance(each, Share) and each.form == "plain" and each.operation in words
    ]
    return 100 - sum(shares) if "Other" in claim else sum(shares)


def rotations(words: frozenset[str], records: Sequence[Record]) -> list[str]:
    """Monte Carlo seconds of one rank with four rotations over those without, with the range of the steps."""
    steps = [
        each
        for each in records
        if isinstance(each, WeakRun)
        and each.times
        and each.ranks == 1
        and {each.network, f"{each.L}x{each.L}"} <= words
    ]
    return [
        printed(
            four.monte_carlo_median / one.monte_carlo_median,
            None,
            min(four.monte_carlo) / max(one.monte_carlo),
            max(four.monte_carlo) / min(one.monte_carlo),
        )
        for four in steps
        for one in steps
        if four.symmetry == "C4" and replace(four, symmetry="none").alone == one.alone
    ]


def bonds(claim: str, words: frozenset[str], records: Sequence[Record]) -> Found:
    """Antiparallel bonds a site, which each cost a forward pass, and for a backward pass one more."""
    (found,) = [
        each
        for each in records
        if isinstance(each, Correlations) and each.quantity == "correlation" and f"{each.L}x{each.L}" in words
    ]
    places = (1, found.L, found.L + 1, 2 * found.L - 1)  # to the right, down, and along both diagonals
    means, errors = ([values[place] for place in places] for values in (found.mean, found.error))
    return 2 - 2 / 3 * math.fsum(means) + ("backward" in claim), 2 / 3 * math.hypot(*errors)


def projected(row: Row, records: Sequence[Record]) -> Found:
    """The cost model's value with half of its band of 68 %: one of its numbers, or the quotient of two."""
    claim = row["claim"]
    counts = [int(each.replace(",", "")) for each in re.findall(r"([\d,]+) (?:to|parameters|processes)", claim)]
    L = next((int(each) for each in re.findall(r"(\d+)x\1", claim)), None)
    modelled = [each for each in records if isinstance(each, ModelledTime) and each.reference]
    times = [each for each in modelled if each.reference.kind == "paper"]
    source = row["place"] if row["place"] in {each.source for each in times} else "Fig. 10"

    def time(phase: str, processes: int, parameters: int = LARGE, L: int | None = None) -> ModelledTime:
        of = (PHASES[phase], parameters, processes, L, 4 if L and "with C4" in claim else 1)
        those = [
            each
            for each in times
            if (each.phase, each.work.parameters, each.work.processes, each.work.L, each.work.rotations) == of
        ]
        return min(those, key=lambda each: each.source != source)

    if claim.startswith("parallel efficiency"):
        every = [each for each in records if isinstance(each, Efficiency)]
        (efficiency,) = [each for each in every if (each.work.L, each.work.processes) == (L, *counts)]
        return efficiency.value, half(efficiency)
    if claim.startswith("speedup of ScaLAPACK"):
        return over(*(time("ScaLAPACK", processes) for processes in counts))
    if claim.startswith("processes at which"):
        tried = {each.work.processes for each in times if each.source == "Fig. 10"}
        parts = ("pdpotrf", "pdgemm", "data operations")
        return min(tried, key=lambda each: sum(time(part, each).value for part in parts)), None
    parameters, processes = counts
    if claim.startswith("overhead"):
        return over(time("ScaLAPACK", processes, parameters), time("iteration", processes, parameters, L))
    found = time(claim.split(", ")[0], processes, parameters, L)
    return found.value, half(found)


def half(found: Modelled) -> float:
    """Of the band of 68 %."""
    return (found.band68[1] - found.band68[0]) / 2


def over(above: Modelled, below: Modelled) -> Found:
    """A quotient of two that are independent."""
    value = above.value / below.value
    return value, value * math.hypot(*(half(each) / each.value for each in (above, below)))
