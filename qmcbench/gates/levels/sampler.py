"""Level *sampler*: the law of the chains on 4x4 against exact ones, what moves conserve, and the random streams."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy.special import pdtrc
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.gates.check import POWER, Check
from qmcbench.gates.exchange import Floats, Integers, after, draw, space
from qmcbench.gates.power import BINS, Words, distance, goodness, size, stream
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.states import flat, rough
from qmcbench.gates.targets.target import Draw, Drawn, Target
from qmcbench.lattice import random_configurations

LAW = (
    "no Hastings factor n(S)/n(S') for the number of pairs, or it is upside down; the wrong exponent of |psi|; "
    "log|psi| of the chain not updated after a move; one random number used for choice and acceptance"
)
MOVES = "moves that break S^z, or that conserve something else; a sampler that does not move; steps that are skipped"
STREAMS = "one seed for all chains; the seed ignored; chain i seeded with seed + i, which a neighbouring seed repeats"
UNIT = "chi-square distance of the law"
DISTANCE = 0.01
"""What a chain without the Hastings factor differs by is 0.015 to 0.023."""
RELAXED = 128
"""Proposals from the Neel state after which, by the exact kernel, less than 1e-5 of chi-square distance is left at
alpha = 1 with the hard psi, the slowest case that is used."""


def _sample(target: Target, psi: Ansatz, asked: Draw) -> Drawn:
    assert target.sample is not None
    return target.sample(psi, asked)


def _by_pairs(alpha: float) -> Integers:
    """Configurations in the order of their antiparallel pairs, then of their weight: wrong factors show in it."""
    return np.lexsort((rough().law(max(alpha, 1.0)), space().pairs))


@gate("unbiased", needs=("sample",), cause=LAW, effect=Effect(size=DISTANCE, unit=UNIT, tests=3))
def stationary_law(target: Target, setting: Setting) -> Iterator[Check]:
    """Chains that start from the exact |psi|^alpha of a hard psi still follow it 64 proposals later."""
    for number, alpha in enumerate((0.0, 1.0, 2.0)):
        yield stationary(target, alpha, setting, number)


def stationary(target: Target, alpha: float, setting: Setting, number: int = 0) -> Check:
    """The check of one exponent; ``number`` tells its random streams from others'."""
    law, chains = rough().law(alpha), size(setting, BINS - 1)
    start = space().spins[torch.from_numpy(draw(law, chains, stream(setting.seed, 2 * number)))]
    asked = Draw(
        L=4, alpha=alpha, chains=chains, proposals=64, seed=stream(setting.seed, 2 * number + 1), start=start
    )
    words = Words(name=f"stationary law, 4x4, |psi|^{alpha:g}", statement="64 proposals from the exact law keep it.")
    return _law_check(words, _sample(target, rough().psi, asked).spins, law, _by_pairs(alpha), setting)


def _law_check(words: Words, spins: Tensor, law: Floats, order: Integers, setting: Setting) -> Check:
    chi_square, dof = goodness(space().counts(spins), law, order)
    return distance(words, chi_square, dof, len(spins), setting)


@gate("unbiased", needs=("sample",), cause=MOVES, effect=Effect(size=DISTANCE, unit=UNIT))
def own_start(target: Target, setting: Setting) -> Check:
    """Chains come from the sampler's own start to the exact |psi| of a hard psi within eight sweeps."""
    asked = Draw(L=4, alpha=1.0, chains=size(setting, BINS - 1), proposals=RELAXED, seed=stream(setting.seed, 0))
    words = Words(name="law from the own start, 4x4, |psi|", statement="128 proposals forget where chains began.")
    return _law_check(words, _sample(target, rough().psi, asked).spins, rough().law(1), _by_pairs(1.0), setting)


@gate("unbiased", needs=("sample", "engine"), cause=LAW, effect=Effect(size=DISTANCE, unit=UNIT, tests=3))
def exact_kernel(target: Target, setting: Setting) -> Iterator[Check]:
    """After 1, 2 and 5 proposals from one configuration, chains are where the exact transition kernel puts them."""
    for alpha, proposals in ((0.0, 1), (1.0, 2), (2.0, 5)):
        log_weight = alpha * np.log(np.abs(rough().amplitudes))
        # Of the median weight, so that moves are refused and accepted.
        start = int(np.argsort(rough().law(2))[len(log_weight) // 2])
        chains = size(setting, BINS - 1)
        asked = Draw(
            L=4, alpha=alpha, chains=chains, proposals=proposals, seed=stream(setting.seed, proposals),
            start=space().spins[start].expand(chains, 4, 4).clone(),
        )  # fmt: skip
        law = after(log_weight, start, proposals)
        words = Words(
            name=f"{proposals} proposal{'s' * (proposals > 1)} against the exact kernel, |psi|^{alpha:g}",
            statement="The exchange of a uniform antiparallel pair with its Hastings factor, as a matrix.",
        )
        yield _law_check(words, _sample(target, rough().psi, asked).spins, law, np.argsort(law), setting)


@gate("unbiased", needs=("sample",), cause=LAW, effect=Effect(size=0.002, unit="asymmetry of flows", tests=3))
def detailed_balance(target: Target, setting: Setting) -> Iterator[Check]:
    """From the exact |psi|^alpha, one proposal makes as many transitions from one class to another as back."""
    for number, alpha in enumerate((0.0, 1.0, 2.0)):
        law = rough().law(alpha)
        group = _classes(law)
        chains = size(setting, CLASSES * (CLASSES - 1) // 2)
        before = draw(law, chains, stream(setting.seed, 2 * number))
        asked = Draw(
            L=4, alpha=alpha, chains=chains, proposals=1, seed=stream(setting.seed, 2 * number + 1),
            start=space().spins[torch.from_numpy(before)],
        )  # fmt: skip
        now = space().where(_sample(target, rough().psi, asked).spins)
        flows = np.zeros((CLASSES, CLASSES))
        np.add.at(flows, (group[before], group[now]), 1)
        forth, back = flows[np.triu_indices(CLASSES, 1)], flows.T[np.triu_indices(CLASSES, 1)]
        used = forth + back >= 10
        chi_square = float(((forth - back)[used] ** 2 / (forth + back)[used]).sum())
        words = Words(
            name=f"detailed balance, 4x4, |psi|^{alpha:g}",
            statement="(n - n')^2 / (n + n') of the transitions between classes of pairs and weight, summed.",
        )
        yield distance(words, chi_square, max(1, int(used.sum())), chains, setting)


CLASSES = 9


def _classes(law: Floats) -> Integers:
    """Thirds of the law by the number of pairs, times thirds by the weight of psi."""
    parts = []
    for key in (space().pairs.astype(np.float64), np.abs(rough().amplitudes)):
        order = np.argsort(key, kind="stable")
        third = np.empty(len(law), dtype=np.int64)
        third[order] = np.minimum(np.cumsum(law[order]) * 3, 2).astype(np.int64)
        # Equal numbers of pairs belong to one class.
        parts.append(third)
    return 3 * parts[0] + parts[1]


@gate("unbiased", needs=("sample",), cause=MOVES, effect=Effect(size=1.0, unit="configurations that are not reached"))
def reachability(target: Target, setting: Setting) -> Check:
    """From the sampler's own start, chains visit every one of the 12 870 configurations of 4x4 in S^z = 0."""
    states, chains, gap = len(space().pairs), 4096, 16
    missing = (setting.effect / POWER) ** 2
    while (most := _most(missing, setting.rate)) >= setting.effect:
        missing /= 2
    rounds = math.ceil(states * math.log(states / missing) / chains)
    spins, visits = None, np.zeros(states, dtype=np.int64)
    for number in range(rounds):
        asked = Draw(
            L=4, alpha=0.0, chains=chains, proposals=gap if number else 10 * gap, seed=stream(setting.seed, number),
            start=spins,
        )  # fmt: skip
        spins = _sample(target, flat, asked).spins
        visits += space().counts(spins)
    return Check(
        name="configurations not reached, 4x4",
        check="unbiased",
        value=float((visits == 0).sum()),
        bound=float(most),
        sigma=math.sqrt(missing),
        samples=rounds * chains,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        statement=f"Of the uniform law, {rounds * chains} samples miss {missing:.2g} configurations in the mean.",
    )


def _most(mean: float, rate: float) -> int:
    """What a Poisson number of that mean exceeds with a probability of at most ``rate``."""
    return next(count for count in range(1000) if pdtrc(count, mean) <= rate)


@gate("unbiased", needs=("sample",), cause=STREAMS, effect=Effect(size=0.02, unit="mean square overlap", tests=2))
def independent_streams(target: Target, setting: Setting) -> Iterator[Check]:
    """Chains do not resemble one another, nor those of the next seed."""
    chains = max(256, size(setting, 3))
    seed = stream(setting.seed, 0)
    one, other = (_relaxed(target, chains, seed + step) for step in (0, 1))
    for name, second, shifts in (("of one run", one, (1, 2, chains // 3)), ("of two seeds", other, (0, 1, -1))):
        # Two independent configurations have overlap 0 in the mean, with variance 1 / 15 exactly.
        overlaps = [float((one * second.roll(shift, 0)).mean()) for shift in shifts]
        chi_square = 15 * chains * sum(overlap**2 for overlap in overlaps)
        words = Words(name=f"overlap of chains {name}", statement=f"Chains and those {shifts} places on.")
        yield distance(words, chi_square, len(shifts), chains, setting)


def _relaxed(target: Target, chains: int, seed: int) -> Tensor:
    """Spins (chains, 16) after ten sweeps of a flat psi, which is their uniform law."""
    drawn = _sample(target, flat, Draw(L=4, alpha=0.0, chains=chains, proposals=160, seed=seed))
    space().where(drawn.spins)
    return drawn.spins.flatten(1).double()


@gate("exact", needs=("sample",), cause="randomness from outside the seed: the clock, a global generator, threads")
def seeds(target: Target, setting: Setting) -> Iterator[Check]:
    """The same seed gives the same configurations, another seed gives others."""
    runs = [
        _sample(target, rough().psi, Draw(L=4, alpha=1.0, chains=256, proposals=160, seed=seed)).spins
        for seed in (stream(setting.seed, 0), stream(setting.seed, 0), stream(setting.seed, 1))
    ]
    for name, second, relation, bound in (
        ("same seed", runs[1], "at most", 0),
        ("other seed", runs[2], "at least", 250),
    ):
        yield Check(
            name=f"chains that differ, {name}",
            check="exact",
            value=float((runs[0] != second).flatten(1).any(1).sum()),
            relation=relation,
            bound=bound,
            statement="Of 256 chains after ten sweeps.",
        )


@gate("exact", needs=("sample",), cause=MOVES)
def conserved(target: Target, setting: Setting) -> Iterator[Check]:
    """Every sampled configuration has spins +-1 of type int8 in the right shape, and S^z = 0."""
    for L in (4, 6, 10):
        for name, start in (("own start", None), ("given start", random_configurations(L, 64, setting.seed))):
            asked = Draw(L=L, alpha=1.0, chains=64, proposals=3 * L * L, seed=stream(setting.seed, L), start=start)
            spins = _sample(target, flat, asked).spins
            right = spins.dtype == torch.int8 and spins.shape == (64, L, L)
            wrong = 64 if not right else int(((spins.abs() != 1).any(2).any(1) | (spins.sum((1, 2)) != 0)).sum())
            yield Check(
                name=f"configurations that are none, {L}x{L}, {name}",
                check="exact",
                value=float(wrong),
                bound=0.0,
                statement=f"Of 64 chains after three sweeps; {spins.dtype}, shape {tuple(spins.shape)}.",
            )


@gate("exact", needs=("sample",), cause=MOVES)
def acceptance(target: Target, setting: Setting) -> Iterator[Check]:
    """The acceptance does not collapse where nothing stands in its way, and what is reported is what moved."""
    start = random_configurations(4, 4096, setting.seed)
    asked = Draw(L=4, alpha=0.0, chains=4096, proposals=1, seed=stream(setting.seed, 0), start=start)
    drawn = _sample(target, flat, asked)
    moved = float((drawn.spins != start).flatten(1).any(1).double().mean())
    yield Check(
        name="share of chains that move on a flat psi",
        check="exact",
        value=moved,
        relation="at least",
        bound=0.1,
        statement="After one proposal from random configurations.",
    )
    yield Check(
        name="moves beyond the reported acceptance",
        check="exact",
        value=moved - drawn.acceptance,
        bound=1e-6,
        statement="A chain that has moved has accepted, so the reported acceptance is not smaller.",
    )
