"""Level *ground_state*: energies against exact diagonalization, and the reference values themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.stats import norm

from qmcbench import reference
from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.checkpoint import SHIPPED
from qmcbench.gates import plain
from qmcbench.gates.check import POWER, Check, unmeasured
from qmcbench.gates.levels.ansatz import ROUNDINGS, configurations, exactly, not_run, off_formula
from qmcbench.gates.models import lowest, quspin
from qmcbench.gates.power import Words, difference, stream
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.tables import table
from qmcbench.gates.targets.builtin import NETWORKS
from qmcbench.gates.targets.target import Draw, Evaluated, Evaluation, Target
from qmcbench.infidelity import infidelity as sampled_infidelity
from qmcbench.lattice import neel, random_configurations
from qmcbench.reference import NetworkCard, store, verify
from qmcbench.training import load_ansatz

COUPLINGS = (0.0, 0.5, 0.6)
LOST = 5e-3
"""Energy per site, in units of J1, by which an energy below the exact one must be seen."""
SUMMED = 0.015
"""Energy per site by which an evaluated energy of the target's own psi must be seen to differ from its sum."""
FAITHFUL = 2 * LOST
"""Energy per site by which an energy below what the infidelity demands must be seen."""
CARRIED = 2e-3
"""Energy per site by which an evaluated energy of a trained 6x6 network must be seen to differ from its full sum."""
CORRELATED = 2.0
"""Variance of its mean over that of independent samples, at most: a sweep apart they are nearly so."""
CARDS = 1e-6
"""Energy per site that single precision may be off a full sum in double precision."""
ROUNDING = 1e-8
"""Of an energy per site: the error of an eigenstate's energy is smaller."""


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
        yield unmeasured(name, "variational", why)
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
    found = planned(target, target.psi, asked, Aim(setting.effect, bound.most))
    return Check(
        name=bound.name,
        check="variational",
        value=(bound.energy - found.mean) / max(found.sigma, ROUNDING) if found.sigma >= 0 else None,
        bound=float(norm.isf(setting.rate)),
        sigma=found.sigma,
        samples=found.samples,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=f"Standard errors by which {found.mean:.6f} lies below {bound.energy:.6f} ({bound.source}); "
        "negative: above.",
    )


@dataclass(frozen=True)
class Aim:
    """How precise an evaluation is to be."""

    effect: float
    """The smallest effect that must be seen, energy per site."""
    most: int
    """Samples of a chain that are taken at most."""
    variance: float = 0.0
    """Of the local energies per site, if it is known: few samples of a psi with nodes understate it."""


def planned(target: Target, psi: Ansatz, asked: Evaluation, aim: Aim) -> Evaluated:
    """An evaluation of so many samples that the effect is seen, as a pilot, ``asked``, says."""
    assert target.evaluate is not None
    pilot = target.evaluate(psi, asked)
    sigma = max(pilot.sigma, (aim.variance / max(1, pilot.samples)) ** 0.5)
    # Half as many again as the pilot says, since its error is itself uncertain.
    wanted = 1.5 * (POWER * sigma / aim.effect) ** 2 if sigma > 0 else 0.0
    rounds = min(aim.most, max(asked.samples, int(asked.samples * wanted)))
    return target.evaluate(psi, replace(asked, samples=rounds, seed=asked.seed + 1))


@gate(
    "exact",
    needs=("psi", "energy", "local_energies"),
    cause="psi is no eigenstate of this Hamiltonian: another J2, lattice or boundary; amplitudes in single precision",
)
def zero_variance(target: Target, setting: Setting) -> Iterator[Check]:
    """A wave function that claims to be an eigenstate has its energy as local energy everywhere."""
    assert target.psi is not None
    assert target.energy is not None
    assert target.local_energies is not None
    spins, sites = configurations(target.L, 1024, setting.seed), target.L**2
    with torch.no_grad():
        log_psi = amplitudes(target.psi, spins)[0]
    size = (log_psi - log_psi.max()).exp()
    # Where symmetry makes psi vanish there is rounding, and no local energy.
    seen = size > 1e-9
    found = target.local_energies(target.psi, target.L, target.J2, spins[seen]) / sites
    yield Check(
        name=f"local energies of an eigenstate, {target.L}x{target.L}, J2 = {target.J2:g}",
        check="exact",
        value=float(((found - target.energy) * size[seen]).abs().nan_to_num(torch.inf).amax()),
        bound=1e-9,
        statement=f"Largest |psi(S)| (E_loc(S) - E) on {int(seen.sum())} configurations, in units of the largest "
        f"amplitude; E = {target.energy:.10f} per site.",
    )
    if target.evaluate is None:
        return
    asked = Evaluation(L=target.L, J2=target.J2, chains=64, samples=8, alpha=2.0, seed=setting.seed)
    evaluated = target.evaluate(target.psi, asked)
    yield Check(
        name=f"evaluated energy of an eigenstate, {target.L}x{target.L}, J2 = {target.J2:g}",
        check="exact",
        value=abs(evaluated.mean - target.energy) + (evaluated.variance or 0.0) ** 0.5,
        bound=1e-6,
        statement="Difference from the eigenvalue, plus the standard deviation of local energies; per site.",
    )


@gate(
    "unbiased",
    needs=("psi", "evaluate"),
    cause="a windowed or clipped mean that is called unbiased; weights; too short a warm-up; chains that nodes stop",
    effect=Effect(size=SUMMED, unit="J1 a site"),
)
def full_sum(target: Target, setting: Setting) -> Check:
    """The evaluated energy of the target's own psi is its sum over all configurations of 4x4 with QuSpin's H."""
    assert target.psi is not None
    name = f"evaluated = summed energy, J2 = {target.J2:g}"
    if target.L != 4:
        why = f"{target.L}x{target.L} is too large to sum: a psi that takes any lattice can be given with --L 4"
        return unmeasured(name, "unbiased", why)
    mean, variance = summed(target.psi, target.J2)
    asked = Evaluation(L=4, J2=target.J2, chains=256, samples=8, alpha=2.0, seed=stream(setting.seed, 4), warm_up=20)
    # Who asks for a smaller effect gets more samples.
    most = round(200 * max(1.0, SUMMED / setting.effect) ** 2)
    found = planned(target, target.psi, asked, Aim(setting.effect, most, variance))
    # No correlation makes an error smaller than that of independent samples.
    sigma = max(found.sigma, (variance / max(1, found.samples)) ** 0.5)
    words = Words(
        name=name,
        statement=f"{found.mean:.6f} +- {sigma:.1e} per site from {found.samples} samples, {mean:.6f} from the sum.",
    )
    return difference(words, found.mean - mean, max(sigma, ROUNDING), found.samples, setting)


@torch.no_grad()
def summed(psi: Ansatz, J2: float) -> tuple[float, float]:
    """Energy of a wave function per site, and the variance of its local energies, by QuSpin's matrix on 4x4."""
    spins, matrix = quspin(J2)
    parts = [amplitudes(psi, each) for each in torch.from_numpy(spins).split(1024)]
    log_psi, phase = (torch.cat(values) for values in zip(*parts, strict=True))
    vector = (phase * (log_psi - log_psi.max()).exp()).numpy()
    applied, norm = np.asarray(matrix @ vector), np.vdot(vector, vector).real
    total = np.vdot(vector, applied).real / norm
    return float(total) / 16, max(0.0, float(np.vdot(applied, applied).real / norm - total**2)) / 256


@gate(
    "variational",
    needs=("psi", "sample", "evaluate"),
    cause="an energy too low for its state: a windowed or clipped mean, other units; or samples of another psi",
    effect=Effect(size=FAITHFUL, unit="J1 a site"),
    quick=False,
)
def infidelity(target: Target, setting: Setting) -> Check:
    """On 4x4 the energy is as far above the exact one as the infidelity, by Monte Carlo, says at least."""
    assert target.psi is not None
    assert target.sample is not None
    name = f"energy against infidelity, J2 = {target.J2:g}"
    if target.L != 4:
        why = f"the lowest excitation of {target.L}x{target.L} is not known here"
        return unmeasured(name, "variational", why)
    ground, energy, gap = lowest(target.J2)
    chains = math.ceil(4096 * (FAITHFUL / setting.effect) ** 2)
    draw = Draw(L=4, alpha=2.0, chains=chains, proposals=320, seed=stream(setting.seed, 0))
    of_psi = target.sample(target.psi, draw).spins
    of_ground = target.sample(ground, replace(draw, seed=stream(setting.seed, 1))).spins
    value, sigma = sampled_infidelity(target.psi, ground, of_psi, of_ground)
    asked = Evaluation(L=4, J2=target.J2, chains=256, samples=8, alpha=2.0, seed=stream(setting.seed, 2), warm_up=20)
    found = planned(target, target.psi, asked, Aim(setting.effect / 1.5, 200))
    error = max(ROUNDING, float(np.hypot(gap * sigma, found.sigma)))
    return Check(
        name=name,
        check="variational",
        value=(value * gap - (found.mean - energy)) / error,
        bound=float(norm.isf(setting.rate)),
        sigma=error,
        samples=found.samples,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=f"Standard errors by which E - E0 = {found.mean - energy:.5f} per site is below infidelity times "
        f"gap; infidelity {value:.4f} +- {sigma:.1e} from {chains} samples of each, gap {gap:.5f} per site.",
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


@gate(
    "exact",
    needs=("engine",),
    cause="a checkpoint that is read wrongly (parameters, sign rule, symmetry or precision), kernels that are wrong "
    "in float32 or with all symmetries, or a file or a card that was changed",
)
def trained_networks(target: Target, setting: Setting) -> Iterator[Check]:
    """A shipped network, as it is loaded, is the paper's formula of its file's numbers, with its card's energy."""
    for card in reference.checkpoints():
        name = f"psi of {card.name}"
        statement = (
            "Largest difference of the network, as it is loaded, from the plain formula in float64 of the numbers in "
            "its file, in units of the rounding of float32 near the zeros of its factors."
        )
        if card.L > 6 or card.symmetry not in plain.SYMMETRIES:
            yield not_run(name, statement, f"the plain formula of {card.L}x{card.L}, {card.symmetry} takes too long")
            continue
        formula, (psi, _) = formula_of(card), load_ansatz(Path(f"{SHIPPED}{card.name}"))
        spins = torch.cat([neel(card.L)[None], random_configurations(card.L, 7, setting.seed)])
        yield exactly(name, off_formula(psi, formula, spins, torch.float32), ROUNDINGS, statement)
        if card.L == 4:
            energy, variance = summed(formula, card.J2)
            yield exactly(
                f"energy on the card of {card.name}",
                abs(energy - card.evaluation.energy),
                CARDS,
                f"Distance from {energy:.10f} per site, the formula's sum over all configurations with QuSpin's H.",
            )
            yield exactly(
                f"variance on the card of {card.name}",
                abs(card.evaluation.variance / variance - 1),
                0.01,
                f"Relative difference from {variance:.4g}, that of local energies per site by the same sum.",
            )


def formula_of(card: NetworkCard) -> plain.PaperNetwork:
    """The paper's formula of the numbers in a shipped file, which nothing of the engine has read."""
    parameters = {
        ".".join(name.split(".")[-3:]).removeprefix("parameters/"): tensor.double()
        for name, tensor in load_file(card.path).items()
    }
    spec = reference.model_spec(card.configuration["wavefunction"]["network"])
    return plain.PaperNetwork(spec, parameters, card.symmetry)


@gate(
    "unbiased",
    needs=("evaluate",),
    cause="chains that do not follow |psi|^2, or wrong local energies, beyond 4x4: a counter, a key or a table that "
    "is too small for 36 sites; psi in low precision",
    effect=Effect(size=CARRIED, unit="J1 a site"),
)
def trained_energy(target: Target, setting: Setting) -> Check:
    """The evaluated energy of a trained 6x6 network is its sum over all configurations, which its card has.

    Beyond 4x4 no other state whose modulus varies has a known energy that is not an eigenvalue.
    """
    assert target.evaluate is not None
    card = reference.network(NETWORKS[6])
    known, chains = card.evaluation, 256
    variance = CORRELATED * known.variance
    samples = math.ceil(variance * (POWER / setting.effect) ** 2 / chains)
    psi, _ = load_ansatz(Path(f"{SHIPPED}{card.name}"))
    asked = Evaluation(
        L=6, J2=card.J2, chains=chains, samples=samples, alpha=2.0, seed=stream(setting.seed, 6), warm_up=20
    )
    found = target.evaluate(psi, asked)
    # Chains that do not follow |psi|^2 have errors that would excuse them; the variance is known.
    sigma = math.hypot((variance / max(1, found.samples)) ** 0.5, known.error)
    words = Words(
        name=f"evaluated = summed energy, {card.name}",
        statement=f"{found.mean:.6f} +- {found.sigma:.1e} per site from {found.samples} samples, "
        f"{known.energy:.6f} by a {known.how}; held at the error that its variance gives.",
    )
    return difference(words, found.mean - known.energy, sigma, found.samples, setting)
