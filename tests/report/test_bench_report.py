"""The benchmark chapter of INVENTED measurements: the numbers mean nothing."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.benches import OF_PART, Parts, change, full, peers, run, save

from qmcbench.bench.claims import checks
from qmcbench.bench.names import COMMANDS
from qmcbench.errors import UserError
from qmcbench.gates.check import Verdict
from qmcbench.report.bench.limits import spaced
from qmcbench.report.bench.pages import ABSENT, chapters
from qmcbench.report.book import report
from qmcbench.report.document import Cell, Judgement
from qmcbench.store.bench import Rate, SamplingRate


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every part and their report."""
    folder = tmp_path_factory.mktemp("whole")
    markdown(folder, full())
    return folder


def judged(parts: Parts) -> Judgement:
    """What the chapter concludes."""
    (chapter,) = chapters(list(parts.values()))
    return chapter.judgement


def markdown(folder: Path, parts: Parts) -> str:
    """The Markdown report of these parts."""
    save(folder, parts)
    report([folder], folder)
    return (folder / "report.md").read_text()


def row(text: str, *beginning: str) -> list[str]:
    """Cells of the one table row that begins with these."""
    tables = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"
    ]
    (found,) = [cells for cells in tables if tuple(cells[: len(beginning)]) == beginning]
    return found


def section(text: str, title: str, marks: str = "##") -> str:
    """What the report has below one of its headings."""
    return text.split(f"\n{marks} {title}\n")[1].split(f"\n{marks} ")[0]


def test_quick_parts_decide_nothing(tmp_path: Path) -> None:
    """Values that would fail or pass have no say if they were measured at quick sizes; the report says so."""
    parts = full()
    change(parts, "hotpath", lambda each: isinstance(each, SamplingRate), value=0.1)
    for name in ("hotpath", "growth", "peers"):
        parts[name] = replace(parts[name], quick=True)
    found = checks(parts)
    assert {(check.verdict, check.value, check.quick) for check in found} == {(Verdict.NOT_MEASURED, None, True)}
    verdict = judged(parts)
    assert verdict.headline == "0 of 7 checks passed, 7 not measured"
    assert not verdict.failures
    assert not verdict.passed
    assert verdict.remarks[1:] == [
        "Measured at quick sizes, which say only that it works and decide nothing: hotpath, growth, peers."
    ]
    text = markdown(tmp_path, parts)
    for name in ("hotpath", "growth", "peers"):
        assert row(text, name, "at quick sizes only")
    assert "Not measured: only at quick sizes" in row(text, "NOT MEASURED", "samples a second, 12x12 with C4")[-1]
    assert "Quick: tiny sizes" in section(text, "Hot path")
    assert "Quick: tiny sizes" not in section(text, "Limits of this machine")


@pytest.mark.parametrize(
    "name",
    ["limits", "hotpath", "hotspots", "speedup", "growth", "device", "suite", "peers", "accuracy", "optimisers"],
)
def test_one_part_alone(tmp_path: Path, name: str) -> None:
    """Any part makes a report by itself: its checks are decided, the others are named as not measured."""
    text = markdown(tmp_path, {name: full()[name]})
    found = checks({name: full()[name]})
    decided = OF_PART.get(name, [])
    assert [check.name for check in found if check.verdict is not Verdict.NOT_MEASURED] == decided
    missing = [check.name for check in found if check.name not in decided]
    assert f"- Not measured: {'; '.join(missing)}." in text
    assert all(not check.quick and check.not_run for check in found if check.name in missing)
    for other, command in COMMANDS.items():
        if other != name:
            assert row(text, other, ABSENT.get(other, "not asked for yet"))[2] == f"`` {command} ``"
    assert text.count("Nothing yet; ") == 9


def test_sections_and_their_numbers(whole: Path) -> None:
    """Every section is there in its order, with the numbers of its part."""
    text = (whole / "report.md").read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Checks",
        "Peers",
        "Time to accuracy",
        "Hot path",
        "Limits of this machine",
        "Speedup over one scalar core (paper Fig. 8)",
        "Hotspots of the forward pass (paper Fig. 7)",
        "Growth of the cost",
        "On a GPU",
        "Ways of optimising, in equal seconds",
        "Benchmark suite (asv)",
        "Provenance",
    ]
    own = section(text, "Times", "###")
    assert row(own, "local energies")[1:] == [
        "250 ms (250 ms..375 ms)", "1.562 s (1.25 s..2.93 s)", "3.125 s (2.5 s..5.859 s)"
    ]  # fmt: skip
    assert row(own, "sweep + local energies per effective sample", "915.5 µs", "5.722 ms", "11.44 ms")
    assert row(own, "autocorrelation time, sweeps")[1] == "1.25"
    own = section(text, "Ratios", "###")
    assert row(own, "whole iteration", "6.25 (5.00..7.81)", "12.50 (10.00..15.62)")
    assert row(own, "sweep + local energies per effective sample", "6.25", "12.50")
    own = section(text, "Peers")
    assert row(own, "netket", "form conv, x64 False") == [
        "netket",
        "form conv, x64 False",
        "7.5 s",
        "1200 MiB",
        "best",
    ]
    assert row(own, "netket", "form im2col, x64 True")[-1] == "**exit status 137**"
    own = section(text, "Time to accuracy")
    assert row(own, "netket", "tutorial", "3,531", "1,024", "5 s", "5 s")[6:] == [
        "40 s", "80 s", "not in 120 s", "not in 120 s", "0.00600(10)", "24", "0"
    ]  # fmt: skip
    assert row(own, "its own practices", "qmcbench")[2:] == [
        f"{seconds} s (its recipe)" for seconds in (10, 20, 20, 160)
    ]
    assert row(own, "the twin network", "quantax")[2:] == ["–"] * 4
    assert row(own, "its own practices", "tachys")[2:] == ["not run"] * 4
    assert row(own, "tachys", "quick start")[-1] == "**exit status 137**"
    made = section(own, "When and where each was run", "###")
    assert row(made, "qmcbench", "its recipe")[2:4] == [
        "1999-12-31T00:00:00+00:00", "`` qmcbench bench accuracy --only recipe ``"
    ]  # fmt: skip
    assert "Runs that ended from 1999-12-31" in own
    own = section(text, "Hot path")
    assert row(own, "large, 12x12", "256", "fourier", "2")[4:] == [
        "500 ms",
        "400 ms..600 ms",
        "5",
        "125",
        "0.62",
        "2.00",
    ]
    assert row(own, "large, 12x12", "256", "fourier", "1")[-1] == "–"
    assert row(own, "fused pooled grid")[2:] == ["1 s", "800 ms", "1.40", "1.25", "fewer copies"]
    assert row(own, "Fourier space, compiled")[4:6] == ["–", "1.60"]
    assert row(own, "liang, 12x12")[1:] == [
        "C4", "random", "64", "144", "8", "7.5..8.25", "5", "50 %",
        "one sweep of 144 proposals and one local energy a sample",
    ]  # fmt: skip
    assert row(own, "large, 10x10", "1,024")[2:] == ["12.5 s", "1.75 s", "2 GiB", "0.5 GiB", "5"]
    own = section(text, "Limits of this machine")
    assert row(own, "copy, read and write counted")[1:] == ["25 GB/s", "1000 MB"]
    assert row(own, r"solve (sample\_space)", "medium, 10x10")[-2:] == ["80 %", "arithmetic"]
    assert row(own, "log derivatives")[-6:] == ["5000", "2", "10", "50", "20 %", "memory"]
    own = section(text, "Speedup over one scalar core (paper Fig. 8)")
    assert own.index("conv2d") < own.index("| forward")
    assert "Not like for like" in own
    assert row(own, "large, 16x16", "256", "conv2d")[-3:] == ["10.5", "18.8", "400"]
    assert row(own, "large, 10x10", "256", "conv2d")[-1] == "300"
    assert row(own, "medium, 10x10", "256", "conv2d")[-1] == "–"
    assert row(own, "medium, 10x10", "256", "max pool")[-1] == "12"
    # Six operations of a second each, over the sum of their times on all cores.
    gains = [factor * 256 / 272 for factor in (20, 5, 3, 8, 2, 0.5)]
    plain = 6 / sum(1 / gain for gain in gains)
    assert row(own, "large, 16x16", "256", "forward")[3:] == [
        "1 s", "47.81 ms", "26.56 ms", "2", "20.9", "37.6", f"{plain:.3g}"
    ]  # fmt: skip
    assert "SW26010Pro" in own
    own = section(text, "Hotspots of the forward pass (paper Fig. 7)")
    assert row(own, "conv2d") == ["conv2d", "70.0", "–", "86.1"]
    assert row(own, "fused") == ["fused", "–", "97.5", "–"]
    assert row(own, "seconds of a forward pass") == ["seconds of a forward pass", "1.5 s", "750 ms", "–"]
    own = section(text, "Growth of the cost")
    assert row(own, "seconds", "local energy", "L", "network medium, chains 64")[4:7] == ["4.25 ± 0.03", "4", "6"]
    assert row(own, "bytes", "solve (sample space)")[4] == "1.00"
    own = section(text, "On a GPU")
    assert row(own, "large, 16x16")[2:] == [
        "500 ms", "400 ms..600 ms", "15000", "0.38", "64", "96", "2.5 s", "3 GiB"
    ]  # fmt: skip
    own = section(text, "Ways of optimising, in equal seconds")
    assert own.index("spring") < own.index("plain"), "the best median first"
    assert row(own, "spring")[1:4] == ["10.0(2)", "not run", "10.00"]
    assert row(own, "plain")[1:] == ["20.0(2)", "not run", "20.00", "9", "2 s", "no momentum"]
    own = section(text, "Benchmark suite (asv)")
    assert row(own, "operation", "batch 8", "batch 32")
    assert row(own, "conv2d") == ["conv2d", "8 ms (7.2 ms..8.8 ms)", "32 ms (28.8 ms..35.2 ms)"]
    assert "300 MiB" in own
    assert row(own, "b.Solve.time", "solver dense")[-1] == "it does not fit this machine's memory or cores"
    assert row(own, "b.Solve.time", "solver cg")[-1] == "**failed**"
    own = section(text, "Provenance")
    assert row(own, "hotpath", "full")[2:4] == [
        r"`` qmcbench bench hotpath --out 'a\|b' ``",
        "2000-01-01T00:00:00+00:00",
    ]
    assert row(own, "peers", "full")[3] == "2000-01-02T00:00:00+00:00"
    assert "Synthetic \\<CPU\\>" in own


def test_figures(whole: Path) -> None:
    """Each part has its figures, on the page and as files, with a caption that says whence; no others are written."""
    names = {path.stem for path in (whole / "figures").iterdir()}
    assert names == {
        f"bench-{name}"
        for name in (
            "peers", "accuracy", "forward", "steps", "roofline", "speedup-1", "speedup-2", "hotspots",
            "growth-l-seconds", "growth-parameters-seconds", "growth-samples-bytes",
        )
    }  # fmt: skip
    text = (whole / "report.md").read_text()
    for name in names:
        caption = text.split(f"(figures/{name}.svg)")[1].strip().splitlines()[0]
        assert caption.endswith("00:00.")
        assert "edian" in caption or "without error bars" in caption
    assert (whole / "index.html").read_text().count("<svg role=") == len(names)
    others = {path.name for path in whole.rglob("*") if path.suffix not in (".svg", ".csv") and path.is_file()}
    assert others == {"index.html", "report.md", *(f"{name}.jsonl" for name in full())}


def test_the_same_records_give_the_same_bytes(tmp_path: Path, whole: Path) -> None:
    """Nothing depends on when, where or in what order a report is written."""
    markdown(tmp_path, dict(reversed(full().items())))
    paths = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert [(tmp_path / path).read_bytes() for path in paths] == [(whole / path).read_bytes() for path in paths]


def test_torch_is_not_imported(whole: Path) -> None:
    """A report can be made where there is no torch, and says nothing on standard error."""
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path; from qmcbench.report.book import report; "
        f"report([Path({str(whole)!r})], Path({str(whole)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_part_that_is_there_twice_makes_another_chapter() -> None:
    """Two folders' records of the same part stand beside each other, with figures of their own."""
    parts = full()
    first, second = chapters([*parts.values(), parts["limits"]])
    assert (first.name, second.name) == ("bench", "bench-2")
    assert [section.title for section in second.sections if section.tables] == [
        "Checks", "Limits of this machine", "Provenance"
    ]  # fmt: skip


def test_a_job_that_is_no_part() -> None:
    """It is named, with those that there are."""
    with pytest.raises(UserError, match="The job 'bench golf' of a run is not `bench` and one of peers, accuracy"):
        chapters([replace(full()["limits"], job="bench golf")])


def lacking(parts: Parts) -> dict[str, tuple[str | Cell, ...]]:
    """Rows of the table of what was not run, by what it is."""
    (chapter,) = chapters(list(parts.values()))
    (table,) = (table for table in chapter.sections[0].tables if table.title == "Not run")
    return {str(what): tuple(rest) for what, *rest in table.rows}


def test_a_gpu_is_asked_for_until_there_is_one() -> None:
    """Without its part, the table of what was not run says why, and what runs it."""
    parts = full()
    assert not lacking(parts)
    del parts["device"]
    assert lacking(parts) == {
        "device": (
            "no GPU where the rest was measured: large on 10x10, 16x16 and 24x24",
            Cell("qmcbench bench device --out FOLDER", "code"),
        )
    }


def test_a_peer_that_was_left_out() -> None:
    """A comparison with one peer says that the other is missing, and how to have it."""
    parts = {"peers": peers(netket=6.25)}
    assert lacking(parts)["peers: quantax"][0] == "left out of this comparison"
    (check,) = (each for each in checks(parts) if each.name == "iteration, times as fast as quantax")
    assert check.verdict is Verdict.NOT_MEASURED


def test_empty_parts_make_a_report(tmp_path: Path) -> None:
    """Parts without records are whole: their sections are there, without tables and figures of nothing."""
    parts = {name: run(name, ()) for name in full() if name != "peers"}
    text = markdown(tmp_path, parts)
    assert text.count("This part was run, and is empty.") == len(parts)
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("name", ["limits", "hotpath"])
def test_rates_that_are_missing_are_dashes(tmp_path: Path, name: str) -> None:
    """Without the machine's rates there is no fraction of them, and no figure that would need them."""
    part = full()[name]
    text = markdown(tmp_path, {name: run(name, [each for each in part.records if not isinstance(each, Rate)])})
    assert "–" in row(text, *(["log derivatives"] if name == "limits" else ["large, 12x12", "512", "fourier"]))
    assert "roofline" not in text
    assert "bench-forward" not in text


def test_labels_keep_apart() -> None:
    """Heights are left alone where there is room, and otherwise lie apart, in their order, between 0 and 1."""
    assert np.allclose(spaced([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])
    for heights in ([0.5, 0.5, 0.5, 0.52], [0.97, 0.99, 1.0], [0.0, 0.0, 0.01, 0.4]):
        found = spaced(heights, 0.1)
        assert np.all(np.diff(found) >= 0.1 - 1e-12)
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-12
