"""Ways of optimising in equal seconds: stages go on from each other, what cannot be trained says so."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from qmcbench.bench import optimisers
from qmcbench.bench.optimisers import WAYS, Way
from qmcbench.config import Config, Sampling
from qmcbench.errors import UserError
from qmcbench.store.bench import Optimised


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 4x4, with few samples."""
    monkeypatch.setattr(optimisers, "L", 4)
    monkeypatch.setattr(optimisers, "EVALUATION", Sampling(chains=64, warm_up=2))
    monkeypatch.setattr(optimisers, "ROUNDS", 2)


def test_stages_go_on_from_each_other(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh parameters once, then those of the stage before, in another projection; all steps are counted."""
    made: list[tuple[str, list[torch.Tensor], nn.Module | None]] = []
    clean = optimisers._trainer

    def recorded(config: Config, start: nn.Module | None) -> optimisers.Trainer:
        trainer = clean(config, start)
        made.append((config.wavefunction.symmetry, [p.clone() for p in trainer.psi.state_dict().values()], start))
        return trainer

    monkeypatch.setattr(optimisers, "_trainer", recorded)
    found = optimisers.optimised("two", Way("", stages=("none", "full"), sampling={"chains": 32}), 3, 0.4)
    assert [symmetry for symmetry, *_ in made] == ["none", "none", "full", "full"]
    _, begun, start = made[3]
    assert start is not None
    assert all(map(torch.equal, begun, start.state_dict().values()))
    assert not torch.equal(begun[0], made[1][1][0]), "the first stage has trained"
    assert found.steps >= 2
    assert (found.symmetry, found.samples, found.chains) == ("none, full", 128, 32)
    assert found.error == pytest.approx((found.value + 0.528620214) / 0.528620214)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_is_a_configuration(name: str) -> None:
    """With its rates where they belong: first, half-way and last."""
    config = optimisers._configuration(WAYS[name], WAYS[name].stages[-1], 1, 200)
    knots = WAYS[name].rate or ((0, 0.04), (1, 0.04))
    for share, value in knots:
        assert config.optimizer.learning_rate(round(share * 200)) == pytest.approx(value)
    assert config.optimizer.steps == 200


def test_ways_differ_in_one_thing() -> None:
    """The paper's method with and without symmetries, and a schedule against a constant rate."""
    made = {name: optimisers._configuration(way, way.stages[-1], 1, 200) for name, way in WAYS.items()}
    paper, full = made["paper"], made["paper, full"]
    assert (paper.wavefunction.symmetry, full.wavefunction.symmetry) == ("none", "full")
    assert replace(full, wavefunction=paper.wavefunction) == paper
    assert (paper.optimizer.momentum, paper.sampling.alpha, paper.sampling.effective_fraction) == (0, 2, None)
    # In sample space: the dense solver's step, which tests/sr compares, in less time.
    assert (paper.run.preset, paper.optimizer.solver) == ("paper", "sample_space")
    constant, spring = made["constant rate"].optimizer, made["spring"].optimizer
    assert replace(constant, learning_rate=spring.learning_rate) == spring != constant


def test_what_breaks_down_says_so(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that destroys the wave function has no energy, and why."""

    def broken(trainer: optimisers.Trainer) -> None:
        raise UserError("the wave function has broken down")

    monkeypatch.setattr(optimisers.Trainer, "advance", broken)
    found = optimisers.optimised("wild", Way("", sampling={"chains": 32}), 1, 0.4)
    assert (found.value, found.steps, found.not_run) == (None, 0, "the wave function has broken down")


def test_what_has_run_is_kept(small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interruption after one of three loses nothing of it, and the next run starts with the second."""
    ran: list[str] = []

    def quickly(name: str, way: Way, seed: int, seconds: float) -> Optimised:
        ran.append(name)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return optimisers._record(name, way, seed, 7, value=-0.5)

    monkeypatch.setattr(optimisers, "optimised", quickly)
    monkeypatch.setattr(optimisers, "WAYS", {name: WAYS[name] for name in ("spring", "plain", "march")})
    with pytest.raises(KeyboardInterrupt):
        list(optimisers.measure(quick=True, folder=tmp_path))
    found = [each for (each,) in optimisers.measure(quick=True, folder=tmp_path, only="spring|plain: seed 10")]
    assert ran == ["spring", "plain", "plain"]
    assert [(each.way, each.steps) for each in found] == [("spring", 7), ("plain", 7), ("march", 0)]
    assert found[2].not_run == "not among those asked for, --only spring|plain: seed 10"
