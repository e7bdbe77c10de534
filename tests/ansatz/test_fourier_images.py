"""psi of all images at once: against each image alone, however they are grouped; what is not finite stays so."""

import numpy as np
import pytest
import torch
from plain import lively, log_psi, parameters_of, random_spins

from qmcbench import group
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.fast import codelets
from qmcbench.ansatz.fast.codelets import Variant
from qmcbench.ansatz.fast.fourier import FourierNetwork
from qmcbench.ansatz.fast.fourier_images import FourierImages, groups
from qmcbench.ansatz.fast.vector_code import Routines, Vectors, vectors
from qmcbench.ansatz.symmetry import Projected
from qmcbench.errors import UserError

ALL_FOUR = tuple(Variant(shifted, flipped) for shifted in (False, True) for flipped in (False, True))
ALONE, FLIPPED, SHIFTED = ALL_FOUR[:1], ALL_FOUR[:2], ALL_FOUR[::2]
SYMMETRIES = {
    "none": ALONE,
    "C4": ALONE,
    "C4v": ALONE,
    "rotation, -spin flip": FLIPPED,
    "-reflection, column shift": ALONE,
    "C4v, shifts": SHIFTED,
    "full": ALL_FOUR,
}


def elements(symmetry: str, L: int) -> tuple[group.Element, ...]:
    """The images of the network that a projection sums over."""
    named = "rotation, reflection, column shift" if symmetry == "C4v, shifts" else symmetry
    terms = group.images(group.characters(named) if named != "none" else (), group.PAIRED_COLUMNS, L)
    return tuple(term.element for term in terms)


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_images_one_by_one(symmetry: str, L: int) -> None:
    """log|psi| and sign of each are those of the plain network on that image, written out."""
    network, spins = lively("small"), random_spins(L, 11)
    images = elements(symmetry, L)
    with torch.no_grad():
        found = network.image_amplitudes(spins, images)
        assert found is not None
        for number, image in enumerate(images):
            moved = image.flip * spins.flatten(1)[:, torch.from_numpy(group.sites(image, L))].view_as(spins)
            expected = log_psi(network.spec, parameters_of(network), moved)
            torch.testing.assert_close(found[0][number], expected[0], rtol=1e-12, atol=1e-12)
            assert torch.equal(found[1][number], expected[1])


@pytest.mark.parametrize("L", [4, 6, 10])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_groups(symmetry: str, L: int) -> None:
    """Every image is in one group, in which they differ as the variants say, up to what the network does not see."""
    images = elements(symmetry, L)
    found = groups(images, L, may_share=True)
    if symmetry != "-reflection, column shift":
        assert found.variants == SYMMETRIES[symmetry]
    assert sorted(found.numbers.ravel().tolist()) == list(range(len(images)))
    invisible = group.closure(group.PAIRED_COLUMNS, L)
    for numbers in found.numbers:
        for variant, number in zip(found.variants, numbers, strict=True):
            moved = images[numbers[0]]
            for name, wanted in (("column shift", variant.shifted), ("spin flip", variant.flipped)):
                moved = group.product(group.GENERATORS[name](L), moved, L) if wanted else moved
            assert images[number] in {group.product(h, moved, L) for h in invisible}
    alone = groups(images, L, may_share=False)
    assert alone.variants == ALONE
    assert alone.numbers.ravel().tolist() == list(range(len(images)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("size", "registers"), [(32, 16), (64, 32)], ids=["short", "long"])
def test_any_processor(size: int, registers: int, dtype: torch.dtype) -> None:
    """Short and few registers, or long and many, unfilled vectors and several tiles."""
    network, spins = CNN("medium", dtype=dtype), random_spins(6, 37)
    images = elements("full", 6)
    with torch.no_grad():
        expected = CNN("medium", dtype=torch.float64).image_amplitudes(spins, images)
        form = network.network()
        own = FourierNetwork(form.layers, form.head, 6, Vectors(dtype.itemsize, size, registers))
        found = FourierImages(own, images).amplitudes(spins)
    assert expected is not None
    bound = 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=bound)
    assert torch.equal(found[1], expected[1])


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    """The same bits, whatever else is in the batch, in whichever lane."""
    network, spins, images = lively("small", dtype=torch.float32), random_spins(6, 70), elements("full", 6)
    with torch.no_grad():
        together = network.image_amplitudes(spins, images)
        assert together is not None
        for part in (slice(0, 1), slice(5, 22), slice(33, 70)):
            found = network.image_amplitudes(spins[part], images)
            assert found is not None
            assert torch.equal(found[0], together[0][:, part])


@pytest.mark.parametrize("symmetry", ["C4", "full", "rotation, -reflection, column shift, -spin flip"])
def test_projections_without_compiled_kernels(symmetry: str) -> None:
    """The same psi and log-derivatives by PyTorch's operations, image by image."""
    network, spins = lively("small"), random_spins(6, 4)
    plain = CNN("small", dtype=torch.float64, kernels="torch")
    plain.load_state_dict(network.state_dict())
    compiled, torch_only = Projected(network, symmetry), Projected(plain, symmetry)
    with torch.no_grad():
        torch.testing.assert_close(compiled(spins), torch_only(spins), rtol=1e-9, atol=1e-9)
    ours, expected = (psi.log_derivatives(spins) for psi in (compiled, torch_only))
    torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-7)


def test_configurations_that_do_not_fit() -> None:
    """One sentence, with several images too."""
    with torch.no_grad(), pytest.raises(UserError, match=r"\(batch, L, L\), not \(3, 4, 6\)"):
        lively("small").image_amplitudes(torch.ones(3, 4, 6, dtype=torch.int8), elements("full", 6))


@pytest.mark.parametrize("itemsize", [4, 8])
def test_product(itemsize: int) -> None:
    """Mantissa and power of products far beyond float64; a factor 0, inf or nan is what the product is."""
    own, count = vectors(itemsize), 32
    dtype = np.float32 if itemsize == 4 else np.float64
    routines = Routines(own)
    codelets.product(routines, count)
    compiled = routines.compiled()
    memory = np.zeros(own.size * (count + 1), dtype=np.uint8)
    skip = -memory.ctypes.data % own.size
    x = memory[skip : skip + own.size * count].view(dtype).reshape(count, own.lanes)
    x[:] = np.random.default_rng(0).normal(size=x.shape) * 10.0 ** np.linspace(-30, 30, own.lanes)
    x[3, 0], x[5, 1], x[6, 2] = 0.0, np.inf, np.nan
    results = np.zeros((2, own.lanes))
    compiled["product"](x.ctypes.data, *(each.ctypes.data for each in results))
    mantissa, power = results
    assert mantissa[0] == 0
    assert np.isinf(mantissa[1])
    assert np.isnan(mantissa[2])
    logs = np.log(np.abs(mantissa[3:])) + np.log(2) * power[3:]
    exact = x[:, 3:].astype(np.float64)
    np.testing.assert_allclose(logs, np.log(np.abs(exact)).sum(0), rtol=1e-13)
    np.testing.assert_array_equal(np.sign(mantissa[3:]), np.sign(exact).prod(0))
