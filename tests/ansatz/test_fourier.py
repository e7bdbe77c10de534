"""Fourier transforms and the network in Fourier space, against NumPy and the fused form."""

import copy
import itertools

import numpy as np
import pytest
import torch
from plain import lively, random_spins

from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast import fourier, fused
from qmcbench.ansatz.fast.codelets import frequencies, transformed, transposed
from qmcbench.ansatz.fast.fourier import FourierNetwork
from qmcbench.ansatz.fast.vector_code import Routines, Vectors, vectors
from qmcbench.bench.timing import fourier_multiply_adds
from qmcbench.errors import UserError


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 18, 36])
def test_transforms(n: int) -> None:
    """The sums of cosines and sines as they are defined, and the transposed map, for lengths of every kind."""
    own = vectors(8)

    def forth(code, x, z):
        for place, value in enumerate(transformed(code, [code.load(code.offset(x, j)) for j in range(n)])):
            code.store(value, code.offset(z, place))

    def back(code, x, z):
        for place, value in enumerate(transposed(code, [code.load(code.offset(x, j)) for j in range(n)])):
            code.store(value, code.offset(z, place))

    routines = Routines(own)
    routines.add("forth", 2, forth)
    routines.add("back", 2, back)
    compiled = routines.compiled()
    angles = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    parts = [np.cos(angles[0])]
    for k in range(1, n // 2 + 1):
        parts += [np.cos(angles[k]), np.sin(angles[k])] if 2 * k < n else [np.cos(angles[k])]
    matrix = np.array(parts)
    memory = np.zeros((2 * n + 1) * own.lanes)
    skip = -memory.ctypes.data % own.size // 8
    x, z = memory[skip : skip + 2 * n * own.lanes].reshape(2, n, own.lanes)
    for name, expected in (("forth", matrix), ("back", matrix.T)):
        x[:] = np.random.default_rng(n).normal(size=x.shape)
        compiled[name](x.ctypes.data, z.ctypes.data)
        np.testing.assert_allclose(z, expected @ x, atol=1e-13 * n)


@pytest.mark.parametrize("L", [4, 6, 10, 12, 18])
def test_frequencies_are_complete(L: int) -> None:
    """Each of the L^2 / 2 frequencies stands there once, a complex one for its conjugate too."""
    P, found = L // 2, []
    for each in frequencies(L, P):
        for row, column in each if each.real else {each.cosine}:
            found.append((row % L, column % P))
            if not each.real:
                found.append((-row % L, -column % P))
    assert sorted(found) == [(row, column) for row in range(L) for column in range(P)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("model", "L"), [("small", 12), ("medium", 14), ("large", 8), ("small", 18)])
@pytest.mark.parametrize(("size", "registers"), [(32, 16), (64, 32)])
def test_any_processor(model: str, L: int, dtype: torch.dtype, size: int, registers: int) -> None:
    """Short and few registers, or long and many, give the function of the fused form, whatever this processor has."""
    network, spins = lively(model, dtype=dtype), random_spins(L, 21)
    with torch.no_grad():
        form = network.network()
        found = FourierNetwork(form.layers, form.head, L, Vectors(dtype.itemsize, size, registers)).outputs(spins)
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, form.outputs(spins), rtol=0, atol=bound)


def test_any_configurations() -> None:
    """None at all, in another order of memory, or of another type."""
    network, spins = lively("small"), random_spins(6, 20)
    with torch.no_grad():
        assert network(spins[:0])[0].shape == (0,)
        turned = spins.rot90(1, (1, 2))
        assert not turned.is_contiguous()
        assert torch.equal(network(turned)[0], network(turned.contiguous())[0])
        assert torch.equal(network(spins.long())[0], network(spins)[0])


def test_configurations_that_do_not_fit() -> None:
    """One sentence instead of memory that is not ours."""
    network = lively("small")
    with torch.no_grad():
        with pytest.raises(UserError, match=r"\(batch, L, L\), not \(3, 4, 6\)"):
            network(torch.ones(3, 4, 6, dtype=torch.int8))
        for L in (2, 5, 38):
            with pytest.raises(UserError, match=f"L = {L}"):
                network(torch.ones(3, L, L, dtype=torch.int8))


def test_rounding_in_float32() -> None:
    """The largest error on the largest published lattice is that of a direct convolution, within a factor of two."""
    spins = random_spins(24, 16)
    with torch.no_grad():
        exact = lively("large").network().outputs(spins)
        single = lively("large", dtype=torch.float32).network()
        own = (single.outputs(spins) - exact).abs().max()
        with torch.enable_grad():
            direct = (single.outputs(spins) - exact).abs().max()
    assert 0 < own < 2 * direct


def test_a_result_does_not_depend_on_its_neighbours() -> None:
    """The same bits, whatever else is in the batch, in whichever lane and on whichever thread."""
    network, spins = lively("small", dtype=torch.float32), random_spins(6, 133)
    with torch.no_grad():
        together = network(spins)[0]
        for part in (slice(0, 1), slice(5, 22), slice(60, 133)):
            assert torch.equal(network(spins[part])[0], together[part])


def test_memory_of_a_copied_network_is_aligned() -> None:
    """Vectors want aligned memory, which a copy of an aligned array need not be."""
    network, spins = lively("small"), random_spins(4, 9)
    with torch.no_grad():
        expected = network(spins)[0]
        for _ in range(20):
            network = copy.deepcopy(network)
            assert torch.equal(network(spins)[0], expected)


@pytest.mark.parametrize(
    ("channels", "registers", "block"),
    [([32, 8, 16], 32, 4), ([16, 6], 32, 2), ([6, 6], 32, 3), ([3, 2], 32, 1), ([8], 16, 2)],
)
def test_block_size(channels: list[int], registers: int, block: int) -> None:
    """It divides every layer's channels, and its sums, three factors and a weight fit into the registers."""
    assert fourier.block_size(channels, Vectors(4, 64, registers)) == block
    assert 6 * block + 4 <= registers


def test_multiply_adds() -> None:
    """4x4 by hand: columns 0 and 1 (half a turn) have two real frequencies each, and one complex one."""
    network = lively("small")
    products = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in network.network().layers)
    assert fourier_multiply_adds(network, 4) == (2 * 2 + 2 * 3) * products + 4 * 2 * 2 * 6


def test_kernels_of_torch() -> None:
    """``kernels="torch"`` is the same function, without anything compiled."""
    network, spins = lively("small"), random_spins(6, 20)
    plain = CNN("small", dtype=torch.float64, kernels="torch")
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert not plain.network()._may_compile
        torch.testing.assert_close(plain(spins), network(spins), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("error", [RuntimeError("no targets\nare registered"), ImportError("libLLVM")], ids=repr)
def test_kernels_that_cannot_be_built(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning with the cause, then PyTorch's operations for the rest of the process, also for new parameters."""
    calls = []

    def broken(*arguments: object) -> None:
        calls.append(arguments)
        raise error

    monkeypatch.setattr(fourier, "compiled", broken)
    monkeypatch.setattr(fused, "_unavailable", [])
    network, spins = lively("small"), random_spins(6, 20)
    with torch.no_grad():
        with pytest.warns(RuntimeWarning, match=f'{type(error).__name__}: .*kernels = "torch"') as said:
            first = network(spins)
        assert len(said) == 1
        assert len(str(said[0].message).splitlines()) == 1
        for parameter in network.parameters():
            parameter.mul_(1.0 + 1e-13)
        again = network(spins)
        network(random_spins(4, 3))
    assert len(calls) == 1
    torch.testing.assert_close(again, first)


def test_memory_parts_do_not_overlap() -> None:
    """The parts of a tile's memory stand one behind the other and hold what the module's drawing says, in vectors."""
    plan = fourier.Plan(6, (8, 4), Vectors(4, 64, 32))
    memory, unit = plan.memory, 64
    sizes = [(end - start) // unit for start, end in itertools.pairwise(memory)]
    frequencies_of_grid, places, block = 6 * 3 // 2, 6 * 3, 4
    grid = frequencies_of_grid * (2 * 8 + 1)
    assert memory.inputs == 0
    assert sizes == [grid, grid, frequencies_of_grid * 2 * 2 * block, places, places, 36]
