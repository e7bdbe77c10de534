"""The book: one report of all records, whose committed copy is what its records give, and whose numbers lead back."""

import io
import itertools
import re
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from helpers.claimed import answered
from helpers.energies import reproduction, zero_shot
from helpers.pages import Page
from helpers.tracing import Line, Number, Tables, lines, trace
from matplotlib.figure import Figure
from typer.testing import CliRunner

from qmcbench.cli.main import app
from qmcbench.export import lineage
from qmcbench.paper.join import Outcome, counts, join
from qmcbench.report import book, document
from qmcbench.report.document import Chapter, Judgement
from qmcbench.report.figure import stamp
from qmcbench.report.front import OF_SPEED, front
from qmcbench.report.paper import figures
from qmcbench.shipped import profile_names
from qmcbench.store import jsonl
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Energy
from qmcbench.store.records import Run
from qmcbench.store.scaling import WeakRun

BOOK = Path(__file__).parents[2] / "reports" / "book"
AGAIN = "make it again: qmcbench report reports/book --out reports/book"
LIMIT = 5_000_000
"""Bytes of the page."""
ROOM = 400_000
"""Of these, for the figures of a few more runs."""
PARTS = ["", "The paper", "Correctness", "Speed", "Scaling", "Transfer", "History", "Leaderboard", "Provenance"]
DERIVED = re.compile(
    r".*error|null model|.*difference.*|z( of .*)?|speedup.*|of all cores|of sgemm|times as fast.*|model / paper|"
    r"ours - paper|flop/byte|median error|samples/s|(.*, )?paper|printed|above the best known|efficiency|a step|"
    r"GB a rank, measured"
)
"""Columns whose numbers are the paper's, or made of several records, of one's curve, or of one and something else."""
LIST = "Every quantitative claim of the paper"
RATIOS = ("Times", "Ratios", "Under one protocol", "Errors after equal seconds")
"""Tables of such numbers."""


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The committed records."""
    return jsonl.find([BOOK])


@pytest.fixture(scope="module")
def bound(runs: list[Run]) -> list[Chapter]:
    """The book of the committed records; writing its figures takes time, so of those only each eighth is written."""
    drawn, save = itertools.count(), Figure.savefig

    def some(figure: Figure, file: io.StringIO, **options: Any) -> None:
        if next(drawn) % 8:
            file.write("<svg></svg>")
        else:
            save(figure, file, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", some)
        return book.bound(runs)


@pytest.fixture(scope="module")
def html() -> str:
    """The committed page."""
    return (BOOK / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Tables:
    """Its tables."""
    return Tables(html)


@pytest.fixture(scope="module")
def records() -> list[Line]:
    """The lines of the committed records."""
    return lines(BOOK)


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


def test_the_committed_figures_are_those_of_their_records(bound: list[Chapter], html: str) -> None:
    """Each eighth, byte for byte (by another matplotlib: word for word); the page shows what is in the files."""
    plots = [(chapter, plot) for chapter in bound for section in chapter.sections for plot in section.plots]
    written = 0
    for chapter, plot in plots:
        committed = (BOOK / chapter.file(plot)).read_text(encoding="utf-8")
        assert replace(plot, svg=committed).inline(chapter.name, chapter.title) in html, f"{plot.name}: {AGAIN}"
        if "<path" in plot.svg:
            written += 1
            same = stamp() in committed
            assert plot.svg == committed if same else words(plot.svg) == words(committed), f"{plot.name}: {AGAIN}"
    assert written >= 6


def words(svg: str) -> list[str]:
    """Every text of a figure, in the order in which it is drawn."""
    return re.findall(r"<!-- (?!matplotlib )(.*?) -->", svg)


def test_figures_of_the_paper_are_the_same_bytes(runs: list[Run]) -> None:
    """Drawn twice from the same records."""
    once, twice = ([*figures.figure7(join(runs)), *figures.figure9(join(runs), runs)] for _ in range(2))
    assert [each.svg for each in once] == [each.svg for each in twice]


def test_the_page_stands_alone(html: str) -> None:
    """It is small enough, needs no network, and its figures have a text for those who cannot see them."""
    assert len(html.encode()) < LIMIT - ROOM
    page = Page(html)
    wanted = {(name, value) for _, name, value in page.attributes if name in ("src", "href", "xlink:href")}
    assert all(value.startswith(("#", "data:")) for _, value in wanted)
    assert not re.search(r"url\((?!#)|@import|<script", html)
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    assert {value[1:] for _, value in wanted if value.startswith("#")} <= set(identifiers)
    *drawings, glyphs = re.findall(r"<svg[^>]*>", html)
    assert len(drawings) == len(list((BOOK / "figures").iterdir()))
    labels = [re.search(r'role="img" aria-label="([^"]{8,})"', each) for each in drawings]
    assert len({label[1] for label in labels if label}) == len(drawings)
    assert 'aria-hidden="true"' in glyphs


def test_no_text_of_a_figure_begins_outside_of_it() -> None:
    """A legend that is too wide is cut off on both sides."""
    for path in sorted((BOOK / "figures").iterdir()):
        svg = path.read_text(encoding="utf-8")
        (width,) = re.findall(r'viewBox="0 0 ([0-9.]+) ', svg)
        starts = [float(x) for x in re.findall(r'<g[^>]*transform="translate\((-?[0-9.]+)', svg)]
        assert not [x for x in starts if not 0 <= x <= float(width)], path.name


def test_the_front_page_answers(bound: list[Chapter], runs: list[Run]) -> None:
    """Five questions at once; every part of the book in its order; what failed is named."""
    first = bound[0]
    kept = {run.job: run for run in runs}
    assert list(dict.fromkeys(each.part for each in bound)) == [
        each for each in PARTS if each != "History" or "bench history" in kept
    ]
    asked = ("Is it right?", "How fast?", "Does the paper hold?", "What was not run?", "How old is it?")
    assert (
        tuple(text[: len(question)] for text, question in zip(first.judgement.remarks, asked, strict=True)) == asked
    )
    right, fast, paper, rest, age = first.judgement.remarks
    failures = [text for each in bound for text in each.judgement.failures]
    assert first.judgement.passed is (not failures)
    assert all(text.split(": ")[0] in right for text in failures)
    checks = sum(each.judgement.checks for each in bound if each.part == "Correctness")
    assert f"Correctness: {checks} of {checks} checks passed; Speed" in right
    steps = {each.program: each.each for each in kept["bench peers"].of(WorkTime) if each.work == "iteration"}
    ratio = median(theirs / ours for theirs, ours in zip(steps["netket"], steps["qmcbench"], strict=True))
    ours, theirs = (f"{median(steps[name]):.4g} s" for name in ("qmcbench", "netket"))
    assert f"times as fast as netket: {ratio:.3g} ({ours} against {theirs}, the same network);" in fast
    assert re.search(r"qmcbench within 0\.01 in [\d.]+ s, .*; .*netket", fast)
    made = [run for run in runs if run.job in OF_SPEED]
    spent = sorted(run.provenance.date[:10] for run in made)
    assert {spent[0], spent[-1]} == set(re.findall(r"\d{4}-\d\d-\d\d", fast))
    assert all(run.provenance.machine.cpu in fast for run in made)
    days = sorted(run.provenance.date[:10] for run in runs)
    assert days[0] in age
    assert days[-1] in age
    assert sum(map(int, re.findall(r"(\d+) runs?,", age))) == len(runs)
    assert "None" not in age
    found = counts(join(runs))
    assert f"Of {found.listed} claims {found.agreeing} agree, {found.disagreeing} disagree" in paper
    assert f"{found.not_run} claims of the paper (Table 4: " in rest
    claims, *_, unmeasured = rest.split("; ")
    assert sum(map(int, re.findall(r": (\d+)[,)]", claims))) == found.not_run
    assert "no record of: bench device" in rest
    (plans,) = [part for part in rest.split("; ") if part.startswith("no record of the plans: ")]
    measured = {run.profile for run in runs if run.job == "transfer"}
    assert {"10x10", "24x24", "direct"} <= measured
    missing = [f"transfer {name}" for name in profile_names("transfer") if name not in measured]
    assert re.findall(r"transfer [^,]+", plans) == missing
    empty = [run.job for run in runs for record in run.records if record.not_run]
    assert unmeasured.startswith(f"records without a value, each with its reason: {len(empty)} (")
    assert all(f"{job}: {empty.count(job)}" in unmeasured for job in set(empty))
    good, of = (sum(getattr(each.judgement, name) for each in bound) for name in ("good", "checks"))
    assert first.judgement.headline == f"{good} of {of} checks passed"


def test_the_readme_says_the_same(runs: list[Run]) -> None:
    """The counts of the paper's claims, and the steps, samples and seconds of all stages of training."""
    readme = " ".join((BOOK.parents[1] / "README.md").read_text(encoding="utf-8").split())
    joined = join(runs)
    found = counts(joined)
    follow = [each for each in joined if each.claim.answer == "printed" and each.outcome is Outcome.AGREES]
    assert (
        f"the paper's {found.listed} quantitative claims against these records: {found.agreeing} agree, "
        f"{found.disagreeing} disagree ({found.elsewhere} of them numbers of another machine, {found.contradicted} "
        f"that the paper itself contradicts), {found.projected} are projected by a cost model, and {found.not_run} "
        f"were not run; {len(follow)} of those that agree follow from other numbers"
    ) in readme
    for run in (each for each in runs if each.job == "reproduce"):
        stages = lineage(run, run.of(Energy)[-1].name)[::-1]
        steps = " + ".join(str(each.steps) for each in stages)
        samples = f"{sum(each.samples or 0 for each in stages):,}".replace(",", " ")
        seconds = sum(each.seconds or 0.0 for each in stages)
        assert f"({run.profile}) | {steps} | {samples} | {seconds:.0f} s |" in readme


def test_a_book_of_few_records_says_what_is_not_there() -> None:
    """Nothing of speed, a failed check on the front page, and no part without records."""
    bound = book.bound([reproduction(), replace(zero_shot(), job="evaluate")])
    assert [each.part for each in bound] == ["", "The paper", "Correctness", "Transfer", "Leaderboard", "Provenance"]
    right, fast, _, rest, age = bound[0].judgement.remarks
    assert "Correctness: 5 of 6 checks passed (not: relative error, 6x6 J2=0.5 (convergence))" in right
    assert fast == "How fast? Not measured."
    assert "no record of: bench limits" in rest
    assert "gate, transfer, zero-shot" in rest
    assert age.startswith("How old is it? Measured with qmcbench 0.1.0, 2 runs, 2000-01-01; ")
    assert not bound[0].judgement.passed
    assert (
        "the leaderboard's protocol on 6x6, 10x10; records without a value, each with its reason: 1 (reproduce: 1)"
        in rest
    )
    assert all(section.tables or section.plots for each in bound for section in each.sections)


def test_files_of_an_earlier_report_are_named(tmp_path: Path) -> None:
    """`qmcbench report` leaves them and says so; its own, and what is no figure and no table, it does not name."""
    jsonl.save(tmp_path, "scale", zero_shot())
    arguments = ["report", str(tmp_path), "--out", str(tmp_path / "book")]
    assert "earlier" not in CliRunner().invoke(app, arguments).stderr
    folder = tmp_path / "book"
    for name in ("figures/old.svg", "tables/old.csv", "figures/own.png", "notes.csv"):
        (folder / name).write_text("of before")
    again = CliRunner().invoke(app, arguments)
    assert (
        f"2 files in {folder} are not of this report but of an earlier one, such as figures/old.svg" in again.stderr
    )
    assert (folder / "tables/old.csv").read_text() == "of before"


def test_what_was_not_checked_is_neither_good_nor_bad(tmp_path: Path) -> None:
    """An evaluation alone has no checks: its headline is in plain letters, on the front page too."""
    energies = [each for each in zero_shot().of(Energy) if each.exact is None and each.published is None]
    run = replace(zero_shot(), job="evaluate", records=tuple(energies))
    bound = book.bound([run])
    (chapter,) = [each for each in bound if each.part == "Transfer"]
    assert (chapter.judgement.headline, chapter.judgement.passed) == ("No checks were run", None)
    assert "No checks were run" in [row[2] for row in bound[0].sections[0].tables[0].rows]
    html, text = (document.write(bound, tmp_path)[at].read_text(encoding="utf-8") for at in (-1, -2))
    assert '<div class="verdict plain">\n<p>No checks were run</p>' in html
    assert "\nNo checks were run.\n" in text


def test_failed_checks_are_told_apart() -> None:
    """Their names have commas."""
    judgement = Judgement("1 of 3", False, ["model, Fig. 10 (exact): it is off."], [], ["error, 6x6 (exact)"], 1, 3)
    right = front([], [], [Chapter("scaling", "Scaling", judgement, [], "Scaling")]).judgement.remarks[0]
    assert right == "Is it right? Scaling: 1 of 3 checks passed (not: model, Fig. 10 (exact); error, 6x6 (exact))."


def test_transfers_stand_under_transfer() -> None:
    """Wherever they were trained; what is evaluated says on which lattices, and by which symmetry."""
    moved = replace(reproduction(), job="transfer", profile="cpu")
    bound = book.bound([reproduction(), moved, zero_shot()])
    parts = {each.title.split(", J2")[0]: each.part for each in bound}
    assert parts["qmcbench reproduce --profile synthetic"] == "Correctness"
    assert parts["qmcbench transfer cpu"] == "Transfer"
    assert parts["Zero-shot transfer on 4x4 to 6x6, symmetry C4, of a network trained for 4x4"] == "Transfer"
    assert "Correctness: 5 of 6 checks passed" in bound[0].judgement.remarks[0]


def test_numbers_of_the_paper_are_there(html: str) -> None:
    """Every table and figure that the paper has numbers in, and the list of its claims."""
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    wanted = [f"Table {n}" for n in range(1, 5)] + [f"Fig. {n}" for n in range(7, 14)] + ["Every claim"]
    assert [title for title in titles if title in wanted] == wanted
    listed = html.split("Every quantitative claim of the paper</h3>")[1].split("</table>")[0]
    assert listed.count("<tr>") == len(join([])) + 1


def test_every_claim_leads_back_to_its_records(page: Tables, records: list[Line]) -> None:
    """Each answer is worked out again from the lines of the records that its row names; none has another digit."""
    rows = [row for row in page.rows if row.table == LIST]
    assert len(rows) == len(join([]))
    answers = [(row, number.text) for row in rows for _, number in row.marked()]
    assert len(answers) > 100
    lost = [(row["claim"], text) for row, text in answers if not answered(row, text, records)]
    assert not lost, lost
    wrong = [(row["claim"], text) for row, text in answers if answered(row, altered(text), records)]
    assert not wrong, wrong


def test_the_mirrored_tables_have_these_answers(page: Tables, records: list[Line]) -> None:
    """What is marked in the chapter's other tables is an answer of the same place, or leads back to a record."""
    listed = [(row, cell) for row in page.rows if row.table == LIST for cell, _ in row.marked()]
    answers = {(row[column], cell) for row, cell in listed for column in ("place", "claim")}
    tables = [row for row in page.rows if row.chapter == "paper" and row.table != LIST]
    named = [(row["what"] if "what" in row.columns else row.table.split(":")[0], row) for row in tables]
    cells = [(name, cell, number) for name, row in named for cell, number in row.marked()]
    others = [number for name, cell, number in cells if (name, cell) not in answers]
    assert len(cells) - len(others) > 100
    own = [line for line in records if isinstance(line.record, Energy | WeakRun)]
    lost = [number for number in others if not trace(number, own)]
    assert not lost, lost


def test_every_number_leads_back_to_its_records(page: Tables, records: list[Line]) -> None:
    """In the other chapters: a record prints each, and its row too; few do with another digit."""
    numbers = [each for each in page.numbers if each.chapter != "paper" and not derived(each)]
    assert len(numbers) > 1000
    lost = [each for each in numbers if not trace(each, records)]
    assert not lost, lost
    wrong = [each for each in numbers if trace(replace(each, text=altered(each.text)), records)]
    assert len(wrong) <= len(numbers) // 6


def derived(number: Number) -> bool:
    """Whether no single record has it; the values of checks stand in the records of the gates alone.

    The times in the last chapter are those of runs.
    """
    if number.chapter == "provenance":
        return True
    if number.column == "value":
        return not (number.chapter.startswith("gate") and number.table.startswith("Kind: "))
    return number.table in RATIOS or bool(DERIVED.fullmatch(number.column))


def altered(text: str) -> str:
    """With another last digit."""
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 5) % 10), text)
