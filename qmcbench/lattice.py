"""The L x L torus: bond tables and rotations, as index arithmetic only."""

from __future__ import annotations

from functools import cache

import torch

from qmcbench.errors import UserError

MIN_L = 4
MAX_L = 36


def check_size(L: object) -> int:
    """Return ``L`` if it is a lattice this package can hold, else raise.

    Parameters
    ----------
    L
        Linear size: an even integer, 4 <= L <= 36. At L = 2 opposite neighbours coincide and bonds would count
        twice; the pooling of the paper's network needs L even.

    Raises
    ------
    UserError
        If L is odd, out of range or no integer.
    """
    if isinstance(L, bool) or not isinstance(L, int):
        raise UserError(f"L = {L!r} is not an integer; give an even lattice size from {MIN_L} to {MAX_L}.")
    if L % 2:
        raise UserError(
            f"L = {L} is odd, but the network pools pairs of sites and the Neel state needs two equal sublattices; "
            f"use an even L from {MIN_L} to {MAX_L}, such as {min(max(L + 1, MIN_L), MAX_L)}."
        )
    if not MIN_L <= L <= MAX_L:
        raise UserError(f"L = {L} is outside the supported range; use an even L from {MIN_L} to {MAX_L}.")
    return L


@cache
def nearest_bonds(L: int) -> torch.Tensor:
    """Nearest-neighbour bonds, shape (2 L^2, 2): each site with its right, then each with its lower neighbour."""
    return _bonds(L, ((0, 1), (1, 0)))


@cache
def next_nearest_bonds(L: int) -> torch.Tensor:
    """Next-nearest-neighbour (diagonal) bonds, shape (2 L^2, 2)."""
    return _bonds(L, ((1, 1), (1, -1)))


def _bonds(L: int, steps: tuple[tuple[int, int], ...]) -> torch.Tensor:
    """Site i, j has the index i L + j; a bond joins it to site i + di, j + dj on the torus."""
    site = torch.arange(L * L).view(L, L)
    return torch.cat([torch.stack([site, site.roll((-di, -dj), (0, 1))], dim=-1).view(-1, 2) for di, dj in steps])


@cache
def sublattice_a(L: int) -> torch.Tensor:
    """Mask of sublattice A (row + column even), shape (L, L), bool."""
    i = torch.arange(L)
    return (i[:, None] + i[None, :]) % 2 == 0


def neel(L: int) -> torch.Tensor:
    """Neel configuration, shape (L, L), int8: +1 (up) on sublattice A, -1 on B."""
    return torch.where(sublattice_a(L), 1, -1).to(torch.int8)


def random_configurations(L: int, count: int, seed: int = 0) -> torch.Tensor:
    """``count`` random S^z = 0 configurations, shape (count, L, L), int8."""
    order = torch.rand(count, L * L, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return torch.where(order < L * L // 2, 1, -1).to(torch.int8).view(count, L, L)


def all_configurations(L: int) -> torch.Tensor:
    """Every S^z = 0 configuration, shape (states, L, L), int8; meant for L = 4 (12 870 states).

    Raises
    ------
    UserError
        If L > 4: the list would have at least 9e9 entries.
    """
    if L != 4:
        raise UserError(f"Full sums run over every configuration, which only L = 4 allows; got L = {L}.")
    sites = L * L
    codes = torch.arange(1 << sites)
    bits = (codes[:, None] >> torch.arange(sites)) & 1
    return (2 * bits[bits.sum(1) == sites // 2] - 1).to(torch.int8).view(-1, L, L)
