"""The hot path on this machine: forms of the forward pass, other steps, sampling, derivatives with their solve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qmcbench.ansatz.base import log_product
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast import fused
from qmcbench.bench import baseline, operations, worker_derivatives
from qmcbench.bench.hotpath_steps import Row, derivatives_step, gram_steps, in_turn, step_row, summary
from qmcbench.bench.suite import J2
from qmcbench.bench.timing import (
    REPEATS,
    fourier_multiply_adds,
    fused_multiply_adds,
    gemm_rate,
    plain_multiply_adds,
    random_spins,
)
from qmcbench.config import Sampling, Wavefunction
from qmcbench.hamiltonian import J1J2
from qmcbench.provenance import available_cores
from qmcbench.ranks import launch
from qmcbench.training import load_ansatz
from qmcbench.vmc import Evaluator, build_ansatz

TIMEOUT = 600.0
"""Seconds that the process with the derivatives and the solve may take."""


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
    repeats=REPEATS,
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
    sizes = QUICK if quick else FULL
    return len(sizes.forward) + 4


def measure(
    *, quick: bool = False, checkpoint: Path | None = None, done: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Time the forms of the forward pass, the other steps, sampling, and the derivatives with their solve.

    Parameters
    ----------
    quick
        Tiny sizes.
    checkpoint
        The network that samples; a fresh one if absent. Time depends little on which: all proposals are evaluated.
    done
        Called with the number of measurements so far.

    Returns
    -------
    dict
        ``threads``, ``sgemm_GFs``; ``forward``: every form of every forward pass, its seconds, and GF/s that count
        the fused multiply-adds whatever the form does; ``steps``: before, after, and times as fast, predicted (None
        if nobody did) and measured; ``samples_per_second``; ``derivatives``. Seconds are medians.

    Raises
    ------
    ArithmeticError
        If two forms do not agree: a time of a wrong result means nothing.
    UserError
        If the checkpoint cannot be read, or the process with the derivatives fails.
    """
    sizes = QUICK if quick else FULL
    forward: list[Row] = []
    steps: list[Row] = []
    count = 0

    def finished() -> None:
        nonlocal count
        count += 1
        done(count)

    with operations.threads(available_cores()):
        sgemm = gemm_rate(size=sizes.gemm)
        for work in sizes.forward:
            rows, found = _forward(work, sizes.repeats, sgemm)
            forward += rows
            steps += found
            finished()
        steps.append(derivatives_step(*sizes.derivatives, sizes.repeats))
        finished()
        steps += gram_steps(*sizes.gram, sizes.repeats)
        finished()
        sampling = _samples_per_second(sizes, checkpoint)
        finished()
    network, L, samples = sizes.step
    job = {"kind": "derivatives", "network": network, "L": L, "samples": samples}
    own = launch.run(None, job, TIMEOUT, threads=available_cores())
    finished()
    return {
        "threads": available_cores(),
        "sgemm_GFs": sgemm,
        "forward": forward,
        "steps": steps,
        "samples_per_second": [sampling],
        "derivatives": {name: own[name] for name in worker_derivatives.ANSWER},
    }


@torch.no_grad()
def _forward(work: Forward, repeats: int, sgemm: float) -> tuple[list[Row], list[Row]]:
    """A row of each form, and the two steps between them."""
    network = CNN(work.network).requires_grad_(False)
    forms = _forms(network, random_spins(work.L, work.batch), work.scalar)
    _agree_in_psi(forms, work)
    times = in_turn(forms, repeats)
    operations_each = 2 * fused_multiply_adds(network, work.L)
    rows = []
    for form, seconds in times.items():
        batch, cores = (1, 1) if form == "scalar" else (work.batch, available_cores())
        rate = operations_each * batch / median(seconds) / 1e9
        rows.append(
            {"network": work.network, "L": work.L, "batch": batch, "form": form, "cores": cores}
            | summary(seconds)
            | {"GFs": rate, "fraction_of_sgemm": rate / sgemm}
        )
    plain, pooled, fourier = (
        count(network, work.L) for count in (plain_multiply_adds, fused_multiply_adds, fourier_multiply_adds)
    )
    saved = "from the multiply-adds saved"
    return rows, [
        step_row("fused pooled grid", str(work), times, "plain", "fused", saved, plain / pooled),
        step_row(
            "Fourier space, compiled",
            str(work),
            times,
            "fused",
            "fourier",
            f"{saved}, without the transforms; the fused form is PyTorch's convolution",
            pooled / fourier,
        ),
    ]


def _forms(network: CNN, spins: Tensor, scalar: bool) -> dict[str, Callable[[], Tensor]]:
    """Forms of the forward pass of ``spins``; each gives log|psi| and sign, (2, batch)."""
    plain, pooled = operations.steps(network, operations.Torch()), fused.fuse(network.blocks())

    def by_torch() -> Tensor:
        # With gradients on it is PyTorch's convolution; none is recorded, since no parameter asks for one.
        with torch.enable_grad():
            return torch.stack(log_product(pooled.outputs(spins)))

    forms: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: operations.run(plain, operations.grid(network, spins)),
        "fused": by_torch,
        "fourier": lambda: torch.stack(network(spins)),
    }
    if scalar:
        loops = operations.steps(network, baseline.Loops())
        one = operations.grid(network, spins[:1]).numpy()[0]
        forms["scalar"] = lambda: torch.from_numpy(operations.run(loops, one))[:, None]
    return forms


def _agree_in_psi(forms: Mapping[str, Callable[[], Tensor]], work: Forward) -> None:
    """See that log|psi| is the same in every form, of as many configurations as it takes."""
    found = {form: call() for form, call in forms.items()}
    for form, values in found.items():
        difference = (values[0] - found["fourier"][0, : values.shape[1]]).abs().max().item()
        if values.requires_grad or not difference <= baseline.TOLERANCE * work.L**2:
            raise ArithmeticError(f"{work}: log|psi| of the form {form} differs by {difference:.1e}")


def _samples_per_second(sizes: Sizes, checkpoint: Path | None) -> Row:
    """How fast :class:`qmcbench.vmc.Evaluator` gives energies, L * L proposals and a local energy each."""
    model, L, chains = sizes.sampling
    if checkpoint is None:
        settings, weights = Wavefunction(network=model), "random"
        psi = build_ansatz(settings, seed=0)
    else:
        psi, config = load_ansatz(checkpoint)
        settings, weights = config.wavefunction, checkpoint.name
    sampling = Sampling(chains=chains, warm_up=1, gap=L * L, alpha=2.0)
    evaluator = Evaluator(psi, J1J2(L, J2), sampling, seed=1)
    evaluator.advance()  # the sweep of the warm-up
    rates = [chains / seconds for seconds in in_turn({"sample": evaluator.advance}, 5)["sample"]]
    return {
        "network": settings.network,
        "L": L,
        "symmetry": settings.symmetry,
        "chains": chains,
        "proposals": L * L,
        "per_second": median(rates),
        "min": min(rates),
        "max": max(rates),
        "repeats": len(rates),
        "weights": weights,
        "acceptance": evaluator.samples().acceptance,
        "remark": f"one sweep of {L * L} proposals and one local energy a sample",
    }
