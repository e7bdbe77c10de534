"""A target by its name on the command line."""

from __future__ import annotations

from qmcbench.errors import UserError
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.target import Target


def load(name: str, L: int = 4, J2: float = 0.5) -> Target:
    """The target called ``name``: ``builtin``, ``package.module:attribute``, or a file.

    Raises
    ------
    UserError
        If there is no such target, or it cannot be read.
    """
    if name == "builtin":
        return builtin(L, J2)
    raise UserError(f"{name!r} is no target.")
