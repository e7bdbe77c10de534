"""Bit operations against index arithmetic: every symmetry, and the representative against the whole group."""

import itertools

import numpy as np
import pytest

from qmcbench.reference.bits import (
    INVERTED,
    REFLECTED,
    TRANSLATED,
    TRANSPOSED,
    largest_row,
    representative,
    symmetries,
)

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
    """The search through a few candidates finds the maximum over all symmetries (576 for 6x6), and all ways to it.

    With the parities of one of them, how many they are, and which parities they have.
    """
    find = representative(rows, columns)
    for spins in random_configurations(rows, columns, 60):
        orbit = [
            (
                word_of(np.roll(image, (down, right), axis=(0, 1))),
                TRANSLATED * ((down + right) % 2)
                | REFLECTED * (mirrored ^ flipped)
                | TRANSPOSED * turned
                | INVERTED * inverted,
            )
            for down, right in itertools.product(range(rows), range(columns))
            for inverted, turned, mirrored, flipped in itertools.product((0, 1), repeat=4)
            if rows == columns or not turned
            for start in (1 - spins if inverted else spins,)
            for image in ((start.T if turned else start)[:: 1 - 2 * flipped, :: 1 - 2 * mirrored],)
        ]
        largest = max(word for word, _ in orbit)
        ways = [parities for word, parities in orbit if word == largest]
        word, parities, count, seen = find(np.uint64(word_of(spins)))
        assert int(word) == largest
        assert parities in ways
        assert count == len(ways)
        assert seen == sum(1 << each for each in set(ways))


def test_largest_row() -> None:
    """The top row of the representative, found without it."""
    find, top = representative(6, 6), largest_row(6, 6)
    for spins in random_configurations(6, 6, 40):
        word = np.uint64(word_of(spins))
        assert int(top(word)) == int(find(word)[0]) >> 30
