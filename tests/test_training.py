"""Training with files: what a log and checkpoint hold, and that an interrupted run ends with the same bits."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import torch
from helpers.command import called

from qmcbench import checkpoint, evaluation
from qmcbench.config import Sampling, parse
from qmcbench.errors import UserError
from qmcbench.estimates import Request
from qmcbench.training import CHECKPOINT, LOG, load_ansatz, read_log, train

SMALL = {
    "model": {"L": 4, "J2": 0.5},
    "sampling": {"chains": 16, "warm_up": 1},
    "optimizer": {"steps": 6, "starts": 1},
    "run": {"threads": 1, "checkpoint_every": 2, "seed": 7},
}


def config(steps: int = 6, **sections: dict[str, object]):
    """The small run with some sections changed."""
    data = {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {*SMALL, *sections}}
    data["optimizer"] = {**data["optimizer"], "steps": steps}
    return parse(data)


def numbers(out: Path) -> list[dict]:
    """A run's log without its wall times."""
    return [{k: str(v) for k, v in asdict(step).items() if k != "seconds"} for step in read_log(out / LOG)]


def tensor_groups(of: checkpoint.Checkpoint) -> list[dict[str, torch.Tensor]]:
    return [getattr(of, group) or {} for group in checkpoint.GROUPS]


def same_state(one: Path, other: Path) -> bool:
    """Whether two checkpoints agree in every bit of parameters, chains, optimiser and random-number counters."""
    a, b = checkpoint.read(one / CHECKPOINT), checkpoint.read(other / CHECKPOINT)
    tensors = [(x[k], y[k]) for x, y in zip(tensor_groups(a), tensor_groups(b), strict=True) for k in {*x, *y}]
    # The history of an abnormal chain is nan.
    return a.state == b.state and all(
        p.shape == q.shape and ((p == q) | (p.isnan() & q.isnan())).all() for p, q in tensors
    )


def test_log_has_one_line_a_step_and_the_checkpoint_the_last(tmp_path: Path) -> None:
    """A finished run logs every step once, and its checkpoint carries the final parameters and the configuration."""
    trainer = train(config(), tmp_path, quiet=True)
    assert [step.step for step in read_log(tmp_path / LOG)] == [1, 2, 3, 4, 5, 6]
    stored = checkpoint.read(tmp_path / CHECKPOINT)
    assert stored.state.step == 6
    assert stored.config == config()
    psi, _ = load_ansatz(tmp_path / CHECKPOINT)
    for ours, theirs in zip(psi.parameters(), trainer.psi.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT, LOG]


def test_same_seed_same_bits_and_other_seed_other(tmp_path: Path) -> None:
    """A run is a function of its configuration."""
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        train(config(run={"seed": seed}), tmp_path / name, quiet=True)
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    assert same_state(tmp_path / "a", tmp_path / "b")
    assert numbers(tmp_path / "a") != numbers(tmp_path / "c")


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_continued_run_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    """Stopping after a step and raising the number of steps ends where one run would, history and alpha included."""
    sections = {"sampling": {"effective_fraction": 0.3}, "optimizer": {"momentum": 0.9}}
    train(config(6, **sections), tmp_path / "whole", quiet=True)
    train(config(stop, **sections), tmp_path / "parts", quiet=True)
    train(config(6, **sections), tmp_path / "parts", quiet=True)
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "parts")
    assert same_state(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(("stop", "metric"), [(4, "identity"), (7, "identity"), (9, "identity"), (7, "march")])
def test_continued_run_leaps_back_alike(tmp_path: Path, stop: int, metric: str) -> None:
    """A run whose steps are far too long goes back again and again, also after it was stopped, with the same bits."""
    optimizer = {"leap": 0.01, "learning_rate": 1.0, "max_step_norm": 3.0, "momentum": 0.5, "metric": metric}
    sections = {"optimizer": optimizer}
    train(config(12, **sections), tmp_path / "whole", quiet=True)
    train(config(stop, **sections), tmp_path / "parts", quiet=True)
    train(config(12, **sections), tmp_path / "parts", quiet=True)
    assert sum(step.halvings > 0 for step in read_log(tmp_path / "whole" / LOG)) > 1
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "parts")
    assert same_state(tmp_path / "whole", tmp_path / "parts")


def run_until(out: Path, toml: Path, lines: int, number: signal.Signals) -> int:
    """Start ``qmcbench train`` in a process of its own, signal it once its log has ``lines`` lines; exit status."""
    command = [sys.executable, "-P", "-m", "qmcbench", "train", str(toml), "--out", str(out), "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (out / CHECKPOINT).exists() and len((out / LOG).read_text().splitlines()) >= lines:
                break
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(timeout=60)


TOML = """
[model]
L = 4
J2 = 0.5
[sampling]
chains = 16
warm_up = 1
[optimizer]
steps = 60
starts = 1
[run]
threads = 1
checkpoint_every = 3
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_resumes_to_the_same_bits(tmp_path: Path, number: signal.Signals) -> None:
    """SIGKILL at an arbitrary moment, or Ctrl-C, then the same command again: same parameters, chains and log."""
    toml = tmp_path / "run.toml"
    toml.write_text(TOML)
    status = run_until(tmp_path / "killed", toml, 4, number)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    done = checkpoint.read(tmp_path / "killed" / CHECKPOINT).state.step
    assert 0 < done < 60, "the signal came too late to test anything"
    for name in ("killed", "whole"):
        assert called("train", toml, "--quiet", "--out", tmp_path / name).returncode == 0
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
    assert same_state(tmp_path / "killed", tmp_path / "whole")


def test_half_written_checkpoint_never_replaces_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails midway, the old file is still there, whole, and nothing else is."""
    train(config(2), tmp_path, quiet=True)
    good = (tmp_path / CHECKPOINT).read_bytes()

    def broken(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(UserError, match=r"Cannot write .*checkpoint.safetensors: No space left"):
        checkpoint.write_atomically(tmp_path / CHECKPOINT, b"half")
    assert (tmp_path / CHECKPOINT).read_bytes() == good
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT, LOG]


def test_other_configuration_is_refused(tmp_path: Path) -> None:
    """A folder with a checkpoint of another run is not continued; the message names the difference."""
    train(config(2), tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"model\.J2 = 0\.5, but the configuration has 0\.2"):
        train(config(2, model={"J2": 0.2}), tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"completed 2 steps, more than optimizer\.steps = 1"):
        train(config(1), tmp_path, quiet=True)
    assert len(read_log(tmp_path / LOG)) == 2, "a refused run must not touch the log"
    train(config(1, model={"J2": 0.2}), tmp_path, quiet=True, restart=True)
    assert len(read_log(tmp_path / LOG)) == 1


def test_transfer_starts_from_the_other_lattice(tmp_path: Path) -> None:
    """A 6x6 run of no steps that starts from a 4x4 checkpoint holds the 4x4 parameters, bit for bit."""
    small = train(config(2), tmp_path / "4", quiet=True)
    start = {"start": str(tmp_path / "4" / CHECKPOINT)}
    large = train(config(0, model={"L": 6}, wavefunction=start), tmp_path / "6", quiet=True)
    assert large.hamiltonian.sites == 36
    for ours, theirs in zip(small.psi.parameters(), large.psi.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_transfer_from_another_network_is_refused(tmp_path: Path) -> None:
    """Names and shapes must agree, and the message says which network is which."""
    train(config(1), tmp_path / "4", quiet=True)
    start = {"start": str(tmp_path / "4" / CHECKPOINT), "network": "medium"}
    with pytest.raises(UserError, match=r"3531 parameters .*16249"):
        train(config(1, wavefunction=start), tmp_path / "6", quiet=True)


def test_nan_in_the_log_is_valid_json(tmp_path: Path) -> None:
    """R-hat is unknown at first; the log says null, which every JSON reader takes."""

    def refuse(name: str) -> float:
        raise AssertionError(name)

    train(config(1), tmp_path, quiet=True)
    line = json.loads((tmp_path / LOG).read_text(), parse_constant=refuse)
    assert line["r_hat"] is None


def test_dense_solver_that_cannot_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The covariance of `small` needs 2 x 8 x 3531^2 bytes = 0.186 GiB; with 0.1 GiB free the run is refused."""
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=0.1 * 2**30))
    with pytest.raises(UserError, match=r"needs 0\.186 GiB for 3531 parameters .*sample_space"):
        train(config(1, optimizer={"solver": "dense"}), tmp_path, quiet=True)
    train(config(1, optimizer={"solver": "sample_space"}), tmp_path, quiet=True)
    with pytest.raises(UserError, match="sample_space"):
        train(config(1, optimizer={"solver": "dense"}), tmp_path, quiet=True, restart=True)
    assert checkpoint.read(tmp_path / CHECKPOINT).state.step == 1, "a refused restart must lose nothing"


def test_log_derivatives_count_as_needed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 024 samples of `small`: 14 MiB of log-derivatives beside 16 MiB for the Gram matrix; 20 MiB are too few."""
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=20 * 2**20))
    with pytest.raises(UserError, match=r"needs 0\.0291 GiB for 3531 parameters and 1024 samples"):
        train(config(1, sampling={"chains": 1024}), tmp_path, quiet=True)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=32 * 2**20))
    train(config(1, sampling={"chains": 1024}), tmp_path, quiet=True)


def test_threads_are_left_as_they_were(tmp_path: Path) -> None:
    """The run has its own number, also when it fails; whoever called it has theirs afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = config(1, run={"threads": 2, "oversubscribe": True})
        train(settings, tmp_path, quiet=True)
        assert checkpoint.read(tmp_path / CHECKPOINT).provenance.machine.torch_threads == 2
        assert torch.get_num_threads() == 1
        with pytest.raises(UserError, match="belongs to a run"):
            train(config(2, model={"J2": 0.1}, run={"threads": 2, "oversubscribe": True}), tmp_path, quiet=True)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_more_threads_than_cores_must_be_said_twice(tmp_path: Path) -> None:
    """4096 threads bring a machine to its knees: refused before anything is made, unless oversubscribe says so."""
    with pytest.raises(UserError, match=r"run\.threads = 4096, but this process may use .*oversubscribe"):
        train(config(1, run={"threads": 4096}), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("continued", [False, True], ids=["new", "continued"])
def test_memory_is_looked_at_before_anything_is_made(tmp_path: Path, continued: bool) -> None:
    """10^7 chains on 36x36 need over a TiB: refused at once, by both numbers, and nothing is lost."""
    huge = config(3, model={"L": 36}, sampling={"chains": 10**7})
    if continued:
        train(config(2), tmp_path, quiet=True)
    begun, used = time.monotonic(), psutil.Process().memory_info().rss
    with pytest.raises(UserError, match=r"GiB for a sweep of 10000000 chains on 36x36, but .* are free"):
        train(huge, tmp_path, quiet=True, restart=True)
    assert psutil.Process().memory_info().rss - used < 2**28
    assert time.monotonic() - begun < 30
    if continued:
        assert checkpoint.read(tmp_path / CHECKPOINT).state.step == 2


def test_evaluation_does_not_follow_the_chains_of_training(tmp_path: Path) -> None:
    """The same seed, network, chains, alpha and warm-up in both: other random streams, so other configurations."""
    shared = {"chains": 16, "warm_up": 2, "alpha": 1.0}
    train(config(0, sampling=shared), tmp_path, quiet=True)
    stored = checkpoint.read(tmp_path / CHECKPOINT)
    psi, _ = load_ansatz(tmp_path / CHECKPOINT)
    streams = []
    for request_seed in (7, 8):
        request = Request(
            checkpoint=tmp_path / CHECKPOINT,
            out=tmp_path,
            samples=16,
            sampling=Sampling(**shared),
            L=4,
            J2=(0.5,),
            seed=request_seed,
        )
        evaluator = evaluation.evaluator_of(request, psi)
        for _ in range(2):
            evaluator.advance()
        assert evaluator.chains.proposals == stored.state.proposals
        streams.append(evaluator.chains.spins)
    for spins in streams:
        assert (spins == stored.chains["spins"]).flatten(1).all(1).sum() < 4
    assert not torch.equal(*streams)
