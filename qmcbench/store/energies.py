"""Kinds of record about wave functions: energies, correlations, exact ground states, training, what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

from qmcbench import reference
from qmcbench.store.records import Record, Reference

Column = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an imported network comes from; what is known of the authors' network stands with theirs."""

    file: str | None = None
    sha256: str | None = None
    """Of the file."""
    citation: str | None = None
    source: str | None = None
    licence: str | None = None
    L: int | None = None
    J2: float | None = None
    published_energy: float | None = None
    """The mean of windowed local energies per site that its authors published for this lattice and coupling."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which wave function an energy is of."""

    name: str
    parameters: int
    symmetry: str
    sign: str
    dtype: str
    L: int
    J2: float
    """What it was trained for."""
    sha256: str
    """Of its checkpoint."""
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """What a window of local energies does: a biased mean, to compare with those who publish such."""

    low: float
    high: float
    """Local energies per site that are kept lie between these."""
    outside: float
    """Share of abs(psi)^2 outside."""
    mean: float | None = None
    """Of the rest; None if there is none."""
    sigma: float | None = None


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """After one Lanczos step: the lowest ``(1 + a H)|psi>`` by sampling, per site.

    ``a`` comes from one half of the chains and the energy from the other, and the other way about: the energy of the
    best ``a`` of the same samples would be biased low.
    """

    energy: float | None
    sigma: float | None
    variance: float | None
    v_score: float | None
    tau: float
    r_hat: float | None
    effective_samples: float
    plateau: bool
    extrapolated_energy: float | None
    """To variance 0 through the energies before and after the step, no bound; None if the variance does not fall."""
    extrapolated_sigma: float | None


@dataclass(frozen=True, kw_only=True)
class Energy(Record, kind="energy"):
    """Energy per site of a wave function at fixed parameters, from Markov chains.

    ``reference`` is the best energy known of that lattice and coupling, exact or variational. Energies of one lattice
    from one evaluation share their samples, so their errors are correlated.
    """

    unit: str = "J1"
    name: str
    """Of the run, or lattice and coupling."""
    network: Network
    L: int
    J2: float
    device: str = "cpu"
    chains: int
    gap: int
    """Proposals between samples."""
    warm_up: int
    """Sweeps of L * L proposals before the first sample."""
    alpha: float
    """The chains follow abs(psi)^alpha."""
    bound: float
    """Local energies per site beyond it are abnormal."""
    asked: int
    """Samples that were asked for: with ``asked_sigma`` at most so many."""
    asked_sigma: float | None = None
    """Standard error that was asked for."""
    variance: float | None
    """Of the energy per site."""
    v_score: float | None
    r_hat: float | None
    effective_samples: float
    plateau: bool
    """Whether the blocking error has one; without, ``sigma`` is a lower bound."""
    acceptance: float
    abnormal: int
    """Samples left out as not finite or beyond ``bound``; their chains were restarted."""
    window: Windowed
    one_step: OneStep | None = None
    """After one Lanczos step, if that was asked for."""
    full_sum: float | None = None
    """The exact expectation of the same wave function."""
    tolerance: float | None = None
    """Relative error that its training was to reach."""
    paper: Reference | None = None
    """The seed paper's energy, retrained at this lattice and coupling."""

    @property
    def stepped(self) -> Energy | None:
        """The energy after one Lanczos step as one of its own, from the same samples; None if there is none."""
        step = self.one_step
        if step is None:
            return None
        return replace(
            self,
            value=step.energy,
            sigma=step.sigma,
            variance=step.variance,
            v_score=step.v_score,
            tau=step.tau,
            r_hat=step.r_hat,
            effective_samples=step.effective_samples,
            plateau=step.plateau,
            name=f"{self.name}, one Lanczos step",
            one_step=None,
            full_sum=None,
        )

    @property
    def exact(self) -> Reference | None:
        """The reference, if it is the exact ground state."""
        return self.reference if self.reference is not None and self.reference.kind == "exact" else None

    @property
    def published(self) -> float | None:
        """The windowed mean that the network's authors published for this very lattice and coupling."""
        origin = self.network.origin
        return origin.published_energy if origin is not None and (origin.L, origin.J2) == (self.L, self.J2) else None

    @property
    def short(self) -> bool:
        """Whether sampling ended before the standard error was what was asked for."""
        asked = self.asked_sigma
        return asked is not None and not (self.plateau and self.sigma is not None and self.sigma <= asked)

    def above(self, reference: Reference | None) -> float | None:
        """``(E - E_ref) / |E_ref|``; None where one is missing or the reference is 0."""
        return None if reference is None else reference.above(self.value)


@dataclass(frozen=True, kw_only=True)
class FullSum(Record, kind="full sum"):
    """Energy per site of a wave function by a sum over all configurations, or over orbits of its symmetries.

    ``reference`` is the exact ground state; there are no samples, and no error.
    """

    unit: str = "J1"
    network: Network
    L: int
    J2: float
    sector: str
    ground_sector: str
    variance: float
    """Of the energy per site."""
    v_score: float
    infidelity: float
    """``1 - |<psi|ground state>|^2``; 1 in another sector."""
    one_step_energy: float
    one_step_variance: float
    """After one Lanczos step."""
    extrapolated_energy: float | None
    """To variance 0 through both, no bound; None if the variance does not fall."""
    asymmetry: float | None
    """Largest median change of log|psi| under a symmetry; None in no sector."""
    configurations: int
    """Orbits summed over, or configurations where the wave function is in no sector."""

    @property
    def relative_error(self) -> float | None:
        """``(E - E_0) / |E_0|``; None where one is missing or E_0 is 0."""
        return None if self.reference is None else self.reference.above(self.value)


@dataclass(frozen=True, kw_only=True)
class Correlations(Record, kind="correlations"):
    """Expectation values with several components; see :mod:`qmcbench.observables` for the conventions."""

    unit: str = "hbar^2"
    quantity: str
    """``correlation``, ``structure_factor``, ``bond`` or ``dimer``."""
    L: int
    shape: tuple[int, ...]
    at: tuple[int, ...]
    """The component that ``value`` and ``sigma`` are of: S(pi, pi), the longest distance, or the bond along x."""
    mean: Column
    error: Column
    plateau: tuple[bool, ...]
    """Of all components, flattened row by row."""


@dataclass(frozen=True, kw_only=True)
class Exact(Record, kind="exact"):
    """Ground state of a small lattice by exact diagonalization; ``value`` is its energy per site."""

    unit: str = "J1"
    L: int
    J2: float
    residual: float
    """Norm of H v - E v, total energy."""
    sector: str
    states: int
    gap: float
    """To the next state of the sector, total energy."""
    structure_factor_pi_pi: float
    structure_factor_pi_0: float
    source: str


@dataclass(frozen=True)
class Curve:
    """What training showed at each step; all columns have one length."""

    step: tuple[int, ...] = ()
    energy: Column = ()
    error: Column = ()
    variance: Column = ()
    acceptance: Column = ()
    r_hat: Column = ()
    alpha: Column = ()
    effective_fraction: Column = ()
    restarted: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the seed paper's transfer learning: energies per site, read off its text and figure."""

    what: str
    start: float
    end: float
    steps: int | None


@dataclass(frozen=True, kw_only=True)
class Training(Record, kind="training"):
    """A training run; ``value`` is the energy per site of the last step's samples, drawn before its update."""

    unit: str = "J1"
    name: str
    network: str
    parameters: int
    symmetry: str
    sign: str
    L: int
    J2: float
    start: str | None
    """The run whose parameters it started from."""
    start_sha256: str | None = None
    """Of the checkpoint that it started from, whose run may have gone on since."""
    start_L: int | None = None
    """The lattice that this was trained for."""
    steps: int
    chains: int
    curve: Curve = Curve()
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase of an iteration."""
    paper: Stage | None = None


@dataclass(frozen=True, kw_only=True)
class LeftOut(Record, kind="left_out"):
    """What a run does not cover: ``not_run`` says why."""

    value: float | None = None
    unit: str = ""
    what: str
    command: str
    """That runs it, or the nearest to it; empty if none does."""


def finite(value: float | None) -> float | None:
    """``value``, or None if it is not finite, which is how a file has it."""
    return value if value is not None and math.isfinite(value) else None


def best_known(L: int, J2: float) -> Reference | None:
    """The best energy known: exact, else the best published one; None if there is none."""
    if known := reference.known_energy(L, J2):
        return Reference(value=known[0], source=known[1])
    try:
        row = reference.best(L, J2)
    except reference.ReferenceLayerError:
        return None
    return Reference(value=row.energy, source=f"{row.cite}; {row.method}", kind=row.kind, sigma=row.error)


def by_lattice(energies: Iterable[Energy]) -> list[list[Energy]]:
    """Energies of one evaluation by lattice: those from the same samples together, in their order."""
    return [list(those) for _, those in groupby(energies, key=lambda each: each.L)]
