"""Claims of the paper that counting answers: from the layouts of its networks, its lattices and its own numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qmcbench.errors import UserError
from qmcbench.reference import best, model_spec, paper

Of = Mapping[str, float | str]
CORES_PER_PROCESS = 65
"""A core group: one management core and 64 compute cores."""


def count(of: Of) -> float:
    """The counted value of a claim.

    Raises
    ------
    UserError
        If nothing of that name is counted.
    """
    name = str(of["name"])
    if name not in COUNTED:
        raise UserError(f"Nothing is counted as {name!r}; choose one of {', '.join(COUNTED)}.")
    return COUNTED[name](of)


def neel(L: int, J2: float) -> float:
    """Energy per site of the Neel state: all nearest neighbours antiparallel, all next-nearest parallel."""
    spins = np.indices((L, L)).sum(0) % 2 - 0.5
    near = sum((spins * np.roll(spins, -1, axis)).sum() for axis in (0, 1))
    far = sum((spins * np.roll(spins, shift, (0, 1))).sum() for shift in ((1, 1), (1, -1)))
    return float(near + J2 * far) / L**2


def parameters(network: str, deconv: int = 2) -> int:
    """Weights and biases of a layout whose transposed convolutions are ``deconv`` wide."""
    channels, total = 1, 0
    for block in model_spec(network).blocks:
        total += (
            channels * block.conv * block.kernel**2 + block.conv + block.conv * block.deconv * deconv + block.deconv
        )
        channels = block.deconv
    return total


def _kernel(of: Of) -> float:
    """The width with which the layouts have the printed numbers of parameters."""
    printed = paper.table1["parameters"]
    fitting = [width for width in range(1, 6) if all(parameters(name, width) == printed[name] for name in printed)]
    return float(fitting[0])


def _processes(position: int) -> float:
    return float(paper.figure10["processes"][position])


def _error(of: Of) -> float:
    """Relative distance of a printed energy from the best one published since."""
    known = best(int(of["L"]), 0.5).energy
    return (float(of["energy"]) - known) / abs(known)


COUNTED: dict[str, Callable[[Of], float]] = {
    "cores": lambda of: CORES_PER_PROCESS * float(of["processes"]),
    "samples": lambda of: float(of["each"]) * float(of["processes"]),
    "channels": lambda of: float(model_spec(str(of["network"])).blocks[-1].conv),
    "transposed kernel": _kernel,
    "forwards of a step": lambda of: 3 * float(of["L"]) ** 2 * float(of["samples"]),
    "growth of processes": lambda of: _processes(-1) / _processes(0),
    "growth of parameters": lambda of: paper.table1["parameters"]["large"] / paper.table1["parameters"]["small"],
    "space": lambda of: float(24**2 - 18**2),
    "Neel": lambda of: neel(int(of["L"]), float(of["J2"])),
    "relative error": _error,
}
