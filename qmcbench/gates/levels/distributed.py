"""Level *distributed*: what many ranks compute is what one computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from qmcbench import vmc
from qmcbench.config import Config, parse
from qmcbench.gates.check import Check
from qmcbench.gates.ranks import on_ranks
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.targets.target import Target
from qmcbench.ranks.comm import Communicator, Serial

STEPS = 3


@gate(
    "exact",
    needs=("engine",),
    cause="a sum over one rank's samples only, or random streams that follow the rank instead of the chain",
)
def ranks(target: Target, setting: Setting) -> Iterator[Check]:
    """Training on 2 and 3 ranks visits the configurations, energies and parameters of training on one."""
    solvers = ("sample_space",) if setting.quick else ("sample_space", "dense")
    for solver in solvers:
        config = settings(setting.seed, solver=solver)
        alone = trained(config, Serial())
        for size in (2, 3):
            spread = on_ranks(size, lambda rank, config=config: trained(config, rank))  # type: ignore[misc]
            chains = torch.cat([each.chains.spins for each in spread])
            same = torch.equal(chains, alone.chains.spins)
            off = torch.stack([flat(each) - flat(alone) for each in spread]).abs().amax()
            yield Check(
                name=f"{size} ranks, {solver}",
                check="exact",
                value=float(off) if same else None,
                bound=1e-9,
                statement=f"Largest difference of a parameter after {STEPS} steps; all chains end as on one rank.",
            )


def settings(seed: int, **optimizer: Any) -> Config:
    """A few steps on 4x4 with everything on that a state could lose: momentum, steered alpha."""
    return parse(
        {
            "model": {"L": 4, "J2": 0.5},
            "wavefunction": {"network": "small", "symmetry": "none", "dtype": "float64"},
            "sampling": {"chains": 22, "warm_up": 3, "alpha": 1.0, "effective_fraction": 0.5},
            "optimizer": {"steps": STEPS, "momentum": 0.9, "learning_rate": 0.05, "starts": 1, **optimizer},
            "run": {"seed": seed, "threads": 1},
        }
    )


def trained(config: Config, comm: Communicator, parameters: int | None = None) -> vmc.Trainer:
    """After all steps of a configuration; ``parameters`` is another seed for the fresh ones."""
    psi = vmc.build_ansatz(config.wavefunction, config.run.seed if parameters is None else parameters)
    trainer = vmc.Trainer(config, psi, comm)
    trainer.warm_up()
    for _ in range(config.optimizer.steps):
        trainer.advance()
    return trainer


def flat(trainer: vmc.Trainer) -> torch.Tensor:
    """All parameters, one behind another."""
    return torch.cat([parameter.detach().flatten() for parameter in trainer.psi.parameters()])
