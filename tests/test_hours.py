"""The time of a training run: rates that follow it, all that counts, resuming, one clock for all ranks."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import trainers

from qmcbench import hours
from qmcbench.config import Config
from qmcbench.files import Interrupted
from qmcbench.hours import FEW, RECENT, Hours
from qmcbench.log import OTHER
from qmcbench.ranks.comm import Serial
from qmcbench.training import LOG, read_log, train
from qmcbench.vmc import Step, Trainer

FALLING = [["0%", 0.1], ["100%", 0.001]]


def config(steps: int, **run: object) -> Config:
    """A small run whose rate falls a hundredfold from its beginning to its end."""
    optimizer = {"steps": steps, "starts": 1, "learning_rate": FALLING, "shift": FALLING, "leap": 0.1}
    return trainers.config(optimizer=optimizer, run={"checkpoint_every": 3, **run})


def settings(out: Path) -> list[tuple[float, float]]:
    """Rate and shift of each step in a log."""
    return [(step.learning_rate, step.shift) for step in read_log(out / LOG)]


def expected(shares: Sequence[float]) -> list[tuple[float, float]]:
    """Both where such shares of the run are made before the steps."""
    return [pytest.approx((0.1 * 0.01**share, 0.1 * 0.01**share), rel=1e-9) for share in shares]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes 10 seconds, of which 6 are its own."""
    ticks, advance = count(0, 10), Trainer.advance

    def timed(self: Trainer) -> Step:
        step = advance(self)
        return replace(step, seconds={**step.seconds, "step": 6.0})

    monkeypatch.setattr(hours, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    monkeypatch.setattr(Trainer, "advance", timed)


def stopped(settings: Config, out: Path, after: int) -> None:
    """Train until an interrupt that comes in the step ``after``."""
    with pytest.MonkeyPatch.context() as patch:
        advance, calls = Trainer.advance, count(1)

        def disturbed(self: Trainer) -> Step:
            if next(calls) == after:
                os.kill(os.getpid(), signal.SIGINT)
            return advance(self)

        patch.setattr(Trainer, "advance", disturbed)
        with pytest.raises(Interrupted):
            train(settings, out, quiet=True)


def test_without_hours_the_steps_count(tmp_path: Path) -> None:
    """Rate and shift follow the share of the steps; an interrupted run ends with the numbers of one that was not."""
    whole = train(config(4), tmp_path / "whole", quiet=True)
    assert settings(tmp_path / "whole") == expected([0, 1 / 4, 2 / 4, 3 / 4])
    stopped(config(4), tmp_path / "parts", 2)
    parts = train(config(4), tmp_path / "parts", quiet=True)
    assert settings(tmp_path / "parts") == settings(tmp_path / "whole")
    assert trainers.parameters(parts).equal(trainers.parameters(whole))


@pytest.mark.usefixtures("clock")
def test_rates_follow_the_hours(tmp_path: Path) -> None:
    """Seven steps of 10 s in 65 s: all between the steps counts, and so it does after an interruption."""
    train(config(1000, hours=65 / 3600), tmp_path / "whole", quiet=True)
    assert settings(tmp_path / "whole") == expected([10 * step / 65 for step in range(7)])
    assert {step.seconds[OTHER] for step in read_log(tmp_path / "whole" / LOG)} == {4.0}
    stopped(config(1000, hours=65 / 3600), tmp_path / "parts", 4)
    train(config(1000, hours=65 / 3600), tmp_path / "parts", quiet=True)
    assert settings(tmp_path / "parts") == settings(tmp_path / "whole")
    before = (tmp_path / "whole" / LOG).read_bytes()
    train(config(1000, hours=65 / 3600), tmp_path / "whole", quiet=True)
    assert (tmp_path / "whole" / LOG).read_bytes() == before, "a run whose time is over makes no more steps"


@pytest.mark.usefixtures("clock")
def test_whichever_is_further(tmp_path: Path) -> None:
    """Where the steps are over before the hours, the rate has come down with them."""
    train(config(4, hours=1.0), tmp_path, quiet=True)
    assert settings(tmp_path) == expected([0, 1 / 4, 2 / 4, 3 / 4])


@pytest.mark.usefixtures("clock")
def test_no_time_is_one_step(tmp_path: Path) -> None:
    """Also with none at all: there is a checkpoint to go on from."""
    assert train(config(5, hours=0.0), tmp_path, quiet=True).step == 1
    assert train(config(5, hours=25 / 3600), tmp_path, quiet=True).step == 3


@pytest.fixture(scope="module")
def step() -> Step:
    """Some step."""
    return trainers.trainer(trainers.config(optimizer={"starts": 1})).advance()


@pytest.mark.usefixtures("clock")
def test_what_comes_after_has_its_time(step: Step) -> None:
    """50 of 100 s are kept, once there are steps to foresee it from: the last ones, of a log too."""
    seen: list[list[float]] = []

    def ahead(steps: Sequence[Step]) -> float:
        seen.append([each.energy for each in steps])
        return 50.0

    made = [replace(step, energy=float(number), seconds={"step": 6.0}) for number in range(30)]
    run = Hours(100 / 3600, Serial(), ahead)
    shares = []
    for each in made[:FEW]:
        run.count(each)
        shares.append(run.share)
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.8])
    assert (seen, run.over) == ([[0, 1, 2, 3]], False)
    run.count(made[FEW])
    assert run.over
    other = Hours(100 / 3600, Serial(), ahead)
    other.go_on(lambda: made)
    assert seen[-1] == [float(number) for number in range(30 - RECENT, 30)]
    assert other.share == pytest.approx(30 * 6 / 50)
    assert Hours(100 / 3600, Serial(), lambda _: 200.0).share == 0


@pytest.mark.usefixtures("clock")
def test_first_steps_are_not_trusted(step: Step) -> None:
    """All of 1000 s are foreseen for what comes after: half of them until RECENT steps are there."""
    run = Hours(1000 / 3600, Serial(), lambda steps: 1000.0)
    shares = []
    for _ in range(RECENT):
        run.count(replace(step, seconds={"step": 6.0}))
        shares.append(run.share)
    early = [0.01 * number if number < FEW else 0.02 * number for number in range(1, RECENT)]
    assert shares == pytest.approx([*early, 1.0])


@pytest.mark.usefixtures("clock")
def test_one_clock_for_all_ranks(step: Step) -> None:
    """What another rank has measured is not looked at: it has rank 0's share."""

    class Second(Serial):
        rank, size = 1, 2

        def broadcast(self, value: object) -> object:
            return 0.25 if isinstance(value, float) else (0.125, None)

    run = Hours(20 / 3600, Second())
    run.count(replace(step, seconds={"step": 6.0}))
    assert (run.share, run.over) == (0.25, False)
    run.go_on(lambda: pytest.fail("rank 0 alone reads the log"))
    assert run.share == 0.125
