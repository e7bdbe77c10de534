"""The torus: every bond once, at the right distance, and sizes that cannot work refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.lattice import (
    all_configurations,
    check_size,
    nearest_bonds,
    neel,
    next_nearest_bonds,
    random_configurations,
    sublattice_a,
)

SIZES = (4, 6, 8, 10, 16, 36)
BONDS = [
    pytest.param(nearest_bonds, {(0, 1), (1, 0)}, id="nearest"),
    pytest.param(next_nearest_bonds, {(1, 1)}, id="next-nearest"),
]


@pytest.mark.parametrize("L", SIZES)
@pytest.mark.parametrize(("table", "distances"), BONDS)
def test_bond_table(table: Callable[[int], Tensor], distances: set[tuple[int, int]], L: int) -> None:
    """2 L^2 different bonds, four to a site, each joining sites at the right distance on the torus."""
    bonds = table(L)
    assert bonds.shape == (2 * L * L, 2)
    assert len({frozenset(bond) for bond in bonds.tolist()}) == 2 * L * L
    assert bonds.flatten().bincount(minlength=L * L).tolist() == [4] * (L * L)
    rows, columns = bonds // L, bonds % L
    across = [(x[:, 0] - x[:, 1]).abs() for x in (rows, columns)]
    folded = torch.stack([torch.minimum(x, L - x) for x in across], dim=1)
    assert set(map(tuple, folded.tolist())) == distances


@pytest.mark.parametrize("L", SIZES)
def test_sublattices(L: int) -> None:
    """Nearest neighbours are on different sublattices of equal size, next-nearest on the same; Neel is up on A."""
    mask = sublattice_a(L).flatten()
    assert mask.sum() == L * L // 2
    assert (mask[nearest_bonds(L)].sum(1) == 1).all()
    assert (mask[next_nearest_bonds(L)].sum(1) != 1).all()
    assert mask[0]
    assert torch.equal(neel(L).flatten(), 2 * mask.to(torch.int8) - 1)


def test_all_configurations_are_quspins(configurations: Tensor) -> None:
    """The full sum of the engine runs over the 12 870 configurations of QuSpin's basis, each once."""
    ours = all_configurations(4)
    assert ours.dtype == torch.int8
    assert sorted(map(tuple, ours.flatten(1).tolist())) == sorted(map(tuple, configurations.flatten(1).tolist()))


def test_full_sums_are_refused_on_larger_lattices() -> None:
    """6x6 has 9e9 configurations: asking for their list is an error, not a full memory."""
    with pytest.raises(UserError, match="L = 6"):
        all_configurations(6)


@pytest.mark.parametrize(
    ("L", "says"),
    [
        (5, "L = 5 .*odd"),
        (3, "odd"),
        (37, "odd"),
        (-3, "odd"),
        (0, "L = 0 .*range"),
        (2, "L = 2 .*range"),
        (38, "L = 38 .*range"),
        (-4, "range"),
        (4.0, "not an integer"),
        ("4", "not an integer"),
        (True, "not an integer"),
        (None, "not an integer"),
    ],
)
def test_impossible_sizes_are_refused(L: object, says: str) -> None:
    """Odd, too small, too large and non-integer sizes name the value, the reason and the bounds."""
    with pytest.raises(UserError, match=says) as refusal:
        check_size(L)
    assert "4 to 36" in str(refusal.value)


@pytest.mark.parametrize("L", [5, 35, 3, 37])
def test_refusal_of_an_odd_size_suggests_one_that_works(L: int) -> None:
    """The size named in the message for an odd L is itself accepted."""
    with pytest.raises(UserError) as refusal:
        check_size(L)
    check_size(int(str(refusal.value).rstrip(".").split()[-1]))


@pytest.mark.parametrize("L", [4, 6, 36])
def test_possible_sizes_are_handed_back(L: int) -> None:
    """Both ends of the range are included."""
    assert check_size(L) == L


def test_random_configurations() -> None:
    """They are int8 of +-1 with S^z = 0, all different, and the seed's own."""
    spins = random_configurations(6, 50)
    assert spins.dtype == torch.int8
    assert set(spins.unique().tolist()) == {-1, 1}
    assert (spins.sum((1, 2)) == 0).all()
    assert len(spins.flatten(1).unique(dim=0)) == 50
    assert torch.equal(random_configurations(6, 50), spins)
    assert not torch.equal(random_configurations(6, 50, seed=1), spins)
