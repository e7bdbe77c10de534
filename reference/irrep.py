"""Symmetry sectors of one dimension: what a state of a square cluster is multiplied by under each symmetry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from qmcbench.reference.bits import INVERTED, REFLECTED, TRANSLATED, TRANSPOSED

_POINT_GROUP = {(1, 1): "A1", (-1, -1): "A2", (1, -1): "B1", (-1, 1): "B2"}


@dataclass(frozen=True)
class Irrep:
    """Characters, +1 or -1, of the generators of the symmetry group."""

    translation: int = 1
    """Of the translations by one site: +1 at momentum (0, 0), -1 at (pi, pi)."""
    reflection: int = 1
    """Of the reflections of rows and of columns whose axes run through a site."""
    transposition: int = 1
    """Of the reflection on the diagonal."""
    inversion: int = 1
    """Of the inversion of all spins."""

    @property
    def odd(self) -> int:
        """Parities (see `qmcbench.reference.bits`) that count; an odd number of odd ones is the character -1."""
        # The reflections of `bits` have their axes between sites: one translation more.
        return (
            TRANSLATED * (self.translation < 0)
            | REFLECTED * (self.reflection * self.translation < 0)
            | TRANSPOSED * (self.transposition < 0)
            | INVERTED * (self.inversion < 0)
        )

    @property
    def signs(self) -> npt.NDArray[np.float64]:
        """Character of a symmetry by its parities, shape (16,)."""
        return np.array([(-1.0) ** (parities & self.odd).bit_count() for parities in range(16)])

    @property
    def forbidding(self) -> int:
        """Bit ``p``: a state vanishes on a configuration that a symmetry with the parities ``p`` leaves as it is."""
        return sum(1 << parities for parities, sign in enumerate(self.signs) if sign < 0)

    def allowed(self, seen: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
        """Which representatives may have an amplitude that is not zero; ``seen`` as in `Orbits`."""
        allowed: Any = (seen & np.uint16(self.forbidding)) == 0
        return np.asarray(allowed, dtype=np.bool_)

    @property
    def point_group(self) -> str:
        """Name in C4v about a site."""
        return _POINT_GROUP[self.reflection, self.transposition]

    @property
    def name(self) -> str:
        """Short: momentum, point group, spin inversion."""
        momentum = "(0,0)" if self.translation > 0 else "(pi,pi)"
        return f"k={momentum} {self.point_group} z={self.inversion:+d}"

    @property
    def code(self) -> str:
        """The name as a part of file names."""
        momentum = "0" if self.translation > 0 else "pi"
        return f"{momentum}{self.point_group}{'+' if self.inversion > 0 else '-'}"

    def __str__(self) -> str:
        """As in the field `sector` of a stored result."""
        momentum = "0" if self.translation > 0 else "pi"
        return (
            f"S^z=0, kx=ky={momentum}, {self.point_group} (reflections of rows and of columns: {self.reflection:+d}, "
            f"on the diagonal: {self.transposition:+d}), spin inversion {self.inversion:+d}"
        )


SYMMETRIC = Irrep()
"""The fully symmetric sector: every character is +1."""

IRREPS = tuple(Irrep(t, p, d, z) for t, z, (p, d) in product((1, -1), (1, -1), _POINT_GROUP))
"""All sixteen; the first is the fully symmetric one."""
