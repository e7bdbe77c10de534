"""The paper's baseline computes the network, operation by operation, and what is timed is what it says."""

import re
import time
from contextlib import suppress
from typing import Any

import plain
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz import CNN
from qmcbench.bench import baseline, operations
from qmcbench.bench.operations import Step

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
    names = []
    for step, loop in pairs:
        assert step.operation == loop.operation
        batched, single = step.apply(batched), loop.apply(single)
        whole = batched[:, 0] if step.operation == "product" else batched[0]
        torch.testing.assert_close(torch.from_numpy(single), whole, rtol=1e-11, atol=1e-11)
        names.append(step.operation)
    assert len(names) == 37
    assert set(names) == set(operations.OPERATIONS)


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
    assert torch.equal(operations.run(steps, spins), torch.stack(network(spins)))


def test_speedups_have_a_row_for_each_operation_and_batch() -> None:
    """Every system, batch and operation once; the baseline's time of a batch is in proportion to its size."""
    counted: list[int] = []
    rows = baseline.speedups([("small", 4)], [2, 6], configurations=2, repeats=1, done=counted.append)
    expected = [(batch, name) for batch in (2, 6) for name in (*operations.OPERATIONS, "forward")]
    assert [(row.batch, row.operation) for row in rows] == expected
    assert counted == list(range(1, len(rows) + 1))
    for two, six in zip(rows[:7], rows[7:], strict=True):
        assert six.scalar_s == pytest.approx(3 * two.scalar_s)
    assert rows[0].speedup == rows[0].scalar_s / rows[0].all_cores_s


def test_a_wrong_baseline_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loops do not give the network's psi, there are no times."""
    monkeypatch.setattr(baseline.Loops, "max_pool", lambda self, x: x[..., ::2].copy())
    with pytest.raises(ArithmeticError, match="differ"):
        baseline.speedups([("small", 4)], [2], configurations=2, repeats=1)


def test_threads_are_restored() -> None:
    """Timings on one core leave the number of threads as it was, also after an error."""
    before = torch.get_num_threads()
    with suppress(RuntimeError), operations.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_hotspots_add_up() -> None:
    """Shares are in percent of the pass, the rest being "other"; after fusion there are two operations."""
    found = operations.hotspots("small", L=4, batch=8, repeats=2)
    plain_shares: dict[str, Any] = found["plain"]["share_percent"]
    assert set(plain_shares) == {*operations.OPERATIONS, "other"}
    assert set(found["fused"]["share_percent"]) == {"fused", "product", "other"}
    for part in (found["plain"], found["fused"]):
        assert part["seconds"] > 0
        assert sum(part["share_percent"].values()) == pytest.approx(100)
        assert min(part["share_percent"].values()) >= 0


def test_shares_are_of_the_whole_pass() -> None:
    """A step that sleeps has nearly all of the pass, one that does nothing hardly any; seconds are of one pass."""

    def sleep(x: Tensor) -> Tensor:
        time.sleep(0.02)
        return x

    found = operations.profiled([Step("sleep", sleep), Step("nothing", lambda x: x)], torch.zeros(1), repeats=3)
    assert found["seconds"] >= 0.02
    assert found["share_percent"]["sleep"] > 50
    assert found["share_percent"]["nothing"] < 50


def test_convolutions_of_the_baseline_are_scalar() -> None:
    """The compiler did not turn the inner products into vector instructions, so "scalar" is what they are."""
    baseline.forward(CNN("small"), plain.random_spins(4, 1))
    for kernel in (baseline._conv2d, baseline._deconv):
        for ir in kernel.inspect_llvm().values():
            assert re.search(r"= fmul (float|double)", ir)
            assert not re.search(r"= fmul [a-z ]*<", ir)
