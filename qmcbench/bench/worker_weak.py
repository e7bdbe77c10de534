"""Weak scaling: whole optimisation steps with a fixed number of chains on each rank (paper Table 3 and Fig. 10)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace

import torch

from qmcbench.bench import kernels
from qmcbench.config import Config, Scalapack, parse
from qmcbench.errors import UserError
from qmcbench.ranks.comm import Communicator, on_root
from qmcbench.ranks.mesh import fit_grid
from qmcbench.store.scaling import Layout, SolveTimes, StepTimes, WeakRun
from qmcbench.training import check_memory
from qmcbench.vmc import Step, Trainer, build_ansatz

MONTE_CARLO = ("sampling", "local_energy", "derivatives")
"""Phases of a step that each rank does for its own chains."""


@dataclass(frozen=True)
class Weak:
    """One measurement; see :class:`qmcbench.store.scaling.WeakRun`."""

    L: int
    network: str = "medium"
    symmetry: str = "none"
    solver: str = "scalapack"
    chains: int = 16
    """16 is the paper's."""
    J2: float = 0.5
    steps: int = 3
    """One more, the first, is not counted."""
    warm_up: int = 2
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

    def record(self, ranks: int) -> WeakRun:
        """The run on so many ranks, before it is measured."""
        layout = self.layout
        grid = fit_grid(layout.grid, ranks)
        return WeakRun(
            value=None,
            ranks=ranks,
            samples=self.chains * ranks,
            seed=self.seed,
            L=self.L,
            network=self.network,
            symmetry=self.symmetry,
            solver=self.solver,
            chains=self.chains,
            J2=self.J2,
            steps=self.steps,
            warm_up=self.warm_up,
            layout=Layout(grid, layout.block, layout.product, layout.redistribution),
        )


def measure(comm: Communicator, job: Weak) -> WeakRun:
    """Time the steps of a real training run from random parameters.

    The record's ``overhead``, SR / step, is what the paper's Table 3 prints (there, the time that it calls Monte
    Carlo less that of ScaLAPACK does not depend on the ranks, so it is that of the iteration). What does not fit into
    memory is not run, and the record says why.

    Raises
    ------
    UserError
        If a value is not allowed, there is no ScaLAPACK, or a step could not be solved.
    """
    config, blank = job.config(comm.size), job.record(comm.size)
    psi = build_ansatz(config.wavefunction, config.run.seed)
    try:
        on_root(comm, lambda: check_memory(config, psi, comm))
    except UserError as error:
        return replace(blank, not_run=str(error))
    trainer = Trainer(config, psi, comm)
    trainer.warm_up()
    trainer.advance()
    times, energies = [], []
    for _ in range(job.steps):
        step = _solved(trainer.advance())
        solver = getattr(trainer.solver, "seconds", None)
        own = {name: step.seconds[name] for name in (*MONTE_CARLO, "gather", "solve", "step")}
        times.append(StepTimes(**own, scalapack=solver and SolveTimes(**solver)))
        energies.append(step.energy)
    own_mc = [sum(getattr(each, part) for part in MONTE_CARLO) for each in times]
    mine = torch.tensor([own_mc, [each.gather for each in times]], dtype=torch.float64)
    mc, waiting = comm.gather(mine[None]).unbind(1)
    return replace(
        blank,
        value=statistics.median(each.step for each in times),
        parameters=trainer.last_solution.numel(),
        times=tuple(times),
        monte_carlo=tuple(mc.amax(0).tolist()),
        rank_monte_carlo=tuple(mc.quantile(0.5, dim=1).tolist()),
        rank_waiting=tuple(waiting.quantile(0.5, dim=1).tolist()),
        energies=tuple(energies),
        peak_bytes=tuple(kernels.peak_memory(comm)),
    )


def _solved(step: Step) -> Step:
    """``step``, if the parameters moved: the time of a step that was refused means nothing."""
    if step.refused is not None:
        raise UserError(f"Step {step.step} was refused: {step.refused}; choose other settings.")
    return step
