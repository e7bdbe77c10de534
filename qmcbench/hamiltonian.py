"""The spin-1/2 J1-J2 Heisenberg model (paper Eq. 3) in the S^z basis.

H = J1 sum_<ij> S_i.S_j + J2 sum_<<ij>> S_i.S_j with J1 = 1: a bond contributes +-J/4 on the diagonal and, when its
spins are antiparallel, J/2 to the configuration with the two exchanged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.lattice import check_size, nearest_bonds, next_nearest_bonds


class J1J2:
    """J1-J2 model on an L x L torus, J1 = 1, S.S units.

    Parameters
    ----------
    L
        Linear size, even.
    J2
        Next-nearest-neighbour coupling in units of J1.
    device
        Where the index tables live; configurations must be on the same device.
    """

    def __init__(self, L: int, J2: float, device: torch.device | str = "cpu") -> None:
        self.L = check_size(L)
        if isinstance(J2, bool) or not isinstance(J2, int | float) or not math.isfinite(J2):
            raise UserError(f"J2 = {J2!r} is not a finite number; give the coupling in units of J1, such as 0.5.")
        self.J2 = float(J2)
        self.sites = L * L
        first = nearest_bonds(L)
        bonds = first if self.J2 == 0 else torch.cat([first, next_nearest_bonds(L)])
        coupling = torch.ones(len(bonds), dtype=torch.float64)
        coupling[len(first) :] = self.J2
        self.bonds = bonds.to(device)
        self.coupling = coupling.to(device)

    def antiparallel(self, spins: Tensor) -> Tensor:
        """Which bonds join opposite spins, shape (batch, bonds), bool, for ``spins`` (batch, L, L)."""
        return antiparallel(spins, self.bonds)

    def diagonal(self, antiparallel: Tensor) -> Tensor:
        """Diagonal matrix elements <S|H|S> bond by bond, shape and mask as ``antiparallel``, float64."""
        return self.coupling * (0.25 - 0.5 * antiparallel.to(torch.float64))

    def off_diagonal(self, bond: Tensor) -> Tensor:
        """Matrix element <S'|H|S> of the exchange on each given bond, shape as ``bond``, float64."""
        return self.coupling[bond] / 2

    def exchange(self, spins: Tensor, row: Tensor, bond: Tensor) -> Tensor:
        """Connected configurations: ``spins[row]`` with the two spins of ``bond`` exchanged.

        Parameters
        ----------
        spins
            Configurations, shape (batch, L, L), int8.
        row, bond
            Which configuration and which (antiparallel) bond, both of shape (n,), int64.

        Returns
        -------
        Tensor
            Shape (n, L, L), int8.
        """
        return exchange(spins, row, self.bonds[bond])


def energy_bound(J2: float) -> float:
    """An energy per site that no state lies below, on any lattice from 4x4 on; J1 = 1.

    Where H is a sum over clusters, no state has less than the sum of the clusters' own lowest energies (P. W.
    Anderson, Phys. Rev. 83, 1260 (1951)). The lattice is cut up in two ways, and the higher bound counts.

    Stars: half of the bonds of each site, J/2 S_0.(S_1 + ... + S_4) for either kind of bond. The four have a spin of
    at most 2, so that S_0.(S_1 + ... + S_4) >= -(2 + 1) / 2: -3/4 (1 + J2) in all. With J2 < 0 its two bonds a site
    have S.S <= 1/4: J2 / 2 instead of -3/4 J2.

    Squares: a nearest neighbours' bond is an edge of two, a next-nearest one a diagonal of one, and there is a square
    a site. With S_13 = S_1 + S_3 and S_24 = S_2 + S_4 on its diagonals, S_13.S_24 / 2 + J2 (S_1.S_3 + S_2.S_4) is
    lowest where both have spin 1 and form a singlet, -1 + J2 / 2, or both have spin 0, -3/2 J2.
    """
    stars = -0.75 + (-0.75 * J2 if J2 >= 0 else 0.5 * J2)
    squares = min(-1 + 0.5 * J2, -1.5 * J2)
    return max(stars, squares)


def antiparallel(spins: Tensor, bonds: Tensor) -> Tensor:
    """Which ``bonds`` (n, 2) join opposite spins of ``spins`` (batch, L, L), shape (batch, n), bool."""
    # Whole rows are gathered, ten times as fast as single numbers.
    sites = spins.flatten(1).T.contiguous()
    return (sites[bonds[:, 0]] != sites[bonds[:, 1]]).T.contiguous()


def exchange(spins: Tensor, row: Tensor, pair: Tensor) -> Tensor:
    """``spins[row]`` with the antiparallel spins of the sites ``pair`` (n, 2) exchanged, shape (n, L, L)."""
    out = spins.flatten(1)[row]
    # Exchanging opposite spins flips both.
    out.scatter_(1, pair, -out.gather(1, pair))
    return out.view(-1, *spins.shape[1:])
