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
from qmcbench.cores import threads
from qmcbench.gates.check import Check
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.builtin import builtin
from qmcbench.jobs.plan import Profile
from qmcbench.jobs.stages import Part, Request, carry_out, finish, omitted
from qmcbench.store import jsonl
from qmcbench.store.bench import Rate
from qmcbench.store.energies import Exact, LeftOut
from qmcbench.store.records import Record, Run

RECORDS = "reproduce"
EXACT = ("L", "J2", "residual", "sector", "states", "gap", "structure_factor_pi_pi", "structure_factor_pi_0")
"""What is kept of an exact diagonalization, beside the energy."""
CHECKS = "checks"
EACH_J2 = ("local_energy/hard-psi", "optimiser/imaginary-time")
"""Gates of the engine that are run at each coupling of the profile."""
ONCE = (
    "hamiltonian/quspin",
    "ansatz/papers-network",
    "derivatives/finite-differences",
    "optimiser/dense-algebra",
    "optimiser/solvers",
    "sampler/stationary-law",
    "sampler/exact-kernel",
)
"""Gates of the engine that are run once."""


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
    with threads(request.profile.runs[0].config.run.threads):
        return carry_out(request, RECORDS, work(request), left_out(request.profile))


def work(request: Request) -> list[Part]:
    """Every part of the job by name, in order; each gives its records."""
    profile = request.profile
    parts: list[Part] = [
        (f"exact 4x4 J2={run.config.model.J2:g}", partial(exact, run.config.model.J2))
        for run in profile.runs
        if run.config.model.L == 4
    ]
    parts += [
        (f"checks {number}", partial(kept, request, number, work))
        for number, work in enumerate(engine_checks(profile.checks_J2), start=1)
    ]
    parts += [(run.name, partial(finish, run, request)) for run in profile.runs]
    return [*parts, ("timings", partial(measure, profile))]


def exact(J2: float) -> list[Exact]:
    """Exact diagonalization of 4x4, done now with QuSpin."""
    ground = reference.diagonalize(4, J2)
    numbers = {name: getattr(ground, name) for name in EXACT}
    source = f"QuSpin {ground.provenance['versions']['quspin']}, this run"
    return [Exact(value=ground.energy, source=source, **numbers)]


def engine_checks(couplings: tuple[float, ...]) -> list[Callable[[], Sequence[Check]]]:
    """Gates of the engine, which need no training."""
    each = [partial(gated, gate, J2) for J2 in couplings for gate in EACH_J2]
    return [*each, *[partial(gated, gate) for gate in ONCE]]


def gated(gate: str, J2: float = 0.5) -> Sequence[Check]:
    """The checks of one gate of the engine, on 4x4."""
    [outcome] = outcomes(builtin(4, J2), Plan(only=[gate]))
    return outcome.checks


def kept(request: Request, number: int, work: Callable[[], Sequence[Check]]) -> Sequence[Check]:
    """The outcome of checks, from the store if this very code has finished them in this folder before."""
    couplings = "_".join(f"{J2:g}" for J2 in request.profile.checks_J2)
    folder = request.out / "runs" / CHECKS / f"{fingerprint()[:16]}-{couplings}"
    if request.restart and number == 1:
        shutil.rmtree(folder, ignore_errors=True)
    name = f"check-{number}"
    before = jsonl.load(folder, name)
    if before is not None:
        return before.of(Check)
    began = time.perf_counter()
    found = work()
    seconds = (time.perf_counter() - began) / len(found)
    outcome = tuple(replace(check, seconds=seconds) for check in found)
    made = provenance.collect(request.command)
    jsonl.save(folder, name, Run(job="reproduce check", provenance=made, records=outcome))
    return outcome


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
    rows = omitted(profile)
    if not torch.cuda.is_available():
        command = "set run.device = 'cuda' in a configuration, then `qmcbench train CONFIG.toml --out RUN`"
        why = "no CUDA device on this machine; the same code runs on one"
        rows.insert(0, LeftOut(what="GPU", not_run=why, command=command))
    return rows
