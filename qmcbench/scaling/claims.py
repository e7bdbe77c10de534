"""What a scaling report claims: each claim with its value and bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qmcbench.gates.check import Check
from qmcbench.reference import paper
from qmcbench.scaling.heldout import EXTRAPOLATION, SPLITS, WITH_NULL, Errors, errors
from qmcbench.scaling.measurements import R, efficiency, measured, speedup
from qmcbench.scaling.projection import Projection
from qmcbench.store.scaling import StrongRun, WeakRun

ORDER = 16249
"""Parameters of the smaller network in the paper's Fig. 9: the fractions of dgemm are required there."""
HELD_OUT = 0.10
"""Largest median relative error of held-out times."""
PARTS = {"factorisation": "pdpotrf", "product": "pdgemm", "data": "data operations", "sr": "all of SR"}
"""Of Fig. 10, each a claim of its own."""


def checks(strong: Sequence[StrongRun], weak: Sequence[WeakRun], projection: Projection | None) -> list[Check]:
    """Every claim, in the order of the report; without a value where nothing was measured that decides it."""
    found = errors(projection.tests) if projection else []
    return [_residual(measured(strong)), *_fractions(strong), _speedup(strong), _efficiency(weak), *_held_out(found)]


def _check(check: str, name: str, value: float | None, relation: str, bound: float, statement: str) -> Check:
    absent = "nothing was measured that decides it" if value is None else None
    return Check(
        name=name,
        check=check,
        value=value,
        relation=relation,
        bound=bound,
        statement=statement,
        not_run=absent,
    )


def _residual(runs: Sequence[StrongRun]) -> Check:
    largest = max((run.residual for run in runs if run.residual is not None), default=None)
    statement = f"The largest relative residual of {len(runs)} measurements on synthetic samples."
    return _check("exact", "residual of the solves", largest, "at most", 1e-9, statement)


def _square(runs: Sequence[StrongRun]) -> list[StrongRun]:
    return [run for run in runs if (run.parameters, run.space) == (ORDER, "parameters")]


def _fractions(runs: Sequence[StrongRun]) -> list[Check]:
    found = []
    square = _square(runs)
    as_in_paper = [run for run in square if run.layout.product == "pdgemm"]
    for routine, phase, those in (("pdpotrf", "factorisation", square), ("pdgemm", "product", as_in_paper)):
        for ranks in (1, 2):
            fair = _fair(those, ranks)
            fractions = [run.fraction_of_dgemm(phase) or 0.0 for run in fair]
            name = f"{routine}, {ORDER:,} parameters, {ranks} rank{'s' * (ranks > 1)}"
            statement = f"Fraction of the machine's dgemm that each rank reaches, in the best layout of {len(fair)}."
            found.append(_check("timing", name, max(fractions, default=None), "at least", 0.7, statement))
    return found


def _speedup(runs: Sequence[StrongRun]) -> Check:
    those = [run for run in _fair(_square(runs), 2) if run.layout.product == "pdgemm"]
    speedups = [value for run in those if (value := speedup(run, runs))]
    statement = f"Of all phases together with pdgemm over one rank, in the best layout of {len(speedups)}."
    name = f"speedup on 2 ranks, {ORDER:,} parameters"
    return _check("timing", name, max(speedups, default=None), "at least", 1.7, statement)


def _efficiency(runs: Sequence[WeakRun]) -> Check:
    smallest = min(int(case.split("x")[0]) for case in paper.table3["cases"])
    found = [value for run in _fair(runs, 2) if smallest <= run.L and (value := efficiency(run, runs))]
    statement = f"Monte Carlo time on one rank over that on two, the worst of {len(found)} runs of 10x10 and more."
    name = "Monte Carlo efficiency on 2 ranks"
    return _check("timing", name, min(found, default=None), "at least", 0.9, statement)


def _fair(runs: Iterable[R], ranks: int) -> list[R]:
    """Runs on so many ranks with a core for each."""
    return [run for run in measured(runs) if run.ranks == ranks and not run.oversubscribed]


def _held_out(rows: Sequence[Errors]) -> list[Check]:
    """Both halves of the paper's times, each other split as a whole, the parts of Fig. 10; and the null model."""
    if not rows:
        names = [f"model, {split}" for split in SPLITS]
        names += [f"model, Fig. 10, {part}" for part in PARTS.values()]
        names += [f"model over null model, {split}" for split in WITH_NULL]
        return [_check("held out", name, None, "at most", HELD_OUT, "Against times not fitted to.") for name in names]
    # The first of each is all that the paper prints, where the split has it.
    first = {(row.split, row.fold): row for row in reversed(rows)}
    ordered = [row for row in rows if first[row.split, row.fold] is row]
    found = [_model(f"model, {_named(row)}", row) for row in ordered if row.split != EXTRAPOLATION]
    parts = {row.times: row for row in rows if row.split == EXTRAPOLATION}
    found += [_model(f"model, Fig. 10, {name}", parts[phase]) for phase, name in PARTS.items()]
    return found + [_over_null(row) for row in ordered if row.null]


def _named(row: Errors) -> str:
    part = f" ({row.fold})" if row.fold else ""
    return "Fig. 10" if row.split == EXTRAPOLATION else f"{row.split}{part}"


def _model(name: str, row: Errors) -> Check:
    statement = f"Median relative error of {len(row.predictions)} times of the paper that were not fitted to."
    return _check("held out", name, row.median, "at most", HELD_OUT, statement)


def _over_null(row: Errors) -> Check:
    ratio = row.median / row.null_median if row.null_median else None
    statement = (
        f"Median relative error of the model over that of the null model, on the same {len(row.predictions)} times "
        "that the paper prints."
    )
    return _check("held out", f"model over null model, {_named(row)}", ratio, "below", 1.0, statement)
