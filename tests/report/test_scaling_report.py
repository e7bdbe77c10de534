"""The scaling report of INVENTED measurements and the real projection of the paper's times."""

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import ORIGIN, Store, full, named, store, strong_run, texts, unfit, weak_run
from typer.testing import CliRunner

from qmcbench.bench import scaling as measurements
from qmcbench.cli.main import app
from qmcbench.errors import UserError
from qmcbench.reference import paper
from qmcbench.report.scaling import measured_figures as scaling_plots
from qmcbench.report.scaling import model as scaling_model
from qmcbench.report.scaling import model_figures as scaling_model_plots
from qmcbench.report.scaling import pages as scaling
from qmcbench.report.scaling.pages import checks, judge, refresh
from qmcbench.scaling import job
from qmcbench.scaling.heldout import PRINTED, held_out, median_error

NOTHING = scaling.EMPTY


@pytest.fixture(scope="module")
def projection(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The real one, of the paper's machine, as its file has it."""
    out = tmp_path_factory.mktemp("projection")
    job.run(out, processes=[100000])
    found: Store = json.loads((out / job.FILE).read_text())
    return found | {"provenance": ORIGIN}


def passed(strong: Store = NOTHING, weak: Store = NOTHING, projected: Store | None = None) -> dict[str, bool | None]:
    """Results of the checks by their names."""
    return {check["name"]: check["passed"] for check in checks(strong, weak, projected)}


def test_nothing_measured_passes_nothing() -> None:
    """Every check is there, not run; and the verdict says so."""
    found = checks(NOTHING, NOTHING, None)
    assert {check["passed"] for check in found} == {None}
    verdict = judge(found, NOTHING, NOTHING, None)
    assert not verdict.passed
    assert verdict.headline == f"0 of {len(found)} checks met, {len(found)} not run"
    assert verdict.failures == []
    assert all(check["name"] in verdict.remarks[0] for check in found)


def test_everything_measured_and_met(projection: Store) -> None:
    """All checks are met; one that is not is a failure with its value and bound."""
    strong, weak = full()
    found = checks(strong, weak, projection)
    assert judge(found, strong, weak, projection).passed
    assert len(found) == 1 + 4 + 1 + 1 + 2 + 2 + 1 + 1
    strong["runs"][0]["residual"] = 2e-9
    verdict = judge(checks(strong, weak, projection), strong, weak, projection)
    assert not verdict.passed
    assert verdict.headline == f"{len(found) - 1} of {len(found)} checks met, 1 not met"
    (failure,) = verdict.failures
    assert failure.startswith("residual of the solves: 2e-9, which should be at most 1e-9.")


@pytest.mark.parametrize(
    ("name", "phase"),
    [("pdpotrf, 16,249 parameters, {}", "factorisation"), ("pdgemm, 16,249 parameters, {}", "product")],
)
def test_fraction_of_dgemm(name: str, phase: str) -> None:
    """At least 0.7 in the best layout of each number of ranks; only of the paper's order and matrix."""
    for ranks, words in ((1, "1 rank"), (2, "2 ranks")):
        run = strong_run(ranks=ranks)
        run["phases"][phase]["fraction_of_dgemm"] = 0.69
        assert passed(store(run))[name.format(words)] is False
        assert passed(store(run, strong_run(ranks=ranks, block=64)))[name.format(words)] is True
        assert passed(store(run, strong_run(3531, ranks)))[name.format(words)] is False
        assert passed(store(run, strong_run(ranks=ranks, space="samples")))[name.format(words)] is False
        assert passed(store(run | {"oversubscribed": True}))[name.format(words)] is None
        assert passed(store(strong_run(ranks=3 - ranks)))[name.format(words)] is None


def test_half_a_product_does_not_stand_for_the_paper_s() -> None:
    """The rate of pdsyrk says nothing about pdgemm, but its factorisation is the same."""
    found = passed(store(strong_run(product="pdsyrk")))
    assert found["pdgemm, 16,249 parameters, 1 rank"] is None
    assert found["pdpotrf, 16,249 parameters, 1 rank"] is True


def test_speedup() -> None:
    """Of all phases on two ranks, at least 1.7; unknown without the run on one."""
    name = "speedup on 2 ranks, 16,249 parameters"
    assert passed(store(strong_run(ranks=2)))[name] is True
    assert passed(store(strong_run(ranks=2, speedup={"total": 1.69, "product": 2.0})))[name] is False
    assert passed(store(strong_run(ranks=2, speedup=None)))[name] is None
    assert passed(store(strong_run(ranks=4), strong_run(3531, 2)))[name] is None


def test_monte_carlo_efficiency() -> None:
    """The worst run on two ranks counts; lattices smaller than the paper's do not."""
    name = "Monte Carlo efficiency on 2 ranks"
    assert passed(weak=store(weak_run(10, 2), weak_run(6, 2, efficiency=0.5)))[name] is True
    assert passed(weak=store(weak_run(10, 2), weak_run(16, 2, efficiency=0.89)))[name] is False
    for run in (weak_run(10, 1), weak_run(10, 2, efficiency=None), weak_run(6, 2), weak_run(10, 4)):
        assert passed(weak=store(run))[name] is None


def test_held_out_checks_are_the_medians(projection: Store) -> None:
    """Both halves of what the paper prints, either way, and the other splits; none is met above 10 %."""
    found = {check["name"]: check for check in checks(NOTHING, NOTHING, projection) if check["kind"] == "held out"}
    for fold in ("rows 1 and 3 of each network", "rows 2 and 4 of each network"):
        mine = [each for each in held_out("halves") if each.fold == fold and each.point.phase in PRINTED]
        check = found.pop(f"model, halves ({fold})")
        assert check["value"] == pytest.approx(median_error(mine))
        assert check["statement"].startswith("Median relative error of 28 times")
    for split in ("each process count", "each network and lattice"):
        predictions = held_out(split)
        printed = [each for each in predictions if each.point.phase in PRINTED]
        assert found.pop(f"model, {split}")["value"] == pytest.approx(median_error(printed or predictions))
    assert set(found) == {f"model, halves by symmetry ({fold})" for fold in ("without symmetry", "with C4")}
    worse = copy.deepcopy(projection)
    for row in worse["errors"]:
        row["median"] = 0.11
    assert {value for name, value in passed(projected=worse).items() if name.startswith("model")} == {False}


def test_projected_tables_have_every_printed_time(projection: Store) -> None:
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


def test_model_tables(projection: Store) -> None:
    """Every cost with unit, error and origin; each held-out prediction of the halves once."""
    tables = scaling_model.model_tables(projection)
    costs = {row["cost"]: row for row in named(tables, "Costs")}
    assert list(costs) == list(projection["machine"]["costs"])
    assert costs["gemm_rate"]["unit"] == "GF/s"
    assert costs["gemm_rate"]["origin"] == "fitted"
    assert costs["gemm_rate"]["error"].endswith(" %")
    points = [row for fold in ("rows 1 and 3", "rows 2 and 4") for row in named(tables, f"Predicted without {fold}")]
    assert len(points) == 56 + 32
    by_hand = next(
        each
        for each in held_out("halves")
        if each.held_out and each.point.seconds == 0.33 and each.point.phase == "product"
    )
    (row,) = [row for row in points if (row["times"], row["processes"], row["source"]) == ("pdgemm", "256", "Fig. 9")]
    assert (row["paper s"], row["error"]) == ("0.33", f"{100 * by_hand.error:.3g} %")
    assert len(named(tables, "Predicted without Fig. 10")) == 26
    assert not [table for table in tables if table.title.startswith("The fit to our own")]


def test_sample_space(projection: Store) -> None:
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
    remark = judge([], NOTHING, NOTHING, projection).remarks[-1]
    assert f"at {sum(value > 1 for value in faster)} of the paper's 15 points" in remark
    assert f"at most {best['times faster']} times ({best['parameters']} parameters on {best['processes']}" in remark
    assert f"{min(projection['comparisons'], key=lambda c: c['speedup']['value'])['work']['processes']:,}" in remark


def test_a_machine_without_errors_has_no_bands(projection: Store, tmp_path: Path) -> None:
    """Dashes in the tables, lines without bands in the figures, and the caption says so."""
    text = "".join(
        f'{name} = {{ value = {value}, unit = "{scaling_model.UNITS[name]}" }}\n'
        for name, value in projection["machine"]["costs"].items()
    )
    (tmp_path / "bare.toml").write_text(f'name = "bare"\n[costs]\n{text}')
    bare = json.loads(json.dumps(job.run(tmp_path, tmp_path / "bare.toml")))
    assert {row["95 % band"] for row in named(scaling_model.projected_tables(bare), "Table 3")} == {"–"}
    assert {row["origin"] for row in named(scaling_model.model_tables(bare), "Costs")} == {"given"}
    for plot in [*scaling_model_plots.model_plots(bare), *scaling_model_plots.sample_space_plots(bare)]:
        assert plot.svg.startswith("<?xml")
    assert "Without bands" in scaling_model_plots.model_plots(bare)[0].caption
    assert "Bands: 68 % and 95 %" in scaling_model_plots.model_plots(projection)[0].caption


def test_what_was_not_run(projection: Store) -> None:
    """What did not fit, with the command that asks for the same run; the rest by what there is."""
    strong, weak = full()

    def rows(*stores: Any) -> dict[str, dict[str, str]]:
        return {row["what"]: row for row in texts(scaling._not_run(*stores))}

    found = rows(strong, weak, projection)
    assert list(found) == [
        "strong scaling: 106529 parameters, 2 ranks (1x2), block 128, pdgemm", "several nodes of a cluster", "GPUs"
    ]  # fmt: skip
    everything = rows(strong | {"not_run": []}, NOTHING, None)
    large = everything["strong scaling: 106,529 parameters, the paper's large network"]
    assert "90.8 GB for the matrix alone); this machine has 8.59 GB" in large["why"]
    assert {"weak scaling", "projection"} < set(everything)
    spread = rows(store(strong_run(ranks=64, oversubscribed=False)), weak, projection)
    assert "several nodes of a cluster" not in spread


def test_commands_ask_for_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of each run that did not fit measures exactly that job."""
    asked: list[Any] = []
    monkeypatch.setattr(measurements, "_measure", lambda kind, out, jobs, *rest: asked.extend(jobs) or store())
    monkeypatch.setattr(scaling, "refresh", lambda out: judge([], NOTHING, NOTHING, None))
    strong = strong_run(
        106529, 4, grid=[4, 1], block=64, product="pdsyrk", redistribution="alltoall", space="samples"
    )
    weak = weak_run(24, 3, network="large", symmetry="C4", solver="sample_space", chains=5)
    for run in (strong, weak):
        result = CliRunner().invoke(app, shlex.split(scaling._again(unfit(run)))[1:], catch_exceptions=False)
        assert result.exit_code == 0
    (ranks, first), (more, second) = asked
    assert (ranks, more) == (4, 3)
    layout = strong["job"]["layout"] | {"grid": tuple(strong["job"]["layout"]["grid"])}
    assert {name: getattr(first.layout, name) for name in layout} == layout
    assert (first.parameters, first.space) == (106529, "samples")
    assert {name: getattr(second, name) for name in weak["job"]} == weak["job"]


def test_series_differ_in_one_routine() -> None:
    """Each line of a figure has one run for each number of ranks: the usual layout, the most square grid."""
    runs = [
        strong_run(3531, 4, block=64),
        strong_run(3531, 4, grid=[1, 4]),
        *(strong_run(3531, ranks) for ranks in (1, 2, 4)),
        strong_run(3531, 2, product="pdsyrk"),
        strong_run(3531, 2, product="pdsyrk", block=64),
        strong_run(3531, 1, redistribution="alltoall"),
    ]
    found = scaling_plots._series(runs)
    assert list(found) == ["total", "pdpotrf", "pdgemm", "pdsyrk", "pdgemr2d", "Alltoall", "solves"]
    ranks = {name: [run["ranks"] for run in those] for name, (_, those) in found.items()}
    assert (ranks.pop("pdsyrk"), ranks.pop("Alltoall")) == ([2], [1])
    assert set(map(tuple, ranks.values())) == {(4, 1, 2)}
    assert found["total"][1][0]["job"]["layout"]["grid"] == [2, 2]
    assert {run["job"]["layout"]["block"] for _, those in found.values() for run in those} == {128}


def test_report_is_complete_and_repeatable(tmp_path: Path, projection: Store) -> None:
    """All sections with their figures in one page; the same files give the same bytes; markup is text."""
    strong, weak = full()
    for name, found in (("strong", strong), ("weak", weak), ("projection", projection)):
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    verdict = refresh(tmp_path)
    assert verdict.passed
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refresh(tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    html = (tmp_path / "index.html").read_text()
    assert "<CPU>" not in html
    assert "Synthetic &lt;CPU&gt;" in html
    markdown = (tmp_path / "report.md").read_text()
    assert "Nothing yet" not in markdown
    drawn = sorted(path.stem for path in (tmp_path / "plots").iterdir())
    assert drawn == sorted([
        "strong-1", "strong-2", "dgemm", "weak", "iteration", "held-out", "figure-9", "table-3", "figure-10",
        "sample-space",
    ])  # fmt: skip
    assert all(f"plots/{name}.svg" in markdown for name in drawn)
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["checks"] == checks(strong, weak, projection)
    assert set(saved["provenance"]) == {"strong", "weak", "projection"}


@pytest.mark.parametrize("name", ["strong", "weak", "projection"])
def test_report_of_one_file(tmp_path: Path, projection: Store, name: str) -> None:
    """What is not there yet is named with the command that makes it."""
    strong, weak = full()
    found = {"strong": strong, "weak": weak, "projection": projection}[name]
    (tmp_path / f"{name}.json").write_text(json.dumps(found))
    assert not refresh(tmp_path).passed
    markdown = (tmp_path / "report.md").read_text()
    for other, command in scaling.COMMANDS.items():
        assert (f"Nothing yet; {command} makes it." in markdown) == (other != name)


def test_report_of_real_measurements(tmp_path: Path) -> None:
    """The keys are those that the measurements write."""
    measurements.strong(tmp_path, **measurements.QUICK_STRONG | {"ranks": (1,), "repeats": 1}, quiet=True)
    measurements.weak(tmp_path, **measurements.QUICK_WEAK | {"ranks": (1,)}, quiet=True)
    assert refresh(tmp_path).headline.startswith("1 of ")
    for name in ("strong", "weak"):
        real = json.loads((tmp_path / f"{name}.json").read_text())["runs"][0]
        invented = strong_run() if name == "strong" else weak_run()
        assert set(invented) <= set(real)
        assert set(invented["job"]) <= set(real["job"])
        assert set(invented["phases"]) == set(real["phases"])


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ('{"format": "other"}', "is not of the format"), ("[]", "is not of the format")],
)
@pytest.mark.parametrize("name", ["strong", "weak", "projection"])
def test_what_cannot_be_reported(tmp_path: Path, name: str, content: str, words: str) -> None:
    """One sentence that names the file; nothing is written."""
    (tmp_path / f"{name}.json").write_text(content)
    with pytest.raises(UserError, match=rf"{name}\.json {words}"):
        refresh(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.json"]


def test_an_empty_folder(tmp_path: Path) -> None:
    """There is nothing to report yet."""
    with pytest.raises(UserError, match="has nothing to report; begin with `qmcbench scale strong"):
        refresh(tmp_path)
