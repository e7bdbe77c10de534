"""The paper's baseline computes the network, operation by operation, and what is timed is what it says."""

import re
import time
from contextlib import nullcontext, suppress
from itertools import chain

import plain
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz import CNN
from qmcbench.bench import baseline, hotspots, names, operations, speedup
from qmcbench.bench.operations import Step
from qmcbench.cores import threads
from qmcbench.reference import paper

MODELS = ["small", "medium", "large"]


@pytest.mark.parametrize("model", MODELS)
def test_loops_compute_the_network(model: str) -> None:
    """log|psi| to rounding and every sign, also negative ones, of the network as in the paper's Sec. 3.1."""
    network, spins = plain.lively(model), plain.random_spins(4, 12)
    log_psi, sign = plain.log_psi(network.spec, plain.parameters_of(network), spins)
    found, found_sign = baseline.forward(network, spins)
    torch.testing.assert_close(found, log_psi.detach(), rtol=0, atol=1e-10)
    assert torch.equal(found_sign, sign.detach())
    assert {-1.0, 1.0} == set(sign.tolist())


@pytest.mark.parametrize("model", MODELS)
@torch.no_grad()
def test_loops_compute_the_network_in_float32(model: str) -> None:
    """The precision that is timed: psi of a fresh network as the package gives it, to float32's rounding."""
    network, spins = CNN(model), plain.random_spins(6, 12)
    torch.testing.assert_close(baseline.forward(network, spins), network(spins), rtol=0, atol=36 * 1e-6)


@pytest.mark.parametrize("L", [4, 6])
@torch.no_grad()
def test_both_kernels_agree_in_every_operation(L: int) -> None:
    """What is compared does the same: each of the 37 results of PyTorch's operations and of the loops."""
    network, spins = plain.lively("medium"), plain.random_spins(L, 1)
    batched = operations.grid(network, spins)
    single = batched[0].numpy()
    pairs = zip(
        operations.steps(network, operations.Torch()), operations.steps(network, baseline.Loops()), strict=True
    )
    found = []
    for step, loop in pairs:
        assert step.operation == loop.operation
        batched, single = step.apply(batched), loop.apply(single)
        whole = batched[:, 0] if step.operation == "product" else batched[0]
        torch.testing.assert_close(torch.from_numpy(single), whole, rtol=1e-11, atol=1e-11)
        found.append(step.operation)
    assert len(found) == 37
    assert set(found) == set(names.OPERATIONS)


@torch.no_grad()
def test_calls_are_those_of_one_forward_pass() -> None:
    """The workload "conv2d" is the six convolutions of a pass, on what comes before them, and nothing else."""
    network, spins = plain.lively("small"), plain.random_spins(4, 5)
    steps = operations.steps(network, operations.Torch())
    found = operations.calls(steps, operations.grid(network, spins), "conv2d")()
    assert [each.shape[1] for each in found] == [block.conv for block in network.spec.blocks]
    first = network.blocks()[0].conv.weight
    padded = F.pad(spins.to(first.dtype).unsqueeze(1), [2] * 4, mode="circular")
    torch.testing.assert_close(found[0], F.conv2d(padded, first))


@torch.no_grad()
def test_fused_steps_are_the_network() -> None:
    """The fused network counts as one operation and the product as another: together they are psi."""
    network, spins = plain.lively("small"), plain.random_spins(4, 20)
    steps = operations.fused_steps(network)
    assert [step.operation for step in steps] == ["fused", "product"]
    torch.testing.assert_close(operations.run(steps, spins), torch.stack(network(spins)), rtol=1e-13, atol=1e-13)


TINY = speedup.Sizes((("small", 4),), (2, 6), configurations=2, repeats=1)


def test_speedups_have_three_times_for_each_operation_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch and operation once; the baseline's time of a batch is in proportion to its size."""
    asked: list[int] = []
    monkeypatch.setattr(speedup, "available_cores", lambda: 2)
    monkeypatch.setattr(speedup, "threads", lambda count: asked.append(count) or nullcontext())
    steps = list(speedup.speedups(TINY))
    times = list(chain.from_iterable(steps))
    scalar, one, every = (times[place::3] for place in range(3))
    expected = [(batch, name) for batch in (2, 6) for name in (*names.OPERATIONS, "forward")]
    for column, form, cores in ((scalar, "scalar", 1), (one, "", 1), (every, "", 2)):
        assert [(time.batch, time.work) for time in column] == expected
        assert {(time.network, time.L, time.form, time.threads) for time in column} == {("small", 4, form, cores)}
    assert len(steps) == len(expected)
    assert asked == [1, 2] * len(expected)
    for two, six in zip(scalar[:7], scalar[7:], strict=True):
        assert six.value == pytest.approx(3 * two.value)


def test_full_speedups_are_those_of_the_paper() -> None:
    """The systems and batches of Fig. 8, whose small network is our medium one."""
    systems = [f"{'small' if network == 'medium' else network}-{L}" for network, L in speedup.FULL.systems]
    assert systems == paper.figure8["series"]
    assert list(speedup.FULL.batches) == paper.figure8["batch_sizes"]
    assert (speedup.total(quick=True), speedup.total(quick=False)) == (2 * 7, 7 * 9 * 7)


def test_a_wrong_baseline_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loops do not give the network's psi, there are no times."""
    monkeypatch.setattr(baseline.Loops, "max_pool", lambda self, x: x[..., ::2].copy())
    with pytest.raises(ArithmeticError, match="differ"):
        list(speedup.speedups(TINY))


def test_threads_are_restored() -> None:
    """Timings on one core leave the number of threads as it was, also after an error."""
    before = torch.get_num_threads()
    with suppress(RuntimeError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError
    with threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_hotspots_add_up() -> None:
    """Shares are in percent of the pass, and leave little that can only be between them; fused there are two."""
    passes = list(hotspots.measure(True))
    assert len(passes) == hotspots.total(True)
    shares = list(chain.from_iterable(passes))
    assert {(each.network, each.L, each.batch, each.repeats, each.threads) for each in shares} == {
        ("small", 4, 8, 2, 1)
    }
    for form, expected in (("plain", set(names.OPERATIONS)), ("fused", {"fused", "product"})):
        own = {each.operation: each.value for each in shares if each.form == form}
        assert set(own) == expected
        assert 0 < sum(own.values()) <= 100
        assert min(own.values()) >= 0
    assert len({(each.form, each.pass_s) for each in shares}) == 2


def test_shares_are_of_the_whole_pass() -> None:
    """A step that sleeps has nearly all of the pass, one that does nothing hardly any; seconds are of one pass."""

    def sleep(x: Tensor) -> Tensor:
        time.sleep(0.02)
        return x

    found = hotspots.profiled([Step("sleep", sleep), Step("nothing", lambda x: x)], torch.zeros(1), repeats=3)
    assert found.seconds >= 0.02
    assert found.shares["sleep"] > 50
    assert found.shares["nothing"] < 50


def test_convolutions_of_the_baseline_are_scalar() -> None:
    """The compiler did not turn the inner products into vector instructions, so "scalar" is what they are."""
    baseline.forward(CNN("small"), plain.random_spins(4, 1))
    for kernel in (baseline._conv2d, baseline._deconv):
        for ir in kernel.inspect_llvm().values():
            assert re.search(r"= fmul (float|double)", ir)
            assert not re.search(r"= fmul [a-z ]*<", ir)
