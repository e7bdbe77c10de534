"""The benchmark report of INVENTED measurements: the numbers mean nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benches import Store, bench, full, parts_of, peers, times

from qmcbench.bench.claims import ABSENT, PEERS_COMMAND, Check, checks, judge, not_run
from qmcbench.report.bench.curves import spaced
from qmcbench.report.bench.pages import refresh
from qmcbench.report.document import Cell
from qmcbench.store.bench import read

MEETING = {
    "iteration, times as fast as netket": 6.25,
    "iteration, times as fast as quantax": 12.5,
    "forward of large, 12x12: fraction of sgemm": 0.625,
    "forward of large, 12x12: times as fast as the plain module": 2.0,
    "samples a second, 12x12 with C4": 8.0,
    "peak memory of derivatives and step, GiB": 2.0,
    "growth of seconds: exponent off the expected one": 0.25,
}
"""Every check and what the invented measurements give it, all of which meet their bounds."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A folder with the report of both files, and what was written into it."""
    folder = tmp_path_factory.mktemp("whole")
    parts_of(folder, *full())
    return folder, refresh(folder)


def by_title(folder: Path, own: Store | None, other: Store | None = None) -> dict[str, Check]:
    """The checks of these files."""
    return {check.title: check for check in checks(parts_of(folder, own, other))}


def report(folder: Path, own: Store | None, other: Store | None = None) -> str:
    """The Markdown report of these files."""
    parts_of(folder, own, other)
    refresh(folder)
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


def test_everything_measured_and_met(tmp_path: Path) -> None:
    """Each check takes its value from the rows that it is about, and the headline counts them."""
    found = by_title(tmp_path, *full())
    assert {title: check.value for title, check in found.items()} == pytest.approx(MEETING)
    assert all(check.met for check in found.values())
    verdict = judge(list(found.values()), read(tmp_path))
    assert verdict.passed
    assert verdict.headline == "7 of 7 checks met"
    assert verdict.remarks == [
        "iteration, times as fast as netket: 6.25; the aim of 10 is not reached.",
        "iteration, times as fast as quantax: 12.5; the aim of 10 is reached.",
        "samples a second, 12x12 with C4: 8; the aim of 16 is not reached.",
    ]


def _slow_forward(own: Store) -> None:
    own["hotpath"]["results"]["forward"][4] |= {"fraction_of_sgemm": 0.59}


def _slow_gain(own: Store) -> None:
    own["hotpath"]["results"]["forward"][3] |= times(1.69)


def _few_samples(own: Store) -> None:
    own["hotpath"]["results"]["samples_per_second"][0]["per_second"] = 4.99


def _much_memory(own: Store) -> None:
    own["hotpath"]["results"]["derivatives"]["peak_bytes"] = 4 * 2**30


def _steep(own: Store) -> None:
    own["growth"]["results"]["curves"][0]["exponent"] = 4.375


def _flat(own: Store) -> None:
    own["growth"]["results"]["curves"][0]["exponent"] = 3.625


@pytest.mark.parametrize(
    ("change", "title", "value"),
    [
        (_slow_forward, "forward of large, 12x12: fraction of sgemm", 0.59),
        (_slow_gain, "forward of large, 12x12: times as fast as the plain module", 1.69),
        (_few_samples, "samples a second, 12x12 with C4", 4.99),
        (_much_memory, "peak memory of derivatives and step, GiB", 4.0),
        (_steep, "growth of seconds: exponent off the expected one", 0.375),
        (_flat, "growth of seconds: exponent off the expected one", 0.375),
    ],
)
def test_a_miss_fails_its_check_alone(
    tmp_path: Path, change: Callable[[Store], None], title: str, value: float
) -> None:
    """One value beyond its bound, however many others keep to it, fails that check and says so first."""
    own, other = full()
    change(own)
    found = by_title(tmp_path, own, other)
    assert found[title].value == pytest.approx(value)
    assert [name for name, check in found.items() if not check.met] == [title]
    verdict = judge(list(found.values()), read(tmp_path))
    assert not verdict.passed
    assert verdict.headline == "6 of 7 checks met, 1 not met"
    (failure,) = verdict.failures
    assert failure.startswith(f"{title}: {value:g}")


def test_a_peer_that_is_nearly_as_fast_fails(tmp_path: Path) -> None:
    """The bound holds for each peer by itself, and for one that was not planned too."""
    found = by_title(tmp_path, None, peers(netket=2.75, quantax=30.0, other=2.0))
    met = {title: check.met for title, check in found.items() if check.part == "peers"}
    assert met == {
        f"iteration, times as fast as {name}": name == "quantax" for name in ("netket", "quantax", "other")
    }


def test_quick_parts_decide_nothing(tmp_path: Path) -> None:
    """Values that would fail or pass have no say if they were measured at quick sizes; the report says so."""
    own, other = full()
    for name in ("hotpath", "growth"):
        own[name]["quick"] = True
    _slow_forward(own)
    other["job"] |= {"L": 4, "model": "small", "samples": 64}
    found = by_title(tmp_path, own, other)
    assert {(check.met, check.value, check.word) for check in found.values()} == {(None, None, "quick")}
    verdict = judge(list(found.values()), read(tmp_path))
    assert verdict.headline == "0 of 7 checks met, 7 at quick sizes only"
    assert not verdict.failures
    assert verdict.remarks == [
        "Measured at quick sizes, which say only that it works and decide nothing: hotpath, growth, peers."
    ]
    text = report(tmp_path, own, other)
    for name in ("hotpath", "growth", "peers"):
        assert row(text, name, "at quick sizes only")
    assert "Quick: tiny sizes" in section(text, "Hot path")
    assert "Quick: tiny sizes" not in section(text, "Limits of this machine")


@pytest.mark.parametrize("name", ["limits", "hotpath", "hotspots", "speedup", "growth", "device", "suite", "peers"])
def test_one_part_alone(tmp_path: Path, name: str) -> None:
    """Any part makes a report by itself: its checks are decided, the others are named as not measured."""
    own, other = full()
    alone = None if name == "peers" else {key: own[key] for key in ("format", name)}
    text = report(tmp_path, alone, other if name == "peers" else None)
    found = checks(read(tmp_path))
    decided = {check.title for check in found if check.met is not None}
    assert decided == {check.title for check in found if check.part == name}
    missing = [check.title for check in found if check.part != name]
    assert f"- Not measured: {'; '.join(missing)}." in text
    commands = [
        row(text, other, ABSENT.get(other, "not asked for yet"))[2]
        for other in (*own, "peers")
        if other not in ("format", name)
    ]
    assert all("qmcbench bench" in command or PEERS_COMMAND in command for command in commands)
    assert text.count("Nothing yet; ") == 7


def test_rows_that_decide_nothing_leave_a_check_open(tmp_path: Path) -> None:
    """A hot path without the sizes that the claims are about is measured, and decides none of them."""
    own = bench()
    found = own["hotpath"]["results"]
    found["forward"] = found["forward"][5:]
    found["samples_per_second"] = found["samples_per_second"][1:]
    found["derivatives"]["samples"] = 512
    assert {check.word for check in checks(parts_of(tmp_path, own)) if check.part == "hotpath"} == {"not measured"}


def test_sections_and_their_numbers(whole: tuple[Path, list[Path]]) -> None:
    """Every section is there in its order, with the numbers of its part."""
    text = (whole[0] / "report.md").read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Checks",
        "Peers",
        "Hot path",
        "Limits of this machine",
        "Speedup over one scalar core (paper Fig. 8)",
        "Hotspots of the forward pass (paper Fig. 7)",
        "Growth of the cost",
        "On a GPU",
        "Benchmark suite (asv)",
        "Provenance",
    ]
    own = section(text, "Times", "###")
    assert row(own, "local energies")[1:] == [
        "250 ms (250 ms..375 ms)", "1.562 s (1.562 s..2.344 s)", "3.125 s (3.125 s..4.688 s)"
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
        "C4", "random", "64", "144", "8", "7.5..8.25", "5", "50 %", "one sweep"
    ]  # fmt: skip
    assert row(own, "large, 10x10", "1,024")[2:] == ["12.5 s", "1.75 s", "2 GiB", "0.5 GiB", "5"]
    own = section(text, "Limits of this machine")
    assert row(own, "copy, read and write counted")[1:] == ["25 GB/s", "1000 MB"]
    assert row(own, r"solve (sample\_space)", "medium, 10x10")[-2:] == ["80 %", "arithmetic"]
    assert row(own, "log derivatives")[-6:] == ["5000", "2", "10", "50", "20 %", "memory"]
    own = section(text, "Speedup over one scalar core (paper Fig. 8)")
    assert row(own, "large, 16x16", "256", "conv2d")[-3:] == ["10.5", "18.8", "400"]
    assert row(own, "large, 10x10", "256", "conv2d")[-1] == "300"
    assert row(own, "medium, 10x10", "256", "conv2d")[-1] == "–"
    assert row(own, "medium, 10x10", "256", "max pool")[-1] == "12"
    assert "SW26010Pro" in own
    own = section(text, "Hotspots of the forward pass (paper Fig. 7)")
    assert row(own, "conv2d") == ["conv2d", "70.0", "–", "86.1"]
    assert row(own, "fused") == ["fused", "–", "97.5", "–"]
    assert row(own, "seconds of a forward pass") == ["seconds of a forward pass", "1.5 s", "750 ms", "–"]
    own = section(text, "Growth of the cost")
    assert row(own, "seconds", "local energy", "L", "network medium, chains 64")[4:7] == ["4.25 ± 0.03", "4", "6"]
    assert row(own, "bytes", "solve (sample space)")[4] == "1.00"
    own = section(text, "On a GPU")
    assert row(own, "large, 16x16")[2:] == ["500 ms", "15000", "0.38", "256", "96", "2.5 s", "3 GiB"]
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


def test_figures(whole: tuple[Path, list[Path]]) -> None:
    """Each part has its figures, on the page and as files, with a caption that says whence; no others are written."""
    folder, written = whole
    names = {path.stem for path in written if path.suffix == ".svg"}
    assert names == {
        "peers", "forward", "steps", "roofline", "speedup-medium", "speedup-large", "hotspots", "growth-L-seconds",
        "growth-parameters-seconds", "growth-samples-bytes",
    }  # fmt: skip
    text = (folder / "report.md").read_text()
    for name in names:
        caption = text.split(f"(plots/{name}.svg)")[1].strip().splitlines()[0]
        assert caption.endswith("00:00.")
        assert "edian" in caption or "without error bars" in caption
    assert (folder / "index.html").read_text().count("<svg") == len(names)
    assert written[-1] == folder / "index.html"
    assert {path for path in folder.rglob("*") if path.is_file()} == {
        *written, folder / "bench.json", folder / "peers.json"
    }  # fmt: skip


def test_results_do_not_repeat_the_measurements(whole: tuple[Path, list[Path]]) -> None:
    """results.json has the checks and what made the parts, and none of what the other two files hold."""
    found = json.loads((whole[0] / "results.json").read_text())
    assert found.keys() == {"checks", "parts"}
    assert {check["title"]: check["value"] for check in found["checks"]} == pytest.approx(MEETING)
    assert all(each.keys() == {"quick", "provenance"} for each in found["parts"].values())


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, whole: tuple[Path, list[Path]]) -> None:
    """Nothing depends on when, where or in what order a report is written."""
    parts_of(tmp_path, *full())
    again = refresh(tmp_path)
    assert [(path.name, path.read_bytes()) for path in again] == [(path.name, path.read_bytes()) for path in whole[1]]


def test_a_gpu_is_asked_for_until_there_is_one(tmp_path: Path) -> None:
    """Without its part, the table of what was not run says why, and what runs it."""
    own = bench()
    assert "device" not in [row[0] for row in not_run(parts_of(tmp_path, own)).rows]
    del own["device"]
    (row,) = (row for row in not_run(parts_of(tmp_path, own)).rows if row[0] == "device")
    assert row[1] == "no GPU where the rest was measured: large on 10x10, 16x16 and 24x24"
    assert row[2] == Cell("qmcbench bench device --out FOLDER", "code")


def test_a_peer_that_was_left_out(tmp_path: Path) -> None:
    """A comparison with one peer says that the other is missing, and how to have it."""
    text = report(tmp_path, None, peers(netket=6.25))
    assert row(text, "peers: quantax", "left out of this comparison")
    assert row(text, "not measured", "iteration, times as fast as quantax")


def test_a_peer_that_a_quick_comparison_left_out(tmp_path: Path) -> None:
    """Only what was there is quick; the other peer was not measured at all."""
    other = peers(netket=6.25)
    other["job"]["L"] = 4
    found = by_title(tmp_path, None, other)
    words = [found[f"iteration, times as fast as {name}"].word for name in ("netket", "quantax")]
    assert words == ["quick", "not measured"]


def test_empty_lists_make_a_report(tmp_path: Path) -> None:
    """Parts whose lists are empty are whole: their sections are there, without tables and figures of nothing."""
    own = bench()
    own["hotpath"]["results"] |= {"forward": [], "steps": [], "samples_per_second": []}
    own["limits"]["results"]["phases"] = []
    own["growth"]["results"]["curves"] = []
    own["speedup"]["results"] = own["suite"]["results"] = []
    text = report(tmp_path, own)
    assert "This part was run, and is empty." in section(text, "Benchmark suite (asv)")
    assert "### Steps" not in text


def test_labels_keep_apart() -> None:
    """Heights are left alone where there is room, and otherwise lie apart, in their order, between 0 and 1."""
    assert np.allclose(spaced([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])
    for heights in ([0.5, 0.5, 0.5, 0.52], [0.97, 0.99, 1.0], [0.0, 0.0, 0.01, 0.4]):
        found = spaced(heights, 0.1)
        assert np.all(np.diff(found) >= 0.1 - 1e-12)
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-12
