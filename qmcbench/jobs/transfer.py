"""Transfer learning as data: stages that start from each other's parameters (``qmcbench transfer``; Sec. 3.3)."""

from __future__ import annotations

import time
from dataclasses import replace

from qmcbench import provenance
from qmcbench.errors import UserError
from qmcbench.files import make_folder
from qmcbench.jobs.stages import Request, finish
from qmcbench.progress import Whole
from qmcbench.ranks.comm import Serial, on_root
from qmcbench.report import book
from qmcbench.store import jsonl
from qmcbench.store.energies import LeftOut
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
    plan, comm = request.profile, request.comm or Serial()
    limit = plan.hours if hours is None else hours
    if limit is not None and not limit > 0:
        raise UserError(f"hours = {limit:g} is not above 0.")
    on_root(comm, lambda: make_folder(request.out))
    began = time.perf_counter()
    left = tuple(LeftOut(what=each.what, not_run=each.why, command=each.command) for each in plan.left_out)
    made = provenance.collect(request.command)
    run = Run(job="transfer", provenance=made, records=left, profile=plan.name, seed=plan.runs[0].config.run.seed)
    total = sum(stage.share for stage in plan.runs)
    try:
        with Whole(f"transfer {plan.name}", len(plan.runs), quiet=request.quiet or comm.rank != 0) as whole:
            for stage in plan.runs:
                with whole.part(stage.name):
                    own = None if limit is None else limit * stage.share / total
                    config = replace(stage.config, run=replace(stage.config.run, hours=own))
                    run = replace(run, records=(*run.records, *finish(replace(stage, config=config), request)))
    finally:
        run = replace(run, seconds=time.perf_counter() - began)
        if comm.rank == 0:
            jsonl.save(request.out, RECORDS, run)
            book.report([jsonl.path_of(request.out, RECORDS)], request.out)
    return run
