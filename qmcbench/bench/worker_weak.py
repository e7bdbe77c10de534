"""Weak scaling: whole optimisation steps with a fixed number of chains on each rank (paper Table 3 and Fig. 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from qmcbench.bench import kernels
from qmcbench.config import Config, Scalapack, parse
from qmcbench.errors import UserError
from qmcbench.ranks.comm import Communicator, on_root
from qmcbench.training import check_memory
from qmcbench.vmc import Step, Trainer, build_ansatz

MONTE_CARLO = ("sampling", "local_energy", "derivatives")
"""Phases of a step that each rank does for its own chains."""


@dataclass(frozen=True)
class Weak:
    """One measurement."""

    L: int
    network: str = "medium"
    symmetry: str = "none"
    solver: str = "scalapack"
    chains: int = 16
    """On each rank; 16 is the paper's."""
    J2: float = 0.5
    steps: int = 3
    """Counted ones: one more, the first, is not."""
    warm_up: int = 2
    """Sweeps before the first step."""
    layout: Scalapack = field(default_factory=Scalapack)
    seed: int = 0

    def config(self, ranks: int) -> Config:
        """The training run of so many ranks.

        Raises
        ------
        UserError
            If a value is not allowed, naming it.
        """
        layout = self.layout
        return parse(
            {
                "model": {"L": self.L, "J2": self.J2},
                "wavefunction": {"network": self.network, "symmetry": self.symmetry},
                "sampling": {"chains": self.chains * ranks, "warm_up": self.warm_up},
                "optimizer": {"steps": self.steps + 1, "solver": self.solver},
                "scalapack": {
                    "grid": layout.grid,
                    "block": layout.block,
                    "product": layout.product,
                    "redistribution": layout.redistribution,
                },
                "run": {"seed": self.seed, "threads": 1},
            },
            source="weak scaling",
        )


def measure(comm: Communicator, job: Weak) -> dict[str, Any]:
    """Time the steps of a real training run from random parameters.

    Returns
    -------
    dict
        ``mc``: sampling, local energies and derivatives of the slowest rank; ``rank_mc_s`` and ``rank_waiting_s``: of
        each rank (medians); ``sr``: the solver; ``iteration``: all of it; ``phases``: each on rank 0, and those of
        ScaLAPACK; ``overhead``: sr / iteration, which is what the paper's Table 3 prints (there, the time that it
        calls Monte Carlo less that of ScaLAPACK does not depend on the ranks, so it is that of the iteration);
        ``samples_per_second``; ``energies`` per site. Or only ``not_run``, why it does not fit into memory.

    Raises
    ------
    UserError
        If a value is not allowed, there is no ScaLAPACK, or a step could not be solved.
    """
    config = job.config(comm.size)
    psi = build_ansatz(config.wavefunction, config.run.seed)
    try:
        on_root(comm, lambda: check_memory(config, psi, comm))
    except UserError as error:
        return {"not_run": str(error)}
    trainer = Trainer(config, psi, comm)
    trainer.warm_up()
    trainer.advance()
    steps, solver = [], []
    for _ in range(job.steps):
        steps.append(_solved(trainer.advance()))
        solver.append(dict(getattr(trainer.solver, "seconds", {})))
    names = [*MONTE_CARLO, "gather", "solve", "step"]
    own = torch.tensor([[step.seconds[name] for name in names] for step in steps], dtype=torch.float64)
    everyone = comm.gather(own[None])
    mc, waiting = everyone[..., :3].sum(-1), everyone[..., 3]
    slowest, sr, iteration = (kernels.summary(times.tolist()) for times in (mc.amax(0), own[:, 4], own[:, 5]))
    phases = {name: kernels.summary(own[:, column].tolist()) for column, name in enumerate(names)}
    phases |= {name: kernels.summary([seconds[name] for seconds in solver]) for name in solver[0]}
    return {
        "parameters": trainer.last_solution.numel(),
        "samples": config.sampling.chains,
        "mc": slowest,
        "rank_mc_s": mc.quantile(0.5, dim=1).tolist(),
        "rank_waiting_s": waiting.quantile(0.5, dim=1).tolist(),
        "sr": sr,
        "iteration": iteration,
        "overhead": sr["median_s"] / iteration["median_s"],
        "samples_per_second": config.sampling.chains / iteration["median_s"],
        "phases": phases,
        "energies": [step.energy for step in steps],
        "memory": {"peak_bytes": kernels.peak_memory(comm)},
    }


def _solved(step: Step) -> Step:
    """``step``, if the parameters moved: the time of a step that was refused means nothing."""
    if step.refused is not None:
        raise UserError(f"Step {step.step} was refused: {step.refused}; choose other settings.")
    return step
