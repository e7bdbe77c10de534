"""Ways of optimising one network in equal seconds, judged by fresh samples: 6x6, J2 = 0.5, small.

A learning rate is given over the share of a run's seconds that have gone: a pilot of three steps tells how many steps
there will be. Loading and the pilot are not counted; every way gets the same seeds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qmcbench import provenance, reference
from qmcbench.checkpoint import copy_network
from qmcbench.config import Config, Sampling, parse
from qmcbench.errors import UserError
from qmcbench.evaluator import sample_energies
from qmcbench.files import name_of
from qmcbench.hamiltonian import J1J2
from qmcbench.store import jsonl
from qmcbench.store.bench import Optimised
from qmcbench.store.records import Run
from qmcbench.vmc import Trainer, build_ansatz

JOB = "bench optimisers"
L, J2, NETWORK = 6, 0.5, "small"
SECONDS, SEEDS = 150.0, (10, 11, 12)
QUICK_SECONDS, QUICK_SEEDS = 5.0, (10,)
PILOT = 3
# Of the evaluation: its error is about 1.5e-4 of the energy.
EVALUATION, ROUNDS = Sampling(chains=512, alpha=1.5), 16
# How far a run whose steps became slower than the pilot's may go beyond its seconds.
PATIENCE = 1.1

Knots = tuple[tuple[float, float], ...]
WARM: Knots = ((0, 0.05), (0.6, 0.05), (1, 0.01))
# The same step as the dense solver's, in less time: methods are compared, not solvers.
PAPER = {"solver": "sample_space"}


@dataclass(frozen=True)
class Way:
    """What differs from the others."""

    what: str
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    rate: Knots | None = WARM
    """Learning rate by the share of the run that is done; None: what the configuration says."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[str, ...] = ("full",)
    """Symmetries, each for an equal part of the seconds, from the parameters before."""
    preset: str = "own"


WAYS = {
    "spring": Way("momentum 0.9 (SPRING), 1024 chains, all symmetries from the start: the default's"),
    "plain": Way(
        "no momentum, at three times the rates, steps up to 0.4 long",
        {"momentum": 0.0, "max_step_norm": 0.4},
        ((0, 0.15), (0.6, 0.15), (1, 0.03)),
    ),
    "march": Way("momentum 0.9 and second moments (MARCH)", {"metric": "march"}),
    "march, cool": Way(
        "MARCH with momentum 0.95, as published, at lower rates",
        {"metric": "march", "momentum": 0.95},
        ((0, 0.02), (0.6, 0.02), (1, 0.004)),
    ),
    "diagonal": Way("a shift of 1e-2 of M's diagonal", {"metric": "diagonal", "shift": 1e-2}),
    "spectrum": Way("a shift of 1e-6 of M's trace", {"metric": "spectrum", "shift": 1e-6}),
    "512 chains": Way("half of the samples a step", sampling={"chains": 512}),
    "2048 chains": Way("twice the samples a step", sampling={"chains": 2048}),
    "staged": Way("no symmetry, then C4, then all", stages=("none", "C4", "full")),
    "constant rate": Way("a learning rate of 0.05 to the end, and else the default's", rate=((0, 0.05),)),
    "paper": Way(
        "the paper's plain SR, rate and shift, its step by the faster solver in sample space; no symmetry",
        PAPER,
        rate=None,
        stages=("none",),
        preset="paper",
    ),
    "paper, full": Way("the same with all symmetries", PAPER, rate=None, preset="paper"),
}


def total(quick: bool) -> int:
    """How many runs there are."""
    return len(WAYS) * len(QUICK_SEEDS if quick else SEEDS)


def measure(quick: bool, folder: Path, only: str | None = None) -> Iterator[list[Optimised]]:
    """Every way with every seed, all ways of a seed before the next seed.

    Each is kept in ``folder`` when it has run and not run again; of those that are not kept, those whose
    ``WAY: seed N`` does not match ``only`` do not run.
    """
    seconds = QUICK_SECONDS if quick else SECONDS
    for seed in QUICK_SEEDS if quick else SEEDS:
        for name, way in WAYS.items():
            digest = name_of([name, asdict(way), seed, seconds])
            kept = jsonl.load(folder, digest)
            if kept is not None and kept.of(Optimised):
                yield kept.of(Optimised)
            elif not re.search(only or "", f"{name}: seed {seed}"):
                yield [_record(name, way, seed, 0, not_run=f"not among those asked for, --only {only}")]
            else:
                found = optimised(name, way, seed, seconds)
                jsonl.save(folder, digest, Run(job=JOB, provenance=provenance.collect(JOB), records=(found,)))
                yield [found]


def optimised(name: str, way: Way, seed: int, seconds: float) -> Optimised:
    """Train so long, then evaluate."""
    psi: nn.Module | None = None
    steps, used, chains = 0, 0.0, 0
    try:
        for symmetry in way.stages:
            pilot = _trainer(_configuration(way, symmetry, seed, 10**6), psi)
            pilot.advance()
            began = time.perf_counter()
            for _ in range(PILOT):
                pilot.advance()
            share = seconds / len(way.stages)
            count = max(2, round(share * PILOT / (time.perf_counter() - began)))
            began = time.perf_counter()
            trainer = _trainer(_configuration(way, symmetry, seed, count), psi)
            trainer.advance()
            while trainer.step < count and time.perf_counter() - began < PATIENCE * share:
                trainer.advance()
            steps, used, chains = steps + trainer.step, used + time.perf_counter() - began, len(trainer.chains.spins)
            psi = trainer.psi
    except UserError as error:
        return _record(name, way, seed, steps, seconds=used, chains=chains, not_run=str(error))
    assert psi is not None
    found = sample_energies(psi, J1J2(L, J2), EVALUATION, samples=ROUNDS, seed=1000 + seed).estimate()
    measured = {"value": found.mean, "sigma": found.error, "samples": ROUNDS * EVALUATION.chains}
    return _record(name, way, seed, steps, seconds=used, chains=chains, **measured)


def _record(name: str, way: Way, seed: int, steps: int, **known: Any) -> Optimised:
    made = Optimised(
        way=name, what=way.what, L=L, J2=J2, network=NETWORK, symmetry=", ".join(way.stages), chains=0, steps=steps,
        seed=seed, exact=reference.exact(L, J2).energy, threads=torch.get_num_threads(),
    )  # fmt: skip
    return replace(made, **known)


def _trainer(config: Config, start: nn.Module | None) -> Trainer:
    psi = build_ansatz(config.wavefunction, config.run.seed)
    if start is not None:
        copy_network(psi, start.state_dict())
    trainer = Trainer(config, psi)
    trainer.warm_up()
    return trainer


def _configuration(way: Way, symmetry: str, seed: int, steps: int) -> Config:
    sections: dict[str, dict[str, Any]] = {
        "model": {"L": L, "J2": J2},
        "wavefunction": {"symmetry": symmetry, "network": NETWORK},
        "run": {"seed": seed, "preset": way.preset},
        "sampling": {"chains": 1024, **way.sampling},
        "optimizer": {"steps": steps, **way.optimizer},
    }
    if way.rate is not None:
        rate = {round(share * steps): value for share, value in way.rate}
        sections["optimizer"]["learning_rate"] = [list(knot) for knot in rate.items()]
        sections["optimizer"] = {"momentum": 0.9, **sections["optimizer"]}
        sections["sampling"] = {"effective_fraction": 0.15, **sections["sampling"]}
    return parse(sections, "the comparison of optimisers")
