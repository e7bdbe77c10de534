"""The asv suite in the benchmark chapter."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.report.bench.words import settings
from qmcbench.report.document import Cell, Row, Table, grouped
from qmcbench.report.numbers import DASH, duration, number
from qmcbench.store.bench import AsvBenchmark
from qmcbench.store.records import Run


def tables(run: Run) -> list[Table]:
    """Medians and quartiles of each benchmark, one column for each value of its last parameter; what was not run."""
    every = run.of(AsvBenchmark)
    timed = grouped((row for row in every if row.value is not None), lambda row: row.benchmark)
    missing: list[Row] = []
    for row in every:
        if row.value is None:
            why = row.not_run or DASH
            cell: str | Cell = Cell(why, "bad") if row.failed else why
            missing.append([row.benchmark, settings(row.parameters), cell])
    found = [_benchmark(name, rows) for name, rows in timed.items()]
    return [*found, Table("Not run", ["benchmark", "parameters", "why"], missing)]


def _benchmark(name: str, rows: Sequence[AsvBenchmark]) -> Table:
    names = list(rows[0].parameters)
    last = names[-1] if names else ""
    values = list(dict.fromkeys(row.parameters.get(last, "") for row in rows))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = tuple(row.parameters.get(each, DASH) for each in names[:-1])
        lines.setdefault(key, {})[row.parameters.get(last, "")] = _quartiles(row)
    shown: list[Row] = [[*key, *(cells.get(value, DASH) for value in values)] for key, cells in lines.items()]
    columns = [*names[:-1], *(f">{last} {value}".strip() for value in values)]
    caption = "Medians (first..third quartile) of what asv repeated; a dash: not run. The newest results of asv."
    return Table(name, columns, shown, caption)


def _quartiles(row: AsvBenchmark) -> str:
    median, *ends = (
        duration(each) if row.unit == "s" else f"{number(None if each is None else each / 2**20)} MiB"
        for each in (row.value, row.low, row.high)
    )
    return median + ("" if None in (row.low, row.high) else f" ({'..'.join(ends)})")
