"""The job of ``qmcbench scale project``: the paper's times on a machine whose costs are read or fitted.

``projection.json`` holds the projection, the held-out test of the model on the paper's own times (which does not
depend on the machine) and, for a machine fitted to our own runs, how well it meets them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from qmcbench import provenance
from qmcbench.bench.scaling import FORMAT as STORE_FORMAT
from qmcbench.errors import UserError
from qmcbench.files import dumps, make_folder, write_atomically
from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import Fit, describe, fit
from qmcbench.scaling.heldout import PRINTED, SPLITS, Prediction, extrapolation, held_out, median_error
from qmcbench.scaling.machine import Machine, dump, load
from qmcbench.scaling.measurements import points
from qmcbench.scaling.model import NAMES, SOLVERS, Work, bytes_per_process, seconds
from qmcbench.scaling.project import project

Result = dict[str, Any]

FORMAT = "qmcbench-projection-1"
FILE = "projection.json"
MACHINE = "machine.toml"
"""A fitted machine, to be projected again or changed."""


def run(
    out: Path,
    machine: str | Path = "sunway",
    *,
    own: Sequence[Path] = (),
    processes: Sequence[int] = (),
    command: str = "qmcbench.scaling.job.run",
) -> Result:
    """Project the paper's times and write ``projection.json``, and ``machine.toml`` of a fitted machine.

    Parameters
    ----------
    out
        Folder for ``projection.json``; made if missing.
    machine
        Machine file, or the name of a shipped one.
    own
        ``strong.json`` and ``weak.json`` to fit a machine to; what they do not determine stays near ``machine``.
    processes
        Numbers of processes to project to beside the paper's.
    command
        For the provenance.

    Returns
    -------
    dict
        As in ``projection.json``.

    Raises
    ------
    UserError
        If a file cannot be read or is not what it should be, its times determine nothing, or the folder cannot be
        written to.
    """
    named = load(machine)
    for count in processes:
        if count < 1:
            raise UserError(f"processes = {count}: give numbers of at least 1.")
    times = [point for path in own for point in points(read(path, STORE_FORMAT), path.name)]
    found = fit(times, named.costs) if own else None
    chosen = _machine(found, named, own) if found else named
    projection = asdict(project(chosen))
    more = [_more(chosen, Work(N, each * P, P, L, 4)) for P in processes for N, each, L in _cases()]
    tests = [*(each for split in SPLITS for each in held_out(split)), *extrapolation()]
    result = {
        "format": FORMAT,
        **projection,
        "base": named.name,
        "more": more,
        "predictions": [asdict(each) | {"error": each.error} for each in tests],
        "errors": _errors(tests),
        "fit": None if found is None else _own(found, chosen),
        "provenance": provenance.collect(command),
    }
    make_folder(out)
    if found is not None:
        write_atomically(out / MACHINE, dump(chosen).encode())
    write_atomically(out / FILE, (dumps(result, indent=1) + "\n").encode())
    return result


def read(path: Path, form: str) -> Result:
    """A file of results of this format.

    Raises
    ------
    UserError
        If it cannot be read or is of another one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away and measure again.") from error
    if not isinstance(found, dict) or found.get("format") != form:
        raise UserError(f"{path} is not of the format {form}; move it away and measure again.")
    return found


def _machine(found: Fit, base: Machine, own: Sequence[Path]) -> Machine:
    files = " and ".join(path.name for path in own)
    made = describe(found, "the machine fitted here", "processes such as those that were measured", files, base)
    if not made.fitted:
        raise UserError(
            f"The times in {files} determine none of the machine's costs; measure larger problems, more ranks and "
            "(`qmcbench scale weak --network`) a second network."
        )
    taken = ", ".join(_taken(made))
    return replace(made, description=f"{made.description}, which do not show {taken}") if taken else made


def _taken(machine: Machine) -> list[str]:
    return [name for name in NAMES if name not in machine.fitted]


def _own(found: Fit, machine: Machine) -> Result:
    times = zip(found.points, found.predicted, strict=True)
    return {
        "points": [asdict(point) | {"predicted": time} for point, time in times],
        "taken": _taken(machine),
    }


def _cases() -> list[tuple[int, int, int]]:
    """Parameters, samples a process and lattice of the larger runs in the paper: Table 3's two networks with C4."""
    networks = dict.fromkeys(row["parameters"] for row in paper.table3["rows"])
    return [
        (parameters, paper.table3["samples_per_process"], L)
        for parameters in networks
        for L in paper_points.FIGURE10_LATTICES
    ]


def _more(machine: Machine, work: Work) -> Result:
    times = {solver: seconds("sr", work, machine.costs, solver) for solver in SOLVERS}
    return {
        "work": asdict(work),
        "nodes": machine.nodes(work.processes),
        "monte_carlo_s": seconds("monte_carlo", work, machine.costs),
        **{f"{solver}_s": time for solver, time in times.items()},
        **{f"{solver}_bytes": bytes_per_process(work, solver) for solver in SOLVERS},
    }


def _errors(tests: Sequence[Prediction]) -> list[Result]:
    """Of each half, and of all parts of the other splits together: all that the paper prints, and each phase."""
    rows = []
    for split in dict.fromkeys(each.split for each in tests):
        mine = [each for each in tests if each.split == split and each.held_out]
        folds = dict.fromkeys(each.fold for each in mine)
        for fold in folds if len(folds) <= 2 else [None]:
            those = [each for each in mine if fold in (each.fold, None)]
            kinds = {"printed": [each for each in those if each.point.phase in PRINTED]}
            for each in those:
                kinds.setdefault(each.point.phase, []).append(each)
            rows += [_error(split, fold, kind, chosen) for kind, chosen in kinds.items() if chosen]
    return rows


def _error(split: str, fold: str | None, times: str, predictions: Sequence[Prediction]) -> Result:
    worst = max(predictions, key=lambda each: abs(each.error)).error
    return {
        "split": split,
        "fold": fold,
        "times": times,
        "count": len(predictions),
        "median": median_error(predictions),
        "worst": worst,
    }
