"""The report of a SYNTHETIC result: every number below is invented and means nothing physically."""

import copy
import json
import math
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from qmcbench.files import dumps
from qmcbench.report.figure import Plot
from qmcbench.report.reproduction.figures import figures
from qmcbench.report.reproduction.pages import judge, write_report

HOSTILE = "<script>alert('x')</script> & a|b $x_1$ `tick`"


def synthetic_run(name: str, L: int, exact: float, start: str | None = None) -> dict[str, Any]:
    """A run that decays towards ``exact`` with seeded noise."""
    steps = 40 if L == 4 else 60
    step = np.arange(1, steps + 1)
    noise = np.random.default_rng(L).normal(0, 4e-3, steps)
    energy = exact * (1 - 0.6 * np.exp(-step / 8) - 1e-3) + noise * np.exp(-step / 30)
    r_hat: list[float | None] = [None if t <= 16 else 1.0 + 0.3 / t for t in step.tolist()]
    curve = {
        "step": step.tolist(),
        "energy": energy.tolist(),
        "error": np.abs(noise + 1e-3).tolist(),
        "variance": np.exp(-step / 10).tolist(),
        "acceptance": (0.5 - 0.2 * step / steps).tolist(),
        "r_hat": r_hat,
        "alpha": np.linspace(1, 1.2, steps).tolist(),
        "effective_fraction": (0.4 + 0.1 * np.cos(step / 5)).tolist(),
        "restarted": [int(t == 3) for t in step.tolist()],
    }
    found, error = exact * (1 - 4.5e-4), 3.2e-5
    return {
        "name": name, "L": L, "J2": 0.5, "network": "small", "parameters": 3531, "symmetry": "C4", "sign": "marshall",
        "start": start, "steps": steps, "chains": 512, "samples": 512 * steps, "seconds": 87.6, "curve": curve,
        "phase_seconds": {"sampling": 50.0, "local_energy": 20.0, "derivatives": 10.0, "solve": 5.0},
        "evaluation": {
            "energy": found, "error": error, "variance": 0.31, "tau": 1.7, "r_hat": 1.0021, "samples": 16384,
            "effective_samples": 7340.2, "plateau": True, "v_score": 1.23e-3, "acceptance": 0.31, "abnormal": 0,
            "alpha": 1.0, "seconds": 4.2, "seed": 4294967297,
        },
        "full_sum_energy": found + 0.5 * error if L == 4 else None,
        "reference": {"energy": exact, "source": "synthetic", "error": 0.0},
        "relative_error": (found - exact) / abs(exact), "relative_error_error": error / abs(exact),
    }  # fmt: skip


def synthetic_results() -> dict[str, Any]:
    """A SYNTHETIC reproduction with one failed check."""
    exact = {
        "L": 4, "J2": 0.5, "energy": -0.52862021772, "residual": 3.1e-14, "sector": "synthetic sector", "states": 107,
        "gap": 1.2345678, "structure_factor_pi_pi": 3.25, "structure_factor_pi_0": 0.75, "source": "synthetic",
    }  # fmt: skip
    timing = {
        "name": "forward", "network": "large", "L": 12, "batch": 256, "dtype": "float32", "median_s": 0.0123,
        "min_s": 0.0120, "max_s": 0.0150, "repeats": 7, "GFs": 88.2, "fraction_of_sgemm": 0.612,
    }  # fmt: skip
    solve = {**timing, "name": "SR solve", "network": None, "GFs": None, "fraction_of_sgemm": None}
    checks = [
        ("matrix elements", "exact", True, 1e-16, 1e-14, "All equal."),
        ("sampled energy", "unbiased", True, 0.5, 3.9, "Two-sided z."),
        ("bound", "variational", True, -7.0, 3.0, "Not below E0."),
        ("relative error, 6x6", "convergence", False, 0.0345, 0.0115, "Too far from E0."),
    ]
    keys = ("name", "kind", "passed", "value", "bound", "statement")
    six = "6x6 J2=0.5"
    return {
        "profile": "synthetic", "seed": 1, "seconds": 543.2,
        "provenance": {
            "command": "qmcbench reproduce --profile synthetic",
            "date": "2000-01-01T00:00:00+00:00", "python": "3.11.7",
            "versions": {"qmcbench": "0.1.0", "torch": "2.9.0", "quspin": None},
            "machine": {
                "cpu": "Synthetic CPU", "cores": 2, "memory_GiB": 7.8, "system": "Linux x86_64", "gpu": None,
                "torch_threads": 2,
            },
        },
        "exact": [exact],
        "runs": [
            synthetic_run("4x4 J2=0.5", 4, -0.52862021772),
            synthetic_run(six, 6, -0.5038096539, start="4x4 J2=0.5"),
        ],
        "checks": [dict(zip(keys, check, strict=True)) for check in checks],
        "rates": {"sgemm_GFs": 144.1},
        "timings": [timing, solve],
        "paper": [
            {"what": "6x6 stage 1", "quantity": "E/N", "paper": -0.502, "paper_steps": 420, "run": six},
            {"what": "6x6 stage 1", "quantity": "start of E/N", "paper": -0.25, "paper_steps": 420, "run": six},
        ],
        "not_run": [{"what": "GPU", "why": "no device", "command": "qmcbench train `cuda.toml` | tee log"}],
    }  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    """A fresh copy of the synthetic results, to change at will."""
    return synthetic_results()


@dataclass(frozen=True)
class Written:
    """The unchanged synthetic results' report."""

    out: Path
    paths: list[Path]
    plots: list[Plot]
    html: str
    markdown: str


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Rendered once for all tests that only read it."""
    out = tmp_path_factory.mktemp("report")
    paths = write_report(synthetic_results(), out)
    html, markdown = ((out / name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    return Written(out, paths, figures(synthetic_results()), html, markdown)


LISTS = ("exact", "runs", "checks", "timings", "paper", "not_run")


def interrupted(results: dict[str, Any], *emptied: str) -> dict[str, Any]:
    """What an interrupted reproduction leaves: some lists empty, no rates."""
    return {**copy.deepcopy(results), **{name: [] for name in emptied}, "rates": {}}


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


def render(results: dict[str, Any], out: Path) -> tuple[str, str]:
    """HTML and Markdown of ``results``."""
    write_report(results, out)
    return (out / "index.html").read_text(encoding="utf-8"), (out / "report.md").read_text(encoding="utf-8")


# --- numbers


def test_html_is_self_contained(written: Written) -> None:
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
    html, plots = written.html, written.plots
    names = ["training-1", "training-2", "energy-j2", "phases", "throughput", "sampler-2"]
    assert [plot.name for plot in plots] == names
    assert html.count("<svg") == html.count("</svg>") == html.count("<figcaption>") == len(plots)
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)) <= {
        pair for i in identifiers for pair in ((i, ""), ("", i))
    }


def test_every_caption_states_error_and_provenance(written: Written) -> None:
    for plot in written.plots:
        assert re.search(r"error|whiskers", plot.caption), plot.name
        assert "Seed 1, torch 2.9.0 with 2 threads on Synthetic CPU, 2000-01-01" in plot.caption


def test_numbers_stand_in_both_formats(written: Written) -> None:
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
    titles = [
        "Energies", "Figures", "Against the paper", "Exact diagonalization", "Checks", "Timings", "Not run",
        "Provenance",
    ]  # fmt: skip
    assert re.findall(r"<h2>(.*?)</h2>", written.html) == titles
    assert re.findall(r"^## (.*)$", written.markdown, re.MULTILINE) == titles
    kinds = ["exact", "unbiased", "variational", "convergence"]
    assert re.findall(r"<h3>Kind: (.*?)</h3>", written.html) == kinds


# --- the verdict


def test_failed_checks_stand_in_the_headline(written: Written) -> None:
    html, markdown = written.html, written.markdown
    head = html[html.index('<div class="verdict">') : html.index("<section>")]
    reason = "relative error, 6x6 (convergence): Too far from E0. Value 0.0345, bound 0.0115."
    assert "<p>3 of 4 checks passed</p>" in head
    assert f'<li class="bad">FAILED: {reason}</li>' in head
    assert "<title>3 of 4 checks passed" in html
    assert "**3 of 4 checks passed.**" in markdown
    assert f"- **FAILED** {reason}" in markdown
    assert '<span class="bad">FAILED</span>' in html[html.index("<section>") :]


def test_everything_passed_is_green_only_then(results: dict[str, Any], tmp_path: Path) -> None:
    results["checks"] = [check for check in results["checks"] if check["passed"]]
    assert judge(results).passed
    assert '<div class="verdict passed">' in render(results, tmp_path)[0]
    nothing = judge(interrupted(results, "checks"))
    assert not nothing.passed
    assert nothing.headline == "No checks were run"
    early = judge(interrupted(results, "runs", "timings"))
    assert not early.passed
    assert early.headline == "3 of 3 checks passed, report incomplete"
    assert early.remarks[0] == "Incomplete: this report has no training runs, no timings."


def test_the_verdict_names_what_is_missing(results: dict[str, Any]) -> None:
    results["runs"][0]["evaluation"]["plateau"] = False
    remarks = judge(results).remarks
    assert any("4x4 J2=0.5: the blocking analysis found no plateau" in remark for remark in remarks)
    assert any("Not run: GPU" in remark for remark in remarks)


def test_a_value_that_is_no_number_fails_in_words(results: dict[str, Any]) -> None:
    results["checks"][0].update(passed=False, value=math.nan)
    assert judge(results).failures[0] == "matrix elements (exact): All equal. Value not finite, bound 1e-14."


def test_a_check_of_an_unknown_kind_is_shown(results: dict[str, Any], tmp_path: Path) -> None:
    results["checks"][0]["kind"] = "new"
    html, markdown = render(results, tmp_path)
    assert "<h3>Kind: new</h3>" in html
    assert "### Kind: new" in markdown


# --- partial and hostile results


@pytest.mark.parametrize(
    "emptied", [(), *((name,) for name in LISTS), LISTS], ids=lambda names: "+".join(names) or "none"
)
def test_any_list_may_be_empty(results: dict[str, Any], emptied: tuple[str, ...], tmp_path: Path) -> None:
    html, markdown = render(interrupted(results, *emptied), tmp_path)
    text = Page(html).text
    for word in ("None", "nan", "[]"):
        assert not re.search(rf"\b{re.escape(word)}\b" if word.isalpha() else re.escape(word), text + markdown), word


def test_interrupted_before_its_evaluation(results: dict[str, Any], tmp_path: Path) -> None:
    run = results["runs"][1]
    run.update(evaluation=None, relative_error=None, relative_error_error=None)
    html, _ = render(results, tmp_path)
    assert html.count("not yet there") == 1
    results["runs"][0]["curve"] = {key: [] for key in run["curve"]}
    results["runs"][0]["phase_seconds"] = {}
    assert [plot.name for plot in figures(results)] == [
        "training-1",
        "energy-j2",
        "phases",
        "throughput",
        "sampler-1",
    ]


@pytest.mark.parametrize("excess", [-1e-4, -1e-2, 0.0, 1e-6])
def test_energies_at_or_below_the_exact_one_are_drawn(
    results: dict[str, Any], written: Written, excess: float
) -> None:
    before = [plot.svg for plot in written.plots]
    for run in results["runs"]:
        run.update(relative_error=excess, relative_error_error=1e-4)
    after = [plot.svg for plot in figures(results)]
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, True, True, False, False, False]


def test_strings_are_escaped(results: dict[str, Any], tmp_path: Path) -> None:
    results["runs"][0]["name"] = HOSTILE
    results["checks"][3].update(name=HOSTILE, statement=HOSTILE, kind=HOSTILE)
    results["exact"][0]["source"] = HOSTILE
    results["not_run"][0].update(what=HOSTILE, why=HOSTILE, command=HOSTILE)
    results["provenance"]["command"] = HOSTILE
    results["profile"] = HOSTILE
    results["timings"][0]["network"] = HOSTILE
    html, markdown = render(results, tmp_path)
    page = Page(html)
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert "<script" not in re.sub(r"`` .*? ``", "", markdown).replace(r"\<", "")
    cells = {
        line.count("|") - line.count(r"\|") for line in markdown.splitlines() if "alert" in line and line[0] == "|"
    }
    assert cells == {4, 6, 3, 11, 16}


# --- files


def test_json_round_trip(results: dict[str, Any], written: Written) -> None:
    assert json.loads((written.out / "results.json").read_text(encoding="utf-8")) == results


def test_what_is_not_finite_becomes_null(results: dict[str, Any], tmp_path: Path) -> None:
    results["runs"][0]["curve"]["r_hat"][-1] = math.nan
    results["runs"][0]["curve"]["energy"][0] = math.inf
    results["runs"][1]["evaluation"].update(r_hat=math.nan, tau=math.nan, error=math.nan)
    results["checks"][0]["value"] = -math.inf
    results["exact"][0]["gap"] = None
    render(results, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert read["runs"][0]["curve"]["r_hat"][-1] is None
    assert read["runs"][0]["curve"]["energy"][0] is None
    assert read["runs"][1]["evaluation"]["error"] is None
    assert read["checks"][0]["value"] is None
    write_report(read, tmp_path / "again")  # what was stored can be reported again


def test_json_has_sorted_keys_and_full_digits() -> None:
    value = {"b": (0.1 + 0.2, math.nan), "a": "é"}
    assert dumps(value, indent=1, sort_keys=True) == ('{\n "a": "é",\n "b": [\n  0.30000000000000004,\n  null\n ]\n}')


def test_identical_input_gives_identical_bytes(results: dict[str, Any], written: Written, tmp_path: Path) -> None:
    again = write_report(results, tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written.paths]


def test_user_settings_of_matplotlib_change_nothing(results: dict[str, Any], written: Written) -> None:
    with matplotlib.rc_context({"lines.linewidth": 9.0, "svg.fonttype": "none"}):
        assert figures(results) == written.plots
        assert matplotlib.rcParams["lines.linewidth"] == 9.0


def test_nothing_is_written_outside_out(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, out = tmp_path / "work", tmp_path / "deep" / "out"
    work.mkdir()
    monkeypatch.chdir(work)
    results["runs"][0]["name"] = "../../escape"
    before = copy.deepcopy(results)
    paths = write_report(results, out)
    assert results == before
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    assert all(path.is_relative_to(out) for path in paths)
    assert paths[-1] == out / "index.html"
    assert {path.name for path in out.iterdir()} == {"index.html", "report.md", "results.json", "plots"}


def test_markdown_links_the_plots_that_were_written(written: Written) -> None:
    linked = re.findall(r"\]\((plots/[\w.-]+\.svg)\)", written.markdown)
    assert sorted(linked) == sorted(f"plots/{path.name}" for path in (written.out / "plots").iterdir())
    for name in linked:
        assert (written.out / name).read_text(encoding="utf-8").startswith("<?xml")
