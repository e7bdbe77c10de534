"""Claims of the paper that counting answers: from the layouts of its networks, its lattices and its own numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from qmcbench.errors import UserError
from qmcbench.reference import model_spec, paper, published
from qmcbench.reference.claims import LARGE, PHASES

Of = Mapping[str, float | str]
BENCHMARK = "arXiv:2005.14142"
"""Nomura and Imada, PRX 11, 031034: what is said of reference [13] (RIKEN, K and Fugaku, up to 18x18) is theirs."""
CORES_PER_PROCESS = 65
"""A core group: one management core and 64 compute cores."""


def count(of: Of) -> float:
    """The counted value of a claim.

    Raises
    ------
    UserError
        If nothing of that name is counted.
    """
    name = name_of(of)
    if name not in COUNTED:
        raise UserError(f"Nothing is counted as {name!r}; choose one of {', '.join(COUNTED)}.")
    return COUNTED[name](of)


def name_of(of: Of) -> str:
    """What is counted."""
    return str(of.get("name") or of["phase"])


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


def _channels(of: Of) -> float:
    """Those of most convolutions of a layout."""
    blocks = model_spec(str(of["network"])).blocks
    return float(Counter(block.conv for block in blocks).most_common(1)[0][0])


def _samples(of: Of) -> float:
    """Of all processes, with as many each as the table or figure has."""
    tables = {"Table 3": paper.table3, "Fig. 10": paper.figure10}
    return float(tables[str(of["source"])]["samples_per_process"] * of["processes"])


def _overhead(of: Of) -> float:
    """ScaLAPACK's time over that of the iteration, both as printed in Table 3."""
    (row,) = [row for row in paper.table3["rows"] if all(row[key] == of[key] for key in ("parameters", "processes"))]
    case = f"{of['L']}x{of['L']}-{'sym' if of['symmetry'] == 'C4' else 'nosym'}"
    return float(row["scalapack_s"] / row["mc_s"][paper.table3["cases"].index(case)])


def _speedup(of: Of) -> float:
    """Of the large network's ScaLAPACK times in Table 3, the one on fewest processes over that on most."""
    times = [row["scalapack_s"] for row in paper.table3["rows"] if row["parameters"] == LARGE]
    return float(times[0] / times[-1])


def _saturation(of: Of) -> float:
    """The processes on which the three printed parts of Fig. 10 together take least."""
    figure = paper.figure10
    sums = [sum(parts) for parts in zip(*(figure[key] for key in PHASES), strict=True)]
    return float(figure["processes"][sums.index(min(sums))])


def _processes(position: int) -> float:
    return float(paper.figure10["processes"][position])


def _error(of: Of) -> float:
    """Relative distance of a printed energy from the one that the paper takes for a benchmark."""
    known = min(row.energy for row in published(int(of["L"]), 0.5) if BENCHMARK in row.id)
    return (float(of["energy"]) - known) / abs(known)


COUNTED: dict[str, Callable[[Of], float]] = {
    "cores": lambda of: CORES_PER_PROCESS * float(of["processes"]),
    "samples": _samples,
    "channels": _channels,
    "transposed kernel": _kernel,
    "forwards of a step": lambda of: 3 * float(of["L"]) ** 2 * float(of["samples"]),
    "growth of processes": lambda of: _processes(-1) / _processes(0),
    "growth of parameters": lambda of: paper.table1["parameters"]["large"] / paper.table1["parameters"]["small"],
    "space": lambda of: float(24**2 - 18**2),
    "Neel": lambda of: neel(int(of["L"]), float(of["J2"])),
    "relative error": _error,
    "overhead": _overhead,
    "speedup": _speedup,
    "saturation": _saturation,
}
