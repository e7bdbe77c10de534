"""``qmcbench scale project``: what it prints and writes, what it fits, what it refuses; and who makes the report."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from helpers.stores import named, store, strong_run, weak_run
from typer.testing import CliRunner

from qmcbench.cli.main import app
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.report.scaling import model as scaling_model
from qmcbench.scaling import fit as fitting
from qmcbench.scaling import job
from qmcbench.scaling.job import ProjectRequest
from qmcbench.scaling.machine import load
from qmcbench.scaling.model import NAMES, Costs, seconds
from qmcbench.scaling.project import project
from qmcbench.scaling.projection import Projection
from qmcbench.store import jsonl
from qmcbench.store.records import Run
from qmcbench.store.scaling import StrongRun, WeakRun, Work
from qmcbench.structure import unstructure

COSTS = Costs(30.0, 45.0, 5.0, 3.0, 0.0005, 1.0, 5.0, 0.3, 20.0)
"""Of an invented machine."""


def run(*arguments: object, status: int = 1) -> str:
    """Standard output of a projection; its exit status says that two parts of Fig. 10 are not met."""
    result = CliRunner().invoke(app, ["scale", "project", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    if status:
        assert re.findall("failed: ([^(]*) ", result.stderr) == [
            "model, Fig. 10, pdgemm", "model, Fig. 10, data operations"
        ]  # fmt: skip
    return result.stdout


def modelled() -> tuple[Run, Run]:
    """Runs that take as long as the cost model says on the invented machine."""
    strong: list[StrongRun] = []
    weak: list[WeakRun] = []
    for ranks in (1, 2, 4, 8):
        for parameters in (3531, 16249):
            work = Work(parameters, 2560, ranks)
            times = {phase: seconds(phase, work, COSTS) for phase in ("product", "factorisation", "data")}
            times |= {"redistribution": 0.6 * times["data"], "solves": 0.4 * times.pop("data")}
            strong.append(strong_run(parameters, ranks, seconds=times, oversubscribed=False))
        for network, parameters in (("small", 3531), ("medium", 16249)):
            for L in (10, 16):
                mc = seconds("monte_carlo", Work(parameters, 16 * ranks, ranks, L), COSTS)
                weak.append(weak_run(L, ranks, network=network, mc=mc, oversubscribed=False))
    return store(*strong), store(*weak)


def test_paper_and_model_side_by_side(tmp_path: Path) -> None:
    """Each printed time with the model's, more processes on request, and the file with what was projected."""
    lines = run("--processes", 65536, "--out", tmp_path).splitlines()
    rows = [line.split() for line in lines]
    assert lines[0] == "Table 3: printed and modelled"
    (row,) = [row for row in rows if row[:6] == ["iteration", "106,529", "40,000", "16x16", "C4", "6,667"]]
    assert row[6] == "727.7"
    model = project(load("sunway"))
    works = Work(106529, 640000, 40000, 16, 4)
    (time,) = [each for each in model if getattr(each, "phase", "") == "iteration" and each.work == works]
    assert row[7] == f"{time.value:.3g}"
    assert {"Fig. 9: printed and modelled", "Fig. 10: printed and modelled"} <= set(lines)
    assert [row[6] for row in rows if row[:3] == ["pdpotrf", "106,529", "490,000"]] == ["10.4"]
    assert ["106,529", "24x24", "65,536", "10,923", "1,048,576"] in [row[:5] for row in rows]
    assert lines[-2].endswith("12 of 21 checks passed, 2 failed, 7 not measured")
    assert lines[-1] == f"report: {tmp_path / 'index.html'}"
    assert (tmp_path / "index.html").exists()
    assert not (tmp_path / "machine.toml").exists()
    saved = jsonl.load(tmp_path, "projection")
    assert list(saved.records[1 : 1 + len(model)]) == model
    assert saved.provenance.command.split()[0] == "qmcbench"


def test_other_numbers_of_processes(tmp_path: Path) -> None:
    """Both of Table 3's networks on each lattice with C4, 16 samples a process, both ways to solve."""
    more = Projection.of(job.run(ProjectRequest(processes=(64, 128)), tmp_path)).more
    assert len(more) == 2 * 2 * 3
    work = Work(106529, 16 * 128, 128, 24, 4)
    (each,) = [each for each in more if each[0].work == work]
    costs = load("sunway").costs
    assert {part.nodes for part in each} == {22}
    assert [part.value for part in each] == [
        seconds("monte_carlo", work, costs),
        seconds("sr", work, costs, "covariance"),
        seconds("sr", work, costs, "sample_space"),
    ]


def test_own_runs_make_a_machine(tmp_path: Path) -> None:
    """Fitted to what the model says, its costs come back, and from the machine file too; the report lists the fit."""
    path = jsonl.save(tmp_path, "weak", modelled()[1])
    run("--fit", path, "--out", tmp_path / "out")
    found = Projection.of(jsonl.load(tmp_path / "out", "projection"))
    costs = {each.name: each for each in found.machine.costs}
    fitted = ["cnn_rate", "site_overhead", "half_rate_sites"]
    assert [name for name in NAMES if costs[name].origin == "fitted"] == fitted
    assert {costs[name].origin for name in set(NAMES) - set(fitted)} == {"taken"}
    for name in fitted:
        assert costs[name].value == pytest.approx(vars(COSTS)[name], rel=0.02), name
    assert (found.machine.base, found.machine.source) == ("sunway", "weak.jsonl")
    rows = named(scaling_model.model_tables(found), "The fit to our own")
    assert len(rows) == len(found.fitted) == 16
    again = load(tmp_path / "out" / "machine.toml")
    assert vars(again.costs) == pytest.approx({name: each.value for name, each in costs.items()}, rel=1e-4)


def test_taken_costs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Monte Carlo times the network's costs are those of the base, and the table says so."""
    monkeypatch.setattr(fitting, "bootstrap", partial(fitting.bootstrap, replicas=100))
    jsonl.save(tmp_path, "strong", modelled()[0])
    found = Projection.of(job.run(ProjectRequest(own=(tmp_path,)), tmp_path))
    costs = {each.name: each for each in found.machine.costs}
    assert {costs[name].origin for name in ("cnn_rate", "site_overhead", "half_rate_sites")} == {"taken"}
    assert costs["cnn_rate"].value == load("sunway").costs.cnn_rate
    origins = {row["cost"]: row["origin"] for row in named(scaling_model.model_tables(found), "Costs")}
    assert origins["cnn_rate"] == "not shown: near sunway"
    assert origins["gemm_rate"] == "fitted"


def test_a_folder_is_fitted_again_after_it_was_projected(tmp_path: Path) -> None:
    """Its own projection is no measurement, and is left out; alone, it cannot be fitted."""
    jsonl.save(tmp_path, "weak", modelled()[1])
    for _ in range(2):
        assert len(Projection.of(job.run(ProjectRequest(own=(tmp_path,)), tmp_path)).fitted) == 16
    (tmp_path / "records" / "weak.jsonl").unlink()
    with pytest.raises(UserError, match="There are no measured times to fit"):
        job.run(ProjectRequest(own=(tmp_path,)), tmp_path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: None, "Cannot read the store|has no records", id="no file"),
        pytest.param(lambda path: path.write_text("{"), "line 1 is not valid JSON", id="no JSON"),
        pytest.param(lambda path: path.write_text("[]"), "line 1 is no object", id="no object"),
        pytest.param(lambda path: path.write_text('{"format": "x"}'), "is of the format 'x', but", id="format"),
        pytest.param(lambda path: save(path, store()), "are no measurements of scaling", id="empty"),
        pytest.param(
            lambda path: save(path, store(strong_run(ranks=4))), "no run with a core for each", id="crowded"
        ),
        pytest.param(lambda path: save_without_peaks(path), "line 2: there is no peak_bytes; measure", id="missing"),
    ],
)
def test_what_cannot_be_fitted(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    """One sentence each, and nothing is written."""
    path, out = tmp_path / "own.jsonl", tmp_path / "out"
    make(path)
    with pytest.raises(UserError, match=words):
        app(["scale", "project", "--fit", str(path), "--out", str(out)], standalone_mode=False)
    assert not out.exists()


def save(path: Path, found: Run) -> None:
    """The file of a run, there."""
    jsonl.save(path.parent, "x", found).replace(path)


def save_without_peaks(path: Path) -> None:
    """A run that lacks its memory."""
    save(path, store(strong_run()))
    head, line = path.read_text().splitlines()
    run = json.loads(line)
    del run["peak_bytes"]
    path.write_text(f"{head}\n{json.dumps(run)}\n")


def test_times_that_determine_nothing(tmp_path: Path) -> None:
    """One Monte Carlo time shows none of the three costs that it is made of: the machine is not called fitted."""
    path = jsonl.save(tmp_path, "weak", store(weak_run(10)))
    words = "The times in weak.jsonl determine none of the machine's costs; measure larger problems, more ranks and"
    with pytest.raises(UserError, match=re.escape(words)):
        job.run(ProjectRequest(own=(path,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--machine", "moon.toml"), "Cannot read the machine file moon.toml"),
        (("--processes", "0"), "processes = 0: give numbers of at least 1"),
    ],
)
def test_wrong_options(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """The same, of the options."""
    with pytest.raises(UserError, match=words):
        app(["scale", "project", *arguments, "--out", str(tmp_path / "x")], standalone_mode=False)
    assert not (tmp_path / "x").exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Named, with the option that changes it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write to the folder .* choose another with --out"):
        app(["scale", "project", "--out", str(tmp_path / "file" / "x")], standalone_mode=False)


def test_help_has_examples() -> None:
    """How it is called, with a machine file and with own runs."""
    text = " ".join(run("--help", status=0).split())
    assert "qmcbench scale project --out" in text
    assert "--fit runs/scaling --out" in text


@pytest.mark.parametrize("kind", ["strong", "weak"])
def test_measurements_refresh_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Each measurement adds to the report of what is there already."""
    job.run(ProjectRequest(), tmp_path)
    answers = {"strong": strong_run(3531), "weak": weak_run(10)}
    monkeypatch.setattr(launch, "run", lambda *_, **__: unstructure(answers[kind]))
    options = {"strong": ["--parameters", "3531"], "weak": ["--L", "10", "--symmetry", "none"]}[kind]
    command = ["scale", kind, *options, "--ranks", "1", "--out", str(tmp_path), "--quiet"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.stdout.splitlines()[-1] == f"report: {tmp_path / 'index.html'}"
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.count("Nothing yet") == 1
    assert "Sample space against covariance" in markdown
