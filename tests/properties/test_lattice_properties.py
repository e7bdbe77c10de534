"""Properties of lattices and Hamiltonians for every even size, beyond the sizes of the tables."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import check_size, nearest_bonds, neel, next_nearest_bonds, sublattice_a

SIZES = st.integers(2, 18).map(lambda half: 2 * half)


@given(SIZES)
@settings(max_examples=17, deadline=None, derandomize=True)
def test_each_site_has_four_neighbours_of_either_kind(L: int) -> None:
    """2 L^2 bonds of each kind, no bond twice, and every site in four of them."""
    for bonds in (nearest_bonds(L), next_nearest_bonds(L)):
        assert bonds.shape == (2 * L * L, 2)
        assert len({frozenset(bond) for bond in bonds.tolist()}) == 2 * L * L if L > 2 else True
        assert torch.equal(bonds.flatten().bincount(), torch.full((L * L,), 4))


@given(SIZES)
@settings(max_examples=17, deadline=None, derandomize=True)
def test_nearest_bonds_join_the_sublattices_and_others_do_not(L: int) -> None:
    """The square lattice is bipartite in its nearest bonds; Neel's configuration is frustrated in none of them."""
    on_a, spins = sublattice_a(check_size(L)).flatten(), neel(L).flatten()
    for bonds, differs in ((nearest_bonds(L), True), (next_nearest_bonds(L), False)):
        assert ((on_a[bonds[:, 0]] != on_a[bonds[:, 1]]) == differs).all()
        assert ((spins[bonds[:, 0]] != spins[bonds[:, 1]]) == differs).all()


@given(SIZES, st.floats(-2, 2), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_diagonal_does_not_change_under_translations_and_flips(L: int, J2: float, seed: int) -> None:
    """S^z S^z of a random configuration, translated, reflected, transposed or turned over."""
    order = torch.rand(L * L, generator=torch.Generator().manual_seed(seed)).argsort()
    spins = torch.where(order < L * L // 2, 1, -1).to(torch.int8).view(1, L, L)
    hamiltonian = J1J2(L, J2)

    def diagonal(configuration: torch.Tensor) -> float:
        return float(hamiltonian.diagonal(hamiltonian.antiparallel(configuration)).sum())

    images = [spins.roll((1, 3), (1, 2)), spins.flip(1), spins.flip(2), spins.transpose(1, 2), -spins]
    for image in images:
        assert abs(diagonal(image.contiguous()) - diagonal(spins)) < 1e-10 * L * L
