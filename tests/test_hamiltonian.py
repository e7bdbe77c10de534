"""The Hamiltonian of the engine against QuSpin's, element by element, and its definition on larger lattices."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix, csr_matrix, diags
from torch import Tensor

from qmcbench import reference
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2, energy_bound
from qmcbench.lattice import neel, random_configurations

NEAREST = ((0, 1), (1, 0))
NEXT_NEAREST = ((1, 1), (1, -1))


def canonical(matrix: csr_matrix) -> csr_matrix:
    """The same matrix with sorted indices and no stored zeros."""
    clean = csr_matrix(matrix)
    clean.eliminate_zeros()
    clean.sort_indices()
    return clean


@pytest.mark.parametrize("J2", [0.0, 0.2, 0.5, 1.0])
def test_matrix_is_quspins(
    J2: float, configurations: Tensor, matrix: Callable[[float], csr_matrix], position: Callable[[Tensor], Tensor]
) -> None:
    """Connected configurations, their elements and the diagonal are QuSpin's 12 870 x 12 870 matrix, no more."""
    model, expected = J1J2(4, J2), matrix(J2)
    antiparallel = model.antiparallel(configurations)
    row, bond = antiparallel.nonzero(as_tuple=True)
    # exchange gives S', and off_diagonal <S'|H|S>: S' is the row of the matrix.
    connected = position(model.exchange(configurations, row, bond))
    entries = coo_matrix((model.off_diagonal(bond), (connected, row)), shape=expected.shape)
    exchanges = entries.tocsr()
    assert exchanges.nnz == entries.nnz, "a connected configuration was listed twice"
    diagonal = model.diagonal(antiparallel).sum(1).numpy()

    assert abs(exchanges + diags(diagonal) - expected).max() < 1e-13
    np.testing.assert_allclose(diagonal, expected.diagonal(), rtol=0, atol=1e-13)
    ours, theirs = canonical(exchanges), canonical(expected - diags(expected.diagonal()))
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)


@pytest.mark.parametrize("L", [4, 6, 10, 36])
def test_diagonal_is_the_ising_energy(L: int) -> None:
    """<S|H|S> is the sum of J s_i s_j / 4 over shifted copies of the lattice, at every size."""
    spins = random_configurations(L, 20, seed=L)
    model = J1J2(L, 0.7)
    s = spins.double()
    expected = sum(
        J / 4 * (s * s.roll((-di, -dj), (1, 2))).sum((1, 2))
        for J, steps in ((1.0, NEAREST), (0.7, NEXT_NEAREST))
        for di, dj in steps
    )
    torch.testing.assert_close(model.diagonal(model.antiparallel(spins)).sum(1), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("L", [4, 8, 36])
def test_neel_state(L: int) -> None:
    """The Neel state has energy (J2 - 1) L^2 / 2 and 2 L^2 connected configurations, none of them by J2."""
    model, spins = J1J2(L, 0.3), neel(L)[None]
    antiparallel = model.antiparallel(spins)
    assert model.diagonal(antiparallel).sum().item() == pytest.approx((0.3 - 1) * L * L / 2, abs=1e-10)
    bonds = antiparallel.nonzero()[:, 1]
    assert len(bonds) == 2 * L * L
    assert (model.off_diagonal(bonds) == 0.5).all()


@pytest.mark.parametrize("L", [6, 36])
def test_exchange_swaps_the_two_spins_of_a_bond(L: int) -> None:
    """Each connected configuration differs from its source at the two sites of its bond only, and keeps S^z = 0."""
    spins = random_configurations(L, 4, seed=L)
    kept = spins.clone()
    model = J1J2(L, 0.5)
    row, bond = model.antiparallel(spins).nonzero(as_tuple=True)
    connected = model.exchange(spins, row, bond)
    assert connected.dtype == torch.int8
    changed = (connected != spins[row]).flatten(1)
    assert torch.equal(changed.nonzero()[:, 1].view(-1, 2), model.bonds[bond].sort(1).values)
    assert not connected.sum((1, 2)).any()
    assert torch.equal(spins, kept), "the source configurations were overwritten"


def test_without_j2_there_are_no_diagonal_bonds() -> None:
    """At J2 = 0 only nearest neighbours are exchanged: no forward pass is spent on elements that vanish."""
    assert len(J1J2(6, 0).bonds) == 2 * 36
    assert len(J1J2(6, 0.1).bonds) == 4 * 36


def lowest(sites: int, bonds: dict[tuple[int, int], float]) -> float:
    """The lowest energy of a cluster of spins 1/2, of which it has few enough for a dense matrix."""
    plus, z = np.array([[0.0, 1.0], [0.0, 0.0]]), np.diag([0.5, -0.5])

    def on(site: int, operator: np.ndarray) -> np.ndarray:
        return np.kron(np.kron(np.eye(2**site), operator), np.eye(2 ** (sites - site - 1)))

    total = np.zeros((2**sites, 2**sites))
    for (a, b), J in bonds.items():
        up, down = on(a, plus) @ on(b, plus.T), on(a, plus.T) @ on(b, plus)
        total += J * (on(a, z) @ on(b, z) + (up + down) / 2)
    return float(np.linalg.eigvalsh(total)[0])


@pytest.mark.parametrize("J2", [-0.5, 0.0, 0.1, 0.2, 0.5, 0.8, 1.0, 2.0])
def test_energy_bound_is_that_of_clusters(J2: float) -> None:
    """The higher one of stars' and squares' lowest energies by dense matrices; 4x4 is above it."""
    arms = [(0, arm) for arm in range(1, 5)]
    stars = lowest(5, dict.fromkeys(arms, 0.5))
    stars += lowest(5, dict.fromkeys(arms, J2 / 2)) if J2 > 0 else 2 * lowest(2, {(0, 1): J2})
    edges = {(0, 1): 0.5, (1, 2): 0.5, (2, 3): 0.5, (0, 3): 0.5}
    squares = lowest(4, {**edges, (0, 2): J2, (1, 3): J2})
    assert energy_bound(J2) == pytest.approx(max(stars, squares), abs=1e-12)
    assert energy_bound(J2) < reference.ground_state(4, J2)[0] / 16


@pytest.mark.parametrize("J2", [math.nan, math.inf, -math.inf, "0.5", None, True, 0.5j])
def test_impossible_couplings_are_refused(J2: object) -> None:
    """A J2 that is no finite number is named in the message."""
    with pytest.raises(UserError, match=r"J2 = .*finite"):
        J1J2(4, J2)


@pytest.mark.parametrize("L", [5, 2, 38])
def test_impossible_sizes_are_refused(L: int) -> None:
    """The model checks its lattice itself."""
    with pytest.raises(UserError, match=f"L = {L}"):
        J1J2(L, 0.5)
