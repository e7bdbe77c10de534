"""Transfer learning as data: stages that start from each other's parameters (``qmcbench transfer``; Sec. 3.3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from qmcbench.errors import UserError
from qmcbench.jobs.stages import Request, carry_out, finish, omitted
from qmcbench.log import LOG, read_log
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
        That training may take in all, shared out among the stages as the plan says; the plan's own if absent. A
        stage whose time is over keeps the parameters it has reached, is evaluated, and the next one starts from them;
        what a stage does not use is shared out among those after it. Warm-up, trials of fresh networks and
        evaluations are not counted.

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
    """What a stage may take of the hours that the logs of those before it leave."""
    stages = request.profile.runs
    logs = [request.out / "runs" / stage.folder / LOG for stage in stages[:number]]
    spent = sum(step.seconds["step"] for log in logs for step in read_log(log)) / 3600
    part = stages[number].share / sum(stage.share for stage in stages[number:])
    return max(LEAST, (limit - spent) * part)
