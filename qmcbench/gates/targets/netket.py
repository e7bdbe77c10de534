"""NetKet's variational states and Hamiltonians as targets; NetKet itself is imported by what it reads, never here.

Sites of ``netket.graph.Square(L)`` are numbered row by row, as here; for any other graph ``sites`` says which of
NetKet's sites stands where. NetKet's operators are mostly written in Pauli matrices, whose energies are 4 times those
of spins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.errors import UserError
from qmcbench.gates.targets.target import Size, Target
from qmcbench.gates.targets.wrap import wave_function

UNITS = {"Pauli": 0.25, "spin": 1.0}
"""What a Hamiltonian is written in, with the factor that makes its energies those of spins."""
LARGEST = 4096
"""Configurations in each call, so that memory has a bound."""
SMALLEST = 16


def is_state(value: object) -> bool:
    """Whether ``value`` looks like a variational state of NetKet."""
    return all(hasattr(value, name) for name in ("log_value", "hilbert", "parameters"))


def target(
    state: Any,
    hamiltonian: Callable[[int, float], Any] | None = None,
    *,
    name: str = "NetKet state",
    size: Size = Size(),  # noqa: B008  # frozen
    units: str = "Pauli",
    sites: NDArray[np.integer[Any]] | None = None,
) -> Target:
    """A variational state (``MCState`` or ``FullSumState``), and NetKet's local energies if a Hamiltonian is given.

    Parameters
    ----------
    state
        Of spins 1/2 with S^z = 0 on L x L sites.
    hamiltonian
        ``(L, J2) -> operator``: it is held against exact results at several L and J2.
    name
        For messages and records.
    size
        Lattice and coupling where they are asked for.
    units
        ``"Pauli"`` (``netket.operator.Heisenberg``) or ``"spin"``: what the Hamiltonian is written in.
    sites
        NetKet's number of the site in each row and column, shape (L, L); row by row if None. Only for the state.

    Raises
    ------
    UserError
        If the state is none of spins 1/2 on a square, or an argument is wrong.
    """
    L = _side(state.hilbert, name)
    size.check(name, L)
    if units not in UNITS:
        raise UserError(f"units = {units!r} is none of {', '.join(UNITS)}.")
    order = np.arange(L * L) if sites is None else np.asarray(sites).reshape(-1)
    if sorted(order.tolist()) != list(range(L * L)):
        raise UserError(f"{name}: sites has to be an array of the numbers 0 to {L * L - 1}, shape ({L}, {L}).")
    psi = wave_function(padded(state.log_value, order.argsort()), name, L)
    energies = None if hamiltonian is None else LocalEnergies(hamiltonian, UNITS[units])
    return Target(name=name, L=L, J2=size.coupling(), psi=psi, local_energies=energies)


def padded(log_value: Callable[[Any], Any], column: NDArray[np.integer[Any]]) -> Callable[[Any], Any]:
    """A function of rows of spins as one of NumPy configurations (batch, L, L), called with few batch sizes.

    JAX compiles a program for every shape that it meets. ``column`` says which of our sites each column of a row is.
    """

    def log_psi(spins: NDArray[np.int8]) -> NDArray[np.complex128]:
        rows = spins.reshape(len(spins), -1)[:, column]
        parts = [np.empty(0, np.complex128)]
        for start in range(0, len(rows), LARGEST):
            part = rows[start : start + LARGEST]
            length = max(SMALLEST, 1 << (len(part) - 1).bit_length())
            filled = np.concatenate([part, np.repeat(part[-1:], length - len(part), axis=0)])
            parts.append(np.array(log_value(filled), np.complex128)[: len(part)])
        return np.concatenate(parts)

    return log_psi


@dataclass(frozen=True)
class LocalEnergies:
    """Local energies from the matrix elements of NetKet's operators."""

    hamiltonian: Callable[[int, float], Any]
    factor: float

    def __call__(self, psi: Ansatz, L: int, J2: float, spins: Tensor) -> Tensor:
        """Total local energies (batch,) of ``spins`` (batch, L, L)."""
        operator = _operator(self.hamiltonian, L, J2)
        log_psi, phase = amplitudes(psi, spins)
        parts = [torch.empty(0, dtype=torch.promote_types(log_psi.dtype, phase.dtype))]
        for start in range(0, len(spins), SMALLEST):
            here = slice(start, start + SMALLEST)
            rows = spins[here].reshape(len(spins[here]), -1)
            filled = np.resize(rows.numpy(), (SMALLEST, L * L))  # rows again, so that every call has one shape
            connected, elements = operator.get_conn_padded(filled)
            found = torch.from_numpy(np.array(connected)[: len(rows)]).to(torch.int8)
            values = torch.from_numpy(np.array(elements)[: len(rows)])
            new, sign = amplitudes(psi, found.reshape(-1, L, L))
            ratio = sign.view(values.shape) * (new.view(values.shape) - log_psi[here, None]).exp()
            ratio = ratio * phase[here, None].conj()
            # What only fills the table up has the element 0, and may not make 0 times infinity.
            parts.append(torch.where(values == 0, torch.zeros_like(ratio), ratio * values).sum(1) * self.factor)
        return torch.cat(parts)


@lru_cache(maxsize=32)
def _operator(hamiltonian: Callable[[int, float], Any], L: int, J2: float) -> Any:
    return hamiltonian(L, J2)


def _side(hilbert: Any, name: str) -> int:
    """L of a Hilbert space of spins 1/2."""
    states = sorted(float(each) for each in np.asarray(hilbert.local_states).ravel())
    if states != [-1.0, 1.0]:
        raise UserError(f"{name}: its sites have the states {states}, but spins 1/2 have -1 and +1.")
    L = math.isqrt(hilbert.size)
    if hilbert.size != L * L:
        raise UserError(f"{name} has {hilbert.size} sites, which are no square lattice.")
    return L


def read(path: Path, size: Size) -> Target:
    """A variational state that NetKet has saved with ``nqxpack``.

    Raises
    ------
    UserError
        If it cannot be read, or is no such state.
    """
    if not path.is_file():
        raise UserError(f"Cannot read the state {path}: there is no such file.")
    try:
        import nqxpack
    except ImportError as error:
        raise UserError(f"Reading {path} needs NetKet: `pip install netket nqxpack` ({error}).") from error
    try:
        state = nqxpack.load(path)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
        raise UserError(f"{path} cannot be read by nqxpack: {said}.") from error
    if not is_state(state):
        raise UserError(f"{path} holds a {type(state).__name__}, but a variational state of NetKet is expected.")
    return target(state, name=str(path), size=size)
