"""A report: chapters of tables and figures, to a terminal, HTML, Markdown, CSV and SVG. All text is escaped here."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import jinja2
from markupsafe import Markup
from tabulate import tabulate

from qmcbench.files import write_atomically
from qmcbench.report.figure import Plot, glyphs

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by their key, keys and items in their order."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


@dataclass(frozen=True)
class Cell:
    """Text of a cell that is a failure (red), a command (monospaced), or of another origin than those beside it."""

    text: str
    style: str
    """``bad``, ``code``, ``measured``, ``projected``, ``counted``, ``absent``, or ``link``."""
    target: str = ""
    """The name of the chapter that a link leads to."""


Row = list[str | Cell]


@dataclass(frozen=True)
class Table:
    """Rows of text under ``columns``; each column's name starts with ``>`` if its entries are numbers."""

    title: str
    columns: list[str]
    rows: list[Row]
    caption: str = ""

    @property
    def headers(self) -> list[str]:
        """Names of the columns."""
        return [name.removeprefix(">") for name in self.columns]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column is aligned to the right."""
        return [name.startswith(">") for name in self.columns]

    def only(self, *headers: str) -> Table:
        """The table with these columns alone, in its own order."""
        kept = [i for i, name in enumerate(self.headers) if name in headers]
        return replace(
            self, columns=[self.columns[i] for i in kept], rows=[[row[i] for i in kept] for row in self.rows]
        )

    def text(self) -> str:
        """The table for a terminal: its title and its rows, without the caption."""
        return f"{self.title}\n{self._tabulated('simple', _plain)}\n"

    def markdown(self) -> str:
        """The rows alone, escaped."""
        return self._tabulated("pipe", _markdown_cell)

    def csv(self) -> str:
        """Names of the columns and rows, as text; nothing that a spreadsheet would take for a formula."""
        text = io.StringIO()
        rows = [self.headers, *([_plain(cell) for cell in row] for row in self.rows)]
        csv.writer(text, lineterminator="\n").writerows([_no_formula(cell) for cell in row] for row in rows)
        return text.getvalue()

    def _tabulated(self, form: str, shown: Callable[[str | Cell], str]) -> str:
        rows = [[shown(cell) for cell in row] for row in self.rows]
        headers = [shown(name) for name in self.headers]
        align = ["right" if numeric else "left" for numeric in self.numeric]
        return tabulate(rows, headers, tablefmt=form, disable_numparse=True, colalign=align if rows else None)


@dataclass(frozen=True)
class Section:
    """A heading with its tables and figures; ``empty`` stands for them where there are none."""

    title: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    empty: str = ""


@dataclass(frozen=True)
class Judgement:
    """The headline: how many checks passed, and which did not and why."""

    headline: str
    passed: bool | None
    """None: nothing was checked, which is neither good nor bad."""
    failures: list[str]
    remarks: list[str]
    undecided: list[str] = field(default_factory=list)
    """Checks that were too noisy to decide anything, which is no success either."""
    good: int = 0
    checks: int = 0
    """How many checks passed, of how many."""


@dataclass(frozen=True)
class Chapter:
    """Everything that a report says of one kind of run."""

    name: str
    """In lower case with dashes; it begins the names of its figures' files."""
    title: str
    judgement: Judgement
    sections: list[Section]
    part: str = ""
    """The part of the book that it is in."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9-]{1,60}", self.name):
            raise ValueError(f"A chapter's name is part of file names, so {self.name!r} will not do.")

    def file(self, plot: Plot) -> str:
        """Where the SVG of one of its figures is, from the report's folder."""
        return f"figures/{self.name}-{plot.name}.svg"

    def csv(self) -> dict[str, str]:
        """Its tables by their file's name, from the report's folder: named after sections, as titles may be data."""
        found: dict[str, str] = {}
        for section in self.sections:
            for number, table in enumerate(section.tables, start=1):
                name = f"{self.name}-{_slug(section.title)}" + (f"-{number}" if number > 1 else "")
                found[f"tables/{name}.csv"] = table.csv()
        return found


def write(chapters: Sequence[Chapter], out: Path) -> list[Path]:
    """Write ``index.html``, ``report.md``, ``tables/*.csv`` and ``figures/*.svg`` in ``out``; the paths, HTML last.

    Each file is replaced in one step, and the same chapters give the same bytes. Files of an earlier report that this
    one lacks are left alone: `left_over` names them.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    contents = _parts(chapters) | {"report.md": _markdown(chapters), "index.html": _html(chapters)}
    for name, text in contents.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return [out / name for name in contents]


def left_over(chapters: Sequence[Chapter], out: Path) -> list[str]:
    """Figures and tables in ``out`` that are not of these chapters, from that folder: an earlier report's."""
    there = (
        path.relative_to(out).as_posix() for kind in ("figures/*.svg", "tables/*.csv") for path in out.glob(kind)
    )
    return sorted(set(there) - set(_parts(chapters)))


def _parts(chapters: Sequence[Chapter]) -> dict[str, str]:
    """The content of each figure's and each table's file."""
    found = {
        chapter.file(plot): plot.svg for chapter in chapters for section in chapter.sections for plot in section.plots
    }
    for chapter in chapters:
        found |= chapter.csv()
    return found


def _html(chapters: Sequence[Chapter]) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda plot, chapter: Markup(plot.inline(chapter.name, chapter.title))
    environment.tests["cell"] = lambda value: isinstance(value, Cell)
    template = files("qmcbench.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    parts = grouped(chapters, lambda chapter: chapter.part or chapter.title)
    letters = glyphs(plot for chapter in chapters for section in chapter.sections for plot in section.plots)
    return environment.from_string(template).render(chapters=chapters, parts=parts, glyphs=Markup(letters)) + "\n"


def _markdown(chapters: Sequence[Chapter]) -> str:
    return "\n\n".join(block for chapter in chapters for block in _blocks(chapter) if block) + "\n"


def _blocks(chapter: Chapter) -> list[str]:
    judgement = chapter.judgement
    headline = f"{_escaped(judgement.headline)}."
    blocks = [f"# {_escaped(chapter.title)}", headline if judgement.passed is None else f"**{headline}**"]
    items = [f"- **FAILED** {_escaped(text)}" for text in judgement.failures]
    items += [f"- {_escaped(text)}" for text in judgement.remarks]
    blocks += ["\n".join(items)]
    for section in chapter.sections:
        blocks.append(f"## {_escaped(section.title)}")
        for table in section.tables:
            blocks += [f"### {_escaped(table.title)}"] if table.title != section.title else []
            blocks += [table.markdown(), _escaped(table.caption)]
        for plot in section.plots:
            title = _escaped(plot.title)
            blocks += [f"### {title}", f"![{title}]({chapter.file(plot)})", _escaped(plot.caption)]
        if not section.tables and not section.plots:
            blocks.append(_escaped(section.empty))
    return blocks


def _plain(cell: str | Cell) -> str:
    return " ".join((cell if isinstance(cell, str) else cell.text).split())


def _no_formula(text: str) -> str:
    return f"'{text}" if re.match(r"[=+@\t]|-(?![\d.])", text) else text


def _slug(text: str) -> str:
    """A title as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "table"


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _escaped(cell)
    if cell.style == "code":
        return _code(cell.text)
    return f"**{_escaped(cell.text)}**" if cell.style == "bad" else _escaped(cell.text)


def _code(text: str) -> str:
    """A code span longer than any run of backticks inside; a bar would end the cell."""
    words = " ".join(text.split()).replace("|", r"\|")
    longest = max((len(run) for run in re.findall("`+", words)), default=0)
    fence = "`" * max(2, longest + 1)
    return f"{fence} {words} {fence}"


def _escaped(text: str) -> str:
    """Text without line breaks or anything that Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split())).replace("&", "&amp;")
