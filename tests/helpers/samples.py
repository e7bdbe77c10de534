"""Files of samples as another program would write them: NumPy and QuSpin's matrix, nothing of the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qmcbench import reference


@cache
def system(J2: float) -> tuple[NDArray[np.int8], object]:
    """Configurations of 4x4 with S^z = 0, and H."""
    configurations, matrix = reference.hamiltonian_matrix(4, J2)
    return configurations.copy(), matrix


def generic(seed: int = 0, spread: float = 0.6) -> NDArray[np.complex128]:
    """A complex psi of no symmetry on all configurations."""
    rng = np.random.default_rng(seed)
    count = len(system(0.5)[0])
    return np.exp(spread * rng.normal(size=count) + 1j * rng.uniform(0, 2 * np.pi, count))


def near_ground_state(J2: float = 0.5, steps: int = 20) -> NDArray[np.complex128]:
    """Some steps of the power method from Marshall's sign."""
    spins, matrix = system(J2)
    i = np.arange(4)
    on_a = (i[:, None] + i) % 2 == 0
    psi = (-1.0) ** (spins.reshape(-1, 4, 4)[:, on_a] > 0).sum(1)
    for _ in range(steps):
        psi = 4 * psi - matrix @ psi  # type: ignore[operator]
        psi /= np.linalg.norm(psi)
    return psi.astype(np.complex128)


@dataclass(frozen=True)
class Written:
    """Arrays of a file."""

    spins: NDArray[np.int8]
    log_psi: NDArray[np.complex128]
    chain: NDArray[np.int64]
    local_energies: NDArray[np.complex128]
    alpha: float = 2.0
    J2: float = 0.5

    def kept(self, keep: NDArray[np.bool_]) -> Written:
        """Without some samples."""
        one = {name: getattr(self, name)[keep] for name in ("spins", "log_psi", "chain", "local_energies")}
        return replace(self, **one)

    def save(self, path: Path) -> Path:
        """As an ``.npz``."""
        np.savez(path, **vars(self))
        return path


def drawn(
    psi: NDArray[np.complex128],
    seed: int,
    *,
    chains: int = 64,
    length: int = 500,
    alpha: float = 2.0,
    J2: float = 0.5,
) -> Written:
    """Independent samples of |psi|^alpha."""
    spins, matrix = system(J2)
    weight = np.abs(psi) ** alpha
    index = np.random.default_rng(seed).choice(len(psi), chains * length, p=weight / weight.sum())
    energies = (matrix @ psi) / psi  # type: ignore[operator]
    return Written(
        spins=spins[index].reshape(-1, 4, 4),
        log_psi=np.log(psi)[index],
        chain=np.repeat(np.arange(chains), length),
        local_energies=energies[index],
        alpha=alpha,
        J2=J2,
    )
