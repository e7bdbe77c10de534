"""Correct code, and correct data, on which gates are calibrated: what never deserves an alarm, but comes nearest."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch

from qmcbench import reference
from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.gates.models import lowest
from qmcbench.gates.registry import Gate
from qmcbench.gates.tables import table
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.samples import SampleFile
from qmcbench.gates.targets.target import Target
from qmcbench.lattice import all_configurations
from qmcbench.sampler import Chains, Sampler

NOISE = 1e-3
"""Relative noise of each amplitude in a state that attains its bound: a 20th of a standard error above it."""
CHAINS, LENGTH, WARM_UP = 64, 100, 20
"""Of a file of samples: chains, samples of each, and sweeps before them."""
SIGMA = 1e-4
"""Of a claimed energy."""


def correct(gate: Gate, seed: int) -> Target:
    """The engine with a psi, or data drawn with this ``seed``, that show how often the gate raises an alarm.

    A gate that no energy may lie below a bound gets a state that all but attains it: any other never raises one.
    """
    if "samples" in gate.needs:
        return Target(name="samples", samples=_drawn(seed))
    if "energies" in gate.needs:
        return Target(name="energies", energies=(_claimed(seed),))
    return _attaining() if gate.kind == "variational" else _own()


def fixed(gate: Gate) -> bool:
    """Whether the gate judges data that are what they are, so that its second stage says what the first one said."""
    return not {"samples", "energies"}.isdisjoint(gate.needs)


@cache
def _own() -> Target:
    target = builtin()
    assert target.psi is not None
    return replace(target, psi=tabulated(target.psi))


@cache
def _attaining() -> Target:
    target = builtin()
    return replace(target, psi=tabulated(lowest(target.J2)[0], torch.float64), invariance=())


@torch.no_grad()
def tabulated(psi: Ansatz, noisy: torch.dtype | None = None) -> Ansatz:
    """psi on 4x4 as a table, a tenth of the time; with :data:`NOISE`, real or complex, if a dtype is given for it."""
    spins = all_configurations(4)
    log_psi, phase = amplitudes(psi, spins)
    values = phase * (log_psi - log_psi.max()).exp()
    if noisy is not None:
        generator = torch.Generator().manual_seed(0)
        values = values * (1 + NOISE * torch.randn(len(spins), generator=generator, dtype=noisy))
    return table(spins, values)


@cache
def _turned() -> Ansatz:
    """A complex state that all but attains its bound: the imaginary part of its energy is noise."""
    return tabulated(lowest(0.5)[0], torch.complex128)


@lru_cache(maxsize=1)
def _drawn(seed: int) -> SampleFile:
    psi, engine = _turned(), builtin()
    assert engine.local_energies is not None
    sampler, chains = Sampler(4, seed), Chains.neel(4, CHAINS)
    sampler.advance(psi, chains, 16 * WARM_UP, 2.0)
    spins, log_psi = [], []
    for _ in range(LENGTH):
        sweep = sampler.advance(psi, chains, 16, 2.0)
        spins.append(chains.spins.clone())
        log_psi.append(torch.complex(sweep.log_psi, torch.angle(sweep.phase)))
    every = torch.cat(spins)
    return SampleFile(
        path=Path("samples.npz"),
        spins=every,
        log_psi=torch.cat(log_psi),
        chain=torch.arange(CHAINS).repeat(LENGTH),
        local_energies=engine.local_energies(psi, 4, 0.5, every).to(torch.complex128),
    )


def _claimed(seed: int) -> ClaimedEnergy:
    known = reference.known_energy(4, 0.5)
    assert known is not None
    energy = known[0] + SIGMA * float(np.random.default_rng(seed).normal())
    return ClaimedEnergy(row=1, L=4, J2=0.5, energy=energy, sigma=SIGMA)
