"""The network as the package evaluates it against the plain form of ``plain.py``, and its exact properties."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from plain import lively, log_psi, outputs, parameters_of, random_spins
from torch import Tensor

from qmcbench.ansatz.cnn import CNN
from qmcbench.reference import model_spec
from qmcbench.reference.models import BlockSpec, ModelSpec

MODELS = ("small", "medium", "large")
SIZES = (4, 6, 8, 10)


def own_layout(*blocks: tuple[int, int, int]) -> ModelSpec:
    """A layout of a user's own from (conv, deconv, kernel) of its blocks."""
    channels, count = 1, 0
    for conv, deconv, kernel in blocks:
        count += conv * (channels * kernel**2 + 1) + deconv * (2 * conv + 1)
        channels = deconv
    return ModelSpec("own", count, tuple(BlockSpec(*block) for block in blocks), inferred=False)


def assert_same_function(network: CNN, spins: Tensor) -> None:
    """Outputs (as a multiset), log|psi| and sign equal the plain form's to 1e-10."""
    with torch.no_grad():
        expected = outputs(network.spec, parameters_of(network), spins)
        expected_log, expected_sign = log_psi(network.spec, parameters_of(network), spins)
        got = network.network().outputs(spins)
        got_log, got_sign = network(spins)
    torch.testing.assert_close(got.sort(1).values, expected.sort(1).values, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got_log, expected_log, rtol=1e-10, atol=1e-10)
    assert torch.equal(got_sign, expected_sign)


@pytest.mark.parametrize(("model", "count"), [("small", 3531), ("medium", 16249), ("large", 106529)])
def test_parameter_count_is_the_published_one(model: str, count: int) -> None:
    """The paper's Table 1 counts, in the module and in the layout."""
    network = CNN(model)
    assert sum(p.numel() for p in network.parameters()) == count == network.spec.parameters


def test_parameters_have_the_names_of_the_authors_checkpoint() -> None:
    """blockN.conv and blockN.deconv, each weight before bias: the order of O and of checkpoints."""
    kinds = ("conv.weight", "conv.bias", "deconv.weight", "deconv.bias")
    assert list(CNN("small").state_dict()) == [f"block{n}.{kind}" for n in range(1, 7) for kind in kinds]


@pytest.mark.parametrize("L", SIZES)
@pytest.mark.parametrize("model", MODELS)
def test_fused_is_plain(model: str, L: int) -> None:
    """The form in Fourier space is the paper's network: same outputs, log|psi| and sign in float64, signs mixed."""
    network, spins = lively(model), random_spins(L, 6)
    assert_same_function(network, spins)
    with torch.no_grad():
        positive = network.network().outputs(spins) > 0
    assert positive.any()
    assert not positive.all()


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("model", MODELS)
def test_fused_with_gradients_is_plain(model: str, L: int) -> None:
    """The form that autograd follows is the same function, and its gradient is the plain form's."""
    network, spins = lively(model), random_spins(L, 3)
    ours, sign = network(spins)
    theirs, their_sign = log_psi(network.spec, parameters_of(network), spins)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert torch.equal(sign, their_sign)
    got = torch.autograd.grad(ours.sum(), list(network.parameters()))
    expected = torch.autograd.grad(theirs.sum(), list(network.parameters()))
    for mine, plain in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-8, atol=1e-8 * plain.abs().max().item())


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param([(3, 1, 5)], id="one-block"),
        pytest.param([(3, 2, 3), (2, 1, 3)], id="3-3"),
        pytest.param([(3, 2, 7), (2, 3, 5), (4, 1, 7)], id="7-5-7"),
        pytest.param([(3, 2, 5), (2, 1, 9)], id="5-9"),
        pytest.param([(3, 2, 5), (2, 1, 1)], id="5-1"),
        pytest.param([(3, 2, 1), (2, 1, 3)], id="1-3"),
    ],
)
def test_own_layouts(blocks: list[tuple[int, int, int]], L: int) -> None:
    """The fusion holds for every odd kernel and for channel counts that all differ, not only for the paper's."""
    assert_same_function(lively(own_layout(*blocks)), random_spins(L, 6))


def nudge(network: CNN) -> None:
    """In-place update, as an optimiser makes it."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)


def load(network: CNN) -> None:
    """Parameters of another network."""
    network.load_state_dict(lively("small", seed=9).state_dict())


def assign(network: CNN) -> None:
    """Parameters of another network, as new tensors."""
    network.load_state_dict(lively("small", seed=9).state_dict(), assign=True)


def nudge_data(network: CNN) -> None:
    """In place through ``.data``, as many hand-written optimisers do; torch does not count such a change."""
    for parameter in network.parameters():
        parameter.data.add_(0.01)


def nudge_vector(network: CNN) -> None:
    """In place through a flat vector that the parameters are views of; torch does not count it either."""
    vector = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    torch.nn.utils.vector_to_parameters(vector, network.parameters())
    network(random_spins(4, 1))
    vector += 0.01


def coarsen(network: CNN) -> None:
    """To float32 and back: the values are rounded."""
    network.float().double()


@pytest.mark.parametrize("change", [nudge, nudge_data, nudge_vector, load, assign, coarsen])
def test_new_parameters_are_seen(change: Callable[[CNN], None]) -> None:
    """However the parameters change, the next evaluation uses the new ones and not the fused kernels of the old."""
    network, spins = lively("small"), random_spins(4, 5)
    with torch.no_grad():
        before = network(spins)[0]
        change(network)
        assert not torch.equal(network(spins)[0], before)
    assert_same_function(network, spins)


def test_parameters_handed_in_from_outside_are_seen() -> None:
    """``functional_call`` without gradients evaluates the parameters it is given, each time.

    Its tensors are temporary, so a later set may sit at the addresses of an earlier one: central differences by
    ``functional_call`` must not come out as zero.
    """
    network, spins = lively("small"), random_spins(4, 5)

    def shifted(by: float) -> Tensor:
        moved = {name: p + by for name, p in network.named_parameters()}
        log_abs: Tensor = torch.func.functional_call(network, moved, (spins,))[0]
        return log_abs

    with torch.no_grad():
        for by in (0.01, -0.01, 0.02):
            moved = {name: p + by for name, p in network.named_parameters()}
            expected = log_psi(network.spec, moved, spins)[0]
            del moved
            torch.testing.assert_close(shifted(by), expected, rtol=1e-10, atol=1e-10)


def test_a_copy_is_independent() -> None:
    """A deep copy keeps its own parameters and its own fused kernels."""
    network, spins = lively("small"), random_spins(4, 5)
    with torch.no_grad():
        before = network(spins)[0]
        other = copy.deepcopy(network)
        nudge(network)
        assert torch.equal(other(spins)[0], before)
    assert_same_function(network, spins)
    assert_same_function(other, spins)


@pytest.mark.parametrize("scale", [1e3, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_overflow_at_36x36(scale: float, dtype: torch.dtype) -> None:
    """A product of 1296 factors that no floating-point number holds has a finite log|psi| and the right sign.

    The expected value is the exact sum (``math.fsum``) of the logarithms of the plain form's outputs.
    """
    network, spins = lively("small", dtype=dtype), random_spins(36, 2)
    with torch.no_grad():
        network.block6.deconv.weight.mul_(scale)
        network.block6.deconv.bias.mul_(scale)
        v = outputs(network.spec, parameters_of(network), spins)
        got, sign = network(spins)
    naive = v.double().prod(1)
    assert (naive.isinf() if scale > 1 else naive == 0).all(), "the test is pointless: the naive product fits"
    assert got.dtype == torch.float64
    for mine, mine_sign, row in zip(got.tolist(), sign.tolist(), v.tolist(), strict=True):
        expected = math.fsum(math.log(abs(value)) for value in row)
        assert mine == pytest.approx(expected, rel=1e-10 if dtype == torch.float64 else 1e-4)
        if dtype == torch.float64:
            assert mine_sign == (-1) ** sum(value < 0 for value in row)


def test_a_vanishing_output_is_a_vanishing_amplitude() -> None:
    """psi = 0 is (-inf, 0), without a warning or nan."""
    network = lively("small")
    with torch.no_grad():
        network.block6.deconv.weight.zero_()
        network.block6.deconv.bias.zero_()
        got, sign = network(random_spins(4, 3))
    assert torch.isneginf(got).all()
    assert not sign.any()


@pytest.mark.parametrize(
    ("model", "plain", "needed"), [("small", 3174, 2710), ("medium", 14640, 10032), ("large", 97888, 56928)]
)
def test_multiply_adds_per_site(model: str, plain: int, needed: int) -> None:
    """The fused layers need 1.17, 1.46 and 1.72 times fewer multiply-adds a site than the layers of the paper.

    Counted from the shapes: a fused kernel is applied once to each pair of sites (the gap form's extra column is left
    out). Only the first layer may hold structural zeros, in one of its six columns.
    """
    spec = model_spec(model)
    channels, layers = 1, 0
    for block in spec.blocks:
        layers += block.conv * channels * block.kernel**2 + block.conv * block.deconv
        channels = block.deconv
    network = lively(model).network()
    used = [int(layer.weight.count_nonzero()) for layer in (*network.layers, network.head)]
    executed = [layer.weight.numel() for layer in (*network.layers, network.head)]
    assert layers == plain
    assert sum(used) / 2 == needed
    assert used[1:] == executed[1:]
    assert used[0] >= executed[0] * 5 / 6


@pytest.mark.parametrize("L", [4, 6, 10])
@pytest.mark.parametrize("model", MODELS)
def test_translations(model: str, L: int) -> None:
    """Shifts by rows and by two columns leave psi as it is; a shift by one column, which splits pairs, does not."""
    network, spins = lively(model), random_spins(L, 5)
    with torch.no_grad():
        log_abs, sign = network(spins)
        for shift, dim in ((1, 1), (3, 1), (2, 2), (-2, 2)):
            moved, moved_sign = network(spins.roll(shift, dim))
            torch.testing.assert_close(moved, log_abs, rtol=0, atol=1e-10 * L * L)
            assert torch.equal(moved_sign, sign)
        assert ((network(spins.roll(1, 2))[0] - log_abs).abs() > 1e-3).all()


@pytest.mark.parametrize("L", [4, 10])
@pytest.mark.parametrize("model", MODELS)
def test_float32_is_close(model: str, L: int) -> None:
    """float32 moves log|psi| of a fresh network by less than 1e-4, whose spread over configurations is above 1e-2."""
    spins = random_spins(L, 50)
    with torch.no_grad():
        single, _ = CNN(model, seed=3)(spins)
        double, _ = CNN(model, seed=3, dtype=torch.float64)(spins)
    assert single.dtype == double.dtype == torch.float64
    assert (single - double).abs().max() < 1e-4
    assert (single - double).any()
    assert double.std() > 1e-2


def test_seed_makes_the_network() -> None:
    """The same seed gives the same parameters in every precision, another seed another network."""
    one, again, single, other = CNN("small", seed=4), CNN("small", seed=4), CNN("small", seed=4), CNN("small", seed=5)
    double = CNN("small", seed=4, dtype=torch.float64)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, again.state_dict()[name])
        assert torch.equal(parameter, double.state_dict()[name].float())
        if name != "block6.deconv.bias":
            assert not torch.equal(parameter, other.state_dict()[name])
    assert all(p.dtype == torch.float32 for p in single.parameters())


def test_seed_leaves_the_global_generator_alone() -> None:
    """Building a network twice around a draw from torch's global generator gives the same network."""
    torch.manual_seed(0)
    one = CNN("small", seed=4)
    torch.manual_seed(1)
    torch.rand(3)
    assert torch.equal(CNN("small", seed=4).block3.conv.weight, one.block3.conv.weight)


@pytest.mark.parametrize("model", MODELS)
def test_initial_parameters(model: str) -> None:
    """Weights fill Xavier's interval, biases +-5e-3, and the last bias is 1.

    The largest of n uniform numbers is below 90% of the bound with probability 0.9^n; only tensors of 100 are asked.
    """
    for name, parameter in CNN(model).named_parameters():
        if name == "block6.deconv.bias":
            assert parameter.item() == 1
            continue
        bound = 5e-3
        if name.endswith("weight"):
            window = parameter[0, 0].numel()
            bound = math.sqrt(6 / (window * (parameter.shape[0] + parameter.shape[1])))
        assert parameter.abs().max() <= bound * (1 + 1e-6)
        if parameter.numel() >= 100:
            assert parameter.max() > 0.9 * bound
            assert parameter.min() < -0.9 * bound
