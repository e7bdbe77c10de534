"""Bit operations against index arithmetic: every symmetry, and the representative against the whole group."""

import itertools

import numpy as np
import pytest

from qmcbench.reference.bits import representative, symmetries

CLUSTERS = [(4, 4), (4, 6), (6, 4), (6, 6)]


def word_of(spins: np.ndarray) -> int:
    """The integer of a configuration, (rows, columns) of 0 and 1: site 0 in the highest bit."""
    return int("".join(map(str, spins.ravel())), 2)


def random_configurations(rows: int, columns: int, count: int) -> list[np.ndarray]:
    """Random configurations, half of them with equal rows, columns or blocks, so that orbits are short."""
    rng = np.random.default_rng(rows * 10 + columns)
    generic = [rng.integers(0, 2, (rows, columns)) for _ in range(count // 2)]
    tiles = [rng.integers(0, 2, (2, 2)) for _ in range(count // 2)]
    return generic + [np.tile(tile, (rows // 2, columns // 2)) for tile in tiles]


@pytest.mark.parametrize(("rows", "columns"), CLUSTERS)
def test_symmetries_move_the_right_bits(rows: int, columns: int) -> None:
    """Each generator is the numpy operation of its name."""
    bits = symmetries(rows, columns)
    expected = {
        "translate_columns": lambda s: np.roll(s, 1, axis=1),
        "translate_rows": lambda s: np.roll(s, 1, axis=0),
        "reflect_columns": lambda s: s[:, ::-1],
        "reflect_rows": lambda s: s[::-1],
        "invert": lambda s: 1 - s,
    } | ({"transpose": lambda s: s.T} if rows == columns else {})
    assert (bits.transpose is None) == (rows != columns)
    for spins in random_configurations(rows, columns, 20):
        for name, operation in expected.items():
            assert int(getattr(bits, name)(np.uint64(word_of(spins)))) == word_of(operation(spins)), name


@pytest.mark.parametrize(("rows", "columns"), CLUSTERS)
def test_representative_is_the_largest_of_the_orbit(rows: int, columns: int) -> None:
    """The search through a few candidates finds the maximum over all symmetries (576 for 6x6)."""
    find = representative(rows, columns)
    for spins in random_configurations(rows, columns, 60):
        orbit = [
            word_of(np.roll(image, shift, axis=(0, 1)))
            for shift in itertools.product(range(rows), range(columns))
            for start in (spins, 1 - spins)
            for turned in ((start, start.T) if rows == columns else (start,))
            for image in (turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1])
        ]
        assert int(find(np.uint64(word_of(spins)))) == max(orbit)
