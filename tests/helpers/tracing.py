"""From a number on the page back to the record that it is of."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from qmcbench.report import numbers
from qmcbench.store import jsonl
from qmcbench.store.energies import Curve, Energy, Training
from qmcbench.store.records import Record
from qmcbench.store.scaling import SolveTimes, StrongRun, WeakRun

MARKS = "●◇Σ "
MEASURED = re.compile(r"-?(?=0*\.?0*[1-9](\.?\d){2})\d+\.\d{2,}(\(\d+(\.\d+)?\))?(e-?\d+)?( (s|ms|µs|%|GiB))?")
"""A number with at least two decimals and three digits that count: no size, no coupling."""


LEAST = 0.5
"""Of the words that the likeliest record prints."""


@dataclass(frozen=True)
class Line:
    """A record, and where it stands."""

    file: str
    job: str
    number: int
    record: Record
    training: Record | None = None
    """Of an evaluated energy: the training of its network, in whose row a report prints it too."""

    @cached_property
    def texts(self) -> frozenset[str]:
        """Every way in which a report may print one of its numbers or names."""
        return _texts(self.record)

    @cached_property
    def row(self) -> frozenset[str]:
        """What may stand beside one of its numbers."""
        return self.texts | _texts(self.training) | frozenset(self.record.kind.split())


def lines(folder: Path) -> list[Line]:
    """Every record of a folder."""
    return [
        Line(path.name, run.job, number, record, trained.get(record.name) if isinstance(record, Energy) else None)
        for path in sorted(folder.joinpath("records").glob("*.jsonl"))
        for run in [jsonl.read(path)]
        for trained in [{each.name: each for each in run.of(Training)}]
        for number, record in enumerate(run.records, start=2)
    ]


def _values(value: Any) -> Iterator[tuple[Any, float | None]]:
    """Numbers (with the error that stands beside them) and strings inside, and what a record computes of itself."""
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
        names += [name for name, each in vars(type(value)).items() if isinstance(each, property)]
        for name in names:
            inside = getattr(value, name)
            if isinstance(inside, Curve):
                continue  # thousands of numbers, which figures draw and no table prints
            if name in ("value", "mean"):
                yield inside, getattr(value, "sigma", None)
            yield from _values(inside)
        if isinstance(value, StrongRun) and value.times:
            yield from ((value.median(each.name), None) for each in fields(SolveTimes))
        if isinstance(value, WeakRun) and value.times:
            yield value.median("solve"), None
        if isinstance(value, Training) and value.curve.energy:
            yield value.curve.energy[0], value.curve.error[0] if value.curve.error else None
        if hasattr(value, "L"):
            yield f"{value.L}x{value.L}", None
    elif isinstance(value, dict):
        yield from (pair for each in value.values() for pair in _values(each))
    elif isinstance(value, tuple | list):
        yield from (pair for each in value for pair in _values(each))
    else:
        yield value, None


def _texts(record: Record | None) -> frozenset[str]:
    return frozenset(text for value, sigma in _values(record) for text in _printed(value, sigma))


def _printed(value: Any, sigma: float | None) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield from value.split()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    yield from (numbers.number(value, digits) for digits in (3, 4, 6, 8, 10, 12))
    yield from (numbers.fixed(value, places) for places in range(5))
    yield from (numbers.duration(value), numbers.percent(value), numbers.format_value_error(value, 0.0))
    yield f"{numbers.number(value / 2**30)} GiB"
    yield from (numbers.number(value / unit, digits) for unit in (1e6, 1e9) for digits in (3, 4))
    if isinstance(value, int):
        yield f"{value:,}"
    if sigma is not None:
        yield numbers.format_value_error(value, sigma)


@dataclass(frozen=True)
class Number:
    """A measured number on the page, with what stands beside it."""

    chapter: str
    table: str
    column: str
    text: str
    beside: frozenset[str]
    """The words of its row, and of its column's name."""


@dataclass(frozen=True)
class Row:
    """A row of a table on the page."""

    chapter: str
    table: str
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def __getitem__(self, column: str) -> str:
        return self.cells[self.columns.index(column)]

    def marked(self) -> Iterator[tuple[str, Number]]:
        """Its cells that say where they are from (● or ◇), each with its number."""
        for position, (column, cell) in enumerate(zip(self.columns, self.cells, strict=True)):
            if cell[:1] in ("●", "◇"):
                words = beside(self.columns, self.cells, position)
                yield cell, Number(self.chapter, self.table, column, cell.strip(MARKS), words)


class Tables(HTMLParser):
    """Every row of every table of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: list[Number] = []
        self.rows: list[Row] = []
        self.inside = self.text = self.chapter = self.table = ""
        self.headers: list[str] = []
        self.cells: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            self.chapter = dict(attrs).get("id") or ""
        if tag in ("h2", "h3", "th", "td"):
            self.inside, self.text = tag, ""
        if tag == "thead":
            self.headers = []
        if tag == "tr":
            self.cells = []

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""
            if tag in ("th", "td"):
                (self.headers if tag == "th" else self.cells).append(self.text.strip())
            else:
                self.table = self.text
        if tag == "tr":
            self._row()

    def _row(self) -> None:
        if self.cells:
            self.rows.append(Row(self.chapter, self.table, tuple(self.headers), tuple(self.cells)))
        for position, (column, cell) in enumerate(zip(self.headers, self.cells, strict=False)):
            if MEASURED.fullmatch(text := cell.strip(MARKS)):
                words = beside(self.headers, self.cells, position)
                self.numbers.append(Number(self.chapter, self.table, column, text, words))


def beside(columns: Sequence[str], cells: Sequence[str], position: int) -> frozenset[str]:
    """The words of a row and of the name of its column, but for those of the cell itself."""
    others = [columns[position], *cells[:position], *cells[position + 1 :]]
    return frozenset(word.strip(MARKS + ",;:") for each in others for word in (each, *each.split()))


def trace(number: Number, among: list[Line]) -> list[Line]:
    """The records that a number's row is of, as far as they print the number.

    A row is of the records that print most of the words beside the number, or nearly so: some rows are of several.
    """
    shared = [len(number.beside & line.row) for line in among]
    least = max(2, LEAST * max(shared))
    return [line for words, line in zip(shared, among, strict=True) if words >= least and number.text in line.texts]
