"""The measurements that are meant for a GPU, done on the CPU."""

import pytest
import torch

from qmcbench.ansatz.cnn import CNN
from qmcbench.bench import device, timing
from qmcbench.errors import UserError


def test_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system has all three, and rates belong to the seconds and sizes beside them."""
    counted: list[int] = []
    found = device.measure("cpu", quick=True, done=counted.append)
    assert counted == [1, 2, 3]
    assert device.total(True) == 3
    (row,) = found["rows"]
    assert (row["network"], row["L"], row["batch"], row["chains"]) == device.QUICK.systems[0]
    flops = 2 * timing.fused_multiply_adds(CNN("small"), 4) * 16
    assert row["GFs"] == pytest.approx(flops / row["forward_s"] / 1e9)
    assert row["fraction_of_sgemm"] == pytest.approx(row["GFs"] / found["sgemm_GFs"])
    monkeypatch.setattr(device, "_seconds", lambda where, work: (work(), [4.0])[1])
    (row,) = device.measure("cpu", quick=True)["rows"]
    assert (row["forward_s"], row["samples_per_second"], row["iteration_s"]) == (4.0, 8 / 4.0, 4.0)


def test_full_sizes_are_those_that_a_gpu_is_for() -> None:
    """The large network on 10x10, 16x16 and 24x24."""
    assert [(size.network, size.L) for size in device.FULL.systems] == [("large", 10), ("large", 16), ("large", 24)]


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence before anything is measured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"finds no CUDA device; .* --device cpu --quick"):
        device.measure("cuda:1")
    with pytest.raises(UserError, match="--device tpu is neither"):
        device.check("tpu")
    device.check("cpu")
