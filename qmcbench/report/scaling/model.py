"""What a scaling report says of the cost model: its costs, its held-out test, and what it projects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import groupby

from qmcbench.group import named
from qmcbench.report.document import Row, Table
from qmcbench.report.numbers import DASH, count, fixed, number, percent
from qmcbench.scaling.heldout import COST, EXTRAPOLATION, HALVES, NULL, Errors, errors
from qmcbench.scaling.model import Costs, bytes_per_process
from qmcbench.scaling.projection import Projection
from qmcbench.store.scaling import Band, HeldOutTime, ModelledTime, Work

PHASES = {
    "monte_carlo": "Monte Carlo",
    "product": "pdgemm",
    "factorisation": "pdpotrf",
    "data": "data operations",
    "sr": "ScaLAPACK",
    "iteration": "iteration",
}
"""Phases of the model as the paper calls them."""
SOURCES = ("Table 3", "Fig. 9", "Fig. 10")
TIMES = ["times", ">parameters", ">processes", "lattice", "symmetry"]
"""Columns that say which time of the paper a row is about."""


def case(phase: str, work: Work) -> Row:
    """The entries of ``TIMES``."""
    symmetry = DASH if work.L is None else named(work.rotations)
    lattice = DASH if work.L is None else f"{work.L}x{work.L}"
    return [PHASES[phase], count(work.parameters), count(work.processes), lattice, symmetry]


def band(found: Band | None) -> str:
    """A band; a dash where the machine has none."""
    return DASH if found is None else "{}..{}".format(*map(number, found))


def model_tables(projection: Projection) -> list[Table]:
    """The model's costs, where they come from, and how its errors on times that it was not fitted to come out."""
    tests = projection.tests
    return [
        _costs(projection),
        _scatter(projection),
        *_own(projection.fitted),
        _summary(errors(tests)),
        *_points(tests),
    ]


def projected_tables(projection: Projection) -> list[Table]:
    """Table 3, Fig. 9, Fig. 10 on the machine, weak-scaling efficiency, and other numbers of processes."""
    return [*(_times(projection, source) for source in SOURCES), _efficiencies(projection), _more(projection)]


def sample_space_tables(projection: Projection) -> list[Table]:
    """Both SR solvers at each of the paper's points, and where they take equally long."""
    return [_gains(projection), _crossovers(projection)]


def null_model_wins(projection: Projection) -> str:
    """A remark on the kinds of time that the null model predicts better, or nothing."""
    rows = [row for row in errors(projection.tests) if row.null_median is not None and row.times != "printed"]
    won = [row for row in rows if (row.null_median or 0.0) < row.median]
    named = [f"{PHASES[row.times]} ({row.split}{f', {row.fold}' if row.fold else ''})" for row in won]
    return (
        f"The null model (Monte Carlo time copied from the nearest number of processes, a power law through the two "
        f"nearest for every other) predicts {len(won)} of {len(rows)} kinds of held-out times better than the model: "
        f"{'; '.join(named)}."
        if won
        else ""
    )


def _costs(projection: Projection) -> Table:
    machine = projection.machine
    meanings = {each.name: each.metadata["meaning"] for each in fields(Costs)}
    rows: list[Row] = []
    for cost in machine.costs:
        origin = f"not shown: near {machine.base}" if cost.origin == "taken" else cost.origin
        values = [number(cost.value, 4), cost.unit, percent(cost.error)]
        rows.append([cost.name, *values, origin, meanings[cost.name]])
    caption = (
        f"Machine: {machine.name}; {machine.description or 'no description'}. "
        f"Source: {machine.source or 'not named'}. Each per process, {number(machine.value)} processes a "
        "node. Error: one standard error of the cost's logarithm, from refits with the residuals dealt out anew; "
        "errors of different costs are correlated, and the bands below are drawn with that."
    )
    return Table(
        "Costs of the machine", ["cost", ">value", "unit", ">error", "origin", "what costs it"], rows, caption
    )


def _scatter(projection: Projection) -> Table:
    rows: list[Row] = [[PHASES[name], percent(value)] for name, value in projection.machine.scatter.items()]
    caption = "Root mean square of ln(measured / model), which the bands contain beside the costs' errors."
    return Table("How far measured times scatter about the model", ["phase", ">scatter"], rows, caption)


def _own(fitted: Sequence[ModelledTime]) -> list[Table]:
    if not fitted:
        return []
    rows: list[Row] = []
    for each in fitted:
        space = "samples" if each.solver == "sample_space" else "parameters"
        times = [number(each.known), number(each.value), percent(each.error)]
        rows.append([*case(each.phase, each.work), count(each.work.samples), space, *times, each.source])
    columns = [*TIMES, ">samples", "space", ">measured s", ">model s", ">error", "source"]
    caption = (
        "Our own times that the machine is fitted to (of several layouts the fastest), and the model's: these are "
        "residuals of the fit, not predictions. Monte Carlo is weak scaling, the others are strong scaling."
    )
    return [Table("The fit to our own measurements", columns, rows, caption)]


def _summary(found: Iterable[Errors]) -> Table:
    rows: list[Row] = []
    for row in found:
        name = "all that the paper prints" if row.times == "printed" else PHASES[row.times]
        medians = [percent(row.median), percent(row.null_median)]
        sizes = [count(len(row.predictions)), *medians, percent(row.worst)]
        rows.append([row.split, row.fold or "all parts", name, *sizes])
    caption = (
        "The model fitted to one part of the paper's times predicts the part named here. Halves are fitted both "
        "ways; the other splits leave out one part after another, and their errors are put together. Sums "
        "(ScaLAPACK, iteration) are never fitted, only their parts. Extrapolation: Fig. 10 from all of Table 3 and "
        "Fig. 9, on up to twelve times as many processes with half the samples on each. Median: of the absolute "
        "relative errors. One term of the model was chosen by looking at Figs. 9 and 10 (pdpotrf's messages), so for "
        "pdpotrf this is no blind test. Null model: the Monte Carlo time copied from the nearest number of processes "
        "that was not held out, a power law through the two nearest for every other time; the other splits leave it "
        "nothing to copy. Most of the paper's times are iterations, whose Monte Carlo part hardly depends on the "
        "processes and so has replicates among the fitted times."
    )
    columns = ["split", "held out", "times", ">points", ">median error", ">null model", ">largest error"]
    return Table("Held-out test on the paper's own times", columns, rows, caption)


def _points(tests: Iterable[HeldOutTime]) -> list[Table]:
    """Every prediction of the halves and of the extrapolation."""
    shown = [each for each in tests if each.split in (HALVES, EXTRAPOLATION)]
    null = {(each.fold, each.phase, each.work): each for each in shown if each.model == NULL}
    tables = []
    for fold, predictions in groupby((each for each in shown if each.model == COST), key=lambda each: each.fold):
        rows: list[Row] = []
        for each in predictions:
            times = [number(each.known), number(each.value), percent(each.error)]
            other = percent(null[fold, each.phase, each.work].error)
            rows.append([*case(each.phase, each.work), *times, other, each.source])
        columns = [*TIMES, ">paper s", ">predicted s", ">error", ">null model's error", "source"]
        tables.append(Table(f"Predicted without {fold}", columns, rows, _WITHOUT))
    return tables


_WITHOUT = (
    "Every time of the part that was left out of the fit. The Monte Carlo time is Table 3's iteration less its "
    "ScaLAPACK time. All other splits are in records/projection.jsonl."
)


def _times(projection: Projection, source: str) -> Table:
    rows: list[Row] = []
    for each in projection.times:
        if each.source == source:
            rows.append([
                *case(each.phase, each.work), count(each.nodes), number(each.known, 4), number(each.value),
                band(each.band95), fixed(each.value / each.known, 2),
            ])  # fmt: skip
    columns = [*TIMES, ">nodes", ">paper s", ">model s", ">95 % band", ">model / paper"]
    caption = (
        f"As printed for the paper's machine, and the model for {projection.machine.name} with the same work. "
        "The band holds the errors of the costs and the scatter of measured times, not what the model leaves out."
    )
    if source == "Table 3":
        caption += " Iteration: the column MC-CNN, which contains ScaLAPACK."
    if source == "Fig. 10":
        caption += " Half as many samples a process as in Table 3. pdpotrf on fewer processes: see Fig. 9."
    return Table(f"{source}: printed and modelled", columns, rows, caption)


def _efficiencies(projection: Projection) -> Table:
    rows: list[Row] = []
    for each in projection.efficiencies:
        L = each.work.L
        rows.append([
            f"{L}x{L}", count(each.work.processes), number(each.iteration.value), band(each.iteration.band95),
            fixed(each.value, 3), band(each.band95), percent(each.monte_carlo_share), fixed(each.known, 3),
        ])  # fmt: skip
    columns = [
        "lattice", ">processes", ">iteration s", ">95 % band", ">efficiency", ">95 % band", ">Monte Carlo share",
        ">paper's efficiency",
    ]  # fmt: skip
    printed = [number(each.known) for each in projection.gains if each.source == "Fig. 10"]
    caption = (
        "Weak scaling of a whole iteration of Fig. 10 (C4): the time on the smallest number of processes over that "
        "on more. Above 1 an iteration gets faster, as more processes share the factorisation of a matrix of fixed "
        "size. The paper does not say how it computed its efficiencies (printed for the largest number only); they "
        f"do not follow from the SR times printed beside them, which fall from {printed[0]} s to {printed[-1]} s."
    )
    return Table("Weak-scaling efficiency", columns, rows, caption)


def _more(projection: Projection) -> Table:
    rows: list[Row] = []
    for three in projection.more:
        work, nodes = three[0].work, three[0].nodes
        mc, *sr = (each.value for each in three)
        rows.append([
            count(work.parameters), f"{work.L}x{work.L}", count(work.processes), count(nodes),
            count(work.samples), number(mc), *map(number, sr), *(percent(time / (mc + time)) for time in sr),
            _gigabytes(work),
        ])  # fmt: skip
    columns = [
        ">parameters", "lattice", ">processes", ">nodes", ">samples", ">Monte Carlo s", ">SR s, covariance",
        ">SR s, sample space", ">overhead, covariance", ">overhead, sample space", ">GB a process",
    ]  # fmt: skip
    caption = (
        "Iterations with C4 and Table 3's samples a process, on numbers of processes that were asked for; without "
        "bands. Overhead: SR / iteration."
    )
    return Table("Other numbers of processes", columns, rows, caption)


def _gigabytes(work: Work) -> str:
    """Memory of a process with the covariance and in sample space."""
    solvers = ("covariance", "sample_space")
    return " / ".join(number(bytes_per_process(work, solver) / 1e9, 2) for solver in solvers)


def _gains(projection: Projection) -> Table:
    rows: list[Row] = []
    for each in projection.gains:
        work = each.work
        rows.append([
            each.source, count(work.parameters), count(work.processes), count(work.samples),
            fixed(each.samples_per_parameter, 2), number(each.known), number(each.covariance.value),
            number(each.sample_space.value), number(each.value), band(each.band95), _gigabytes(work),
        ])  # fmt: skip
    columns = [
        "source", ">parameters", ">processes", ">samples", ">samples / parameters", ">paper s", ">covariance s",
        ">sample space s", ">times faster", ">95 % band", ">GB a process",
    ]  # fmt: skip
    caption = (
        "The paper factorises the N_p x N_p covariance of the parameters. The N_s x N_s Gram matrix of the samples "
        "gives the same step (Chen & Heyl, Nat. Phys. 20, 1476 (2024)) at the model's costs for the same routines. "
        "Times faster: covariance over sample space; below 1 the paper's choice is the better one. Memory: matrix "
        "and log-derivatives of a process, covariance / sample space. Nobody has measured the sample-space times at "
        "these sizes."
    )
    return Table("Sample space against covariance", columns, rows, caption)


def _crossovers(projection: Projection) -> Table:
    rows: list[Row] = [
        [
            count(each.parameters), count(each.samples_per_process), count(round(each.value)),
            fixed(each.samples_per_parameter, 3),
        ]
        for each in projection.crossovers
    ]  # fmt: skip
    columns = [">parameters", ">samples a process", ">processes", ">samples / parameters there"]
    caption = "Up to so many processes SR in sample space is the faster one, by the model."
    return Table("Where both take equally long", columns, rows, caption)
