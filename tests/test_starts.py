"""Which of several fresh networks training starts from: the best after a trial, however often it is stopped."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qmcbench import reference
from qmcbench.config import Config, parse
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.gates.checks import full_sum_energy
from qmcbench.starts import choose, seed_of
from qmcbench.training import CHECKPOINT, LOG, read_log, train
from qmcbench.vmc import Trainer, build_ansatz


def config(**optimizer: object) -> Config:
    """A small 4x4 run with three starts."""
    return parse(
        {
            "model": {"L": 4, "J2": 0.5},
            "sampling": {"chains": 16, "warm_up": 1, "gap": 16},
            "optimizer": {"steps": 6, "starts": 3, "trial": 5, **optimizer},
            "run": {"threads": 1, "checkpoint_every": 2, "seed": 7},
        }
    )


def fresh(settings: Config, number: int) -> Trainer:
    return Trainer(settings, build_ansatz(settings.wavefunction, seed_of(settings.run.seed, number)))


def never() -> bool:
    return False


def test_the_best_start_is_taken() -> None:
    """Three runs made by hand have the energies that decide; the lowest one's network comes out as it began."""
    settings, expected = config(), []
    for number in range(3):
        run = fresh(settings, number)
        run.warm_up()
        expected.append(float(np.median([run.advance().energy for _ in range(5)])))
    assert len(set(expected)) == 3
    trainer, said = fresh(settings, 0), []
    assert choose(trainer, never, said.append) == tuple(expected)
    best = fresh(settings, int(np.argmin(expected)))
    for ours, theirs in zip(trainer.psi.parameters(), best.psi.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert trainer.step == 0
    assert len(said) == 15


def test_starts_of_neighbouring_seeds_differ() -> None:
    """The first start of a seed is its own network; no two of a hundred others are the same."""
    seeds = [seed_of(seed, number) for seed, number in itertools.product(range(20), range(5))]
    assert len(set(seeds)) == 100
    assert [seed_of(seed, 0) for seed in (0, 5, 2**63 - 1)] == [0, 5, 2**63 - 1]
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_continued_run_chose_alike(tmp_path: Path, stop: int) -> None:
    """A run that was stopped at any step, the first included, has the bits and the log of one that was not."""
    whole = train(config(), tmp_path / "whole", quiet=True)
    train(config(steps=stop), tmp_path / "parts", quiet=True)
    parts = train(config(), tmp_path / "parts", quiet=True)
    for ours, theirs in zip(whole.psi.parameters(), parts.psi.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    logs = [[replace(step, seconds={}) for step in read_log(tmp_path / name / LOG)] for name in ("whole", "parts")]
    assert [str(step) for step in logs[0]] == [str(step) for step in logs[1]]
    assert [len(step.starts) for step in logs[0]] == [3, 0, 0, 0, 0, 0]


def test_a_start_that_breaks_down_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken wave function is passed over and logged as unknown; if all break down, one sentence says so."""
    clean, broken = Trainer.advance, [True]

    def advance(self: Trainer) -> object:
        if self.step == 2 and broken and broken.pop():
            raise UserError("every local energy is abnormal")
        return clean(self)

    monkeypatch.setattr(Trainer, "advance", advance)
    trainer = train(config(), tmp_path, quiet=True)
    starts = read_log(tmp_path / LOG)[0].starts
    assert starts[0] is None
    assert None not in starts[1:]
    assert trainer.step == 6
    broken += [True] * 3
    with pytest.raises(UserError, match="None of 3 fresh networks could be trained for 5 steps"):
        choose(fresh(config(), 0), never, len)


def test_stopped_while_choosing() -> None:
    """A stop ends it after the step at hand, and the sentence says what remains."""
    said: list[str] = []
    with pytest.raises(Interrupted, match=r"choosing among 3 starts.*begin anew"):
        choose(fresh(config(), 0), lambda: len(said) == 7, said.append)
    assert len(said) == 7


def test_given_parameters_are_not_chosen_among(tmp_path: Path) -> None:
    """Transfer learning starts from what it is given, and a run with one start tries nothing."""
    train(config(steps=1, starts=1), tmp_path / "a", quiet=True)
    assert read_log(tmp_path / "a" / LOG)[0].starts == ()
    given = config()
    given = replace(given, wavefunction=replace(given.wavefunction, start=str(tmp_path / "a" / CHECKPOINT)))
    assert choose(fresh(given, 0), never, len) == ()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_lines_of_configuration_train(tmp_path: Path) -> None:
    """A lattice of 4x4 and a coupling of 0.5, all else left open: 1e-4 by full sum, and no leap after step 60."""
    trainer = train(parse({"model": {"L": 4, "J2": 0.5}}), tmp_path, quiet=True)
    exact = reference.exact(4, 0.5).energy
    assert 0 <= (full_sum_energy(trainer.psi, 0.5) - exact) / abs(exact) <= 1e-4
    assert max(step.energy for step in read_log(tmp_path / LOG)[60:]) < -0.4
