"""The main job: exact energies, training, evaluation, checks and timings in one report (``qmcbench reproduce``)."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch

from qmcbench import evaluation, provenance, reference
from qmcbench.bench import timing
from qmcbench.config import Wavefunction
from qmcbench.estimates import best_known
from qmcbench.files import make_folder
from qmcbench.gates import checks
from qmcbench.gates.check import Check
from qmcbench.gates.energies import FALSE_ALARM
from qmcbench.gates.levels import sampler
from qmcbench.gates.registry import Setting
from qmcbench.gates.targets.builtin import builtin
from qmcbench.jobs.plan import PlannedRun, Profile
from qmcbench.progress import Whole
from qmcbench.report import book
from qmcbench.store import jsonl
from qmcbench.store.bench import Rate
from qmcbench.store.energies import Curve, Energy, Exact, LeftOut, Stage, Training, finite
from qmcbench.store.records import Record, Run
from qmcbench.training import CHECKPOINT, LOG, load_ansatz, read_log, train
from qmcbench.vmc import Step, build_ansatz

RECORDS = "reproduce"
PHASES = ("sampling", "local_energy", "derivatives", "solve")
EXACT = ("L", "J2", "residual", "sector", "states", "gap", "structure_factor_pi_pi", "structure_factor_pi_0")
"""What is kept of an exact diagonalization, beside the energy."""
CHECKS = "checks"
PAPERS_STAGE = (6, 0.5)
"""Lattice and coupling of the seed paper's first stage of transfer learning."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to reproduce, and where to."""

    profile: Profile
    out: Path
    restart: bool = False
    """Discard finished runs, evaluations and checks that are there."""
    quiet: bool = False
    command: str = "qmcbench.jobs.reproduce.reproduce"
    """For the provenance."""


def reproduce(request: Request) -> Run:
    """Run a profile and write its records and report; finished parts that are there already are kept.

    Returns
    -------
    Run
        All records, as in ``records/reproduce.jsonl``.

    Raises
    ------
    UserError
        If the folder cannot be written to or holds other runs.
    Interrupted
        After a signal; the finished part is saved and a partial report written.
    """
    profile, out = request.profile, request.out
    make_folder(out)
    began = time.perf_counter()
    run = Run(
        job="reproduce",
        provenance=provenance.collect(request.command),
        records=tuple(left_out(profile)),
        profile=profile.name,
        seed=profile.runs[0].config.run.seed,
    )
    try:
        parts = work(request)
        with (
            threads(profile.runs[0].config.run.threads),
            Whole(f"reproduce {profile.name}", len(parts), quiet=request.quiet) as whole,
        ):
            for name, part in parts:
                with whole.part(name):
                    run = replace(run, records=(*run.records, *part()))
    finally:
        run = replace(run, seconds=time.perf_counter() - began)
        jsonl.save(out, RECORDS, run)
        book.report([jsonl.path_of(out, RECORDS)], out)
    return run


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Torch with so many threads, if a number is given, and then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def work(request: Request) -> list[tuple[str, Callable[[], Sequence[Record]]]]:
    """Every part of the job by name, in order; each gives its records."""
    profile = request.profile
    parts: list[tuple[str, Callable[[], Sequence[Record]]]] = [
        (f"exact 4x4 J2={run.config.model.J2:g}", partial(exact, run.config.model.J2))
        for run in profile.runs
        if run.config.model.L == 4
    ]
    parts += [
        (f"check {number}", partial(kept, request, number, check))
        for number, check in enumerate(engine_checks(profile.checks_J2), start=1)
    ]
    parts += [(run.name, partial(finish, run, request)) for run in profile.runs]
    return [*parts, ("timings", partial(measure, profile))]


def exact(J2: float) -> list[Exact]:
    """Exact diagonalization of 4x4, done now with QuSpin."""
    ground = reference.diagonalize(4, J2)
    numbers = {name: getattr(ground, name) for name in EXACT}
    source = f"QuSpin {ground.provenance['versions']['quspin']}, this run"
    return [Exact(value=ground.energy, source=source, **numbers)]


def engine_checks(couplings: tuple[float, ...]) -> list[Callable[[], Check]]:
    """Checks that need no training, on a small random network in float64."""
    psi = build_ansatz(Wavefunction(dtype="float64"), seed=3)
    works: list[Callable[[], Check]] = []
    for J2 in couplings:
        works += [partial(checks.matrix_elements, J2), partial(checks.full_sum, psi, J2)]
    works += [
        partial(checks.derivatives, psi, 6),
        partial(checks.solvers, psi, 0.5),
        partial(checks.solver_precision, psi, 0.5),
    ]
    setting = Setting(seed=5, rate=FALSE_ALARM, effect=sampler.DISTANCE)
    return works + [partial(sampler.stationary, builtin(), alpha, setting) for alpha in (2.0, 1.0)]


def kept(request: Request, number: int, check: Callable[[], Check]) -> list[Check]:
    """The outcome of a check, from the store if this very code has finished it in this folder before."""
    couplings = "_".join(f"{J2:g}" for J2 in request.profile.checks_J2)
    folder = request.out / "runs" / CHECKS / f"{fingerprint()[:16]}-{couplings}"
    if request.restart and number == 1:
        shutil.rmtree(folder, ignore_errors=True)
    name = f"check-{number}"
    before = jsonl.load(folder, name)
    if before is not None:
        return before.of(Check)
    began = time.perf_counter()
    outcome = replace(check(), seconds=time.perf_counter() - began)
    made = provenance.collect(request.command)
    jsonl.save(folder, name, Run(job="reproduce check", provenance=made, records=(outcome,)))
    return [outcome]


@cache
def fingerprint() -> str:
    """SHA-256 of the package's code and of the libraries' versions: a check is of one code."""
    digest = hashlib.sha256(repr(sorted(provenance.collect("").versions.items())).encode())

    def add(folder: Traversable) -> None:
        for entry in sorted(folder.iterdir(), key=lambda each: each.name):
            if entry.is_dir():
                add(entry)
            elif entry.name.endswith(".py"):
                digest.update(entry.name.encode() + entry.read_bytes())

    add(resources.files("qmcbench"))
    add(resources.files("qmcbench.reference"))
    return digest.hexdigest()


def finish(run: PlannedRun, request: Request) -> list[Record]:
    """Train (or continue, or keep) one run and evaluate it with fresh samples."""
    folder, config = request.out / "runs" / run.folder, run.config
    if run.start is not None:
        (start,) = (each.folder for each in request.profile.runs if each.name == run.start)
        path = str(request.out / "runs" / start / CHECKPOINT)
        config = replace(config, wavefunction=replace(config.wavefunction, start=path))
    train(config, folder, restart=request.restart, quiet=request.quiet, command=request.command)
    evaluated = evaluate(run, folder, request)
    full_sum = None
    if run.config.model.L == 4:
        psi, _ = load_ansatz(folder / CHECKPOINT)
        full_sum = checks.full_sum_energy(psi, run.config.model.J2)
    judged = replace(evaluated, full_sum=full_sum, tolerance=run.tolerance)
    return [training(run, folder, evaluated.network.parameters), judged]


def training(run: PlannedRun, folder: Path, parameters: int) -> Training:
    """What the log of a run says."""
    log, config = read_log(folder / LOG), run.config
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
        steps=len(log),
        chains=config.sampling.chains,
        curve=curve(log),
        phases={name: sum(step.seconds[name] for step in log) for name in PHASES},
        paper=papers_stage() if (config.model.L, config.model.J2) == PAPERS_STAGE else None,
    )


def curve(log: Sequence[Step]) -> Curve:
    """The columns of a log that a report shows."""
    columns: dict[str, Any] = {
        each.name: tuple(finite(getattr(step, each.name)) for step in log) for each in fields(Curve)
    }
    return Curve(**columns)


def papers_stage() -> Stage:
    """The seed paper's first transfer stage (its Fig. 11)."""
    stage = reference.paper.figure11["stages"][0]
    return Stage(what="6x6 stage 1 (Fig. 11)", start=stage["start"], end=stage["end"], steps=stage["steps"])


def evaluate(run: PlannedRun, folder: Path, request: Request) -> Energy:
    """Energy of the trained network from fresh chains; kept beside the checkpoint as long as that is the same."""
    wanted = evaluation.Request(
        checkpoint=folder / CHECKPOINT,
        out=folder,
        samples=run.evaluation.chains * run.evaluation.samples,
        sampling=run.evaluation.sampling,
        seed=run.config.run.seed,
        name=run.name,
        restart=request.restart,
        quiet=request.quiet,
        command=request.command,
    )
    try:
        found = evaluation.evaluate(wanted)
    except evaluation.OtherEvaluationError:
        found = evaluation.evaluate(replace(wanted, restart=True))
    return found.of(Energy)[0]


def measure(profile: Profile) -> list[Record]:
    """Forward throughput beside this machine's sgemm, and the phases of an iteration of the profile's last run."""
    last = profile.runs[-1].config
    return [
        Rate(value=timing.gemm_rate(), operation="sgemm", threads=torch.get_num_threads()),
        *(timing.forward(each.network, each.L, each.batch) for each in profile.timings),
        *timing.iteration(last.wavefunction.network, last.model.L, last.model.J2, last.sampling.chains),
    ]


def left_out(profile: Profile) -> list[LeftOut]:
    """What this profile, or this machine, leaves out, and how to run it."""
    rows = [LeftOut(what=each.what, not_run=each.why, command=each.command) for each in profile.left_out]
    if not torch.cuda.is_available():
        command = "set run.device = 'cuda' in a configuration, then `qmcbench train CONFIG.toml --out RUN`"
        why = "no CUDA device on this machine; the same code runs on one"
        rows.insert(0, LeftOut(what="GPU", not_run=why, command=command))
    return rows
