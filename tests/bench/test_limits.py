"""The roofline: what is counted is what an independent count gives, and each row follows from its own numbers."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import pytest
import torch
from helpers.benches import origin
from scipy.sparse import csr_matrix
from torch import Tensor

from qmcbench.ansatz import CNN
from qmcbench.ansatz.fast.gradient_plan import gradient_plan
from qmcbench.bench import limits, roofline, suite
from qmcbench.bench.timing import fourier_multiply_adds
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import random_configurations
from qmcbench.local_energy import local_energies
from qmcbench.reference import model_spec
from qmcbench.sampler import Chains, Sampler
from qmcbench.store.bench import Rate, WorkTime
from qmcbench.store.records import Run

PARAMETERS = 3531


def forward(L: int) -> int:
    """Operations of one forward pass of the small network; they are counted by hand in test_fourier."""
    return 2 * fourier_multiply_adds(CNN("small"), L)


class Recorder:
    """A wave function that is 1 everywhere and keeps the configurations it is asked for."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(spins)
        return torch.zeros(len(spins), dtype=torch.float64), torch.ones(len(spins), dtype=torch.float64)


def test_a_forward_pass_reads_spins_and_weights_once() -> None:
    """int8 spins and float32 parameters in, log|psi| and phase in float64 out."""
    assert limits.cost("forward", "small", 6, 3) == (forward(6) * 3, 3 * 36 + 4 * PARAMETERS + 3 * 16)


def test_every_proposal_of_a_sweep_is_counted() -> None:
    """As many forward passes as the sampler asks for in L * L proposals; spins in and out."""
    psi = Recorder()
    Sampler(6, 0).advance(psi, Chains.neel(6, 5), 36, 1.0)
    counted = limits.cost("sweep", "small", 6, 5)
    assert counted.flops == forward(6) * sum(map(len, psi.seen))
    assert counted.bytes == 2 * 5 * 36 + 4 * PARAMETERS + 5 * 16


def test_connected_configurations(
    matrix: Callable[[float], csr_matrix], position: Callable[[Tensor], Tensor]
) -> None:
    """As many as QuSpin's Hamiltonian has off-diagonal elements in the rows of the configurations that are timed."""
    rows = matrix(suite.J2)[position(random_configurations(4, 20)).numpy()].tocoo()
    own = position(random_configurations(4, 20)).numpy()
    connected = int(((rows.col != own[rows.row]) & (rows.data != 0)).sum())
    counted = limits.cost("local_energy", "small", 4, 20)
    assert counted.flops == forward(4) * connected
    assert counted.bytes == 20 * 16 + 4 * PARAMETERS + 20 * (16 + 8)


def test_local_energies_evaluate_what_is_counted() -> None:
    """Every evaluated configuration counts but those that fill up the last buffer."""
    psi, spins = Recorder(), random_configurations(6, 7)
    local_energies(psi, J1J2(6, suite.J2), spins, *Recorder()(spins), buffer=1)
    assert limits.cost("local_energy", "small", 6, 7).flops == forward(6) * len(psi.seen)


def test_log_derivatives_count_the_compiled_products() -> None:
    """Those of one image (counted as they run in test_fourier_derivatives); the matrix O out."""
    network = CNN("small")
    counted = limits.cost("log_derivatives", "small", 4, 3)
    assert counted.flops == 2 * 3 * gradient_plan(network.blocks(), 1, 4).multiply_adds(1)
    assert counted.bytes == 3 * 4 * 4 + 4 * network.spec.parameters * (1 + 3)


def loops(order: int, inner: int) -> int:
    """Multiply-adds, one by one, of a lower triangle of X X^T, its Cholesky factor, two triangles and X^T y."""
    triangle = [(i, j) for i in range(order) for j in range(i + 1)]
    gram = sum(1 for _ in triangle for _ in range(inner))
    factor = sum(1 for _, j in triangle for _ in range(j))
    return gram + factor + 2 * len(triangle) + order * inner


@pytest.mark.parametrize(("solver", "samples"), [("sample_space", 40), ("dense", 2)])
def test_solve_counts_one_triangle(solver: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operations for each multiply-add of the loops, up to order N^2; float32 samples, the rest float64."""
    spec = type("Spec", (), {"parameters": 60})
    monkeypatch.setattr(limits, "model_spec", lambda model: spec)
    order, inner = (samples, 60) if solver == "sample_space" else (60, samples)
    counted = limits.solve_cost(solver, "small", samples)
    assert abs(counted.flops - 2 * loops(order, inner)) <= 2 * order**2
    assert counted.bytes == 4 * samples * 60 + 8 * samples + 8 * 60


def test_solves_of_the_paper_networks() -> None:
    """N (N + 1) n + N^3 / 3 is nearly all of a solve, in the smaller of the two spaces N."""
    samples, parameters = 1024, model_spec("medium").parameters
    assert limits.solve_cost("sample_space", "medium", samples).flops == pytest.approx(
        samples * (samples + 1) * parameters + samples**3 / 3, rel=0.01
    )


def test_roof_is_the_lower_of_the_two() -> None:
    """Few operations a byte: the memory; many: the arithmetic; they meet at the ratio of the rates."""
    assert roofline.attainable(2.0, gemm=100.0, copy=10.0) == (20.0, "memory")
    assert roofline.attainable(50.0, gemm=100.0, copy=10.0) == (100.0, "arithmetic")
    assert roofline.attainable(10.0, gemm=100.0, copy=10.0) == (100.0, "arithmetic")


@pytest.mark.parametrize("clocked", [0.5, 2.0])
def test_copy_counts_both_directions(clocked: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """GB/s of the fastest copy, bytes read and bytes written; what is timed really copies."""
    copied = []

    def clock(work: Callable[[], object], repeats: int) -> list[float]:
        copied.append(work())
        return [clocked] * repeats

    monkeypatch.setattr(limits, "clock", clock)
    assert limits.copy_rate(1000, 2) == pytest.approx(2e-6 / clocked)
    (target,) = copied
    assert isinstance(target, Tensor)
    assert (target == 1).all()


def test_quick_measurement() -> None:
    """All phases and solvers, every number finite and positive, rows that follow from their own numbers."""
    found = list(chain.from_iterable(limits.measure(True)))
    assert len(found) == limits.total(quick=True)
    assert {each.threads for each in found} == {torch.get_num_threads()}
    rates = roofline.rates(Run(job="bench limits", provenance=origin("limits"), records=tuple(found)))
    sizes = limits.QUICK
    assert {name: (rate.unit, rate.size) for name, rate in rates.items()} == {
        "sgemm": ("GF/s", sizes.gemm),
        "dgemm": ("GF/s", sizes.gemm),
        "bf16 gemm": ("GF/s", sizes.bf16),
        "copy": ("GB/s", sizes.copy_bytes),
    }
    phases = [each for each in found if isinstance(each, WorkTime)]
    assert {(each.network, each.L) for each in phases} == {("small", 4)}
    assert [(each.work, each.form, each.dtype) for each in phases] == [
        *((phase, "", "float32") for phase in ("forward", "sweep", "local_energy", "log_derivatives")),
        ("solve", "sample_space", "float64"),
        ("solve", "dense", "float64"),
    ]
    assert all(0 < each.value < math.inf for each in found)
    for each in phases:
        assert each.operations is not None
        assert each.traffic is not None
        assert each.low is not None
        assert each.high is not None
        assert each.low <= each.value <= each.high
        assert each.GFs == pytest.approx(each.operations / each.value / 1e9)
        gemm = rates["sgemm" if each.dtype == "float32" else "dgemm"].value
        roof = roofline.roof(each, rates)
        assert roof is not None
        assert roof.GFs == pytest.approx(min(gemm, each.operations / each.traffic * rates["copy"].value))
        assert (roof.bound == "arithmetic") == (roof.GFs == gemm)


def test_no_roof_without_counts_or_rates() -> None:
    """What is not known bounds nothing."""
    known = {"sgemm": Rate(value=9.0, operation="sgemm"), "copy": Rate(value=2.0, unit="GB/s", operation="copy")}
    work = WorkTime(work="w", network="small", L=4, batch=1, value=1.0, operations=8.0, traffic=2.0)
    assert roofline.roof(work, known) == (8.0, "memory")
    assert roofline.roof(replace(work, dtype="float64"), known) is None
    assert roofline.roof(replace(work, traffic=None), known) is None
    assert roofline.roof(work, {"sgemm": known["sgemm"]}) is None


def test_full_measurement_covers_the_issue() -> None:
    """The networks and sizes that are reported; as many steps as the progress bar is told."""
    assert limits.total(quick=False) == 4 + len(limits.FULL.phases) + len(limits.FULL.solves) == 16
    asked = {
        ("forward", "large", 12, 256),
        ("forward", "medium", 10, 1024),
        ("forward", "large", 10, 256),
        *((phase, "medium", 10, 1024) for phase in ("sweep", "local_energy", "log_derivatives")),
        *((phase, "large", 10, 256) for phase in ("sweep", "local_energy", "log_derivatives")),
    }
    assert set(limits.FULL.phases) == asked
    solves = {(solver, model_spec(model).parameters, samples) for solver, model, _, samples in limits.FULL.solves}
    assert solves == {("sample_space", 16249, 1024), ("sample_space", 106529, 1024), ("dense", 3531, 2560)}
