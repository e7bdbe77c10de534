"""O_k = d log|psi| / d theta_k: the network's against finite differences and autograd, and any module's."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from plain import C4, lively, log_psi, parameters_of, random_spins
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.ansatz.fast import layerwise
from qmcbench.ansatz.sign import MarshallSign
from qmcbench.ansatz.symmetry import Projected
from qmcbench.errors import UserError
from qmcbench.reference.models import BlockSpec, ModelSpec

MODELS = ("small", "medium", "large")


class Machine(nn.Module):
    """A small wave function of a user's own with both signs, a buffer and parameters of several shapes."""

    def __init__(self, L: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(5, L * L, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(5, generator=generator, dtype=torch.float64))
        self.scale = nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
        self.register_buffer("offset", torch.tensor(0.3, dtype=torch.float64))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.scale * (spins.flatten(1).to(self.weight.dtype) @ self.weight.T + self.bias) + self.offset
        return hidden.abs().log().sum(1), hidden.sign().prod(1)


class Wrapped(nn.Module):
    """A module that holds another and has no ``log_derivatives`` of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.inner(spins)
        return result


class Parameterless(nn.Module):
    """A module with nothing to train."""

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        return uniform(spins)


def uniform(spins: Tensor) -> tuple[Tensor, Tensor]:
    """The wave function 1, as a plain function."""
    return torch.zeros(len(spins)), torch.ones(len(spins))


def by_autograd(module: nn.Module, spins: Tensor) -> Tensor:
    """d log|psi| / d theta one sample after another, through ``forward``."""
    rows = []
    for one in spins.split(1):
        asked = [parameter for parameter in module.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(module(one)[0].sum(), asked)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows)


def by_autograd_of_plain(network: CNN, spins: Tensor) -> Tensor:
    """The same through the plain form of ``plain.py``."""
    parameters: Mapping[str, Tensor] = parameters_of(network)
    rows = []
    for one in spins.split(1):
        gradients = torch.autograd.grad(log_psi(network.spec, parameters, one)[0].sum(), list(parameters.values()))
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows)


@torch.no_grad()
def assert_matches_differences(module: nn.Module, derivatives: Tensor, spins: Tensor) -> None:
    """O along a random direction of each parameter tensor equals the central difference of log|psi| along it.

    A direction mixes all entries of its tensor with random weights, so an error in any one of them shows. The step
    moves log|psi| by 1e-4: the difference is then off by 1e-8 of itself, in theory and by rounding.
    """
    generator, start = torch.Generator().manual_seed(3), 0
    for parameter in module.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        predicted = derivatives[:, start : start + parameter.numel()] @ direction.flatten()
        start += parameter.numel()
        step = 1e-4 / predicted.abs().max()
        kept = parameter.clone()
        ends = []
        for side in (1, -1):
            parameter.copy_(kept + side * step * direction)
            ends.append(module(spins)[0])
        parameter.copy_(kept)
        difference = (ends[0] - ends[1]) / (2 * step)
        assert (difference - predicted).abs().max() < 1e-6 * predicted.abs().max()
    assert start == derivatives.shape[1]


def assert_equal_rows(ours: Tensor, expected: Tensor, tolerance: float) -> None:
    """Every row agrees within ``tolerance`` of its own norm."""
    assert ours.shape == expected.shape
    assert ((ours - expected).norm(dim=1) <= tolerance * expected.norm(dim=1)).all()


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("model", MODELS)
def test_network_against_finite_differences(model: str, L: int) -> None:
    """Every parameter tensor's log-derivatives are what log|psi| does when the parameters move, in float64."""
    network, spins = lively(model), random_spins(L, 4)
    assert_matches_differences(network, network.log_derivatives(spins), spins)


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("model", MODELS)
def test_network_against_autograd_of_the_plain_form(model: str, L: int) -> None:
    """All entries equal those that autograd finds through the plain network, to 1e-9 of each row."""
    network, spins = lively(model), random_spins(L, 4)
    assert_equal_rows(network.log_derivatives(spins), by_autograd_of_plain(network, spins), 1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_network_in_float32(model: str) -> None:
    """float32 log-derivatives of a fresh network are the float64 ones to 1e-3 of each row, and stay float32."""
    spins = random_spins(6, 20)
    single = CNN(model).log_derivatives(spins)
    assert single.dtype == torch.float32
    assert_equal_rows(single.double(), CNN(model, dtype=torch.float64).log_derivatives(spins), 1e-3)


@pytest.mark.parametrize("wrap", [lambda psi: psi, C4], ids=["alone", "C4"])
def test_chunks_do_not_matter(wrap: Callable[[CNN], CNN | Projected], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compiled kernels, samples in cache-sized chunks, the last one shorter, give what one chunk gives."""
    network, spins = lively("small"), random_spins(4, 7)
    network.kernels = "torch"
    psi = wrap(network)
    expected = psi.log_derivatives(spins)
    whole, calls = layerwise.log_derivatives, []

    def counted(*arguments: Any) -> None:
        calls.append(arguments)
        whole(*arguments)

    monkeypatch.setattr(layerwise, "log_derivatives", counted)
    kept = layerwise.kept_numbers(lively("small").blocks(), images=1, L=4)
    monkeypatch.setattr(layerwise, "CHUNK_NUMBERS", 3 * kept)
    assert_equal_rows(psi.log_derivatives(spins), expected, 1e-12)
    assert len(calls) > 2


def test_parameters_and_graph_are_left_alone() -> None:
    """Log-derivatives leave no gradients behind and follow a change of the parameters."""
    network, spins = lively("small"), random_spins(4, 3)
    before = network.log_derivatives(spins)
    assert not before.requires_grad
    assert all(p.grad is None for p in network.parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    assert_equal_rows(network.log_derivatives(spins), by_autograd_of_plain(network, spins), 1e-9)


def test_wrong_parameter_count_of_an_own_layout() -> None:
    """A layout whose stated count is not its own must not yield uninitialised columns: refused, or counted anew."""
    spec = ModelSpec("own", 1000, (BlockSpec(conv=3, deconv=1, kernel=3),), inferred=False)
    try:
        network = CNN(spec)
    except UserError:
        return
    count = sum(p.numel() for p in network.parameters())
    assert network.log_derivatives(random_spins(4, 2)).shape == (2, count)


@pytest.mark.parametrize("chunk", [1, 4, 256])
@pytest.mark.parametrize(
    "module",
    [
        pytest.param(Machine(), id="module"),
        pytest.param(Wrapped(Machine()), id="nested-module"),
        pytest.param(Wrapped(MarshallSign(Machine())), id="own-sign"),
        pytest.param(Wrapped(C4(Machine())), id="own-C4"),
        pytest.param(MarshallSign(Machine()), id="sign"),
        pytest.param(C4(Machine()), id="C4"),
        pytest.param(C4(MarshallSign(Machine())), id="C4-of-sign"),
    ],
)
def test_any_module(module: nn.Module, chunk: int) -> None:
    """A user's module, alone or in the package's wrappers, gets what autograd finds sample by sample."""
    spins = random_spins(4, 9)
    assert isinstance(module, Ansatz)
    derivatives = log_derivatives(module, spins, chunk=chunk)
    assert not derivatives.requires_grad
    assert_equal_rows(derivatives, by_autograd(module, spins), 1e-10)


def test_scalar_parameters() -> None:
    """A parameter without dimensions, such as a temperature, is one column like any other."""

    class Scalar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
            return self.factor * spins[:, 0, 0], torch.ones(len(spins))

    spins = random_spins(4, 5)
    assert torch.equal(log_derivatives(Scalar(), spins), spins[:, :1, 0].double())


def test_own_log_derivatives_are_used() -> None:
    """A module that knows its log-derivatives is asked for them."""

    class Knowing(Machine):
        def log_derivatives(self, spins: Tensor) -> Tensor:
            return torch.full((len(spins), 86), 7.0)

    assert torch.equal(log_derivatives(Knowing(), random_spins(4, 3)), torch.full((3, 86), 7.0))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        pytest.param((3, 2), torch.float64, r"\(3, 2\), but 86 parameters ask for gradients", id="too-few"),
        pytest.param((3,), torch.float64, r"\(3,\), but 86 parameters", id="one-number-each"),
    ],
)
def test_own_log_derivatives_that_do_not_fit(shape: tuple[int, ...], dtype: torch.dtype, message: str) -> None:
    """What a module calls its log-derivatives must be real, one for each parameter that is trained."""

    class Wrong(Machine):
        def log_derivatives(self, spins: Tensor) -> Tensor:
            return torch.zeros(shape, dtype=dtype)

    with pytest.raises(UserError, match=f"Wrong.log_derivatives gives .*{message}"):
        log_derivatives(Wrong(), random_spins(4, 3))


@pytest.mark.parametrize("frozen", [("weight",), ("bias", "scale")], ids=["first", "last"])
def test_frozen_parameters_of_any_module(frozen: tuple[str, ...]) -> None:
    """Log-derivatives are those of the parameters that ask for gradients, in order, and no others."""
    module, spins = Machine(), random_spins(4, 5)
    every = log_derivatives(module, spins).split([p.numel() for p in module.parameters()], dim=1)
    kept = [part for part, (name, _) in zip(every, module.named_parameters(), strict=True) if name not in frozen]
    for name in frozen:
        getattr(module, name).requires_grad_(False)
    for psi in (module, MarshallSign(module)):
        assert torch.equal(log_derivatives(psi, spins), torch.cat(kept, dim=1))
    assert_equal_rows(log_derivatives(C4(module), spins), by_autograd(C4(module), spins), 1e-10)


@pytest.mark.parametrize("wrap", [lambda psi: psi, C4], ids=["alone", "C4"])
def test_frozen_blocks_of_the_network(wrap: Callable[[CNN], CNN | Projected]) -> None:
    """A frozen block of the network has no columns either."""
    psi, spins = wrap(lively("small")), random_spins(4, 5)
    every = log_derivatives(psi, spins).split([p.numel() for p in psi.parameters()], dim=1)
    for name, parameter in psi.named_parameters():
        parameter.requires_grad_("block2" not in name)
    kept = [part for part, p in zip(every, psi.parameters(), strict=True) if p.requires_grad]
    assert len(kept) == len(every) - 4
    assert torch.equal(log_derivatives(psi, spins), torch.cat(kept, dim=1))


@pytest.mark.parametrize(
    ("psi", "name"),
    [
        pytest.param(uniform, "function", id="function"),
        pytest.param(Parameterless(), "Parameterless", id="module"),
        pytest.param(MarshallSign(uniform), "function", id="sign-of-function"),
        pytest.param(C4(uniform), "function", id="C4-of-function"),
    ],
)
def test_nothing_to_train_is_refused(psi: Ansatz, name: str) -> None:
    """What has no parameters cannot be trained, and the message names it."""
    with pytest.raises(UserError, match=f"{name} has no parameters"):
        log_derivatives(psi, random_spins(4, 2))


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("model", ["small", "large"])
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda cnn: MarshallSign(C4(cnn)), id="sign-of-C4"),
        pytest.param(lambda cnn: C4(MarshallSign(cnn)), id="C4-of-sign"),
    ],
)
def test_c4_against_finite_differences(wrap: Callable[[CNN], MarshallSign | Projected], model: str, L: int) -> None:
    """The log-derivatives of the symmetrised network are what its log|psi| does when the parameters move."""
    psi, spins = wrap(lively(model)), random_spins(L, 4)
    assert_matches_differences(psi, psi.log_derivatives(spins), spins)


@pytest.mark.parametrize("model", MODELS)
def test_c4_against_autograd(model: str) -> None:
    """All entries equal those that autograd finds through the sum over rotations, to 1e-9 of each row."""
    psi, spins = C4(lively(model)), random_spins(6, 4)
    assert_equal_rows(psi.log_derivatives(spins), by_autograd(psi, spins), 1e-9)


def test_c4_derivatives_are_invariant() -> None:
    """Turned configurations have the same log-derivatives."""
    psi, spins = C4(lively("small")), random_spins(6, 5)
    assert_equal_rows(psi.log_derivatives(spins.rot90(1, (1, 2))), psi.log_derivatives(spins), 1e-9)
