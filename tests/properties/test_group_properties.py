"""Projection of a wave function that has no symmetry at all: Marshall's sign and the sum are those of the group."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmcbench.ansatz.sign import marshall_sign
from qmcbench.ansatz.symmetry import Projected
from qmcbench.group import PRESETS

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([4, 6])
SYMMETRIES = st.sampled_from([name for name in PRESETS if name != "none"])


def configurations(L: int, seed: int) -> torch.Tensor:
    """Five random configurations with S^z = 0."""
    order = torch.rand(5, L * L, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return torch.where(order < L * L // 2, 1, -1).to(torch.int8).view(5, L, L)


class Lopsided(torch.nn.Module):
    """A wave function without any symmetry, of either sign."""

    def __init__(self, L: int, seed: int) -> None:
        super().__init__()
        self.weights = torch.randn(2, L, L, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def forward(self, spins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = ((spins * weight).sum((1, 2)) for weight in self.weights)
        return 0.2 * first, torch.where(second < 0, -1.0, 1.0).double()


@given(SIZES, SYMMETRIES, SEEDS)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_marshalls_sign_is_even_under_every_symmetry(L: int, symmetry: str, seed: int) -> None:
    """So that the sign can be put on before or after the sum; S^z stays 0."""
    spins = configurations(L, seed)
    for image in Projected(Lopsided(L, seed), symmetry).images(spins).unbind(1):
        assert not image.sum((1, 2)).any()
        assert torch.equal(marshall_sign(image), marshall_sign(spins))


@given(SIZES, SYMMETRIES, SEEDS)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_sum_is_invariant_under_every_image(L: int, symmetry: str, seed: int) -> None:
    """Amplitude and sign are the same on every image, to rounding, whatever the wave function below."""
    psi = Projected(Lopsided(L, seed), symmetry)
    images = psi.images(configurations(L, seed + 1))
    log_psi, phase = psi(images.flatten(0, 1))
    amplitudes = (phase * log_psi.exp()).view(images.shape[:2])
    scale = psi.base(images.flatten(0, 1))[0].exp().view(images.shape[:2]).sum(1, keepdim=True)
    assert ((amplitudes - amplitudes[:, :1]).abs() <= 1e-12 * scale).all()
