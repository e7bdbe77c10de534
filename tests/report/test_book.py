"""The book: one report of all records, whose committed copy is what its records give, and whose numbers lead back."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.energies import reproduction, zero_shot
from helpers.pages import Page
from helpers.tracing import Number, Tables, lines, trace
from matplotlib.figure import Figure

from qmcbench.paper.join import counts, join
from qmcbench.report import book, document
from qmcbench.report.document import Chapter
from qmcbench.report.paper import figures
from qmcbench.store import jsonl
from qmcbench.store.records import Run

BOOK = Path(__file__).parents[2] / "reports" / "book"
AGAIN = "make it again: qmcbench report reports/book --out reports/book"
LIMIT = 5_000_000
"""Bytes of the page."""
PARTS = ["", "The paper", "Correctness", "Speed", "Scaling", "Transfer", "History", "Leaderboard", "Provenance"]
OTHERS = re.compile(
    r".*error|null model|.*difference.*|z|speedup.*|of all cores|of sgemm|times as fast.*|model / paper|ours - paper|"
    r"flop/byte|median error|value|samples/s|.*, first step|ours or projected|ours|projection|model|(.*, )?paper|"
    r"printed|above the best known"
)
"""Columns whose numbers are the paper's, or made of several records, or of one and a number that is none of it."""
RATIOS = ("Times", "Ratios", "Under one protocol")
"""Tables of such numbers."""


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The committed records."""
    return jsonl.find([BOOK])


@pytest.fixture(scope="module")
def bound(runs: list[Run]) -> Iterator[list[Chapter]]:
    """The book of the committed records, drawn but without the time that writing its figures takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, file, **options: file.write("<svg></svg>"))
        yield book.bound(runs)


@pytest.fixture(scope="module")
def html() -> str:
    """The committed page."""
    return (BOOK / "index.html").read_text(encoding="utf-8")


def without_figures(page: str) -> str:
    """A page with its figures emptied: their bytes depend on the version of matplotlib."""
    return re.sub(r"(?s)<svg.*?</svg>", "<svg></svg>", page)


def test_the_committed_book_is_that_of_its_records(bound: list[Chapter], html: str, tmp_path: Path) -> None:
    """Every word, number, table and name of a figure, byte for byte, in another process than wrote it."""
    paths = {path.relative_to(tmp_path) for path in document.write(bound, tmp_path)}
    there = {path.relative_to(BOOK) for path in BOOK.rglob("*") if path.is_file() and path.suffix != ".jsonl"}
    assert paths == there, AGAIN
    for name in sorted(paths):
        if name.suffix in (".md", ".csv"):
            assert (tmp_path / name).read_bytes() == (BOOK / name).read_bytes(), f"{name}: {AGAIN}"
    assert without_figures((tmp_path / "index.html").read_text(encoding="utf-8")) == without_figures(html), AGAIN


def test_figures_of_the_paper_are_the_same_bytes(runs: list[Run]) -> None:
    """Drawn twice from the same records."""
    once, twice = ([*figures.figure7(join(runs)), *figures.figure9(join(runs), runs)] for _ in range(2))
    assert [each.svg for each in once] == [each.svg for each in twice]


def test_the_page_stands_alone(html: str) -> None:
    """It is small enough, needs no network, and its figures have a text for those who cannot see them."""
    assert len(html.encode()) < LIMIT
    page = Page(html)
    wanted = {(name, value) for _, name, value in page.attributes if name in ("src", "href", "xlink:href")}
    assert all(value.startswith(("#", "data:")) for _, value in wanted)
    assert not re.search(r"url\((?!#)|@import|<script", html)
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    assert {value[1:] for _, value in wanted if value.startswith("#")} <= set(identifiers)
    drawings = re.findall(r"<svg[^>]*>", html)
    assert len(drawings) == len(list((BOOK / "figures").iterdir()))
    assert all(re.search(r'role="img" aria-label="[^"]{8,}"', each) for each in drawings)


def test_the_front_page_answers(bound: list[Chapter], runs: list[Run]) -> None:
    """Four questions at once; every part of the book in its order; what failed is named."""
    front = bound[0]
    history = any(run.job == "bench history" for run in runs)
    assert list(dict.fromkeys(each.part for each in bound)) == [
        each for each in PARTS if each != "History" or history
    ]
    asked = ("Is it right?", "How fast?", "Does the paper hold?", "What was not run?")
    assert (
        tuple(text[: len(question)] for text, question in zip(front.judgement.remarks, asked, strict=True)) == asked
    )
    right, fast, paper, rest = front.judgement.remarks
    failures = [text for each in bound for text in each.judgement.failures]
    assert front.judgement.passed is (not failures)
    assert all(text.split(": ")[0] in right for text in failures)
    checks = sum(each.judgement.checks for each in bound if each.part == "Correctness")
    assert f"Correctness: {checks} of {checks} checks passed; Speed" in right
    assert "times as fast as netket: 17.1" in fast
    found = counts(join(runs))
    assert f"Of {found.listed} claims {found.agreeing} agree, {found.disagreeing} disagree" in paper
    assert f"{found.not_run} claims of the paper (Table 4: " in rest
    assert sum(map(int, re.findall(r": (\d+)[,)]", rest))) == found.not_run
    assert "no record of: bench device" in rest
    good, of = (sum(getattr(each.judgement, name) for each in bound) for name in ("good", "checks"))
    assert front.judgement.headline == f"{good} of {of} checks passed"


def test_a_book_of_few_records_says_what_is_not_there() -> None:
    """Nothing of speed, a failed check on the front page, and no part without records."""
    bound = book.bound([reproduction(), replace(zero_shot(), job="evaluate")])
    assert [each.part for each in bound] == ["", "The paper", "Correctness", "Transfer", "Leaderboard", "Provenance"]
    right, fast, _, rest = bound[0].judgement.remarks
    assert "Correctness: 5 of 6 checks passed (not: relative error, 6x6 J2=0.5 (convergence))" in right
    assert fast == "How fast? Not measured."
    assert "no record of: bench limits" in rest
    assert not bound[0].judgement.passed


def test_numbers_of_the_paper_are_there(html: str) -> None:
    """Every table and figure that the paper has numbers in, and the list of its claims."""
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    wanted = [f"Table {n}" for n in range(1, 5)] + [f"Fig. {n}" for n in range(7, 14)] + ["Every claim"]
    assert [title for title in titles if title in wanted] == wanted
    listed = html.split("Every quantitative claim of the paper</h3>")[1].split("</table>")[0]
    assert listed.count("<tr>") == len(join([])) + 1


def test_twenty_numbers_lead_back_to_their_records(html: str) -> None:
    """Taken at random from the whole page: a record prints each, and its row too; few do with another digit."""
    records = lines(BOOK)
    numbers = [
        each for each in Tables(html).numbers if not OTHERS.fullmatch(each.column) and each.table not in RATIOS
    ]
    assert len(numbers) > 1000
    drawn = random.Random(2026).sample(numbers, 20)
    lost = [each for each in drawn if not trace(each, records)]
    assert not lost, lost
    assert sum(bool(trace(another(each), records)) for each in drawn) <= len(drawn) // 3


def another(number: Number) -> Number:
    """The same place with another last digit."""
    return replace(number, text=re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 5) % 10), number.text))
