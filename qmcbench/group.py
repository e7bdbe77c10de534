"""Symmetries of spins on the L x L torus as data: generators by name, their characters, and what a projection sums.

A symmetry g turns a configuration S into g S. A wave function that every h of a group H leaves as it is has the same
amplitude for all h g S: of a projection sum_g chi(g) psi(g S) over a larger group one image of a coset is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qmcbench.errors import UserError

Characters = tuple[tuple[str, int], ...]
"""Names of generators, each with its character, +1 or -1."""


class Element(NamedTuple):
    """(g S)(r) = flip * S(matrix r + shift), r = (row, column), on the torus."""

    matrix: tuple[int, int, int, int]
    shift: tuple[int, int]
    flip: int


class Image(NamedTuple):
    """A term of a projection."""

    element: Element
    character: int


IDENTITY = Element((1, 0, 0, 1), (0, 0), 1)

GENERATORS: Mapping[str, Callable[[int], Element]] = {
    # A quarter turn, as numpy and torch have it.
    "rotation": lambda L: Element((0, 1, -1, 0), (0, L - 1), 1),
    "reflection": lambda L: Element((1, 0, 0, -1), (0, L - 1), 1),
    "row shift": lambda L: Element((1, 0, 0, 1), (L - 1, 0), 1),
    "column shift": lambda L: Element((1, 0, 0, 1), (0, L - 1), 1),
    "double row shift": lambda L: Element((1, 0, 0, 1), (L - 2, 0), 1),
    "double column shift": lambda L: Element((1, 0, 0, 1), (0, L - 2), 1),
    "spin flip": lambda L: Element((1, 0, 0, 1), (0, 0), -1),
}
"""A reflection exchanges left and right; shifts go down or to the right, by one site or two."""

PRESETS: Mapping[str, Characters] = {
    "none": (),
    "C4": (("rotation", 1),),
    "C4v": (("rotation", 1), ("reflection", 1)),
    "full": (("rotation", 1), ("reflection", 1), ("column shift", 1), ("spin flip", 1)),
}
"""Rotations alone (the paper's), with reflections, and with shifts and spin flip too: all that the model has."""

PAIRED_COLUMNS = ("row shift", "double column shift")
"""What the paper's networks are invariant under by themselves: their pooling pairs columns."""

GENERIC = 12
"""A lattice without coincidences: what a projection is invariant under here it is on all that allow its characters.

A multiple of four: where L / 2 is odd, the double shifts cannot have the character -1.
"""


def characters(symmetry: str) -> Characters:
    """What a configuration's ``symmetry`` says: a preset, or names of generators with commas between them.

    A minus sign before a name stands for the character -1.

    Raises
    ------
    UserError
        If a name is unknown or comes twice.
    """
    if symmetry in PRESETS:
        return PRESETS[symmetry]
    words = [word.strip() for word in symmetry.split(",")]
    signs = [-1 if word.startswith("-") else 1 for word in words]
    names = [word.removeprefix("-").strip() for word in words]
    for number, name in enumerate(names):
        if name not in GENERATORS or name in names[:number]:
            why = "comes twice" if name in GENERATORS else "is unknown"
            raise UserError(
                f"symmetry = {symmetry!r}: {name!r} {why}; give one of {', '.join(PRESETS)}, or some of "
                f"{', '.join(GENERATORS)}, each with a minus sign before it for the character -1."
            )
    return tuple(zip(names, signs, strict=True))


def product(g: Element, s: Element, L: int) -> Element:
    """The symmetry g s: first s, then g."""
    (a, b, c, d), (e, f, h, k) = s.matrix, g.matrix
    y, x = g.shift
    return Element(
        (a * e + b * h, a * f + b * k, c * e + d * h, c * f + d * k),
        ((a * y + b * x + s.shift[0]) % L, (c * y + d * x + s.shift[1]) % L),
        g.flip * s.flip,
    )


def sites(element: Element, L: int) -> NDArray[np.int64]:
    """Which site each site of g S has its spin from (but for the flip), shape (L * L,)."""
    rows, columns = np.divmod(np.arange(L * L), L)
    a, b, c, d = element.matrix
    y, x = element.shift
    return np.asarray((a * rows + b * columns + y) % L * L + (c * rows + d * columns + x) % L)


@cache
def closure(names: tuple[str, ...], L: int) -> frozenset[Element]:
    """The group that these generators span."""
    own = [GENERATORS[name](L) for name in names]
    elements, new = {IDENTITY}, {IDENTITY}
    while new:
        new = {product(g, s, L) for g in new for s in own} - elements
        elements |= new
    return frozenset(elements)


@cache
def images(generators: Characters, invariance: tuple[str, ...], L: int) -> tuple[Image, ...]:
    """The terms of a projection: a representative of each coset, the identity first.

    Parameters
    ----------
    generators
        Of the group that is summed over.
    invariance
        Generators of what the wave function is invariant under by itself.
    L
        Linear size.

    Raises
    ------
    UserError
        If the characters contradict one another, or a symmetry that the wave function has: all amplitudes would
        vanish.
    """
    invisible = closure(invariance, L)
    terms = [Image(IDENTITY, 1)]
    place = dict.fromkeys(invisible, 0)
    # The list grows while it is read. A generator leads from each coset to a coset, known or new.
    for g, character in terms:
        for name, own in generators:
            image = product(g, GENERATORS[name](L), L)
            if image not in place:
                place |= dict.fromkeys((product(h, image, L) for h in invisible), len(terms))
                terms.append(Image(image, character * own))
            elif terms[place[image]].character != character * own:
                raise UserError(
                    f"symmetry: with the characters {_text(generators)} every amplitude vanishes on the {L}x{L} "
                    f"lattice: they contradict one another{_besides(invariance)}; change the sign of one."
                )
    return tuple(terms)


def evaluations(symmetry: str, L: int) -> int:
    """How often one amplitude with this ``symmetry`` evaluates the paper's network; 1 without any.

    Raises
    ------
    UserError
        If the symmetry is none, or one that this network cannot have.
    """
    return len(images(characters(symmetry), PAIRED_COLUMNS, L))


def named(number: int) -> str:
    """The preset that evaluates the paper's network so many times (on every lattice), or the number in words."""
    presets = {evaluations(preset, GENERIC): preset for preset in PRESETS}
    return presets.get(number, f"{number} images")


def invariant_under(generators: Characters, invariance: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the generators that leave a projection as it is.

    Those that change its sign are none of them, nor those that do so on single lattices only.

    Parameters
    ----------
    generators
        Of the group that is summed over.
    invariance
        Generators of what the wave function that is projected is invariant under.

    Raises
    ------
    UserError
        As :func:`images`.
    """
    return _invariant_under(images(generators, invariance, GENERIC), invariance)


@cache
def _invariant_under(terms: tuple[Image, ...], invariance: tuple[str, ...]) -> tuple[str, ...]:
    invisible = closure(invariance, GENERIC)
    place = {product(h, term.element, GENERIC): number for number, term in enumerate(terms) for h in invisible}

    def permutes(name: str) -> bool:
        own = GENERATORS[name](GENERIC)
        moved = [place.get(product(term.element, own, GENERIC)) for term in terms]
        return all(
            to is not None and term.character == terms[to].character for term, to in zip(terms, moved, strict=True)
        )

    return tuple(name for name in GENERATORS if permutes(name))


def _text(generators: Characters) -> str:
    return ", ".join(f"{name} {character:+d}" for name, character in generators)


def _besides(invariance: tuple[str, ...]) -> str:
    return f", or the wave function's own symmetry ({', '.join(invariance)}), which has +1" if invariance else ""
