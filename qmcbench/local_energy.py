"""Local energies E_loc(S) = sum_S' <S|H|S'> psi(S') / psi(S) (paper Eqs. 4-5, Fig. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.hamiltonian import J1J2

# Connected configurations evaluated at once. Each batch of configurations yields lists of varied lengths, packed
# one behind another into buffers of this fixed size, as in the paper's Fig. 3.
BUFFER = 1024
# Entries of the (configurations, bonds) tables held at once.
TABLE = 2_000_000


@torch.no_grad()
def local_energies(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int = BUFFER
) -> Tensor:
    """Local (total) energies of a batch.

    Parameters
    ----------
    psi
        Wave function.
    hamiltonian
        Model.
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
        Shape (batch,), float64 (complex128 for a complex wave function), units of J1.
    """
    chunk = max(1, TABLE // len(hamiltonian.bonds))
    parts = [
        _chunk_energies(psi, hamiltonian, *part, buffer=buffer)
        for part in zip(spins.split(chunk), log_psi.split(chunk), phase.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _chunk_energies(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int
) -> Tensor:
    antiparallel = hamiltonian.antiparallel(spins)
    row, bond = antiparallel.nonzero(as_tuple=True)
    dtype = torch.complex128 if phase.is_complex() else torch.float64
    ratio = torch.empty(len(row), dtype=dtype, device=spins.device)
    for start in range(0, len(row), buffer):
        stop = min(start + buffer, len(row))
        # The last buffer is filled up with a repeated configuration: every forward has the same shape.
        window = torch.arange(start, start + buffer, device=spins.device).clamp_(max=len(row) - 1)
        new_log_psi, new_phase = psi(hamiltonian.exchange(spins, row[window], bond[window]))
        source = row[window]
        value = new_phase * phase[source].conj() * (new_log_psi - log_psi[source]).exp()
        ratio[start:stop] = value[: stop - start]
    # A table of one row per configuration sums in a fixed order, whatever the number of threads.
    table = torch.zeros(antiparallel.shape, dtype=dtype, device=spins.device)
    table[row, bond] = ratio * hamiltonian.off_diagonal(bond)
    return hamiltonian.diagonal(antiparallel) + table.sum(1)
