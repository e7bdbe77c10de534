"""The main job: exact energies, training, evaluation, checks and timings in one report (``qmcbench reproduce``)."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from qmcbench import evaluation, provenance, reference
from qmcbench.bench import timing
from qmcbench.config import Config, Sampling, Wavefunction, parse
from qmcbench.errors import UserError
from qmcbench.files import make_folder
from qmcbench.gates import checks
from qmcbench.gates.checks import Check
from qmcbench.progress import Bar
from qmcbench.report.reproduction.pages import write_report
from qmcbench.statistics import Estimate
from qmcbench.training import CHECKPOINT, LOG, load_ansatz, read_log, train
from qmcbench.vmc import build_ansatz

SECTIONS = ("wavefunction", "sampling", "optimizer", "run", "evaluation")
PHASES = ("sampling", "local_energy", "derivatives", "solve")
CURVE = ("step", "energy", "error", "variance", "acceptance", "r_hat", "alpha", "effective_fraction", "restarted")


@dataclass(frozen=True)
class Evaluation:
    """How a trained network is evaluated: fresh chains, this many samples each."""

    chains: int
    samples: int
    alpha: float = 1.0


@dataclass(frozen=True)
class PlannedRun:
    """One training run of a profile."""

    name: str
    config: Config
    evaluation: Evaluation
    tolerance: float
    start: str | None


@dataclass(frozen=True)
class Profile:
    """What a profile asks for."""

    name: str
    runs: tuple[PlannedRun, ...]
    checks_J2: tuple[float, ...]
    timings: tuple[tuple[str, int, int], ...]


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    folder = resources.files("qmcbench") / "profiles"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_profile(name: str, seed: int | None = None) -> Profile:
    """Read a shipped profile; ``seed`` replaces that of every run.

    Raises
    ------
    UserError
        If there is no such profile.
    """
    if name not in profile_names():
        raise UserError(f"--profile {name!r} is not one of {', '.join(profile_names())}.")
    data = tomllib.loads((resources.files("qmcbench") / "profiles" / f"{name}.toml").read_text())
    runs = []
    for entry in data["runs"]:
        sections = {s: {**data["base"].get(s, {}), **entry.get(s, {})} for s in SECTIONS}
        plan = Evaluation(**sections.pop("evaluation"))
        if seed is not None:
            sections["run"]["seed"] = seed
        config = parse({"model": entry["model"], **sections}, source=f"profile {name}, run {entry['name']}")
        runs.append(PlannedRun(entry["name"], config, plan, entry["tolerance"], entry.get("start")))
    return Profile(name, tuple(runs), tuple(data["checks_J2"]), tuple(map(tuple, data["timings"])))


def reproduce(profile: Profile, out: Path, *, command: str, quiet: bool = False) -> dict[str, Any]:
    """Run ``profile`` and write its report to ``out``; finished parts that are there already are kept.

    Returns
    -------
    dict
        The results, as in ``results.json``.

    Raises
    ------
    UserError
        If ``out`` cannot be written to or holds other runs.
    Interrupted
        After a signal; the finished part is saved and a partial report written.
    """
    make_folder(out)
    began = time.perf_counter()
    results: dict[str, Any] = {
        "profile": profile.name,
        "seed": profile.runs[0].config.run.seed,
        "provenance": provenance.collect(command),
        "exact": [],
        "runs": [],
        "checks": [],
        "timings": [],
        "rates": {},
        "paper": [],
        "not_run": not_run(profile),
    }
    try:
        _fill(results, profile, out, command, quiet)
    finally:
        results["seconds"] = time.perf_counter() - began
        write_report(results, out)
    return results


def _fill(results: dict[str, Any], profile: Profile, out: Path, command: str, quiet: bool) -> None:
    results["exact"] = [exact_row(run.config.model.J2) for run in profile.runs if run.config.model.L == 4]
    found_checks: list[dict[str, Any]] = results["checks"]
    engine = engine_checks(profile.checks_J2)
    with Bar("exact and sampling checks", len(engine), quiet=quiet) as bar:
        for number, work in enumerate(engine, start=1):
            check = work()
            found_checks.append(_plain(check))
            bar.update(number, check.name)
    for run in profile.runs:
        row, more = finish_run(run, out, command, quiet)
        results["runs"].append(row)
        found_checks += [_plain(check) for check in more]
        if run.config.model.L == 6 and run.config.model.J2 == 0.5:
            results["paper"] += paper_rows(run.name)
    results["rates"], results["timings"] = measure(profile, quiet)


def _plain(check: Check) -> dict[str, Any]:
    return {**asdict(check), "passed": check.passed}


def exact_row(J2: float) -> dict[str, Any]:
    """Exact diagonalization of 4x4, done now with QuSpin, for the report's table."""
    found = reference.diagonalize(4, J2)
    names = ("L", "J2", "energy", "residual", "sector", "states", "gap")
    row = {name: getattr(found, name) for name in names}
    row["structure_factor_pi_pi"] = found.structure_factor_pi_pi
    row["structure_factor_pi_0"] = found.structure_factor_pi_0
    return {**row, "source": f"QuSpin {found.provenance['versions']['quspin']}, this run"}


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
    return works + [partial(checks.sampled_distribution, psi, alpha, seed=5) for alpha in (2.0, 1.0)]


def finish_run(run: PlannedRun, out: Path, command: str, quiet: bool) -> tuple[dict[str, Any], list[Check]]:
    """Train (or continue, or keep) one run, evaluate it with fresh samples and check it."""
    folder = out / "runs" / slug(run.name)
    config = run.config
    if run.start is not None:
        start = str(out / "runs" / slug(run.start) / CHECKPOINT)
        config = replace(config, wavefunction=replace(config.wavefunction, start=start))
    train(config, folder, quiet=quiet, command=command)
    log = read_log(folder / LOG)
    psi, _ = load_ansatz(folder / CHECKPOINT)
    evaluated = evaluate(run, folder, command, quiet)
    found = Estimate(**{name: evaluated[name] for name in Estimate.__dataclass_fields__})
    L, J2 = config.model.L, config.model.J2
    known = reference.known_energy(L, J2)
    if known is None:
        raise UserError(f"There is no exact energy for L = {L}, J2 = {J2:g} to compare {run.name!r} with.")
    energy, source = known
    more = [checks.variational(run.name, found, energy)]
    more.append(checks.convergence(run.name, found.mean, found.error, energy, run.tolerance))
    full_sum = None
    if L == 4:
        full_sum = checks.full_sum_energy(psi, J2)
        more.append(checks.unbiased_energy(run.name, found, full_sum))
    row = {
        "name": run.name,
        "L": L,
        "J2": J2,
        "network": config.wavefunction.network,
        "parameters": sum(p.numel() for p in psi.parameters()),
        "symmetry": config.wavefunction.symmetry,
        "sign": config.wavefunction.sign,
        "start": run.start,
        "steps": len(log),
        "chains": config.sampling.chains,
        "samples": len(log) * config.sampling.chains,
        "seconds": sum(line["seconds"]["step"] for line in log),
        "curve": {name: [line[name] for line in log] for name in CURVE},
        "phase_seconds": {name: sum(line["seconds"][name] for line in log) for name in PHASES},
        "evaluation": evaluated,
        "full_sum_energy": full_sum,
        "reference": {"energy": energy, "source": source, "error": 0.0},
        "relative_error": (found.mean - energy) / abs(energy),
        "relative_error_error": found.error / abs(energy),
    }
    return row, more


def evaluate(run: PlannedRun, folder: Path, command: str, quiet: bool) -> dict[str, Any]:
    """Energy of the trained network from fresh chains; kept beside the checkpoint as long as that is the same."""
    plan, path = run.evaluation, folder / CHECKPOINT
    settings: dict[str, Any] = {
        "samples": plan.chains * plan.samples,
        "sampling": Sampling(chains=plan.chains, alpha=plan.alpha, warm_up=20),
        "seed": run.config.run.seed,
        "quiet": quiet,
        "command": command,
    }
    try:
        found, _ = evaluation.evaluate(path, folder, **settings)
    except evaluation.OtherEvaluationError:
        found, _ = evaluation.evaluate(path, folder, restart=True, **settings)
    return {**found["estimates"][0], "alpha": plan.alpha, "seconds": found["seconds"], "seed": found["seed"]}


def measure(profile: Profile, quiet: bool) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Forward throughput against this machine's sgemm, and the phases of an iteration of the profile's last run."""
    last, sgemm = profile.runs[-1].config, timing.gemm_rate()
    rows: list[timing.Timing] = []
    with Bar("timings", len(profile.timings) + 1, quiet=quiet) as bar:
        for number, (model, L, batch) in enumerate(profile.timings, start=1):
            rows.append(timing.forward(model, L, batch, sgemm))
            bar.update(number)
        rows += timing.iteration(last.wavefunction.network, last.model.L, last.model.J2, last.sampling.chains)
        bar.update(bar.total)
    return {"sgemm_GFs": sgemm}, [asdict(row) for row in rows]


def paper_rows(run: str) -> list[dict[str, Any]]:
    """The seed paper's first transfer stage (its Fig. 11) beside ``run``."""
    stage = reference.paper.figure11["stages"][0]
    shared = {"what": "6x6 stage 1 (Fig. 11)", "paper_steps": stage["steps"], "run": run}
    return [
        {**shared, "quantity": "start of E/N", "paper": stage["start"]},
        {**shared, "quantity": "E/N", "paper": stage["end"]},
    ]


def not_run(profile: Profile) -> list[dict[str, str]]:
    """What this profile leaves out, and how to run it."""
    rows = []
    if not torch.cuda.is_available():
        rows.append(
            {
                "what": "GPU",
                "why": "no CUDA device on this machine; the same code runs on one",
                "command": "set run.device = 'cuda' in a configuration, then `qmcbench train CONFIG.toml --out RUN`",
            }
        )
    if profile.name == "quick":
        rows.append(
            {
                "what": "6x6 to the paper's stage-1 energy (-0.502)",
                "why": "takes about ten minutes on 2 cores",
                "command": "qmcbench reproduce --profile cpu --out reports/cpu",
            }
        )
    return rows


def slug(name: str) -> str:
    """A run's name as a folder name."""
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
