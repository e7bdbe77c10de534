"""The report of SYNTHETIC records: every number below is invented and means nothing physically."""

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import pytest
from helpers.energies import FOUR, SIX, reproduction, zero_shot
from helpers.pages import Page, changed, render, without

from qmcbench.gates.check import Check
from qmcbench.report import book, document
from qmcbench.report.document import Judgement
from qmcbench.report.figure import Plot
from qmcbench.report.reproduction.figures import figures
from qmcbench.report.reproduction.pages import judgement
from qmcbench.store import jsonl
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Curve, Energy, Exact, LeftOut, Training
from qmcbench.store.records import Record, Run

HOSTILE = "<script>alert('x')</script> & a|b $x_1$ `tick` [a](javascript:b) ![c](d) <b>"
KINDS = (Exact, Training, Energy, Check, WorkTime, LeftOut)


@dataclass(frozen=True)
class Written:
    """The unchanged synthetic reproduction's report."""

    out: Path
    plots: list[Plot]
    html: str
    markdown: str


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Rendered once for all tests that only read it."""
    out = tmp_path_factory.mktemp("report")
    html, markdown = render(reproduction(), out)
    return Written(out, figures(reproduction()), html, markdown)


def test_html_is_self_contained(written: Written) -> None:
    """Nothing is loaded from anywhere, and nothing is run."""
    html = written.html
    page = Page(html)
    assert not {"script", "link", "iframe", "img", "object", "embed", "image", "base"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "srcset", "href", "xlink:href", "data", "action"}:
            assert value.startswith("#"), (tag, name, value)
        if "url(" in value:
            assert re.fullmatch(r"(?:[^()]|url\(#[\w.-]+\))*", value), (tag, name, value)
    assert "@import" not in html
    remaining = re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert "http" not in remaining
    assert "prefers-color-scheme" in html
    assert 'name="viewport"' in html


def test_svgs_are_inline_and_their_identifiers_are_unique(written: Written) -> None:
    """Every figure is there once, and no reference points to another figure's part."""
    html, plots = written.html, written.plots
    names = ["training-1", "training-2", "energy-j2", "phases", "throughput", "sampler-2"]
    assert [plot.name for plot in plots] == names
    assert html.count("<svg") == html.count("</svg>") == len(plots) + 1  # the letters of all of them
    assert html.count("<svg role=") == html.count("<figcaption>") == len(plots)
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)) <= {
        pair for i in identifiers for pair in ((i, ""), ("", i))
    }


def test_every_caption_states_error_and_provenance(written: Written) -> None:
    """A figure can be judged without the text around it."""
    for plot in written.plots:
        assert re.search(r"error|whiskers", plot.caption), plot.name
        assert "Seed 1, torch 2.9.0 with 2 threads on Synthetic CPU, 2000-01-01" in plot.caption


def test_numbers_stand_in_both_formats(written: Written) -> None:
    """Every kind of number of the records is shown, rounded as its error says."""
    shown = Page(written.html).text
    for text in (
        "-0.52838(3)",  # evaluated 4x4
        "-0.52862021772",  # its exact energy
        "4.5(6)e-4",  # relative error of both
        "-0.50358(3)",  # evaluated 6x6
        "-0.00158(3)",  # ours minus the paper
        "3,531",
        "30,720",
        "0.00123",
        "1.0021",
        "12 ms .. 15 ms",
        "61.2 %",
        "synthetic sector",
        "3.1e-14",
        "-0.50",  # z against the full sum
        "4294967297",
        "543.2 s",
    ):
        assert text in shown, text
        assert text in written.markdown, text


def test_sections_stand_in_order(written: Written) -> None:
    """The same ones in both formats, and the kinds of check apart."""
    titles = [
        "Energies", "Figures", "Against the paper", "Exact diagonalization", "Checks", "Timings", "Left out",
        "Provenance",
    ]  # fmt: skip
    assert re.findall(r"<h2>(.*?)</h2>", written.html) == titles
    assert re.findall(r"^## (.*)$", written.markdown, re.MULTILINE) == titles
    kinds = ["exact", "unbiased", "variational", "convergence"]
    assert re.findall(r"<h3>Kind: (.*?)</h3>", written.html) == kinds


def test_failed_checks_stand_in_the_headline(written: Written) -> None:
    """With the reason, in both formats and in the page's title."""
    html, markdown = written.html, written.markdown
    head = html[html.index('<div class="verdict">') : html.index("<section")]
    reason = "relative error, 6x6 J2=0.5 (convergence): (E + 2 sigma - E0) / |E0| with sigma / |E0| = 6.4e-05."
    value = "Value 0.000577, which should be at most 0.0001."
    assert "<p>5 of 6 checks passed, 1 failed</p>" in head
    assert f'<li class="bad">FAILED: {reason} {value}</li>' in head
    assert "<title>5 of 6 checks passed, 1 failed" in html
    assert "**5 of 6 checks passed, 1 failed.**" in markdown
    assert f"- **FAILED** {reason.replace('|', chr(92) + '|')} {value}" in markdown
    assert '<span class="bad">FAIL</span>' in html[html.index("<section") :]


def good(run: Run) -> Run:
    """The reproduction with a tolerance that its energies keep."""
    return changed(run, Energy, lambda energy: replace(energy, tolerance=1e-2))


def test_everything_passed_is_green_only_then(tmp_path: Path) -> None:
    """Neither nothing nor a part nor noise is a success."""
    run = good(reproduction())
    assert judgement(run).passed
    assert '<div class="verdict passed">' in render(run, tmp_path)[0]
    nothing = judgement(without(run, Energy, Check))
    assert nothing.passed is None
    assert nothing.headline == "No checks were run"
    early = judgement(without(run, Energy, Training, WorkTime))
    assert not early.passed
    assert early.headline == "1 of 1 checks passed, incomplete"
    assert early.remarks[0] == "Incomplete: there is no training runs, no timings."
    noisy: Judgement = judgement(changed(run, Energy, lambda energy: replace(energy, sigma=1e-2)))
    assert not noisy.passed
    assert "4 of 6" not in noisy.headline
    assert "inconclusive" in noisy.headline
    assert f"variational bound, {FOUR} (variational)" in noisy.undecided


def test_the_verdict_names_what_is_doubtful_and_what_is_left_out() -> None:
    """The reader learns at once which energy is not to be trusted, and what was not done."""
    run = changed(reproduction(), Energy, lambda each: replace(each, plateau=each.name != FOUR))
    remarks = judgement(run).remarks
    assert any(f"{FOUR}: NOT TO BE TRUSTED: NO PLATEAU" in remark for remark in remarks)
    assert not any(f"{SIX}: NOT" in remark for remark in remarks)
    assert any("Left out: GPU" in remark for remark in remarks)


def test_a_value_that_is_no_number_fails_in_words() -> None:
    """None is not within any bound."""
    run = changed(good(reproduction()), Check, lambda check: replace(check, value=None))
    said = judgement(run).failures
    assert said == ["matrix elements (exact): All equal. Value not finite, which should be at most 1e-14."]


def test_a_check_of_an_unknown_kind_or_relation_is_shown(tmp_path: Path) -> None:
    """A kind gets a table of its own; a relation that nobody knows fails."""
    run = changed(reproduction(), Check, lambda check: replace(check, check="new", relation="near"))
    html, markdown = render(run, tmp_path)
    assert "<h3>Kind: new</h3>" in html
    assert "### Kind: new" in markdown
    assert any("matrix elements" in text for text in judgement(run).failures)


@pytest.mark.parametrize(
    "emptied", [(), *((kind,) for kind in KINDS), KINDS], ids=lambda kinds: "+".join(k.kind for k in kinds) or "none"
)
def test_any_kind_may_be_missing(emptied: tuple[type[Record], ...], tmp_path: Path) -> None:
    """An interrupted reproduction has a report too, and it says nothing that it does not know."""
    html, markdown = render(without(reproduction(), *emptied), tmp_path)
    text = Page(html).text
    for word in ("None", "nan", "[]"):
        assert not re.search(rf"\b{re.escape(word)}\b" if word.isalpha() else re.escape(word), text + markdown), word


def test_interrupted_before_its_evaluation(tmp_path: Path) -> None:
    """A run without an energy, and one without steps, are shown as far as they are."""
    run = changed(reproduction(), Energy, lambda energy: energy if energy.name == FOUR else None)
    html, _ = render(run, tmp_path)
    assert html.count("not yet there") == 1
    run = changed(run, Training, lambda each: replace(each, curve=Curve(), phases={}) if each.name == FOUR else each)
    names = [plot.name for plot in figures(run)]
    assert names == ["training-1", "energy-j2", "phases", "throughput", "sampler-1"]


@pytest.mark.parametrize("excess", [-1e-4, -1e-2, 0.0, 1e-6])
def test_energies_at_or_below_the_exact_one_are_drawn(written: Written, excess: float) -> None:
    """They change the figures that show them, and no other."""

    def move(energy: Energy) -> Energy:
        exact = energy.exact.value
        return replace(energy, value=exact + excess * abs(exact), sigma=1e-4 * abs(exact))

    before = [plot.svg for plot in written.plots]
    after = [plot.svg for plot in figures(changed(reproduction(), Energy, move))]
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, True, True, False, False, False]


# --- hostile text


def test_several_runs_share_a_book(tmp_path: Path) -> None:
    """Two reproductions and two evaluations are four chapters whose figures and identifiers stay apart."""
    runs = [reproduction(), replace(zero_shot(), job="evaluate"), reproduction(), zero_shot()]
    chapters = book.chapters(runs)
    assert [chapter.name for chapter in chapters] == ["reproduction", "reproduction-2", "energies", "energies-2"]
    assert [chapter.title.split()[0] for chapter in chapters[2:]] == ["Evaluation", "Zero-shot"]
    document.write(chapters, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    """In a process of its own: both chapters, and torch was never imported."""
    jsonl.save(tmp_path, "a", reproduction())
    jsonl.save(tmp_path, "b", zero_shot())
    code = (
        "import sys; from pathlib import Path; from qmcbench.report.book import report; out = Path(sys.argv[1]); "
        "assert len(report([out], out)) == 2; assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_user_settings_of_matplotlib_change_nothing(written: Written) -> None:
    """Neither way."""
    with matplotlib.rc_context({"lines.linewidth": 9.0, "svg.fonttype": "none"}):
        assert figures(reproduction()) == written.plots
        assert matplotlib.rcParams["lines.linewidth"] == 9.0


def test_nothing_is_written_outside_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a run is called."""
    work, out = tmp_path / "work", tmp_path / "deep" / "out"
    work.mkdir()
    monkeypatch.chdir(work)
    run = changed(reproduction(), Training, lambda each: replace(each, name="../../escape"))
    paths = document.write(book.chapters([run]), out)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    assert paths[-1] == out / "index.html"
    assert {path.name for path in out.iterdir()} == {"index.html", "report.md", "figures", "tables"}


def test_markdown_links_the_plots_that_were_written(written: Written) -> None:
    """No figure without a link, no link without a figure."""
    linked = re.findall(r"\]\((figures/[\w.-]+\.svg)\)", written.markdown)
    assert sorted(linked) == sorted(f"figures/{path.name}" for path in (written.out / "figures").iterdir())
    for name in linked:
        assert (written.out / name).read_text(encoding="utf-8").startswith("<?xml")
