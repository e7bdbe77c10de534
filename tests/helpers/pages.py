"""Rendering of a report, changes of its records, and what its page holds."""

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from qmcbench.report import book, document
from qmcbench.store.records import Record, Run


def render(run: Run, out: Path) -> tuple[str, str]:
    """HTML and Markdown of one run."""
    document.write(book.chapters([run]), out)
    return (out / "index.html").read_text(encoding="utf-8"), (out / "report.md").read_text(encoding="utf-8")


def changed(run: Run, kind: type[Record], change: Callable[[Any], Record | None]) -> Run:
    """The run with each record of one kind changed, or left out where the change is None."""
    records = [change(record) if isinstance(record, kind) else record for record in run.records]
    return replace(run, records=tuple(record for record in records if record is not None))


def without(run: Run, *kinds: type[Record]) -> Run:
    """What an interrupted reproduction leaves: nothing of some kinds."""
    return replace(run, records=tuple(record for record in run.records if not isinstance(record, kinds)))


class Page(HTMLParser):
    """Tags, attributes, and the text outside of SVG and styles."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "svg" not in self.open and "style" not in self.open:
            self.text += data
