"""The symmetry sector of a wave function, tried on random configurations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.reference.irrep import Irrep

PROBES = 64
"""Random configurations on which the symmetries are tried."""

TOLERANCE = 1e-4
"""Median change of log|psi| under a symmetry that counts as none: float32 leaves about 1e-6.

The largest one, of amplitudes that are not small, may be a hundred times this.
"""


class NoSector(UserError):
    """A wave function that is in no symmetry sector, so that no sum over orbits gives its energy."""


def sector_of(psi: Ansatz, L: int) -> tuple[Irrep, float]:
    """Symmetry sector of a wave function, tried on random configurations.

    Returns
    -------
    irrep : Irrep
        What it is multiplied by under each symmetry.
    asymmetry : float
        Largest median change of log|psi| under a symmetry.

    Raises
    ------
    NoSector
        If it lacks a symmetry, or is in no sector of one dimension.
    """
    spins = random_configurations(L)
    log_psi, phase = called(psi, spins)
    clear = np.isfinite(log_psi)
    if not clear.any():
        raise UserError(
            f"The wave function vanishes on {PROBES} random configurations of {L}x{L}: nothing to sum up."
        )
    # Near a node rounding alone can change the phase.
    clear &= log_psi > np.median(log_psi[clear]) - 4
    characters, asymmetry = {}, 0.0
    for name, images in _symmetries(spins).items():
        moved, moved_phase = (values[clear] for values in called(psi, images))
        ratio = (moved_phase * phase[clear].conj()).real
        characters[name] = 1 if np.median(ratio) > 0 else -1
        changes = np.abs(moved - log_psi[clear])
        change, largest = float(np.median(changes)), float(changes.max())
        changed = not (change <= TOLERANCE and largest <= 100 * TOLERANCE)
        turned = (np.abs(moved_phase - characters[name] * phase[clear]) > 1e-2).any()
        if changed or turned:
            said = f"log|psi| changes by up to {largest:.1e}" if changed else "its phase changes"
            raise NoSector(
                f"The wave function is not symmetric under the {name} ({said} on {L}x{L}): sum it over this "
                'symmetry\'s images (symmetry = "full"), or evaluate it by sampling.'
            )
        asymmetry = max(asymmetry, change)
        if characters[name] != characters[alike := name.replace("column", "row")]:
            raise NoSector(
                f"The wave function has {characters[name]:+d} under the {name} and {characters[alike]:+d} under the "
                f"{alike}: this is no symmetry sector of one dimension; evaluate it by sampling."
            )
    return (
        Irrep(
            translation=characters["translation by one row"],
            reflection=characters["reflection of the rows"],
            transposition=characters["reflection on the diagonal"],
            inversion=characters["inversion of all spins"],
        ),
        asymmetry,
    )


def _symmetries(spins: Tensor) -> dict[str, Tensor]:
    """Images of the configurations under generators of the whole group; reflections have axes through a site."""
    back = -torch.arange(spins.shape[-1]) % spins.shape[-1]
    return {
        "translation by one row": spins.roll(1, -2),
        "translation by one column": spins.roll(1, -1),
        "reflection of the rows": spins[:, back],
        "reflection of the columns": spins[:, :, back],
        "reflection on the diagonal": spins.mT.contiguous(),
        "inversion of all spins": -spins,
    }


def random_configurations(L: int) -> Tensor:
    ups = np.random.default_rng(0).permuted(np.tile(np.repeat([1, -1], L * L // 2), (PROBES, 1)), axis=1)
    return torch.from_numpy(ups.reshape(-1, L, L).astype(np.int8))


@torch.no_grad()
def called(psi: Ansatz, spins: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    log_psi, phase = (np.asarray(values) for values in psi(spins))
    if log_psi.shape != phase.shape or log_psi.shape != (len(spins),):
        raise UserError(
            f"The wave function returned shapes {log_psi.shape} and {phase.shape} for {len(spins)} configurations; "
            f"log|psi| and phase have the shape ({len(spins)},)."
        )
    log_psi = log_psi.astype(np.float64)
    if np.isnan(log_psi).any() or np.isposinf(log_psi).any() or not np.isfinite(phase).all():
        raise UserError("The wave function is not finite: log|psi| or the phase is nan or infinite.")
    return log_psi, phase.astype(np.complex128 if np.iscomplexobj(phase) else np.float64)
