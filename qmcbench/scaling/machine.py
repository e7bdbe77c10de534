"""Machine files: the costs of a named machine, what is known of their errors, and where they come from.

.. code-block:: toml

    name = "sunway"
    description = "..."
    source = "..."
    processes_per_node = 6

    [costs]                 # every cost of qmcbench.scaling.model.Costs, in its unit
    cnn_rate = { value = 5.5, unit = "GF/s", error = 0.03, fitted = true }
    ...                     # error (optional): standard error of ln(value), about the relative error

    [spread]                # optional: root mean square of ln(measured / model) of each phase
    product = 0.2

    [correlation]           # optional: of the errors above
    names = ["cnn_rate", "gemm_rate"]
    rows = [[1.0, 0.1], [0.1, 1.0]]
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, make_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qmcbench.errors import UserError
from qmcbench.scaling.model import NAMES, PHASES, UNITS, Array, Costs
from qmcbench.structure import read_toml, structure

DIGITS = 5
ERROR_DIGITS = 2


@dataclass(frozen=True)
class Machine:
    """A machine's costs and their uncertainty."""

    name: str
    costs: Costs
    description: str = ""
    source: str = ""
    processes_per_node: int = 1
    errors: Mapping[str, float] = field(default_factory=dict)
    """Standard errors of ln(cost), of those that have one."""
    correlation: tuple[tuple[float, ...], ...] = ()
    """Between the errors, in their order; empty: independent."""
    spread: Mapping[str, float] = field(default_factory=dict)
    """Root mean square of ln(measured / model) of each phase."""
    fitted: tuple[str, ...] = ()
    """The costs that are fitted to measurements; the others are given."""

    @property
    def has_band(self) -> bool:
        """Whether anything is known of the uncertainty."""
        return bool(self.errors or self.spread)

    def nodes(self, processes: int) -> int:
        """Nodes that so many processes fill."""
        return math.ceil(processes / self.processes_per_node)

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Values of all costs drawn from the log-normal distribution of their errors, shape (count, costs)."""
        drawn = np.tile(self.costs.values(), (count, 1))
        if self.errors:
            matrix = np.array(self.correlation) if self.correlation else np.eye(len(self.errors))
            # Rounded correlations need not be positive definite: the square root drops negative eigenvalues.
            eigenvalues, vectors = np.linalg.eigh(matrix)
            root = (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T
            normal = rng.standard_normal((count, len(self.errors))) @ root * np.array(list(self.errors.values()))
            drawn[:, [NAMES.index(name) for name in self.errors]] *= np.exp(normal)
        return drawn


def shipped() -> tuple[str, ...]:
    """Names of the machine files that come with the package."""
    return tuple(
        sorted(file.name.removesuffix(".toml") for file in _MACHINES.iterdir() if file.name.endswith(".toml"))
    )


def load(source: str | Path) -> Machine:
    """Read a machine file, or one of those shipped by its name.

    Raises
    ------
    UserError
        If there is no such file, it is not TOML, or a key or value is missing, unknown or out of range.
    """
    if str(source) in shipped():
        source = Path(str(_MACHINES.joinpath(f"{source}.toml")))
    try:
        data = read_toml(Path(source), "machine file")
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; give a file or one of: {', '.join(shipped())}.") from error
    return parse(data, str(source))


def parse(data: dict[str, Any], source: str = "machine") -> Machine:
    """Turn the nested dictionaries of a machine file into a checked :class:`Machine` (errors as :func:`load`)."""
    found = structure(data, _File, source)
    if not found.name:
        raise UserError(f"{source}: name = '' names no machine; give it one.")
    if found.processes_per_node < 1:
        raise UserError(f"{source}: processes_per_node = {found.processes_per_node} is not at least 1.")
    costs: dict[str, _Cost] = {name: getattr(found.costs, name) for name in NAMES}
    for name, cost in costs.items():
        if cost.unit != UNITS[name]:
            raise UserError(
                f"{source}: costs.{name}.unit = {cost.unit!r} is wrong: {name} is in {UNITS[name]}; "
                "convert the value."
            )
        # A rate of 0 would take for ever; a latency or an overhead may be none.
        _check(f"{source}: costs.{name}.value", cost.value, positive=cost.unit.endswith("/s"))
        _check(f"{source}: costs.{name}.error", cost.error or 0.0)
    spread = {phase: value for phase in PHASES if (value := getattr(found.spread, phase)) is not None}
    for phase, value in spread.items():
        _check(f"{source}: spread.{phase}", value)
    errors = {name: cost.error for name, cost in costs.items() if cost.error is not None}
    return Machine(
        found.name,
        Costs(**{name: cost.value for name, cost in costs.items()}),
        found.description,
        found.source,
        found.processes_per_node,
        errors,
        _checked(found.correlation, tuple(errors), source) if found.correlation else (),
        spread,
        tuple(name for name, cost in costs.items() if cost.fitted),
    )


def dump(machine: Machine) -> str:
    """The machine file's text; ``parse`` reads it back, to ``DIGITS`` and ``ERROR_DIGITS`` significant digits."""
    lines = [
        f"{key} = {json.dumps(getattr(machine, key), ensure_ascii=False)}"
        for key in ("name", "description", "source", "processes_per_node")
    ]
    lines += ["", "[costs]"]
    for name, value in asdict(machine.costs).items():
        entry = f'value = {value:.{DIGITS}g}, unit = "{UNITS[name]}"'
        if name in machine.errors:
            entry += f", error = {machine.errors[name]:.{ERROR_DIGITS}g}"
        if name in machine.fitted:
            entry += ", fitted = true"
        lines.append(f"{name} = {{ {entry} }}")
    if machine.spread:
        lines += ["", "[spread]"]
        lines += [f"{phase} = {value:.{ERROR_DIGITS}g}" for phase, value in machine.spread.items()]
    if machine.correlation:
        lines += ["", "[correlation]", f"names = {json.dumps(list(machine.errors))}", "rows = ["]
        lines += [
            "  [" + ", ".join(f"{round(value, 2) + 0.0:.2f}" for value in row) + "]," for row in machine.correlation
        ]
        lines.append("]")
    return "\n".join(lines) + "\n"


_MACHINES = files("qmcbench.scaling").joinpath("machines")


@dataclass(frozen=True)
class _Cost:
    value: float
    unit: str
    error: float | None = None
    fitted: bool = False


@dataclass(frozen=True)
class _Correlation:
    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


_Costs = make_dataclass("_Costs", [(name, _Cost) for name in NAMES], frozen=True)
_Spread = make_dataclass("_Spread", [(phase, float | None, None) for phase in PHASES], frozen=True)


@dataclass(frozen=True)
class _File:
    """A machine file."""

    name: str
    costs: _Costs  # type: ignore[valid-type]  # its fields are those of Costs
    description: str = ""
    source: str = ""
    processes_per_node: int = 1
    spread: _Spread = field(default_factory=_Spread)  # type: ignore[valid-type]
    correlation: _Correlation | None = None


def _check(where: str, value: float, positive: bool = False) -> None:
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise UserError(f"{where} = {value} must be {'above 0' if positive else '0 or more'} and finite.")


def _checked(correlation: _Correlation, names: tuple[str, ...], source: str) -> tuple[tuple[float, ...], ...]:
    place, rows, size = f"{source}: correlation", correlation.rows, len(names)
    if correlation.names != names:
        raise UserError(f"{place}.names must list the costs that have an error, in order: {', '.join(names)}.")
    matrix = np.array(rows) if all(len(row) == len(rows) for row in rows) else np.empty(0)
    if matrix.shape != (size, size) or not np.allclose(matrix, matrix.T) or not np.allclose(np.diag(matrix), 1):
        raise UserError(f"{place}.rows is not a symmetric {size} x {size} matrix with 1 on its diagonal.")
    if not (abs(matrix) <= 1).all():
        raise UserError(f"{place}.rows has a correlation outside [-1, 1].")
    return rows
