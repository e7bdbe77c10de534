"""How time and memory grow with the lattice, the network, the samples and the chains.

Every point is measured in a process of its own, so that its peak of memory is its own. An exponent is the slope of an
ordinary least-squares line through log y against log x over the upper part of a curve: the points from the geometric
middle of the smallest and the largest x on, or the last three if that leaves fewer, since calls and not arithmetic
take the time at small sizes. What to expect is the slope of the same line through the counted work, or bytes, of the
same points: a power where they are one, and the right number in between where they are a sum. Work is floating-point
operations.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import psutil

from qmcbench import provenance
from qmcbench.ansatz.cnn import CNN
from qmcbench.bench import kernels, suite, timing, worker_strong
from qmcbench.bench.answers import structured
from qmcbench.bench.limits import derivative_products
from qmcbench.config import Scalapack
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Communicator, Serial
from qmcbench.reference import model_names, model_spec
from qmcbench.sr import make_solver
from qmcbench.sr.solvers import COLUMNS, STRIP
from qmcbench.store.bench import Growth
from qmcbench.store.bench import Point as Stored
from qmcbench.structure import Scalar

LEAST = 3
"""Points that a line is fitted to, and timed calls of a point, at the least."""
ENOUGH = 1.0
"""Seconds of timed calls after which LEAST of them do; up to ``timing.REPEATS`` otherwise."""
NOISE = 8 * 2**20
"""A rise of memory below this many bytes may be the allocator's or a library's own: such a point is left out.

The C library may keep freed blocks of up to 32 MiB, so that a point has a few such more than are counted.
"""
TIMEOUT = 600.0
"""Seconds that one point may take."""
SOLVERS = {f"solve ({name})": name for name in suite.SOLVERS_IN_PROCESS}
NETWORKS = {model_spec(name).parameters: name for name in model_names()}


class Fit(NamedTuple):
    """A straight line through logarithms."""

    exponent: float
    error: float
    """Standard error of the exponent, from the points' distances to the line."""
    start: int
    """The smallest x that it goes through."""


def fit(points: Mapping[int, float]) -> Fit:
    """y = c x^exponent through the upper part of ``points`` {x: y}, as said at the top of this module.

    Raises
    ------
    ValueError
        If there are fewer than LEAST points.
    """
    # Every measuring process imports this module, but only a curve's end needs scipy.stats, a third of a start.
    from scipy.stats import linregress

    if len(points) < LEAST:
        raise ValueError(f"a line through {len(points)} points says nothing; it takes {LEAST}")
    xs = sorted(points)
    upper = [x for x in xs if x * x >= xs[0] * xs[-1]]
    chosen = upper if len(upper) >= LEAST else xs[-LEAST:]
    line = linregress([math.log(x) for x in chosen], [math.log(points[x]) for x in chosen])
    return Fit(float(line.slope), float(line.stderr), chosen[0])


@cache
def forward_operations(network: str, L: int) -> int:
    """Floating-point operations of psi of one configuration, without transforms."""
    return 2 * timing.fourier_multiply_adds(CNN(network), L)


@cache
def derivatives_operations(network: str, L: int) -> int:
    """Those of the log-derivatives of one sample."""
    return 2 * derivative_products(CNN(network), L)


def sweep_operations(network: str, L: int, samples: int) -> float:
    """Those of a forward pass where the chains are, and of one for each of L^2 proposals."""
    return samples * (1 + L * L) * forward_operations(network, L)


def local_energy_operations(network: str, L: int, samples: int) -> float:
    """Those of the connected configurations: about half of the 4 L^2 bonds join antiparallel spins."""
    return samples * 2 * L * L * forward_operations(network, L)


def iteration_operations(network: str, L: int, samples: int) -> float:
    """Those of its parts; the solve is the one with the Gram matrix."""
    monte_carlo = sweep_operations(network, L, samples) + local_energy_operations(network, L, samples)
    derivatives = samples * derivatives_operations(network, L)
    return monte_carlo + derivatives + gram_operations(model_spec(network).parameters, samples)


def gram_operations(parameters: int, samples: int) -> float:
    """Those of the Gram matrix up to its diagonal, in strips of rows, and of its Cholesky factor."""
    return samples * (samples + min(samples, STRIP)) * parameters + samples**3 / 3


def covariance_operations(parameters: int, samples: int) -> float:
    """Those of the whole covariance and of its Cholesky factor."""
    return 2 * parameters**2 * samples + parameters**3 / 3


def derivatives_bytes(network: str, L: int, samples: int) -> int:
    """The result in float32; what tiles keep meanwhile is the same for few samples and many."""
    return 4 * samples * model_spec(network).parameters


def gram_bytes(parameters: int, samples: int) -> int:
    """Samples in float32; in float64 two blocks of columns with the Gram matrix, or one with it and its factor."""
    two, last = min(parameters, 2 * COLUMNS), (parameters - 1) % COLUMNS + 1
    return 4 * samples * parameters + 8 * samples * max(two + samples, last + 2 * samples)


def covariance_bytes(parameters: int, samples: int) -> int:
    """Samples in float32 and float64, the covariance and its factor."""
    return 12 * samples * parameters + 16 * parameters**2


class Count(NamedTuple):
    """How a workload's cost follows from its sizes; only the growth matters, so a common factor may be left out."""

    work: Callable[..., float]
    """What the time goes with."""
    bytes: Callable[..., float] | None
    """None where the memory is too little to be told from the process's own."""


COUNTS = {
    "forward": Count(lambda network, L, samples: samples * forward_operations(network, L), None),
    "sweep": Count(sweep_operations, None),
    "local_energy": Count(local_energy_operations, None),
    "log_derivatives": Count(
        lambda network, L, samples: samples * derivatives_operations(network, L), derivatives_bytes
    ),
    "iteration": Count(
        iteration_operations,
        lambda network, L, samples: max(
            derivatives_bytes(network, L, samples), gram_bytes(model_spec(network).parameters, samples)
        ),
    ),
    "solve (sample_space)": Count(gram_operations, gram_bytes),
    "solve (dense)": Count(covariance_operations, covariance_bytes),
}


@dataclass(frozen=True)
class Curve:
    """What is measured against one variable."""

    what: str
    """A key of COUNTS."""
    variable: Literal["L", "parameters", "samples", "chains"]
    """Chains have one sample each."""
    values: tuple[int, ...]
    fixed: Mapping[str, Scalar]
    """What else says how large the workload is: "network", "L", and the other variables."""
    why: str
    """Where the expected exponents come from."""

    def size(self, x: int) -> dict[str, Any]:
        """Of the workload at ``x``: parameters and samples of a solver; else network, L and samples."""
        size: dict[str, Any] = {**self.fixed, self.variable: x}
        if self.what in SOLVERS:
            return size
        if "chains" in size:
            size["samples"] = size.pop("chains")
        if "parameters" in size:
            size["network"] = NETWORKS[size.pop("parameters")]
        return size


_FORWARD = "the same products for each of L^2 / 4 frequencies; nothing is kept of a configuration"
_SWEEP = "L^2 proposals of L^2 sites each"
_LOCAL_ENERGY = "about 2 L^2 connected configurations of L^2 sites each"
_DERIVATIVES = "products at L^2 / 2 frequencies, and for each tap; memory is the result, N_p a sample"
_ITERATION = "L^2 proposals and 2 L^2 connected configurations of L^2 sites each; memory is that of the solve"
_CHAINS = "each chain costs the same, once there are enough vectors of chains for every core"
_ITERATION_CHAINS = f"{_CHAINS}; the Gram matrix is quadratic in the chains"
_SAMPLES = "each sample costs the same; memory is N_p numbers a sample"
_LAYOUTS = "pairs of channels times sites, and times kernels and channels; memory is N_p numbers a sample"
_GRAM = "N_s^2 N_p for half the Gram matrix and N_s^3 / 3 to factorise it; N_s N_p and N_s^2 numbers"
_COVARIANCE = "2 N_s N_p^2 for the covariance and N_p^3 / 3 to factorise it; N_s N_p and N_p^2 numbers"
_L = (6, 8, 10, 12, 16, 20, 24)
_MANY = (64, 128, 256, 512, 1024, 2048, 4096)
_ROWS = (256, 512, 1024, 2048, 4096)
_MEDIUM = {"network": "medium"}

CURVES = (
    Curve("forward", "L", _L, _MEDIUM | {"samples": 4096}, _FORWARD),
    Curve("sweep", "L", _L, _MEDIUM | {"chains": 512}, _SWEEP),
    Curve("local_energy", "L", _L, _MEDIUM | {"chains": 64}, _LOCAL_ENERGY),
    Curve("log_derivatives", "L", _L, _MEDIUM | {"samples": 512}, _DERIVATIVES),
    Curve("iteration", "L", _L, _MEDIUM | {"chains": 512}, _ITERATION),
    Curve("sweep", "chains", _MANY, _MEDIUM | {"L": 10}, _CHAINS),
    Curve("local_energy", "chains", _MANY, _MEDIUM | {"L": 10}, _CHAINS),
    Curve("iteration", "chains", _MANY, _MEDIUM | {"L": 10}, _ITERATION_CHAINS),
    Curve("log_derivatives", "samples", _ROWS, _MEDIUM | {"L": 10}, _SAMPLES),
    Curve("solve (sample_space)", "samples", _ROWS, {"parameters": 16249}, _GRAM),
    Curve("solve (dense)", "samples", _ROWS, {"parameters": 3531}, _COVARIANCE),
    Curve("log_derivatives", "parameters", tuple(NETWORKS), {"L": 10, "samples": 512}, _LAYOUTS),
    Curve(
        "solve (sample_space)",
        "parameters",
        (1000, 3531, 8000, 16249, 32000, 64000, 106529),
        {"samples": 1024},
        _GRAM,
    ),
    Curve("solve (dense)", "parameters", (500, 700, 1000, 1400, 2000, 2800, 4000), {"samples": 1024}, _COVARIANCE),
)
QUICK = (
    Curve("sweep", "L", (4, 6, 8), {"network": "small", "chains": 8}, _SWEEP),
    Curve("iteration", "chains", (8, 16, 32), {"network": "small", "L": 4}, _ITERATION_CHAINS),
    Curve("solve (sample_space)", "samples", (256, 512, 1024), {"parameters": 3531}, _GRAM),
    Curve("solve (dense)", "parameters", (500, 1000, 1500), {"samples": 64}, _COVARIANCE),
)
"""Small ones, to see that everything works."""


def total(quick: bool) -> int:
    """How many points there are."""
    return sum(len(curve.values) for curve in _chosen(quick))


@dataclass(frozen=True)
class Request:
    """The point that a process is to measure."""

    what: str
    size: Mapping[str, Scalar]
    """As :meth:`Curve.size` has it."""


@dataclass(frozen=True)
class Answer:
    """What it found."""

    seconds: tuple[float, ...]
    """Of each call but the first, which does not count."""
    bytes: int
    """0 if too few to be seen."""


def measure(quick: bool) -> Iterator[list[Growth]]:
    """Measure every curve on all cores: about a quarter of an hour on two, or a minute of QUICK.

    Yields
    ------
    list of Growth
        Nothing after each point but the last of a curve; then, of the curve, "seconds" and, where enough points are
        above NOISE, "bytes".

    Raises
    ------
    JobError
        If a point fails or takes longer than TIMEOUT.
    """
    threads = provenance.available_cores()
    for curve in _chosen(quick):
        seconds: dict[int, Sequence[float]] = {}
        rises: dict[int, Sequence[float]] = {}
        for x in curve.values:
            if seconds:
                yield []
            job = {"kind": "growth", "what": curve.what, "size": curve.size(x)}
            answer = structured(launch.run(None, job, TIMEOUT, threads=threads), Answer)
            seconds[x] = answer.seconds
            if answer.bytes >= NOISE:
                rises[x] = [answer.bytes]
        count = COUNTS[curve.what]
        curves = [_growth(curve, "seconds", seconds, count.work)]
        if count.bytes is not None and len(rises) >= LEAST:
            curves.append(_growth(curve, "bytes", rises, count.bytes))
        yield curves


def point(comm: Communicator, request: Request) -> Answer:
    """Measure one point, in a process that has done nothing before.

    Memory is the most that was resident from before the workload was built until it had run, inputs included, less
    what was resident before, after a tiny workload of the same kind had compiled what is compiled. The system's own
    peak is taken, since looks now and then miss short-lived peaks, and a thread that looks disturbs the times. It
    never falls: if it has not risen, the workload stayed below an earlier peak and is too small to be seen.
    """
    build(request.what, _tiny(request.size))
    gc.collect()
    before, held = kernels.peak_memory(comm)[0], psutil.Process().memory_info().rss
    work = build(request.what, request.size)
    seconds: list[float] = []
    while len(seconds) < LEAST or (len(seconds) < timing.REPEATS and sum(seconds) < ENOUGH):
        seconds.append(kernels.timed(comm, work)[0])
    peak = kernels.peak_memory(comm)[0]
    return Answer(tuple(seconds), peak - held if peak > before else 0)


def build(what: str, size: Mapping[str, Any]) -> suite.Work:
    """A workload of :meth:`Curve.size`, called once."""
    if what not in SOLVERS:
        return suite.phase(what, f"{size['network']}-{size['L']}", size["samples"])
    solver = make_solver(SOLVERS[what], Scalapack(), Serial())
    samples = worker_strong.synthetic(Serial(), size["parameters"], size["samples"], seed=0)

    def work() -> object:
        return solver(samples, worker_strong.SHIFT)

    work()
    return work


def _tiny(size: Mapping[str, Any]) -> dict[str, Any]:
    # The same network and lattice, which decide what is compiled.
    least = {"parameters": 64, "samples": 2}
    return {name: least.get(name, value) for name, value in size.items()}


def _growth(
    curve: Curve,
    quantity: Literal["seconds", "bytes"],
    values: Mapping[int, Sequence[float]],
    count: Callable[..., float],
) -> Growth:
    line = fit({x: statistics.median(each) for x, each in values.items()})
    return Growth(
        value=line.exponent,
        sigma=line.error if math.isfinite(line.error) else None,
        work=curve.what,
        quantity=quantity,
        variable=curve.variable,
        fixed=dict(curve.fixed),
        # Rounded: a line through powers is off by the last digits.
        expected=round(fit({x: count(**curve.size(x)) for x in values}).exponent, 6),
        why=curve.why,
        fitted_from=line.start,
        points=tuple(
            Stored(x=x, median=statistics.median(each), low=min(each), high=max(each), repeats=len(each))
            for x, each in values.items()
        ),
        threads=provenance.available_cores(),
    )


def _chosen(quick: bool) -> tuple[Curve, ...]:
    return QUICK if quick else CURVES
