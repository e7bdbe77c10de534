"""The arithmetic and the table of the comparison with peers, on made-up times; no peer is needed."""

import importlib.util
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
