"""Plans of ``qmcbench reproduce``: the shipped profiles, or a TOML file of the same form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qmcbench import reference
from qmcbench.checkpoint import SHIPPED
from qmcbench.config import Config, Sampling, parse
from qmcbench.errors import UserError
from qmcbench.shipped import profile_names, read_shipped
from qmcbench.structure import read_toml, structure

SECTIONS = ("wavefunction", "sampling", "optimizer", "scalapack", "run", "evaluation")
"""What a run may take from ``[base]``."""
OWN = ("name", "tolerance", "start", "share", "evaluation")
"""What a run has beside its configuration."""
UNUSED = {"reproduce": ("hours", "share"), "transfer": ("checks_J2", "timings")}
"""Keys that the command does not use, and the other one does."""
LARGEST_SUM = 6
"""Lattice of a full sum."""
CHECKPOINTS = ".safetensors"


@dataclass(frozen=True)
class Evaluation:
    """How a trained network is evaluated: fresh chains, this many samples each."""

    chains: int
    samples: int
    """With ``sigma`` at most so many."""
    sigma: float | None = None
    """Standard error of the energy per site at which sampling ends (:mod:`qmcbench.stopping`)."""
    alpha: float = 1.0
    warm_up: int = 20
    exact: bool = False
    """By a full sum too (4x4 and 6x6), where the wave function has the symmetry that it takes."""

    @property
    def sampling(self) -> Sampling:
        """As the evaluation takes it."""
        return Sampling(chains=self.chains, alpha=self.alpha, warm_up=self.warm_up)


@dataclass(frozen=True)
class PlannedRun:
    """One training run of a profile."""

    name: str
    config: Config
    evaluation: Evaluation
    tolerance: float | None = None
    """Relative error of the energy that it is to reach, where the exact one is known."""
    start: str | None = None
    """The earlier run whose parameters it starts from, or the path of a checkpoint."""
    share: float = 1.0
    """Of the time that the runs before have left, where that is limited, in proportion to those that are to come; its
    evaluation is in it."""

    @property
    def folder(self) -> str:
        """Its name as a folder's name."""
        return "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name)


@dataclass(frozen=True)
class Forward:
    """A forward pass to time."""

    network: str
    L: int
    batch: int


@dataclass(frozen=True)
class NotCovered:
    """What a profile leaves out."""

    what: str
    why: str
    command: str = ""
    """That runs it, or the nearest to it."""


@dataclass(frozen=True)
class Profile:
    """What a profile asks for."""

    name: str
    runs: tuple[PlannedRun, ...]
    checks_J2: tuple[float, ...] = ()
    timings: tuple[Forward, ...] = ()
    hours: float | None = None
    """That it may take in all, evaluations included, unless told otherwise (of ``qmcbench transfer``)."""
    left_out: tuple[NotCovered, ...] = ()


def load_profile(name: str, seed: int | None = None, threads: int | None = None, kind: str = "reproduce") -> Profile:
    """A shipped profile, or the file ``name`` if that ends with ``.toml``.

    Parameters
    ----------
    name
        Of the profile, or path of the file.
    seed, threads
        Replace those of every run.
    kind
        The command that it is of: ``reproduce`` or ``transfer``.

    Raises
    ------
    UserError
        If there is no such profile, or a key or value of it is wrong, naming it.
    """
    if name.endswith(".toml"):
        return plan(read_toml(Path(name), "profile"), Path(name).stem, seed, threads, kind)
    names = profile_names(kind)
    if name not in names:
        known = sorted([*names, *(profile_names("campaign") if kind == "reproduce" else [])])
        raise UserError(f"The profile {name!r} is not one of {', '.join(known)}, nor a file that ends with .toml.")
    return plan(read_shipped(name, kind), name, seed, threads, kind)


def plan(
    data: dict[str, Any], name: str, seed: int | None = None, threads: int | None = None, kind: str = "reproduce"
) -> Profile:
    """The profile that nested dictionaries describe; raises as :func:`load_profile`."""
    source = f"profile {name}"
    base, entries = data.pop("base", {}), data.pop("runs", None)
    if not isinstance(base, dict) or not isinstance(entries, list) or not entries:
        raise UserError(f"{source}: it needs a table [base] and at least one [[runs]].")
    for key in UNUSED[kind]:
        if any(isinstance(table, dict) and key in table for table in (data, *entries)):
            raise UserError(f"{source}: `qmcbench {kind}` does not use the key {key!r}; leave it out.")
    for section in base:
        if section not in SECTIONS:
            raise UserError(f"{source}: unknown key base.{section!r}; known here: {', '.join(SECTIONS)}.")
    whole = structure({**data, "name": name, "runs": []}, Profile, source)
    forced = {key: value for key, value in (("seed", seed), ("threads", threads)) if value is not None}
    runs = tuple(
        _run(_merged(base, entry, {"run": forced}), f"{source}, runs[{i}]") for i, entry in enumerate(entries)
    )
    whole = replace(whole, runs=runs)
    _check(whole, source)
    return whole


def _merged(*layers: Any) -> Any:
    """Tables laid over each other, the last on top, section by section; the validator sees what is no table."""
    bottom, *rest = layers
    for layer in rest:
        if not isinstance(bottom, dict) or not isinstance(layer, dict):
            return layer
        both = {key: _merged_section(bottom[key], layer[key]) for key in bottom.keys() & layer.keys()}
        bottom = {**bottom, **layer, **both}
    return bottom


def _merged_section(below: Any, above: Any) -> Any:
    return {**below, **above} if isinstance(below, dict) and isinstance(above, dict) else above


def _run(entry: Any, source: str) -> PlannedRun:
    if not isinstance(entry, dict):
        raise UserError(f"{source} is not a table of keys.")
    own = {key: entry.pop(key) for key in OWN if key in entry}
    source = f"{source} ({own['name']})" if isinstance(own.get("name"), str) else source
    config = parse(entry, source)
    plain = structure({**own, "config": config.to_dict()}, PlannedRun, source)
    return replace(plain, config=config)


def _check(profile: Profile, source: str) -> None:
    """What no type says: runs that build on each other, and sizes that make sense."""
    folders: set[str] = set()
    names: set[str] = set()
    for run in profile.runs:
        where, model = f"{source}, run {run.name!r}", run.config.model
        if run.folder in folders:
            raise UserError(f"{where}: another run has this name; give each one of its own.")
        if run.start is not None and not (
            run.start in names or run.start.startswith(SHIPPED) or run.start.endswith(CHECKPOINTS)
        ):
            raise UserError(
                f"{where}: start = {run.start!r} is no earlier run, nor a file *{CHECKPOINTS}, nor {SHIPPED}NAME."
            )
        folders.add(run.folder)
        names.add(run.name)
        if not run.share > 0:
            raise UserError(f"{where}: share = {run.share} is not above 0.")
        if run.tolerance is not None and not run.tolerance > 0:
            raise UserError(f"{where}: tolerance = {run.tolerance} is not above 0.")
        if run.evaluation.samples < 1:
            raise UserError(f"{where}: evaluation.samples = {run.evaluation.samples} is less than 1.")
        if run.evaluation.sigma is not None and not 0 < run.evaluation.sigma < math.inf:
            raise UserError(f"{where}: evaluation.sigma = {run.evaluation.sigma} is not a standard error above 0.")
        if run.evaluation.exact and model.L > LARGEST_SUM:
            raise UserError(f"{where}: evaluation.exact is for 4x4 and 6x6, not for L = {model.L}; leave it out.")
        parse({"model": vars(model), "sampling": vars(run.evaluation.sampling)}, source=f"{where}, evaluation")
        if run.tolerance is not None and reference.known_energy(model.L, model.J2) is None:
            raise UserError(f"{where}: no exact energy is known for L = {model.L}, J2 = {model.J2:g}.")
    for J2 in profile.checks_J2:
        parse({"model": {"L": 4, "J2": J2}}, source=f"{source}, checks_J2")
    for each in profile.timings:
        parse(
            {"model": {"L": each.L, "J2": 0.5}, "wavefunction": {"network": each.network}},
            source=f"{source}, timings",
        )
        if not 1 <= each.batch <= 10**6:
            raise UserError(f"{source}: timings.batch = {each.batch} is outside [1, 1e+06]; choose a value inside.")
