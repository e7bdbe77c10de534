"""The timed workloads do what they claim to time; no time itself is judged."""

import pytest
import torch

from qmcbench.ansatz import CNN
from qmcbench.bench import timing


@pytest.mark.parametrize(("model", "per_site"), [("small", 2710), ("medium", 10032), ("large", 56928)])
def test_fused_multiply_adds(model: str, per_site: int) -> None:
    """The count that throughputs are stated with: no structural zeros, and the same per site on every lattice."""
    with torch.no_grad():
        network = CNN(model)
        assert {L: timing.fused_multiply_adds(network, L) for L in (4, 12)} == {4: 16 * per_site, 12: 144 * per_site}


def test_clock_sorts_and_does_not_count_the_warm_up() -> None:
    """Two calls more than repeats, times sorted."""
    calls = []
    times = timing.clock(lambda: calls.append(1), repeats=5)
    assert len(calls) == 7
    assert len(times) == 5
    assert times == sorted(times)


def test_forward_counts_its_operations() -> None:
    """Two for each fused multiply-add of the batch, which is what GF/s counts."""
    found = timing.forward("small", 4, 8)
    assert found.operations == 2 * 2710 * 16 * 8
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("solver", ["sample_space", "dense"])
def test_iteration_has_all_phases(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The four phases of one step, each done on the lattice and batch asked for."""
    monkeypatch.setattr(timing, "clock", lambda work, repeats: [float(work() is not None)] * repeats)
    rows = timing.iteration("small", 4, 0.5, 4, solver)
    assert [row.work for row in rows] == [
        "sampling (L*L proposals)",
        "local energy",
        "log-derivatives",
        f"SR solve ({solver})",
    ]
    assert {(row.L, row.batch, row.repeats) for row in rows} == {(4, 4, 5)}
