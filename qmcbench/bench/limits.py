"""A roofline of the machine measured by itself, and the fraction of it that each phase of a step reaches.

The roof is the lower of two rates that the same threads reach: a large matrix product in the precision of the phase,
and the intensity of the phase (operations per byte) times the bandwidth of copying an array. "fraction" is the
measured rate over that roof. The counts, of every phase:

- Operations are floating-point ones, a fused multiply-add being two; additions, comparisons, random numbers and
  logarithms beside the products are not counted. Of psi they are its products in Fourier space, without the
  transforms; of the log-derivatives the same forward, backward and for the weights' gradients, and the products that
  lead from there to the parameters; of a symmetric matrix one triangle, whether or not the code computes both.
- Bytes are compulsory traffic: every input read once, every output written once. What is made and used on the way (a
  covariance, the activations) is not counted, so the roof over memory is the most that any cache could give.

Where the code does work that the count leaves out, the fraction cannot reach 1 (half, for both triangles).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast.gradient_plan import gradient_plan
from qmcbench.bench import kernels, suite
from qmcbench.bench.names import DERIVATIVES, FORWARD, LOCAL_ENERGY, SOLVE, SWEEP
from qmcbench.bench.roofline import GEMM
from qmcbench.bench.timing import clock, fourier_multiply_adds, gemm_rate
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.ranks.comm import Serial
from qmcbench.reference import model_spec
from qmcbench.store.bench import Rate, WorkTime

FLOAT, DOUBLE = 4, 8
"""Bytes of the networks' numbers, and of the amplitudes' and the solvers'."""
AMPLITUDE = 2 * DOUBLE
"""log|psi| and its phase."""


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how often."""

    gemm: int
    """Edge of the square matrices in float32 and float64."""
    bf16: int
    """The same in bfloat16: smaller, as processors without such instructions emulate them slowly."""
    copy_bytes: int
    """Of the array that is copied: much larger than the caches."""
    rate_repeats: int
    """The best of so many is the rate."""
    repeats: int
    """Of every phase at the least, after a call that is not counted."""
    enough: float
    """Seconds of timed calls of every phase at the least, so that no short disturbance meets all of them."""
    phases: tuple[tuple[str, str, int, int], ...]
    """Phase, network, L and samples; see :func:`qmcbench.bench.suite.phase`."""
    solves: tuple[tuple[str, str, int, int], ...]
    """Solver, network, L and samples; see :func:`qmcbench.bench.suite.solve`.

    The samples are synthetic, and a solve takes the same time at every L.
    """


FULL = Sizes(
    gemm=4096,
    bf16=2048,
    copy_bytes=2**29,
    rate_repeats=5,
    repeats=5,
    enough=1.0,
    phases=(
        ("forward", "large", 12, 256),
        ("forward", "medium", 10, 1024),
        ("forward", "large", 10, 256),
        *(
            (phase, network, 10, samples)
            for phase in (SWEEP, LOCAL_ENERGY, DERIVATIVES)
            for network, samples in (("medium", 1024), ("large", 256))
        ),
    ),
    solves=(("sample_space", "medium", 10, 1024), ("sample_space", "large", 10, 1024), ("dense", "small", 10, 2560)),
)
QUICK = Sizes(
    gemm=256,
    bf16=128,
    copy_bytes=2**22,
    rate_repeats=2,
    repeats=2,
    enough=0.0,
    phases=tuple((phase, "small", 4, 16) for phase in (FORWARD, SWEEP, LOCAL_ENERGY, DERIVATIVES)),
    solves=(("sample_space", "small", 4, 64), ("dense", "small", 4, 64)),
)


class Cost(NamedTuple):
    """What a phase cannot do without; see the module's docstring."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class Phase:
    """One phase to be timed."""

    phase: str
    network: str
    L: int
    samples: int
    solver: str
    """Of a solve; otherwise empty."""
    cost: Cost
    ready: Callable[[], suite.Work]
    """Makes what is timed, and calls it once."""


def measure(quick: bool) -> Iterator[list[Rate | WorkTime]]:
    """The rates of the machine with all of torch's threads, and the times of the phases with their counts.

    Yields
    ------
    list of Rate or WorkTime
        Of every phase the median, least and greatest of its wall times, with its operations and traffic (how they are
        counted: the module's docstring), from which :mod:`qmcbench.bench.roofline` takes the roof.
    """
    sizes, threads = QUICK if quick else FULL, torch.get_num_threads()
    for dtype, operation in GEMM.items():
        size = sizes.bf16 if dtype == "bfloat16" else sizes.gemm
        rate = gemm_rate(getattr(torch, dtype), size, sizes.rate_repeats)
        yield [Rate(value=rate, operation=operation, size=size, threads=threads)]
    copied = copy_rate(sizes.copy_bytes, sizes.rate_repeats)
    yield [Rate(value=copied, unit="GB/s", operation="copy", size=sizes.copy_bytes, threads=threads)]
    for phase in _phases(sizes):
        yield [_measured(phase, sizes)]


def total(quick: bool) -> int:
    """Steps of :func:`measure`: the rates and the phases."""
    sizes = QUICK if quick else FULL
    return len(GEMM) + 1 + len(sizes.phases) + len(sizes.solves)


def copy_rate(size: int, repeats: int) -> float:
    """Memory bandwidth in GB/s: copying ``size`` bytes counts the bytes read and those written, 2 * size.

    The best of ``repeats``, by all of torch's threads. A cache that first reads the lines it writes to moves half as
    much again, which is not counted.
    """
    source, target = torch.ones(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)
    return 2 * size / clock(lambda: target.copy_(source), repeats)[0] / 1e9


def cost(phase: str, model: str, L: int, samples: int) -> Cost:
    """Operations and bytes of a phase of :func:`qmcbench.bench.suite.phase`, on the configurations it runs on.

    forward: spins in, amplitudes out. sweep: L * L proposals, all evaluated, and the amplitudes to start from; spins
    in and out. local_energy: psi of every connected configuration, those with an antiparallel pair exchanged; spins
    and amplitudes in, energies out. log_derivatives: spins in, derivatives out. All read the parameters.
    """
    with torch.no_grad():
        network = CNN(model)
        forward = 2 * fourier_multiply_adds(network, L)
    spins, parameters = samples * L * L, FLOAT * network.spec.parameters
    match phase:
        case "forward":
            return Cost(forward * samples, spins + parameters + AMPLITUDE * samples)
        case "sweep":
            return Cost(forward * (1 + L * L) * samples, 2 * spins + parameters + AMPLITUDE * samples)
        case "local_energy":
            connected = int(J1J2(L, suite.J2).antiparallel(random_configurations(L, samples)).sum())
            return Cost(forward * connected, spins + parameters + (AMPLITUDE + DOUBLE) * samples)
        case "log_derivatives":
            return Cost(2 * samples * derivative_products(network, L), spins + parameters + parameters * samples)
    raise ValueError(phase)


def solve_cost(solver: str, model: str, samples: int) -> Cost:
    """Operations and bytes of one solve: N (N + 1) n for a symmetric product, N^3 / 3 for its Cholesky factor.

    N samples and n parameters in ``sample_space``, the other way round in ``dense``. Two triangular solves take
    2 N^2, and the product of the samples with a vector 2 N n. Samples (float32) and energies in, the step out.
    """
    parameters = model_spec(model).parameters
    order, inner = (parameters, samples) if solver == "dense" else (samples, parameters)
    flops = order * (order + 1) * inner + order**3 // 3 + 2 * order * (order + inner)
    return Cost(flops, FLOAT * samples * parameters + DOUBLE * (samples + parameters))


def derivative_products(network: CNN, L: int) -> int:
    """Fused multiply-adds of one configuration's log-derivatives as the package does them, without transforms."""
    return gradient_plan(network.blocks(), 1, L).multiply_adds(1)


def _phases(sizes: Sizes) -> Iterator[Phase]:
    for name, model, L, samples in sizes.phases:
        ready = partial(suite.phase, name, f"{model}-{L}", samples)
        yield Phase(name, model, L, samples, "", cost(name, model, L, samples), ready)
    for solver, model, L, samples in sizes.solves:
        ready = partial(suite.solve, solver, model, samples)
        yield Phase(SOLVE, model, L, samples, solver, solve_cost(solver, model, samples), ready)


def _measured(phase: Phase, sizes: Sizes) -> WorkTime:
    work = phase.ready()
    seconds: list[float] = []
    while len(seconds) < sizes.repeats or sum(seconds) < sizes.enough:
        seconds.append(kernels.timed(Serial(), work)[0])
    return WorkTime.of(
        seconds, work=phase.phase, form=phase.solver, network=phase.network, L=phase.L, batch=phase.samples,
        dtype="float64" if phase.solver else "float32", threads=torch.get_num_threads(),
        operations=phase.cost.flops, traffic=phase.cost.bytes,
    )  # fmt: skip
