"""What jobs are made of: parts that are carried out one by one, and a stage, a network trained and evaluated."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from qmcbench import checkpoint, estimates, evaluation, provenance, reference, stopping, training
from qmcbench.config import Config
from qmcbench.exact import exact_energy_of
from qmcbench.files import make_folder
from qmcbench.gates import checks
from qmcbench.jobs.plan import PlannedRun, Profile
from qmcbench.log import wall
from qmcbench.progress import Whole
from qmcbench.ranks.comm import Communicator, Serial, on_root
from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.report import book
from qmcbench.sector import NoSector
from qmcbench.store import jsonl
from qmcbench.store.energies import Curve, Energy, FullSum, LeftOut, Network, Stage, Training, best_known, finite
from qmcbench.store.records import Record, Run
from qmcbench.training import CHECKPOINT, LOG, carry_on, load_ansatz, read_log, torch_threads
from qmcbench.vmc import Step

PHASES = ("sampling", "local_energy", "derivatives", "solve")
PAPERS_J2 = 0.5
SUMMED = "full-sum"
"""The name of a full sum's record in the store of a run's folder."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run, and where to."""

    profile: Profile
    out: Path
    restart: bool = False
    """Discard finished runs, evaluations and checks that are there."""
    quiet: bool = False
    command: str = "qmcbench.jobs"
    """For the provenance."""
    comm: Communicator | None = None
    """The ranks that share the work, all of which make the same call; one process if absent."""


Part = tuple[str, Callable[[], Sequence[Record]]]
"""A part of a job by name, and what gives its records."""


def carry_out(request: Request, job: str, parts: Sequence[Part], records: Sequence[Record] = ()) -> Run:
    """Do every part, and write all records, ``records`` first, and their report, whatever happens meanwhile.

    Raises
    ------
    UserError
        If the folder cannot be written to.
    """
    profile, out, comm = request.profile, request.out, request.comm or Serial()
    on_root(comm, lambda: make_folder(out))
    began = time.perf_counter()
    run = Run(
        job=job,
        provenance=provenance.collect(request.command),
        records=tuple(records),
        profile=profile.name,
        seed=profile.runs[0].config.run.seed,
    )
    try:
        with Whole(f"{job} {profile.name}", len(parts), quiet=request.quiet or comm.rank != 0) as whole:
            for name, part in parts:
                with whole.part(name):
                    run = replace(run, records=(*run.records, *part()))
    finally:
        run = replace(run, seconds=time.perf_counter() - began)
        if comm.rank == 0:
            jsonl.save(out, job, run)
            (book.book if job == "reproduce" else book.report)([jsonl.path_of(out, job)], out)
    return run


def omitted(profile: Profile) -> list[LeftOut]:
    """What the profile itself says that it leaves out."""
    return [LeftOut(what=each.what, not_run=each.why, command=each.command) for each in profile.left_out]


def finish(run: PlannedRun, request: Request) -> list[Record]:
    """Train (or continue, or keep) one run and evaluate it with fresh samples, and by a full sum where it says so.

    Its start is an earlier run of the profile, or the checkpoint of another one.
    """
    folder, config, comm = request.out / "runs" / run.folder, run.config, request.comm or Serial()
    if run.start is not None:
        earlier = [each.folder for each in request.profile.runs if each.name == run.start]
        path = request.out / "runs" / earlier[0] / CHECKPOINT if earlier else Path(run.start)
        config = replace(config, wavefunction=replace(config.wavefunction, start=str(path)))
    carry_on(
        training.Request(
            config=config,
            out=folder,
            restart=request.restart,
            quiet=request.quiet,
            command=request.command,
            comm=request.comm,
            ahead=partial(foreseen, run),
        )
    )
    with torch_threads(config.run, comm):
        evaluated = evaluate(run, folder, request)
        sums = on_root(comm, lambda: full_sums(run, folder, evaluated.network, request))
        full_sum = next((each.value for each in sums if isinstance(each, FullSum)), None)
        if full_sum is None and config.model.L == 4:
            psi, _ = load_ansatz(folder / CHECKPOINT)
            full_sum = checks.full_sum_energy(psi, config.model.J2)
    judged = replace(evaluated, full_sum=full_sum, tolerance=run.tolerance)
    return [trained(run, folder, evaluated.network.parameters), judged, *sums]


def foreseen(run: PlannedRun, steps: Sequence[Step]) -> float:
    """Seconds that the evaluation of a run will take if a sweep and a local energy take as long as in these steps.

    With a target error, twice as many samples are foreseen as their local energies would need if these were
    independent. A full sum is not foreseen.
    """
    asked, sampling, sites = run.evaluation, run.config.sampling, run.config.model.L**2
    samples, variance = asked.samples, statistics.median(step.variance for step in steps) / sites
    if asked.sigma is not None and math.isfinite(variance):
        needed = 2 * variance / (asked.sigma**2 * asked.chains)
        samples = min(samples, max(stopping.LEAST, math.ceil(needed)))
    sweep, local_energy = (statistics.median(step.seconds[name] for step in steps) for name in PHASES[:2])
    sweep *= sites / (sampling.gap or sites)
    return asked.chains / sampling.chains * ((asked.warm_up + samples) * sweep + samples * local_energy)


def taken(folder: Path) -> float:
    """Seconds that the run in a folder has taken so far, with its evaluation and its full sum; 0 if there is none."""
    steps = wall(read_log(folder / LOG)) if (folder / LOG).exists() else 0.0
    stored = [jsonl.load(folder, name) for name in (evaluation.RECORDS, SUMMED)]
    return steps + sum(each.seconds or 0.0 for each in stored if each is not None)


def full_sums(run: PlannedRun, folder: Path, network: Network, request: Request) -> Sequence[Record]:
    """The full sum of a run's network, if the plan asks for it: from the store, made now, or why there is none."""
    if not run.evaluation.exact:
        return ()
    before = jsonl.load(folder, SUMMED)
    if before is not None and [each.network for each in before.of(FullSum)] == [network]:
        return before.records
    try:
        found = exact_energy_of(folder / CHECKPOINT, quiet=request.quiet)
    except (NoSector, ReferenceLayerError) as error:
        return (LeftOut(what=f"the full sum of {run.name}", not_run=str(error), command=""),)
    record = estimates.full_sum(found, network)
    made = provenance.collect(request.command)
    jsonl.save(folder, SUMMED, Run(job="evaluate exact", provenance=made, records=(record,), seconds=record.seconds))
    return (record,)


def trained(run: PlannedRun, folder: Path, parameters: int) -> Training:
    """What the log of a run says."""
    log, config = read_log(folder / LOG), run.config
    state = checkpoint.read(folder / CHECKPOINT).state
    start = None if state is None else state.start
    return Training(
        value=finite(log[-1].energy) if log else None,
        sigma=finite(log[-1].error) if log else None,
        samples=len(log) * config.sampling.chains,
        seed=config.run.seed,
        threads=config.run.threads,
        seconds=sum(step.seconds["step"] for step in log),
        reference=best_known(config.model.L, config.model.J2),
        not_run=None if log else "no step was made",
        name=run.name,
        network=config.wavefunction.network,
        parameters=parameters,
        symmetry=config.wavefunction.symmetry,
        sign=config.wavefunction.sign,
        L=config.model.L,
        J2=config.model.J2,
        start=run.start,
        start_sha256=None if start is None else start.sha256,
        start_L=None if start is None else start.L,
        steps=len(log),
        chains=config.sampling.chains,
        curve=curve(log),
        phases={name: sum(step.seconds[name] for step in log) for name in PHASES},
        paper=papers_stage(config),
    )


def curve(log: Sequence[Step]) -> Curve:
    """The columns of a log that a report shows."""
    columns: dict[str, Any] = {
        each.name: tuple(finite(getattr(step, each.name)) for step in log) for each in fields(Curve)
    }
    return Curve(**columns)


def papers_stage(config: Config) -> Stage | None:
    """The stage of the seed paper's transfer learning (its Fig. 11) that a run is like, None if there is none."""
    if config.model.J2 != PAPERS_J2:
        return None
    symmetry = "none" if config.wavefunction.symmetry == "none" else "C4"
    stages = list(enumerate(reference.paper.figure11["stages"], start=1))
    like = [each for each in stages if each[1]["L"] == config.model.L]
    if not like:
        return None
    # The paper sums over symmetries in its last stage alone; what is summed here is compared with what there is.
    number, stage = next((each for each in like if each[1]["symmetry"] == symmetry), like[-1])
    what = f"{config.model.L}x{config.model.L} stage {number} (Fig. 11)"
    return Stage(what=what, start=stage["start"], end=stage["end"], steps=stage.get("steps"))


def evaluate(run: PlannedRun, folder: Path, request: Request) -> Energy:
    """Energy of the trained network from fresh chains; kept beside the checkpoint as long as that is the same."""
    wanted = evaluation.Request(
        checkpoint=folder / CHECKPOINT,
        out=folder,
        samples=run.evaluation.chains * run.evaluation.samples,
        sigma=run.evaluation.sigma,
        sampling=run.evaluation.sampling,
        seed=run.config.run.seed,
        device=run.config.run.device,
        name=run.name,
        restart=request.restart,
        quiet=request.quiet,
        command=request.command,
    )
    try:
        found = evaluation.evaluate(wanted, request.comm)
    except evaluation.OtherEvaluationError:
        found = evaluation.evaluate(replace(wanted, restart=True), request.comm)
    return found.of(Energy)[0]
