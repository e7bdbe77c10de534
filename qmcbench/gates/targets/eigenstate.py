"""The exact ground states of 4x4 and 6x6 as targets: wave functions of which every number is known."""

from __future__ import annotations

from qmcbench.errors import UserError
from qmcbench.exact import GroundState, at_hand
from qmcbench.gates.targets.target import Size, Target
from qmcbench.reference.irrep import Irrep

NAMES = {"exact:4": 4, "exact:6": 6}
"""Their sizes by their names."""


def target(name: str, size: Size) -> Target:
    """The ground state called ``name``, which claims its energy and its symmetries.

    A sampler or an evaluation of another code is tested on it with ``dataclasses.replace(target, evaluate=...)``.

    Raises
    ------
    UserError
        If another L is asked for, or 6x6 has not been diagonalized on this machine.
    """
    L, J2 = NAMES[name], size.coupling()
    size.check(name, L)
    if not at_hand(L, J2):
        raise UserError(
            f"The ground state of {L}x{L} at J2 = {J2:g} is not on this machine; `qmcbench ed --L {L} --j2 {J2:g} "
            "--recompute` computes it and keeps it, and says how long that takes."
        )
    psi = GroundState(L, J2)
    return Target(name=name, L=L, J2=J2, psi=psi, invariance=invariance(psi.irrep), energy=psi.energy)


def invariance(irrep: Irrep) -> tuple[str, ...]:
    """Generators whose character is +1 in a sector."""
    characters = {
        # A quarter turn is a reflection on the diagonal and one of the columns, whose axis is here between sites.
        "rotation": irrep.transposition * irrep.reflection * irrep.translation,
        "reflection": irrep.reflection * irrep.translation,
        "row shift": irrep.translation,
        "column shift": irrep.translation,
        "double row shift": 1,
        "double column shift": 1,
        "spin flip": irrep.inversion,
    }
    return tuple(name for name, character in characters.items() if character == 1)
