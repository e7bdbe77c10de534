"""The cost model: its limits, what it counts against plain sums, and what it refuses."""

import math
from dataclasses import replace

import pytest

from qmcbench.errors import UserError
from qmcbench.reference import model_spec
from qmcbench.scaling.model import (
    LINEAR,
    NAMES,
    PHASES,
    SOLVERS,
    UNITS,
    Costs,
    bytes_per_process,
    counts,
    multiply_adds,
    seconds,
)
from qmcbench.store.scaling import Work

# Each cost another prime, so that none can stand in for another.
COSTS = Costs(2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0)
FREE = Costs(1e30, 1e30, 1e30, 1e30, 0.0, 1e30, 0.0, 0.0, 0.0)
"""A machine that does everything in no time."""
MESH = Work(3000, 500, 100)
CHAINS = Work(3531, 64, 4, L=6)


@pytest.mark.parametrize(("network", "expected"), [("small", 3174), ("medium", 14640), ("large", 97888)])
def test_multiply_adds_of_the_networks(network: str, expected: int) -> None:
    """Counted layer by layer, they are those of the design."""
    assert multiply_adds(model_spec(network).parameters) == expected


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_process_only_computes(solver: str) -> None:
    """On one process with nothing but a gemm rate, product and factorisation are their flops over that rate."""
    work, costs = Work(700, 90, 1), replace(FREE, gemm_rate=4.0)
    rows, inner = (700, 90) if solver == "covariance" else (90, 700)
    assert seconds("product", work, costs, solver) == pytest.approx(2 * rows**2 * inner / 4e9, rel=1e-12)
    assert seconds("factorisation", work, costs, solver) == pytest.approx(rows**3 / 3 / 4e9, rel=1e-12)


def test_one_process_sends_no_messages() -> None:
    """Neither panels of pdgemm nor messages: what P = 1 cannot have is not counted."""
    work = Work(700, 90, 1)
    for name in ("product_bandwidth", "panel_latency", "redistribution_latency"):
        slow = replace(FREE, **{name: 1e-9 if UNITS[name] == "GB/s" else 1e9})
        assert seconds("sr", work, slow) < 1e-12


def test_product_of_a_mesh_by_hand() -> None:
    """10 x 10 processes: 2 N_p^2 N_s / 100 flops; 9 of the 10 blocks of a row and of a column come from others."""
    own = 3000 * 500 / 100
    expected = 2 * 3000**2 * 500 / 100 / 3e9 + 8 * 2 * 9 * own / 5e9
    assert seconds("product", MESH, COSTS) == pytest.approx(expected, rel=1e-12)


def test_factorisation_of_a_mesh_by_hand() -> None:
    """N^3 / 3P flops, (2 + log2(P) / 2) N^2 / sqrt(P) words, log2 P stages."""
    words = (2 + math.log2(100) / 2) * 3000**2 / 10
    expected = 3000**3 / 300 / 3e9 + 8 * words / 7e9 + 11 * math.log2(100)
    assert seconds("factorisation", MESH, COSTS) == pytest.approx(expected, rel=1e-12)


def test_data_operations_by_hand() -> None:
    """A process's own log-derivatives once, and a message to each of the 99 others."""
    expected = 8 * 3000 * 5 / 13e9 + 99 * 17e-6
    assert seconds("data", MESH, COSTS) == pytest.approx(expected, rel=1e-12)


def test_monte_carlo_by_hand() -> None:
    """16 samples of 3 L^2 forwards, each of L^2 sites and 23 more."""
    forwards, site = 16 * 3 * 36, 2 * 3174 / 2e9 + 19e-6
    assert seconds("monte_carlo", CHAINS, COSTS) == pytest.approx(forwards * (36 + 23) * site, rel=1e-12)


def test_half_rate_sites() -> None:
    """A lattice of that many sites runs at half the rate of a very large one."""
    costs = replace(COSTS, half_rate_sites=36.0)

    def site_rate(L: int) -> float:
        work = replace(CHAINS, L=L)
        return L**4 / seconds("monte_carlo", work, costs)

    assert site_rate(6) / site_rate(6000) == pytest.approx(0.5, rel=1e-4)


def test_symmetry_and_samples_multiply_the_monte_carlo_time() -> None:
    """C4 takes four times as long, twice the samples twice; more processes for as many samples each, no longer."""
    plain = seconds("monte_carlo", CHAINS, COSTS)
    assert seconds("monte_carlo", replace(CHAINS, rotations=4), COSTS) == pytest.approx(4 * plain)
    assert seconds("monte_carlo", replace(CHAINS, samples=128), COSTS) == pytest.approx(2 * plain)
    assert seconds("monte_carlo", replace(CHAINS, samples=640, processes=40), COSTS) == pytest.approx(plain)


@pytest.mark.parametrize("name", LINEAR)
def test_a_cost_twice_as_good_halves_its_part(name: str) -> None:
    """Each cost has one part of the iteration, which halves when its rate doubles or its time halves."""
    work = Work(3531, 640, 100, L=6)
    others = seconds("iteration", work, replace(COSTS, **{name: getattr(FREE, name)}))
    part = seconds("iteration", work, COSTS) - others
    better = getattr(COSTS, name) * (2 if UNITS[name].endswith("/s") else 0.5)
    assert part > 1e-6
    assert seconds("iteration", work, replace(COSTS, **{name: better})) - others == pytest.approx(part / 2, rel=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_sums_are_sums(solver: str) -> None:
    """SR is its three phases, an iteration all four."""
    work = Work(3531, 640, 100, L=6)
    parts = [seconds(phase, work, COSTS, solver) for phase in PHASES]
    assert seconds("iteration", work, COSTS, solver) == pytest.approx(sum(parts), rel=1e-12)
    assert seconds("sr", work, COSTS, solver) == pytest.approx(sum(parts[1:]), rel=1e-12)


def test_sample_space_swaps_samples_and_parameters() -> None:
    """Its product and factorisation are those of the covariance with N_s and N_p exchanged."""
    swapped = Work(MESH.samples, MESH.parameters, MESH.processes)
    for phase in ("product", "factorisation"):
        assert counts(phase, MESH, "sample_space").plain == pytest.approx(dict(counts(phase, swapped).plain))


def test_sample_space_pays_to_come_back() -> None:
    """Its data operations are the covariance's and a product with a vector, whose result the mesh adds up."""
    extra = 2 * 3000 * 5 / 3e9 + 8 * 3000 / 10 * math.log2(100) / 2 / 5e9
    both = [seconds("data", MESH, COSTS, solver) for solver in SOLVERS]
    assert both[1] - both[0] == pytest.approx(extra, rel=1e-6)


def test_memory() -> None:
    """A process's part of the matrix and of the samples, in doubles."""
    assert bytes_per_process(MESH) == 8 * (3000**2 / 100 + 3000 * 5)
    assert bytes_per_process(MESH, "sample_space") == 8 * (500**2 / 100 + 3000 * 5)


def test_every_cost_has_a_unit_and_is_counted() -> None:
    """No cost is a dead letter: an iteration depends on all."""
    found = counts("iteration", Work(3531, 640, 100, L=6))
    assert set(found.plain) == set(LINEAR)
    assert set(found.padding) == {"cnn_rate", "site_overhead"}
    assert len(NAMES) <= 9
    assert all(UNITS[name] for name in NAMES)


@pytest.mark.parametrize("name", ["parameters", "samples", "processes", "L", "rotations"])
def test_nothing_is_not_work(name: str) -> None:
    """Zero of anything is refused by name."""
    with pytest.raises(UserError, match=f"{name} = 0: it must be at least 1"):
        counts("product", replace(CHAINS, **{name: 0}))


def test_monte_carlo_needs_a_lattice_and_a_known_network() -> None:
    """Else it says what is missing, or which networks there are."""
    with pytest.raises(UserError, match="depends on the lattice: give L"):
        counts("iteration", MESH)
    with pytest.raises(UserError, match=r"No network has 3000 parameters.*3531, 16249, 106529"):
        counts("monte_carlo", replace(MESH, L=6))
