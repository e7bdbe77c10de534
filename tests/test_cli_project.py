"""``qmcbench scale project``: what it prints and writes, what it fits, what it refuses; and who makes the report."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from stores import Store, named, store, strong_run, weak_run
from typer.testing import CliRunner

from qmcbench.cli.main import app
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.report.scaling import model as scaling_model
from qmcbench.scaling import job
from qmcbench.scaling.machine import load
from qmcbench.scaling.model import Costs, Work, bytes_per_process, seconds
from qmcbench.scaling.project import project

COSTS = Costs(30.0, 45.0, 5.0, 3.0, 0.0005, 1.0, 5.0, 0.3, 20.0)
"""Of an invented machine."""


def run(*arguments: object) -> str:
    """Standard output of a projection that succeeds."""
    result = CliRunner().invoke(app, ["scale", "project", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def modelled() -> tuple[Store, Store]:
    """Runs that take as long as the cost model says on the invented machine."""
    strong, weak = [], []
    for ranks in (1, 2, 4, 8):
        for parameters in (3531, 16249):
            work = Work(parameters, 2560, ranks)
            times = {phase: seconds(phase, work, COSTS) for phase in ("product", "factorisation", "data")}
            times |= {"redistribution": 0.6 * times["data"], "solves": 0.4 * times.pop("data")}
            strong.append(strong_run(parameters, ranks, seconds=times, oversubscribed=False))
        for network, parameters in (("small", 3531), ("medium", 16249)):
            for L in (10, 16):
                mc = seconds("monte_carlo", Work(parameters, 16 * ranks, ranks, L), COSTS)
                weak.append(weak_run(L, ranks, network=network, mc={"median_s": mc}, oversubscribed=False))
    return store(*strong), store(*weak)


def test_paper_and_model_side_by_side(tmp_path: Path) -> None:
    """A line for each number of processes with the times as printed; the report is made."""
    lines = run("--out", tmp_path, "--processes", 65536).splitlines()
    rows = [line.split() for line in lines]
    assert lines[0] == "seconds: paper / model for sunway"
    (row,) = [row for row in rows if row[:3] == ["106529", "40000", "6667"] and len(row) > 12]
    assert row[3::3] == ["55.17", "95", "197.2", "226.9", "727.7"]
    model = project(load("sunway"))
    found = {each.phase: each for each in model.times if each.work == Work(106529, 640000, 40000)}
    assert row[5] == f"{found['sr'].seconds.value:.3g}"
    assert [line for line in lines if line.startswith("parameters")][1].split()[3:] == ["pdpotrf", "pdgemm"]
    assert ["106529", "490000", "81667", "10.4"] in [row[:4] for row in rows]
    assert ["106529", "24x24", "65536", "10923", "1048576"] in [row[:5] for row in rows]
    assert lines[-2] == f"all times with their uncertainty: {tmp_path / 'projection.json'}"
    assert lines[-1].endswith(f" not run; report: {tmp_path / 'index.html'}")
    assert (tmp_path / "index.html").exists()
    assert not (tmp_path / "machine.toml").exists()
    saved = json.loads((tmp_path / "projection.json").read_text())
    plain = json.loads(json.dumps(asdict(model)))
    assert {name: saved[name] for name in plain} == plain


def test_other_numbers_of_processes(tmp_path: Path) -> None:
    """Both of Table 3's networks on each lattice with C4, 16 samples a process, both ways to solve."""
    more = job.run(tmp_path, processes=[64, 128])["more"]
    assert len(more) == 2 * 2 * 3
    work = Work(106529, 16 * 128, 128, 24, 4)
    (each,) = [each for each in more if each["work"] == asdict(work)]
    machine = load("sunway")
    assert each["nodes"] == 22
    assert each["monte_carlo_s"] == seconds("monte_carlo", work, machine.costs)
    for solver in ("covariance", "sample_space"):
        assert each[f"{solver}_s"] == seconds("sr", work, machine.costs, solver)
        assert each[f"{solver}_bytes"] == bytes_per_process(work, solver)


def test_own_runs_make_a_machine(tmp_path: Path) -> None:
    """Fitted to what the model says, its costs come back, and from the machine file too; the report lists the fit."""
    path = tmp_path / "weak.json"
    path.write_text(json.dumps(modelled()[1]))
    run("--fit", path, "--out", tmp_path)
    saved = json.loads((tmp_path / "projection.json").read_text())
    fitted = ["cnn_rate", "site_overhead", "half_rate_sites"]
    assert saved["machine"]["fitted"] == fitted
    assert set(saved["fit"]["taken"]) == set(asdict(COSTS)) - set(fitted)
    for name in fitted:
        assert saved["machine"]["costs"][name] == pytest.approx(asdict(COSTS)[name], rel=0.02), name
    assert (saved["base"], saved["machine"]["source"]) == ("sunway", "weak.json")
    rows = named(scaling_model.model_tables(saved), "The fit to our own")
    assert len(rows) == len(saved["fit"]["points"]) == 16
    again = load(tmp_path / "machine.toml")
    assert asdict(again.costs) == pytest.approx(saved["machine"]["costs"], rel=1e-4)


def test_taken_costs_are_named(tmp_path: Path) -> None:
    """Without Monte Carlo times the network's costs are those of the base, and the table says so."""
    path = tmp_path / "strong.json"
    path.write_text(json.dumps(modelled()[0]))
    found = job.run(tmp_path, own=[path])
    assert {"cnn_rate", "site_overhead", "half_rate_sites"} <= set(found["fit"]["taken"])
    assert found["machine"]["costs"]["cnn_rate"] == load("sunway").costs.cnn_rate
    origins = {row["cost"]: row["origin"] for row in named(scaling_model.model_tables(found), "Costs")}
    assert origins["cnn_rate"] == "not shown: near sunway"
    assert origins["gemm_rate"] == "fitted"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "is not of the format qmcbench-scaling-1"),
        ({"format": "qmcbench-projection-1"}, "is not of the format qmcbench-scaling-1"),
        (store(), "has no run with a core for each rank"),
        (store(strong_run(ranks=4)), "has no run with a core for each rank"),
        ({"format": "qmcbench-scaling-1", "runs": [{"ranks": 1}]}, "the key 'job' is missing"),
    ],
)
def test_what_cannot_be_fitted(tmp_path: Path, content: Any, words: str) -> None:
    """One sentence each, and nothing is written."""
    path, out = tmp_path / "own.json", tmp_path / "out"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=words):
        app(["scale", "project", "--fit", str(path), "--out", str(out)], standalone_mode=False)
    assert not out.exists()


def test_times_that_determine_nothing(tmp_path: Path) -> None:
    """One Monte Carlo time shows none of the three costs that it is made of: the machine is not called fitted."""
    (tmp_path / "weak.json").write_text(json.dumps(store(weak_run(10))))
    words = "The times in weak.json determine none of the machine's costs; measure larger problems, more ranks and"
    with pytest.raises(UserError, match=re.escape(words)):
        job.run(tmp_path / "out", own=[tmp_path / "weak.json"])
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
    text = " ".join(run("--help").split())
    assert "qmcbench scale project --out" in text
    assert "--fit runs/scaling/strong.json" in text


@pytest.mark.parametrize("kind", ["strong", "weak"])
def test_measurements_refresh_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Each measurement adds to the report of what is there already."""
    job.run(tmp_path)
    answers = {"strong": strong_run(3531), "weak": weak_run(10)}
    kept = {name: value for name, value in answers[kind].items() if name not in ("job", "speedup", "efficiency")}
    monkeypatch.setattr(launch, "run", lambda *_, **__: kept)
    options = {"strong": ["--parameters", "3531"], "weak": ["--L", "10", "--symmetry", "none"]}[kind]
    command = ["scale", kind, *options, "--ranks", "1", "--out", str(tmp_path), "--quiet"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.stdout.splitlines()[-1].endswith(f"; report: {tmp_path / 'index.html'}")
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.count("Nothing yet") == 1
    assert "Sample space against covariance" in markdown
