"""Local values of the Hamiltonian and of its square, (H psi)(S) / psi(S) and (H^2 psi)(S) / psi(S)."""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import BUFFER, TABLE, amplitude_ratios, by_range


@torch.no_grad()
def local_powers(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int = BUFFER
) -> Tensor:
    """(H psi)(S) / psi(S) and (H^2 psi)(S) / psi(S) of a batch, as polynomials in J2; total, units of J1 and J1^2.

    (H^2 psi)(S) = sum_S' <S|H|S'> (H psi)(S'): the diagonal, and every antiparallel bond's exchange, each with a sum
    of its own. All amplitudes are taken relative to psi(S), so that psi may vanish on any S'. Exchanges on bonds that
    share no site commute, and what they lead to is evaluated once: with about 2.2 L^2 antiparallel bonds, some
    2.5 L^4 amplitudes a configuration.

    Parameters
    ----------
    psi
        Wave function.
    hamiltonian
        Model; J2 is in units of its own.
    spins
        Configurations, shape (batch, L, L), int8.
    log_psi, phase
        psi of these, shape (batch,).
    buffer
        Configurations in each call of psi; memory does not grow with the batch beyond a table of fixed size.

    Returns
    -------
    Tensor
        Shape (batch, 5), float64 (complex128 for a complex wave function): E0, E1, F0, F1, F2 in E0 + J2 E1 and in
        F0 + J2 F1 + J2^2 F2.
    """
    chunk = max(1, TABLE // len(hamiltonian.bonds))
    parts = [
        _chunk_powers(psi, hamiltonian, *part, buffer=buffer)
        for part in zip(spins.split(chunk), log_psi.split(chunk), phase.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _chunk_powers(
    psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor, *, buffer: int
) -> Tensor:
    antiparallel = hamiltonian.antiparallel(spins)
    row, bond = antiparallel.nonzero(as_tuple=True)
    pairs = hamiltonian.bonds[bond]
    ratio = amplitude_ratios(psi, spins, log_psi, phase, row, pairs[:, None], buffer=buffer)
    off_diagonal = hamiltonian.off_diagonal(bond)
    table = hamiltonian.diagonal(antiparallel)
    diagonal = by_range(table, hamiltonian)
    table = table.to(ratio.dtype)
    table[row, bond] += ratio * off_diagonal
    energy = by_range(table, hamiltonian)

    # (H psi)(S') / psi(S) of every S', by the range of the second step.
    images = []
    chunk = max(1, TABLE // len(hamiltonian.bonds))
    for source, first, own in zip(row.split(chunk), bond.split(chunk), ratio.split(chunk), strict=True):
        exchanged = hamiltonian.exchange(spins, source, first)
        anew = hamiltonian.antiparallel(exchanged)
        times = _times(hamiltonian, first) * anew
        number, second = times.nonzero(as_tuple=True)
        steps = torch.stack([hamiltonian.bonds[first[number]], hamiltonian.bonds[second]], dim=1)
        further = amplitude_ratios(psi, spins, log_psi, phase, source[number], steps, buffer=buffer)
        table = torch.zeros(anew.shape, dtype=ratio.dtype, device=spins.device)
        table[number, second] = further * times[number, second] * hamiltonian.off_diagonal(second)
        # The same bond again leads back.
        table[torch.arange(len(first), device=spins.device), first] = hamiltonian.off_diagonal(first).to(table.dtype)
        kept = by_range(hamiltonian.diagonal(anew), hamiltonian) * own[:, None]
        images.append(kept + by_range(table, hamiltonian))
    # Rows of one configuration each sum in a fixed order, however the configurations were divided.
    whole = torch.zeros(*antiparallel.shape, 2, dtype=ratio.dtype, device=spins.device)
    whole[row, bond] = torch.cat(images) * off_diagonal[:, None]
    square = by_range(whole, hamiltonian) + diagonal[:, :, None] * energy[:, None, :]
    mixed = square[:, 0, 1] + square[:, 1, 0]
    return torch.stack([*energy.unbind(1), square[:, 0, 0], mixed, square[:, 1, 1]], dim=1)


def _times(hamiltonian: J1J2, first: Tensor) -> Tensor:
    """How often an exchange on each bond after one on ``first`` counts, shape (len(first), bonds), int8.

    Twice if it commutes with that one and is the later in the list, and then never the other way about; not at all on
    the same bond.
    """
    bonds = hamiltonian.bonds
    number = torch.arange(len(bonds), device=bonds.device)
    one, other = bonds[first][:, :1], bonds[first][:, 1:]
    meets = (bonds[:, 0] == one) | (bonds[:, 1] == one) | (bonds[:, 0] == other) | (bonds[:, 1] == other)
    apart = 2 * (number > first[:, None]).to(torch.int8)
    times = torch.where(meets, torch.ones_like(apart), apart)
    return times.masked_fill(number == first[:, None], 0)
