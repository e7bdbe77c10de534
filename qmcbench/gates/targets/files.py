"""Files of samples (``.npz``) and of claimed energies (``.csv``, ``.json``) as targets."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qmcbench import npz
from qmcbench.errors import UserError
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.samples import SampleFile
from qmcbench.gates.targets.target import Size, Target
from qmcbench.structure import parse_json, read_text, structure

REQUIRED = ("spins", "log_psi", "chain")
OPTIONAL = ("alpha", "local_energies", "L", "J2")
WORDS = ("i2", "i4", "i8", "f4", "f8", "c8", "c16")
ALLOWED = npz.Allowed(
    what="samples",
    size=2**30,
    dtypes=("|i1", "|u1", *(f"{order}{letter}" for letter in WORDS for order in "<>")),
    expected="an integer, float or complex one",
    too_large="no gate needs more samples; leave some chains out.",
)  # fmt: skip
COMPLEX = "complex numbers, log|psi| + i angle"


def samples(path: Path, size: Size) -> Target:
    """The samples in an ``.npz``; ``qmcbench guide gates`` has its schema.

    Raises
    ------
    UserError
        If it cannot be read, lacks an array, or one has not the form that it has to have.
    """
    found = npz.arrays(path, npz.content(path, ALLOWED), ALLOWED)
    for name in found:
        if name not in (*REQUIRED, *OPTIONAL):
            raise UserError(f"{path}: the array {name[:60]!r} is none of {', '.join((*REQUIRED, *OPTIONAL))}.")
    for name in REQUIRED:
        if name not in found:
            raise UserError(f"{path} has no array {name!r}; it needs {', '.join(REQUIRED)}.")
    spins = _spins(path, found["spins"])
    L, J2 = spins.shape[1], _scalar(path, found, "J2")
    if (said := _scalar(path, found, "L")) not in (None, L):
        raise UserError(f"{path} says L = {said:g}, but its spins are {L} x {L}.")
    size.check(str(path), L, J2)
    if "local_energies" in found and J2 is None and size.J2 is None:
        raise UserError(f"{path} has local energies, but does not say of which J2; add it to the file, or give --j2.")
    alpha = _scalar(path, found, "alpha")
    energies = found.get("local_energies")
    file = SampleFile(
        path=path,
        spins=spins,
        log_psi=_values(path, "log_psi", found["log_psi"], len(spins), complex_only=True),
        chain=_values(path, "chain", found["chain"], len(spins)).real.to(torch.int64),
        alpha=2.0 if alpha is None else alpha,
        local_energies=None if energies is None else _values(path, "local_energies", energies, len(spins)),
    )
    return Target(name=str(path), L=L, J2=size.coupling() if J2 is None else J2, samples=file)


def _spins(path: Path, spins: NDArray[Any]) -> torch.Tensor:
    """(samples, L, L), int8, from that or (samples, L * L) of any real dtype."""
    side = math.isqrt(spins.shape[1]) if spins.ndim == 2 else spins.shape[-1] if spins.ndim == 3 else 0
    if not len(spins.shape) or not len(spins) or side < 4 or side % 2 or math.prod(spins.shape[1:]) != side * side:
        raise UserError(
            f"{path}: spins has the shape {spins.shape}, but (samples, L, L) or (samples, L * L) is expected, L even "
            "and at least 4."
        )
    whole = spins.astype(np.int8) if not np.iscomplexobj(spins) and np.isfinite(spins).all() else None
    if whole is None or not np.array_equal(whole, spins):
        raise UserError(f"{path}: spins holds values that are no small integers; up is +1 and down is -1.")
    return torch.from_numpy(np.ascontiguousarray(whole).reshape(-1, side, side))


def _values(path: Path, name: str, array: NDArray[Any], count: int, *, complex_only: bool = False) -> torch.Tensor:
    """One complex number a sample."""
    if array.shape != (count,):
        raise UserError(
            f"{path}: {name} has the shape {array.shape}, but ({count},) is expected, one value a sample."
        )
    if complex_only and not np.iscomplexobj(array):
        raise UserError(f"{path}: {name} holds real numbers, but {COMPLEX}, are expected.")
    if name == "chain" and not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"{path}: chain has the dtype {array.dtype}, but integers are expected.")
    return torch.from_numpy(array.astype(np.complex128))


def _scalar(path: Path, found: dict[str, NDArray[Any]], name: str) -> float | None:
    if name not in found:
        return None
    array = found[name]
    if array.size != 1 or np.iscomplexobj(array) or not math.isfinite(array.item()):
        raise UserError(f"{path}: {name} has to be one finite number.")
    return float(array.item())


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of a table as it is written."""

    L: int
    J2: float
    energy: float
    sigma: float | None = None
    variance: float | None = None
    samples: int | None = None
    method: str = ""


COLUMNS = {field.name: field for field in fields(_Row)}
NEEDED = ("L", "J2", "energy")


def claims(path: Path, size: Size) -> Target:
    """The claimed energies in a ``.csv`` with the columns :data:`COLUMNS`, or a ``.json`` list of such rows.

    Raises
    ------
    UserError
        If it cannot be read, or a row lacks something, or has something else.
    """
    text = read_text(path, "table")
    rows = (
        _csv(path, text)
        if path.suffix == ".csv"
        else structure(parse_json(text, str(path)), tuple[_Row, ...], str(path))
    )
    if not rows:
        raise UserError(f"{path} has no rows.")
    for number, row in enumerate(rows, start=1):
        _check(f"{path}, row {number}", row)
    energies = tuple(ClaimedEnergy(row=number, **vars(row)) for number, row in enumerate(rows, start=1))
    return Target(name=str(path), L=rows[0].L, J2=rows[0].J2, energies=energies)


def _csv(path: Path, text: str) -> tuple[_Row, ...]:
    reader = csv.DictReader((line for line in text.splitlines() if line.strip()), skipinitialspace=True, strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    unknown = [name for name in names if name not in COLUMNS]
    missing = [name for name in NEEDED if name not in names]
    if unknown or missing or len(set(names)) != len(names):
        said = (
            f"the unknown column {unknown[0][:60]!r}"
            if unknown
            else f"no column {missing[0]!r}"
            if missing
            else "a column twice"
        )
        raise UserError(f"{path} has {said}; its first line names columns of {', '.join(COLUMNS)}.")
    try:
        return tuple(_row(f"{path}, row {number}", each) for number, each in enumerate(reader, start=1))
    except csv.Error as error:
        raise UserError(f"{path} is no table of comma-separated values: {error}.") from error


def _row(where: str, cells: dict[Any, Any]) -> _Row:
    if None in cells or None in cells.values():
        raise UserError(f"{where} has another number of cells than the first line.")
    given = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    made: dict[str, Any] = {}
    for name, cell in given.items():
        if name == "method":
            made[name] = cell
            continue
        try:
            made[name] = int(cell) if name in ("L", "samples") else float(cell)
        except ValueError as error:
            raise UserError(
                f"{where}: {name} = {cell[:60]!r} is no {'integer' if name in ('L', 'samples') else 'number'}."
            ) from error
    for name in NEEDED:
        if name not in made:
            raise UserError(f"{where} has no {name}.")
    return _Row(**made)


def _check(where: str, row: _Row) -> None:
    """Numbers that no row can have."""
    for name in ("J2", "energy", "sigma", "variance"):
        value = getattr(row, name)
        if value is not None and not math.isfinite(value):
            raise UserError(f"{where}: {name} = {value} is not finite; leave it out if it is not known.")
    for name, least in (("L", 2), ("sigma", 0.0), ("variance", 0.0), ("samples", 1)):
        value = getattr(row, name)
        if value is not None and value < least:
            raise UserError(f"{where}: {name} = {value:g} is below {least:g}.")
