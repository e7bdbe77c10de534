"""Invented records about wave functions, and a network's checkpoint: the numbers mean nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import plain

from qmcbench import checkpoint
from qmcbench.checkpoint import Checkpoint, Imported
from qmcbench.config import parse
from qmcbench.provenance import Machine, Provenance
from qmcbench.store.energies import Energy, Network, Windowed
from qmcbench.store.records import Run

MADE = Provenance(
    command="qmcbench reproduce --profile synthetic",
    date="2000-01-01T00:00:00+00:00",
    python="3.11.7",
    versions={"qmcbench": "0.1.0", "torch": "2.9.0", "quspin": None},
    machine=Machine("Synthetic CPU", 2, 7.8, "Linux x86_64", None, 2),
)
NETWORK = Network(
    name="small", parameters=3531, symmetry="C4", sign="marshall", dtype="float32", L=4, J2=0.5, sha256="0" * 64
)
ENERGY = Energy(
    value=-0.5, sigma=1e-5, samples=16384, tau=1.0, seed=1, seconds=4.2, name="4x4 J2=0.5", network=NETWORK, L=4,
    J2=0.5, chains=64, gap=16, warm_up=20, alpha=1.0, bound=1e4, asked=16384, variance=0.31, v_score=1.23e-3,
    r_hat=1.0021, effective_samples=7340.2, plateau=True, acceptance=0.31, abnormal=0,
    window=Windowed(low=-0.6, high=-0.45, outside=0.01, mean=-0.5, sigma=1e-5),
)  # fmt: skip
"""An energy that nothing is wrong with."""


def timeless(run: Run) -> Run:
    """The run without what may differ between equal ones: its times and provenance."""
    return replace(run, provenance=MADE, seconds=0.0, records=tuple(replace(r, seconds=0.0) for r in run.records))


def network(path: Path, L: int = 4, J2: float = 0.3, **origin: Any) -> Path:
    """A float64 checkpoint whose network has signs of its own; ``origin`` makes it an imported one."""
    config = parse({"model": {"L": L, "J2": J2}, "wavefunction": {"dtype": "float64"}})
    imported = Imported("w.npz", "0" * 64, **origin) if origin else None
    parameters = dict(plain.lively("small").state_dict())
    checkpoint.write(path, Checkpoint(parameters, config, MADE, imported=imported))
    return path
