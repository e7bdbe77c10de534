"""A report: a verdict and sections of tables and figures, to HTML, Markdown, SVG and JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup
from tabulate import tabulate

from qmcbench.files import dumps, write_atomically
from qmcbench.report.figure import Plot, Result


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell that is a failure (red) or a command (monospaced)."""

    text: str
    style: str
    """``bad`` or ``code``."""


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


@dataclass(frozen=True)
class Section:
    """A heading with its tables and figures; ``empty`` stands for them where there are none."""

    title: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    empty: str = ""


@dataclass(frozen=True)
class Verdict:
    """The headline: how many checks passed, and which did not and why."""

    headline: str
    passed: bool
    failures: list[str]
    remarks: list[str]


def write(results: Result, title: str, verdict: Verdict, parts: list[Section], out: Path) -> list[Path]:
    """Write ``index.html``, ``report.md``, ``plots/*.svg`` and ``results.json`` under ``out``; the paths, HTML last.

    Each file is replaced in one step, and the same results give the same bytes. Files of an earlier report that this
    one lacks are left alone.
    """
    contents = {f"plots/{plot.name}.svg": plot.svg for section in parts for plot in section.plots}
    contents["results.json"] = dumps(results, indent=1, sort_keys=True) + "\n"
    contents["report.md"] = _markdown(title, verdict, parts)
    contents["index.html"] = _html(title, verdict, parts)
    for name, text in contents.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return [out / name for name in contents]


def _html(title: str, verdict: Verdict, parts: list[Section]) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda plot: Markup(plot.inline())
    environment.tests["cell"] = lambda value: isinstance(value, Cell)
    template = files("qmcbench.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(title=title, verdict=verdict, sections=parts) + "\n"


def _markdown(title: str, verdict: Verdict, parts: list[Section]) -> str:
    blocks = [f"# {_escaped(title)}", f"**{verdict.headline}.**"]
    items = [f"- **FAILED** {_escaped(text)}" for text in verdict.failures]
    items += [f"- {_escaped(text)}" for text in verdict.remarks]
    blocks += ["\n".join(items)] if items else []
    for part in parts:
        blocks.append(f"## {part.title}")
        for table in part.tables:
            blocks += [f"### {_escaped(table.title)}", _markdown_table(table), _escaped(table.caption)]
        for plot in part.plots:
            title = _escaped(plot.title)
            blocks += [f"### {title}", f"![{title}](plots/{plot.name}.svg)", _escaped(plot.caption)]
        if not part.tables and not part.plots:
            blocks.append(part.empty)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_table(table: Table) -> str:
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    align = ["right" if numeric else "left" for numeric in table.numeric]
    return tabulate(rows, table.headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _escaped(cell)
    if cell.style == "code":
        return "`` " + " ".join(cell.text.split()).replace("|", r"\|") + " ``"
    return f"**{_escaped(cell.text)}**"


def _escaped(text: str) -> str:
    """Text without line breaks or anything that Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split())).replace("&", "&amp;")
