"""The scaling report of INVENTED measurements and the real projection of the paper's times."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.stores import MACHINE, ORIGIN, full, named, store, strong_run, texts, unfit, weak_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from typer.testing import CliRunner

from qmcbench.bench import scaling as measurements
from qmcbench.cli import scale
from qmcbench.cli.main import app
from qmcbench.errors import UserError
from qmcbench.reference import paper
from qmcbench.report.book import report
from qmcbench.report.scaling import measured_figures as scaling_plots
from qmcbench.report.scaling import model as scaling_model
from qmcbench.report.scaling import model_figures as scaling_model_plots
from qmcbench.report.scaling import pages as scaling
from qmcbench.report.scaling.pages import Material, chapters
from qmcbench.scaling import job
from qmcbench.scaling.heldout import COST, held_out
from qmcbench.scaling.machine import load
from qmcbench.scaling.model import UNITS, Costs
from qmcbench.scaling.projection import Projection
from qmcbench.store import jsonl
from qmcbench.store.records import Run
from qmcbench.store.scaling import ModelledTime, StrongRun, WeakRun

BARE = "".join(
    f'{name} = {{ value = {value}, unit = "{UNITS[name]}" }}\n' for name, value in vars(load("sunway").costs).items()
)
FAILING = {"model, Fig. 10, pdgemm", "model, Fig. 10, data operations"}
"""What the model does not do for the paper's times, whatever was measured here."""


def test_projected_tables_have_every_printed_time(projection: Projection) -> None:
    """Each time of Table 3, Fig. 9 and Fig. 10 beside the model's, its band and their ratio."""
    tables = scaling_model.projected_tables(projection)
    expected = {
        "Table 3": [time for row in paper.table3["rows"] for time in (row["scalapack_s"], *row["mc_s"])],
        "Fig. 9": [
            time for size in ("medium", "large") for key in ("pdpotrf_s", "pdgemm_s")
            for time in paper.figure9[size][key]
        ],
        "Fig. 10": [*paper.figure10["pdpotrf_s"][2:], *paper.figure10["pdgemm_s"], *paper.figure10["data_op_s"]],
    }  # fmt: skip
    for title, times in expected.items():
        rows = named(tables, f"{title}: printed")
        assert sorted(float(row["paper s"]) for row in rows) == pytest.approx(sorted(times), rel=1e-3)
        for row in rows:
            low, high = map(float, row["95 % band"].split(".."))
            assert low < float(row["model s"]) < high
            assert float(row["model / paper"]) == pytest.approx(
                float(row["model s"]) / float(row["paper s"]), rel=0.02
            )
    efficiencies = named(tables, "Weak-scaling efficiency")
    printed = [row["paper's efficiency"] for row in efficiencies if row["processes"] == "490,000"]
    assert printed == ["0.867", "0.894", "0.925"]
    more = named(tables, "Other numbers")
    assert [(row["parameters"], row["lattice"]) for row in more][:2] == [("16,249", "10x10"), ("16,249", "16x16")]
    assert {(row["processes"], row["nodes"], row["samples"]) for row in more} == {("100,000", "16,667", "1,600,000")}


def test_model_tables(projection: Projection) -> None:
    """Every cost with unit, error and origin; each held-out prediction of the halves once."""
    tables = scaling_model.model_tables(projection)
    costs = {row["cost"]: row for row in named(tables, "Costs")}
    assert list(costs) == [each.name for each in fields(Costs)]
    assert costs["gemm_rate"]["unit"] == "GF/s"
    assert costs["gemm_rate"]["origin"] == "fitted"
    assert costs["gemm_rate"]["error"].endswith(" %")
    points = [row for fold in ("rows 1 and 3", "rows 2 and 4") for row in named(tables, f"Predicted without {fold}")]
    assert len(points) == 56 + 32
    by_hand = next(
        each for each in held_out("halves") if each.model == COST and each.known == 0.33 and each.phase == "product"
    )
    (row,) = [row for row in points if (row["times"], row["processes"], row["source"]) == ("pdgemm", "256", "Fig. 9")]
    assert (row["paper s"], row["error"]) == ("0.33", f"{100 * by_hand.error:.3g} %")
    assert len(named(tables, "Predicted without Fig. 10")) == 26
    assert not [table for table in tables if table.title.startswith("The fit to our own")]


def test_sample_space(projection: Projection) -> None:
    """The remark names the largest gain and the largest loss of the table."""
    rows = named(scaling_model.sample_space_tables(projection), "Sample space")
    assert len(rows) == 15
    faster = [float(row["times faster"]) for row in rows]
    best = rows[int(np.argmax(faster))]
    even = named(scaling_model.sample_space_tables(projection), "Where both")
    assert [(row["parameters"], row["samples a process"]) for row in even] == [
        ("16,249", "16"), ("106,529", "16"), ("106,529", "8")
    ]  # fmt: skip
    for row in even:
        parameters, each, processes = (int(row[key].replace(",", "")) for key in list(row)[:3])
        assert float(row["samples / parameters there"]) == pytest.approx(each * processes / parameters, abs=1e-3)
    remark = scaling._gain(projection)
    assert f"at {sum(value > 1 for value in faster)} of the paper's 15 points" in remark
    assert f"at most {best['times faster']} times ({best['parameters']} parameters on {best['processes']}" in remark
    assert f"{min(projection.gains, key=lambda each: each.value).work.processes:,}" in remark


def test_a_machine_without_errors_has_no_bands(projection: Projection, tmp_path: Path) -> None:
    """Dashes in the tables, lines without bands in the figures, and the caption says so."""
    (tmp_path / "bare.toml").write_text(f'name = "bare"\n[costs]\n{BARE}')
    bare = Projection.of(job.run(job.ProjectRequest(tmp_path / "bare.toml"), tmp_path))
    assert {row["95 % band"] for row in named(scaling_model.projected_tables(bare), "Table 3")} == {"–"}
    assert {row["origin"] for row in named(scaling_model.model_tables(bare), "Costs")} == {"given"}
    for plot in [*scaling_model_plots.model_plots(bare), *scaling_model_plots.sample_space_plots(bare)]:
        assert plot.svg.startswith("<?xml")
    assert "Without bands" in scaling_model_plots.model_plots(bare)[0].caption
    assert "Bands: 68 % and 95 %" in scaling_model_plots.model_plots(projection)[0].caption


def material(*runs: Run) -> Material:
    """Runs as a chapter takes them."""
    return Material.of({scaling.JOBS[run.job]: run for run in runs})


def test_what_was_not_run(projected: Run) -> None:
    """What did not fit, with the command that asks for the same run; the rest by what there is."""
    strong, weak = full()

    def rows(*runs: Run) -> dict[str, dict[str, str]]:
        return {row["what"]: row for row in texts(scaling._not_run(material(*runs)))}

    found = rows(strong, weak, projected)
    assert list(found) == [
        "strong scaling: 106529 parameters, 2 ranks (1x2), block 128, pdgemm", "several nodes of a cluster", "GPUs"
    ]  # fmt: skip
    everything = rows(store(*[run for run in strong.of(StrongRun) if run.not_run is None]))
    large = everything["strong scaling: 106,529 parameters, the paper's large network"]
    assert "90.8 GB for the matrix alone); this machine has 8.59 GB" in large["why"]
    assert {"weak scaling", "projection"} < set(everything)
    spread = rows(store(strong_run(ranks=64, oversubscribed=False)), weak, projected)
    assert "several nodes of a cluster" not in spread


def test_commands_ask_for_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of each run that did not fit measures exactly that job."""
    asked: list[Any] = []
    monkeypatch.setattr(measurements, "_measure", lambda kind, jobs, *rest: asked.extend(jobs))
    monkeypatch.setattr(scale, "_report", lambda *_: None)
    strong = strong_run(
        106529, 4, grid=(4, 1), block=64, product="pdsyrk", redistribution="alltoall", space="samples"
    )
    weak = weak_run(24, 3, network="large", symmetry="C4", solver="sample_space", chains=5)
    for run in (strong, weak):
        result = CliRunner().invoke(app, shlex.split(scaling.again(unfit(run)))[1:], catch_exceptions=False)
        assert result.exit_code == 0
    assert [each.identity for each in asked] == [strong.identity, weak.identity]


def test_series_differ_in_one_routine() -> None:
    """Each line of a figure has one run for each number of ranks: the usual layout, the most square grid."""
    runs = [
        strong_run(3531, 4, block=64),
        strong_run(3531, 4, grid=(1, 4)),
        *(strong_run(3531, ranks) for ranks in (1, 2, 4)),
        strong_run(3531, 2, product="pdsyrk"),
        strong_run(3531, 2, product="pdsyrk", block=64),
        strong_run(3531, 1, redistribution="alltoall"),
    ]
    found = scaling_plots._series(runs)
    assert list(found) == ["total", "pdpotrf", "pdgemm", "pdsyrk", "pdgemr2d", "Alltoall", "solves"]
    ranks = {name: [run.ranks for run in those] for name, (_, those) in found.items()}
    assert (ranks.pop("pdsyrk"), ranks.pop("Alltoall")) == ([2], [1])
    assert set(map(tuple, ranks.values())) == {(4, 1, 2)}
    assert found["total"][1][0].layout.grid == (2, 2)
    assert {run.layout.block for _, those in found.values() for run in those} == {128}


def save(out: Path, *runs: Run) -> None:
    """Write each run to its file."""
    for run in runs:
        jsonl.save(out, scaling.JOBS[run.job], run)


def test_report_is_complete_and_repeatable(tmp_path: Path, projected: Run) -> None:
    """All sections with their figures in one page; the same files give the same bytes; markup is text."""
    save(tmp_path, *full(), projected)
    report([tmp_path], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report([tmp_path], tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    html = (tmp_path / "index.html").read_text()
    assert "<CPU>" not in html
    assert "Synthetic &lt;CPU&gt;" in html
    markdown = (tmp_path / "report.md").read_text()
    assert "Nothing yet" not in markdown
    drawn = sorted(path.stem for path in (tmp_path / "figures").iterdir())
    assert drawn == sorted(f"scaling-{name}" for name in [
        "strong-1", "strong-2", "dgemm", "weak", "iteration", "held-out", "figure-9", "table-3", "figure-10",
        "sample-space",
    ])  # fmt: skip
    assert all(f"figures/{name}.svg" in markdown for name in drawn)
    columns = "records/strong.jsonl | records/weak.jsonl | records/projection.jsonl"
    assert columns in " ".join(markdown.split())


@pytest.mark.parametrize("name", ["strong", "weak", "projection"])
def test_report_of_one_file(projected: Run, name: str) -> None:
    """What is not there yet is named with the command that makes it."""
    runs = dict(zip(("strong", "weak", "projection"), (*full(), projected), strict=True))
    (chapter,) = chapters([runs[name]])
    assert not chapter.judgement.passed
    empty = {section.empty for section in chapter.sections if not section.tables and not section.plots}
    assert empty == {
        f"Nothing yet; {command} makes it." for other, command in scaling.COMMANDS.items() if other != name
    }


def test_second_run_of_a_job_is_a_second_chapter() -> None:
    """Times of two machines are never put side by side."""
    strong, weak = full()
    elsewhere = replace(strong, provenance=replace(ORIGIN, machine=replace(MACHINE, cpu="another")))
    one, two = chapters([strong, weak, elsewhere])
    assert (one.name, two.name) == ("scaling", "scaling-2")
    assert [len(section.tables) > 0 for section in two.sections[1:3]] == [True, False]


def test_report_of_real_measurements(tmp_path: Path) -> None:
    """What the measurements write can be reported: nothing is needed that only invented runs have."""
    quick = replace(measurements.QUICK_STRONG, ranks=(1,), repeats=1), replace(measurements.QUICK_WEAK, ranks=(1,))
    measurements.strong(quick[0], tmp_path, quiet=True)
    measurements.weak(quick[1], tmp_path, quiet=True)
    (chapter,) = report([tmp_path], tmp_path)
    assert chapter.judgement.headline.startswith("1 of ")
    assert [plot.name for section in chapter.sections for plot in section.plots] == ["strong-1", "dgemm", "iteration"]


def test_unknown_job_is_refused() -> None:
    """A word after `scale` that is none of its commands."""
    with pytest.raises(UserError, match="The job 'scale x' of a run is not one of scale strong, scale weak"):
        chapters([replace(store(), job="scale x")])


def test_labels_are_no_formulas() -> None:
    """Dollars in a name are dollars; matplotlib would take them for mathematics and fail."""
    strong, weak = full()
    network = tuple(replace(run, network="$\\bad$ $") for run in weak.of(WeakRun))
    routine = tuple(replace(run, layout=replace(run.layout, product="$^$")) for run in strong.of(StrongRun))
    (chapter,) = chapters([replace(strong, records=routine), replace(weak, records=network)])
    assert len([plot for section in chapter.sections for plot in section.plots]) == 5


def test_ticks_do_not_collide(projected: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On no axis of any figure do the labels of two ticks overlap."""
    crowded: list[str] = []

    def look(name: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        FigureCanvasAgg(figure).draw()
        for axes in figure.axes:
            low, high = sorted(axes.get_xlim())
            ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            boxes = [label.get_window_extent() for at, label in ticks if low <= at <= high and label.get_text()]
            boxes.sort(key=lambda box: box.x0)
            if any(one.x1 + 2 > two.x0 for one, two in pairwise(boxes)):
                crowded.append(name)
        return "<svg></svg>"

    for module in (scaling_plots, scaling_model_plots):
        monkeypatch.setattr(module, "render", look)
    chapters([*full(), projected])
    assert crowded == []


def test_report_needs_no_torch() -> None:
    """Of the committed records: nothing is measured, so nothing heavy is loaded."""
    code = (
        "import sys; from pathlib import Path; from qmcbench.report.book import chapters; from qmcbench.store import "
        "jsonl; chapters(jsonl.find([Path(sys.argv[1])])); print('torch' in sys.modules)"
    )
    records = Path(__file__).parents[2] / "reports" / "book" / "records" / "projection.jsonl"
    found = subprocess.run([sys.executable, "-c", code, records], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_an_incomplete_projection_is_refused(projected: Run) -> None:
    """Whatever record is taken away or there twice, and whatever name is not the model's."""
    for kind in {each.kind for each in projected.records}:
        first = next(i for i, each in enumerate(projected.records) if each.kind == kind)
        for records in (
            projected.records[:first] + projected.records[first + 1 :],
            (*projected.records, projected.records[first]),
        ):
            with pytest.raises(UserError, match=r"do not have the .* that they should; make them again with"):
                Projection.of(replace(projected, records=records))
    times = [i for i, each in enumerate(projected.records) if isinstance(each, ModelledTime)]
    wrong = list(projected.records)
    wrong[times[-1]] = replace(wrong[times[-1]], solver="guess")
    with pytest.raises(UserError, match="do not have the parts of an iteration"):
        Projection.of(replace(projected, records=tuple(wrong)))
