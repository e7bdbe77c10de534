"""Cost model of one iteration: how often each phase does what, times what each costs on a machine.

P processes form a sqrt(P) x sqrt(P) mesh; n = N_s / P samples a process, N_p parameters, words of 8 bytes.

=============== ============================================================================================
monte_carlo     3 L^2 n s forwards (paper Sec. 3.1: L^2 proposals and 2 L^2 connected configurations; s = 4 with
                C4) of L^2 + half_rate_sites sites, each 2 m flops and one site_overhead; m multiply-adds a site
product         pdgemm, M = O^T O: 2 N_p^2 N_s / P flops; each process receives the parts of the two operands that
                its row and column of the mesh hold, 2 N_p N_s / sqrt(P) words less its own 1 / sqrt(P) of them
factorisation   pdpotrf: N_p^3 / (3 P) flops, (2 + log2(P) / 2) N_p^2 / sqrt(P) words, log2 P stages of messages
data            conversion of O, its redistribution and the two pdtrsv: N_p n words, one message to each other process
=============== ============================================================================================

Product: SUMMA, van de Geijn & Watts, Concurrency 9, 255 (1997). Factorisation: Blackford et al., ScaLAPACK Users'
Guide (1997), Sec. 5.2 and Table 5.8, but for its (4 + log2 P) N_p / NB messages. Counted so, the paper's Fig. 9 fits
worse and pdpotrf in Fig. 10 comes out at nearly twice what was measured: the time at which it saturates on Sunway
hardly grows with N_p. ``panel_latency`` is therefore the time that the panels of one factorisation take together at
each stage of their broadcast, as if the blocks grew with the matrix. No other term was chosen by looking at the
measurements; that one was, at Fig. 9 and at Fig. 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qmcbench.errors import UserError
from qmcbench.reference import model_names, model_spec
from qmcbench.store.scaling import Work

Array = NDArray[np.float64]

PHASES = ("monte_carlo", "product", "factorisation", "data")
SUMS = MappingProxyType({"sr": PHASES[1:], "iteration": PHASES})
"""Sums of phases that may be measured as one: all of the stochastic reconfiguration, and a whole iteration."""
SOLVERS = ("covariance", "sample_space")
"""The paper's N_p x N_p matrix, or the N_s x N_s Gram matrix of the samples."""
WORD = 8
"""Bytes of a double."""

SECONDS = MappingProxyType({"GF/s": 1e-9, "GB/s": 1e-9, "s": 1.0, "us": 1e-6})
"""Seconds that one flop, byte, message or site costs at the value 1 of each unit."""


def _cost(unit: str, meaning: str) -> float:
    made: float = field(metadata={"unit": unit, "meaning": meaning})
    return made


@dataclass(frozen=True)
class Costs:
    """What a machine takes for each thing counted, per process; the metadata of each field has unit and meaning."""

    cnn_rate: float = _cost("GF/s", "flops of the network, two for each multiply-add, on a large lattice")
    gemm_rate: float = _cost("GF/s", "flops of pdgemm and of the updates in pdpotrf")
    product_bandwidth: float = _cost("GB/s", "panels that a process receives during pdgemm")
    panel_bandwidth: float = _cost("GB/s", "panels of pdpotrf, sent and computed: both go as N_p^2 / sqrt(P)")
    panel_latency: float = _cost("s", "messages of all panels of one pdpotrf, for each stage of the broadcast tree")
    redistribution_bandwidth: float = _cost("GB/s", "conversion and redistribution of the log-derivatives")
    redistribution_latency: float = _cost("us", "a process's messages to each other one in the data operations")
    site_overhead: float = _cost("us", "each site of a forward, whatever the network's size")
    half_rate_sites: float = _cost("sites", "lattice on which the network runs at half its rate")

    def values(self) -> Array:
        """All of them in this order, shape (9,)."""
        return np.array(list(asdict(self).values()))


NAMES = tuple(f.name for f in fields(Costs))
UNITS: Mapping[str, str] = MappingProxyType({f.name: f.metadata["unit"] for f in fields(Costs)})
LINEAR = NAMES[:-1]
"""The costs that multiply a count; ``half_rate_sites`` is a count itself."""
SCALE = np.array([SECONDS[UNITS[name]] for name in LINEAR])
POWER = np.array([-1.0 if UNITS[name].endswith("/s") else 1.0 for name in LINEAR])
"""Seconds for each unit of a count are ``SCALE * cost ** POWER``."""


@dataclass(frozen=True)
class Point:
    """One measured time."""

    phase: str
    """One of ``PHASES`` or ``SUMS``."""
    work: Work
    seconds: float
    source: str = ""
    solver: str = "covariance"
    """One of ``SOLVERS``."""


class Counts(NamedTuple):
    """How much of everything one process does."""

    plain: Mapping[str, float]
    """Flops, bytes, messages and sites by the name of the cost that they have."""
    padding: Mapping[str, float] = MappingProxyType({})
    """The same for each of the ``half_rate_sites`` that every forward takes longer than its sites alone."""


@cache
def multiply_adds(parameters: int) -> int:
    """Multiply-adds a site of one forward of the paper's network with so many parameters, as published (not fused).

    Raises
    ------
    UserError
        If there is no such network.
    """
    specs = {spec.parameters: spec for spec in map(model_spec, model_names())}
    if parameters not in specs:
        known = ", ".join(map(str, specs))
        raise UserError(f"No network has {parameters} parameters, so its flops are unknown; known are {known}.")
    total, channels = 0, 1
    for block in specs[parameters].blocks:
        # The transposed convolution makes two columns of each of L^2 / 2 pooled pairs.
        total += channels * block.conv * block.kernel**2 + block.conv * block.deconv
        channels = block.deconv
    return total


def counts(phase: str, work: Work, solver: str = "covariance") -> Counts:
    """What one process does in a phase or a sum of phases.

    Parameters
    ----------
    solver
        One of ``SOLVERS``. The solution of ``sample_space`` is brought back to the parameters by one more product
        with a vector, counted with ``data``.

    Raises
    ------
    UserError
        If a number is not positive, or the Monte Carlo phase is asked for and the lattice or the network is unknown.
    """
    for name, value in asdict(work).items():
        if value is not None and value < 1:
            raise UserError(f"The cost model cannot take {name} = {value}: it must be at least 1.")
    if phase in SUMS:
        parts = [counts(part, work, solver) for part in SUMS[phase]]
        return Counts(_sum(part.plain for part in parts), _sum(part.padding for part in parts))
    if phase == "monte_carlo":
        return _monte_carlo(work)
    P = work.processes
    rows, inner = work.parameters, work.samples
    if solver == "sample_space":
        rows, inner = inner, rows
    if phase == "product":
        return Counts(_product(rows, inner, P))
    if phase == "factorisation":
        return Counts(_factorisation(rows, P))
    local = work.parameters * work.samples_per_process
    plain = {"redistribution_bandwidth": WORD * local, "redistribution_latency": P - 1.0}
    if solver == "sample_space":
        reduced = WORD * work.parameters / math.sqrt(P) * math.log2(P) / 2
        plain |= {"gemm_rate": 2 * local, "product_bandwidth": reduced}
    return Counts(plain)


def _monte_carlo(work: Work) -> Counts:
    if work.L is None:
        raise UserError("The Monte Carlo time depends on the lattice: give L.")
    sites = work.L**2
    forwards = 3 * sites * work.samples_per_process * work.rotations
    site = {"cnn_rate": 2.0 * multiply_adds(work.parameters), "site_overhead": 1.0}
    return Counts(
        {name: forwards * sites * count for name, count in site.items()},
        {name: forwards * count for name, count in site.items()},
    )


def _product(rows: int, inner: int, P: int) -> dict[str, float]:
    side = math.sqrt(P)
    words = 2 * rows * inner / side * (1 - 1 / side)
    return {"gemm_rate": 2 * rows**2 * inner / P, "product_bandwidth": WORD * words}


def _factorisation(rows: int, P: int) -> dict[str, float]:
    stages = math.log2(P)
    return {
        "gemm_rate": rows**3 / 3 / P,
        "panel_bandwidth": WORD * (2 + stages / 2) * rows**2 / math.sqrt(P),
        "panel_latency": stages,
    }


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0.0) + count
    return total


def unit_seconds(values: Array) -> Array:
    """Seconds for each flop, byte, message and site, in the order of ``LINEAR``.

    Parameters
    ----------
    values
        Values of all ``Costs`` in their units and order, shape (..., 9).
    """
    unit: Array = SCALE * values[..., :-1] ** POWER
    return unit


def design(found: Sequence[Counts]) -> tuple[Array, Array]:
    """The counts as matrices A and B, shape (points, costs): seconds = (A + half_rate_sites B) unit_seconds."""
    return _matrix([count.plain for count in found]), _matrix([count.padding for count in found])


def _matrix(rows: Sequence[Mapping[str, float]]) -> Array:
    return np.array([[row.get(name, 0.0) for name in LINEAR] for row in rows])


def evaluate(plain: Array, padding: Array, values: Array) -> Array:
    """Times of all points of a :func:`design` at the values of all costs, as :func:`unit_seconds` takes them.

    Returns
    -------
    Array
        Seconds, shape (..., points) for values of shape (..., 9).
    """
    unit = unit_seconds(values)
    times: Array = unit @ plain.T + values[..., -1:] * (unit @ padding.T)
    return times


def seconds(phase: str, work: Work, costs: Costs, solver: str = "covariance") -> float:
    """Time of a phase or a sum of phases on a machine with these costs (errors as :func:`counts`)."""
    return float(evaluate(*design([counts(phase, work, solver)]), costs.values())[0])


def bytes_per_process(work: Work, solver: str = "covariance") -> float:
    """Memory of a process's part of the matrix that is factorised and of the log-derivatives, each held once."""
    rows = work.parameters if solver == "covariance" else work.samples
    return WORD * (rows**2 / work.processes + work.parameters * work.samples_per_process)
