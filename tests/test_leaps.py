"""Updates that are taken back: energies that leap up, below what is possible or out of sight, and what is left."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers.trainers import config, parameters, trainer
from torch import Tensor

from qmcbench import leaps, snapshots, vmc
from qmcbench.errors import UserError
from qmcbench.log import summary
from qmcbench.provenance import collect


def test_a_leap_is_taken_back() -> None:
    """After an update that wrecks psi the run is where it was before it, less a part of the update, with less energy.

    The update is planted: ten times the parameters, in one direction. The sweep is made again with the same numbers.
    """
    run = trainer(config(optimizer={"leap": 0.05}, sampling={"chains": 128}))
    for _ in range(5):
        run.advance()
    assert run.past is not None
    before, spins, proposals = run.past.parameters.clone(), run.past.spins.clone(), run.chains.proposals
    assert torch.equal(spins, run.chains.spins)
    wreck = 10 * before.double()
    run._set(before)
    run._subtract(wreck)
    run.past = dataclasses.replace(run.past, change=wreck)
    part = run.recent.copy()
    step = run.advance()
    assert step.halvings > 0
    assert step.leapt_to is not None
    assert step.leapt_to > 0.95 * np.median(part)
    assert step.leapt_to > step.energy
    expected = (before - (0.5**step.halvings * wreck).to(before.dtype)).to(before.dtype)
    assert torch.equal(run.past.parameters, expected)
    assert run.chains.proposals == proposals + run.gap
    assert "went back" in summary(step)


@pytest.mark.parametrize("metric", ["identity", "march"])
def test_a_step_that_is_taken_back_leaves_no_trace(metric: str) -> None:
    """With no part of the update left, parameters, mean squares, chains and random numbers are those before it."""
    run = trainer(config(optimizer={"leap": 0.05, "metric": metric, "momentum": 0.9}))
    run.advance()
    before, moments = parameters(run), run.moments
    run.advance()
    spins, proposals = run.chains.spins.clone(), run.chains.proposals
    assert not torch.equal(parameters(run), before)
    assert moments is None or not torch.equal(run.moments, moments)
    run._sample(vmc._Clock("cpu"))
    run._return(0.0)
    assert torch.equal(parameters(run), before)
    assert (run.moments is None) == (metric == "identity")
    assert moments is None or torch.equal(run.moments, moments)
    assert torch.equal(run.chains.spins, spins)
    assert run.chains.proposals == proposals
    assert not run.last_solution.any()


@pytest.mark.parametrize(
    ("mean", "error", "halvings"),
    [(-0.7, 0.02, 1), (-0.7, 0.004, 0), (-0.78, 0.004, 1), (-0.77, 0.004, 0), (-2.0, 0.004, 1)],
    ids=["large-error", "usual-error", "unphysical", "barely-physical", "absurd"],
)
def test_an_energy_that_leaps_down_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, mean: float, error: float, halvings: int
) -> None:
    """A mean far below all before is taken back if its error is beyond half of a leap's, or no state can have it.

    At J2 = 0.5 that is below -0.75, by 6.5 of its own errors.
    """
    run = trainer(config(optimizer={"leap": 0.05}, sampling={"chains": 128}))
    for _ in range(5):
        run.advance()
    run.recent = np.full(5, -0.5)
    batch = run._sample(vmc._Clock("cpu"))
    assert batch is not None
    usual = dataclasses.replace(batch.estimate, error=0.001, mean=-0.5)
    planted = [dataclasses.replace(usual, error=error, mean=mean)]
    clean = run._sample

    def sample(clock: vmc._Clock) -> vmc._Batch:
        batch = clean(clock)
        assert batch is not None
        return dataclasses.replace(batch, estimate=planted.pop() if planted else usual)

    monkeypatch.setattr(run, "_sample", sample)
    step = run.advance()
    assert (step.halvings, step.leapt_to) == (halvings, mean if halvings else None)


def test_an_unphysical_energy_is_taken_back_from_the_first_update_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while too few energies are known to measure a leap by; without `leap`, never."""
    for leap, halvings in ((0.05, 1), (None, 0)):
        run = trainer(config(optimizer={"leap": leap} if leap else {}, run={"recipe": 1}))
        run.advance()
        planted, clean = [-2.0], run._sample

        def sample(clock: vmc._Clock, clean=clean, planted=planted) -> vmc._Batch:
            batch = clean(clock)
            changes = {"mean": planted.pop(), "error": 0.004} if planted else {}
            return dataclasses.replace(batch, estimate=dataclasses.replace(batch.estimate, **changes))

        monkeypatch.setattr(run, "_sample", sample)
        assert run.advance().halvings == halvings


@pytest.mark.parametrize("broken", [1, 3, leaps.HALVINGS, leaps.HALVINGS + 1])
def test_a_wave_function_that_breaks_down_is_taken_back(monkeypatch: pytest.MonkeyPatch, broken: int) -> None:
    """Every local energy not finite, any number of times: the update is halved as often, and the step says so."""
    run = trainer(config(optimizer={"leap": 0.05}, sampling={"chains": 64}))
    run.advance()
    before, change = run.past.parameters.clone(), run.past.change.clone()
    energies, made = vmc.local_energies, []

    def broken_down(*known: Tensor) -> Tensor:
        made.append(parameters(run))
        return energies(*known) * (math.nan if len(made) <= broken else 1.0)

    monkeypatch.setattr(vmc, "local_energies", broken_down)
    if broken > leaps.HALVINGS:
        with pytest.raises(UserError, match="broken down; go on from the last checkpoint"):
            run.advance()
        return
    step = run.advance()
    assert (step.halvings, step.leapt_to, step.restarted) == (broken, None, 0)
    assert math.isfinite(step.energy)
    assert torch.allclose(made[-1].double(), before - 0.5**broken * change, atol=1e-6)
    assert f"broke down: went back, step halved {broken} times" in summary(step)


def test_without_leap_nothing_is_taken_back() -> None:
    """The same wreck stays in a run that asks for nothing (recipe 1), and no past is kept."""
    run = trainer(config(sampling={"chains": 128}, run={"recipe": 1}))
    for _ in range(5):
        run.advance()
    run._subtract(10 * parameters(run).double())
    step = run.advance()
    assert (step.halvings, step.leapt_to, run.past) == (0, None, None)
    assert step.energy > -0.4


def wreck(run: vmc.Trainer) -> None:
    """Plant a state from which no part of the last update leads away."""
    assert run.past is not None
    run.past = dataclasses.replace(run.past, parameters=11 * run.past.parameters)
    run._set(run.past.parameters)


def test_a_state_that_is_wrecked_before_it_shows_is_left() -> None:
    """No part of the last update helps where psi had been wrecked before: the run falls back to a state of long ago.

    It goes on from there at half the rate, and says so; interrupted, it does the same. If that does not help, it goes
    to a state of longer ago.
    """
    settings = config(optimizer={"leap": 0.2, "learning_rate": 0.02}, sampling={"chains": 512})
    run = trainer(settings)
    for _ in range(2 * leaps.GOOD + 3):
        step = run.advance()
    assert step.learning_rate == 0.02
    assert [good.step for good in run.good] == [0, leaps.GOOD, 2 * leaps.GOOD]
    newest, median = run.good[1], np.median(run.recent)
    wreck(run)
    other = trainer(settings)
    snapshots.restore(other, snapshots.snapshot(run, collect("test"), ""))
    step = run.advance()
    assert (step.halvings, step.returned_to, step.learning_rate) == (leaps.HALVINGS, leaps.GOOD, 0.01)
    assert abs(step.energy - median) < 0.05
    assert run.past is not None
    assert torch.equal(run.past.parameters, newest.parameters)
    assert f"fell back to step {leaps.GOOD}, half the rate" in summary(step)
    assert other.advance().energy == step.energy
    assert torch.equal(parameters(other), parameters(run))
    run.advance()
    run.recent = np.append(run.recent, run.recent)
    wreck(run)
    assert run.advance().returned_to == 0
    for _ in range(leaps.GOOD):
        step = run.advance()
    assert (step.halvings, step.returned_to, step.learning_rate) == (0, None, 0.02)


def test_noise_is_no_reason_to_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean above the leap's limit, but within the spread of those before, stays when no halving lowers it."""
    run = trainer(config(optimizer={"leap": 0.05}, sampling={"chains": 64}))
    for _ in range(leaps.GOOD // 2 + 1):
        run.advance()
    clean = run._sample
    for mean, returned_to in ((-0.42, None), (-0.2, 0)):
        run.recent = np.array([-0.45, -0.41, -0.46, -0.47, -0.44, -0.43])

        def sample(clock: vmc._Clock, clean=clean, mean=mean) -> vmc._Batch:
            batch = clean(clock)
            return dataclasses.replace(batch, estimate=dataclasses.replace(batch.estimate, mean=mean, error=0.01))

        monkeypatch.setattr(run, "_sample", sample)
        step = run.advance()
        assert (step.halvings, step.returned_to) == (leaps.HALVINGS, returned_to)
