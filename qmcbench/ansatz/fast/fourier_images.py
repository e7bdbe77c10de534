"""psi of images of configurations by compiled tiles (:mod:`~qmcbench.ansatz.fast.image_tile`)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench import group
from qmcbench.ansatz.fast.codelets import Variant
from qmcbench.ansatz.fast.fourier import FourierNetwork
from qmcbench.ansatz.fast.image_tile import ALONE, ImagePlan, compiled
from qmcbench.ansatz.fast.threads import in_shares
from qmcbench.errors import UserError
from qmcbench.group import Element

Array = NDArray[Any]
Elements = tuple[Element, ...]


class Groups(NamedTuple):
    """Images in groups that share a convolution."""

    variants: tuple[Variant, ...]
    sites: Array
    """Of each group's first image, which site each place has its spin from, even columns first."""
    signs: Array
    """+1, or -1 where all spins are flipped, shape (groups,)."""
    numbers: Array
    """Which image each variant is, shape (groups, variants)."""


class FourierImages:
    """psi of the images of configurations by symmetries, from a compiled ``network``."""

    def __init__(self, network: FourierNetwork, images: Elements) -> None:
        self._network, plan = network, network.plan
        self._groups = groups(images, plan.L, len(plan.channels) > 1)
        self._plan = ImagePlan(plan, self._groups.variants)
        compiled(self._plan)
        self._signs = self._groups.signs.astype(network.parameters[0].dtype)
        self._sites = self._groups.sites * plan.vectors.size
        self._memory: list[Array] = []

    def amplitudes(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(log|psi|, sign) of each image of each configuration (batch, L, L), each (images, batch), float64."""
        L, lanes, size = self._plan.network.L, self._plan.network.vectors.lanes, self._plan.network.vectors.size
        if spins.shape[1:] != (L, L):
            raise UserError(f"Configurations have the shape (batch, L, L), not {tuple(spins.shape)}.")
        own = spins.to(torch.int8).flatten(1).contiguous().numpy()
        tiles = -(-len(own) // lanes)
        found = np.empty((2, self._groups.numbers.size, tiles * lanes))
        places = self._groups.numbers * found.strides[1]
        run, end = compiled(self._plan)["images"], self._plan.memory()["end"]
        parameters = [each.ctypes.data for each in self._network.parameters]

        def work(first: int, last: int) -> None:
            # Kept, since fresh memory costs more than it looks: the system clears each page.
            try:
                memory = self._memory.pop()
            except IndexError:
                memory = np.empty(end + size, dtype=np.uint8)
            aligned = memory.ctypes.data + -memory.ctypes.data % size
            tables = [each.ctypes.data for each in (self._sites, self._signs, places, *found)]
            run(own.ctypes.data, len(own), len(self._signs), *tables, first, last, *parameters, aligned)
            self._memory.append(memory)

        if tiles:
            in_shares(tiles, work)
        mantissas, exponents = (torch.from_numpy(each[:, : len(own)]) for each in found)
        return mantissas.abs().log() + math.log(2) * exponents, torch.sign(mantissas)


@cache
def groups(images: Elements, L: int, may_share: bool) -> Groups:
    """``images`` in groups; each alone if they do not all fall into groups of one kind, or ``may_share`` is false."""
    shift, flip = (group.GENERATORS[name](L) for name in ("column shift", "spin flip"))
    invisible = group.closure(group.PAIRED_COLUMNS, L)
    place = {group.product(h, image, L): number for number, image in enumerate(images) for h in invisible}
    found: dict[int, dict[Variant, int]] = {}
    for number, image in enumerate(images):
        own = {}
        for variant in (Variant(shifted, flipped) for shifted in (False, True) for flipped in (False, True)):
            other = group.product(shift, image, L) if variant.shifted else image
            other = group.product(flip, other, L) if variant.flipped else other
            if other in place:
                own[variant] = place[other]
        if not any(number in each.values() for each in found.values()):
            found[number] = own
    kinds = {tuple(own) for own in found.values()}
    variants = kinds.pop() if may_share and len(kinds) == 1 else ALONE
    if variants == ALONE:
        found = {number: {ALONE[0]: number} for number in range(len(images))}
    # Even columns first.
    order = np.arange(L * L).reshape(-1, 2).T.ravel()
    return Groups(
        variants,
        np.stack([group.sites(images[number], L)[order] for number in found]),
        np.array([images[number].flip for number in found]),
        np.array([[own[variant] for variant in variants] for own in found.values()]),
    )
