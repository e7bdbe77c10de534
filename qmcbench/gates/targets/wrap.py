"""Anybody's wave function as an ``Ansatz``: NumPy or torch, a pair of values or one complex log psi."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.errors import UserError
from qmcbench.lattice import random_configurations

PROBES = 4
"""Configurations that a wave function is tried with."""


@dataclass(frozen=True)
class Function:
    """A plain function of spins, whatever it takes and gives, as a wave function."""

    name: str
    call: Callable[[Tensor], object]
    invariance: tuple[str, ...] = ()

    def __call__(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        return pair(self.call(spins), spins, self.name)


class Adapted(nn.Module):
    """A module that takes spins in its own dtype, or gives one complex log psi, as a wave function."""

    def __init__(self, module: nn.Module, name: str, *, converts: bool) -> None:
        super().__init__()
        self.module, self.name, self.converts = module, name, converts
        self.invariance = getattr(module, "invariance", ())

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase) of ``spins`` (batch, L, L)."""
        return _pair(self.module(spins.to(_dtype(self.module)) if self.converts else spins), self.name)


def _dtype(module: nn.Module) -> torch.dtype:
    """Of its parameters, as they are now: a copy in another precision takes its input in that."""
    return next((each.dtype for each in module.parameters() if each.dtype.is_floating_point), torch.float32)


def wave_function(value: Callable[..., object], name: str, L: int) -> Ansatz:
    """``value`` as a wave function on an L x L lattice, after a trial with a few configurations.

    Parameters
    ----------
    value
        Called with spins (batch, L, L), int8, +-1, as a NumPy array or a tensor, it gives log|psi| and the phase
        psi/|psi|, or one complex log psi; shape (batch,).
    name
        For messages.

    Raises
    ------
    UserError
        If it cannot be called so, or gives something else.
    """
    spins = random_configurations(L, PROBES)
    if isinstance(value, type):
        raise UserError(f"{name} is a class; give a wave function made from it, psi = {value.__name__}(...).")
    return _module(value, name, spins) if isinstance(value, nn.Module) else _function(value, name, spins)


def _module(module: nn.Module, name: str, spins: Tensor) -> Ansatz:
    converts = False
    try:
        with torch.no_grad():
            found = module(spins)
    except Exception as first:
        # Layers of torch multiply nothing but their own dtype.
        converts = True
        try:
            with torch.no_grad():
                found = module(spins.to(_dtype(module)))
        except Exception:
            raise _uncallable(name, spins, f"{_said(first)}") from first
    plain = not converts and isinstance(found, tuple | list)
    psi = module if plain else Adapted(module, name, converts=converts)
    with torch.no_grad():
        pair(psi(spins), spins, name)
    return psi


def _function(function: Callable[..., object], name: str, spins: Tensor) -> Ansatz:
    # NumPy first: a NumPy function may take tensors, but then computes in single precision.
    calls: dict[str, Callable[[Tensor], object]] = {
        "NumPy arrays": lambda each: function(each.numpy().copy()),
        "torch tensors": lambda each: function(each.clone()),
    }
    said, wrong = [], None
    for kind, call in calls.items():
        try:
            found = call(spins)
        except Exception as error:
            said.append(f"with {kind}, {_said(error)}")
            wrong = error
            continue
        if kind == "NumPy arrays" and _holds_tensors(found):
            continue
        psi = Function(name, call, getattr(function, "invariance", ()))
        _refuse_single(function, found, name, spins)
        pair(found, spins, name)
        return psi
    _refuse_single(function, None, name, spins)
    raise _uncallable(name, spins, "; ".join(said)) from wrong


def pair(found: object, spins: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """(log|psi|, phase) from whatever a wave function gave for ``spins``.

    Raises
    ------
    UserError
        If it is neither two values, the second one a phase, nor one complex log psi.
    """
    values = _pair(found, name)
    try:
        return amplitudes(lambda _: values, spins, check=True)
    except UserError as error:
        raise UserError(f"{name} {str(error).removeprefix('function ')}") from error


def _pair(found: object, name: str) -> tuple[Tensor, Tensor]:
    if isinstance(found, tuple | list):
        if len(found) != 2:
            raise UserError(
                f"{name} gives {len(found)} values, but a wave function gives two, log|psi| and the phase psi/|psi|, "
                "or one complex log psi."
            )
        return _tensor(found[0], name), _tensor(found[1], name)
    value = _tensor(found, name)
    if not value.is_complex():
        raise UserError(
            f"{name} gives one real value for each configuration; give log|psi| and the phase psi/|psi| (+1 where "
            "psi is positive), or one complex log psi."
        )
    angle = value.imag.nan_to_num(0.0)
    phase = torch.polar(torch.ones_like(angle), angle)
    return value.real, torch.where(value.real.isneginf(), torch.zeros_like(phase), phase)


def _tensor(value: object, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.from_numpy(np.atleast_1d(np.array(value)))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} gives a {type(value).__name__}, which is no array of numbers.") from error


def _holds_tensors(found: object) -> bool:
    return any(isinstance(each, Tensor) for each in (found if isinstance(found, tuple | list) else [found]))


def _refuse_single(function: Callable[..., object], found: object, name: str, spins: Tensor) -> None:
    """A function of one configuration fails with many, or gives one number for all of them."""
    if found is not None and not _scalar(found):
        return
    try:
        single = function(spins[0].numpy().copy())
    except Exception:
        return
    if _scalar(single):
        raise UserError(
            f"{name} takes one configuration at a time, but gates call it with many, shape (batch, L, L); compute "
            "all of them at once, or loop over the first axis in it."
        )


def _scalar(found: object) -> bool:
    values = found if isinstance(found, tuple | list) else [found]
    return all(not isinstance(each, str) and np.ndim(each) == 0 for each in values)  # type: ignore[arg-type]


def _uncallable(name: str, spins: Tensor, said: str) -> UserError:
    return UserError(f"{name} cannot be called with spins of shape {tuple(spins.shape)}, int8, +1 and -1: {said}.")


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
