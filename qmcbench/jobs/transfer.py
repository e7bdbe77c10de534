"""Transfer learning as data: stages that start from each other's parameters (``qmcbench transfer``; Sec. 3.3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qmcbench.errors import UserError
from qmcbench.jobs.stages import Request, carry_out, finish, omitted
from qmcbench.store.records import Run

RECORDS = "transfer"


def transfer(request: Request, hours: float | None = None) -> Run:
    """Run every stage of a plan, and write its records and report; finished parts that are there already are kept.

    Parameters
    ----------
    request
        The plan and where to; all ranks make the call, rank 0 writes.
    hours
        That training may take in all, shared out among the stages as the plan says; the plan's own if absent. A
        stage whose time is over keeps the parameters it has reached, is evaluated, and the next one starts from them.

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
    total = sum(stage.share for stage in plan.runs)
    parts = []
    for stage in plan.runs:
        own = None if limit is None else limit * stage.share / total
        config = replace(stage.config, run=replace(stage.config.run, hours=own))
        parts.append((stage.name, partial(finish, replace(stage, config=config), request)))
    return carry_out(request, RECORDS, parts, omitted(plan))
