"""A target by its name: ``builtin``, ``exact:4``, ``reference:NAME``, ``package.module:attribute``, or a file."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from pathlib import Path

from qmcbench.checkpoint import SHIPPED
from qmcbench.errors import UserError
from qmcbench.gates.targets import eigenstate, files, foreign, netket
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.target import Size, Target

FILES: dict[str, Callable[[Path, Size], Target]] = {
    ".npz": files.samples,
    ".csv": files.claims,
    ".json": files.claims,
    ".nk": netket.read,
    ".safetensors": foreign.checkpoint,
}
"""What reads a file, by its suffix."""


def load(name: str, L: int | None = None, J2: float | None = None) -> Target:
    """The target called ``name``.

    Parameters
    ----------
    name
        ``builtin``, ``exact:4``, ``exact:6``, ``reference:NAME`` (a trained network that travels with the package),
        ``package.module:attribute``, whose module may be in the current folder, or a file.
    L, J2
        Lattice and coupling where the target does not say them: 4 and 0.5 if None.

    Raises
    ------
    UserError
        If there is no such target, it cannot be read, or says another L or J2.
    """
    size = Size(L=L, J2=J2)
    if name == "builtin":
        return builtin(size.side(), size.coupling())
    if name in eigenstate.NAMES:
        return foreign.lend(eigenstate.target(name, size))
    path = Path(name)
    if name.startswith(SHIPPED):
        return foreign.checkpoint(path, size)
    if path.suffix in FILES:
        return FILES[path.suffix](path, size)
    if ":" not in name:
        raise UserError(
            f"{name!r} is no target; give `package.module:attribute`, {' or '.join(eigenstate.NAMES)}, "
            f"{SHIPPED}NAME, or a file of the kinds {', '.join(FILES)}."
        )
    return foreign.target(attribute(name), name, size)


def attribute(name: str) -> object:
    """What ``package.module:attribute`` names.

    Raises
    ------
    UserError
        If there is no such module or attribute, or the module cannot be imported.
    """
    module, _, path = name.partition(":")
    if module.endswith(".py"):
        raise UserError(f"{name!r} names a file; give the module, `{module[:-3].replace(os.sep, '.')}:{path}`.")
    if not all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
        raise UserError(f"{name!r} is not of the form `package.module:attribute`.")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise UserError(
                f"There is no module {error.name!r}, neither in the current folder nor among the installed packages."
            ) from error
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(
            f"Importing {module} failed: {type(error).__name__}: {said} ({Path(where.filename).name}, line "
            f"{where.lineno})."
        ) from error
    try:
        return reduce(getattr, path.split("."), found)
    except AttributeError as error:
        there = [each for each in vars(found) if not each.startswith("_")][:20]
        raise UserError(f"The module {module} has no {path!r}; it has {', '.join(there) or 'nothing'}.") from error
