"""Deliberate bugs of sampling and of estimates: each function plants one in the engine with monkeypatch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.planting import Plant, edited

from qmcbench import evaluation, evaluator, rng, sampler, statistics


def _moves(*changes: tuple[str, str]) -> Plant:
    """A bug in :meth:`qmcbench.sampler.Sampler.advance`."""
    return edited(sampler.Sampler.advance, *changes)


def _uniforms(change: Callable[..., torch.Tensor]) -> Plant:
    """Other random numbers: ``change`` is given those of the engine and what it was asked for."""
    right = rng.chain_uniforms

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sampler, "chain_uniforms", lambda *asked: change(right, *asked))

    return plant


def _estimates(change: Callable[[statistics.Estimate, evaluator.Samples], statistics.Estimate]) -> Plant:
    """A bug in :meth:`qmcbench.evaluator.Samples.estimate`."""
    right = evaluator.Samples.estimate

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(evaluator.Samples, "estimate", lambda self: change(right(self), self))

    return plant


def _blocking(change: Callable[[statistics.BlockingResult], float]) -> Plant:
    """Another error of the mean."""
    right = statistics.blocking_error

    def plant(patch: pytest.MonkeyPatch) -> None:
        def wrong(series: Any) -> statistics.BlockingResult:
            found = right(series)
            return replace(found, error=change(found))

        patch.setattr(statistics, "blocking_error", wrong)

    return plant


Floats = np.ndarray[Any, np.dtype[np.float64]]


def _all(energies: Floats, weights: Floats) -> Floats:
    return np.ones_like(energies)


def _near(energies: Floats, weights: Floats) -> Floats:
    mean = np.average(energies, weights=weights)
    off = np.abs(energies - mean)
    return (off < 5 * math.sqrt(np.average(off**2, weights=weights))).astype(np.float64)


def _mean_of(keep: Callable[[Floats, Floats], Floats], change: Callable[[Floats], Floats]) -> Plant:
    """The mean of local energies that are changed, or left out."""

    def wrong(self: evaluator.Samples) -> statistics.Estimate:
        energies = np.nan_to_num(self.energies)
        return statistics.estimate(change(energies), self.weights * keep(energies, self.weights))

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(evaluator.Samples, "estimate", wrong)

    return plant


def _weights(old: str, new: str) -> Plant:
    """A bug in :meth:`qmcbench.evaluator.Evaluator.samples`."""
    return edited(evaluator.Evaluator.samples, (old, new))


def _r_hat_of_whole_chains(patch: pytest.MonkeyPatch) -> None:
    def whole(series: Any) -> float:
        values = np.asarray(series)
        chains, samples = values.shape
        if chains < 2 or samples < 4:
            return math.nan
        within = values.var(axis=1, ddof=1).mean()
        between = values.mean(axis=1).var(ddof=1)
        return math.sqrt((samples - 1) / samples + between / within)

    patch.setattr(statistics, "r_hat", whole)


def _no_warm_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluator.Evaluator, "sweeps_left", property(lambda self: 0))


def _abnormal_is_zero(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluator.Samples, "abnormal", property(lambda self: 0))


def _half_of_the_samples(patch: pytest.MonkeyPatch) -> None:
    right = evaluator.Evaluator.samples
    patch.setattr(
        evaluator.Evaluator,
        "samples",
        lambda self, J2=1.0, count=None: right(self, J2, max(1, self.taken // 2)),
    )


def _training_streams(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "EVALUATION_SEED", 0)


def _v_score(change: Callable[[float, int], float]) -> Plant:
    right = statistics.v_score

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(
            statistics, "v_score", lambda energy, variance, sites: change(right(energy, variance, sites), sites)
        )

    return plant


def _horizontal_only(patch: pytest.MonkeyPatch) -> None:
    right = sampler.nearest_bonds
    patch.setattr(sampler, "nearest_bonds", lambda L: right(L)[: L * L])


HASTINGS = " + (count / new_count).log()"
RATIO = "alpha * (new_log_psi - log_psi)"
THRESHOLD = "threshold.log() < log_ratio"
FLIP = "torch.where(accept[:, None], -before, before)"
LOG_PSI = "log_psi = torch.where(accept, new_log_psi, log_psi)"
COUNT = "count = torch.where(accept, new_count, count)"
CHOICE = "choice * count"
ON_4X4 = "(len(self.pairs) == 32)"

SAMPLER: dict[str, tuple[Plant, str]] = {
    "no Hastings factor": (_moves((HASTINGS, "")), "stationary-law"),
    "Hastings factor upside down": (_moves((HASTINGS, " - (count / new_count).log()")), "detailed-balance"),
    "alpha ignored": (_moves((RATIO, "2 * (new_log_psi - log_psi)")), "stationary-law"),
    "alpha halved": (_moves((RATIO, "alpha / 2 * (new_log_psi - log_psi)")), "detailed-balance"),
    "threshold equal to the choice's random number": (
        _uniforms(lambda right, *asked: right(*asked)[:, :1].expand(-1, 2, -1)),
        "exact-kernel",
    ),
    "pairs not chosen uniformly": (_moves((CHOICE, "choice**1.2 * count")), "exact-kernel"),
    "last pair never chosen": (_moves((CHOICE, "choice * (count - 1)")), "exact-kernel"),
    "acceptance a tenth too high": (_moves((THRESHOLD, "(threshold / 1.1).log() < log_ratio")), "exact-kernel"),
    "log|psi| updated by half of the moves": (
        _moves((LOG_PSI, "log_psi = torch.where(accept & (threshold < 0.5), new_log_psi, log_psi)")),
        "stationary-law",
    ),
    "number of pairs not updated": (_moves((COUNT, "count = count.clone()")), "stationary-law"),
    "every proposal accepted": (_moves((THRESHOLD, "threshold < 2")), "stationary-law"),
    "no proposal accepted": (_moves((THRESHOLD, "threshold > 2")), "acceptance"),
    "only horizontal pairs": (_horizontal_only, "reachability"),
    "one spin flipped": (
        _moves((FLIP, "torch.where(accept[:, None] & torch.tensor([True, False]), -before, before)")),
        "conserved",
    ),
    "spins in float": (_moves(("spins.view(shape)\n", "spins.view(shape).float()\n")), "conserved"),
    "acceptance understated": (_moves(("accept.sum()", "accept.sum() // 2")), "acceptance"),
    "equal streams of all chains": (
        _uniforms(lambda right, seed, chains, *rest: right(seed, chains * 0, *rest)),
        "independent-streams",
    ),
    "every second chain repeats its neighbour": (
        _uniforms(lambda right, seed, chains, *rest: right(seed, chains // 2, *rest)),
        "independent-streams",
    ),
    "chain i of seed s is chain 0 of seed s + i": (
        _uniforms(lambda right, seed, chains, *rest: right(0, chains + seed, *rest)),
        "independent-streams",
    ),
    "seed ignored": (_uniforms(lambda right, seed, *rest: right(0, *rest)), "independent-streams"),
    "random numbers from outside the seed": (
        _uniforms(lambda right, seed, *rest: right(int(torch.randint(1 << 31, ())), *rest)),
        "seeds",
    ),
}
"""Bugs of the sampler by name, and the gate of the level ``sampler`` that catches each."""

EXPONENT = "(2 - self.sampling.alpha) * log_psi"

ESTIMATOR: dict[str, tuple[Plant, str]] = {
    "weights ignored": (_weights(EXPONENT, "0 * log_psi"), "unbiased"),
    "weights with the exponent alpha": (_weights(EXPONENT, "self.sampling.alpha * log_psi"), "unbiased"),
    "weights with the exponent 1 - alpha": (_weights(EXPONENT, "(1 - self.sampling.alpha) * log_psi"), "unbiased"),
    "clipped at 2 a site": (_mean_of(_all, lambda energies: energies.clip(-2, 2)), "unclipped"),
    "windowed mean": (
        _mean_of(lambda energies, _: (energies > -0.6) & (energies < -0.45), lambda energies: energies),
        "unbiased",
    ),
    "outliers beyond 5 deviations left out": (_mean_of(_near, lambda energies: energies), "unclipped"),
    "no warm-up": (_no_warm_up, "warm-up"),
    "errors without autocorrelation": (
        _blocking(lambda found: found.errors[0] if found.errors else math.nan),
        "honest-errors",
    ),
    "errors times 10": (_blocking(lambda found: found.error * 10), "honest-errors"),
    "errors too small by 2": (_blocking(lambda found: found.error / 2), "honest-errors"),
    "error of one sample instead of the mean": (
        _estimates(lambda found, samples: replace(found, error=math.sqrt(found.variance))),
        "honest-errors",
    ),
    "error without the weights": (
        _estimates(lambda found, samples: replace(found, error=statistics.blocking_error(samples.energies).error)),
        "independent-samples",
    ),
    "variance of the total energy": (
        _estimates(lambda found, samples: replace(found, variance=found.variance * samples.sites)),
        "independent-samples",
    ),
    "variance without weights": (
        _estimates(lambda found, samples: replace(found, variance=float(np.nanvar(samples.energies)))),
        "independent-samples",
    ),
    "V-score without N": (_v_score(lambda score, sites: score / sites), "v-score"),
    "R-hat of whole chains": (_r_hat_of_whole_chains, "r-hat"),
    "R-hat always 1": (_estimates(lambda found, samples: replace(found, r_hat=1.0)), "r-hat"),
    "abnormal count always 0": (_abnormal_is_zero, "abnormal"),
    "half of the samples dropped": (_half_of_the_samples, "samples-used"),
    "evaluation on the training's streams": (_training_streams, "streams-apart"),
}
"""Bugs of estimates by name, and the gate of the level ``estimator`` that catches each."""

LARGER = {
    "|psi| left out of the acceptance beyond 4x4": _moves((RATIO, f"{ON_4X4} * {RATIO}")),
    "a quarter of alpha beyond 4x4": _moves((RATIO, f"(1 + 3 * {ON_4X4}) / 4 * {RATIO}")),
}
"""Bugs beyond the lattice of the tables, which the energy of a trained network has to show."""

MUTANTS = {name: (plant, f"sampler/{gate}") for name, (plant, gate) in SAMPLER.items()}
MUTANTS |= {name: (plant, f"estimator/{gate}") for name, (plant, gate) in ESTIMATOR.items()}
MUTANTS |= {name: (plant, "ground_state/trained-energy") for name, plant in LARGER.items()}
"""All of them with the full names of gates."""
