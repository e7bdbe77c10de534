"""Level *large*: lattices beyond exact diagonalization, where some states have energies in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scipy.stats import norm

from qmcbench import reference
from qmcbench.gates.check import Check, unmeasured
from qmcbench.gates.levels.claims import AHEAD, SMALLEST
from qmcbench.gates.levels.ground_state import Bound, not_below
from qmcbench.gates.levels.hamiltonian import magnon
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.states import marshall
from qmcbench.gates.targets.target import Evaluated, Evaluation, Target

SIZES = (10, 16, 24)
SAMPLED = SIZES[:2]
SEEN = 5e-3
"""Energy per site, in units of J1, by which an evaluated energy must be seen to differ from the exact one."""
NEAR = 0.1
"""Relative distance from the ground state's energy within which a state has little but it and its excitations."""
BELOW = 5e-3
"""Energy per site, in units of J1, by which an energy below the best known one must be seen."""


@gate("exact", needs=("evaluate",), cause="a bond is wrong on large lattices, or the variance is of something else")
def eigenstates(target: Target, setting: Setting) -> Iterator[Check]:
    """The evaluated energy of an exact eigenstate is its eigenvalue with no variance, at every size."""
    assert target.evaluate is not None
    for L in SIZES[:1] if setting.quick else SIZES:
        psi, energy = magnon(L, 0.5, 2)
        asked = Evaluation(L=L, J2=0.5, chains=16, samples=4, alpha=2.0, seed=setting.seed, warm_up=2, gap=16)
        found = target.evaluate(psi, asked)
        yield Check(
            name=f"one-magnon state, {L}x{L}",
            check="exact",
            value=abs(found.mean - energy / L**2) + (0.0 if found.variance is None else found.variance**0.5),
            bound=1e-8,
            statement=f"Difference from the eigenvalue {energy / L**2:.8f}, plus the standard deviation; per site.",
        )


@gate(
    "unbiased",
    needs=("evaluate",),
    cause="bonds, weights or error bars that are right on small lattices only; too short a warm-up",
    effect=Effect(size=SEEN, unit="J1 a site", tests=len(SAMPLED)),
)
def marshall_state(target: Target, setting: Setting) -> Iterator[Check]:
    """The energy of the uniform state with Marshall's signs, known in closed form, comes out at every size."""
    assert target.evaluate is not None
    for L in SAMPLED[:1] if setting.quick else SAMPLED:
        expected = marshall_energy(L, 0.5)
        # The variance per site falls as 1 / L^2.
        samples, chains = math.ceil(24 * (10 / L) ** 2), math.ceil(1024 * (SEEN / setting.effect) ** 2)
        asked = Evaluation(L=L, J2=0.5, chains=chains, samples=samples, alpha=2.0, seed=setting.seed, warm_up=L)
        found = target.evaluate(marshall, asked)
        yield Check(
            name=f"Marshall's signs, {L}x{L}",
            check="unbiased",
            value=abs(found.mean - expected) / found.sigma if found.sigma > 0 else None,
            bound=float(norm.isf(setting.rate / 2)),
            sigma=found.sigma,
            samples=found.samples,
            smallest_effect=setting.effect,
            false_alarm=setting.rate,
            statement=f"|z| of the energy {found.mean:.6f} against {expected:.6f}, per site.",
        )


def marshall_energy(L: int, J2: float) -> float:
    """Energy per site of the uniform state with Marshall's signs.

    All S^z = 0 configurations are equally likely, so any two spins differ with probability N / (2 N - 2). An exchange
    between the sublattices changes the sign, one within them does not.
    """
    sites = L * L
    differ = sites / (2 * sites - 2)
    diagonal = 0.25 - 0.5 * differ
    return 2 * (diagonal - differ / 2) + 2 * J2 * (diagonal + differ / 2)


@gate(
    "variational",
    needs=("psi", "evaluate"),
    cause="an energy below the best known one: most likely a bias (clipping, a window, the minimum of a trace)",
    effect=Effect(size=BELOW, unit="J1 a site"),
    quick=False,
)
def best_known(target: Target, setting: Setting) -> Iterator[Check]:
    """Beyond exact diagonalization, the evaluated energy does not lie below the best published variational one."""
    name = f"best known energy, {target.L}x{target.L}, J2 = {target.J2:g}"
    known = reference.best(target.L, target.J2) if target.L > 6 else None
    if known is None:
        yield unmeasured(name, "variational", _unknown(target))
        return
    asked = Evaluation(L=target.L, J2=target.J2, chains=64, samples=8, alpha=2.0, seed=setting.seed)
    yield not_below(target, setting, Bound(name, known.energy, known.cite, most=64), asked)


@gate(
    "variational",
    needs=("psi", "evaluate"),
    cause="a variance per site taken for the total's, or the reverse; energy and variance of different samples (a "
    "window); local energies of another Hamiltonian; or psi is near an excited state",
    quick=False,
)
def v_score(target: Target, setting: Setting) -> Iterator[Check]:
    """The V-score is one that a state of that energy can have, beyond exact diagonalization."""
    assert target.evaluate is not None
    assert target.psi is not None
    name = f"{target.L}x{target.L}, J2 = {target.J2:g}"
    known = reference.best(target.L, target.J2) if target.L > 6 else None
    if known is None:
        yield unmeasured(f"V-score, {name}", "variational", _unknown(target))
        return
    asked = Evaluation(
        L=target.L, J2=target.J2, chains=64, samples=8, alpha=2.0, seed=setting.seed, warm_up=2 * target.L
    )
    yield from spread(target.evaluate(target.psi, asked), target, known.energy)


def _unknown(target: Target) -> str:
    """Why there is no energy to hold it against."""
    return "exact diagonalization reaches this lattice" if target.L <= 6 else "no energy of it is published"


def spread(found: Evaluated, target: Target, known: float) -> Iterator[Check]:
    """The V-score against the least and the most that a state of the energy ``found.mean`` has.

    Var H <= (E - E_0) (E_max - E) holds in every state, E_max being the ferromagnet's. Near the ground state Var H is
    not much smaller than E - E_0 either (in units of J1): of all published rows it is a tenth at least.
    """
    name, sites = f"{target.L}x{target.L}, J2 = {target.J2:g}", target.L**2
    if found.variance is None or not found.mean:
        yield unmeasured(f"V-score, {name}", "variational", "the code reports no variance")
        return
    highest = 0.5 + max(target.J2 / 2, -1.5 * target.J2)
    noise = 3 * found.sigma
    above, score = found.mean - known, sites * found.variance / found.mean**2
    most = sites * (above + noise + AHEAD) * (highest - found.mean + noise) / found.mean**2
    words = f"E = {found.mean:.6f} per site, {above:+.2g} from the best known energy."
    yield Check(
        name=f"V-score at most, {name}",
        check="variational",
        value=score,
        bound=most,
        statement=f"{words} Var H is at most (E - E0) (Emax - E) in any state.",
    )
    if noise < above < NEAR * abs(known):
        yield Check(
            name=f"V-score at least, {name}",
            check="variational",
            value=score,
            relation="at least",
            bound=SMALLEST * (above - noise) / found.mean**2,
            statement=f"{words} So near to the ground state Var H is not below {SMALLEST:g} (E - E0).",
        )
