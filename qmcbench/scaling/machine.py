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
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qmcbench.errors import UserError
from qmcbench.scaling.model import NAMES, PHASES, UNITS, Array, Costs

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
    try:
        if str(source) in shipped():
            text = _MACHINES.joinpath(f"{source}.toml").read_text(encoding="utf-8")
        else:
            text = Path(source).read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        names = ", ".join(shipped())
        raise UserError(
            f"Cannot read the machine file {source}: {error.strerror}; give a file or one of: {names}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{source} is not valid TOML: {error}.") from error
    return parse(data, str(source))


def parse(data: dict[str, Any], source: str = "machine") -> Machine:
    """Turn the nested dictionaries of a machine file into a checked :class:`Machine` (errors as :func:`load`)."""
    table = _Table(data, source)
    costs = table.table("costs", required=True)
    values, errors, fitted = {}, {}, []
    for name in NAMES:
        entry = costs.table(name, required=True)
        unit = entry.text("unit", required=True)
        if unit != UNITS[name]:
            raise UserError(f"{entry.place}unit = {unit!r} is wrong: {name} is in {UNITS[name]}; convert the value.")
        # A rate of 0 would take for ever; a latency or an overhead may be none.
        values[name] = entry.number("value", required=True, positive=unit.endswith("/s"))
        if "error" in entry.data:
            errors[name] = entry.number("error")
        if entry.flag("fitted"):
            fitted.append(name)
        entry.finish()
    costs.finish()
    spreads = table.table("spread")
    spread = {phase: spreads.number(phase) for phase in PHASES if phase in spreads.data}
    spreads.finish(PHASES)
    correlation = _correlation(table.table("correlation"), tuple(errors))
    machine = Machine(
        table.text("name", required=True),
        Costs(**values),
        table.text("description"),
        table.text("source"),
        table.count("processes_per_node"),
        errors,
        correlation,
        spread,
        tuple(fitted),
    )
    table.finish()
    return machine


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


def _correlation(table: _Table, names: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
    if not table.data:
        return ()
    rows = table.data.get("rows")
    if table.data.get("names") != list(names):
        raise UserError(f"{table.place}names must list the costs that have an error, in order: {', '.join(names)}.")
    try:
        matrix = np.array(rows, dtype=float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    size = len(names)
    if matrix.shape != (size, size) or not np.allclose(matrix, matrix.T) or not np.allclose(np.diag(matrix), 1):
        raise UserError(f"{table.place}rows is not a symmetric {size} x {size} matrix with 1 on its diagonal.")
    if not (abs(matrix) <= 1).all():
        raise UserError(f"{table.place}rows has a correlation outside [-1, 1].")
    table.finish(("names", "rows"))
    return tuple(tuple(row) for row in matrix.tolist())


@dataclass(frozen=True)
class _Table:
    """A table of the file: typed look-ups that say where something is wrong."""

    data: dict[str, Any]
    source: str
    path: str = ""
    known: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.source}: {self.path}"

    def table(self, key: str, required: bool = False) -> _Table:
        value = self._get(key, required, {})
        if not isinstance(value, dict):
            raise UserError(f"{self.place}{key} = {value!r} is not a table of keys.")
        return _Table(value, self.source, f"{self.path}{key}.")

    def text(self, key: str, required: bool = False) -> str:
        value = self._get(key, required, "")
        if not isinstance(value, str) or (required and not value):
            raise UserError(f"{self.place}{key} = {value!r} is not a text.")
        return value

    def flag(self, key: str) -> bool:
        value = self._get(key, False, False)
        if not isinstance(value, bool):
            raise UserError(f"{self.place}{key} = {value!r} is neither true nor false.")
        return value

    def count(self, key: str) -> int:
        value = self._get(key, False, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{self.place}{key} = {value!r} is not a whole number of at least 1.")
        return value

    def number(self, key: str, required: bool = False, positive: bool = False) -> float:
        value = self._get(key, required, 0.0)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise UserError(f"{self.place}{key} = {value!r} is not a number.")
        if not math.isfinite(value) or value < 0 or (positive and value == 0):
            raise UserError(
                f"{self.place}{key} = {value} must be {'above 0' if positive else '0 or more'} and finite."
            )
        return float(value)

    def finish(self, known: Sequence[str] = ()) -> None:
        """Refuse what nobody asked for."""
        known = [*self.known, *known]
        for key in self.data:
            if key not in known:
                raise UserError(f"{self.place.rstrip('.: ')}: unknown key {key!r}; known here: {', '.join(known)}.")

    def _get(self, key: str, required: bool, default: Any) -> Any:
        self.known.append(key)
        if required and key not in self.data:
            raise UserError(f"{self.place}{key} is missing; add it.")
        return self.data.get(key, default)
