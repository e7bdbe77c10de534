"""A training run as frozen dataclasses, read from TOML; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from qmcbench.errors import UserError
from qmcbench.lattice import check_size
from qmcbench.reference import model_names

SCALAPACK = {"scalapack": "parameters", "scalapack_samples": "samples"}
"""Distributed solvers, and the space of the matrix that each factorises."""

Knots = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Schedule:
    """A positive number that may change with the step: geometric interpolation between knots, constant outside."""

    knots: Knots

    def __call__(self, step: int) -> float:
        """Value at ``step``."""
        before, after = None, None
        for at, value in self.knots:
            if at <= step:
                before = (at, value)
            elif after is None:
                after = (at, value)
        if before is None or after is None:
            present = before or after
            assert present is not None
            return present[1]
        part = (step - before[0]) / (after[0] - before[0])
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
    solver: str = "sample_space"
    learning_rate: Schedule = Schedule(((0, 0.15),))
    shift: Schedule = Schedule(((0, 1e-3),))
    max_step_norm: Schedule = Schedule(((0, 0.4),))
    """Longest Euclidean step of the parameters; a longer one is shortened to it."""
    momentum: float = 0.0
    """Share of the last solution that the next one starts from (SPRING); 0 is the paper's."""


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
    """Torch threads; all cores if absent. Bit-identical resuming needs the same number."""
    checkpoint_every: int = 20


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
        plain: dict[str, Any] = _CONVERTER.unstructure(self)
        return plain


def load(path: Path) -> Config:
    """Read and check a TOML file.

    Raises
    ------
    UserError
        If the file cannot be read, is not TOML, or holds a wrong key or value.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise UserError(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error
    return parse(data, source=str(path))


def parse(data: dict[str, Any], source: str = "configuration") -> Config:
    """Turn nested dictionaries into a checked :class:`Config`.

    Raises
    ------
    UserError
        Naming the first wrong key or value, what is allowed and where it stands.
    """
    try:
        config = _CONVERTER.structure(data, Config)
    except ClassValidationError as error:
        raise UserError(f"{source}: {_first_problem(error)}.") from error
    _check(config, source)
    return config


def _check(config: Config, source: str) -> None:
    check_size(config.model.L)
    w, s, o, r = config.wavefunction, config.sampling, config.optimizer, config.run
    p = config.scalapack
    choices = [
        ("wavefunction.network", w.network, tuple(model_names())),
        ("wavefunction.sign", w.sign, ("marshall", "none")),
        ("wavefunction.symmetry", w.symmetry, ("C4", "none")),
        ("wavefunction.dtype", w.dtype, ("float32", "float64")),
        ("optimizer.solver", o.solver, ("dense", "sample_space", "sample_space_float32", *SCALAPACK)),
        ("scalapack.product", p.product, ("pdsyrk", "pdgemm")),
        ("scalapack.redistribution", p.redistribution, ("pdgemr2d", "alltoall")),
    ]
    for key, value, allowed in choices:
        if value not in allowed:
            raise UserError(f"{source}: {key} = {value!r} is not one of {', '.join(allowed)}.")
    limits: list[tuple[str, float | None, float, float]] = [
        ("model.J2", config.model.J2, -math.inf, math.inf),
        ("sampling.chains", s.chains, 2, 10**7),
        ("sampling.gap", s.gap, 1, 10**7),
        ("sampling.warm_up", s.warm_up, 0, 10**6),
        ("sampling.warm_up_lattices", s.warm_up_lattices, 1, s.chains),
        ("sampling.alpha", s.alpha, 0, 2),
        ("sampling.effective_fraction", s.effective_fraction, 1e-3, 0.999),
        ("sampling.bound", s.bound, 1, math.inf),
        ("optimizer.steps", o.steps, 0, 10**9),
        ("optimizer.momentum", o.momentum, 0, 0.999),
        ("scalapack.block", p.block, 1, 4096),
        *[(f"scalapack.grid[{i}]", side, 1, 10**6) for i, side in enumerate(p.grid or ())],
        ("run.seed", r.seed, 0, 2**63 - 1),
        ("run.threads", r.threads, 1, 4096),
        ("run.checkpoint_every", r.checkpoint_every, 1, 10**9),
        *[
            (f"optimizer.{name}", value, 1e-30, 1e30)
            for name in ("learning_rate", "shift", "max_step_norm")
            for _, value in getattr(o, name).knots
        ],
    ]
    for key, number, low, high in limits:
        if isinstance(number, float) and not math.isfinite(number):
            raise UserError(f"{source}: {key} = {number} is not a finite number.")
        if number is not None and not low <= number <= high:
            raise UserError(f"{source}: {key} = {number} is outside [{low:g}, {high:g}]; choose a value inside.")
    if r.device != "cpu" and not r.device.startswith("cuda"):
        raise UserError(f"{source}: run.device = {r.device!r} is neither 'cpu' nor 'cuda' (or 'cuda:0' and so on).")


def _number(value: Any, kind: type) -> Any:
    accepted = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise ValueError(f"{value!r} is not {'a number' if kind is float else 'an integer'}")
    return kind(value)


def _text(value: Any, _: type) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


def _schedule(value: Any, _: type) -> Schedule:
    """A number, or a list of [step, value] knots with rising steps."""
    if isinstance(value, list):
        if not value or not all(isinstance(knot, list | tuple) and len(knot) == 2 for knot in value):
            raise ValueError(f"{value!r} is neither a number nor a list of [step, value] pairs")
        knots = tuple((_number(step, int), _number(v, float)) for step, v in value)
        if any(a[0] >= b[0] for a, b in itertools.pairwise(knots)):
            raise ValueError(f"the steps of {value!r} do not rise")
        return Schedule(knots)
    return Schedule(((0, _number(value, float)),))


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, _number)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(Schedule, _schedule)
    converter.register_unstructure_hook(Schedule, lambda s: [list(knot) for knot in s.knots])
    return converter


_CONVERTER = _converter()


def _first_problem(error: BaseException, place: str = "") -> str:
    """The innermost problem of a cattrs error group as one clause."""
    if isinstance(error, ForbiddenExtraKeysError):
        known = ", ".join(f.name for f in dataclasses.fields(error.cl))
        return f"unknown key {place}{sorted(error.extra_fields)[0]!r}; known here: {known}"
    if isinstance(error, ClassValidationError | IterableValidationError):
        inner = error.exceptions[0]
        if isinstance(inner, KeyError):
            return f"the key {place}{inner.args[0]} is missing"
        notes = [note for note in getattr(inner, "__notes__", ()) if hasattr(note, "name")]
        return _first_problem(inner, f"{place}{notes[0].name}." if notes else place)
    if isinstance(error, AttributeError):
        return f"{place.rstrip('.')} is not a table of keys"
    return f"{place.rstrip('.')}: {error}"
