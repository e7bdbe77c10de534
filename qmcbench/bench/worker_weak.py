"""Weak scaling: whole optimisation steps with a fixed number of chains on each rank (paper Table 3 and Fig. 10)."""

from __future__ import annotations

import statistics
from dataclasses import asdict, replace

import torch

from qmcbench.bench import kernels
from qmcbench.config import Config, parse
from qmcbench.errors import UserError
from qmcbench.ranks.comm import Communicator, on_root
from qmcbench.store.scaling import SolveTimes, StepTimes, WeakRun
from qmcbench.training import check_memory
from qmcbench.vmc import Step, Trainer, build_ansatz

MONTE_CARLO = ("sampling", "local_energy", "derivatives")
"""Phases of a step that each rank does for its own chains."""


def config(job: WeakRun) -> Config:
    """The training run that ``job`` asks for; one more step, the first, is not counted.

    Raises
    ------
    UserError
        If a value is not allowed, naming it.
    """
    return parse(
        {
            "model": {"L": job.L, "J2": job.J2},
            "wavefunction": {"network": job.network, "symmetry": job.symmetry},
            "sampling": {"chains": job.samples, "warm_up": job.warm_up},
            "optimizer": {"steps": job.steps + 1, "solver": job.solver},
            "scalapack": asdict(job.layout),
            "run": {"seed": job.seed, "threads": 1},
        },
        source="weak scaling",
    )


def measure(comm: Communicator, job: WeakRun) -> WeakRun:
    """Time the steps of ``job``, a real training run from random parameters.

    The record's ``overhead``, SR / step, is what the paper's Table 3 prints (there, the time that it calls Monte
    Carlo less that of ScaLAPACK does not depend on the ranks, so it is that of the iteration). What does not fit into
    memory is not run, and the record says why.

    Raises
    ------
    UserError
        If a value is not allowed, there is no ScaLAPACK, or a step could not be solved.
    """
    settings = config(job)
    psi = build_ansatz(settings.wavefunction, settings.run.seed)
    try:
        on_root(comm, lambda: check_memory(settings, psi, comm))
    except UserError as error:
        return replace(job, not_run=str(error))
    trainer = Trainer(settings, psi, comm)
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
        job,
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
