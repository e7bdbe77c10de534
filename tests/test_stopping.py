"""When sampling ends: at a target error, told by the error alone, the same however often it was stopped."""

import itertools
import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import energies
from helpers.energies import timeless
from test_evaluation import same_state

from qmcbench.config import Sampling
from qmcbench.errors import UserError
from qmcbench.evaluation import Request, evaluate
from qmcbench.evaluator import Evaluator, Samples
from qmcbench.files import Interrupted
from qmcbench.ranks.comm import Serial
from qmcbench.report.zero_shot.terminal import describe
from qmcbench.statistics import estimate
from qmcbench.stopping import LEAST, enough, looks
from qmcbench.store.energies import Energy
from qmcbench.store.records import Run

CHAINS = 64
MANY = Sampling(chains=CHAINS, warm_up=1, gap=4, alpha=2.0)
MOST = 40
LOOKS = [16, 18, 20, 22, 24, 27, 30, 33, 37, 40]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for 4x4."""
    return energies.network(tmp_path_factory.mktemp("network") / "network.safetensors")


def run(network: Path, out: Path, samples: int = CHAINS * MOST, **settings: Any) -> Run:
    """A quiet evaluation without what may differ between equal evaluations."""
    request = Request(checkpoint=network, out=out, samples=samples, sampling=MANY, quiet=True, **settings)
    return timeless(evaluate(request))


def as_asked(found: Run, samples: int) -> Run:
    """The run as one without a target error of so many samples has it."""
    return replace(found, records=tuple(replace(each, asked=samples, asked_sigma=None) for each in found.of(Energy)))


@pytest.fixture(scope="module")
def errors(network: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The larger of the errors at J2 = 0.5 and 0 after each look, infinite where one has no plateau."""
    out = tmp_path_factory.mktemp("errors")
    run(network, out, J2=(0.5, 0.0))
    found = {count: run(network, out, CHAINS * count, J2=(0.5, 0.0)).of(Energy) for count in LOOKS}
    return {count: max(each.sigma if each.plateau else math.inf for each in pair) for count, pair in found.items()}


def first(errors: dict[int, float], sigma: float) -> int:
    """After which look the error is small enough."""
    return next(count for count in LOOKS if errors[count] <= sigma)


def test_looks() -> None:
    """The first after some samples, each next an eighth later, the last at the most that are asked for."""
    request = Request(checkpoint=Path(), out=Path(), samples=CHAINS * MOST, sigma=1.0, sampling=MANY)
    assert list(looks(request)) == LOOKS
    assert list(looks(replace(request, sigma=None))) == [MOST]
    assert list(looks(replace(request, samples=CHAINS * 7 - 1))) == [7]


def test_sampling_ends_at_the_error(network: Path, tmp_path: Path, errors: dict[int, float]) -> None:
    """At the first look at which the error at every J2 is that small, with the numbers of so many samples."""
    sigma = errors[27]
    count = first(errors, sigma)
    assert LEAST < count < MOST
    found = run(network, tmp_path / "until", J2=(0.5, 0.0), sigma=sigma)
    fixed = run(network, tmp_path / "fixed", CHAINS * count, J2=(0.5, 0.0))
    assert as_asked(found, CHAINS * count) == fixed
    assert same_state(tmp_path / "until", tmp_path / "fixed")
    assert [(each.samples, each.asked, each.asked_sigma) for each in found.of(Energy)] == [
        (CHAINS * count, CHAINS * MOST, sigma)
    ] * 2
    assert not any(each.short for each in found.of(Energy))
    assert "until each error was at most" in describe(found)
    assert "Sampling stopped" not in describe(found)


def test_a_smaller_error_extends_and_a_larger_one_is_of_the_first(
    network: Path, tmp_path: Path, errors: dict[int, float]
) -> None:
    """In one folder, three target errors give what each gives in a folder of its own."""
    for count in (20, 33, 18):
        sigma = errors[count]
        grown = run(network, tmp_path / "grown", J2=(0.5, 0.0), sigma=sigma)
        assert grown == run(network, tmp_path / str(count), J2=(0.5, 0.0), sigma=sigma)
        assert grown.of(Energy)[0].samples == CHAINS * first(errors, sigma)


@pytest.mark.parametrize("stop", [1, 12, 17, 20])
def test_interrupted_sampling_ends_alike(
    stop: int,
    network: Path,
    tmp_path: Path,
    errors: dict[int, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped in the warm-up, before the first look, at it or between two: the bits of an undisturbed evaluation."""
    sigma = errors[27]
    whole = run(network, tmp_path / "whole", J2=(0.5, 0.0), sigma=sigma)
    advance, calls = Evaluator.advance, itertools.count(1)

    def disturbed(self: Evaluator) -> None:
        advance(self)
        if next(calls) == stop:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Evaluator, "advance", disturbed)
    with pytest.raises(Interrupted, match=f"after {stop - 1} of at most 40 samples a chain"):
        run(network, tmp_path / "parts", J2=(0.5, 0.0), sigma=sigma)
    assert run(network, tmp_path / "parts", J2=(0.5, 0.0), sigma=sigma) == whole
    assert same_state(tmp_path / "parts", tmp_path / "whole")


def test_the_most_samples_are_said(network: Path, tmp_path: Path) -> None:
    """Where they do not reach the error, in a sentence; the energy is that of all of them."""
    found = run(network, tmp_path, sigma=1e-9)
    assert as_asked(found, CHAINS * MOST) == run(network, tmp_path)
    (energy,) = found.of(Energy)
    assert energy.short
    said = f"Sampling stopped at {CHAINS * MOST} samples, the most that it was to take: the error is"
    assert said in describe(found)
    assert "and not the 1e-09 that was asked for" in describe(found)
    assert not replace(energy, asked_sigma=2 * energy.sigma).short
    assert replace(energy, asked_sigma=2 * energy.sigma, plateau=False).short


@pytest.mark.parametrize("sigma", [0.0, -1e-4, float("nan"), float("inf")])
def test_an_error_that_is_none(sigma: float, network: Path, tmp_path: Path) -> None:
    """Refused before anything is made."""
    with pytest.raises(UserError, match="is no standard error above 0"):
        run(network, tmp_path / "out", sigma=sigma)
    assert not (tmp_path / "out").exists()


class Invented:
    """Local energies that somebody else has drawn, shape (chains, samples)."""

    comm = Serial()

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def samples(self, _: float, count: int) -> Samples:
        """The first ones."""
        values = self.values[:, :count]
        return Samples(values, np.ones_like(values), 0.5, 16)

    def stop(self, sigma: float) -> int:
        """How many of each chain are taken."""
        request = Request(
            checkpoint=Path(), out=Path(), samples=self.values.size, sigma=sigma, sampling=MANY, J2=(0.5,)
        )
        return next(count for count in looks(request) if enough(self, request, count))  # type: ignore[arg-type]


def test_the_energy_decides_nothing() -> None:
    """Mirrored and shifted energies end at the same look, whichever way the first ones lie."""
    dice = np.random.default_rng(5)
    stops = set()
    for _ in range(20):
        values = dice.exponential(size=(CHAINS, 60))
        ends = {Invented(a * values + b).stop(0.028) for a, b in ((1, 0), (-1, 0), (1, -64.0), (-1, 64.0))}
        assert len(ends) == 1
        stops |= ends
    assert len(stops) > 3


def test_what_is_left_of_the_bias_is_small() -> None:
    """Skewed energies (exponential, mean 1), 400 evaluations: means and errors are as those of fixed samples.

    The mean of (mean - 1) / error is 0 and 68% are within their own error, but for three standard errors of 400 of
    them and what skewness / sqrt(samples) = 0.056 allows.
    """
    dice = np.random.default_rng(6)
    z = []
    for _ in range(400):
        values = dice.exponential(size=(CHAINS, 60))
        found = estimate(values[:, : Invented(values).stop(0.028)])
        assert found.error <= 0.028
        z.append((found.mean - 1) / found.error)
    assert abs(np.mean(z)) < 3 / math.sqrt(400) + 2 / math.sqrt(20 * CHAINS)
    assert abs(np.mean(np.abs(z) < 1) - 0.68) < 0.07


def test_errors_without_a_plateau_do_not_count() -> None:
    """Chains that stand at different energies have no plateau, so that no error is small enough."""
    dice = np.random.default_rng(7)
    values = dice.normal(scale=0.01, size=(4, 60)) + np.array([[-1.0], [0.0], [0.5], [1.0]])
    assert estimate(values[:, :LEAST]).error > 0.1
    assert Invented(values).stop(10.0) == 60, "although 10 is more than any error"


def test_no_look_before_the_least(network: Path, tmp_path: Path) -> None:
    """An error that any set has ends it at the first look."""
    assert run(network, tmp_path, sigma=1e3).of(Energy)[0].samples == CHAINS * LEAST


def test_every_number_is_another_look() -> None:
    """Looks go on however small the growth is: a list that ends at any cap."""
    for most in (1, LEAST, LEAST + 1, 1000):
        request = SimpleNamespace(samples=most, sigma=0.1, sampling=SimpleNamespace(chains=1))
        found = list(looks(request))  # type: ignore[arg-type]
        assert found == sorted(set(found))
        assert found[-1] == most
