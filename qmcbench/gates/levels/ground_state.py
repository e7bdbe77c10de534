"""Level *ground_state*: energies against exact diagonalization, and the reference values themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from scipy.stats import norm

from qmcbench import reference
from qmcbench.gates.check import POWER, Check
from qmcbench.gates.models import quspin
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.tables import table
from qmcbench.gates.targets.target import Evaluation, Target
from qmcbench.reference import store, verify

COUPLINGS = (0.0, 0.5, 0.6)
LOST = 5e-3
"""Energy per site, in units of J1, by which an energy below the exact one must be seen."""


@gate(
    "exact",
    needs=("local_energies",),
    cause="a matrix element or a bond is wrong: an exact eigenstate has the same local energy everywhere",
)
def eigenstate(target: Target, setting: Setting) -> Iterator[Check]:
    """QuSpin's 4x4 ground state has its energy as local energy on every configuration: zero variance."""
    assert target.local_energies is not None
    for J2 in COUPLINGS[1:2] if setting.quick else COUPLINGS:
        configurations, _ = quspin(J2)
        energy, vector = reference.ground_state(4, J2)
        spins, amplitudes = torch.from_numpy(configurations), torch.from_numpy(vector)
        # Symmetry makes some amplitudes vanish; they come out as rounding, and as no local energy.
        seen = amplitudes.abs() > 1e-9 * amplitudes.abs().max()
        found = target.local_energies(table(spins, amplitudes), 4, J2, spins[seen])
        off = ((found - energy) * amplitudes[seen]).abs().nan_to_num(torch.inf).amax() / amplitudes.abs().max()
        yield Check(
            name=f"ground state, 4x4, J2 = {J2:g}",
            check="exact",
            value=float(off),
            bound=1e-9,
            statement="Largest |psi(S)| (E_loc(S) - E_0), in units of the largest amplitude; total energy.",
        )


@gate(
    "variational",
    needs=("psi", "evaluate"),
    cause="energies of another Hamiltonian (bonds, Pauli matrices), or a biased mean (weights, clipping, a window)",
    effect=Effect(size=LOST, unit="J1 a site"),
)
def variational(target: Target, setting: Setting) -> Iterator[Check]:
    """The evaluated energy does not lie below the exact one of its lattice and coupling."""
    known = reference.known_energy(target.L, target.J2)
    name = f"variational bound, {target.L}x{target.L}, J2 = {target.J2:g}"
    if known is None:
        why = f"no exact energy of {target.L}x{target.L} at J2 = {target.J2:g} is stored"
        yield Check(name=name, check="variational", value=None, bound=0.0, statement="", not_run=why)
        return
    asked = Evaluation(L=target.L, J2=target.J2, chains=256, samples=8, alpha=2.0, seed=setting.seed, warm_up=50)
    yield not_below(target, setting, Bound(name, *known, most=200), asked)


@dataclass(frozen=True)
class Bound:
    """An energy per site that a wave function must not lie below."""

    name: str
    """Of the check."""
    energy: float
    source: str
    most: int
    """Samples of a chain that are taken at most."""


def not_below(target: Target, setting: Setting, bound: Bound, asked: Evaluation) -> Check:
    """The evaluated energy against a bound; a pilot, ``asked``, says how many samples see the effect."""
    assert target.psi is not None
    assert target.evaluate is not None
    pilot = target.evaluate(target.psi, asked)
    # Half as many again as the pilot says, since its error is itself uncertain.
    wanted = 1.5 * (POWER * pilot.sigma / setting.effect) ** 2 if pilot.sigma > 0 else 0.0
    rounds = min(bound.most, max(asked.samples, int(asked.samples * wanted)))
    found = target.evaluate(target.psi, replace(asked, samples=rounds, seed=setting.seed + 1))
    return Check(
        name=bound.name,
        check="variational",
        value=(bound.energy - found.mean) / found.sigma if found.sigma > 0 else None,
        bound=float(norm.isf(setting.rate)),
        sigma=found.sigma,
        samples=found.samples,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=f"Standard errors by which {found.mean:.6f} lies below {bound.energy:.6f} ({bound.source}); "
        "negative: above.",
    )


@gate(
    "exact",
    needs=("engine",),
    cause="a number of the reference layer was changed, or two of them disagree",
)
def reference_values(target: Target, setting: Setting) -> Iterator[Check]:
    """Stored, exact and published energies agree with their sources, each other, and what physics demands."""
    stored = {(each.L, each.J2): each for each in store.stored()} if setting.quick else {}
    # A quick run diagonalizes only what is not stored; what is, it holds against everything else.
    results = verify.verify(diagonalize=lambda L, J2: stored.get((L, J2)) or reference.diagonalize(L, J2))
    failures = [text for each in results for text in each.failures]
    yield Check(
        name="reference values",
        check="exact",
        value=float(len(failures)),
        bound=0.0,
        statement=f"Failures among {sum(each.checked for each in results)} comparisons of {len(results)} sorts. "
        + " ".join(failures[:3]),
    )
