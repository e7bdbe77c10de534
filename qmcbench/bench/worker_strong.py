"""Strong scaling: the phases of one stochastic-reconfiguration solve on synthetic samples (paper Fig. 9).

The samples are the same whatever the number of ranks. A step that does not solve the system is refused, so no time of
a wrong result is ever reported.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

import psutil
import torch
from torch import Tensor

from qmcbench import config
from qmcbench.bench import kernels
from qmcbench.errors import UserError
from qmcbench.ranks.comm import Communicator, on_root, share
from qmcbench.ranks.mesh import memory
from qmcbench.sr.scalapack import Scalapack
from qmcbench.sr.solvers import COLUMNS, Centred
from qmcbench.store.scaling import SolveTimes, StrongRun

# Diagonal shift; the largest eigenvalue of the synthetic covariance is about (1 + sqrt(parameters / samples))^2.
SHIFT = 1e-2
RESIDUAL = 1e-10
"""Relative residual above which a step is wrong; a right one has about 1e-14."""


def measure(comm: Communicator, job: StrongRun) -> StrongRun:
    """Time each phase of ``job`` between barriers, and the machine's own dgemm, and check every solution.

    What does not fit into memory is not run, and the record says why.

    Raises
    ------
    UserError
        If there is no ScaLAPACK, the grid does not fit the ranks, or a solution is wrong.
    """
    solver = Scalapack(comm, config.Scalapack(**vars(job.layout)), job.space)
    seed = job.seed or 0
    try:
        need = on_root(comm, lambda: _check_memory(comm, job))
        solver.mesh.empty(*(2 * (job.parameters if job.space == "parameters" else job.samples,)))
    except UserError as error:
        return replace(job, not_run=str(error))
    # The first calls and messages of a process are slow.
    solver(synthetic(comm, min(job.parameters, 4 * job.layout.block), 8 * comm.size, seed), SHIFT)
    before = kernels.peak_memory(comm)
    rate = kernels.dgemm(comm, job.dgemm_size)
    samples = synthetic(comm, job.parameters, job.samples, seed)
    times, residuals = [], []
    for _ in range(job.repeats):
        step = solver(samples, SHIFT).step
        times.append(SolveTimes(**solver.seconds))
        residuals.append(residual(comm, samples, step))
        if not residuals[-1] <= RESIDUAL:
            raise UserError(
                f"The step of {job.parameters} parameters and {job.samples} samples has a relative residual of "
                f"{residuals[-1]:.1e}, above {RESIDUAL:.0e}, so its time means nothing; run `qmcbench doctor`."
            )
    most = kernels.peak_memory(comm)
    # Before and after, the better counts: a rate that the machine reached only for a while flatters no phase.
    rate = max(rate, kernels.dgemm(comm, job.dgemm_size))
    return replace(
        job,
        value=statistics.median(each.total for each in times),
        times=tuple(times),
        dgemm_GFs=rate,
        residual=max(residuals),
        estimate_bytes=need,
        peak_bytes=tuple(most),
        before_bytes=tuple(before),
    )


def synthetic(comm: Communicator, parameters: int, samples: int, seed: int) -> Centred:
    """This rank's share of random samples in the networks' float32."""
    own = share(samples, comm.rank, comm.size)
    rows = torch.from_numpy(kernels.synthetic(own, parameters, seed)).div_(samples**0.5)
    return Centred(rows, torch.from_numpy(kernels.synthetic(own, 1, seed + 1)).double().squeeze(1))


def residual(comm: Communicator, samples: Centred, step: Tensor) -> float:
    """|(X^T X + shift) step - X^T e| / |X^T e|, without ever forming the matrix; the same on every rank."""
    blocks = list(zip(samples.rows.split(COLUMNS, dim=1), step.split(COLUMNS), strict=True))
    explained = sum((rows.double() @ part for rows, part in blocks), torch.zeros_like(samples.energies))
    sides = torch.stack([explained, samples.energies], dim=1)
    left, right = comm.sum(torch.cat([rows.double().T @ sides for rows, _ in blocks])).unbind(1)
    return float((left + SHIFT * step - right).norm() / right.norm())


def _check_memory(comm: Communicator, job: StrongRun) -> int:
    """Bytes that each rank needs for its samples and the solver.

    Raises
    ------
    UserError
        If they are not free on this node.
    """
    solver = memory(job.parameters, job.samples, comm.size, job.layout, job.space)
    need = 4 * job.parameters * len(share(job.samples, 0, comm.size)) + solver.total
    free = psutil.virtual_memory().available
    if comm.neighbours * need > free:
        ranks = f"{comm.neighbours} rank{'s' * (comm.neighbours > 1)} of this node"
        raise UserError(
            f"{ranks} would need {comm.neighbours * need / 1e9:.1f} GB ({comm.neighbours * solver.matrix / 1e9:.1f} "
            f"GB for the matrix alone), but {free / 1e9:.1f} GB are free; use more nodes."
        )
    return need
