"""What a scaling report says of our own measurements: strong scaling (paper Fig. 9), weak scaling (Table 3)."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable

from qmcbench.bench.scaling import describe
from qmcbench.reference import paper
from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import Result
from qmcbench.report.numbers import DASH, count, fixed, number
from qmcbench.sr.scalapack_mesh import fit_grid

Problem = tuple[int, int, str]
"""Parameters, samples, and the space of the matrix."""
CHOICES = ("block", "product", "redistribution")
"""What may differ between runs of one problem on the same ranks, beside the grid."""
ROUTINES = {"pdgemr2d": "pdgemr2d", "alltoall": "Alltoall"}
CROWDED = "more ranks than cores"


def problems(strong: Result) -> dict[Problem, list[Result]]:
    """Runs of each problem, by ranks and then as they were measured."""
    found: dict[Problem, list[Result]] = {}
    for run in sorted(strong["runs"], key=lambda run: int(run["ranks"])):
        job = run["job"]
        found.setdefault((job["parameters"], job["samples"], job["space"]), []).append(run)
    return dict(sorted(found.items()))


def named(problem: Problem) -> str:
    """A problem in words."""
    parameters, samples, space = problem
    matrix = "covariance" if space == "parameters" else "Gram matrix of the samples"
    return f"{count(parameters)} parameters, {count(samples)} samples, {matrix}"


def usual(runs: list[Result]) -> Result:
    """The block and routines that were measured on the most numbers of ranks, the first of several."""
    seen = dict.fromkeys((*(run["job"]["layout"][name] for name in CHOICES), run["ranks"]) for run in runs)
    most, _ = Counter(key[:-1] for key in seen).most_common(1)[0]
    return dict(zip(CHOICES, most, strict=True))


def chosen(runs: list[Result], layout: Result) -> list[Result]:
    """Of each number of ranks the run with this block and these routines, on the most square grid that there is."""
    found: dict[int, Result] = {}
    for run in runs:
        own = run["job"]["layout"]
        if all(own[name] == layout[name] for name in CHOICES):
            square = list(own["grid"]) == list(fit_grid(None, run["ranks"]))
            if square or run["ranks"] not in found:
                found[run["ranks"]] = run
    return list(found.values())


def strong_tables(strong: Result) -> list[Table]:
    """Seconds, rates and memory of each problem, what its layouts change, and what did not fit."""
    tables = []
    for problem, runs in problems(strong).items():
        tables += [_seconds(problem, runs), _rates(problem, runs)]
    return [*tables, _choices(strong), _unfit(strong)]


def _layout(run: Result) -> Row:
    own = run["job"]["layout"]
    routines = f"{ROUTINES[own['redistribution']]}, {own['product']}"
    return [count(run["ranks"]), "{}x{}".format(*own["grid"]), str(own["block"]), routines]


def _seconds(problem: Problem, runs: list[Result]) -> Table:
    columns = [
        ">ranks", ">grid", ">block", "routines", ">redistribution", ">product", ">pdpotrf", ">solves", ">total",
        ">min..max", ">speedup", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in runs:
        phases = run["phases"]
        total, speedup = phases["total"], (run["speedup"] or {}).get("total")
        names = ("redistribution", "product", "factorisation", "solves", "total")
        rows.append([
            *_layout(run), *(number(phases[name]["median_s"]) for name in names),
            f"{number(total['min_s'])}..{number(total['max_s'])}", fixed(speedup, 2), note(run),
        ])  # fmt: skip
    repeats = " or ".join(map(str, sorted({run["job"]["repeats"] for run in runs})))
    caption = (
        f"Seconds between barriers, medians of {repeats} repeats; the range is that of the total. Redistribution: "
        "from each rank's samples to the block-cyclic mesh, by pdgemr2d or by the paper's Alltoall (its Fig. 4). "
        "Product: the matrix from the samples, by pdgemm (the paper's) or pdsyrk, which does half the work. Solves: "
        "all from the energies and the Cholesky factor to the step. Speedup: of the total over one rank with the "
        f"same block and routines. Rows with {CROWDED} measure how the ranks share cores, not scaling."
    )
    return Table(f"Seconds: {named(problem)}", columns, rows, caption)


def note(run: Result) -> str | Cell:
    """What must be known of a run before it is compared with another."""
    return Cell(CROWDED, "bad") if run["oversubscribed"] else ""


def _rates(problem: Problem, runs: list[Result]) -> Table:
    columns = [
        ">ranks", ">grid", ">block", "routines", ">product GF/s a rank", ">of dgemm", ">pdpotrf GF/s a rank",
        ">of dgemm", ">dgemm GF/s a rank", ">GB a rank, estimated", ">GB a rank, measured", ">residual", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in runs:
        phases, memory = run["phases"], run["memory"]
        rates = []
        for name in ("product", "factorisation"):
            rates += [number(phases[name]["GFs"] / run["ranks"]), fixed(phases[name]["fraction_of_dgemm"], 2)]
        used = max(most - before for most, before in zip(memory["peak_bytes"], memory["before_bytes"], strict=True))
        rows.append([
            *_layout(run), *rates, number(run["dgemm"]["GFs_per_rank"]), number(memory["estimate_bytes"] / 1e9),
            number(used / 1e9 or None), number(run["residual"], 2), note(run),
        ])  # fmt: skip
    caption = (
        "Floating-point operations over the median time: 2 N^2 M for pdgemm (N the matrix's order, M the other "
        "extent), half for pdsyrk, N^3/3 for pdpotrf. dgemm: the same library's plain matrix product on all ranks at "
        "once, in the same run; its best time. Memory: samples and solver, as estimated before the run, which is "
        "refused if that is not free; and by how much the largest rank's peak rose above what it had held before (a "
        "dash: not at all, as with small problems). Residual: |(S + shift) step - gradient| / "
        "|gradient|, the largest of all repeats."
    )
    return Table(f"Rates and memory: {named(problem)}", columns, rows, caption)


def _choices(strong: Result) -> Table:
    """Each run beside the usual one that differs from it in one thing."""
    columns = [
        ">parameters", ">samples", ">ranks", "instead of", "with", ">redistribution", ">product", ">pdpotrf",
        ">total", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for (parameters, samples, _), runs in problems(strong).items():
        bases = {run["ranks"]: run for run in chosen(runs, usual(runs))}
        for run in runs:
            base = bases.get(run["ranks"])
            differing = [] if base is None else _differing(base, run)
            if base is None or len(differing) != 1:
                continue
            names = ("redistribution", "product", "factorisation", "total")
            ratios = [fixed(run["phases"][name]["median_s"] / base["phases"][name]["median_s"], 2) for name in names]
            sizes = [count(parameters), count(samples), count(run["ranks"])]
            rows.append([*sizes, *differing[0], *ratios, note(run)])
    caption = "Times over those of the run that differs in this alone: below 1, the choice is the faster one."
    return Table("What grids, blocks and routines change", columns, rows, caption)


def _differing(base: Result, run: Result) -> list[tuple[str, str]]:
    """Each setting of the layout in which the two runs differ, of both."""
    found = []
    for name, ours in base["job"]["layout"].items():
        theirs = run["job"]["layout"][name]
        if theirs != ours:
            both = ("{}x{}".format(*each) if name == "grid" else str(each) for each in (ours, theirs))
            one, other = (ROUTINES.get(text, text) for text in both)
            found.append((one, other) if name in ("product", "redistribution") else (f"{name} {one}", other))
    return found


def _unfit(strong: Result) -> Table:
    rows: list[Row] = [[describe(entry), entry["not_run"]] for entry in strong["not_run"]]
    return Table("Not run: does not fit into memory", ["what", "what it needs"], rows)


def weak_tables(weak: Result) -> list[Table]:
    """Monte Carlo and solver, their parts, and what did not fit."""
    rows: list[Row] = [[describe(entry), entry["not_run"]] for entry in weak["not_run"]]
    unfit = Table("Not run: does not fit into memory", ["what", "what it needs"], rows)
    runs = weak_runs(weak)
    return [_iterations(runs), _parts(runs), unfit]


def weak_runs(weak: Result) -> list[Result]:
    """By network, lattice, symmetry and ranks."""

    def order(run: Result) -> tuple[int, int, bool, str, int]:
        job = run["job"]
        return run["parameters"], job["L"], job["symmetry"] != "none", job["solver"], run["ranks"]

    return sorted(weak["runs"], key=order)


def weak_named(run: Result) -> str:
    """Network and lattice of a run in a few words."""
    job = run["job"]
    return f"{job['network']}, {job['L']}x{job['L']}" + (f", {job['symmetry']}" if job["symmetry"] != "none" else "")


def weak_labels(runs: list[Result]) -> list[str]:
    """Runs in a few words, with solver and chains where others of the same network and lattice differ in them."""

    def differing(run: Result) -> list[str]:
        alike = [other["job"] for other in runs if weak_named(other) == weak_named(run)]
        words = {"solver": run["job"]["solver"], "chains": f"{run['job']['chains']} chains a rank"}
        return [words[name] for name in words if len({job[name] for job in alike}) > 1]

    return [", ".join([weak_named(run), *differing(run)]) for run in runs]


def imbalance(run: Result) -> float:
    """How much longer the slowest rank's Monte Carlo takes than the mean rank's, as a part of the latter."""
    times = run["rank_mc_s"]
    return float(max(times) / statistics.fmean(times) - 1)


def _iterations(runs: list[Result]) -> Table:
    columns = [
        "network, lattice, symmetry", "solver", ">ranks", ">samples", ">Monte Carlo s", ">efficiency", ">imbalance",
        ">SR s", ">iteration s", ">min..max", ">overhead", ">paper's overhead (processes)", ">samples/s", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in runs:
        times = [number(run[name]["median_s"]) for name in ("mc", "sr", "iteration")]
        rows.append([
            weak_named(run), run["job"]["solver"], count(run["ranks"]), count(run["samples"]), times[0],
            fixed(run["efficiency"], 3), fixed(imbalance(run), 3), times[1], times[2],
            f"{number(run['iteration']['min_s'])}..{number(run['iteration']['max_s'])}", fixed(run["overhead"], 3),
            _printed_overhead(run), number(run["samples_per_second"]), note(run),
        ])  # fmt: skip
    caption = (
        "Whole optimisation steps of a real training run, as many chains on each rank; medians and range of the "
        "counted steps. Monte Carlo: sampling, local energies and log-derivatives of the slowest rank. Efficiency: "
        "its time on one rank over that on more, for the same chains a rank. Imbalance: how much longer the slowest "
        "rank takes than the mean. Overhead: SR / whole iteration, as the paper's Table 3 prints it: the column it "
        'calls "MC-CNN" contains SR, for less SR it does not depend on the number of processes. Its own are those of '
        "the smallest and the largest number of processes, for the same network, lattice and symmetry."
    )
    return Table("Iterations", columns, rows, caption)


def _printed_overhead(run: Result) -> str:
    """Table 3's overhead of the same network, lattice and symmetry on the fewest and on the most processes."""
    symmetries = {"none": "nosym", "C4": "sym"}
    L, cases = run["job"]["L"], paper.table3["cases"]
    case = f"{L}x{L}-{symmetries.get(run['job']['symmetry'])}"
    rows = [row for row in paper.table3["rows"] if row["parameters"] == run["parameters"]]
    if not rows or case not in cases:
        return DASH
    ends = (rows[0], rows[-1])
    return " to ".join(f"{row['overhead'][cases.index(case)]} ({count(row['processes'])})" for row in ends)


PARTS = {
    "sampling": "sampling",
    "local_energy": "local energies",
    "derivatives": "derivatives",
    "gather": "waiting",
    "solve": "SR",
}
"""Parts of an iteration on rank 0, in their order."""


def _parts(runs: list[Result]) -> Table:
    solver = ("redistribution", "product", "factorisation", "solves")
    columns = ["network, lattice, symmetry", ">ranks", *(f">{name}" for name in [*PARTS.values(), *solver])]
    rows: list[Row] = [
        [weak_named(run), count(run["ranks"]), *_medians(run["phases"], [*PARTS, *solver])] for run in runs
    ]
    caption = (
        "Seconds on rank 0, medians. Waiting: for the slower ranks, before the energies are averaged. The last four "
        "are parts of SR, where ScaLAPACK solves."
    )
    return Table("Parts of an iteration", columns, rows, caption)


def _medians(phases: Result, names: Iterable[str]) -> list[str]:
    return [number(phases[name]["median_s"]) if name in phases else DASH for name in names]
