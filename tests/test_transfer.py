"""`qmcbench transfer`: stages from each other's parameters, hours shared among them, resuming, ranks, the report."""

from pathlib import Path

import pytest
import torch
from helpers import ranks

from qmcbench import checkpoint
from qmcbench.errors import UserError
from qmcbench.jobs.plan import Profile, load_profile, plan, profile_names
from qmcbench.jobs.stages import Request
from qmcbench.jobs.transfer import RECORDS, transfer
from qmcbench.report.book import report
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, Training
from qmcbench.training import CHECKPOINT

PLAN = """
[base.sampling]
chains = 8
warm_up = 1
[base.optimizer]
steps = 2
[base.run]
threads = 1
kernels = "torch"
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
optimizer = { steps = 3 }
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


def test_stages_start_from_each_other(tmp_path: Path) -> None:
    """A second stage of no steps has the first one's parameters; both are evaluated, and drawn as Fig. 11."""
    run = transfer(
        Request(profile=planned(tmp_path, PLAN.replace("steps = 3", "steps = 0")), out=tmp_path, quiet=True)
    )
    assert [training.start for training in run.of(Training)] == [None, "4x4"]
    assert [(energy.name, energy.L) for energy in run.of(Energy)] == [("4x4", 4), ("6x6", 6)]
    assert torch.equal(parameters(tmp_path, "4x4"), parameters(tmp_path, "6x6"))
    assert run.of(Training)[1].paper is not None
    assert (tmp_path / "figures" / "reproduction-stages.svg").exists()


def test_a_stage_may_start_from_a_file(tmp_path: Path) -> None:
    """The checkpoint of another run is a start too; a file that is not there is one sentence."""
    transfer(Request(profile=planned(tmp_path), out=tmp_path / "a", quiet=True))
    source = tmp_path / "a" / "runs" / "6x6" / CHECKPOINT
    text = PLAN.replace('start = "4x4"', f'start = "{source}"').replace("steps = 3", "steps = 0")
    transfer(Request(profile=planned(tmp_path, text), out=tmp_path / "b", quiet=True))
    assert torch.equal(parameters(tmp_path / "a", "6x6"), parameters(tmp_path / "b", "6x6"))
    absent = planned(tmp_path, text.replace(str(source), "absent.safetensors"))
    with pytest.raises(UserError, match=r"absent\.safetensors"):
        transfer(Request(profile=absent, out=tmp_path / "c", quiet=True))


def test_hours_are_shared(tmp_path: Path) -> None:
    """Each stage ends after the step in which its time is over, and is evaluated; more time goes on from there."""
    request = Request(profile=planned(tmp_path, PLAN.replace("steps = 2", "steps = 40")), out=tmp_path, quiet=True)
    short = transfer(request, hours=1e-9)
    assert [training.steps for training in short.of(Training)] == [1, 1]
    assert len(short.of(Energy)) == 2
    longer = transfer(request, hours=1.0)
    assert [training.steps for training in longer.of(Training)] == [40, 3]
    with pytest.raises(UserError, match="hours = 0 is not above 0"):
        transfer(request, hours=0.0)


def test_what_is_finished_is_kept(tmp_path: Path) -> None:
    """The same call again gives the same energies, and the report is a function of its records."""
    request = Request(profile=planned(tmp_path), out=tmp_path, quiet=True)
    first = transfer(request)
    pages = (tmp_path / "report.md").read_bytes()
    again = transfer(request)
    assert [energy.value for energy in first.of(Energy)] == [energy.value for energy in again.of(Energy)]
    report([jsonl.path_of(tmp_path, RECORDS)], tmp_path / "copy")
    assert (tmp_path / "copy" / "report.md").read_bytes() == (tmp_path / "report.md").read_bytes()
    assert len(pages) > 1000


def test_ranks_do_as_one(tmp_path: Path) -> None:
    """Two ranks end with the energies of one, and one of them writes and speaks."""
    alone = transfer(Request(profile=planned(tmp_path), out=tmp_path / "one", quiet=True))
    done = ranks.run(2, "-m", "qmcbench", "transfer", tmp_path / "plan.toml", "-q", "--out", tmp_path / "two")
    assert done.stdout.count("report:") == 1, done.stderr
    run = jsonl.read(jsonl.path_of(tmp_path / "two", RECORDS))
    for one, other in zip(alone.of(Energy), run.of(Energy), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-5)


@pytest.mark.parametrize("name", profile_names("transfer"))
def test_shipped_plans(name: str) -> None:
    """Each names only stages and keys that there are, and its stages hang together from the first to the last."""
    profile = load_profile(name, kind="transfer")
    assert [stage.start for stage in profile.runs] == [None, *(stage.name for stage in profile.runs[:-1])]
    assert (profile.hours is None) == (name == "paper")


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
    with pytest.raises(UserError, match="'nothing' is not one of cpu, paper, quick"):
        load_profile("nothing", kind="transfer")
    with pytest.raises(UserError, match="at least one"):
        plan({}, "empty")
