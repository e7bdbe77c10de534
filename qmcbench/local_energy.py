"""Local energies E_loc(S) = sum_S' <S|H|S'> psi(S') / psi(S) (paper Eqs. 4-5, Fig. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz, exchanges
from qmcbench.hamiltonian import J1J2, exchange
from qmcbench.lattice import nearest_bonds

# Connected configurations evaluated at once. Each batch of configurations yields lists of varied lengths, packed
# one behind another into buffers of this fixed size, as in the paper's Fig. 3.
BUFFER = 1024
# Exchanges evaluated at once, and configurations that a wave function may remember anything of.
EXCHANGES = 4096
REMEMBERED = 256
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
    ratio = exchange_ratios(psi, spins, log_psi, phase, row, pairs)
    if ratio is None:
        ratio = amplitude_ratios(psi, spins, log_psi, phase, row, pairs[:, None], buffer=buffer)
    # A table of one row per configuration sums in a fixed order, whatever the number of threads.
    table = hamiltonian.diagonal(antiparallel).to(ratio.dtype)
    table[row, bond] += ratio * hamiltonian.off_diagonal(bond)
    nearest = len(nearest_bonds(hamiltonian.L))
    return torch.stack([table[:, :nearest].sum(1), table[:, nearest:].sum(1)], dim=1)


@torch.no_grad()
def exchange_ratios(
    psi: Ansatz, spins: Tensor, log_psi: Tensor, phase: Tensor, row: Tensor, pairs: Tensor
) -> Tensor | None:
    """As :func:`amplitude_ratios` for one exchange of neighbours each, if ``psi`` offers exchanges; else None.

    Parameters
    ----------
    psi, spins, log_psi, phase
        As there.
    row
        As there, in ascending order.
    pairs
        Nearest or next-nearest neighbours, shape (n, 2).
    """
    ratios = []
    for first in range(0, len(spins), REMEMBERED):
        part = slice(first, first + REMEMBERED)
        offered = exchanges(psi, spins[part])
        if offered is None:
            return None
        low, high = torch.searchsorted(row, row.new_tensor([first, first + REMEMBERED])).tolist()
        for begin in range(low, high, EXCHANGES):
            window = slice(begin, min(begin + EXCHANGES, high))
            new_log_psi, new_phase = offered(row[window] - first, pairs[window])
            ratios.append(_ratio(new_log_psi, new_phase, log_psi[row[window]], phase[row[window]]))
    return torch.cat(ratios) if ratios else None


def _ratio(new_log_psi: Tensor, new_phase: Tensor, log_psi: Tensor, phase: Tensor) -> Tensor:
    return new_phase * phase.conj() * (new_log_psi - log_psi).exp()


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
        new_log_psi, new_phase = psi(connected)
        value = _ratio(new_log_psi, new_phase, log_psi[source], phase[source])
        ratio[start : start + buffer] = value[: len(row) - start]
    return ratio
