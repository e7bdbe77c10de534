"""Symmetries as data: what each generator does, that they form groups, and which terms a projection has."""

from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qmcbench import group
from qmcbench.errors import UserError
from qmcbench.group import GENERATORS, IDENTITY, PAIRED_COLUMNS, PRESETS, Characters, Element

Spins = NDArray[np.int64]

# Each generator as numpy has it, and how often it has to be applied to do nothing.
TABLE: dict[str, tuple[Callable[[Spins], Spins], Callable[[int], int]]] = {
    "rotation": (np.rot90, lambda L: 4),
    "reflection": (np.fliplr, lambda L: 2),
    "row shift": (lambda spins: np.roll(spins, 1, 0), lambda L: L),
    "column shift": (lambda spins: np.roll(spins, 1, 1), lambda L: L),
    "double row shift": (lambda spins: np.roll(spins, 2, 0), lambda L: L // 2),
    "double column shift": (lambda spins: np.roll(spins, 2, 1), lambda L: L // 2),
    "spin flip": (np.negative, lambda L: 2),
}

sizes = st.sampled_from([4, 6, 8])
words = st.lists(st.sampled_from(list(GENERATORS)), max_size=6)
subsets = st.lists(st.sampled_from(list(GENERATORS)), max_size=4, unique=True).map(tuple)
signed = st.lists(
    st.tuples(st.sampled_from(list(GENERATORS)), st.sampled_from([1, -1])),
    max_size=4,
    unique_by=lambda pair: pair[0],
).map(tuple)
few = settings(max_examples=40, deadline=None, derandomize=True)


def applied(element: Element, spins: Spins) -> Spins:
    """g S; the sites' "spins" may be any numbers."""
    L = len(spins)
    return element.flip * spins.ravel()[group.sites(element, L)].reshape(L, L)


def numbered(L: int) -> Spins:
    """A different number on each site, none of them 0."""
    return np.arange(1, L * L + 1).reshape(L, L)


def element_of(word: Iterable[str], L: int) -> Element:
    """The first generator of the word first."""
    return reduce(lambda so_far, name: group.product(GENERATORS[name](L), so_far, L), word, IDENTITY)


def signed_closure(generators: Characters, L: int) -> set[tuple[Element, int]]:
    """Elements with their characters, by brute force; contradictory ones come with both signs."""
    steps = [(GENERATORS[name](L), character) for name, character in generators]
    pairs, new = {(IDENTITY, 1)}, {(IDENTITY, 1)}
    while new:
        new = {(group.product(s, g, L), own * character) for g, character in new for s, own in steps} - pairs
        pairs |= new
    return pairs


def test_the_table_is_of_all_generators() -> None:
    """No generator is left out of the tests below."""
    assert list(TABLE) == list(GENERATORS)


@pytest.mark.parametrize("L", [4, 6, 10])
@pytest.mark.parametrize("name", TABLE)
def test_generators(name: str, L: int) -> None:
    """A generator moves the spins as numpy does, and is the identity after as many times as it should, not before."""
    expected, order = TABLE[name]
    own = GENERATORS[name](L)
    assert np.array_equal(applied(own, numbered(L)), expected(numbered(L)))
    powers = [element_of([name] * times, L) for times in range(1, order(L) + 1)]
    assert [power == IDENTITY for power in powers] == [False] * (order(L) - 1) + [True]


@few
@given(sizes, words)
def test_products_act_one_after_the_other(L: int, word: list[str]) -> None:
    """The product of a word does what its generators do in turn: a group action."""
    spins = numbered(L)
    for name in word:
        spins = TABLE[name][0](spins)
    assert np.array_equal(applied(element_of(word, L), numbered(L)), spins)


@few
@given(sizes, words, words, words)
def test_products_are_associative(L: int, first: list[str], second: list[str], third: list[str]) -> None:
    """(f g) h = f (g h)."""
    f, g, h = (element_of(word, L) for word in (first, second, third))
    assert group.product(group.product(f, g, L), h, L) == group.product(f, group.product(g, h, L), L)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        pytest.param((), lambda L: 1, id="trivial"),
        pytest.param(("rotation",), lambda L: 4, id="C4"),
        pytest.param(("rotation", "reflection"), lambda L: 8, id="C4v"),
        pytest.param(PAIRED_COLUMNS, lambda L: L * L // 2, id="paired-columns"),
        pytest.param(("rotation", "column shift"), lambda L: 4 * L * L, id="p4"),
        pytest.param(tuple(name for name, _ in PRESETS["full"]), lambda L: 16 * L * L, id="full"),
    ],
)
@pytest.mark.parametrize("L", [4, 6])
def test_groups(names: tuple[str, ...], order: Callable[[int], int], L: int) -> None:
    """A closure has the order that it should, is closed, and its elements are different permutations of the sites."""
    elements = group.closure(names, L)
    assert len(elements) == order(L)
    for name in names:
        assert {group.product(g, GENERATORS[name](L), L) for g in elements} == elements
    tables = [group.sites(element, L) for element in elements]
    assert all(np.array_equal(np.sort(table), np.arange(L * L)) for table in tables)
    assert len({(table.tobytes(), element.flip) for table, element in zip(tables, elements, strict=True)}) == order(L)


@pytest.mark.parametrize("L", [4, 6, 10])
@pytest.mark.parametrize(
    ("preset", "network", "alone"),
    [
        pytest.param("none", 1, lambda L: 1, id="none"),
        pytest.param("C4", 4, lambda L: 4, id="C4"),
        pytest.param("C4v", 8, lambda L: 8, id="C4v"),
        pytest.param("full", 32, lambda L: 16 * L * L, id="full"),
    ],
)
def test_numbers_of_images(preset: str, network: int, alone: Callable[[int], int], L: int) -> None:
    """The paper's network needs 32 of all 16 L^2 images, of those of the point group alone all."""
    assert group.evaluations(preset, L) == len(group.images(PRESETS[preset], PAIRED_COLUMNS, L)) == network
    assert len(group.images(PRESETS[preset], (), L)) == alone(L)
    assert group.named(network) == preset


def test_a_number_that_no_preset_has() -> None:
    """Such a projection goes by its number of images."""
    assert group.evaluations("rotation, reflection, column shift", 6) == 16
    assert group.named(16) == "16 images"


@few
@given(st.sampled_from([4, 6]), signed, subsets)
def test_images_are_a_representative_of_each_coset(
    L: int, generators: Characters, invariance: tuple[str, ...]
) -> None:
    """The terms' cosets do not overlap and cover the group; each has the character that products give.

    They are refused just where brute force finds a symmetry of the wave function with the character -1.
    """
    whole, own = signed_closure(generators, L), group.closure(invariance, L)
    if any((h, -1) in whole for h in own):
        with pytest.raises(UserError, match=f"every amplitude vanishes on the {L}x{L} lattice.*change the sign"):
            group.images(generators, invariance, L)
        return
    terms = group.images(generators, invariance, L)
    assert terms[0] == (IDENTITY, 1)
    assert set(terms) <= whole
    covered = [group.product(h, term.element, L) for term in terms for h in own]
    assert len(set(covered)) == len(covered)
    assert {element for element, _ in whole} <= set(covered)


@few
@given(sizes, signed, subsets)
def test_what_a_projection_is_invariant_under(L: int, generators: Characters, invariance: tuple[str, ...]) -> None:
    """The generators it names permute its terms, characters included, on every lattice that has the sector.

    Among them are those summed over with the character +1, and none of those with -1.
    """
    try:
        terms = group.images(generators, invariance, L)
    except UserError:
        return
    named = group.invariant_under(generators, invariance)
    assert {name for name, character in generators if character == 1} <= set(named)
    assert not {name for name, character in generators if character == -1} & set(named)
    own = group.closure(invariance, L)
    summed = {(group.product(h, term.element, L), term.character) for term in terms for h in own}
    for name in named:
        moved = {(group.product(g, GENERATORS[name](L), L), character) for g, character in summed}
        assert moved == summed, name


@pytest.mark.parametrize(
    ("symmetry", "names"),
    [
        pytest.param("none", ("row shift", "double row shift", "double column shift"), id="none"),
        pytest.param("C4", ("rotation", "double row shift", "double column shift"), id="C4"),
        pytest.param("C4v", ("rotation", "reflection", "double row shift", "double column shift"), id="C4v"),
        pytest.param("full", tuple(GENERATORS), id="full"),
        pytest.param("-rotation, spin flip", ("double row shift", "double column shift", "spin flip"), id="minus"),
    ],
)
def test_invariance_of_projections_of_the_network(symmetry: str, names: tuple[str, ...]) -> None:
    """Turned networks are invariant under double shifts in both directions only; of -1 nothing is left."""
    assert group.invariant_under(group.characters(symmetry), PAIRED_COLUMNS) == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("none", (), id="none"),
        pytest.param("C4", (("rotation", 1),), id="C4"),
        pytest.param("rotation", (("rotation", 1),), id="a-name"),
        pytest.param(" - spin flip ,row shift", (("spin flip", -1), ("row shift", 1)), id="signs-and-blanks"),
    ],
)
def test_characters(text: str, expected: Characters) -> None:
    """A preset, or names with signs."""
    assert group.characters(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("c4", "'c4' is unknown", id="unknown"),
        pytest.param("", "'' is unknown", id="empty"),
        pytest.param("rotation,", "'' is unknown", id="trailing-comma"),
        pytest.param("rotation, C4", "'C4' is unknown", id="preset-in-a-list"),
        pytest.param("--rotation", "'-rotation' is unknown", id="two-signs"),
        pytest.param("rotation, -rotation", "'rotation' comes twice", id="twice"),
    ],
)
def test_wrong_symmetries(text: str, message: str) -> None:
    """One sentence says what is wrong and what there is."""
    with pytest.raises(UserError, match=f"symmetry = {text!r}: {message}; give one of none, C4, .* character -1.$"):
        group.characters(text)


@pytest.mark.parametrize(
    ("text", "invariance", "L", "reason"),
    [
        pytest.param("rotation, row shift, -column shift", (), 4, "one another;", id="turned-into-each-other"),
        pytest.param("row shift, -double row shift", (), 4, "one another;", id="square"),
        pytest.param("-double row shift", (), 6, "one another;", id="odd-order"),
        pytest.param("-row shift", PAIRED_COLUMNS, 4, r"own symmetry \(row shift, double c", id="own-symmetry"),
        pytest.param("rotation, -column shift", PAIRED_COLUMNS, 4, "own symmetry", id="own-symmetry-turned"),
    ],
)
def test_contradictory_characters(text: str, invariance: tuple[str, ...], L: int, reason: str) -> None:
    """Characters that leave no amplitude are refused, with the lattice, the characters and what they contradict."""
    with pytest.raises(UserError, match=rf"^symmetry: with the characters .*-1.* on the {L}x{L} lattice: .*{reason}"):
        group.images(group.characters(text), invariance, L)


@pytest.mark.parametrize("L", [4, 8, 12])
def test_an_even_order_allows_minus_one(L: int) -> None:
    """Double shifts have the character -1 where L / 2 is even."""
    assert len(group.images((("double row shift", -1),), (), L)) == L // 2
