"""Compiled log-derivatives against autograd and the layer-by-layer ones; what is counted of them, as they run."""

import ctypes
import warnings
from functools import cache
from typing import Any

import pytest
import torch
from plain import lively, log_psi, parameters_of, random_spins
from torch import Tensor

from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast import fused, gradient_plan, gradient_tile, layerwise
from qmcbench.ansatz.fast.fourier_derivatives import FourierDerivatives
from qmcbench.ansatz.fast.vector_code import INTEGER, POINTER, VectorCode, Vectors
from qmcbench.reference.models import BlockSpec, ModelSpec


def own_layout(*blocks: tuple[int, int, int]) -> ModelSpec:
    """A layout of (convolution's channels, channels handed on, kernel) of each block."""
    read, count = 1, 0
    for conv, deconv, kernel in blocks:
        count += (read * kernel**2 + 1) * conv + (2 * conv + 1) * deconv
        read = deconv
    return ModelSpec("own", count, tuple(BlockSpec(*block) for block in blocks), inferred=False)


LAYOUTS = {
    "one-block": own_layout((3, 1, 3)),
    "odd-channels": own_layout((5, 3, 1), (3, 7, 5), (7, 1, 3)),
    "wide-kernel": own_layout((2, 2, 5), (4, 1, 7)),
}


def by_autograd(network: CNN, spins: Tensor, shares: Tensor) -> Tensor:
    """The shares' sum of every image's gradient through the plain form, one image after another."""
    parameters, rows = parameters_of(network), []
    for images, weights in zip(spins, shares, strict=True):
        total = (weights * log_psi(network.spec, parameters, images)[0]).sum()
        gradients = torch.autograd.grad(total, list(parameters.values()))
        rows.append(torch.cat([each.flatten() for each in gradients]))
    return torch.stack(rows)


def workload(L: int, batch: int, images: int) -> tuple[Tensor, Tensor]:
    """Configurations, and shares of both signs, as sectors with the character -1 have them."""
    shares = torch.randn(batch, images, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return random_spins(L, batch * images).view(batch, images, L, L), shares


def compiled(network: CNN, spins: Tensor, shares: Tensor, machine: Vectors | None = None) -> Tensor:
    """The same, compiled; written over numbers that are none."""
    with torch.no_grad():
        form = network.network()
        out = torch.full((len(spins), network.spec.parameters), torch.nan, dtype=form.head.weight.dtype)
        blocks = network.blocks()
        FourierDerivatives(blocks, (form.layers, form.head), *spins.shape[1:3], machine).write(spins, shares, out)
    return out


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest of all rows, as a part of the row's norm."""
    assert found.shape == expected.shape
    return ((found - expected).norm(dim=1) / expected.norm(dim=1)).max().item()


@pytest.mark.parametrize(("L", "batch", "images"), [(4, 9, 1), (6, 3, 5)])
@pytest.mark.parametrize("layout", [*LAYOUTS, "small", "medium"])
def test_against_autograd(layout: str, L: int, batch: int, images: int) -> None:
    """Every parameter's derivative of every sample, in float64, for odd shapes, full and unfilled vectors."""
    network = lively(LAYOUTS.get(layout, layout))
    spins, shares = workload(L, batch, images)
    assert distance(compiled(network, spins, shares), by_autograd(network, spins, shares)) < 1e-9


def test_large_lattices() -> None:
    """The layer-by-layer form on 12x12, whose rows have an even number of pairs."""
    network, (spins, shares) = lively("small"), workload(12, 2, 2)
    expected = torch.empty(2, network.spec.parameters, dtype=torch.float64)
    with torch.no_grad():
        layerwise.log_derivatives(network.blocks(), spins, shares, expected)
    assert distance(compiled(network, spins, shares), expected) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("size", "registers"), [(32, 16), (64, 32)], ids=["short", "long"])
def test_any_processor(size: int, registers: int, dtype: torch.dtype) -> None:
    """Short and few registers, or long and many; in float32 no worse than layer by layer, but for a factor of two."""
    exact, network = (CNN("small", dtype=each) for each in (torch.float64, dtype))
    spins, shares = workload(6, 35, 4)
    expected = by_autograd(exact, spins, shares)
    found = compiled(network, spins, shares, Vectors(dtype.itemsize, size, registers))
    by_layers = torch.empty_like(found)
    with torch.no_grad():
        layerwise.log_derivatives(network.blocks(), spins, shares, by_layers)
    assert distance(found.double(), expected) < 2 * distance(by_layers.double(), expected) + 1e-11


@pytest.mark.parametrize("images", [1, 5, 8])
def test_groups_of_images(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that do not fit into the cache come in groups, the last one smaller, and nothing is lost."""
    network, (spins, shares) = lively("small"), workload(4, 3, images)
    expected = compiled(network, spins, shares)
    each = gradient_plan.gradient_plan(network.blocks(), 1, 4).memory_of_image()
    monkeypatch.setattr(gradient_plan, "GROUP_BYTES", 3 * each)
    plan = gradient_plan.gradient_plan(network.blocks(), images, 4)
    assert plan.group == {1: 1, 5: 3, 8: 3}[images]
    assert distance(compiled(network, spins, shares), expected) < 1e-12


def test_an_output_that_vanishes() -> None:
    """psi = 0 of one sample gives nothing finite there, which the trainer sees, and leaves its neighbours alone."""
    network, (spins, shares) = lively("small"), workload(4, 6, 1)
    expected = compiled(network, spins, shares)
    shares[2] = torch.inf
    found = compiled(network, spins, shares)
    assert not found[2].sum().isfinite()
    others = torch.arange(6) != 2
    assert torch.equal(found[others], expected[others])


def test_kernels_of_torch_and_broken_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """``kernels="torch"`` compiles nothing; what cannot be compiled is one warning, and then the same numbers."""
    network, spins = lively("small"), random_spins(4, 7)
    expected = network.log_derivatives(spins)
    plain = CNN("small", dtype=torch.float64, kernels="torch")
    plain.load_state_dict(network.state_dict())

    def broken(plan: object) -> None:
        raise RuntimeError("no targets")

    monkeypatch.setattr("qmcbench.ansatz.fast.fourier_derivatives.compiled", broken)
    monkeypatch.setattr(fused, "_unavailable", [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distance(plain.log_derivatives(spins), expected) < 1e-9
    with pytest.warns(RuntimeWarning, match="no targets"):
        assert distance(network.log_derivatives(spins), expected) < 1e-9


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("layout", ["odd-channels", "small"])
def test_multiply_adds(layout: str, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are counted while a tile runs, but for those of transforms."""
    counter, real, total = ctypes.c_int64(0), VectorCode.multiply_add, VectorCode.sum

    def counted(self: VectorCode, a: Any, b: Any, c: Any) -> Any:
        place = INTEGER(ctypes.addressof(counter)).inttoptr(POINTER)
        self.builder.store(self.builder.add(self.builder.load(place, typ=INTEGER), INTEGER(1)), place)
        return real(self, a, b, c)

    def transform(self: VectorCode, terms: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VectorCode, "multiply_add", real)
            return total(self, terms)

    monkeypatch.setattr(VectorCode, "multiply_add", counted)
    monkeypatch.setattr(VectorCode, "sum", transform)
    again = cache(gradient_tile.compiled.__wrapped__)
    monkeypatch.setattr("qmcbench.ansatz.fast.fourier_derivatives.compiled", again)
    network, (spins, shares) = lively(LAYOUTS.get(layout, layout)), workload(6, 2, images)
    compiled(network, spins, shares)
    plan = gradient_plan.gradient_plan(network.blocks(), images, 6)
    assert counter.value == plan.multiply_adds(images)
