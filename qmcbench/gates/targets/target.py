"""What gates are run on: a wave function, or any other part of a code, by what it can do.

Every part is a plain function with one of the signatures below; gates that need what a target lacks are skipped.
Configurations are spins +-1, shape (batch, L, L), int8, up = +1; energies are total ones in units of J1 (S.S
convention: a quarter of those in Pauli matrices).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.samples import SampleFile
from qmcbench.lattice import check_size


@dataclass(frozen=True, kw_only=True)
class Size:
    """The lattice and the coupling as a user gave them; None where they are not given."""

    L: int | None = None
    J2: float | None = None

    def side(self) -> int:
        """L, by default 4."""
        return check_size(4 if self.L is None else self.L)

    def coupling(self) -> float:
        """J2, by default 0.5."""
        J2 = 0.5 if self.J2 is None else self.J2
        if not math.isfinite(J2):
            raise UserError(f"J2 = {J2} is not a finite number; give the coupling in units of J1, such as 0.5.")
        return J2

    def check(self, name: str, L: int | None = None, J2: float | None = None) -> None:
        """Refuse a target that says something else."""
        for what, given, said in (("L", self.L, L), ("J2", self.J2, J2)):
            if given is not None and said is not None and given != said:
                raise UserError(f"{name} says {what} = {said:g}, but {what} = {given:g} is asked for; leave it out.")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a sampler is asked for: ``chains`` independent chains after ``proposals`` proposals each."""

    L: int
    alpha: float
    """The chains are to follow |psi|^alpha."""
    chains: int
    proposals: int
    seed: int
    start: Tensor | None = None
    """Where each chain begins, (chains, L, L); wherever the sampler begins by itself if None."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What it gives."""

    spins: Tensor
    """The chains' last configurations, (chains, L, L), int8."""
    acceptance: float
    """Accepted share of the proposals."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation is asked for."""

    L: int
    J2: float
    chains: int
    samples: int
    """Of each chain."""
    alpha: float
    seed: int
    gap: int | None = None
    """Proposals between samples; L * L if None."""
    warm_up: int = 100
    """Sweeps of L * L proposals before the first sample."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What it gives; per site in units of J1. None where the code does not say."""

    mean: float
    sigma: float
    """One standard error of the mean."""
    samples: int
    """How many went into the mean, all chains together."""
    variance: float | None = None
    """Of the energy per site under |psi|^2."""
    v_score: float | None = None
    """N Var E / E^2 with the total energy E."""
    tau: float | None = None
    r_hat: float | None = None
    acceptance: float | None = None
    plateau: bool | None = None
    abnormal: int = 0
    """Samples that were left out."""


LocalEnergies = Callable[[Ansatz, int, float, Tensor], Tensor]
"""(psi, L, J2, spins) -> total local energies (batch,), real or complex."""
LogDerivatives = Callable[[Ansatz, Tensor], Tensor]
"""(psi, spins) -> d log psi / d theta, (batch, parameters), real or complex."""
Step = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(log-derivatives (samples, parameters), total local energies, weights summing to 1, shift) -> the solution Delta of
(M + shift) Delta = G, (parameters,), which is to be subtracted times the learning rate."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A wave function, or another part of a code, to be put through the gates."""

    name: str
    """As it is given on the command line."""
    L: int = 4
    J2: float = 0.5
    psi: Ansatz | None = None
    invariance: tuple[str, ...] = ()
    """Generators (:data:`qmcbench.group.GENERATORS`) under which psi claims not to change."""
    energy: float | None = None
    """Energy per site of which psi is said to be an exact eigenstate; None where it is not."""
    local_energies: LocalEnergies | None = None
    log_derivatives: LogDerivatives | None = None
    sample: Callable[[Ansatz, Draw], Drawn] | None = None
    evaluate: Callable[[Ansatz, Evaluation], Evaluated] | None = None
    step: Step | None = None
    samples: SampleFile | None = None
    energies: tuple[ClaimedEnergy, ...] = ()
    lent: tuple[str, ...] = ()
    """Which of its parts are the suite's own, so that a bare wave function has energies, too: they are no claim of
    the target's, and gates that need nothing else are skipped."""
    engine: bool = False
    """Whether it is the suite's own engine, whose training, ranks and files are tested too."""

    def lacks(self, needs: tuple[str, ...]) -> str | None:
        """Which of these it does not bring, in words; None if it has all."""
        missing = [name for name in needs if not getattr(self, name)]
        if missing:
            return f"the target brings no {', no '.join(missing)}".replace("_", " ")
        if needs and set(needs) <= set(self.lent):
            return f"the target brings no {', no '.join(needs)} of its own".replace("_", " ")
        return None
