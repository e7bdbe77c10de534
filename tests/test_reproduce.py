"""The main job at a size of seconds: all is written, finished parts are kept, an interruption leaves a report."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.energies import timeless

from qmcbench import evaluator, training
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.gates.check import Check
from qmcbench.gates.energies import claims
from qmcbench.jobs import reproduce as job
from qmcbench.jobs import stages
from qmcbench.jobs.plan import Evaluation, Forward, NotCovered, PlannedRun, Profile, load_profile, plan
from qmcbench.jobs.reproduce import RECORDS, reproduce
from qmcbench.jobs.stages import Request
from qmcbench.shipped import profile_names
from qmcbench.store import jsonl
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Energy, Exact, LeftOut, Training

TINY = {"sampling": {"chains": 32, "warm_up": 1}, "optimizer": {"steps": 2, "starts": 1}, "run": {"threads": 1}}


def tiny() -> Profile:
    """4x4, then 6x6 from its network, evaluated with so few samples that little can be decided."""
    first = PlannedRun("4x4 J2=0.5", parse({"model": {"L": 4, "J2": 0.5}, **TINY}), Evaluation(32, 4), 2.0)
    second = PlannedRun(
        "6x6 J2=0.5", parse({"model": {"L": 6, "J2": 0.5}, **TINY}), Evaluation(32, 4), 1e-9, first.name
    )
    left_out = (NotCovered("Table 2", "is not measured", "qmcbench reference show"),)
    return Profile("tiny", (first, second), (0.5,), (Forward("small", 4, 8),), left_out=left_out)


def request(out: Path, **changes: Any) -> Request:
    """A quiet tiny reproduction."""
    return Request(profile=tiny(), out=out, quiet=True, command="tiny", **changes)


@pytest.fixture(autouse=True, scope="module")
def small_product() -> Iterator[None]:
    """The rate of a small matrix product stands for that of a large one, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job.timing, "gemm_rate", partial(job.timing.gemm_rate, size=128))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny reproduction."""
    out = tmp_path_factory.mktemp("reproduce")
    reproduce(request(out))
    return out


def test_everything_is_in_the_records(finished: Path) -> None:
    """Exact rows, both runs with evaluation and reference, all kinds of check, timings, the paper's stage."""
    run = jsonl.load(finished, RECORDS)
    assert (run.job, run.profile, run.seed) == ("reproduce", "tiny", 0)
    assert [row.J2 for row in run.of(Exact)] == [0.5]
    assert [row.name for row in run.of(Training)] == ["4x4 J2=0.5", "6x6 J2=0.5"]
    assert [len(row.curve.energy) for row in run.of(Training)] == [2, 2]
    four, six = run.of(Energy)
    assert four.full_sum is not None
    assert six.full_sum is None
    assert six.exact.value == pytest.approx(-0.5038096539, abs=1e-9)
    assert (four.tolerance, six.tolerance) == (2.0, 1e-9)
    assert {check.check for check in run.of(Check)} == {"exact", "unbiased"}
    assert all(check.passed for check in run.of(Check))
    assert {check.check for check in claims([four, six])} == {"unbiased", "variational", "convergence"}
    assert {row.work for row in run.of(WorkTime)} >= {"forward", "sampling (L*L proposals)", "local energy"}
    assert [row.paper and (row.paper.start, row.paper.end) for row in run.of(Training)] == [None, (-0.25, -0.502)]
    assert "Table 2" in [row.what for row in run.of(LeftOut)]


def test_the_report_names_what_is_not_in_order(finished: Path) -> None:
    """A check that fails, and what the profile leaves out, stand in both formats; it is the book, with the paper."""
    for name in ("index.html", "report.md"):
        text = (finished / name).read_text()
        assert "relative error, 6x6 J2=0.5" in text
        assert "Left out: " in text
        assert "Does the paper hold?" in text
        assert "Table 2" in text


def test_finished_parts_are_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command again neither trains, samples nor checks, and reports the same energies."""
    before = timeless(jsonl.load(finished, RECORDS))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(training.Trainer, "advance", never)
    monkeypatch.setattr(evaluator.Evaluator, "advance", never)
    monkeypatch.setattr(job, "gated", never)
    after = timeless(reproduce(request(finished)))
    for kind in (Exact, Training, Energy, Check):
        assert after.of(kind) == before.of(kind)


def test_checks_of_other_code_are_not_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check is of the code that it was made with: another one is checked anew, and so is this one on --restart."""
    made: list[int] = []

    def outcome() -> list[Check]:
        made.append(1)
        return [Check(name="n", check="exact", value=0.0, bound=1.0, statement="It holds.")]

    assert job.kept(request(finished), 1, outcome)[0].name != "n"
    monkeypatch.setattr(job, "fingerprint", lambda: "0" * 64)
    for _ in range(2):
        assert job.kept(request(finished), 1, outcome)[0].name == "n"
    assert len(made) == 1
    job.kept(request(finished, restart=True), 1, outcome)
    assert len(made) == 2


def test_interruption_leaves_records_and_a_partial_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second run is stopped, the first is in both, and the report says that it is incomplete."""

    def stop(request: training.Request) -> training.Trainer:
        if request.config.model.L == 6:
            raise Interrupted("stopped")
        return training.carry_on(request)

    monkeypatch.setattr(stages, "carry_on", stop)
    monkeypatch.setattr(job, "engine_checks", lambda _: [])
    with pytest.raises(Interrupted):
        reproduce(request(tmp_path))
    assert [row.name for row in jsonl.load(tmp_path, RECORDS).of(Training)] == ["4x4 J2=0.5"]
    assert "incomplete" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles(name: str) -> None:
    """Each shipped profile is well-formed, names what it leaves out, and starts a run from an earlier one only."""
    profile = load_profile(name, seed=3, threads=1)
    earlier: dict[str, PlannedRun] = {}
    for run in profile.runs:
        assert (run.config.run.seed, run.config.run.threads) == (3, 1)
        if run.start is not None:
            assert earlier[run.start].config.wavefunction == run.config.wavefunction
        earlier[run.name] = run
    assert len(earlier) == len(profile.runs)
    text = " ".join(each.what for each in profile.left_out)
    for words in (
        "Table 1",
        "Table 2",
        "Table 3",
        "Table 4",
        "Fig. 8",
        "Figs. 9 and 10",
        "Fig. 11",
        "Figs. 12 and 13",
    ):
        assert words in text


PLAN = """
checks_J2 = [0.5]
timings = [{ network = "small", L = 4, batch = 8 }]
[base.sampling]
chains = 32
[base.evaluation]
chains = 32
samples = 4
[[runs]]
name = "a"
tolerance = 0.1
model = { L = 4, J2 = 0.5 }
[[runs]]
name = "b"
tolerance = 0.1
start = "a"
model = { L = 6, J2 = 0.5 }
sampling = { alpha = 0.5 }
[[left_out]]
what = "w"
why = "y"
"""


def test_sections_of_a_run_lie_over_the_base(tmp_path: Path) -> None:
    """A run takes what it does not say from [base], and the seed of the command line goes over both."""
    (tmp_path / "mine.toml").write_text(PLAN)
    profile = load_profile(str(tmp_path / "mine.toml"), seed=7)
    assert (profile.name, [run.start for run in profile.runs]) == ("mine", [None, "a"])
    assert [(run.config.sampling.chains, run.config.sampling.alpha) for run in profile.runs] == [(32, 1.0), (32, 0.5)]
    assert [run.config.run.seed for run in profile.runs] == [7, 7]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("checks_J2", "check_J2", "unknown key 'check_J2'", id="top"),
        pytest.param("checks_J2", "hours = 1.0\nchecks_J2", "reproduce` does not use the key 'hours'", id="hours"),
        pytest.param('name = "a"', 'name = "a"\nshare = 2.0', "does not use the key 'share'", id="share"),
        pytest.param("[0.5]", '["half"]', "checks_J2.*'half' is not a number", id="coupling"),
        pytest.param("batch = 8", "batches = 8", r"unknown key timings\[0\].'batches'", id="timings"),
        pytest.param("batch = 8", "batch = 0", "batch = 0 is outside", id="batch"),
        pytest.param('"small"', '"tiny"', "network = 'tiny' is not one of", id="network"),
        pytest.param("[base.sampling]", "[base.samplng]", "unknown key base.'samplng'", id="base"),
        pytest.param("chains = 32", "chians = 32", "unknown key sampling.'chians'", id="base section"),
        pytest.param("samples = 4", "sample = 4", "unknown key evaluation.'sample'", id="evaluation"),
        pytest.param("samples = 4", "samples = 0", "evaluation.samples = 0 is less than 1", id="samples"),
        pytest.param("tolerance = 0.1", "tolerence = 0.1", "unknown key 'tolerence'", id="run"),
        pytest.param("tolerance = 0.1", "tolerance = 0", "tolerance = 0.0 is not above 0", id="tolerance"),
        pytest.param('name = "a"\n', "", "the key name is missing", id="missing"),
        pytest.param('start = "a"', 'start = "c"', "start = 'c' is no earlier run", id="start"),
        pytest.param('name = "b"', 'name = "a"', "another run has this name", id="name"),
        pytest.param("L = 6", "L = 8", "no exact energy is known for L = 8", id="no reference"),
        pytest.param("alpha = 0.5", "alpha = 5", "sampling.alpha = 5.0 is outside", id="range"),
        pytest.param("sampling = { alpha = 0.5 }", "sampling = 3", "sampling is not a table of keys", id="no table"),
        pytest.param('why = "y"', "why = 1", "left_out.*1 is not a string", id="left out"),
        pytest.param("[base", "[bose", "unknown key 'bose'", id="other base"),
        pytest.param("checks_J2 = [0.5]", "checks_J2 =", "is not valid TOML", id="no TOML"),
    ],
)
def test_a_typo_in_a_profile_is_one_sentence(old: str, new: str, said: str, tmp_path: Path) -> None:
    """In any section, before any work."""
    assert old in PLAN
    (tmp_path / "mine.toml").write_text(PLAN.replace(old, new))
    with pytest.raises(UserError, match=said) as caught:
        load_profile(str(tmp_path / "mine.toml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [{}, {"runs": []}, {"runs": 3}, {"runs": [3]}, {"base": 1, "runs": [{}]}])
def test_what_is_no_plan_is_refused(data: dict[str, Any]) -> None:
    """Without a single well-formed run there is nothing to do."""
    with pytest.raises(UserError):
        plan(data, "x")


def test_other_names_are_refused() -> None:
    """The shipped profiles are named, and a file that is not there too."""
    with pytest.raises(UserError, match="cpu, quick"):
        load_profile("slow")
    with pytest.raises(UserError, match=r"no.toml"):
        load_profile("no.toml")
