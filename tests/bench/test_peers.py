"""The comparison with peers: arithmetic on made-up times, and all of it with programs that stand in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.benches import CONFIGURATION, SIZE, origin

from qmcbench.bench.names import PHASES
from qmcbench.bench.peers import best, sides
from qmcbench.store import jsonl
from qmcbench.store.bench import PeerProgram, PeerTrial, WorkTime
from qmcbench.store.records import Record, Run

RUN = Path(__file__).parents[2] / "benchmarks" / "peers" / "run.py"


def compared(**iterations: list[float]) -> Run:
    """Repeats whose iterations take so long, and whose parts take fixed shares of it; 1024 samples, tau 3."""
    records: list[Record] = []
    for name, each in iterations.items():
        records.append(
            PeerProgram(value=0.0, tau=3.0, program=name, configuration=CONFIGURATION, versions={}, **SIZE)
        )
        for phase, part in zip(PHASES, (1 / 2, 1 / 4, 1 / 8, 1), strict=True):
            records.append(
                WorkTime(
                    work=phase, program=name, network="medium", L=10, batch=1024, value=1.0,
                    each=tuple(part * seconds for seconds in each),
                )
            )  # fmt: skip
    return Run(job="bench peers", provenance=origin("x"), records=tuple(records))


def test_ratios_pair_the_repeats_of_one_run() -> None:
    """A machine that slows down threefold between repeats changes no ratio; medians of each alone would."""
    found = sides(compared(qmcbench=[1.0, 3.0, 9.0], netket=[4.0, 15.0, 27.0]))
    ratios = found["netket"].over(found["qmcbench"])
    assert (ratios["iteration"].median, ratios["iteration"].low, ratios["iteration"].high) == (4.0, 3.0, 5.0)
    assert set(ratios) == set(PHASES)


def test_time_per_effective_sample() -> None:
    """What a sweep and its local energies take, times tau, over the samples that they give."""
    found = sides(compared(qmcbench=[1.0, 8.0, 2.0]))
    assert found["qmcbench"].per_effective_sample == pytest.approx(0.75 * 2.0 * 3.0 / 1024)


def test_this_package_comes_first() -> None:
    """In whatever order the records are."""
    assert list(sides(compared(netket=[1.0], qmcbench=[1.0], quantax=[2.0]))) == ["qmcbench", "netket", "quantax"]


def test_best_is_the_fastest_that_ran() -> None:
    """Failures and other programs do not count; with failures alone there is none."""
    trials = [
        PeerTrial(value=value, program=program, configuration={}, not_run=why, **SIZE)
        for program, value, why in (
            ("netket", None, "no answer in 600 s"),
            ("netket", 7.0, None),
            ("netket", 5.0, None),
            ("quantax", 1.0, None),
        )
    ]
    assert best(trials, "netket") == trials[2]
    assert best(trials[:1], "netket") is None


FAKE = """#!{python}
import json, sys, time
job = json.loads(sys.argv[2])
form = job["configuration"]["form"]
if form == "im2col":
    sys.exit("out of memory")
name = "quantax" if "solver" in job["configuration"] else "netket"
answers = {{
    "iteration": {{"iteration": 0.25, "peak_MiB": 2.0}},
    "repeat": {{"sweep": 0.5, "local_energy": 0.25, "sr_step": 0.25, "iteration": 1.0, "peak_MiB": 3.0,
               "energy_per_site": -0.5}},
    "series": {{"series": [[(3 * sweep + chain) % 5 for sweep in range(8)] for chain in range(16)]}},
}}
print(json.dumps({{"versions": {{name: "0"}}, "amplitude_difference": 0.0}}), flush=True)
for line in sys.stdin:
    time.sleep(60 if form == "conv_nchw" else 0)
    print(json.dumps(answers[line.split()[0]]), flush=True)
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose peers only answer; some forms are slow or fail."""
    path = tmp_path_factory.mktemp("fake") / "python"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def whole(fake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole comparison."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = run(fake, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"records: {out / 'records' / 'peers.jsonl'}\n"
    return out


def run(fake: Path, out: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """The comparison at tiny sizes."""
    command = [sys.executable, "-P", str(RUN), "--quiet", "--peers-python", str(fake), "--out", str(out)]
    command += ["--L", "4", "--model", "small", "--samples", "16", "--threads", "1"]
    command += ["--repeats", "2", "--tau-sweeps", "8", *more]
    path = os.pathsep.join([str(RUN.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})


def test_whole_comparison(whole: Path) -> None:
    """With peers that only answer: all configurations are tried, the slow and the failing are named, and kept."""
    kept = jsonl.load(whole, "peers")
    assert kept is not None
    assert (kept.job, kept.quick) == ("bench peers", True)
    trials = kept.of(PeerTrial)
    outcomes = {(trial.program, trial.configuration.get("form")): trial.not_run or "ran" for trial in trials}
    assert outcomes == {
        ("qmcbench", None): "ran",
        ("netket", "conv"): "ran",
        ("netket", "conv_nchw"): "no answer in 3 s",
        ("netket", "im2col"): "exit status 1: out of memory",
        ("quantax", "conv"): "ran",
        ("quantax", "conv_nchw"): "no answer in 3 s",
        ("quantax", "im2col"): "exit status 1: out of memory",
    }
    assert {(trial.network, trial.L, trial.samples, trial.threads) for trial in trials} == {("small", 4, 16, 1)}
    found = sides(kept)
    own, peer = (found[name].times["iteration"].each for name in ("qmcbench", "netket"))
    assert (len(own), peer) == (2, (1.0, 1.0))
    assert found["netket"].over(found["qmcbench"])["iteration"].high == max(1 / each for each in own)
    assert found["netket"].program.energies == (-0.5, -0.5)
    netket = found["netket"].program
    assert netket.peak_bytes == 3 * 2**20
    assert netket.peaks == (3 * 2**20,) * len(netket.energies)
    assert (netket.learning_rate, netket.shift) == (0.02, 1e-3)
    # Tried again next time: what failed for another reason than time.
    assert len(list((whole / "trials" / "records").iterdir())) == len(trials) - 2
    assert str(whole.parent) not in (whole / "records" / "peers.jsonl").read_text()


def test_answers_that_are_none(fake: Path, tmp_path: Path) -> None:
    """A program that says what it should not is a failure in a sentence, as one that ends."""
    other = tmp_path / "python"
    other.write_text(
        fake.read_text().replace('"iteration": 0.25', '"iteration": "fast"').replace("sleep(60", "sleep(0")
    )
    other.chmod(0o755)
    done = run(other, tmp_path / "out", "--only", "netket")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no configuration of netket ran: An answer of netket: iteration: 'fast' is not a")
    assert not (tmp_path / "out" / "records").exists()


def test_a_trial_that_cannot_be_read(whole: Path, fake: Path, tmp_path: Path) -> None:
    """What a stopped comparison has tried is read, and not tried again: a damaged trial is named."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    damaged = min((out / "trials" / "records").iterdir())
    damaged.write_text("{")
    done = run(fake, out)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {damaged}, line 1 is not valid JSON")
    assert (out / "records" / "peers.jsonl").read_bytes() == (whole / "records" / "peers.jsonl").read_bytes()
