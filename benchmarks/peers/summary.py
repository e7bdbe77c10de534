"""Medians, ratios and the table of a comparison with peers: plain numbers in, Markdown out."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

PHASES = {
    "sweep": "sweep of L x L steps",
    "local_energy": "local energies",
    "sr_step": "SR step",
    "iteration": "whole iteration",
}
"""Timed phases, in seconds for all samples together."""
EFFECTIVE = "effective_sample"
"""Name of the time per effective sample."""
AIM, BOUND = 10.0, 3.0
"""How many times faster than each peer's best an iteration is meant, and has, to be."""
OURS = "qmcbench"

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


def markdown(results: Mapping[str, Any]) -> str:
    """The comparison as Markdown: times, ratios, verdict, everything that was tried, and where it was made."""
    job, found, origin = results["job"], results["programs"], results["provenance"]
    names = list(found)
    peers = [name for name in names if name != OURS]
    machine = origin["machine"]
    lines = [
        "# Peers",
        "",
        f"Network `{job['model']}`, {job['L']}x{job['L']}, J2 = {job['J2']:g}, {job['samples']} samples of as many "
        f"chains, float32, no symmetry, Marshall sign, {job['threads']} threads. Medians of {results['repeats']} "
        "interleaved repeats in one run, after a warm-up; all networks start from the same weights and give the same "
        "amplitudes.",
        "",
        _row(["", *(f"{name} {found[name]['versions'][name]}" for name in names)]),
        _row(["---", *("---:" for _ in names)]),
    ]
    for phase, title in PHASES.items():
        cells = [f"{found[name]['medians'][phase]:.3g} s" for name in names]
        lines.append(_row([title, *cells]))
    lines += [
        _row(["sweep + local energy per effective sample", *(_effective(found[name]) for name in names)]),
        _row(["autocorrelation time, sweeps", *(f"{found[name]['tau']:.2f}" for name in names)]),
        _row(["peak memory", *(f"{found[name]['peak_MiB']:.0f} MiB" for name in names)]),
        _row(["largest difference of log|psi|", *(f"{found[name]['amplitude_difference']:.0e}" for name in names)]),
        "",
        _row(["time over that of qmcbench, median (least to largest)", *peers]),
        _row(["---", *("---:" for _ in peers)]),
    ]
    for phase, title in PHASES.items():
        lines.append(_row([title, *(_ratio(results["ratios"][peer][phase]) for peer in peers)]))
    lines += ["", *(_verdict(peer, results["ratios"][peer]["iteration"]["median"]) for peer in peers), ""]
    lines += ["## Tried", "", "The fastest iteration of each program is its best, which is compared above.", ""]
    lines += [
        _row(["program", "configuration", "whole iteration", "peak memory"]),
        _row(["---", "---", "---:", "---:"]),
    ]
    for trial in results["trials"]:
        settings = ", ".join(f"{key} {value}" for key, value in trial["configuration"].items())
        outcome = (
            [f"{trial['iteration']:.3g} s", f"{trial['peak_MiB']:.0f} MiB"]
            if "iteration" in trial
            else [trial["failure"], "-"]
        )
        lines.append(_row([trial["program"], settings, *outcome]))
    lines += [
        "",
        f"Made by `{origin['command']}` on {origin['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_GiB']:g} GiB, Python {origin['python']}; "
        + "; ".join(", ".join(f"{key} {value}" for key, value in found[name]["versions"].items()) for name in names)
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _effective(program: Mapping[str, Any]) -> str:
    return f"{1e3 * program['medians'][EFFECTIVE]:.3g} ms"


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def _verdict(peer: str, ratio: float) -> str:
    reached = "reached" if ratio >= BOUND else "NOT reached"
    aim = "reached" if ratio >= AIM else "not reached"
    return (
        f"- {ratio:.2f} times as fast an iteration as {peer}'s best: {BOUND:g} times {reached}, {AIM:g} times {aim}."
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
