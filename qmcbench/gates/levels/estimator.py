"""Level *estimator*: energies, their error bars and what is said beside them, against full sums on 4x4 at J2 = 0.5.

None of the wave functions is near an eigenstate: their local energies have the variance of an untrained one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import chdtri
from torch import nn

from qmcbench import evaluation, vmc
from qmcbench.ansatz.base import Ansatz
from qmcbench.config import Config, Model, Run, Sampling
from qmcbench.gates.check import POWER, Check
from qmcbench.gates.power import Words, difference, distance, size, stream
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.states import J2, Known, broken, flat, marshall, ordered, rough, spiky, valleys
from qmcbench.gates.targets.target import Evaluated, Evaluation, Target
from qmcbench.ranks.comm import Serial
from qmcbench.sampler import Chains

WEIGHTS = (
    "samples of |psi|^alpha that are not weighted by |psi|^(2 - alpha), or with the wrong exponent; a sum over "
    "the wrong connected configurations; a windowed mean"
)
CLIPPED = "a mean of clipped or windowed local energies that is called unbiased: filters are for the gradient only"
ERRORS = "no autocorrelation in the error; errors of single samples, or of too few; weights left out of it"
PILOT = 256
MOST = 8192
"""Chains of a pilot, and the most that a plan may take."""
MARGIN = 2.0
"""More samples than the pilot says, since its own error is known to some ten per cent only."""
CHAINS = 128
"""Of each replica. With 32 the error itself scatters by 40 %: 15 of 1000 correct runs raise an alarm, where 5 may."""


@dataclass(frozen=True)
class Case:
    """A wave function and the exponent that it is sampled with."""

    known: Known
    alpha: float
    name: str

    def asked(self, chains: int, samples: int, gap: int, seed: int) -> Evaluation:
        """Eight sweeps of warm-up: by the exact kernel, less than 1e-4 of an energy is left of the Neel state."""
        return Evaluation(L=4, J2=J2, chains=chains, samples=samples, alpha=self.alpha, seed=seed, gap=gap, warm_up=8)


def cases() -> tuple[Case, ...]:
    """The hard psi, and its square root where the exponent would make a chain freeze or the weights degenerate."""
    hard, soft = rough(), rough(0.5)
    return (
        Case(soft, 0.0, "soft psi, samples of |psi|^0"),
        Case(hard, 0.5, "hard psi, samples of |psi|^0.5"),
        Case(hard, 1.0, "hard psi, samples of |psi|^1"),
        Case(soft, 2.0, "soft psi, samples of |psi|^2"),
    )


def _evaluate(target: Target, psi: Ansatz, asked: Evaluation) -> Evaluated:
    assert target.evaluate is not None
    return target.evaluate(psi, asked)


def planned(target: Target, psi: Ansatz, asked: Evaluation, setting: Setting) -> Evaluated:
    """An evaluation with so many chains that, by a pilot of its own seed, the error is small enough."""
    pilot = _evaluate(target, psi, replace(asked, chains=PILOT, seed=asked.seed ^ 1))
    ratio = MARGIN * (POWER * pilot.sigma / setting.effect) ** 2
    chains = min(MOST, max(PILOT, math.ceil(PILOT * ratio))) if math.isfinite(ratio) else PILOT
    return _evaluate(target, psi, replace(asked, chains=chains))


@gate("unbiased", needs=("evaluate",), cause=WEIGHTS, effect=Effect(size=0.03, unit="J1 a site", tests=4))
def unbiased(target: Target, setting: Setting) -> Iterator[Check]:
    """Energies of few samples of many chains are the full sums with QuSpin's H, whatever exponent is sampled."""
    for number, case in enumerate(cases()):
        asked = case.asked(PILOT, samples=8, gap=8, seed=stream(setting.seed, number))
        yield _mean_check(case, planned(target, case.known.psi, asked, setting), setting)


@gate("unbiased", needs=("evaluate",), cause=CLIPPED, effect=Effect(size=0.015, unit="J1 a site"))
def unclipped(target: Target, setting: Setting) -> Check:
    """The mean holds the energy that rare configurations with large local energies carry."""
    case = Case(spiky(), 1.0, "psi with spikes")
    asked = case.asked(PILOT, samples=8, gap=16, seed=stream(setting.seed, 0))
    return _mean_check(case, planned(target, case.known.psi, asked, setting), setting)


@gate(
    "unbiased",
    needs=("evaluate",),
    cause="no warm-up, or one counted in proposals where it is asked for in sweeps",
    effect=Effect(size=0.03, unit="J1 a site"),
)
def warm_up(target: Target, setting: Setting) -> Check:
    """The first samples of chains do not remember where they began, although the energy falls with every pair."""
    case = Case(ordered(), 1.0, "state with Marshall's sign, first samples")
    asked = case.asked(PILOT, samples=2, gap=2, seed=stream(setting.seed, 0))
    return _mean_check(case, planned(target, case.known.psi, asked, setting), setting)


def _mean_check(case: Case, found: Evaluated, setting: Setting) -> Check:
    words = Words(
        name=f"energy of a {case.name}",
        statement=f"The mean of {found.samples} samples is the full sum {case.known.mean:.6f} of QuSpin's H.",
    )
    return difference(words, found.mean - case.known.mean, found.sigma, found.samples, setting)


@gate("unbiased", needs=("evaluate",), cause=ERRORS, effect=Effect(size=0.1, unit="in log of the error", tests=3))
def independent_samples(target: Target, setting: Setting) -> Iterator[Check]:
    """Of one sample from each of many chains, the error of the mean and the variance are those of the full sum."""
    for number, (alpha, name) in enumerate(((1.0, "|psi|^1"), (2.0, "|psi|^2"))):
        # So soft that the variance of few thousand samples is nearly Gaussian.
        case = Case(rough(0.5 / alpha), alpha, name)
        energies, law = case.known.local_energies, case.known.law(alpha)
        influence = case.known.influence(alpha, energies)
        # Variance of a sample variance: (kurtosis - 1) / N, in units of its square; a half of it in the error.
        one = math.sqrt(float(law @ influence**4) / float(law @ influence**2) ** 2 - 1)
        squares = (energies - case.known.mean) ** 2
        two = case.known.error(alpha, squares) / case.known.variance
        chains = math.ceil((POWER * max(one / 2, two if number == 0 else 0.0) / setting.effect) ** 2)
        found = _evaluate(target, case.known.psi, case.asked(chains, 1, 64, stream(setting.seed, number)))
        exact = case.known.error(alpha, energies) / math.sqrt(chains)
        words = Words(
            name=f"error of independent samples of {name}", statement=f"Its logarithm, of {chains} samples."
        )
        yield difference(words, _log(found.sigma / exact), one / 2 / math.sqrt(chains), chains, setting)
        if number == 0:
            words = Words(name="variance of the local energy", statement="Per site, under |psi|^2: its logarithm.")
            ratio = math.nan if found.variance is None else found.variance / case.known.variance
            check = difference(words, _log(ratio), two / math.sqrt(chains), chains, setting)
            yield check if found.variance is not None else replace(check, not_run="the code reports no variance")


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else math.nan


@gate("unbiased", needs=("evaluate",), cause=ERRORS, effect=Effect(size=0.65, unit="in log of the error", tests=2))
def honest_errors(target: Target, setting: Setting) -> Iterator[Check]:
    """Over 50 seeds and more, means of strongly correlated samples scatter about the full sum as their errors say."""
    replicas = math.ceil((POWER / setting.effect) ** 2 / 2)
    for number, case in enumerate(cases()[2:3] if setting.quick else cases()[2:]):
        asked = case.asked(CHAINS, samples=16, gap=2, seed=0)
        seeds = [stream(setting.seed, 10_000 * (number + 1) + each) for each in range(replicas)]
        found = [_evaluate(target, case.known.psi, replace(asked, seed=seed)) for seed in seeds]
        off = np.array([each.mean - case.known.mean for each in found])
        said = float(np.mean([each.sigma**2 for each in found]))
        yield _spread_check(case, float((off**2).sum()) / said if said > 0 else math.nan, replicas, setting)


def _spread_check(case: Case, chi_square: float, replicas: int, setting: Setting) -> Check:
    """Two-sided: errors may be too small or too large. The standard error of a log of a spread is 1 / sqrt(2 n)."""
    tail = setting.rate / 2 if chi_square > replicas else 1 - setting.rate / 2
    return Check(
        name=f"scatter of means against their errors, {case.name}",
        check="unbiased",
        value=abs(_log(chi_square / replicas)) / 2,
        bound=abs(math.log(chdtri(replicas, tail) / replicas)) / 2,
        sigma=1 / math.sqrt(2 * replicas),
        samples=replicas * CHAINS * 16,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=f"The logarithm of (scatter about the full sum / errors reported), over {replicas} seeds: "
        f"{0.5 * _log(chi_square / replicas):+.2f}.",
    )


@gate("exact", needs=("evaluate",), cause="samples dropped, or counted more than once")
def samples_used(target: Target, setting: Setting) -> Check:
    """Every sample that was asked for is used, or counted as abnormal."""
    case = cases()[2]
    found = _evaluate(target, case.known.psi, case.asked(40, 7, 4, stream(setting.seed, 0)))
    return Check(
        name="samples used and abnormal, less those asked for",
        check="exact",
        value=float(abs(found.samples + found.abnormal - 280)),
        bound=0.0,
        statement="Of 40 chains of 7 samples.",
    )


@gate("exact", needs=("evaluate",), cause="R-hat of whole chains, which is blind to a drift that all of them share")
def r_hat(target: Target, setting: Setting) -> Iterator[Check]:
    """R-hat is above 1.1 where chains disagree or all drift alike, and below where they mix."""
    seed = stream(setting.seed, 0)
    asked = Evaluation(L=4, J2=J2, chains=64, samples=32, alpha=2.0, seed=seed, gap=16, warm_up=20)
    drifting = replace(asked, L=16, gap=2, samples=16, warm_up=0)
    mixing = replace(asked, alpha=1.0, gap=32, samples=64)
    # R-hat is 1.8 and more in the first two, 1.01 at most in the last: chance plays no part.
    for name, psi, how, relation in (
        ("in two valleys", valleys, asked, "at least"),
        ("that drift", marshall, drifting, "at least"),
        ("that mix", rough(0.5).psi, mixing, "at most"),
    ):
        value = _evaluate(target, psi, how).r_hat
        yield Check(
            name=f"R-hat of chains {name}",
            check="exact",
            value=value,
            relation=relation,
            bound=1.1,
            not_run="the code reports no R-hat" if value is None else None,
            statement=f"{how.chains} chains of {how.samples} samples, {how.L}x{how.L}.",
        )


@gate("exact", needs=("evaluate",), cause="samples that are not finite are dropped without a word, or enter as zero")
def abnormal(target: Target, setting: Setting) -> Iterator[Check]:
    """Local energies that are not finite are counted and left out, or the evaluation is refused."""
    asked = Evaluation(L=4, J2=J2, chains=64, samples=16, alpha=2.0, seed=stream(setting.seed, 0), warm_up=4)
    try:
        found = _evaluate(target, broken, asked)
    except Exception:  # whatever its type: to refuse is an answer, and the other gates see what is refused wrongly
        found = Evaluated(mean=0.0, sigma=0.0, samples=0, abnormal=asked.chains * asked.samples)
    yield Check(
        name="abnormal samples that are counted",
        check="exact",
        value=float(found.abnormal),
        relation="at least",
        bound=1.0,
        statement="psi is nan where the first row is all up, so its neighbours have no local energy.",
    )
    yield Check(
        name="abnormal samples that enter the mean",
        check="exact",
        value=abs(found.mean) + found.sigma,
        bound=10.0,
        statement="The energy and its error are finite without them.",
    )


@gate("exact", needs=("evaluate",), cause="the V-score of energies per site lacks a factor N")
def v_score(target: Target, setting: Setting) -> Check:
    """The V-score is N Var E / E^2 with the total energy, for the mean and variance that stand beside it."""
    case = cases()[2]
    found = _evaluate(target, case.known.psi, case.asked(64, 4, 4, stream(setting.seed, 0)))
    score, variance = found.v_score, found.variance
    silent = score is None or variance is None
    # Per site, Var E = N^2 variance and E = N mean.
    off = math.nan if score is None or variance is None else _log(score * found.mean**2 / (16 * variance))
    return Check(
        name="V-score against mean and variance",
        check="exact",
        value=abs(off),
        bound=1e-9,
        not_run="the code reports no V-score or no variance" if silent else None,
        statement="Logarithm of its ratio to N^2 variance / (N mean^2), with mean and variance per site.",
    )


@gate(
    "unbiased",
    needs=("psi", "engine"),
    cause="an evaluation draws the random numbers of the training with the same seed",
    effect=Effect(size=0.02, unit="mean square overlap"),
)
def streams_apart(target: Target, setting: Setting) -> Check:
    """Chains of an evaluation do not resemble those of the training with the same seed."""
    assert isinstance(target.psi, nn.Module)
    chains, seed = max(256, size(setting, 3)), stream(setting.seed, 0)
    trainer = vmc.Trainer(Config(model=Model(L=4, J2=J2), run=Run(seed=seed)), target.psi)
    request = evaluation.Request(
        checkpoint=Path(), out=Path(), samples=1, sampling=Sampling(), L=4, J2=(J2,), seed=seed
    )
    spins = []
    for sampler in (trainer.sampler, evaluation.evaluator_of(request, target.psi, Serial()).sampler):
        state = Chains.neel(4, chains)
        sampler.advance(flat, state, 160, 0.0)
        spins.append(state.spins.flatten(1).double())
    overlaps = [float((spins[0] * spins[1].roll(shift, 0)).mean()) for shift in (0, 1, -1)]
    words = Words(
        name="overlap of chains of training and evaluation", statement="Chains and those 0 and 1 places on."
    )
    return distance(words, 15 * chains * sum(overlap**2 for overlap in overlaps), 3, chains, setting)
