"""`qmcbench transfer`: stages from each other's parameters, hours shared among them, resuming, ranks, the report."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import ranks

from qmcbench import checkpoint, evaluation, reference
from qmcbench.cores import threads
from qmcbench.errors import UserError
from qmcbench.hours import RECENT
from qmcbench.jobs import stages
from qmcbench.jobs import transfer as job
from qmcbench.jobs.plan import Profile, load_profile, plan
from qmcbench.jobs.stages import Request
from qmcbench.jobs.transfer import RECORDS, transfer
from qmcbench.log import LOG, OTHER, read_log
from qmcbench.report.book import report
from qmcbench.sector import NoSector
from qmcbench.shipped import profile_names
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, FullSum, LeftOut, Training
from qmcbench.store.records import Run
from qmcbench.training import CHECKPOINT

PLAN = """
[base.sampling]
chains = 8
warm_up = 1
[base.optimizer]
steps = 2
starts = 1
[base.run]
threads = 1
kernels = "compiled"
[base.evaluation]
chains = 8
samples = 4
[[runs]]
name = "4x4"
share = 3.0
model = { L = 4, J2 = 0.5 }
[[runs]]
name = "6x6"
start = "4x4"
model = { L = 6, J2 = 0.5 }
optimizer = { steps = 0 }
"""


def planned(folder: Path, text: str = PLAN) -> Profile:
    """The plan, read from a file."""
    path = folder / "plan.toml"
    path.write_text(text)
    return load_profile(str(path), kind="transfer")


def parameters(folder: Path, stage: str) -> torch.Tensor:
    """Of a stage, one behind another."""
    stored = checkpoint.read(folder / "runs" / stage / CHECKPOINT)
    return torch.cat([stored.parameters[name].flatten() for name in sorted(stored.parameters)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A finished job, whose second stage makes no step."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, transfer(Request(profile=planned(folder), out=folder, quiet=True))


def test_stages_start_from_each_other(finished: tuple[Path, Run]) -> None:
    """A second stage of no steps has the first one's parameters; both are evaluated, and drawn as Fig. 11."""
    folder, run = finished
    assert [training.start for training in run.of(Training)] == [None, "4x4"]
    assert [(energy.name, energy.L) for energy in run.of(Energy)] == [("4x4", 4), ("6x6", 6)]
    assert torch.equal(parameters(folder, "4x4"), parameters(folder, "6x6"))
    assert run.of(Training)[1].paper is not None
    assert (folder / "figures" / "reproduction-stages.svg").exists()


def test_what_is_finished_is_kept(finished: tuple[Path, Run], tmp_path: Path) -> None:
    """The same call again gives the same energies, and the report is a function of its records."""
    folder, first = finished
    again = transfer(Request(profile=planned(tmp_path), out=folder, quiet=True))
    assert [energy.value for energy in first.of(Energy)] == [energy.value for energy in again.of(Energy)]
    report([jsonl.path_of(folder, RECORDS)], tmp_path)
    assert (tmp_path / "report.md").read_bytes() == (folder / "report.md").read_bytes()


def test_a_stage_may_start_from_a_file(finished: tuple[Path, Run], tmp_path: Path) -> None:
    """The checkpoint of another run is a start too; a file that is not there is one sentence."""
    source = finished[0] / "runs" / "6x6" / CHECKPOINT
    text = PLAN.replace("steps = 2", "steps = 0").split("[[runs]]")[0] + (
        f'[[runs]]\nname = "8x8"\nstart = "{source}"\nmodel = {{ L = 8, J2 = 0.4 }}\n'
    )
    run = transfer(Request(profile=planned(tmp_path, text), out=tmp_path, quiet=True))
    assert torch.equal(parameters(tmp_path, "8x8"), parameters(finished[0], "6x6"))
    assert run.of(Energy)[0].exact is None
    assert run.of(Training)[0].start_L == 6
    absent = planned(tmp_path, text.replace(str(source), "absent.safetensors"))
    with pytest.raises(UserError, match=r"absent\.safetensors"):
        transfer(Request(profile=absent, out=tmp_path / "absent", quiet=True))


def test_hours_are_shared(tmp_path: Path) -> None:
    """A stage ends after the step in which its time is over, and is evaluated; more time goes on from there."""
    text = PLAN.replace("steps = 2", "steps = 5").replace("steps = 0", "steps = 3")
    request = Request(profile=planned(tmp_path, text), out=tmp_path, quiet=True)
    short = transfer(request, hours=1e-9)
    assert [training.steps for training in short.of(Training)] == [1, 1]
    assert len(short.of(Energy)) == 2
    longer = transfer(request, hours=1.0)
    assert [training.steps for training in longer.of(Training)] == [5, 3]
    with pytest.raises(UserError, match="hours = 0 is not above 0"):
        transfer(request, hours=0.0)


def test_time_that_a_stage_does_not_use_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares 3, 1, 1 of 5 hours; the first takes 1 h instead of 3, the second 3 h instead of 2: 1 h is left."""
    third = '[[runs]]\nname = "8x8"\nstart = "6x6"\nmodel = { L = 8, J2 = 0.5 }\n'
    request = Request(profile=planned(tmp_path, PLAN + third), out=tmp_path, quiet=True)
    took = {"4x4": 1.0, "6x6": 3.0}
    given: list[float | None] = []
    monkeypatch.setattr(job, "taken", lambda folder: 3600 * took[folder.name])
    monkeypatch.setattr(job, "finish", lambda stage, _: [given.append(stage.config.run.hours)][:0])
    transfer(request, hours=5.0)
    assert given == pytest.approx([3.0, 2.0, 1.0])
    took["6x6"] = 9.0
    transfer(request, hours=5.0)
    assert given[-1] == job.LEAST


def test_all_that_a_stage_takes_is_counted(finished: tuple[Path, Run], tmp_path: Path) -> None:
    """Its steps and what was between them (the warm-up comes first), its evaluation and its full sum."""
    folder = tmp_path / "4x4"
    shutil.copytree(finished[0] / "runs" / "4x4", folder)
    log = read_log(folder / LOG)
    assert all(step.seconds[OTHER] > 0 for step in log)
    evaluated = finished[1].of(Energy)[0].seconds
    steps = sum(step.seconds["step"] + step.seconds[OTHER] for step in log)
    assert stages.taken(folder) == pytest.approx(steps + evaluated, rel=1e-12)
    jsonl.save(folder, stages.SUMMED, replace(finished[1], records=(), seconds=1000.0))
    assert stages.taken(folder) == pytest.approx(steps + evaluated + 1000, rel=1e-12)
    assert stages.taken(tmp_path / "none") == 0


def test_time_is_left_for_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation that is foreseen to take all hours ends the training as soon as it is trusted."""
    text = PLAN.replace("steps = 2", f"steps = {RECENT + 2}")
    request = Request(profile=planned(tmp_path, text), out=tmp_path, quiet=True)
    monkeypatch.setattr(stages, "foreseen", lambda run, steps: 3600.0 if run.name == "4x4" else 0.0)
    assert [training.steps for training in transfer(request, hours=1.0).of(Training)] == [RECENT, 0]
    monkeypatch.setattr(stages, "foreseen", lambda run, steps: 0.0)
    assert [training.steps for training in transfer(request, hours=1.0).of(Training)] == [RECENT + 2, 0]


def test_what_an_evaluation_will_take(tmp_path: Path) -> None:
    """Its sweeps and local energies as long as those of the steps, by chains and proposals; no more than needed."""
    text = PLAN.replace("chains = 8\nwarm_up", "chains = 32\ngap = 8\nwarm_up")
    steps = [SimpleNamespace(variance=0.16, seconds={"sampling": s, "local_energy": 12.0}) for s in (3.0, 4.0, 900.0)]
    run = planned(tmp_path, text).runs[0]
    # 20 sweeps of warm-up and 4 samples, of a fourth of the chains; a sweep is 16 proposals instead of 8.
    assert stages.foreseen(run, steps) == pytest.approx((24 * 8 + 4 * 12) / 4)

    def with_sigma(sigma: float) -> float:
        return stages.foreseen(replace(run, evaluation=replace(run.evaluation, samples=100, sigma=sigma)), steps)

    # The variance per site is 0.01: 0.02 takes 25 samples, twice that 50, of 8 chains 7; the least are 16.
    assert with_sigma(0.02) == pytest.approx((36 * 8 + 16 * 12) / 4)
    assert with_sigma(0.007) == pytest.approx((72 * 8 + 52 * 12) / 4)
    assert with_sigma(1e-4) == pytest.approx((120 * 8 + 100 * 12) / 4)


def test_a_target_error_that_is_not_reached_is_said(tmp_path: Path) -> None:
    """Sampling ends at the plan's cap, and the report says so in a sentence; the record has what was asked for."""
    text = PLAN.replace("samples = 4", "samples = 4\nsigma = 1e-9")
    run = transfer(Request(profile=planned(tmp_path, text), out=tmp_path, quiet=True))
    assert [(energy.samples, energy.asked_sigma, energy.short) for energy in run.of(Energy)] == [(32, 1e-9, True)] * 2
    assert "6x6: Sampling stopped at 32 samples, the most that it was to take" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("name", ["10x10", "cpu", "quick"])
def test_rates_come_down_in_whatever_time(name: str) -> None:
    """Where the hours end a stage, its rate is the lower the more of them is used, and lowest at the end."""
    for stage in load_profile(name, kind="transfer").runs:
        rate = stage.config.optimizer.learning_rate
        assert rate.percent or (name == "quick" and len(rate.knots) == 1), stage.name
        assert not rate.percent or rate(5, 0.0) >= rate(5, 0.5) > rate(5, 0.99) >= rate(5, 1.0)


def test_a_stage_is_evaluated_where_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device and with the threads of its run, of which there are as many as before afterwards."""
    asked = []

    def evaluate(request: evaluation.Request, _: object) -> Run:
        asked.append((request.device, torch.get_num_threads()))
        raise UserError("seen")

    monkeypatch.setattr(stages, "carry_on", lambda _: None)
    monkeypatch.setattr(stages.evaluation, "evaluate", evaluate)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    profile = planned(tmp_path, PLAN.replace("threads = 1", 'threads = 1\ndevice = "cuda:0"'))
    with threads(2), pytest.raises(UserError, match="seen"):
        stages.finish(profile.runs[0], Request(profile=profile, out=tmp_path, quiet=True))
    assert asked == [("cuda:0", 1)]


def test_a_stage_that_has_gone_on_is_another_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next stage's record keeps the SHA-256 of what it started from, and resuming it says so in a line."""
    text = PLAN.replace("steps = 0", "steps = 1")
    first = transfer(Request(profile=planned(tmp_path, text), out=tmp_path, quiet=True))
    start = first.of(Training)[1].start_sha256
    assert [each.start_sha256 for each in first.of(Training)] == [None, first.of(Energy)[0].network.sha256]
    longer = planned(tmp_path, text.replace("steps = 2", "steps = 3"))
    capsys.readouterr()
    second = transfer(Request(profile=longer, out=tmp_path))
    assert second.of(Energy)[0].network.sha256 != start
    assert second.of(Training)[1].start_sha256 == start
    said = [line for line in capsys.readouterr().err.splitlines() if "is no longer what the run" in line]
    assert len(said) == 1
    assert "started from after step 2, which goes on with its own parameters" in said[0]


def test_a_full_sum_where_the_plan_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `evaluate --exact` has it, kept as long as the network is the same; without its symmetry it is left out."""
    text = PLAN.split("[[runs]]")[0].replace("samples = 4", "samples = 4\nexact = true") + (
        '[[runs]]\nname = "4x4"\nmodel = { L = 4, J2 = 0.5 }\nwavefunction = { symmetry = "full" }\n'
    )
    request = Request(profile=planned(tmp_path, text), out=tmp_path, quiet=True)
    run = transfer(request)
    (total,) = run.of(FullSum)
    assert total.configurations == 107
    assert "## Full sums" in (tmp_path / "report.md").read_text()
    assert run.of(Energy)[0].full_sum == total.value
    psi, _ = stages.load_ansatz(tmp_path / "runs" / "4x4" / CHECKPOINT)
    assert total.value == pytest.approx(stages.checks.full_sum_energy(psi, 0.5), abs=1e-6)

    def never(*_: object, **__: object) -> None:
        raise NoSector("it has no sector")

    monkeypatch.setattr(stages, "exact_energy_of", never)
    assert transfer(request).of(FullSum) == run.of(FullSum)
    other = replace(request, out=tmp_path / "other")
    (left,) = transfer(other).of(LeftOut)
    assert (left.what, left.not_run) == ("the full sum of 4x4", "it has no sector")


def test_ranks_do_as_one(finished: tuple[Path, Run], tmp_path: Path) -> None:
    """Two ranks end with the energies of one, and one of them writes and speaks."""
    planned(tmp_path)
    done = ranks.run(2, "-m", "qmcbench", "transfer", tmp_path / "plan.toml", "-q", "--out", tmp_path)
    assert done.stdout.count("report:") == 1, done.stderr
    run = jsonl.read(jsonl.path_of(tmp_path, RECORDS))
    for one, other in zip(finished[1].of(Energy), run.of(Energy), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-5)


ALONE = ("leaderboard", "sizes", "stage1")
"""Plans without transfer: every stage starts from random parameters."""
AFTER_THE_PAPER = "runs/paper/runs/stage_5__24x24_with_C4/checkpoint.safetensors"
SIZES = ("10x10", "12x12", "14x14", "16x16", "18x18")
STARTS: dict[tuple[str, str], str | None] = {
    ("6x6", "6x6, J2 = 0.55"): "6x6, cooler",
    ("6x6-hour", "6x6"): "reference:small-6x6-0.5",
    ("24x24", "16x16"): "reference:medium-10x10-0.5",
    ("direct", "6x6"): None,
    **{("stage2", size): AFTER_THE_PAPER for size in SIZES},
    **{
        ("stage3", f"{size}, J2 = {J2}"): f"runs/stage2/runs/{size}/checkpoint.safetensors"
        for size in SIZES
        for J2 in (0.48, 0.55)
    },
}
"""Stages that do not start from the one before them."""


@pytest.mark.parametrize("name", profile_names("transfer"))
def test_shipped_plans(name: str) -> None:
    """Each names only stages and keys that there are, and its stages hang together from the first to the last."""
    profile = load_profile(name, kind="transfer")
    before: list[str | None] = [None, *(stage.name for stage in profile.runs[:-1])]
    usual = [None if name in ALONE else each for each in before]
    expected = [STARTS.get((name, stage.name), each) for stage, each in zip(profile.runs, usual, strict=True)]
    assert [stage.start for stage in profile.runs] == expected
    unlimited = ("6x6", "6x6-hour", "direct", "leaderboard", "paper", "sizes", "stage1", "stage2", "stage3")
    assert (profile.hours is None) == (name in unlimited)


def test_a_plan_goes_on_from_a_stage_of_another() -> None:
    """From the checkpoint that the last stage of the paper's plan leaves."""
    assert load_profile("paper", kind="transfer").runs[-1].folder in AFTER_THE_PAPER


def test_a_stage_may_start_from_a_shipped_network(tmp_path: Path) -> None:
    """By `reference:NAME`, and its parameters are those."""
    there = reference.checkpoints()[0]
    text = PLAN.replace('name = "4x4"', f'name = "4x4"\nstart = "reference:{there.name}"').replace(
        "steps = 2", "steps = 0"
    )
    profile = planned(tmp_path, text)
    assert profile.runs[0].start == f"reference:{there.name}"
    transfer(Request(profile=profile, out=tmp_path / "out", quiet=True))
    shipped = checkpoint.read(there.path).parameters
    expected = torch.cat([shipped[name].flatten() for name in sorted(shipped)])
    assert torch.equal(parameters(tmp_path / "out", "4x4"), expected)


def test_the_papers_stages() -> None:
    """The plan `paper` has the lattices, symmetries and numbers of steps of the paper's Fig. 11."""
    stages = load_profile("paper", kind="transfer").runs
    found = [(s.config.model.L, s.config.wavefunction.symmetry, s.config.optimizer.steps) for s in stages]
    assert found == [(6, "none", 420), (10, "none", 2000), (16, "none", 400), (24, "none", 200), (24, "C4", 200)]


@pytest.mark.parametrize("name", ["paper", "stage1", "stage2", "stage3"])
def test_the_papers_method(name: str) -> None:
    """No momentum, no steering, nothing taken back, samples of |psi|^2 and its way through ScaLAPACK."""
    for stage in load_profile(name, kind="transfer").runs:
        config = stage.config
        assert (config.sampling.alpha, config.sampling.effective_fraction) == (2.0, None)
        assert (config.sampling.warm_up_lattices, config.sampling.gap) == (1, None)
        assert (config.optimizer.momentum, config.optimizer.leap, config.optimizer.starts) == (0.0, None, 1)
        assert (config.optimizer.solver, config.optimizer.metric) == ("scalapack", "identity")
        assert (config.scalapack.product, config.scalapack.redistribution) == ("pdgemm", "alltoall")


def test_stages_2_and_3_are_table_4() -> None:
    """Together they have each of its lattices at each of its couplings once, with its network and symmetry."""
    runs = [run for name in ("stage2", "stage3") for run in load_profile(name, kind="transfer").runs]
    table = reference.paper.table4
    cells = [(row["L"], J2) for row in table["rows"] for J2 in table["J2"]]
    assert sorted((run.config.model.L, run.config.model.J2) for run in runs) == sorted(cells)
    assert {(run.config.wavefunction.network, run.config.wavefunction.symmetry) for run in runs} == {("large", "C4")}


def test_direct_training_has_the_samples_of_both_stages() -> None:
    """Direct training and transfer are of one wave function and as many samples in all."""
    direct, *stages_ = load_profile("direct", kind="transfer").runs
    samples = [run.config.optimizer.steps * run.config.sampling.chains for run in (direct, *stages_)]
    assert samples[0] == sum(samples[1:])
    assert {run.config.wavefunction for run in (direct, *stages_)} == {direct.config.wavefunction}
    assert (direct.config.model, direct.evaluation) == (stages_[-1].config.model, stages_[-1].evaluation)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("share = 3.0", "share = 0.0", "share = 0.0 is not above 0"),
        ('start = "4x4"', 'start = "5x5"', "start = '5x5' is no earlier run, nor a file"),
        ("share = 3.0", "tolerance = -1.0", "tolerance = -1.0 is not above 0"),
        ("samples = 4", "samples = 4\nsigma = 0.0", "evaluation.sigma = 0.0 is not a standard error above 0"),
        ("[base.sampling]", "timings = []\n[base.sampling]", "`qmcbench transfer` does not use the key 'timings'"),
        (
            "L = 6, J2 = 0.5 }",
            "L = 8, J2 = 0.5 }\nevaluation = { exact = true }",
            "exact is for 4x4 and 6x6, not .* 8",
        ),
    ],
    ids=["share", "start", "tolerance", "sigma", "unused", "exact"],
)
def test_mistakes_in_a_plan(old: str, new: str, message: str, tmp_path: Path) -> None:
    """One sentence that names the stage, the value and the bound."""
    with pytest.raises(UserError, match=message):
        planned(tmp_path, PLAN.replace(old, new))


def test_no_plan() -> None:
    """A name that is not shipped is refused with those that are."""
    names = "10x10, 24x24, 6x6, 6x6-hour, cpu, direct, leaderboard, paper, quick, sizes, stage1, stage2, stage3"
    with pytest.raises(UserError, match=f"'nothing' is not one of {names}"):
        load_profile("nothing", kind="transfer")
    with pytest.raises(UserError, match="at least one"):
        plan({}, "empty")
