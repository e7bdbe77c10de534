"""The job of ``qmcbench scale project``: the paper's times on a machine whose costs are read or fitted.

``records/projection.jsonl`` holds the machine, the projection, the held-out test of the model on the paper's own
times (which does not depend on the machine) and, for a machine fitted to our own runs, how well it meets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qmcbench import provenance
from qmcbench.errors import UserError
from qmcbench.files import make_folder, write_atomically
from qmcbench.reference import paper
from qmcbench.scaling import paper_points
from qmcbench.scaling.fit import Fit, describe, fit
from qmcbench.scaling.heldout import EXTRAPOLATION, SPLITS, held_out
from qmcbench.scaling.machine import Machine, dump, load
from qmcbench.scaling.measurements import points
from qmcbench.scaling.model import NAMES, SOLVERS, UNITS, seconds
from qmcbench.scaling.project import project
from qmcbench.store import jsonl
from qmcbench.store.records import Reference, Run
from qmcbench.store.scaling import Cost, MachineModel, ModelledTime, StrongRun, WeakRun, Work

JOB, FILE = "scale project", "projection"
MACHINE = "machine.toml"
"""A fitted machine, to be projected again or changed."""


@dataclass(frozen=True)
class ProjectRequest:
    """What to project to."""

    machine: str | Path = "sunway"
    """Machine file, or the name of a shipped one."""
    own: Sequence[Path] = ()
    """Folders or files of our own runs to fit a machine to; what they do not determine stays near ``machine``."""
    processes: Sequence[int] = ()
    """Numbers of processes beside the paper's."""


def run(request: ProjectRequest, out: Path, *, command: str = "qmcbench.scaling.job.run") -> Run:
    """Project the paper's times and write ``records/projection.jsonl``, and ``machine.toml`` of a fitted machine.

    Raises
    ------
    UserError
        If a file cannot be read or is not what it should be, its times determine nothing, or the folder cannot be
        written to.
    """
    named = load(request.machine)
    for count in request.processes:
        if count < 1:
            raise UserError(f"processes = {count}: give numbers of at least 1.")
    found = _fit(request.own, named) if request.own else None
    chosen = _machine(found, named, request.own) if found else named
    tests = [each for split in (*SPLITS, EXTRAPOLATION) for each in held_out(split)]
    more = [each for P in request.processes for work in _works(P) for each in _more(chosen, work)]
    fitted = _own(found) if found else []
    records = (_record(chosen, named, found is not None), *project(chosen), *more, *fitted, *tests)
    result = Run(job=JOB, provenance=provenance.collect(command), records=records)
    make_folder(out)
    if found is not None:
        write_atomically(out / MACHINE, dump(chosen).encode())
    jsonl.save(out, FILE, result)
    return result


def _fit(own: Sequence[Path], base: Machine) -> Fit:
    runs = [each for each in jsonl.find(own) if each.job != JOB]
    for each in runs:
        if not each.of(StrongRun) and not each.of(WeakRun):
            raise UserError(
                f"The records of `{each.job}` ({each.provenance.date}) are no measurements of scaling; name folders "
                "or files of `qmcbench scale strong` and `scale weak`."
            )
    return fit([point for each in runs for point in points(each)], base.costs)


def _machine(found: Fit, base: Machine, own: Sequence[Path]) -> Machine:
    files = " and ".join(path.name for path in own)
    made = describe(found, "the machine fitted here", "processes such as those that were measured", files, base)
    if not made.fitted:
        raise UserError(
            f"The times in {files} determine none of the machine's costs; measure larger problems, more ranks and "
            "(`qmcbench scale weak --network`) a second network."
        )
    taken = ", ".join(name for name in NAMES if name not in made.fitted)
    return replace(made, description=f"{made.description}, which do not show {taken}") if taken else made


def _record(machine: Machine, base: Machine, fitted_here: bool) -> MachineModel:
    otherwise = "taken" if fitted_here else "given"
    costs = zip(NAMES, machine.costs.values().tolist(), strict=True)
    return MachineModel(
        value=machine.processes_per_node,
        name=machine.name,
        description=machine.description,
        source=machine.source,
        base=base.name,
        costs=tuple(
            Cost(
                name, value, UNITS[name], machine.errors.get(name), "fitted" if name in machine.fitted else otherwise
            )
            for name, value in costs
        ),
        scatter=dict(machine.spread),
        correlation=machine.correlation,
    )


def _own(found: Fit) -> list[ModelledTime]:
    return [
        ModelledTime(
            value=time,
            reference=Reference(value=point.seconds, source=point.source, kind="measured"),
            phase=point.phase,
            work=point.work,
            solver=point.solver,
        )
        for point, time in zip(found.points, found.predicted, strict=True)
    ]


def _works(processes: int) -> list[Work]:
    """The larger runs in the paper on so many processes: Table 3's two networks with C4."""
    networks = dict.fromkeys(row["parameters"] for row in paper.table3["rows"])
    samples = paper.table3["samples_per_process"] * processes
    return [Work(N, samples, processes, L, 4) for N in networks for L in paper_points.FIGURE10_LATTICES]


def _more(machine: Machine, work: Work) -> list[ModelledTime]:
    """Monte Carlo, and SR with each solver."""
    nodes, costs = machine.nodes(work.processes), machine.costs
    parts = [("monte_carlo", SOLVERS[0]), *(("sr", solver) for solver in SOLVERS)]
    return [
        ModelledTime(value=seconds(phase, work, costs, solver), phase=phase, work=work, solver=solver, nodes=nodes)
        for phase, solver in parts
    ]
