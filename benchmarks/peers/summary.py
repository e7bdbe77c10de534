"""Medians, ratios and the printed table of a comparison with peers: plain numbers in."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tabulate import tabulate

from qmcbench.report.bench.peers import EFFECTIVE, OURS, PHASES

Repeats = Sequence[Mapping[str, float]]


def medians(repeats: Repeats, samples: int, tau: float) -> dict[str, float]:
    """Median of each phase, and of the time per effective sample: sweep and local energies times tau / samples."""
    found = {phase: median(row[phase] for row in repeats) for phase in PHASES}
    found[EFFECTIVE] = median(row["sweep"] + row["local_energy"] for row in repeats) * tau / samples
    return found


def ratios(ours: Repeats, peer: Repeats) -> dict[str, dict[str, float]]:
    """Times of the peer over ours, repeat by repeat of one run: median, least and largest, for each phase."""
    found = {}
    for phase in PHASES:
        each = [theirs[phase] / own[phase] for own, theirs in zip(ours, peer, strict=True)]
        found[phase] = {"median": median(each), "min": min(each), "max": max(each)}
    return found


def best(trials: Sequence[Mapping[str, Any]], program: str) -> Mapping[str, Any] | None:
    """The trial of ``program`` with the fastest iteration, None if all failed."""
    done = [trial for trial in trials if trial["program"] == program and "iteration" in trial]
    return min(done, key=lambda trial: trial["iteration"], default=None)


def table(results: Mapping[str, Any]) -> str:
    """Median times, and how many times those of qmcbench the peers' are; the report has the rest."""
    found, ratios = results["programs"], results["ratios"]
    peers = [name for name in found if name != OURS]
    rows = []
    for phase, title in PHASES.items():
        times = [f"{found[name]['medians'][phase]:.3g}" for name in found]
        rows.append([title, *times, *(_ratio(ratios[peer][phase]) for peer in peers)])
    rows.append(["time per effective sample", *(f"{found[name]['medians'][EFFECTIVE]:.3g}" for name in found)])
    rows.append(["peak memory, MiB", *(f"{found[name]['peak_MiB']:.0f}" for name in found)])
    headers = ["medians, s", *found, *(f"{peer} / {OURS}" for peer in peers)]
    return tabulate(rows, headers, disable_numparse=True)


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
