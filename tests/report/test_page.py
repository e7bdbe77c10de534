"""The report's one page: contents that lead somewhere, and tables that fit a screen, a phone and a sheet of paper."""

import re
from pathlib import Path

from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table, write


def page(tmp_path: Path, sections: list[Section], chapters: int = 1) -> str:
    """HTML of chapters with these sections."""
    made = [Chapter(f"part-{n}", f"Part {n}", Judgement("1 of 1", True, [], []), sections) for n in range(chapters)]
    return write(made, tmp_path)[-1].read_text()


def table(columns: int) -> Table:
    """One row of short and long cells."""
    row: list[str | Cell] = [
        "5.905 ms (5.758 ms..5.937 ms)",
        "7",
        "a",
        "a sentence of many words",
        Cell("BAD", "bad"),
    ]
    rows: list[Row] = [(row * columns)[:columns]]
    return Table("Invented", [">time", ">count", "letter", "words", "verdict"] * (columns // 5), rows)


def test_contents_lead_to_every_section(tmp_path: Path) -> None:
    """Each link has its target, each once; a long list is closed, so that the headline is seen at once."""
    sections = [Section(f"Section {n}", empty="Nothing.") for n in range(15)]
    for chapters, opened in ((2, True), (3, False)):
        html = page(tmp_path, sections, chapters)
        links = re.findall(r'href="#([\w.-]+)"', html)
        assert len(links) == chapters * 16
        assert all(html.count(f'id="{target}"') == 1 for target in links)
        assert ("<details open>" in html) == opened


def test_cells_that_may_wrap_are_marked(tmp_path: Path) -> None:
    """Short numbers stay on a line; a number with its range would widen the table beyond the screen."""
    html = page(tmp_path, [Section("Tables", [table(5)])])
    cells = re.findall(r"<td([^>]*)><div>(.*?)</div></td>", html)
    assert [kind for kind, _ in cells] == [' class="number long"', ' class="number"', "", ' class="long"', ""]
    assert cells[-1][1] == '<span class="bad">BAD</span>'
    assert "td.number:not(.long) { white-space: nowrap; }" in html


def test_wide_tables_are_small_on_paper(tmp_path: Path) -> None:
    """A sheet cannot be scrolled: tables of more than nine columns have smaller letters there."""
    html = page(tmp_path, [Section("Tables", [table(5), table(10)])])
    assert html.count('<table class="many">') == 1
    assert "table.many { font-size: 6pt; }" in html[html.index("@media print") :]
