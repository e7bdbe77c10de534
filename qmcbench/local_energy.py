"""Local energies E_loc(S) = sum_S' <S|H|S'> psi(S') / psi(S) (paper Eqs. 4-5, Fig. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.hamiltonian import J1J2, exchange
from qmcbench.lattice import nearest_bonds

# Connected configurations evaluated at once. Each batch of configurations yields lists of varied lengths, packed
# one behind another into buffers of this fixed size, as in the paper's Fig. 3.
BUFFER = 2048
# Entries of the (configurations, bonds) tables held at once.
TABLE = 2_000_000


def local_energies(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int = BUFFER
) -> Tensor:
    """Local (total) energies of a batch: the sum of both columns of :func:`local_energy_parts`, shape (batch,)."""
    return local_energy_parts(psi, hamiltonian, spins, log_psi, phase, buffer=buffer).sum(1)


@torch.no_grad()
def local_energy_parts(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int = BUFFER
) -> Tensor:
    """What the nearest-neighbour and the next-nearest-neighbour bonds contribute to the local (total) energies.

    E_loc is linear in J2: the parts (E1, E2) at J2 = 1 give E1 + J2 E2 at every J2.

    Parameters
    ----------
    psi
        Wave function.
    hamiltonian
        Model; at J2 = 0 it has no next-nearest-neighbour bonds, which costs half as much and leaves that part 0.
    spins
        Configurations, shape (batch, L, L), int8.
    log_psi, phase
        psi of these, shape (batch,).
    buffer
        Size of the fixed evaluation buffer; memory does not grow with L, the batch or the number of connected
        configurations beyond it.

    Returns
    -------
    Tensor
        Shape (batch, 2), float64 (complex128 for a complex wave function), units of J1.
    """
    chunk = max(1, TABLE // len(hamiltonian.bonds))
    parts = [
        _chunk_parts(psi, hamiltonian, *part, buffer=buffer)
        for part in zip(spins.split(chunk), log_psi.split(chunk), phase.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _chunk_parts(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int
) -> Tensor:
    antiparallel = hamiltonian.antiparallel(spins)
    row, bond = antiparallel.nonzero(as_tuple=True)
    pairs = hamiltonian.bonds[bond]
    ratio = amplitude_ratios(psi, spins, log_psi, phase, row, pairs[:, None], buffer=buffer)
    # A table of one row per configuration sums in a fixed order, whatever the number of threads.
    table = hamiltonian.diagonal(antiparallel).to(ratio.dtype)
    table[row, bond] += ratio * hamiltonian.off_diagonal(bond)
    return by_range(table, hamiltonian)


def by_range(table: Tensor, hamiltonian: J1J2) -> Tensor:
    """Sums over nearest and over next-nearest neighbours of a table (rows, bonds, ...), shape (rows, 2, ...)."""
    nearest = len(nearest_bonds(hamiltonian.L))
    return torch.stack([table[:, :nearest].sum(1), table[:, nearest:].sum(1)], dim=1)


@torch.no_grad()
def amplitude_ratios(
    psi: Ansatz, spins: Tensor, log_psi: Tensor, phase: Tensor, row: Tensor, pairs: Tensor, *, buffer: int = BUFFER
) -> Tensor:
    """psi(S') / psi(S) for connected configurations S', evaluated in buffers of fixed size.

    Parameters
    ----------
    psi
        Wave function.
    spins, log_psi, phase
        Configurations (batch, L, L) and psi of these, (batch,).
    row
        Which S each S' comes from, shape (n,), int64.
    pairs
        Pairs of sites exchanged one after another, each antiparallel when its turn comes, shape (n, exchanges, 2).
    buffer
        Configurations in each call of psi.

    Returns
    -------
    Tensor
        Shape (n,), float64 (complex128 for a complex wave function).
    """
    dtype = torch.complex128 if phase.is_complex() else torch.float64
    ratio = torch.empty(len(row), dtype=dtype, device=spins.device)
    every = torch.arange(buffer, device=spins.device)
    for start in range(0, len(row), buffer):
        # The last buffer is filled up with a repeated configuration: every forward has the same shape.
        window = (start + every).clamp_(max=len(row) - 1)
        source = row[window]
        connected, origin = spins, source
        for pair in pairs[window].unbind(1):
            connected, origin = exchange(connected, origin, pair), every
        new_log_psi, new_phase = amplitudes(psi, connected)
        value = new_phase * phase[source].conj() * (new_log_psi - log_psi[source]).exp()
        ratio[start : start + buffer] = value[: len(row) - start]
    return ratio
