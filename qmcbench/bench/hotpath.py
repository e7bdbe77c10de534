"""The hot path on this machine: forms of the forward pass, other steps, sampling, derivatives with their solve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from qmcbench.ansatz.base import log_product
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast import fused
from qmcbench.bench import baseline, operations, timing, worker_derivatives
from qmcbench.bench.answers import structured
from qmcbench.bench.hotpath_steps import Change, derivatives_step, gram_steps, in_turn, ratio
from qmcbench.bench.names import DERIVATIVES, FORWARD, FOURIER, FUSED, PLAIN, SCALAR, SOLVE
from qmcbench.bench.suite import J2
from qmcbench.config import Wavefunction
from qmcbench.cores import threads
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.provenance import available_cores
from qmcbench.ranks import launch
from qmcbench.store.bench import Memory, Rate, SamplingRate, Step, WorkTime
from qmcbench.store.records import Record
from qmcbench.training import load_ansatz
from qmcbench.vmc import build_ansatz

TIMEOUT = 600.0
"""Seconds that the process with the derivatives and the solve may take."""
SAVED = "from the multiply-adds saved"
POOLED = Change("fused pooled grid", PLAIN, FUSED, SAVED)
COMPILED = Change(
    "Fourier space, compiled",
    FUSED,
    FOURIER,
    f"{SAVED}, without the transforms; the fused form is PyTorch's convolution",
)


class Forward(NamedTuple):
    """A forward pass whose forms are compared."""

    network: str
    L: int
    batch: int
    scalar: bool = False
    """Whether also the scalar baseline is timed, with one configuration."""

    def __str__(self) -> str:
        return f"forward, {self.network}, {self.L}x{self.L}, batch {self.batch}"


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    gemm: int
    forward: tuple[Forward, ...]
    derivatives: tuple[str, int, int]
    """Network, L and samples."""
    gram: tuple[int, int]
    """Samples and parameters."""
    sampling: tuple[str, int, int]
    """Network, L and chains."""
    step: tuple[str, int, int]
    """Network, L and samples of the derivatives and the solve in a process of their own."""
    repeats: int
    """Of the forms; all else is repeated 5 times."""


FULL = Sizes(
    gemm=4096,
    forward=(
        Forward("large", 12, 256, scalar=True),
        Forward("medium", 10, 1024),
        Forward("medium", 10, 64),
        Forward("small", 10, 1024),
        Forward("large", 24, 64),
    ),
    derivatives=("medium", 10, 256),
    gram=(1024, 16249),
    sampling=("large", 12, 64),
    step=("large", 10, 1024),
    repeats=timing.REPEATS,
)
QUICK = Sizes(
    gemm=256,
    forward=(Forward("small", 4, 32, scalar=True), Forward("medium", 4, 32)),
    derivatives=("small", 4, 32),
    gram=(256, 3531),
    sampling=("small", 4, 8),
    step=("small", 4, 32),
    repeats=5,
)


def total(quick: bool) -> int:
    """How many measurements :func:`measure` makes."""
    return len((QUICK if quick else FULL).forward) + 5


def measure(quick: bool, checkpoint: Path | None = None) -> Iterator[Sequence[Record]]:
    """Time the forms of the forward pass, the other steps, sampling, and the derivatives with their solve.

    Parameters
    ----------
    quick
        Tiny sizes.
    checkpoint
        The network that samples; a fresh one if absent. Time depends little on which: all proposals are evaluated.

    Yields
    ------
    sequence of Record
        The rate of sgemm; the time of every form of every forward pass, whose operations are the fused multiply-adds
        whatever the form does; what each step brought; the sampling rate; times of the derivatives and the solve, and
        the most memory of the process that does them.

    Raises
    ------
    ArithmeticError
        If two forms do not agree: a time of a wrong result means nothing.
    UserError
        If the checkpoint cannot be read, or the process with the derivatives fails.
    """
    sizes, cores = QUICK if quick else FULL, available_cores()
    with threads(cores):
        yield [Rate(value=timing.gemm_rate(size=sizes.gemm), operation="sgemm", size=sizes.gemm, threads=cores)]
        for work in sizes.forward:
            yield _forward(work, sizes.repeats)
        yield [derivatives_step(*sizes.derivatives, sizes.repeats)]
        yield gram_steps(*sizes.gram, sizes.repeats)
        yield [_sampling_rate(sizes, checkpoint)]
    yield _derivatives(*sizes.step)


def _derivatives(network: str, L: int, samples: int) -> list[Record]:
    """Two times and the memory, of a process of its own."""
    cores = available_cores()
    job = {"kind": "derivatives", "network": network, "L": L, "samples": samples}
    answer = structured(launch.run(None, job, TIMEOUT, threads=cores), worker_derivatives.Answer)
    row = partial(WorkTime, network=network, L=L, batch=samples, threads=cores, repeats=answer.repeats)
    return [
        row(work=DERIVATIVES, value=answer.derivatives_s),
        row(work=SOLVE, form=worker_derivatives.SOLVER, dtype="float64", value=answer.solve_s),
        Memory(
            work="derivatives and step", network=network, L=L, batch=samples, threads=cores,
            value=answer.peak_bytes, before=answer.before_bytes,
        ),
    ]  # fmt: skip


@torch.no_grad()
def _forward(work: Forward, repeats: int) -> list[WorkTime | Step]:
    """The time of each form, and the two steps between them."""
    network = CNN(work.network).requires_grad_(False)
    forms = _forms(network, random_configurations(work.L, work.batch), work.scalar)
    _agree_in_psi(forms, work)
    times = in_turn(forms, repeats)
    plain, pooled, fourier = (
        multiply_adds(network, work.L)
        for multiply_adds in (timing.plain_multiply_adds, timing.fused_multiply_adds, timing.fourier_multiply_adds)
    )
    rows: list[WorkTime | Step] = []
    for form, seconds in times.items():
        batch, cores = (1, 1) if form == SCALAR else (work.batch, available_cores())
        rows.append(
            WorkTime.of(
                seconds, work=FORWARD, form=form, network=work.network, L=work.L, batch=batch, threads=cores,
                operations=2 * pooled * batch,
            )
        )  # fmt: skip
    return [
        *rows,
        ratio(POOLED, str(work), times, plain / pooled),
        ratio(COMPILED, str(work), times, pooled / fourier),
    ]


def _forms(network: CNN, spins: Tensor, scalar: bool) -> dict[str, Callable[[], Tensor]]:
    """Forms of the forward pass of ``spins``; each gives log|psi| and sign, (2, batch)."""
    plain, pooled = operations.steps(network, operations.Torch()), fused.fuse(network.blocks())

    def by_torch() -> Tensor:
        # With gradients on it is PyTorch's convolution; none is recorded, since no parameter asks for one.
        with torch.enable_grad():
            return torch.stack(log_product(pooled.outputs(spins)))

    forms: dict[str, Callable[[], Tensor]] = {
        PLAIN: lambda: operations.run(plain, operations.grid(network, spins)),
        FUSED: by_torch,
        FOURIER: lambda: torch.stack(network(spins)),
    }
    if scalar:
        loops = operations.steps(network, baseline.Loops())
        one = operations.grid(network, spins[:1]).numpy()[0]
        forms[SCALAR] = lambda: torch.from_numpy(operations.run(loops, one))[:, None]
    return forms


def _agree_in_psi(forms: Mapping[str, Callable[[], Tensor]], work: Forward) -> None:
    """See that log|psi| is the same in every form, of as many configurations as it takes."""
    found = {form: call() for form, call in forms.items()}
    for form, values in found.items():
        difference = (values[0] - found[FOURIER][0, : values.shape[1]]).abs().max().item()
        if values.requires_grad or not difference <= baseline.TOLERANCE * work.L**2:
            raise ArithmeticError(f"{work}: log|psi| of the form {form} differs by {difference:.1e}")


def _sampling_rate(sizes: Sizes, checkpoint: Path | None) -> SamplingRate:
    model, L, chains = sizes.sampling
    if checkpoint is None:
        settings, weights = Wavefunction(network=model), "random"
        psi = build_ansatz(settings, seed=0)
    else:
        psi, config = load_ansatz(checkpoint)
        settings, weights = config.wavefunction, checkpoint.name
    return timing.sampling_rate(
        psi, J1J2(L, J2), chains, lambda work: in_turn({"sample": work}, 5)["sample"],
        network=settings.network, symmetry=settings.symmetry, weights=weights, threads=available_cores(),
    )  # fmt: skip
