"""Projection of any wave function onto a symmetry sector (paper Eq. 10 for the four rotations)."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qmcbench import group
from qmcbench.ansatz.base import Ansatz, amplitudes, invariance, log_sum
from qmcbench.ansatz.derivatives import log_derivatives

# Configurations that the base evaluates at once.
CHUNK = 1 << 18


class Projected(nn.Module):
    """psi(S) = sum_g chi(g) base(g S), summed with signs and without overflow.

    Only over those g whose images the base tells apart: it may say, as ``base.invariance``, the names of generators
    (:data:`qmcbench.group.GENERATORS`) that leave it as it is.

    Parameters
    ----------
    base
        Any wave function.
    symmetry
        As in a configuration (:func:`qmcbench.group.characters`): ``"C4"``, or ``"rotation, -reflection"``.
    """

    def __init__(self, base: Ansatz, symmetry: str) -> None:
        super().__init__()
        self.base = base
        self.symmetry = symmetry
        self.generators = group.characters(symmetry)

    @property
    def invariance(self) -> tuple[str, ...]:
        """Names of the generators that leave it as it is."""
        return group.invariant_under(self.generators, invariance(self.base))

    def images(self, spins: Tensor) -> Tensor:
        """The images g S of each configuration, shape (batch, images, L, L)."""
        table = self._table(spins)
        turned = spins.flatten(1).index_select(1, table.sites).view(-1, len(table.flips), *spins.shape[1:])
        return turned * table.flips[:, None, None] if table.flipping else turned

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase), each of shape (batch,)."""
        return log_sum(*self._terms(spins), dim=0)

    @torch.no_grad()
    def log_derivatives(self, spins: Tensor) -> Tensor:
        """O = sum_g (chi(g) psi_g / psi) O_g, shape (batch, parameters), complex if the base's phases are."""
        images = self.images(spins)
        log_psi, phase = self._terms(spins)
        total, total_phase = log_sum(log_psi, phase, dim=0)
        shares = phase * total_phase.conj() * (log_psi - total).exp()
        summed = getattr(self.base, "summed_log_derivatives", None)
        if callable(summed):
            result = summed(images, shares.T)
            assert isinstance(result, Tensor)
            return result
        out = torch.zeros((), device=spins.device)
        for share, image in zip(shares, images.unbind(1), strict=True):
            part = log_derivatives(self.base, image)
            precise = torch.promote_types(part.dtype, torch.complex32) if share.is_complex() else part.dtype
            out = out + share[:, None].to(precise) * part
        return out

    def _terms(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, phase) of each term, shape (images, batch)."""
        table = self._table(spins)
        at_once = getattr(self.base, "image_amplitudes", None)
        found = at_once(spins, table.elements) if callable(at_once) else None
        if found is None:
            parts = [amplitudes(self.base, part) for part in self.images(spins).flatten(0, 1).split(CHUNK)]
            found = [torch.cat(each).view(len(spins), -1).T.contiguous() for each in zip(*parts, strict=True)]
        log_psi, phase = found
        return log_psi, phase * table.characters[:, None]

    def _table(self, spins: Tensor) -> _Table:
        return _table(self.generators, invariance(self.base), spins.shape[-1]).to(spins.device)


class _Table(NamedTuple):
    """The terms of a projection as tensors."""

    sites: Tensor
    """Where each image's spins come from, image by image, shape (images * L * L,)."""
    flips: Tensor
    """+1, or -1 where all spins are flipped, shape (images,), int8."""
    characters: Tensor
    """Shape (images,), float64."""
    flipping: bool
    elements: tuple[group.Element, ...]

    def to(self, device: torch.device) -> _Table:
        return self._replace(**{name: getattr(self, name).to(device) for name in ("sites", "flips", "characters")})


@cache
def _table(generators: group.Characters, invariance: tuple[str, ...], L: int) -> _Table:
    terms = group.images(generators, invariance, L)
    flips = torch.tensor([term.element.flip for term in terms], dtype=torch.int8)
    return _Table(
        torch.cat([torch.from_numpy(group.sites(term.element, L)) for term in terms]),
        flips,
        torch.tensor([term.character for term in terms], dtype=torch.float64),
        bool((flips < 0).any()),
        tuple(term.element for term in terms),
    )
