"""The records of ``qmcbench scale project``, sorted by what they are about and seen to be complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from qmcbench.errors import UserError
from qmcbench.scaling.heldout import COST, EXTRAPOLATION, NULL, SPLITS, WITH_NULL, folds
from qmcbench.scaling.model import NAMES, PHASES, SOLVERS, SUMS
from qmcbench.scaling.project import efficiency_works, printed_points, sample_sizes, sr_points
from qmcbench.store.records import Run
from qmcbench.store.scaling import (
    Crossover,
    Efficiency,
    HeldOutTime,
    MachineModel,
    Modelled,
    ModelledTime,
    SolverGain,
    Work,
)


@dataclass(frozen=True)
class Projection:
    """Everything for one machine."""

    machine: MachineModel
    times: tuple[ModelledTime, ...]
    """Those of Table 3, Fig. 9 and Fig. 10."""
    efficiencies: tuple[Efficiency, ...]
    gains: tuple[SolverGain, ...]
    crossovers: tuple[Crossover, ...]
    tests: tuple[HeldOutTime, ...]
    fitted: tuple[ModelledTime, ...]
    """Our own times that the machine was fitted to."""
    more: tuple[tuple[ModelledTime, ModelledTime, ModelledTime], ...]
    """Iterations on other numbers of processes: Monte Carlo, SR with the covariance, SR in sample space."""

    @classmethod
    def of(cls, run: Run) -> Projection:
        """Sort the records of ``run``.

        Raises
        ------
        UserError
            If anything is missing, unknown or there twice.
        """
        times = run.of(ModelledTime)
        machines = run.of(MachineModel)
        paper = [each for each in times if each.reference and each.reference.kind == "paper"]
        fitted = [each for each in times if each.reference and each.reference.kind != "paper"]
        rest = [each for each in times if not each.reference]
        more = tuple(zip(rest[::3], rest[1::3], rest[2::3], strict=False))
        found = cls(
            machines[0] if len(machines) == 1 else _incomplete(run, "one machine"),
            tuple(paper),
            tuple(run.of(Efficiency)),
            tuple(run.of(SolverGain)),
            tuple(run.of(Crossover)),
            tuple(run.of(HeldOutTime)),
            tuple(fitted),
            more,
        )
        costs = [each.name for each in found.machine.costs]
        if costs != list(NAMES) or not set(found.machine.scatter) <= set(PHASES):
            _incomplete(run, "costs and scatter of the model")
        if not {each.phase for each in fitted} <= {*PHASES, *SUMS}:
            _incomplete(run, "phases of the model")
        if len(rest) % 3 or not all(_iteration(three) for three in more):
            _incomplete(run, "parts of an iteration")
        printed, parts = (
            printed_points(),
            [(split, fold) for split in (*SPLITS, EXTRAPOLATION) for fold in folds(split)],
        )
        _same(run, "times of the paper", (_key(each, each.phase) for each in paper), (
            (each.source, each.work, each.phase) for each in printed
        ))  # fmt: skip
        _same(run, "efficiencies", (each.work for each in found.efficiencies), efficiency_works())
        _same(run, "solves of the paper", (_key(each, "sr") for each in found.gains), (
            (each.source, each.work, "sr") for each in sr_points()
        ))  # fmt: skip
        sizes = ((each.parameters, each.samples_per_process) for each in found.crossovers)
        _same(run, "crossovers", sizes, sample_sizes())
        _same(run, "held-out times", (
            (each.model, each.split, each.fold, *_key(each, each.phase)) for each in found.tests
        ), (
            (model, split, fold.name, point.source, point.work, point.phase)
            for split, fold in parts for model in (COST, NULL) if model == COST or split in WITH_NULL
            for point in fold.tested
        ))  # fmt: skip
        return found


def _key(record: Modelled, phase: str) -> tuple[str, Work, str]:
    return record.source, record.work, phase


def _iteration(parts: Iterable[ModelledTime]) -> bool:
    first, *rest = parts
    names = [("monte_carlo", SOLVERS[0]), *(("sr", solver) for solver in SOLVERS)]
    alike = all(each.work == first.work and each.nodes == first.nodes for each in rest)
    return alike and [(each.phase, each.solver) for each in (first, *rest)] == names and first.work.L is not None


def _same(run: Run, what: str, found: Iterable[object], expected: Iterable[object]) -> None:
    if Counter(found) != Counter(expected):
        _incomplete(run, what)


def _incomplete(run: Run, what: str) -> MachineModel:
    raise UserError(
        f"The records of `{run.job}` ({run.provenance.date}) do not have the {what} that they should; "
        "make them again with `qmcbench scale project`."
    )
