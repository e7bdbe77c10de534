"""Transfer learning as data: stages that start from each other's parameters (``qmcbench transfer``; Sec. 3.3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qmcbench.errors import UserError
from qmcbench.jobs.stages import Request, carry_out, finish, omitted, taken
from qmcbench.ranks.comm import Serial, on_root
from qmcbench.store.records import Record, Run

RECORDS = "transfer"
# Hours of a stage for which nothing is left: it makes one step.
LEAST = 1e-9


def transfer(request: Request, hours: float | None = None) -> Run:
    """Run every stage of a plan, and write its records and report; finished parts that are there already are kept.

    Parameters
    ----------
    request
        The plan and where to; all ranks make the call, rank 0 writes.
    hours
        That it may take in all, shared out among the stages as the plan says; the plan's own if absent. A stage
        trains until what is left of its share is what its evaluation is foreseen to take, but makes one step at
        least; it is evaluated, and the next one starts from its parameters. What a stage does not use, or uses too
        much, is shared among those after it. Full sums count but are not foreseen, and nor is the report.

    Returns
    -------
    Run
        Training and energy of each stage.

    Raises
    ------
    UserError
        If ``hours`` is not positive, or a stage's folder holds another run.
    Interrupted
        After a signal; the same call goes on from there.
    """
    plan = request.profile
    limit = plan.hours if hours is None else hours
    if limit is not None and not limit > 0:
        raise UserError(f"hours = {limit:g} is not above 0.")
    parts = [(stage.name, partial(_finish, number, request, limit)) for number, stage in enumerate(plan.runs)]
    return carry_out(request, RECORDS, parts, omitted(plan))


def _finish(number: int, request: Request, limit: float | None) -> list[Record]:
    """One stage, in its share of the time."""
    stage = request.profile.runs[number]
    own = None if limit is None else on_root(request.comm or Serial(), lambda: _hours(number, request, limit))
    config = replace(stage.config, run=replace(stage.config.run, hours=own))
    return finish(replace(stage, config=config), request)


def _hours(number: int, request: Request, limit: float) -> float:
    """What a stage may take of the hours that those before it leave."""
    stages = request.profile.runs
    spent = sum(taken(request.out / "runs" / stage.folder) for stage in stages[:number]) / 3600
    part = stages[number].share / sum(stage.share for stage in stages[number:])
    return max(LEAST, (limit - spent) * part)
