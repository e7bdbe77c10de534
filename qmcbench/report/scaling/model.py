"""What a scaling report says of the cost model: its costs, its held-out test, and what it projects."""

from __future__ import annotations

from dataclasses import fields
from itertools import groupby

from qmcbench.report.document import Row, Table
from qmcbench.report.figure import Result
from qmcbench.report.numbers import DASH, count, fixed, number, percent
from qmcbench.scaling.model import UNITS, Costs

PHASES = {
    "monte_carlo": "Monte Carlo",
    "product": "pdgemm",
    "factorisation": "pdpotrf",
    "data": "data operations",
    "sr": "ScaLAPACK",
    "iteration": "iteration",
}
"""Phases of the model as the paper calls them."""
SOURCES = {"table3": "Table 3", "figure9": "Fig. 9", "figure10": "Fig. 10", "table3 - figure9": "Table 3 - Fig. 9"}
HALVES = "halves"
EXTRAPOLATION = "extrapolation"
TIMES = ["times", ">parameters", ">processes", "lattice", "symmetry"]
"""Columns that say which time of the paper a row is about."""


def case(phase: str, work: Result) -> Row:
    """The entries of ``TIMES``."""
    L = work["L"]
    symmetry = DASH if L is None else "C4" if work["rotations"] > 1 else "none"
    lattice = DASH if L is None else f"{L}x{L}"
    return [PHASES[phase], count(work["parameters"]), count(work["processes"]), lattice, symmetry]


def band(estimate: Result, level: int = 95, scale: int = 3) -> str:
    """An estimate's band; a dash where its machine has none."""
    found = estimate[f"band{level}"]
    return DASH if found is None else "{}..{}".format(*(number(each, scale) for each in found))


def model_tables(projection: Result) -> list[Table]:
    """The model's costs, where they come from, and how its errors on times that it was not fitted to come out."""
    return [_costs(projection), _spread(projection), *_own(projection), _summary(projection), *_points(projection)]


def projected_tables(projection: Result) -> list[Table]:
    """Table 3, Fig. 9, Fig. 10 on the machine, weak-scaling efficiency, and other numbers of processes."""
    tables = [_times(projection, source) for source in ("table3", "figure9", "figure10")]
    return [*tables, _efficiencies(projection), _more(projection)]


def sample_space_tables(projection: Result) -> list[Table]:
    """Both SR solvers at each of the paper's points, and where they take equally long."""
    return [_comparisons(projection), _crossovers(projection)]


def _costs(projection: Result) -> Table:
    machine = projection["machine"]
    meanings = {each.name: each.metadata["meaning"] for each in fields(Costs)}
    rows: list[Row] = []
    for name, value in machine["costs"].items():
        taken = projection["fit"] is not None and name in projection["fit"]["taken"]
        origin = (
            f"not shown: near {projection['base']}" if taken else "fitted" if name in machine["fitted"] else "given"
        )
        error = machine["errors"].get(name)
        rows.append([name, number(value, 4), UNITS[name], percent(error), origin, meanings[name]])
    caption = (
        f"Machine: {machine['name']}; {machine['description'] or 'no description'}. "
        f"Source: {machine['source'] or 'not named'}. Each per process, {machine['processes_per_node']} processes a "
        "node. Error: one standard error of the cost's logarithm, from refits with the residuals dealt out anew; "
        "errors of different costs are correlated, and the bands below are drawn with that."
    )
    return Table(
        "Costs of the machine", ["cost", ">value", "unit", ">error", "origin", "what costs it"], rows, caption
    )


def _spread(projection: Result) -> Table:
    rows: list[Row] = [[PHASES[name], percent(value)] for name, value in projection["machine"]["spread"].items()]
    caption = "Root mean square of ln(measured / model), which the bands contain beside the costs' errors."
    return Table("How far measured times scatter about the model", ["phase", ">scatter"], rows, caption)


def _own(projection: Result) -> list[Table]:
    if projection["fit"] is None:
        return []
    rows: list[Row] = []
    for point in projection["fit"]["points"]:
        ratio = point["predicted"] / point["seconds"] - 1
        space = "samples" if point["solver"] == "sample_space" else "parameters"
        times = [number(point["seconds"]), number(point["predicted"]), percent(ratio)]
        samples = count(point["work"]["samples"])
        rows.append([*case(point["phase"], point["work"]), samples, space, *times, point["source"]])
    columns = [*TIMES, ">samples", "space", ">measured s", ">model s", ">error", "source"]
    caption = (
        "Our own times that the machine is fitted to (of several layouts the fastest), and the model's: these are "
        "residuals of the fit, not predictions. Monte Carlo is weak scaling, the others are strong scaling."
    )
    return [Table("The fit to our own measurements", columns, rows, caption)]


def _summary(projection: Result) -> Table:
    rows: list[Row] = []
    for row in projection["errors"]:
        name = "all that the paper prints" if row["times"] == "printed" else PHASES[row["times"]]
        errors = [percent(row["median"]), percent(row["worst"])]
        rows.append([row["split"], row["fold"] or "all parts", name, count(row["count"]), *errors])
    caption = (
        "The model fitted to one part of the paper's times predicts the part named here. Halves are fitted both "
        "ways; the other splits leave out one part after another, and their errors are put together. Sums "
        "(ScaLAPACK, iteration) are never fitted, only their parts. Extrapolation: Fig. 10 from all of Table 3 and "
        "Fig. 9, on up to twelve times as many processes with half the samples on each. Median: of the absolute "
        "relative errors. One term of the model was chosen by looking at Figs. 9 and 10 (pdpotrf's messages), so for "
        "pdpotrf this is no blind test."
    )
    columns = ["split", "held out", "times", ">points", ">median error", ">largest error"]
    return Table("Held-out test on the paper's own times", columns, rows, caption)


def _points(projection: Result) -> list[Table]:
    """Every prediction of the halves and of the extrapolation."""
    held = [each for each in projection["predictions"] if each["held_out"]]
    shown = [each for each in held if each["split"] in (HALVES, EXTRAPOLATION)]
    tables = []
    for fold, predictions in groupby(shown, key=lambda each: str(each["fold"])):
        rows: list[Row] = []
        for each in predictions:
            point = each["point"]
            times = [number(point["seconds"]), number(each["predicted"]), percent(each["error"])]
            rows.append([*case(point["phase"], point["work"]), *times, SOURCES[point["source"]]])
        columns = [*TIMES, ">paper s", ">predicted s", ">error", "source"]
        tables.append(Table(f"Predicted without {fold}", columns, rows, _WITHOUT))
    return tables


_WITHOUT = (
    "Every time of the part that was left out of the fit. The Monte Carlo time is Table 3's iteration less its "
    "ScaLAPACK time. All other splits are in projection.json."
)


def _times(projection: Result, source: str) -> Table:
    rows: list[Row] = []
    for each in projection["times"]:
        if each["source"] == source:
            value = each["seconds"]["value"]
            rows.append([
                *case(each["phase"], each["work"]), count(each["nodes"]), number(each["paper_s"], 4), number(value),
                band(each["seconds"]), fixed(value / each["paper_s"], 2),
            ])  # fmt: skip
    columns = [*TIMES, ">nodes", ">paper s", ">model s", ">95 % band", ">model / paper"]
    caption = (
        f"As printed for the paper's machine, and the model for {projection['machine']['name']} with the same work. "
        "The band holds the errors of the costs and the scatter of measured times, not what the model leaves out."
    )
    if source == "table3":
        caption += " Iteration: the column MC-CNN, which contains ScaLAPACK."
    if source == "figure10":
        caption += " Half as many samples a process as in Table 3. pdpotrf on fewer processes: see Fig. 9."
    return Table(f"{SOURCES[source]}: printed and modelled", columns, rows, caption)


def _efficiencies(projection: Result) -> Table:
    rows: list[Row] = []
    for each in projection["efficiencies"]:
        work, found = each["work"], each["efficiency"]
        rows.append([
            f"{work['L']}x{work['L']}", count(work["processes"]), number(each["seconds"]["value"]),
            band(each["seconds"]), fixed(found["value"], 3), band(found), percent(each["monte_carlo_share"]),
            fixed(each["paper"], 3),
        ])  # fmt: skip
    columns = [
        "lattice", ">processes", ">iteration s", ">95 % band", ">efficiency", ">95 % band", ">Monte Carlo share",
        ">paper's efficiency",
    ]  # fmt: skip
    printed = [number(each["paper_s"]) for each in projection["comparisons"] if each["source"] == "figure10"]
    caption = (
        "Weak scaling of a whole iteration of Fig. 10 (C4): the time on the smallest number of processes over that "
        "on more. Above 1 an iteration gets faster, as more processes share the factorisation of a matrix of fixed "
        "size. The paper does not say how it computed its efficiencies (printed for the largest number only); they "
        f"do not follow from the SR times printed beside them, which fall from {printed[0]} s to {printed[-1]} s."
    )
    return Table("Weak-scaling efficiency", columns, rows, caption)


def _more(projection: Result) -> Table:
    rows: list[Row] = []
    for each in projection["more"]:
        work, mc = each["work"], each["monte_carlo_s"]
        sr = [each["covariance_s"], each["sample_space_s"]]
        rows.append([
            count(work["parameters"]), f"{work['L']}x{work['L']}", count(work["processes"]), count(each["nodes"]),
            count(work["samples"]), number(mc), *map(number, sr), *(percent(time / (mc + time)) for time in sr),
            _gigabytes(each),
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


def _gigabytes(record: Result) -> str:
    """Memory of a process with the covariance and in sample space."""
    return " / ".join(number(record[f"{solver}_bytes"] / 1e9, 2) for solver in ("covariance", "sample_space"))


def _comparisons(projection: Result) -> Table:
    rows: list[Row] = []
    for each in projection["comparisons"]:
        work, speedup = each["work"], each["speedup"]
        rows.append([
            SOURCES[each["source"]], count(work["parameters"]), count(work["processes"]), count(work["samples"]),
            fixed(work["samples"] / work["parameters"], 2), number(each["paper_s"]),
            number(each["covariance_s"]["value"]), number(each["sample_space_s"]["value"]),
            number(speedup["value"]), band(speedup), _gigabytes(each),
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


def _crossovers(projection: Result) -> Table:
    rows: list[Row] = [
        [
            count(each["parameters"]), count(each["samples_per_process"]), count(each["processes"]),
            fixed(each["samples_per_parameter"], 3),
        ]
        for each in projection["crossovers"]
    ]  # fmt: skip
    columns = [">parameters", ">samples a process", ">processes", ">samples / parameters there"]
    caption = "Up to so many processes SR in sample space is the faster one, by the model."
    return Table("Where both take equally long", columns, rows, caption)
