"""The main job: exact energies, training, evaluation, checks and timings in one report (``qmcbench reproduce``)."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib import resources
from importlib.resources.abc import Traversable

import torch

from qmcbench import provenance, reference
from qmcbench.bench import timing
from qmcbench.bench.operations import threads
from qmcbench.config import Wavefunction
from qmcbench.files import make_folder
from qmcbench.gates import checks
from qmcbench.gates.check import Check
from qmcbench.gates.energies import FALSE_ALARM
from qmcbench.gates.levels import sampler
from qmcbench.gates.registry import Setting
from qmcbench.gates.targets.builtin import builtin
from qmcbench.jobs.plan import Profile
from qmcbench.jobs.stages import Request, finish
from qmcbench.progress import Whole
from qmcbench.report import book
from qmcbench.store import jsonl
from qmcbench.store.bench import Rate
from qmcbench.store.energies import Exact, LeftOut
from qmcbench.store.records import Record, Run
from qmcbench.vmc import build_ansatz

RECORDS = "reproduce"
EXACT = ("L", "J2", "residual", "sector", "states", "gap", "structure_factor_pi_pi", "structure_factor_pi_0")
"""What is kept of an exact diagonalization, beside the energy."""
CHECKS = "checks"


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
