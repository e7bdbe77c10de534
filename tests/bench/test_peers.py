"""The comparison with peers: arithmetic and table on made-up times, and all of it with programs that stand in."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "peers" / "summary.py"


@pytest.fixture(scope="module")
def summary() -> ModuleType:
    """The module, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("peers_summary", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def times(*iterations: float) -> list[dict[str, float]]:
    """Repeats whose iterations take so long, and whose parts take fixed shares of it."""
    return [{"sweep": t / 2, "local_energy": t / 4, "sr_step": t / 8, "iteration": t} for t in iterations]


def test_ratios_pair_the_repeats_of_one_run(summary: ModuleType) -> None:
    """A machine that slows down threefold between repeats changes no ratio; medians of each alone would."""
    found = summary.ratios(times(1.0, 3.0, 9.0), times(4.0, 15.0, 27.0))
    assert found["iteration"] == {"median": 4.0, "min": 3.0, "max": 5.0}
    assert set(found) == set(summary.PHASES)


def test_time_per_effective_sample(summary: ModuleType) -> None:
    """What a sweep and its local energies take, times tau, over the samples that they give."""
    found = summary.medians(times(1.0, 8.0, 2.0), samples=10, tau=3.0)
    assert found["iteration"] == 2.0
    assert found["effective_sample"] == pytest.approx(0.75 * 2.0 * 3.0 / 10)


def test_best_is_the_fastest_that_ran(summary: ModuleType) -> None:
    """Failures and other programs do not count; with failures alone there is none."""
    trials: list[dict[str, Any]] = [
        {"program": "netket", "failure": "no answer in 600 s"},
        {"program": "netket", "iteration": 7.0},
        {"program": "netket", "iteration": 5.0},
        {"program": "quantax", "iteration": 1.0},
    ]
    assert summary.best(trials, "netket") == trials[2]
    assert summary.best(trials[:1], "netket") is None


def test_table_has_times_and_ratios(summary: ModuleType) -> None:
    """Medians of all programs, the ratio of each peer with its range, and as many cells in every row."""
    own, peer = times(1.0, 3.0, 9.0), times(4.0, 15.0, 27.0)
    programs = {
        name: {"peak_MiB": 700.0, "medians": summary.medians(repeats, 64, 1.5)}
        for name, repeats in (("qmcbench", own), ("netket", peer))
    }
    text = summary.table({"programs": programs, "ratios": {"netket": summary.ratios(own, peer)}})
    lines = text.splitlines()
    assert lines[0].split("  ")[-1].strip() == "netket / qmcbench"
    iteration = next(line for line in lines if line.startswith("whole iteration"))
    assert iteration.split() == ["whole", "iteration", "3", "15", "4.00", "(3.00", "to", "5.00)"]
    assert sum("to" in line for line in lines) == len(summary.PHASES)


FAKE = """#!{python}
import json, sys, time
job = json.loads(sys.argv[2])
form = job["configuration"]["form"]
if form == "im2col":
    sys.exit("out of memory")
name = "quantax" if "solver" in job["configuration"] else "netket"
answers = {{
    "iteration": {{"iteration": 0.25, "peak_MiB": 2.0}},
    "repeat": {{"sweep": 0.5, "local_energy": 0.25, "sr_step": 0.25, "iteration": 1.0, "peak_MiB": 3.0}},
    "series": {{"series": [[(3 * sweep + chain) % 5 for sweep in range(8)] for chain in range(16)]}},
}}
print(json.dumps({{"versions": {{name: "0"}}, "amplitude_difference": 0.0}}), flush=True)
for line in sys.stdin:
    time.sleep(60 if form == "conv_nchw" else 0)
    print(json.dumps(answers[line.split()[0]]), flush=True)
"""


def test_whole_comparison(tmp_path: Path) -> None:
    """With peers that only answer: all configurations are tried, the slow and the failing are named, and kept."""
    fake = tmp_path / "python"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)
    command = [sys.executable, "-P", str(FILE.with_name("run.py")), "--quiet"]
    command += ["--peers-python", str(fake), "--out", str(tmp_path), "--L", "4", "--model", "small"]
    command += ["--samples", "16", "--threads", "1", "--repeats", "2", "--tau-sweeps", "8"]
    environment = os.environ | {"PYTHONPATH": str(FILE.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "quantax / qmcbench" in done.stdout
    found = json.loads((tmp_path / "peers.json").read_text())
    outcomes = {
        (trial["program"], trial["configuration"].get("form")): trial.get("failure", "ran")
        for trial in found["trials"]
    }
    assert outcomes == {
        ("qmcbench", None): "ran",
        ("netket", "conv"): "ran",
        ("netket", "conv_nchw"): "no answer in 1 s",
        ("netket", "im2col"): "exit status 1: out of memory",
        ("quantax", "conv"): "ran",
        ("quantax", "conv_nchw"): "no answer in 1 s",
        ("quantax", "im2col"): "exit status 1: out of memory",
    }
    own, peer = (found["programs"][name]["repeats"] for name in ("qmcbench", "netket"))
    assert [len(own), len(peer)] == [2, 2]
    assert found["ratios"]["netket"]["iteration"]["max"] == max(1 / row["iteration"] for row in own)
    # Tried again next time: what failed for another reason than time.
    kept = [json.loads(path.read_text()) for path in (tmp_path / "trials").iterdir()]
    assert len(kept) == len(found["trials"]) - 2
    assert str(tmp_path) not in (tmp_path / "peers.json").read_text()
