"""Configurations of 4x4 and the exact law of chains that exchange antiparallel neighbours, without the engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from qmcbench.errors import UserError

SITES = 16
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """All configurations of 4x4 in S^z = 0, and the exchanges of antiparallel nearest neighbours between them."""

    spins: Tensor
    """(12 870, 4, 4), int8."""
    position: Integers
    """By the integer whose bits are the up spins; -1 outside S^z = 0."""
    source: Integers
    target: Integers
    """Of every exchange."""
    pairs: Integers
    """How many antiparallel nearest-neighbour pairs each has: exchanges that lead away from it."""

    def where(self, spins: Tensor) -> Integers:
        """Positions of sampled configurations.

        Raises
        ------
        UserError
            If one is none of 4x4 in S^z = 0 of spins +-1.
        """
        flat = spins.reshape(len(spins), -1).numpy()
        if flat.shape[1] != SITES or not np.isin(flat, (-1, 1)).all():
            raise UserError(f"The sampler gave spins of shape {tuple(spins.shape)} that are not all +-1 on 4x4.")
        found = self.position[(flat > 0) @ (1 << np.arange(SITES))]
        if (outside := int((found < 0).sum())) > 0:
            raise UserError(f"{outside} of {len(flat)} sampled configurations are not in S^z = 0: moves break it.")
        return found

    def counts(self, spins: Tensor) -> Integers:
        """How often each configuration is among the sampled ones."""
        return np.bincount(self.where(spins), minlength=len(self.pairs)).astype(np.int64)


@cache
def space() -> Space:
    """The configurations in the order of their integers."""
    integers = np.arange(1 << SITES)
    up = (integers[:, None] >> np.arange(SITES)) & 1
    inside = up.sum(1) == SITES // 2
    integers, up = integers[inside], up[inside]
    position = np.full(1 << SITES, -1, dtype=np.int64)
    position[integers] = np.arange(len(integers))
    site = np.arange(SITES).reshape(4, 4)
    first = np.concatenate([site.ravel(), site.ravel()])
    second = np.concatenate([np.roll(site, -1, 0).ravel(), np.roll(site, -1, 1).ravel()])
    opposite = up[:, first] != up[:, second]
    source, bond = opposite.nonzero()
    target = position[integers[source] ^ (1 << first[bond]) ^ (1 << second[bond])]
    spins = torch.from_numpy((2 * up - 1).astype(np.int8)).view(-1, 4, 4)
    return Space(spins, position, source, target, opposite.sum(1))


def kernel(log_weight: Floats) -> csr_array:
    """Transition probabilities of one proposal, from row to column, for the law exp(log_weight).

    The proposal is a uniform one of the n antiparallel pairs, accepted with min(1, ratio of weights times n / n').
    """
    of = space()
    ratio = np.exp(np.minimum(log_weight[of.target] - log_weight[of.source], 700.0))
    accepted = np.minimum(1.0, ratio * of.pairs[of.source] / of.pairs[of.target]) / of.pairs[of.source]
    moves = csr_array((accepted, (of.source, of.target)), shape=(len(of.pairs), len(of.pairs)))
    return csr_array(moves + diags_array(1.0 - moves.sum(axis=1)))


def after(log_weight: Floats, start: int, proposals: int) -> Floats:
    """Law of a chain after so many proposals from the configuration ``start``."""
    step = kernel(log_weight).T.tocsr()
    law: Floats = np.zeros(len(log_weight))
    law[start] = 1.0
    for _ in range(proposals):
        law = np.asarray(step @ law)
    return law


def draw(law: Floats, count: int, seed: int) -> Integers:
    """Positions of independent configurations of a law."""
    total = np.cumsum(law)
    uniform = np.random.default_rng(seed).random(count)
    found: Integers = np.searchsorted(total, uniform * total[-1], side="right").astype(np.int64)
    return found
