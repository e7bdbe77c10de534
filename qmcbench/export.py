"""Evaluated energies as others keep them: rows of VarBench, and of the Quantum Many-Body Leaderboard.

Both store total energies of Pauli matrices: 4 N times the energy per site in units of J1 S.S. The leaderboard's rules
(github tzerweck/quantum-many-body-leaderboard: DATA.md, RULES.md, scripts/validate.mjs) are in :func:`problems`; its
``computed_by`` marks the leaderboard's own runs, so rows of others do not have it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qmcbench.errors import UserError
from qmcbench.files import dumps
from qmcbench.gates.energies import doubts
from qmcbench.reference import known_energy, model_names
from qmcbench.statistics import v_score
from qmcbench.store.energies import Energy, Training
from qmcbench.store.records import Run

FORMATS = ("varbench", "leaderboard")
ARCHITECTURE = "arXiv:2108.13830"
FAMILY, OTHER = "CNN / ResNet", "other"
SIGMAS = 3.0
"""Standard errors that a variational energy may lie below the exact one."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Instance:
    """A Hamiltonian, and the rows that are claimed of it."""

    L: int
    J2: float
    rows: tuple[Row, ...]

    @property
    def sites(self) -> int:
        """N."""
        return self.L**2

    @property
    def name(self) -> str:
        """As both name it; without J2 the model is another."""
        return f"Heisenberg/square_{self.sites}_P" if self.J2 == 0 else f"J1J2/square_{self.sites}_P_{self.J2:g}"

    def as_object(self) -> dict[str, Any]:
        """As the leaderboard stores it."""
        params = {} if self.J2 == 0 else {"J2": self.J2}
        head = {"model": self.name.split("/")[0], "lattice": "square", "n_sites": self.sites, "boundary": "P"}
        return {**head, "params": params, "instance_id": self.name, "rows": list(self.rows)}


@dataclass(frozen=True)
class Export:
    """What is written, and which energies are not, each with its reasons."""

    instances: tuple[Instance, ...]
    left_out: tuple[str, ...]

    def text(self, form: str) -> str:
        """The content of the file."""
        if form == "leaderboard":
            return dumps([each.as_object() for each in self.instances], indent=1) + "\n"
        return "\n\n".join(_varbench(each) for each in self.instances) + "\n"


def export(runs: Sequence[Run]) -> Export:
    """All energies that may be called unbiased.

    Raises
    ------
    UserError
        If there is none, or a row breaks a rule of the leaderboard.
    """
    rows: dict[tuple[int, float], list[Row]] = {}
    left_out = []
    for run in runs:
        for energy in run.of(Energy):
            if reasons := doubts(energy):
                left_out.append(f"{run.job}, {energy.name}: {'; '.join(reasons)}")
            else:
                rows.setdefault((energy.L, energy.J2), []).append(row(run, energy))
    if not rows:
        raise UserError(f"No energy can be exported: {'; '.join(left_out) or 'the records hold none'}.")
    made = tuple(Instance(L, J2, tuple(those)) for (L, J2), those in sorted(rows.items()))
    if broken := [text for each in made for text in problems(each)]:
        raise UserError(f"{len(broken)} rows break the leaderboard's rules: {'; '.join(broken[:3])}.")
    return Export(made, tuple(left_out))


def row(run: Run, energy: Energy) -> Row:
    """One energy as the leaderboard stores it: Pauli matrices, totals."""
    assert energy.value is not None
    assert energy.sigma is not None
    sites, made = energy.L**2, run.provenance
    total, day = 4 * sites * energy.value, made.date[:10]
    variance = None if energy.variance is None else (4 * sites) ** 2 * energy.variance
    known = energy.network.name in model_names()
    detail = f"{energy.network.sign} sign, {energy.network.symmetry} symmetry, {energy.network.name} layout"
    method = "CNN" if known else energy.network.name
    said = f"{energy.value!r} +- {energy.sigma!r} per site, S.S units, {energy.samples} samples"
    return {
        "energy": total,
        "sigma": float(f"{4 * sites * energy.sigma:.2g}"),
        "energy_variance": variance,
        "dof": sites,
        "einf": 0,
        "v_score": None if variance is None else v_score(total, variance, sites),
        "method": method,
        "method_detail": detail,
        "method_as_published": f"{method} ({detail})",
        "family": FAMILY if known else OTHER,
        "bound_type": "variational",
        "bound_type_reason": "expectation value of a trained network by Monte Carlo, at fixed parameters",
        "reference": _reference(run, energy),
        "peer_reviewed": False,
        "source": f"qmcbench-{day}",
        "provenance": "primary",
        "verified": {
            "checked_on": day,
            "method": f"{program(run)}, `{made.command}`",
            "reported_as": said,
            "note": _sampled(energy),
            "secondary_of": None,
        },
        "compute": _compute(run, energy, said),
    }


def program(run: Run) -> str:
    """This package with its version, where a record has it: from a checkout that is not installed there is none."""
    return f"qmcbench {run.provenance.versions.get('qmcbench') or '(unversioned)'}"


def _reference(run: Run, energy: Energy) -> str:
    origin = energy.network.origin
    of = f"network of {origin.citation}" if origin and origin.citation else f"network of {ARCHITECTURE}"
    return f"{program(run)}, evaluated {run.provenance.date[:10]}; {of}"


def _sampled(energy: Energy) -> str:
    """How sigma was estimated: the rules ask for it."""
    return (
        f"S^z = 0, periodic boundaries. sigma: blocking over {energy.chains} independent chains with a plateau, so "
        f"autocorrelation is in it (tau = {energy.tau} samples of {energy.gap} exchanges, R-hat {energy.r_hat}). "
        f"Fresh chains, {energy.warm_up} sweeps of warm-up, at fixed parameters, no energy left out; chains follow "
        f"|psi|^{energy.alpha:g} and are reweighted, effective samples {energy.effective_samples:.0f}. Seed "
        f"{energy.seed}."
    )


def lineage(run: Run, name: str) -> list[Training]:
    """A training and those whose parameters it started from, the last first."""
    by_name = {each.name: each for each in run.of(Training)}
    found: list[Training] = []
    while name in by_name and by_name[name] not in found:
        found.append(by_name[name])
        name = found[-1].start or ""
    return found


def seconds(energy: Energy, stages: Sequence[Training]) -> float | None:
    """What the steps of these stages and the evaluation took; None where that is not known of all of them."""
    times = [*(each.seconds for each in stages), energy.seconds]
    return sum(time for time in times if time is not None) if stages and None not in times else None


def _compute(run: Run, energy: Energy, said: str) -> Row:
    """What it cost: measured, or null; nothing is estimated and nothing normalised."""
    stages, machine = lineage(run, energy.name), run.provenance.machine
    gpu, took = energy.device != "cpu", seconds(energy, stages)
    hours = None if took is None else round(took / 3600, 5)
    words = " + ".join(f"{each.name}: {each.steps} steps, {each.samples} samples" for each in stages)
    return {
        "parameters": energy.network.parameters,
        "gpu_hours": hours if gpu else None,
        "device": machine.gpu if gpu else f"{machine.cpu}, {machine.cores} cores",
        "n_devices": 1 if gpu else None,
        "samples": round(stages[0].samples / stages[0].steps) if stages and stages[0].samples else None,
        "wall_clock": None if took is None else f"{took:.1f} s",
        "cpu_core_hours": None if gpu or hours is None else round(hours * machine.cores, 5),
        "bond_dimension": None,
        "iterations": sum(each.steps for each in stages) if stages else None,
        "reported_as": f"{words or 'training not recorded'} | {said} | evaluation {energy.seconds} s",
        "source": f"records of `{run.provenance.command}`, {run.provenance.date}",
        "scope": "row",
        "confidence": "high",
        "note": "Wall-clock: the steps of all stages of training and the evaluation, added up, without program "
        "starts, warm-up before training and trial networks; core-hours are that times the cores."
        if stages
        else "The network was trained by others: only its evaluation is known, which is no cost of the row.",
    }


def problems(instance: Instance) -> list[str]:
    """How the rows of an instance break the leaderboard's rules; empty if they do not."""
    exact = known_energy(instance.L, instance.J2)
    found = []
    for number, each in enumerate(instance.rows):
        found += [f"{instance.name}[{number}]: {text}" for text in _row_problems(instance, each, exact)]
    return found


def _row_problems(instance: Instance, row: Row, exact: tuple[float, str] | None) -> Iterator[str]:
    if row["bound_type"] not in ("variational", "projected", "extrapolated", "exact"):
        yield f"bound_type is {row['bound_type']!r}"
    for name in ("energy", "method", "reference", "bound_type_reason", "method_as_published"):
        if not row.get(name):
            yield f"there is no {name}"
    if not isinstance(row.get("method_detail"), str) or row.get("family") not in (FAMILY, OTHER):
        yield "the method is not named"
    if row.get("sigma") is None:
        yield "a sampled energy without sigma"
    elif not row["sigma"] > 0:
        yield f"sigma is {row['sigma']}"
    if "computed_by" in row:
        yield "computed_by is for the leaderboard's own runs"
    if row["dof"] != instance.sites or row["einf"] != 0:
        yield f"dof {row['dof']} and einf {row['einf']} are not {instance.sites} and 0"
    if row["v_score"] is not None:
        again = None if row["energy_variance"] is None else v_score(row["energy"], row["energy_variance"], row["dof"])
        if again is None or not math.isclose(again, row["v_score"], rel_tol=1e-9):
            yield f"the V-score {row['v_score']} is not {again}"
    if exact is not None and row["bound_type"] == "variational":
        below = 4 * instance.sites * exact[0] - row["energy"]
        if below > SIGMAS * (row["sigma"] or 0.0):
            yield f"{row['energy']} lies {below:.3g} below the exact energy"
    yield from _compute_problems(row["compute"])


def _compute_problems(compute: Mapping[str, Any]) -> Iterator[str]:
    if not compute.get("reported_as"):
        yield "compute has no reported_as"
    for name in ("parameters", "gpu_hours", "n_devices", "samples", "cpu_core_hours", "bond_dimension", "iterations"):
        value = compute.get(name)
        if value is not None and not (isinstance(value, int | float) and value > 0):
            yield f"compute: {name} is {value}"
    if compute.get("gpu_hours") is not None and not compute.get("device"):
        yield "compute: gpu_hours without a device"
    yield from (f"compute: {name} is normalised" for name in compute if re.search("normali[sz]ed|equivalent", name))


def _varbench(instance: Instance) -> str:
    """A file of VarBench: energies with as many digits as their errors allow."""
    lines = [
        f"<!-- {instance.name}.md -->",
        "| Energy | Sigma | Energy Variance | DOF | Einf | Method | Reference |",
        "|--------|-------|-----------------|-----|------|--------|-----------|",
    ]
    for each in instance.rows:
        places = max(0, 1 - math.floor(math.log10(each["sigma"])))
        variance = "" if each["energy_variance"] is None else f"{each['energy_variance']:.6g}"
        cells = [
            f"{each['energy']:.{places}f}", f"{each['sigma']:.{places}f}", variance, str(each["dof"]),
            str(each["einf"]), each["method_as_published"], each["reference"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)
