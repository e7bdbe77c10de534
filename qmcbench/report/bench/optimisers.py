"""Ways of optimising in the benchmark chapter: the errors that each seed reached in equal seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from qmcbench.report.document import Row, Table
from qmcbench.report.numbers import DASH, count, duration, format_value_error
from qmcbench.store.bench import Optimised
from qmcbench.store.records import Run

NOT_RUN = "not run"


def tables(run: Run) -> list[Table]:
    """Each way's relative errors, the best median first."""
    records = run.of(Optimised)
    ways = dict.fromkeys(each.way for each in records)
    seeds = sorted({each.seed for each in records if each.seed is not None})
    rows = [_row([each for each in records if each.way == way], seeds) for way in ways]
    rows.sort(key=lambda row: row[0])
    columns = ["way", *(f">seed {seed}" for seed in seeds), ">median", ">steps", ">seconds", "what"]
    caption = (
        f"{_setting(records)}Relative errors of fresh samples in units of 1e-3, one standard error in parentheses, "
        "from fresh parameters, all with the same seconds. Seeds differ by two and more times: one says little."
    )
    return [Table("Errors after equal seconds", columns, [row for _, row in rows], caption)]


def _row(those: list[Optimised], seeds: list[int]) -> tuple[float, Row]:
    ran = {each.seed: each for each in those if each.error is not None}
    cells = [_error(ran[seed]) if seed in ran else NOT_RUN for seed in seeds]
    if not ran:
        return math.inf, [those[0].way, *cells, DASH, DASH, DASH, those[0].what]
    middle = statistics.median(each.error or 0.0 for each in ran.values())
    steps = statistics.median(each.steps for each in ran.values())
    seconds = statistics.median(each.seconds or 0.0 for each in ran.values())
    return middle, [
        those[0].way,
        *cells,
        f"{1e3 * middle:.2f}",
        count(round(steps)),
        duration(seconds),
        those[0].what,
    ]


def _error(each: Optimised) -> str:
    assert each.error is not None
    assert each.sigma is not None
    return format_value_error(1e3 * each.error, 1e3 * each.sigma / abs(each.exact))


def _setting(records: Sequence[Optimised]) -> str:
    return "".join(f"{each.L}x{each.L}, J2 = {each.J2:g}, {each.network}. " for each in records[:1])
