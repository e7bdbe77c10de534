"""Invented records about wave functions, and a network's checkpoint: the numbers mean nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plain

from qmcbench import checkpoint
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import parse
from qmcbench.gates.check import Check
from qmcbench.provenance import Machine, Provenance
from qmcbench.store.bench import Rate, WorkTime
from qmcbench.store.energies import (
    Correlations,
    Curve,
    Energy,
    Exact,
    LeftOut,
    Network,
    Origin,
    Stage,
    Training,
    Windowed,
)
from qmcbench.store.records import Record, Reference, Run

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
    return replace(run, provenance=MADE, seconds=None, records=tuple(replace(r, seconds=None) for r in run.records))


def network(path: Path, L: int = 4, J2: float = 0.3, published: float | None = None) -> Path:
    """A float64 checkpoint whose network has signs of its own; with a published energy, an imported one."""
    origin: dict[str, Any] = {"citation": "nobody <2026>", "licence": "MIT", "L": L, "J2": J2}
    config = parse({"model": {"L": L, "J2": J2}, "wavefunction": {"dtype": "float64"}})
    imported = (
        None if published is None else Origin(file="w.npz", sha256="0" * 64, published_energy=published, **origin)
    )
    parameters = dict(plain.lively("small").state_dict())
    checkpoint.write(path, Checkpoint(parameters, config, MADE, imported=imported))
    return path


FOUR, SIX = "4x4 J2=0.5", "6x6 J2=0.5"
GROUND = {4: -0.52862021772, 6: -0.5038096539}


def curve(L: int) -> Curve:
    """Energies that decay towards the exact one with seeded noise."""
    steps, exact = 40 if L == 4 else 60, GROUND[L]
    step = np.arange(1, steps + 1)
    noise = np.random.default_rng(L).normal(0, 4e-3, steps)
    energy = exact * (1 - 0.6 * np.exp(-step / 8) - 1e-3) + noise * np.exp(-step / 30)
    return Curve(
        step=tuple(step.tolist()),
        energy=tuple(energy.tolist()),
        error=tuple(np.abs(noise + 1e-3).tolist()),
        variance=tuple(np.exp(-step / 10).tolist()),
        acceptance=tuple((0.5 - 0.2 * step / steps).tolist()),
        r_hat=tuple(None if t <= 16 else 1.0 + 0.3 / t for t in step.tolist()),
        alpha=tuple(np.linspace(1, 1.2, steps).tolist()),
        effective_fraction=tuple((0.4 + 0.1 * np.cos(step / 5)).tolist()),
        restarted=tuple(int(t == 3) for t in step.tolist()),
    )


def trained(name: str, L: int, start: str | None = None) -> list[Record]:
    """A training run and its evaluation."""
    exact = Reference(value=GROUND[L], source="synthetic")
    value, sigma, columns = GROUND[L] * (1 - 4.5e-4), 3.2e-5, curve(L)
    training = Training(
        value=columns.energy[-1], samples=512 * len(columns.step), seconds=87.6, reference=exact, name=name,
        network="small", parameters=3531, symmetry="C4", sign="marshall", L=L, J2=0.5, start=start,
        steps=len(columns.step), chains=512, curve=columns,
        phases={"sampling": 50.0, "local_energy": 20.0, "derivatives": 10.0, "solve": 5.0},
        paper=Stage(what="6x6 stage 1", start=-0.25, end=-0.502, steps=420) if L == 6 else None,
    )  # fmt: skip
    energy = replace(
        ENERGY, value=value, sigma=sigma, name=name, L=L, reference=exact, gap=L * L, seed=4294967297,
        full_sum=value + 0.5 * sigma if L == 4 else None, tolerance=1e-3 if L == 4 else 1e-4,
    )  # fmt: skip
    return [training, energy]


def reproduction() -> Run:
    """A SYNTHETIC reproduction of which one check fails, the relative error of 6x6."""
    exact = Exact(
        value=GROUND[4], L=4, J2=0.5, residual=3.1e-14, sector="synthetic sector", states=107, gap=1.2345678,
        structure_factor_pi_pi=3.25, structure_factor_pi_0=0.75, source="synthetic",
    )  # fmt: skip
    check = Check(name="matrix elements", check="exact", value=1e-16, bound=1e-14, statement="All equal.")
    sgemm = Rate(value=144.1, operation="sgemm")
    forward = WorkTime(
        value=0.0123, low=0.0120, high=0.0150, repeats=7, work="forward", network="large", L=12, batch=256,
        operations=88.2e9 * 0.0123,
    )  # fmt: skip
    solve = replace(forward, work="SR solve", operations=None)
    left_out = LeftOut(what="GPU", not_run="no device", command="qmcbench train `cuda.toml` | tee log")
    records = [left_out, exact, check, *trained(FOUR, 4), *trained(SIX, 6, FOUR), sgemm, forward, solve]
    return Run(job="reproduce", provenance=MADE, records=tuple(records), profile="synthetic", seed=1, seconds=543.2)


def zero_shot() -> Run:
    """A SYNTHETIC transfer of one network to two lattices and two couplings."""
    own = replace(
        NETWORK, origin=Origin(citation="nobody", source="nowhere", licence="MIT", L=4, J2=0.5, published_energy=-0.5)
    )
    best = {
        4: Reference(value=-0.528, source="synthetic"),
        6: Reference(value=-0.5, source="them", kind="variational"),
    }
    energies = [
        replace(
            ENERGY, name=f"{L}x{L} J2={J2:g}", L=L, J2=J2, gap=L * L, network=own, reference=best[L],
            paper=Reference(value=-0.51, source="seed paper, Table 4", kind="paper"),
        )
        for L in (4, 6)
        for J2 in (0.5, 0.6)
    ]  # fmt: skip
    values = tuple(float(i) for i in range(16))
    factor = Correlations(
        value=values[10], sigma=0.01, samples=16384, quantity="structure_factor", L=4, shape=(4, 4), at=(2, 2),
        mean=values, error=(0.01,) * 16, plateau=(True,) * 16,
    )  # fmt: skip
    return Run(job="zero-shot", provenance=MADE, records=(*energies, factor), seed=0, seconds=12.5)
