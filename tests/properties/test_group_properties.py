"""Properties of the group actions: rotations form a group, and a wave function summed over it is invariant."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmcbench.ansatz.sign import marshall_sign
from qmcbench.ansatz.symmetry import C4, rotations

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([4, 6, 8, 10])


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


@given(SIZES, SEEDS)
@settings(max_examples=25, deadline=None)
def test_four_rotations_are_a_group(L: int, seed: int) -> None:
    """The images of an image are the images, each once; S^z and Marshall's sign are kept by all of them."""
    spins = configurations(L, seed)
    images = rotations(spins)
    assert len(images) == 4
    for image in images:
        again = rotations(image)
        for original in images:
            assert sum(torch.equal(original, other) for other in again) >= 1
        assert torch.equal(image.sum((1, 2)), spins.sum((1, 2)))
        assert torch.equal(marshall_sign(image), marshall_sign(spins))


@given(SIZES, SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_sum_over_rotations_is_invariant(L: int, seed: int) -> None:
    """Amplitude and sign are the same on every image, to rounding, whatever the wave function below."""
    psi = C4(Lopsided(L, seed))
    spins = configurations(L, seed + 1)
    amplitudes = torch.stack([phase * log_psi.exp() for log_psi, phase in map(psi, rotations(spins))])
    assert torch.allclose(amplitudes, amplitudes[:1].expand_as(amplitudes), rtol=1e-9, atol=1e-12)
