"""What a scaling report says of our own measurements: strong scaling (paper Fig. 9), weak scaling (Table 3)."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields

from qmcbench.ranks.mesh import fit_grid
from qmcbench.reference import paper
from qmcbench.report.document import Cell, Row, Table, grouped
from qmcbench.report.numbers import DASH, count, fixed, number
from qmcbench.scaling.measurements import describe, efficiency, measured, speedup
from qmcbench.store.scaling import Layout, OnRanks, SolveTimes, StrongRun, WeakRun

Problem = tuple[int, int, str]
"""Parameters, samples, and the space of the matrix."""
Choice = tuple[int, str, str]
"""Block, product and redistribution: what may differ, beside the grid, between runs of a problem on as many ranks."""
ROUTINES = {"pdgemr2d": "pdgemr2d", "alltoall": "Alltoall"}
CROWDED = "more ranks than cores"
SOLVE = [each.name for each in fields(SolveTimes)]
"""Phases of a solve."""


def problems(runs: Iterable[StrongRun]) -> dict[Problem, list[StrongRun]]:
    """Runs of each problem, by ranks and then as they were measured."""
    ordered = sorted(measured(runs), key=lambda run: run.ranks)
    return dict(sorted(grouped(ordered, lambda run: (run.parameters, run.samples, run.space)).items()))


def named(problem: Problem) -> str:
    """A problem in words."""
    parameters, samples, space = problem
    matrix = "covariance" if space == "parameters" else "Gram matrix of the samples"
    return f"{count(parameters)} parameters, {count(samples)} samples, {matrix}"


def choice(layout: Layout) -> Choice:
    """The block and the routines of a layout."""
    return layout.block, layout.product, layout.redistribution


def usual(runs: Iterable[StrongRun]) -> Choice:
    """The block and routines that were measured on the most numbers of ranks, the first of several."""
    seen = dict.fromkeys((choice(run.layout), run.ranks) for run in runs)
    return Counter(made for made, _ in seen).most_common(1)[0][0]


def chosen(runs: Iterable[StrongRun], made: Choice) -> list[StrongRun]:
    """Of each number of ranks the run with this block and these routines, on the most square grid that there is."""
    found: dict[int, StrongRun] = {}
    for run in runs:
        square = run.layout.grid == fit_grid(None, run.ranks)
        if choice(run.layout) == made and (square or run.ranks not in found):
            found[run.ranks] = run
    return list(found.values())


def strong_tables(runs: Sequence[StrongRun]) -> list[Table]:
    """Seconds, rates and memory of each problem, what its layouts change, and what did not fit."""
    tables = []
    for problem, those in problems(runs).items():
        tables += [_seconds(problem, those, runs), _rates(problem, those)]
    return [*tables, _choices(runs), _unfit(runs)]


def _layout(run: StrongRun) -> Row:
    layout = run.layout
    routines = f"{ROUTINES.get(layout.redistribution, layout.redistribution)}, {layout.product}"
    return [count(run.ranks), _grid(layout), str(layout.block), routines]


def _grid(layout: Layout) -> str:
    return "{}x{}".format(*layout.grid)


def _seconds(problem: Problem, runs: Sequence[StrongRun], everything: Sequence[StrongRun]) -> Table:
    columns = [
        ">ranks", ">grid", ">block", "routines", ">redistribution", ">product", ">pdpotrf", ">solves", ">total",
        ">min..max", ">speedup", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in runs:
        total = run.all("total")
        rows.append([
            *_layout(run), *(number(run.median(name)) for name in [*SOLVE, "total"]),
            f"{number(min(total))}..{number(max(total))}", fixed(speedup(run, everything), 2), note(run),
        ])  # fmt: skip
    repeats = " or ".join(map(str, sorted({len(run.times) for run in runs})))
    caption = (
        f"Seconds between barriers, medians of {repeats} repeats; the range is that of the total. Redistribution: "
        "from each rank's samples to the block-cyclic mesh, by pdgemr2d or by the paper's Alltoall (its Fig. 4). "
        "Product: the matrix from the samples, by pdgemm (the paper's) or pdsyrk, which does half the work. Solves: "
        "all from the energies and the Cholesky factor to the step. Speedup: of the total over one rank with the "
        f"same block and routines. Rows with {CROWDED} measure how the ranks share cores, not scaling."
    )
    return Table(f"Seconds: {named(problem)}", columns, rows, caption)


def note(run: OnRanks) -> str | Cell:
    """What must be known of a run before it is compared with another."""
    return Cell(CROWDED, "bad") if run.oversubscribed else ""


def _rates(problem: Problem, runs: Sequence[StrongRun]) -> Table:
    columns = [
        ">ranks", ">grid", ">block", "routines", ">product GF/s a rank", ">of dgemm", ">pdpotrf GF/s a rank",
        ">of dgemm", ">dgemm GF/s a rank", ">GB a rank, estimated", ">GB a rank, measured", ">residual", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in runs:
        rates = []
        for name in ("product", "factorisation"):
            rates += [number(run.rate(name) / run.ranks), fixed(run.fraction_of_dgemm(name), 2)]
        used = max(most - before for most, before in zip(run.peak_bytes, run.before_bytes, strict=False))
        rows.append([
            *_layout(run), *rates, number(run.dgemm_GFs), number((run.estimate_bytes or 0) / 1e9),
            number(used / 1e9 or None), number(run.residual, 2), note(run),
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


def _choices(runs: Iterable[StrongRun]) -> Table:
    """Each run beside the usual one that differs from it in one thing."""
    columns = [
        ">parameters", ">samples", ">ranks", "instead of", "with", ">redistribution", ">product", ">pdpotrf",
        ">total", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for (parameters, samples, _), those in problems(runs).items():
        bases = {run.ranks: run for run in chosen(those, usual(those))}
        for run in those:
            base = bases.get(run.ranks)
            differing = [] if base is None else _differing(base, run)
            if base is None or len(differing) != 1:
                continue
            names = ("redistribution", "product", "factorisation", "total")
            ratios = [fixed(run.median(name) / base.median(name), 2) for name in names]
            sizes = [count(parameters), count(samples), count(run.ranks)]
            rows.append([*sizes, *differing[0], *ratios, note(run)])
    caption = "Times over those of the run that differs in this alone: below 1, the choice is the faster one."
    return Table("What grids, blocks and routines change", columns, rows, caption)


def _differing(base: StrongRun, run: StrongRun) -> list[tuple[str, str]]:
    """Each setting of the layout in which the two runs differ, of both."""
    ours, theirs = base.layout, run.layout
    both = [
        (f"grid {_grid(ours)}", _grid(theirs)),
        (f"block {ours.block}", str(theirs.block)),
        (ours.product, theirs.product),
        tuple(ROUTINES.get(each.redistribution, each.redistribution) for each in (ours, theirs)),
    ]
    same = [getattr(ours, each.name) == getattr(theirs, each.name) for each in fields(Layout)]
    return [(one, other) for (one, other), alike in zip(both, same, strict=True) if not alike]


def _unfit(runs: Iterable[StrongRun | WeakRun]) -> Table:
    rows: list[Row] = [[describe(run), run.not_run] for run in runs if run.not_run is not None]
    return Table("Not run: does not fit into memory", ["what", "what it needs"], rows)


def weak_tables(runs: Sequence[WeakRun]) -> list[Table]:
    """Monte Carlo and solver, their parts, and what did not fit."""
    ordered = weak_runs(runs)
    return [_iterations(ordered), _parts(ordered), _unfit(runs)]


def weak_runs(runs: Iterable[WeakRun]) -> list[WeakRun]:
    """By network, lattice, symmetry and ranks."""

    def order(run: WeakRun) -> tuple[int, int, bool, str, int]:
        return run.parameters or 0, run.L, run.symmetry != "none", run.solver, run.ranks

    return sorted(measured(runs), key=order)


def weak_named(run: WeakRun) -> str:
    """Network and lattice of a run in a few words."""
    return f"{run.network}, {run.L}x{run.L}" + (f", {run.symmetry}" if run.symmetry != "none" else "")


def weak_labels(runs: Sequence[WeakRun]) -> list[str]:
    """Runs in a few words, with solver and chains where others of the same network and lattice differ in them."""

    def differing(run: WeakRun) -> list[str]:
        alike = [other for other in runs if weak_named(other) == weak_named(run)]
        words = {"solver": run.solver, "chains": f"{run.chains} chains a rank"}
        return [words[name] for name in words if len({getattr(other, name) for other in alike}) > 1]

    return [", ".join([weak_named(run), *differing(run)]) for run in runs]


def imbalance(run: WeakRun) -> float:
    """How much longer the slowest rank's Monte Carlo takes than the mean rank's, as a part of the latter."""
    times = run.rank_monte_carlo
    return float(max(times) / statistics.fmean(times) - 1)


def _iterations(runs: Sequence[WeakRun]) -> Table:
    columns = [
        "network, lattice, symmetry", "solver", ">ranks", ">samples", ">Monte Carlo s", ">efficiency", ">imbalance",
        ">SR s", ">iteration s", ">min..max", ">overhead", ">paper's overhead (processes)", ">samples/s", "note",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in runs:
        steps = [each.step for each in run.times]
        rows.append([
            weak_named(run), run.solver, count(run.ranks), count(run.samples), number(run.monte_carlo_median),
            fixed(efficiency(run, runs), 3), fixed(imbalance(run), 3), number(run.median("solve")),
            number(run.median("step")), f"{number(min(steps))}..{number(max(steps))}", fixed(run.overhead, 3),
            _printed_overhead(run), number(run.samples_per_second), note(run),
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


def _printed_overhead(run: WeakRun) -> str:
    """Table 3's overhead of the same network, lattice and symmetry on the fewest and on the most processes."""
    symmetries = {"none": "nosym", "C4": "sym"}
    cases = paper.table3["cases"]
    case = f"{run.L}x{run.L}-{symmetries.get(run.symmetry)}"
    rows = [row for row in paper.table3["rows"] if row["parameters"] == run.parameters]
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


def _parts(runs: Sequence[WeakRun]) -> Table:
    columns = ["network, lattice, symmetry", ">ranks", *(f">{name}" for name in [*PARTS.values(), *SOLVE])]
    rows: list[Row] = []
    for run in runs:
        solve = run.solver_median
        solves = [DASH if solve is None else number(getattr(solve, name)) for name in SOLVE]
        parts = [number(run.median(part)) for part in PARTS]
        rows.append([weak_named(run), count(run.ranks), *parts, *solves])
    caption = (
        "Seconds on rank 0, medians. Waiting: for the slower ranks, before the energies are averaged. The last four "
        "are parts of SR, where ScaLAPACK solves."
    )
    return Table("Parts of an iteration", columns, rows, caption)
