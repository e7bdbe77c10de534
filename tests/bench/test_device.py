"""The measurements that are meant for a GPU, done on the CPU."""

from itertools import chain

import pytest
import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench import device, timing
from qmcbench.errors import UserError
from qmcbench.store.bench import Rate, SamplingRate, WorkTime


def test_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system has all three, and rates belong to the seconds and sizes beside them."""
    found = list(device.measure(True, "cpu"))
    assert len(found) == device.total(True) == 4
    sgemm, forward, sampling, iteration = chain.from_iterable(found)
    size = device.QUICK.systems[0]
    assert isinstance(sgemm, Rate)
    assert (sgemm.operation, sgemm.size, sgemm.device) == ("sgemm", device.QUICK.gemm, "cpu")
    assert isinstance(forward, WorkTime)
    assert (forward.work, forward.network, forward.L, forward.batch) == ("forward", size.network, size.L, size.batch)
    flops = 2 * timing.fused_multiply_adds(CNN("small"), 4) * 16
    assert forward.GFs == pytest.approx(flops / forward.value / 1e9)
    assert isinstance(iteration, WorkTime)
    assert (iteration.work, iteration.batch, iteration.operations) == ("iteration", size.chains, None)
    assert isinstance(sampling, SamplingRate)
    assert (sampling.chains, sampling.proposals, sampling.symmetry) == (size.chains, 16, "C4")
    monkeypatch.setattr(device, "_seconds", lambda where, work: (work(), [4.0, 2.0, 8.0])[1])
    _, *rest = chain.from_iterable(device.measure(True, "cpu"))
    assert [(each.value, each.low, each.high) for each in rest] == [  # type: ignore[attr-defined]  # of these three
        (4.0, 2.0, 8.0), (8 / 4.0, 8 / 8.0, 8 / 2.0), (4.0, 2.0, 8.0)
    ]  # fmt: skip


def test_full_sizes_are_those_that_a_gpu_is_for() -> None:
    """The large network on 10x10, 16x16 and 24x24."""
    assert [(size.network, size.L) for size in device.FULL.systems] == [("large", 10), ("large", 16), ("large", 24)]


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence before anything is measured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"finds no CUDA device; .* --device cpu --quick"):
        list(device.measure(False, "cuda:1"))
    with pytest.raises(UserError, match="--device tpu is neither"):
        device.check("tpu")
    device.check("cpu")
