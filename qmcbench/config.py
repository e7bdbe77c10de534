"""A training run as frozen dataclasses, read from TOML; unknown keys are refused."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qmcbench.errors import UserError
from qmcbench.group import evaluations
from qmcbench.lattice import check_size
from qmcbench.recipe import LATEST, RECIPES, filled
from qmcbench.reference import model_names
from qmcbench.structure import CONVERTER, number, read_toml, structure, unstructure

SCALAPACK = {"scalapack": "parameters", "scalapack_samples": "samples"}
"""Distributed solvers, and the space of the matrix that each factorises."""
METRICS = ("identity", "spectrum", "diagonal", "march")

# As in exact diagonalization (J1 = 1 is lost beside a larger J2); squares of energies at the bound are still numbers.
LARGEST_J2, LARGEST_BOUND = 1e3, 1e100

Knots = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Schedule:
    """A positive number that may change in a run: geometric interpolation between knots, constant outside."""

    knots: Knots
    percent: bool = False
    """Whether the knots stand at percents of the run (of its steps or of its time, whichever is further), and not at
    steps."""

    def __call__(self, step: int, done: float | None = None) -> float:
        """Value at ``step``, before which the share ``done`` of the run was made; percents need it."""
        assert done is not None or not self.percent
        now = 100 * done if self.percent and done is not None else step
        before, after = None, None
        for at, value in self.knots:
            if at <= now:
                before = (at, value)
            elif after is None:
                after = (at, value)
        if before is None or after is None:
            present = before or after
            assert present is not None
            return present[1]
        part = (now - before[0]) / (after[0] - before[0])
        return math.exp((1 - part) * math.log(before[1]) + part * math.log(after[1]))


@dataclass(frozen=True)
class Model:
    """The J1-J2 model: linear size and J2 / J1."""

    L: int
    J2: float


@dataclass(frozen=True)
class Wavefunction:
    """The paper's network, its sign prior and symmetry, and where its parameters start."""

    network: str = "small"
    sign: str = "marshall"
    symmetry: str = "C4"
    """none, C4, C4v, full, or a list of generators, as in ["rotation", "-reflection"], a minus sign for the character
    -1 (:mod:`qmcbench.group`); kept as one string."""
    dtype: str = "float32"
    start: str | None = None
    """A checkpoint whose parameters are the start (transfer learning); its lattice and J2 may differ."""


@dataclass(frozen=True)
class Sampling:
    """Chains and the weight |psi|^alpha they follow."""

    chains: int = 1024
    gap: int | None = None
    """Proposals between samples; L * L if absent."""
    warm_up: int = 10
    """Sweeps of L * L proposals before the first sample."""
    warm_up_lattices: int | None = None
    """If given, rank 0 alone warms up so many chains, and all others start from their lattices; 1 is the paper's."""
    alpha: float = 1.0
    effective_fraction: float | None = None
    """If given, alpha is steered, step by step, to this fraction of effective samples."""
    bound: float = 1e4
    """A chain with |E_loc| / N above this (or not finite) is abnormal and restarted; units of J1."""


@dataclass(frozen=True)
class Optimizer:
    """Stochastic reconfiguration."""

    steps: int = 200
    """At most so many: ``run.hours`` may end the run before."""
    solver: str = "sample_space"
    learning_rate: Schedule = Schedule(((0, 0.15),))
    shift: Schedule = Schedule(((0, 1e-3),))
    max_step_norm: Schedule = Schedule(((0, 0.4),))
    """Longest Euclidean step of the parameters; a longer one is shortened to it."""
    momentum: float = 0.0
    """Share of the last solution, as it was made, that the next one starts from (SPRING); 0 is the paper's."""
    metric: str = "identity"
    """What the shift multiplies (:mod:`qmcbench.sr.metric`): identity (the paper's), spectrum, diagonal or march."""
    moments: float = 0.995
    """Share of the mean squares that the metric march keeps from step to step."""
    keep_norm: bool = False
    """Whether a step that changes the norm of psi has a price (:func:`qmcbench.sr.solvers.centre`). Without one a few
    samples leave the norm to chance, and a step that multiplies psi ten times over is a leap in all else too."""
    leap: float | None = None
    """If given, an energy above the median of the last eight by this share of it, with an error of half of that, or
    below what any state can have is a leap: the run returns to the state before the update and makes half of it, and
    so on."""
    starts: int = 1
    """Fresh networks that are tried for ``trial`` steps each; the run begins with the one that gets furthest down
    (:mod:`qmcbench.starts`). Nothing is tried where ``wavefunction.start`` gives the parameters."""
    trial: int = 60


@dataclass(frozen=True)
class Scalapack:
    """How the solvers ``scalapack`` and ``scalapack_samples`` lay their matrices out over the ranks."""

    grid: tuple[int, int] | None = None
    """Rows and columns of the process grid, together as many as there are ranks; as square as can be if absent."""
    block: int = 128
    """Rows and columns of a block of the block-cyclic distribution."""
    product: str = "pdsyrk"
    """pdsyrk (half of the covariance) or pdgemm (all of it; the paper's)."""
    redistribution: str = "pdgemr2d"
    """pdgemr2d or alltoall (the paper's Fig. 4)."""


@dataclass(frozen=True)
class Run:
    """Seeds, device and how often to save."""

    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    """Torch threads; all cores if absent (one on 4x4). Bit-identical resuming needs the same number."""
    oversubscribe: bool = False
    """Whether there may be more threads than this process has cores."""
    checkpoint_every: int = 20
    hours: float | None = None
    """End, with a checkpoint, after the step at which the run has taken so long in all, with trials and warm-up; one
    step is always made. No limit if absent."""
    kernels: str = "compiled"
    """compiled (for this processor, once a run) or torch (PyTorch's operations alone, several times slower)."""
    preset: str = "own"
    """own, or paper: its authors' settings for what the configuration leaves open (:mod:`qmcbench.recipe`)."""
    recipe: int = 1
    """Which recipe filled in what the configuration left open (:mod:`qmcbench.recipe`); 1 is that of 0.1.0."""


@dataclass(frozen=True)
class Config:
    """Everything that determines a run."""

    model: Model
    wavefunction: Wavefunction = field(default_factory=Wavefunction)
    sampling: Sampling = field(default_factory=Sampling)
    optimizer: Optimizer = field(default_factory=Optimizer)
    scalapack: Scalapack = field(default_factory=Scalapack)
    run: Run = field(default_factory=Run)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary; ``parse`` reads it back."""
        plain: dict[str, Any] = unstructure(self)
        return plain


def load(path: Path, recipe: int = LATEST) -> Config:
    """Read and check a TOML file; ``recipe`` fills in what it leaves open.

    Raises
    ------
    UserError
        If the file cannot be read, is not TOML, or holds a wrong key or value.
    """
    return parse(read_toml(path, "configuration"), str(path), recipe)


def parse(data: dict[str, Any], source: str = "configuration", recipe: int = LATEST) -> Config:
    """Turn nested dictionaries into a checked :class:`Config`.

    Parameters
    ----------
    data
        Sections by name; what they leave open is filled in by lattice (:mod:`qmcbench.recipe`).
    source
        Where they come from, for the message.
    recipe
        Which recipe fills them in, unless they say so themselves with ``run.recipe``.

    Raises
    ------
    UserError
        Naming the first wrong key or value, what is allowed and where it stands.
    """
    config = structure(_joined(filled(data, recipe)), Config, source)
    _check(config, source)
    return config


def _joined(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` with a list of generators as one string."""
    section = data.get("wavefunction")
    names = section.get("symmetry") if isinstance(section, dict) else None
    if isinstance(section, dict) and isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {**data, "wavefunction": {**section, "symmetry": ", ".join(names) or "none"}}
    return data


def _check(config: Config, source: str) -> None:
    check_size(config.model.L)
    try:
        evaluations(config.wavefunction.symmetry, config.model.L)
    except UserError as error:
        raise UserError(f"{source}: wavefunction.{error}") from error
    w, s, o, r = config.wavefunction, config.sampling, config.optimizer, config.run
    p = config.scalapack
    choices = [
        ("wavefunction.network", w.network, tuple(model_names())),
        ("wavefunction.sign", w.sign, ("marshall", "none")),
        ("wavefunction.dtype", w.dtype, ("float32", "float64")),
        ("optimizer.solver", o.solver, ("dense", "sample_space", "sample_space_float32", *SCALAPACK)),
        ("optimizer.metric", o.metric, METRICS),
        ("run.preset", r.preset, ("own", "paper")),
        ("run.kernels", r.kernels, ("compiled", "torch")),
        ("scalapack.product", p.product, ("pdsyrk", "pdgemm")),
        ("scalapack.redistribution", p.redistribution, ("pdgemr2d", "alltoall")),
    ]
    for key, value, allowed in choices:
        if value not in allowed:
            raise UserError(f"{source}: {key} = {value!r} is not one of {', '.join(allowed)}.")
    limits: list[tuple[str, float | None, float, float]] = [
        ("model.J2", config.model.J2, -LARGEST_J2, LARGEST_J2),
        ("sampling.chains", s.chains, 2, 10**7),
        ("sampling.gap", s.gap, 1, 10**7),
        ("sampling.warm_up", s.warm_up, 0, 10**6),
        ("sampling.warm_up_lattices", s.warm_up_lattices, 1, s.chains),
        ("sampling.alpha", s.alpha, 0, 2),
        ("sampling.effective_fraction", s.effective_fraction, 1e-3, 0.999),
        ("sampling.bound", s.bound, 1, LARGEST_BOUND),
        ("optimizer.steps", o.steps, 0, 10**9),
        ("optimizer.momentum", o.momentum, 0, 0.999),
        ("optimizer.moments", o.moments, 0, 1),
        ("optimizer.leap", o.leap, 1e-6, 1e6),
        ("optimizer.starts", o.starts, 1, 1000),
        ("optimizer.trial", o.trial, 1, 10**6),
        ("scalapack.block", p.block, 1, 4096),
        *[(f"scalapack.grid[{i}]", side, 1, 10**6) for i, side in enumerate(p.grid or ())],
        ("run.seed", r.seed, 0, 2**63 - 1),
        ("run.recipe", r.recipe, RECIPES[0], RECIPES[-1]),
        ("run.threads", r.threads, 1, 4096),
        ("run.checkpoint_every", r.checkpoint_every, 1, 10**9),
        ("run.hours", r.hours, 0, 1e6),
        *[
            (f"optimizer.{name}", value, 1e-30, 1e30)
            for name in ("learning_rate", "shift", "max_step_norm")
            for _, value in getattr(o, name).knots
        ],
    ]
    for key, given, low, high in limits:
        if isinstance(given, float) and not math.isfinite(given):
            raise UserError(f"{source}: {key} = {given} is not a finite number.")
        if given is not None and not low <= given <= high:
            raise UserError(f"{source}: {key} = {given} is outside [{low:g}, {high:g}]; choose a value inside.")
    if r.device != "cpu" and not r.device.startswith("cuda"):
        raise UserError(f"{source}: run.device = {r.device!r} is neither 'cpu' nor 'cuda' (or 'cuda:0' and so on).")


def _schedule(value: Any, _: type) -> Schedule:
    """A number, or a list of [step, value] or ["percent%", value] knots that rise."""
    if not isinstance(value, list):
        return Schedule(((0, number(value, float)),))
    if not value or not all(isinstance(knot, list | tuple) and len(knot) == 2 for knot in value):
        raise ValueError(f"{value!r} is neither a number nor a list of [step, value] pairs")
    percent = any(isinstance(at, str) for at, _ in value)
    knots = tuple((_percent(at) if percent else number(at, int), number(v, float)) for at, v in value)
    if any(a[0] >= b[0] for a, b in itertools.pairwise(knots)):
        raise ValueError(f"the steps of {value!r} do not rise")
    return Schedule(knots, percent)


def _percent(text: Any) -> float:
    """The number in a text like "50%"."""
    try:
        share = float(text.removesuffix("%")) if isinstance(text, str) and text.endswith("%") else math.nan
    except ValueError:
        share = math.nan
    if not 0 <= share <= 100:
        raise ValueError(f'{text!r} is not "0%" to "100%": all knots stand at such percents, or all at steps')
    return share


def _plain(schedule: Schedule) -> list[list[Any]]:
    return [[f"{at}%" if schedule.percent else at, value] for at, value in schedule.knots]


CONVERTER.register_structure_hook(Schedule, _schedule)
CONVERTER.register_unstructure_hook(Schedule, _plain)
