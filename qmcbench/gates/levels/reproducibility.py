"""Level *reproducibility*: the same seed gives the same bits, with or without an interruption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from qmcbench import training, vmc
from qmcbench.gates.check import Check
from qmcbench.gates.levels.distributed import flat, settings, trained
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.targets.target import Target
from qmcbench.ranks.comm import Serial


@gate("exact", needs=("engine",), cause="a random number that does not come from the seed, or a race of threads")
def seeds(target: Target, setting: Setting) -> Iterator[Check]:
    """Training twice with one seed gives the same bits, with another seed other configurations."""
    one, again = (trained(settings(setting.seed), Serial()) for _ in range(2))
    other = trained(settings(setting.seed + 1, steps=0), Serial(), setting.seed)
    fresh = trained(settings(setting.seed, steps=0), Serial())
    yield Check(
        name="same seed",
        check="exact",
        value=differences(one, again),
        bound=0.0,
        statement="Numbers of parameters, chains and state that differ between two runs.",
    )
    alike = (fresh.chains.spins == other.chains.spins).all((1, 2)).double().mean()
    yield Check(
        name="other seed",
        check="exact",
        value=float(alike),
        bound=0.5,
        relation="below",
        statement="Share of chains that end in the same configuration with another seed and the same parameters.",
    )


@gate(
    "exact",
    needs=("engine",),
    cause="something is not saved or not restored: random streams, the last solution (momentum), alpha, the history",
)
def resume(target: Target, setting: Setting) -> Check:
    """A run that is stopped after two of four steps and continued ends with the bits of one that is not."""
    with TemporaryDirectory() as folder:
        whole = training.train(settings(setting.seed, steps=4), Path(folder, "whole"), quiet=True)
        training.train(settings(setting.seed, steps=2), Path(folder, "parts"), quiet=True)
        parts = training.train(settings(setting.seed, steps=4), Path(folder, "parts"), quiet=True)
    return Check(
        name="resumed run",
        check="exact",
        value=differences(whole, parts),
        bound=0.0,
        statement="Numbers of parameters, chains and state that differ from an uninterrupted run's.",
    )


def differences(one: vmc.Trainer, other: vmc.Trainer) -> float:
    """How many numbers of two trainers' states are not the same."""
    pairs = [
        (flat(one), flat(other)),
        (one.chains.spins, other.chains.spins),
        (one.last_solution, other.last_solution),
        (torch.from_numpy(one.history), torch.from_numpy(other.history)),
        (torch.tensor([one.alpha]), torch.tensor([other.alpha])),
        (torch.tensor([one.chains.proposals]), torch.tensor([other.chains.proposals])),
    ]
    return float(sum(_unequal(a, b) for a, b in pairs))


def _unequal(a: torch.Tensor, b: torch.Tensor) -> int:
    """A nan at the same place of both is equal: a step whose chains were abnormal has no energy."""
    if a.shape != b.shape:
        return max(a.numel(), b.numel())
    return int(((a != b) & ~(a.isnan() & b.isnan())).sum())
