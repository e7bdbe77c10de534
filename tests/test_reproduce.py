"""The main job at a size of seconds: all is written, finished parts are kept, an interruption leaves a report."""

import json
from pathlib import Path

import pytest

from qmcbench import training, vmc
from qmcbench.config import parse
from qmcbench.files import Interrupted
from qmcbench.jobs import reproduce as job
from qmcbench.jobs.reproduce import Evaluation, PlannedRun, Profile, load_profile, profile_names, reproduce

TINY = {"sampling": {"chains": 32, "warm_up": 1}, "optimizer": {"steps": 2}, "run": {"threads": 1}}


def tiny() -> Profile:
    """4x4, then 6x6 from its network; the tolerances are such that the first run passes and the second fails."""
    first = PlannedRun("4x4 J2=0.5", parse({"model": {"L": 4, "J2": 0.5}, **TINY}), Evaluation(32, 4), 2.0, None)
    second = PlannedRun(
        "6x6 J2=0.5", parse({"model": {"L": 6, "J2": 0.5}, **TINY}), Evaluation(32, 2), 1e-9, first.name
    )
    return Profile("tiny", (first, second), (0.5,), (("small", 4, 8),))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny reproduction."""
    out = tmp_path_factory.mktemp("reproduce")
    reproduce(tiny(), out, command="tiny", quiet=True)
    return out


def test_everything_is_in_the_report(finished: Path) -> None:
    """Exact rows, both runs with evaluation and reference, all kinds of check, timings, the paper's numbers."""
    results = json.loads((finished / "results.json").read_text())
    assert [row["J2"] for row in results["exact"]] == [0.5]
    assert [row["name"] for row in results["runs"]] == ["4x4 J2=0.5", "6x6 J2=0.5"]
    assert {check["kind"] for check in results["checks"]} == {"exact", "unbiased", "variational", "convergence"}
    failed = [check["name"] for check in results["checks"] if not check["passed"]]
    assert failed == ["relative error, 6x6 J2=0.5"]
    assert {row["name"] for row in results["timings"]} >= {"forward", "sampling (L*L proposals)", "local energy"}
    assert {row["paper"] for row in results["paper"]} == {-0.25, -0.502}
    four, six = results["runs"]
    assert four["full_sum_energy"] is not None
    assert six["full_sum_energy"] is None
    assert six["reference"]["energy"] == pytest.approx(-0.5038096539, abs=1e-9)
    for name in ("index.html", "report.md"):
        assert "relative error, 6x6 J2=0.5" in (finished / name).read_text(), "a failed check must be named"


def test_finished_parts_are_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command again neither trains nor samples, and reports the same energies."""
    before = json.loads((finished / "results.json").read_text())["runs"]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained or sampled again")

    monkeypatch.setattr(training.Trainer, "advance", never)
    monkeypatch.setattr(vmc.Evaluator, "advance", never)
    monkeypatch.setattr(job, "engine_checks", lambda _: [])
    after = reproduce(tiny(), finished, command="tiny", quiet=True)["runs"]
    assert json.loads(json.dumps(after)) == before


def test_interruption_leaves_a_partial_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second run is stopped, the first is in the report, and the report says that it is incomplete."""

    def stop(config, out, **_: object):
        if config.model.L == 6:
            raise Interrupted("stopped")
        return training.train(config, out, quiet=True)

    monkeypatch.setattr(job, "train", stop)
    monkeypatch.setattr(job, "engine_checks", lambda _: [])
    with pytest.raises(Interrupted):
        reproduce(tiny(), tmp_path, command="tiny", quiet=True)
    assert [row["name"] for row in json.loads((tmp_path / "results.json").read_text())["runs"]] == ["4x4 J2=0.5"]
    assert "incomplete" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles(name: str) -> None:
    """Each shipped profile is well-formed, and a run starts only from an earlier one of the same network."""
    profile = load_profile(name, seed=3)
    earlier: dict[str, PlannedRun] = {}
    for run in profile.runs:
        assert run.config.run.seed == 3
        if run.start is not None:
            assert earlier[run.start].config.wavefunction == run.config.wavefunction
        earlier[run.name] = run
    assert len(earlier) == len(profile.runs)
