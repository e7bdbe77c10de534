"""What ``qmcbench scale`` measures on ranks of MPI, and what its cost model says."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from qmcbench.provenance import Provenance
from qmcbench.store.records import MOST, Measured

Band = tuple[float, float]


@dataclass(frozen=True)
class Blas:
    """A library of linear algebra, or of threads, in a rank."""

    name: str
    version: str | None
    threads: int


@dataclass(frozen=True)
class Libraries:
    """What a rank has loaded."""

    mpi: str | None = None
    scalapack: str | None = None
    blas: tuple[Blas, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How ScaLAPACK's matrices lie on the ranks, and which routines take them there."""

    grid: tuple[int, int]
    """Rows and columns of the mesh."""
    block: int
    product: str
    redistribution: str


@dataclass(frozen=True)
class SolveTimes:
    """Seconds of the phases of one solve, between barriers."""

    redistribution: float
    product: float
    factorisation: float
    solves: float

    @property
    def total(self) -> float:
        """Of all phases."""
        return self.redistribution + self.product + self.factorisation + self.solves


@dataclass(frozen=True)
class StepTimes:
    """Seconds of the parts of one optimisation step on rank 0."""

    sampling: float
    local_energy: float
    derivatives: float
    gather: float
    """Waiting for slower ranks."""
    solve: float
    step: float
    """All of it."""
    scalapack: SolveTimes | None = None
    """Of the solve, if ScaLAPACK does it."""


@dataclass(frozen=True, kw_only=True)
class OnRanks(Measured):
    """What runs on several ranks have in common; each has its own libraries and date, as a list grows over days.

    One without a value and without a reason is yet to be measured: the job of its ranks.
    """

    NEEDED: ClassVar[tuple[str, ...]] = ()
    """What a run has that was measured."""

    samples: int
    """Of all ranks together."""
    layout: Layout
    oversubscribed: bool = False
    """More ranks than cores: such a run measures how they share, and decides nothing."""
    peak_bytes: tuple[int, ...] = ()
    """The most memory of each rank."""
    libraries: Libraries = Libraries()
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.NEEDED if self.value is not None else ():
            if getattr(self, name) in (None, ()):
                raise ValueError(f"there is no {name}")

    @property
    def identity(self) -> tuple[object, ...]:
        """What was asked for: two runs of the same are one."""
        return (self.ranks, self.layout.grid, self.alone)

    @property
    def alone(self) -> tuple[object, ...]:
        """What was asked for, whatever the number of ranks."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class StrongRun(OnRanks, kind="strong scaling"):
    """One ScaLAPACK solve of stochastic reconfiguration on synthetic samples; the value is the median in all."""

    RANGES: ClassVar = {"residual": (0, MOST), "before_bytes": (0, MOST)}
    NEEDED: ClassVar = ("times", "dgemm_GFs", "residual", "estimate_bytes", "peak_bytes", "before_bytes")

    unit: str = "s"
    parameters: int
    space: str
    """Which matrix is factorised: "parameters" (the covariance, the paper's) or "samples" (the Gram matrix)."""
    repeats: int
    """That were asked for."""
    dgemm_size: int
    """Edge of the matrices that give the machine's own rate."""
    times: tuple[SolveTimes, ...] = ()
    """Of each repeat."""
    dgemm_GFs: float | None = None
    """The machine's rate of each rank, all at once."""
    residual: float | None = None
    """The largest relative one."""
    estimate_bytes: int | None = None
    """That each rank was expected to need for samples and solver."""
    before_bytes: tuple[int, ...] = ()
    """The most memory of each rank before the first repeat."""

    @property
    def alone(self) -> tuple[object, ...]:
        at, routines = (self.parameters, self.samples, self.space), (self.layout.block, self.layout.product)
        return (*at, *routines, self.layout.redistribution, self.repeats, self.dgemm_size, self.seed)

    def all(self, phase: str) -> list[float]:
        """Seconds of every repeat of a phase, or of the total."""
        return [getattr(each, phase) for each in self.times]

    def median(self, phase: str) -> float:
        """Seconds of a phase, or of the total."""
        return statistics.median(self.all(phase))

    @property
    def operations(self) -> dict[str, int]:
        """Floating-point operations of the phases whose rate means something."""
        order, inner = self.parameters, self.samples
        if self.space == "samples":
            order, inner = inner, order
        entries = 2 * order * order if self.layout.product == "pdgemm" else order * (order + 1)
        return {"product": entries * inner, "factorisation": order**3 // 3}

    def rate(self, phase: str) -> float:
        """GF/s of all ranks together."""
        return self.operations[phase] / self.median(phase) / 1e9

    def fraction_of_dgemm(self, phase: str) -> float | None:
        """How much of the machine's rate each rank reaches."""
        return self.dgemm_GFs and self.rate(phase) / self.ranks / self.dgemm_GFs


@dataclass(frozen=True, kw_only=True)
class WeakRun(OnRanks, kind="weak scaling"):
    """Optimisation steps with a fixed number of chains on each rank; the value is the median of whole steps."""

    RANGES: ClassVar = {
        "warm_up": (0, MOST), "gather": (0, MOST), "rank_waiting": (0, MOST), "J2": (-MOST, MOST),
        "energies": (-MOST, MOST),
    }  # fmt: skip
    NEEDED: ClassVar = ("parameters", "times", "monte_carlo", "rank_monte_carlo")

    unit: str = "s"
    L: int
    network: str
    symmetry: str
    solver: str
    chains: int
    """On each rank."""
    J2: float
    steps: int
    """Counted ones."""
    warm_up: int
    """Sweeps before the first step."""
    parameters: int | None = None
    times: tuple[StepTimes, ...] = ()
    """Of each counted step."""
    monte_carlo: tuple[float, ...] = ()
    """Sampling, local energies and derivatives of the slowest rank in each step."""
    rank_monte_carlo: tuple[float, ...] = ()
    """The same of each rank, medians."""
    rank_waiting: tuple[float, ...] = ()
    """Of each rank for slower ones, medians."""
    energies: tuple[float, ...] = ()
    """Per site, of each counted step."""

    @property
    def alone(self) -> tuple[object, ...]:
        layout = replace(self.layout, grid=(1, 1))
        run = (self.L, self.network, self.symmetry, self.solver, self.chains, self.J2)
        return (*run, self.steps, self.warm_up, layout, self.seed)

    def median(self, part: str) -> float:
        """Seconds of a part of a step on rank 0."""
        return float(statistics.median(getattr(each, part) for each in self.times))

    @property
    def monte_carlo_median(self) -> float:
        """Seconds that the slowest rank takes for its own chains."""
        return statistics.median(self.monte_carlo)

    @property
    def solver_median(self) -> SolveTimes | None:
        """Medians of ScaLAPACK's phases, if it solved."""
        solves = [each.scalapack for each in self.times if each.scalapack is not None]
        if not solves:
            return None
        names = [each.name for each in fields(SolveTimes)]
        return SolveTimes(*(statistics.median(getattr(each, name) for each in solves) for name in names))

    @property
    def overhead(self) -> float:
        """SR over the whole step."""
        return self.median("solve") / self.median("step")

    @property
    def samples_per_second(self) -> float:
        """Of all ranks together."""
        return self.samples / self.median("step")


@dataclass(frozen=True)
class Work:
    """One iteration and the processes it runs on."""

    parameters: int
    samples: int
    """Of all processes together."""
    processes: int
    L: int | None = None
    """Linear lattice size; needed for the Monte Carlo phase only."""
    rotations: int = 1
    """Evaluations of the network for one amplitude (:func:`qmcbench.group.evaluations`): 4 with C4 symmetry."""

    @property
    def samples_per_process(self) -> float:
        """n = N_s / P."""
        return self.samples / self.processes


@dataclass(frozen=True)
class Estimate:
    """A number and its uncertainty; no bands where the machine has no errors."""

    value: float
    band68: Band | None = None
    band95: Band | None = None


@dataclass(frozen=True)
class Cost:
    """What a process takes for one thing that the model counts."""

    name: str
    value: float
    unit: str
    error: float | None
    """Standard error of ln(value)."""
    origin: str
    """``fitted``, ``given``, or ``taken`` from the machine that a fit stays near to."""


@dataclass(frozen=True, kw_only=True)
class MachineModel(Measured, kind="machine"):
    """The machine that was projected to; the value is its processes per node."""

    RANGES: ClassVar = {
        "costs.value": (0, MOST), "costs.error": (0, MOST), "scatter": (0, MOST), "correlation": (-1, 1)
    }  # fmt: skip

    value: float
    unit: str = "processes per node"
    name: str
    description: str
    source: str
    base: str
    """The machine named on the command line: this one, or the one that a fit stays near to."""
    costs: tuple[Cost, ...]
    scatter: Mapping[str, float]
    """Root mean square of ln(measured / model) of each phase."""
    correlation: tuple[tuple[float, ...], ...] = ()
    """Of the costs' errors, in their order."""


@dataclass(frozen=True, kw_only=True)
class Modelled(Measured):
    """A number that the cost model gives to some work, beside the ``reference`` that is known for it."""

    value: float
    unit: str = "s"
    work: Work
    band68: Band | None = None
    band95: Band | None = None

    @property
    def known(self) -> float:
        """The value to compare with."""
        return self.reference.value if self.reference else float("nan")

    @property
    def source(self) -> str:
        """Where that is from."""
        return self.reference.source if self.reference else ""

    @property
    def error(self) -> float:
        """The model's value over the known one, minus one."""
        return self.value / self.known - 1


@dataclass(frozen=True, kw_only=True)
class ModelledTime(Modelled, kind="modelled time"):
    """A time on the machine: of the paper's work, of a point of a fit, or (without reference) of other work."""

    phase: str
    solver: str = "covariance"
    nodes: int | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOutTime(Modelled, kind="held-out time"):
    """A time of the paper, predicted by a model fitted without it (and without its parts, if it is a sum)."""

    model: str
    """``cost model`` or ``null model``."""
    split: str
    fold: str
    """The part of the points that was held out."""
    phase: str


@dataclass(frozen=True, kw_only=True)
class Efficiency(Modelled, kind="modelled efficiency"):
    """Weak scaling of a whole iteration: T(fewest processes) / T(this many)."""

    RANGES: ClassVar = {"monte_carlo_share": (0, 1)}

    unit: str = "1"
    iteration: Estimate
    """Seconds."""
    monte_carlo_share: float


@dataclass(frozen=True, kw_only=True)
class SolverGain(Modelled, kind="solver gain"):
    """SR time with the N_p x N_p covariance (the paper's is the reference) over that with the Gram matrix."""

    unit: str = "1"
    covariance: Estimate
    sample_space: Estimate
    """Seconds."""

    @property
    def samples_per_parameter(self) -> float:
        """N_s / N_p."""
        return self.work.samples / self.work.parameters


@dataclass(frozen=True, kw_only=True)
class Crossover(Measured, kind="crossover"):
    """Where both take equally long: the Gram matrix is the faster one on up to ``value`` processes."""

    value: float
    unit: str = "processes"
    parameters: int
    samples_per_process: int

    @property
    def samples_per_parameter(self) -> float:
        """N_s / N_p there."""
        return self.samples_per_process * self.value / self.parameters
