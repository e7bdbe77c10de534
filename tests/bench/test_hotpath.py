"""The story of the hot path: forms that take turns and agree, predictions that are counted, memory of its own."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import plain
import pytest
import torch
from helpers.benches import origin
from torch.utils.flop_counter import FlopCounterMode

from qmcbench import checkpoint
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast.fourier_derivatives import FourierDerivatives
from qmcbench.ansatz.fast.fourier_images import FourierImages
from qmcbench.bench import hotpath, hotpath_steps, kernels, operations, timing, worker_derivatives
from qmcbench.bench.answers import EVERY, structured
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import Config, Model, Wavefunction
from qmcbench.lattice import random_configurations
from qmcbench.ranks import launch
from qmcbench.store.bench import Memory, Rate, SamplingRate, Step, WorkTime
from qmcbench.store.records import Run

ORIGIN = origin("qmcbench bench hotpath")


def test_forms_take_turns() -> None:
    """Two uncounted calls of each, and then one of each, again and again."""
    called: list[str] = []
    works = {name: (lambda name=name: called.append(name)) for name in "ab"}
    times = hotpath_steps.in_turn(works, 3)
    assert "".join(called) == "aabb" + "ab" * 3
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_gain_is_taken_turn_by_turn() -> None:
    """On a machine that slows down tenfold between turns the gain is that of each turn, not that of the medians."""
    change = hotpath_steps.Change("s", "old", "new", "")
    step = hotpath_steps.ratio(change, "w", {"old": [2.0, 30.0, 10.0], "new": [1.0, 10.0, 10.0]})
    assert (step.name, step.workload, step.value) == ("s", "w", 2.0)
    assert (step.before_s, step.after_s) == (10.0, 10.0)
    assert step.predicted is None


def test_stated_predictions_are_of_full_workloads() -> None:
    """Each belongs to a step and workload of the full sizes, so that none is silently lost; quick ones have none."""
    steps = {name for name, _ in hotpath_steps.STATED}
    full = {str(work) for work in hotpath.FULL.forward} | {"Gram matrix, {} x {}".format(*hotpath.FULL.gram)}
    assert {workload for _, workload in hotpath_steps.STATED} <= full
    assert not any(str(work) in full for work in hotpath.QUICK.forward)
    rows = [*hotpath._forward(hotpath.QUICK.forward[1], 1), *hotpath_steps.gram_steps(*hotpath.QUICK.gram, 1)]
    assert steps <= {row.name for row in rows if isinstance(row, Step)}


@pytest.mark.parametrize(("model", "saved"), [("small", 1.17), ("medium", 1.46), ("large", 1.72)])
def test_plain_multiply_adds(model: str, saved: float) -> None:
    """They are those that PyTorch counts when it does the plain network, and fusion saves what was predicted."""
    network, spins = CNN(model), random_configurations(6, 2)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        operations.run(operations.steps(network, operations.Torch()), operations.grid(network, spins))
    assert timing.plain_multiply_adds(network, 6) == counter.get_total_flops() / 2 / len(spins)
    assert timing.plain_multiply_adds(network, 6) / timing.fused_multiply_adds(network, 6) == pytest.approx(
        saved, abs=5e-3
    )


def test_forms_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one runs in Fourier space, none records gradients, and all are the network of the paper's Sec. 3.1."""
    network, spins = plain.lively("small", dtype=torch.float32).requires_grad_(False), random_configurations(4, 8)
    calls: list[int] = []
    real = FourierImages.amplitudes
    monkeypatch.setattr(
        FourierImages, "amplitudes", lambda self, spins: calls.append(len(spins)) or real(self, spins)
    )
    with torch.no_grad():
        expected = torch.stack(plain.log_psi(network.spec, plain.parameters_of(network), spins))
        for name, form in hotpath._forms(network, spins, scalar=True).items():
            found = form()
            assert not found.requires_grad
            assert bool(calls) == (name == "fourier"), name
            calls.clear()
            torch.testing.assert_close(found.float(), expected[:, : found.shape[1]], atol=1e-4, rtol=1e-4)


def _broken_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    real = FourierDerivatives.write

    def broken(self: FourierDerivatives, spins: Any, shares: Any, out: torch.Tensor) -> None:
        real(self, spins, shares, out)
        out[:, 7] *= 1.5

    monkeypatch.setattr(FourierDerivatives, "write", broken)


def _broken_triangle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        hotpath_steps, "add_lower", lambda gram, rows, everything, first: gram.addmm_(rows, everything.T, alpha=1.001)
    )


def _broken_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations.Torch, "max_pool", lambda self, x: x.flatten(2)[..., ::2].unflatten(2, (4, -1)))


@pytest.mark.parametrize(
    ("break_it", "work"),
    [
        (_broken_gradient, lambda: hotpath_steps.derivatives_step(*hotpath.QUICK.derivatives, 1)),
        (_broken_triangle, lambda: hotpath_steps.gram_steps(*hotpath.QUICK.gram, 1)),
        (_broken_pooling, lambda: hotpath._forward(hotpath.QUICK.forward[0], 1)),
    ],
)
def test_forms_that_differ_are_not_timed(
    break_it: Callable[[pytest.MonkeyPatch], None], work: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong gradient, a scaled triangle, a pooling of the wrong site: no time."""
    break_it(monkeypatch)
    for module in (hotpath, hotpath_steps):
        monkeypatch.setattr(module, "in_turn", lambda works, repeats: pytest.fail("timed"))
    with pytest.raises(ArithmeticError, match="differ"):
        work()


@pytest.fixture
def small_checkpoint(tmp_path: Path) -> Path:
    """A network without symmetry."""
    path = tmp_path / "network.safetensors"
    config = Config(model=Model(4, 0.5), wavefunction=Wavefunction("small", symmetry="none"))
    state = {f"base.{name}": value for name, value in CNN("small").state_dict().items()}
    checkpoint.write(path, Checkpoint(state, config, ORIGIN))
    return path


def test_sampling_rate(small_checkpoint: Path) -> None:
    """Of a fresh network or of a checkpoint, whose own symmetry counts; every proposal is one of a sweep."""
    fresh = hotpath._sampling_rate(hotpath.QUICK, None)
    assert (fresh.weights, fresh.symmetry, fresh.proposals) == ("random", "C4", 16)
    given = hotpath._sampling_rate(hotpath.QUICK, small_checkpoint)
    assert (given.weights, given.symmetry) == ("network.safetensors", "none")
    for rate in (fresh, given):
        assert rate.low is not None
        assert rate.high is not None
        assert 0 < rate.low <= rate.value <= rate.high
        assert rate.acceptance is not None
        assert 0 < rate.acceptance <= 1


def test_sampling_rate_counts_all_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of 8 chains that takes two seconds is 4 samples a second."""
    real = hotpath.in_turn
    monkeypatch.setattr(
        hotpath, "in_turn", lambda works, repeats: dict.fromkeys(real(works, repeats), [2.0] * repeats)
    )
    assert hotpath._sampling_rate(hotpath.QUICK, None).value == 8 / 2.0


def test_derivatives_in_a_process_of_their_own() -> None:
    """The peak is at least the samples in float32 and their Gram matrix above what the process had before."""
    samples = 1536
    job = {"kind": "derivatives", "network": "small", "L": 4, "samples": samples, "repeats": 1}
    found = structured(launch.run(None, job, 200), worker_derivatives.Answer)
    assert found.repeats == 1
    least = 4 * samples * CNN("small").spec.parameters + 8 * samples**2
    assert found.peak_bytes - found.before_bytes >= least
    assert found.derivatives_s > 0
    assert found.solve_s > 0


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The job of the process with the derivatives is kept, and answered at once."""
    jobs: list[dict[str, Any]] = []

    def answer(ranks: int | None, job: dict[str, Any], timeout: float, *, threads: int) -> dict[str, Any]:
        jobs.append(job)
        answer = worker_derivatives.Answer(2.0, 3.0, peak_bytes=5, before_bytes=4, repeats=1)
        return asdict(answer) | dict.fromkeys(EVERY, 1)

    monkeypatch.setattr(launch, "run", answer)
    return jobs


def test_measure(in_process: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every form of every forward pass, every step, progress to the end, and GF/s that follow from the times."""
    seconds = iter(range(1, 10**6))
    monkeypatch.setattr(kernels, "timed", lambda comm, work: (float(next(seconds)), work()))
    # On busy cores, two threads that wait for each other are slow; it is the number that matters here.
    asked: list[int] = []
    monkeypatch.setattr(hotpath, "available_cores", lambda: 2)
    monkeypatch.setattr(hotpath, "threads", lambda count: asked.append(count) or nullcontext())
    steps = list(hotpath.measure(True))
    found = Run(job="bench hotpath", provenance=ORIGIN, records=tuple(chain.from_iterable(steps)))
    assert asked == [2]
    assert len(steps) == hotpath.total(True)
    (sgemm,) = found.of(Rate)
    assert (sgemm.operation, sgemm.size) == ("sgemm", hotpath.QUICK.gemm)
    forward = [each for each in found.of(WorkTime) if each.work == "forward"]
    assert [(each.network, each.form) for each in forward] == [
        *(("small", form) for form in ("plain", "fused", "fourier", "scalar")),
        *(("medium", form) for form in ("plain", "fused", "fourier")),
    ]
    for each in forward:
        flops = 2 * timing.fused_multiply_adds(CNN(each.network), each.L) * each.batch
        assert each.GFs == pytest.approx(flops / each.value / 1e9)
        assert (each.batch, each.threads) == ((1, 1) if each.form == "scalar" else (32, 2))
    assert len(found.of(Step)) == 2 * 2 + 3
    assert len(found.of(SamplingRate)) == 1
    assert in_process == [{"kind": "derivatives", "network": "small", "L": 4, "samples": 32}]
    assert [(each.work, each.form, each.value) for each in found.of(WorkTime)[-2:]] == [
        ("log_derivatives", "", 2.0), ("solve", "sample_space", 3.0)
    ]  # fmt: skip
    assert [(each.value, each.before, each.batch) for each in found.of(Memory)] == [(5, 4, 32)]
