"""Time to accuracy: the loop against the clock, what curves say, and all of it with programs that stand in."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.benches import learning as invented

from qmcbench import reference
from qmcbench.bench.accuracy import (
    ANOTHERS,
    OWN,
    PROGRAMS,
    SIGMAS,
    TARGETS,
    TWIN,
    Request,
    best,
    broke_down,
    check,
    collapsed,
    kind,
    reached,
    smooth,
)
from qmcbench.errors import UserError
from qmcbench.jobs.plan import load_profile
from qmcbench.report.bench.accuracy import step_seconds
from qmcbench.store import jsonl
from qmcbench.store.bench import Learning

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that the programs share; it takes standard output for their answers."""
    output = sys.stdout
    spec = importlib.util.spec_from_file_location("learning_under_test", PEERS / "learning.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.stdout = output


class Program:
    """A program of a known course: each step takes a second, a fresh evaluation a hundred."""

    def __init__(self, energies: list[float], fresh: list[float]) -> None:
        self.versions, self.parameters, self.samples = {"stand-in": "1"}, 3, 64
        self.energies, self.fresh_energies, self.now = energies, fresh, 0.0

    def step(self) -> tuple[float, float]:
        self.now += 1.0
        return self.energies.pop(0), 1e-4

    def fresh(self, samples: int) -> tuple[float, float, int]:
        self.now += 100.0
        return self.fresh_energies.pop(0), 1e-5, samples

    def finished(self) -> bool:
        return not self.energies


def answers(
    learning: ModuleType, monkeypatch: pytest.MonkeyPatch, program: Program, limit: float = 1e9
) -> list[dict[str, dict[str, float]]]:
    """All that a program says of a ground state at -1."""
    said: list[dict[str, dict[str, float]]] = []
    monkeypatch.setattr(learning, "say", lambda what, **fields: said.append({what: fields}))
    monkeypatch.setattr(learning, "BEGAN", 0.0)
    monkeypatch.setattr(learning.time, "perf_counter", lambda: program.now)
    job = learning.Job(
        L=4, J2=0.5, threads=1, seed=0, limit=limit, exact=-1.0, targets=(1e-2, 1e-3), fresh_samples=64, data="",
        configuration={},
    )  # fmt: skip
    learning.learn(job, program)
    return said


def test_a_target_counts_when_a_fresh_energy_says_so(learning: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's energy only asks; the clock stands still meanwhile; a target that was missed is asked for later."""
    # Step 2 seems to reach the first target, and does not; steps 3 to 12 seem so too.
    energies = [-0.5, -0.995, *[-0.995] * 10]
    said = answers(learning, monkeypatch, Program(energies, fresh=[-0.98, -0.992, -0.992]))
    fresh = [(each["fresh"]["seconds"], each["fresh"]["energy"]) for each in said if "fresh" in each]
    # After step 2 at 2 s, not again before 2.2 s, so after step 3; the last one is that of the end.
    assert fresh == [(2.0, -0.98), (3.0, -0.992), (12.0, -0.992)]
    assert [each["step"]["seconds"] for each in said if "step" in each] == [float(n) for n in range(1, 13)]


def test_one_fresh_energy_can_reach_several_targets(learning: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked for again, but at the end, which the limit is as well."""
    said = answers(learning, monkeypatch, Program([-0.9999] * 9, fresh=[-0.9995, -0.9996]), limit=4.0)
    assert [each["fresh"]["seconds"] for each in said if "fresh" in each] == [1.0, 4.0]
    assert sum("step" in each for each in said) == 4


def test_noise_is_averaged_over_the_last_steps(learning: ModuleType) -> None:
    """As many steps as it takes for an error of a quarter of the target, at most 20, and never fewer."""
    assert not learning.seems_within([-1.0] * 5, [0.02] * 5, -1.0, 1e-2)  # 64 would be enough
    assert learning.seems_within([-1.0] * 20, [0.02] * 20, -1.0, 1e-2)
    # Of an exact energy one is enough, however bad those before were.
    assert learning.seems_within([0.0, -1.0], [1e-9] * 2, -1.0, 1e-2)
    assert not learning.seems_within([-1.0, -0.9], [1e-9] * 2, -1.0, 1e-2)


def test_what_fresh_energies_say() -> None:
    """The first within each target counts, not the last; the fastest of several practices; without any, none."""
    slow, fast, twin, failed = invented()
    assert [reached(slow, target) for target in TARGETS] == [40.0, 80.0, None, None]
    assert [reached(fast, target) for target in TARGETS] == [10.0, 20.0, 20.0, 160.0]
    found = [slow, fast, twin, failed]
    assert best(found, "qmcbench", 5e-3, OWN) is fast
    assert best(found, "netket", 5e-3, OWN) is slow
    assert best(found, "netket", 3e-3, OWN) is None
    assert best(found, "netket", 5e-3, ANOTHERS) is None
    assert best(found, "quantax", 1e-2, TWIN) is None
    assert reached(replace(fast, reference=None), 1e-2) is None


def test_a_target_needs_two_standard_errors(learning: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh energy that is within it by less may be low by chance: not for who trains, nor for who reads."""
    assert learning.SIGMAS == SIGMAS
    (fast,) = (each for each in invented() if each.program == "qmcbench")
    at_20 = fast.fresh[2]
    # It is off by 1e-3, where 1.5e-3 is the target.
    for error, seconds in ((2.4e-4, 20.0), (2.6e-4, 160.0), (None, 160.0)):
        changed = replace(fast, fresh=(*fast.fresh[:2], replace(at_20, error=error), fast.fresh[3]))
        assert reached(changed, 3e-3) == seconds, error
    monkeypatch.setattr(Program, "fresh", lambda self, samples: (self.fresh_energies.pop(0), 1e-3, samples))
    said = answers(learning, monkeypatch, Program([-0.995] * 4, fresh=[-0.9919, -0.9921, -0.9921]))
    # The second look, which is the first by two errors, is at 2 s; then the next target is not asked for.
    assert [each["fresh"]["seconds"] for each in said if "fresh" in each] == [1.0, 2.0, 4.0]


def test_whose_practice_it_is() -> None:
    """Twins share one network; a name that begins with another program's is that program's practice, not its own."""
    some = invented()[0]
    kinds = {"twin, packed kernel": TWIN, "tachys' quick start": ANOTHERS, "tutorial, as tachys' too": OWN}
    assert {practice: kind(replace(some, practice=practice)) for practice in kinds} == kinds
    assert kind(replace(some, program="tachys", practice="tachys' quick start")) == OWN


def test_a_run_that_ends_above_zero_has_broken_down() -> None:
    """So has one whose last energy is not finite, whatever it had reached before; one that has not run has not."""
    some = invented()[0]
    last = some.fresh[-1]
    for energy, broken in ((-0.1, False), (0.0, True), (0.75, True), (None, True)):
        assert broke_down(replace(some, fresh=(*some.fresh[:-1], replace(last, energy=energy)))) == broken
    assert not broke_down(invented()[3])


def test_collapses_are_counted_once_it_had_learnt() -> None:
    """Steps that are off by a tenth after the mean was within a twentieth, above or below, or not finite."""
    some = invented()[0]
    assert some.reference is not None
    exact = some.reference.value
    energies = [0.2, *[exact * 0.99] * 20, 0.0, exact * 0.92, exact * 1.5, None]
    curve = replace(some.curve, seconds=tuple(map(float, range(1, 26))), energy=tuple(energies))
    assert collapsed(replace(some, curve=curve)) == [22.0, 24.0, 25.0]
    assert collapsed(replace(some, curve=replace(curve, energy=tuple(energies[:21] + energies[19:20] * 4)))) == []
    assert collapsed(replace(some, curve=replace(curve, energy=(exact * 0.8,) * 25))) is None


def test_a_curve_is_the_mean_of_the_last_steps() -> None:
    """Ten of them where there are as many; where one is not finite, nothing."""
    some = invented()[0]
    assert some.reference is not None
    exact = some.reference.value
    curve = replace(some.curve, seconds=tuple(map(float, range(1, 13))), energy=(exact / 2,) * 11 + (exact,))
    points = smooth(replace(some, curve=curve))
    assert points[10] == (11.0, pytest.approx(0.5))
    assert points[11] == (12.0, pytest.approx(0.45))
    assert len(smooth(replace(some, curve=replace(curve, energy=(None, *curve.energy[1:]))))) == 2
    assert step_seconds(replace(some, curve=curve)) == 1.0


FAKE = """#!{python}
import json, sys, time
if sys.argv[1] == "-c":
    sys.exit(0)
job = json.loads(sys.argv[2])
chosen = job["configuration"]
if chosen.get("network") == "GCNN":
    sys.exit("out of memory")
say = lambda **fields: print(json.dumps(fields), flush=True)
say(ready={{"seconds": 1.0, "versions": {{"fake": "1"}}, "parameters": 7, "samples": 64}})
say(step={{"seconds": 2.0, "energy": job["exact"] * 0.9, "error": 0.1, "peak_MiB": 3.0}})
if chosen.get("network") == "ResConv":
    say(step={{"seconds": "soon", "energy": 0.0, "error": 0.1, "peak_MiB": 3.0}})
    time.sleep(60)
say(step={{"seconds": 4.0, "energy": None, "error": None, "peak_MiB": 4.0}})
say(fresh={{"seconds": 4.0, "energy": job["exact"] * 0.996, "error": 0.0, "samples": 64}})
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose programs only answer; one ends, one says what it should not."""
    path = tmp_path_factory.mktemp("fake") / "python"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    return path


def run(fake: Path, out: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """The programs against the clock on 4x4."""
    command = [sys.executable, "-P", str(PEERS / "accuracy.py"), "--quiet", "--out", str(out), "--L", "4"]
    command += ["--peers-python", str(fake), "--limit", "0.01", "--threads", "1", "--fresh-samples", "1024", *more]
    path = os.pathsep.join([str(PEERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})


def test_whole_comparison(fake: Path, tmp_path: Path) -> None:
    """With peers that only answer, and a step of this package's twin: what they said, why others have no value."""
    only = "qmcbench: twin|netket|quantax: tutorial|tachys"
    done = run(fake, tmp_path, "--only", only)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"records: {tmp_path / 'records' / 'accuracy.jsonl'}\n"
    kept = jsonl.load(tmp_path, "accuracy")
    assert kept is not None
    assert (kept.job, kept.quick) == ("bench accuracy", True)
    found = {(each.program, each.practice): each for each in kept.of(Learning)}
    twin = found["netket", "twin"]
    exact = reference.exact(4, 0.5).energy
    assert twin.value == pytest.approx(4e-3)
    assert (twin.curve.seconds, twin.curve.energy) == ((2.0, 4.0), (exact * 0.9, None))
    assert (twin.parameters, twin.versions, twin.peak_bytes, twin.seconds) == (7, {"fake": "1"}, 4 * 2**20, 4.0)
    assert [reached(twin, target) for target in TARGETS] == [4.0, 4.0, None, None]
    own = found["qmcbench", "twin"]
    assert (own.parameters, own.samples, twin.samples) == (3531, 1024, 64)
    (step,), (energy,) = own.curve.seconds, own.curve.energy
    assert step > 0.5  # imports and compilation count
    assert energy is not None
    assert -0.6 < energy < 0.2
    assert own.value is not None
    assert 0 < own.value < 2
    why = {key: each.not_run for key, each in found.items()}
    assert why["netket", "tutorial on G-CNNs (honeycomb), complex"] == "exit status 1: out of memory"
    said = why["quantax", "tutorial on J1-J2 (4x4)"]
    assert said is not None
    assert "seconds: 'soon' is not a number" in said
    assert why["tachys", "quick start (4x4, 30 steps)"] == "there was no --tachys-python, an environment that has it"
    assert why["quantax", "twin"] == f"not among those asked for, --only {only}"
    assert {each.program for each in kept.of(Learning)} == set(PROGRAMS)
    assert str(fake.parent) not in (tmp_path / "records" / "accuracy.jsonl").read_text()
    # Those that have trained are kept, and not run again.
    before = sorted((tmp_path / "accuracy" / "records").iterdir())
    names = [json.loads(path.read_text().splitlines()[1])["practice"] for path in before]
    assert "tutorial on G-CNNs (honeycomb), complex" not in names
    # A run that was kept under an earlier name, from an earlier day.
    for path in before:
        path.write_text(path.read_text().replace('"practice": "twin"', '"practice": "its twin"'))
        assert '"date": "2' in path.read_text()
        path.write_text(re.sub(r'"date": "[^"]*"', '"date": "2000-01-01T00:00:00+00:00"', path.read_text()))
    times = [path.stat().st_mtime_ns for path in before]
    assert run(fake, tmp_path, "--only", "netket: twin").returncode == 0
    again = jsonl.load(tmp_path, "accuracy")
    assert again is not None
    assert {each.practice: each.value for each in again.of(Learning) if each.program == "netket"} == {
        practice: each.value for (program, practice), each in found.items() if program == "netket"
    }
    assert [path.stat().st_mtime_ns for path in before] == times
    made = {(each.program, each.practice): each.provenance for each in again.of(Learning)}
    own = made["qmcbench", "twin"]
    assert own is not None
    assert own.date == "2000-01-01T00:00:00+00:00" < again.provenance.date
    assert (shlex.quote(only) in own.command, shlex.quote(only) in again.provenance.command) == (True, False)
    assert made["quantax", "twin"] is None
    assert again.seconds == pytest.approx(sum(each.seconds or 0.0 for each in again.of(Learning)))


@pytest.fixture
def ours(learning: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program of this package."""
    monkeypatch.setitem(sys.modules, "learning", learning)
    spec = importlib.util.spec_from_file_location("learn_ours_under_test", PEERS / "learn_ours.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_plan_is_trained_stage_by_stage(
    learning: ModuleType, ours: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one J2, each from the parameters of the one before with chains of its own; the last one ends it."""
    job = learning.Job(
        L=4, J2=0.5, threads=1, seed=3, limit=1e9, exact=-1.0, targets=(1e-2,), fresh_samples=64, data="",
        configuration={"plan": "6x6"},
    )  # fmt: skip
    planned = [each for each in load_profile("6x6", kind="transfer").runs if each.config.model.J2 == 0.5]
    stages = ours.stages(job)
    assert [each.start for each in planned] == [None, planned[0].name]  # a chain, which is what is trained
    assert [each.optimizer for each in stages] == [each.config.optimizer for each in planned]
    assert {(each.model.L, each.run.seed, each.run.threads) for each in stages} == {(4, 3, 1)}
    with pytest.raises(UserError, match=r"6x6 has no stage at J2 = 0\.3"):
        ours.stages(replace(job, J2=0.3))
    assert [each.optimizer.steps for each in ours.stages(replace(job, configuration={"stretch": 1}))] == [140]
    small = []
    for each, steps in zip(stages, (2, 1), strict=True):
        sampling, optimizer = replace(each.sampling, chains=16, warm_up=1), replace(each.optimizer, steps=steps)
        small.append(replace(each, sampling=sampling, optimizer=optimizer))
    monkeypatch.setattr(ours, "stages", lambda job: small)
    program = ours.Ours(job)
    for _ in range(2):
        energy, _ = program.step()
        assert energy < 0
        assert not program.finished()
    ended, trainer = {name: each.clone() for name, each in program.trainer.psi.state_dict().items()}, program.trainer
    program._next_stage()
    begun = program.trainer.psi.state_dict()
    assert all(torch.equal(begun[name], each) for name, each in ended.items())
    assert program.trainer is not trainer
    assert program.trainer.config is small[1]
    assert not program.finished()
    program.step()
    assert program.finished()


def test_what_is_checked_first(tmp_path: Path) -> None:
    """A folder that is no checkout, an interpreter that is none, a limit that is no time."""
    checkout = Path(__file__).parents[2]
    for request, message in (
        (Request(tmp_path, tmp_path), "is none; go to one, or use --checkout"),
        (Request(checkout, tmp_path, peers_python=str(tmp_path / "none")), "cannot be started"),
        (Request(checkout, tmp_path, limit=0.0), r"--limit 0 is outside \[1, 1e6\]"),
    ):
        with pytest.raises(UserError, match=message):
            check(request)
