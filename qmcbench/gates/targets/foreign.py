"""An object of somebody's module as a target: a wave function, or a code's own parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from qmcbench.ansatz.base import invariance
from qmcbench.errors import UserError
from qmcbench.gates.targets import builtin, netket, quantax
from qmcbench.gates.targets.target import Size, Target
from qmcbench.gates.targets.wrap import wave_function
from qmcbench.training import load_ansatz

PARTS = ("local_energies", "sample", "evaluate", "step", "log_derivatives")
"""Methods by which an object offers parts of a code, with the signatures of :mod:`qmcbench.gates.targets.target`."""


def target(value: Any, name: str, size: Size) -> Target:
    """``value`` as a target.

    Parameters
    ----------
    value
        A :class:`Target`; a variational state of NetKet or quantax; anything called with spins
        (:func:`~qmcbench.gates.targets.wrap.wave_function`); or an object with some of :data:`PARTS` as methods and
        perhaps a wave function ``psi``.
    name
        For messages and records.
    size
        Lattice and coupling where the target does not say them.

    Raises
    ------
    UserError
        If it is none of these, or a part of it is not what it has to be.
    """
    if isinstance(value, Target):
        size.check(name, value.L, value.J2)
        return lend(replace(value, name=name))
    for adapter in (netket, quantax):
        if adapter.is_state(value):
            return lend(adapter.target(value, name=name, size=size))
    # A module of torch has methods of its own.
    own = (
        () if isinstance(value, nn.Module) else tuple(part for part in PARTS if callable(getattr(value, part, None)))
    )
    psi = getattr(value, "psi", value if callable(value) else None) if own else value
    if not own and not callable(value):
        raise UserError(
            f"{name} is a {type(value).__name__}; a target is called with spins, or has some of the methods "
            f"{', '.join(PARTS)}."
        )
    L, J2 = size.side(), size.coupling()
    wrapped = None if psi is None else wave_function(psi, name, L)
    stated = () if wrapped is None else invariance(wrapped)
    parts = {part: getattr(value, part) for part in own}
    return lend(Target(name=name, L=L, J2=J2, psi=wrapped, invariance=stated, **parts))


def checkpoint(path: Path, size: Size) -> Target:
    """The network of a checkpoint of ``train`` or ``import-weights``, on its own lattice and coupling or another one.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    psi, config = load_ansatz(path)
    L = config.model.L if size.L is None else size.side()
    J2 = config.model.J2 if size.J2 is None else size.coupling()
    return lend(Target(name=str(path), L=L, J2=J2, psi=psi, invariance=invariance(psi)))


def lend(target: Target) -> Target:
    """The target with the suite's own parts where it has a wave function and lacks them."""
    if target.psi is None or target.engine:
        return target
    trained = isinstance(target.psi, nn.Module) and any(each.requires_grad for each in target.psi.parameters())
    ours: dict[str, Any] = {
        "local_energies": builtin.local_energies,
        "sample": builtin.sample,
        "evaluate": builtin.evaluate,
        **({"log_derivatives": builtin.log_derivatives, "step": builtin.step} if trained else {}),
    }
    lent = {part: value for part, value in ours.items() if getattr(target, part) is None}
    return replace(target, lent=tuple(lent), **lent)
