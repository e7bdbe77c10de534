"""Properties of the group actions on spins: they form groups, and a sum over one has its characters."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmcbench import group
from qmcbench.ansatz.sign import marshall_sign
from qmcbench.ansatz.symmetry import Projected
from qmcbench.lattice import random_configurations

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([4, 6, 8, 10])


class Lopsided(torch.nn.Module):
    """A wave function without any symmetry, of either sign."""

    def __init__(self, L: int, seed: int) -> None:
        super().__init__()
        self.weights = torch.randn(2, L, L, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def forward(self, spins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = ((spins * weight).sum((1, 2)) for weight in self.weights)
        return 0.2 * first, torch.where(second < 0, -1.0, 1.0).double()


@given(SIZES, SEEDS, st.sampled_from(["C4", "C4v", "rotation, spin flip", "column shift"]))
@settings(max_examples=25, deadline=None)
def test_images_form_an_orbit(L: int, seed: int, symmetry: str) -> None:
    """The images of an image are the images, in another order; all keep S^z = 0 and Marshall's sign."""
    psi, spins = Projected(Lopsided(L, seed), symmetry), random_configurations(L, 5, seed)
    images = psi.images(spins)
    orbits = [sorted(orbit.flatten(1).tolist()) for orbit in images]
    for image in images.unbind(1):
        assert [sorted(orbit.flatten(1).tolist()) for orbit in psi.images(image)] == orbits
        assert not image.sum((1, 2)).any()
        assert torch.equal(marshall_sign(image), marshall_sign(spins))


@given(SIZES, SEEDS, st.sampled_from(["C4", "C4v", "-rotation, reflection", "rotation, -spin flip", "-column shift"]))
@settings(max_examples=25, deadline=None)
def test_a_projection_has_its_characters(L: int, seed: int, symmetry: str) -> None:
    """Amplitudes on every image are the character times those of the first, whatever the wave function below."""
    psi, spins = Projected(Lopsided(L, seed), symmetry), random_configurations(L, 5, seed + 1)
    terms = group.images(psi.generators, (), L)
    amplitudes = [phase * log_psi.exp() for log_psi, phase in map(psi, psi.images(spins).unbind(1))]
    for term, found in zip(terms, amplitudes, strict=True):
        assert torch.allclose(
            found, term.character * amplitudes[0], rtol=1e-9, atol=1e-12 * amplitudes[0].abs().max()
        )
