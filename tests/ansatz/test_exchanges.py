"""psi after exchanges from what they change, against the whole network: outputs, chains, local energies, bits."""

import pytest
import torch
from plain import lively, random_spins
from torch import Tensor

from qmcbench import local_energy, sampler
from qmcbench.ansatz import exchange_plan
from qmcbench.ansatz.base import Ansatz, Exchanges, exchanges
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.exchange_tiles import TiledExchanges
from qmcbench.ansatz.sign import MarshallSign
from qmcbench.ansatz.symmetry import C4
from qmcbench.ansatz.tiles import TiledNetwork
from qmcbench.hamiltonian import J1J2, exchange
from qmcbench.local_energy import local_energies
from qmcbench.reference.models import BlockSpec, ModelSpec
from qmcbench.sampler import Chains, Sampler

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture
def inference():
    """Without gradients, as everything that samples."""
    with torch.no_grad():
        yield


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan for every network and lattice, worth it or not."""
    monkeypatch.setattr(exchange_plan, "WORTH", -100.0)


def all_exchanges(spins: Tensor) -> tuple[Tensor, Tensor]:
    """Configuration and sites of every exchange of nearest and next-nearest neighbours."""
    hamiltonian = J1J2(spins.shape[-1], 0.5)
    row, bond = hamiltonian.antiparallel(spins).nonzero(as_tuple=True)
    return row, hamiltonian.bonds[bond]


def assert_same_outputs(network: CNN, spins: Tensor) -> None:
    """Outputs after every exchange, as a multiset, equal those of the whole network to 1e-12."""
    tiled = TiledNetwork(network.network(), spins.shape[-1])
    plan = exchange_plan.plan(tiled)
    assert plan is not None
    row, pairs = all_exchanges(spins)
    outputs, place = TiledExchanges(tiled, plan, spins).outputs(row, pairs)
    expected = tiled.outputs(exchange(spins, row, pairs))
    torch.testing.assert_close(outputs[place].sort(1).values, expected.sort(1).values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "L"), [("small", 10), ("small", 16), ("medium", 10), ("medium", 16), ("large", 8), ("large", 12)]
)
def test_outputs_are_those_of_the_whole_network(model: str, L: int) -> None:
    """On every bond, across the edges too, with two to four layers of which only the change is computed."""
    assert_same_outputs(lively(model), random_spins(L, 3))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("L", [4, 6, 8, 10])
@pytest.mark.parametrize("kernels", [(5, 5, 3), (3, 3, 5), (7, 3), (1, 3, 5)], ids=str)
def test_windows_may_close_around_the_lattice(kernels: tuple[int, ...], L: int) -> None:
    """Kernels of both forms in any order, and lattices that a window fills or meets itself on."""
    sizes = [4 + 2 * n for n in range(len(kernels))]
    blocks = [BlockSpec(size, size + 1, k) for size, k in zip(sizes, kernels, strict=True)]
    blocks[-1] = BlockSpec(sizes[-1], 1, kernels[-1])
    ins = [1, *(block.deconv for block in blocks[:-1])]
    count = sum(
        b.conv * (c * b.kernel**2 + 1) + b.deconv * (2 * b.conv + 1) for b, c in zip(blocks, ins, strict=True)
    )
    spec = ModelSpec("own", count, tuple(blocks), inferred=False)
    assert_same_outputs(CNN(spec, seed=3, dtype=torch.float64), random_spins(L, 4))


def test_four_by_four_takes_the_whole_network() -> None:
    """Where an exchange changes nearly everything, nothing is offered; nor on lattices without a gain."""
    assert exchanges(CNN("medium"), random_spins(4, 2)) is None
    assert exchanges(MarshallSign(C4(CNN("medium"))), random_spins(4, 2)) is None
    assert (
        exchanges(lambda spins: (spins.sum((1, 2)).double(), spins.sum((1, 2)).double()), random_spins(4, 2)) is None
    )


def wave_functions() -> list[Ansatz]:
    """With and without sign and symmetry, signs of the outputs mixed."""
    return [lively("small"), MarshallSign(lively("small")), C4(lively("small")), MarshallSign(C4(lively("small")))]


def offered(psi: Ansatz, spins: Tensor) -> Exchanges:
    found = exchanges(psi, spins)
    assert found is not None
    return found


@pytest.mark.parametrize("psi", wave_functions(), ids=["network", "sign", "C4", "sign of C4"])
def test_signs_and_rotations_follow(psi: Ansatz) -> None:
    """log|psi| and phase of every exchange on 10x10, before and after a row of accepted ones."""
    spins = random_spins(10, 4)
    found = offered(psi, spins)
    for round_ in range(4):
        row, pairs = all_exchanges(spins)
        log_psi, phase = found(row, pairs)
        expected_log, expected_phase = psi(exchange(spins, row, pairs))
        torch.testing.assert_close(log_psi, expected_log, rtol=1e-10, atol=1e-10)
        assert torch.equal(phase, expected_phase)
        # In three configurations an exchange is proposed, in two it is made.
        chosen = torch.stack([(row == each).nonzero()[17 * (round_ + 1) + each, 0] for each in (3, 0, 1)])
        found(row[chosen], pairs[chosen], remember=True)
        accepted = torch.tensor([True, False, True])
        found.accept(accepted)
        made = chosen[accepted]
        spins[row[made]] = exchange(spins, row[made], pairs[made])


def test_bits_depend_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone or among many, in a class of its own or with all others: the same bits, so ranks and batches agree."""
    network, spins = CNN("small", seed=1), random_spins(10, 12)
    row, pairs = all_exchanges(spins)
    log_psi, sign = offered(network, spins)(row, pairs)
    for together in (0, 10**9):
        monkeypatch.setattr(exchange_plan, "ENOUGH", together)
        some = torch.arange(0, len(row), 7)
        again_log, again_sign = offered(network, spins)(row[some], pairs[some])
        assert torch.equal(again_log, log_psi[some])
        assert torch.equal(again_sign, sign[some])


def test_chains_and_energies_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling and local energies with exchanges on offer and without: equal chains, and energies to 1e-10."""
    psi = MarshallSign(C4(lively("small")))
    # More configurations than may be remembered at once.
    monkeypatch.setattr(local_energy, "REMEMBERED", 5)
    found = []
    for ours in (exchanges, lambda psi, spins: None):
        monkeypatch.setattr(sampler, "exchanges", ours)
        monkeypatch.setattr(local_energy, "exchanges", ours)
        chains = Chains.neel(10, 12)
        sweep = Sampler(10, seed=5).advance(psi, chains, 30, 1.0)
        energies = local_energies(psi, J1J2(10, 0.5), chains.spins, sweep.log_psi, sweep.phase)
        found.append((chains.spins, sweep.acceptance, sweep.log_psi, energies))
    (spins, acceptance, log_psi, energies), (plain_spins, plain_acceptance, plain_log, plain_energies) = found
    assert 0.1 < acceptance == plain_acceptance < 1
    assert torch.equal(spins, plain_spins)
    torch.testing.assert_close(log_psi, plain_log, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(energies, plain_energies, rtol=1e-10, atol=1e-10)


def test_fewer_multiply_adds_on_larger_lattices() -> None:
    """What the plan counts: the operations of every class are fewer, by more the larger the lattice is."""
    network = CNN("large").network()
    parts = []
    for L in (8, 12, 16, 24):
        tiled = TiledNetwork(network, L)
        plan = exchange_plan.plan(tiled)
        assert plan is not None
        whole = sum(layer.weights.size for layer in tiled.layers) * L * L // 2
        counts = exchange_plan.multiply_adds(tiled, plan)
        assert max(counts) == counts[-1]
        parts.append(counts[-1] / whole)
    assert parts == sorted(parts, reverse=True)
    assert parts[0] < 0.9
    assert parts[-1] < 0.35
