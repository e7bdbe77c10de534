"""`qmcbench transfer`: stages from each other's parameters, hours shared among them, resuming, ranks, the report."""

from pathlib import Path

import pytest
import torch
from helpers import ranks

from qmcbench import checkpoint, reference
from qmcbench.errors import UserError
from qmcbench.jobs.plan import Profile, load_profile, plan, profile_names
from qmcbench.jobs.stages import Request
from qmcbench.jobs.transfer import RECORDS, transfer
from qmcbench.report.book import report
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, Training
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


def test_ranks_do_as_one(finished: tuple[Path, Run], tmp_path: Path) -> None:
    """Two ranks end with the energies of one, and one of them writes and speaks."""
    planned(tmp_path)
    done = ranks.run(2, "-m", "qmcbench", "transfer", tmp_path / "plan.toml", "-q", "--out", tmp_path)
    assert done.stdout.count("report:") == 1, done.stderr
    run = jsonl.read(jsonl.path_of(tmp_path, RECORDS))
    for one, other in zip(finished[1].of(Energy), run.of(Energy), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-5)


@pytest.mark.parametrize("name", profile_names("transfer"))
def test_shipped_plans(name: str) -> None:
    """Each names only stages and keys that there are, and its stages hang together from the first to the last.

    Those of the leaderboard do not: its protocol has no transfer. On 6x6 two ways go on from J2 = 0.5.
    """
    profile = load_profile(name, kind="transfer")
    before: list[str | None] = [stage.name for stage in profile.runs[:-1]]
    if name == "leaderboard":
        before = [None] * len(before)
    if name == "6x6":
        before[before.index("6x6, J2 = 0")] = "6x6, cooler"
    assert [stage.start for stage in profile.runs] == [None, *before]
    assert (profile.hours is None) == (name in ("6x6", "leaderboard", "paper"))


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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("share = 3.0", "share = 0.0", "share = 0.0 is not above 0"),
        ('start = "4x4"', 'start = "5x5"', "start = '5x5' is no earlier run, nor a file"),
        ("share = 3.0", "tolerance = -1.0", "tolerance = -1.0 is not above 0"),
    ],
    ids=["share", "start", "tolerance"],
)
def test_mistakes_in_a_plan(old: str, new: str, message: str, tmp_path: Path) -> None:
    """One sentence that names the stage, the value and the bound."""
    with pytest.raises(UserError, match=message):
        planned(tmp_path, PLAN.replace(old, new))


def test_no_plan() -> None:
    """A name that is not shipped is refused with those that are."""
    with pytest.raises(UserError, match="'nothing' is not one of 6x6, cpu, leaderboard, paper, quick"):
        load_profile("nothing", kind="transfer")
    with pytest.raises(UserError, match="at least one"):
        plan({}, "empty")
