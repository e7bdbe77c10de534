"""Kinds of record of ``qmcbench bench``: times, rates, memory, and what was measured turn by turn.

What follows from them (operations a second, fractions, speedups, the ratios to peers) is computed where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from qmcbench.provenance import Provenance
from qmcbench.store.records import MOST, Measured, Record, Timing
from qmcbench.structure import Scalar

Column = tuple[float | None, ...]
Rates = Literal["sgemm", "dgemm", "bf16 gemm", "copy"]


@dataclass(frozen=True, kw_only=True)
class Rate(Measured, kind="rate"):
    """What the machine reaches: of large matrix products in GF/s, of copying memory in GB/s; the best of several."""

    value: float
    unit: str = "GF/s"
    operation: Rates
    size: int | None = None
    """Edge of the square matrices, or bytes of the array that is copied."""
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class WorkTime(Timing, Measured, kind="work time"):
    """Seconds of one piece of work: the median of several repeats."""

    value: float
    work: str
    """An operation, a phase of a step, or all of it."""
    network: str
    L: int
    batch: int
    """Configurations, samples or chains."""
    form: str = ""
    """How it is done, where there are several ways: ``plain``, ``fourier``, the name of a solver."""
    dtype: str = "float32"
    """Precision of its products."""
    program: str = "qmcbench"
    device: str = "cpu"
    operations: float | None = None
    """Floating-point ones that are counted for it, a fused multiply-add being two."""
    traffic: float | None = None
    """Bytes that it cannot do without: every input read once, every output written once."""

    @property
    def GFs(self) -> float | None:
        """Billions of the counted operations a second."""
        return None if self.operations is None else self.operations / self.value / 1e9


@dataclass(frozen=True, kw_only=True)
class SamplingRate(Timing, Measured, kind="sampling rate"):
    """Samples of all chains a second, each after so many proposals and with its local energy: a median."""

    RANGES: ClassVar = {"acceptance": (0, 1)}

    value: float
    unit: str = "1/s"
    network: str
    L: int
    chains: int
    proposals: int
    symmetry: str
    weights: str | None = None
    """``random``, or the file that they came from."""
    acceptance: float | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Memory(Measured, kind="memory"):
    """The most bytes that a process, or a device, held during some work."""

    value: float
    unit: str = "B"
    work: str
    network: str
    L: int
    batch: int
    before: float | None = None
    """What it held before."""
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Step(Measured, kind="step"):
    """How many times as fast a change made a workload: the median of the ratios, turn by turn."""

    value: float
    unit: str = "times"
    name: str
    workload: str
    before_s: float
    after_s: float
    predicted: float | None = None
    """By counting, or written down before the change was; None if nobody did."""
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Share(Measured, kind="share"):
    """The part of a forward pass on one core that one operation takes, by a profiler: a mean over the repeats."""

    RANGES: ClassVar = {"value": (0, 100)}

    value: float
    unit: str = "%"
    operation: str
    form: Literal["plain", "fused"]
    network: str
    L: int
    batch: int
    pass_s: float
    """Seconds of the whole pass."""
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a curve of growth: the median of several repeats, and their range."""

    x: int
    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Growth(Measured, kind="growth"):
    """An exponent: the slope of a line through logarithms from ``fitted_from`` on, with its standard error."""

    RANGES: ClassVar = {"value": (-100, 100), "expected": (-100, 100), "sigma": (0, 100)}

    value: float
    unit: str = ""
    work: str
    quantity: Literal["seconds", "bytes"]
    variable: Literal["L", "parameters", "samples", "chains"]
    fixed: Mapping[str, Scalar]
    """What else says how large the work is."""
    expected: float
    """The slope of the same line through the counted work or bytes."""
    why: str
    fitted_from: int
    points: tuple[Point, ...]

    @property
    def off(self) -> float:
        """How far the exponent is from the expected one."""
        return abs(self.value - self.expected)


@dataclass(frozen=True, kw_only=True)
class AsvBenchmark(Measured, kind="asv"):
    """The median of one asv benchmark with one choice of parameters, or why there is none."""

    benchmark: str
    parameters: Mapping[str, str]
    low: float | None = None
    high: float | None = None
    """First and third quartile."""
    failed: bool = False
    """Not run for another reason than the machine's size."""


@dataclass(frozen=True, kw_only=True)
class CommitTime(Timing, Measured, kind="commit time"):
    """Seconds of a phase of a step with the code of one commit: the fastest step of each round, and their median."""

    commit: str
    date: str
    subject: str
    """Of the commit."""
    phase: str
    """Or all of it, ``step``."""
    network: str
    L: int
    chains: int
    symmetry: str
    level: float | None = None
    """Of the step function that asv's detection fits to this phase's times, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Compared(Measured):
    """A program in a comparison with peers. Samples of an iteration are one of each of as many chains."""

    RANGES: ClassVar = {"J2": (-1000, 1000)}

    program: str
    configuration: Mapping[str, Scalar]
    """What the program chose for itself."""
    network: str
    L: int
    J2: float
    learning_rate: float | None = None
    """Of the update, for energies in units of J1 S.S."""
    shift: float | None = None
    """Of the diagonal of what stochastic reconfiguration solves."""
    peak_bytes: float | None = None
    """The most memory that its process held."""


@dataclass(frozen=True, kw_only=True)
class PeerTrial(Compared, kind="peer trial"):
    """The fastest iteration of a program in one configuration, in seconds, or why there is none."""

    unit: str = "s"
    slow: bool = False
    """Whether it was stopped for its time."""


@dataclass(frozen=True, kw_only=True)
class PeerProgram(Compared, kind="peer program"):
    """A program in its best configuration: the largest difference of its log|psi| from this package's.

    Its times, repeat by repeat, are records of :class:`WorkTime`.
    """

    RANGES: ClassVar = Compared.RANGES | {"value": (0, MOST), "energies": (-MOST, MOST)}

    value: float
    unit: str = ""
    samples: int
    tau: float
    """Integrated autocorrelation time of the diagonal energy, in sweeps."""
    versions: Mapping[str, str]
    energies: tuple[float, ...] = ()
    """Per site, in each repeat."""
    peaks: tuple[float, ...] = ()
    """The most memory in bytes that its process had held by the end of each repeat."""


@dataclass(frozen=True)
class LearningCurve:
    """What training said at each step, against the clock; all columns have one length."""

    seconds: tuple[float, ...] = ()
    """Since the program was started, imports and compilation included, fresh evaluations not."""
    energy: Column = ()
    """Per site, of the samples of the step, drawn before its update."""
    error: Column = ()


@dataclass(frozen=True)
class Fresh:
    """An energy per site evaluated anew at the parameters of one moment of training."""

    seconds: float
    """On the clock of the training, which stood still."""
    energy: float | None
    error: float | None
    samples: int


@dataclass(frozen=True, kw_only=True)
class Learning(Compared, kind="learning"):
    """A program that trained against the clock: the relative error of its last fresh energy, or why there is none.

    ``reference`` is the exact energy, ``samples`` are those of a step, ``seconds`` is what the clock said at the end.
    """

    RANGES: ClassVar = Compared.RANGES | {
        "value": (-MOST, MOST),
        "energy": (-MOST, MOST),
        "error": (0, MOST),
        "reference.value": (-MOST, MOST),
    }

    unit: str = ""
    practice: str
    """Whose network and settings these are, in words: ``twin`` and what begins so share one network, and what begins
    with another program's name (``tachys' quick start``) is that program's."""
    limit_s: float
    """Seconds after which no step began."""
    parameters: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    curve: LearningCurve = LearningCurve()
    fresh: tuple[Fresh, ...] = ()
    provenance: Provenance | None = None
    """Its own, as the runs of one comparison may be days apart."""

    @property
    def first_s(self) -> float | None:
        """Seconds until the first step was done: imports, compilation, warm-up and the step."""
        return self.curve.seconds[0] if self.curve.seconds else None


@dataclass(frozen=True, kw_only=True)
class Optimised(Record, kind="optimised"):
    """Energy per site that a way of optimising reaches in so many seconds from fresh parameters, by fresh samples."""

    value: float | None = None
    unit: str = "J1"
    way: str
    what: str
    L: int
    J2: float
    network: str
    symmetry: str
    chains: int
    steps: int
    exact: float

    @property
    def error(self) -> float | None:
        """``(E - E_exact) / |E_exact|``."""
        return None if self.value is None else (self.value - self.exact) / abs(self.exact)
