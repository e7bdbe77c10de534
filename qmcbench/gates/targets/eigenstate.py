"""The exact ground states of 4x4 and 6x6 as targets: wave functions of which every number is known."""

from __future__ import annotations

import torch

from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.exact import GroundState, at_hand
from qmcbench.gates import plain
from qmcbench.gates.models import lowest
from qmcbench.gates.targets.target import Size, Target
from qmcbench.lattice import random_configurations

NAMES = {"exact:4": 4, "exact:6": 6}
"""Their sizes by their names."""
PROBES = 64


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
    if L == 4:
        psi, energy, _ = lowest(J2)
        return Target(name=name, L=L, J2=J2, psi=psi, invariance=invariance(psi, L), energy=energy)
    ground = GroundState(L, J2)
    return Target(name=name, L=L, J2=J2, psi=ground, invariance=invariance(ground, L), energy=ground.energy)


def invariance(psi: Ansatz, L: int) -> tuple[str, ...]:
    """Generators under which psi does not change its sign, tried on random configurations.

    A ground state that is not degenerate has a character, +1 or -1, under each.
    """
    spins = random_configurations(L, PROBES, 0)
    log_psi, sign = psi(spins)
    clear = log_psi > log_psi.max() - 8
    characters = {
        name: psi(image(spins[clear]).contiguous())[1] * sign[clear] for name, image in plain.IMAGES.items()
    }
    return tuple(name for name, ratio in characters.items() if bool(torch.all(ratio > 0)))
