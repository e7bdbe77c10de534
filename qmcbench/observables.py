"""Correlations by Monte Carlo, for any ansatz: spins, structure factor, staggered magnetisation, dimers.

With P_ab the exchange of the spins of two sites, S_a.S_b = P_ab / 2 - 1/4, so its local estimator is
psi(P_ab S) / (2 psi(S)) - 1/4, and that of a product of two bonds follows from psi(P_b' P_b S) / psi(S). The whole
S.S is needed, not 3 S^z S^z: a network has no SU(2) symmetry. Neither need it be invariant under translations (the
paper's is under even column shifts only), so everything here is averaged over reference sites, the *origins*.

Conventions (lengths in lattice constants, spins in units of hbar):

- Displacement d = (i, j) is i rows down and j columns to the right, modulo L; arrays over d have shape (L, L).
- Correlation C(d) = (1/N) sum_o <S_o.S_{o+d}>, so C(0) = 3/4.
- Structure factor S(k) = sum_d exp(i k.d) C(d), not divided by N, as in :mod:`qmcbench.reference.ed`: its mean over k
  is 3/4. Entry (m, n) is at k = 2 pi (m, n) / L, the first component along the rows' index i.
- Staggered magnetisation squared m_s^2 = S(pi, pi) / N = (1/N^2) sum_ab (-1)^(a+b) <S_a.S_b>. (Others divide by
  N + 2 instead, which has the same limit.)
- Bond energy B_mu = (1/N) sum_o <S_o.S_{o+mu}>, mu = x (0: to the right) or y (1: down).
- Connected dimer correlation D_mu(d) = (1/N) sum_o <(S_o.S_{o+x})(S_{o+d}.S_{o+d+mu})> - B_x B_mu. Bonds that share
  one site do not commute: the Hermitian part of the product is meant, whose mean is the real part of the mean of the
  product in either order. On one and the same bond the product is (S.S)^2 = 3/16 - S.S / 2. As B is averaged over
  origins too, a state that breaks translations shows its dimer order here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.hamiltonian import antiparallel
from qmcbench.lattice import all_configurations, nearest_bonds
from qmcbench.local_energy import BUFFER, TABLE, amplitude_ratios
from qmcbench.rng import chain_uniforms
from qmcbench.statistics import estimate

# Added to the chain numbers: origins are drawn from streams that no sampler with the same seed uses.
STREAMS = 1 << 40

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LocalObservables:
    """Local estimators of a batch, float64; a batch may have several axes, such as (chains, samples)."""

    correlation: Tensor
    """S_o.S_{o+d} by displacement, averaged over the origins, the same at d and -d, shape (batch, L, L)."""
    bond: Tensor | None = None
    """S_o.S_{o+mu} averaged over all sites, shape (batch, 2), mu = x, y; None without dimers."""
    dimer: Tensor | None = None
    """(S_o.S_{o+x})(S_{o+d}.S_{o+d+mu}), not connected, averaged over the origins, shape (batch, 2, L, L)."""


@dataclass(frozen=True)
class Measured:
    """Means with standard errors; ``plateau`` is False where blocking found none, so that the error is too small."""

    mean: Array
    error: Array
    plateau: NDArray[np.bool_]


@dataclass(frozen=True)
class Observables:
    """Expectation values; the module's docstring has the conventions."""

    correlation: Measured
    """C(d), shape (L, L); C(d) = C(-d)."""
    structure_factor: Measured
    """S(k), shape (L, L); real, as C(d) = C(-d)."""
    bond: Measured | None
    """B_mu, shape (2,); None without dimers."""
    dimer: Measured | None
    """D_mu(d), connected, shape (2, L, L); None without dimers."""

    @property
    def staggered_magnetisation_squared(self) -> Measured:
        """m_s^2 = S(pi, pi) / N, shape ()."""
        L = len(self.structure_factor.mean)
        at = (L // 2, L // 2)
        return Measured(
            np.asarray(self.structure_factor.mean[at] / L**2),
            np.asarray(self.structure_factor.error[at] / L**2),
            np.asarray(self.structure_factor.plateau[at]),
        )


def random_origins(L: int, count: int, *, seed: int, chains: Tensor, draw: int) -> Tensor:
    """Distinct random reference sites for one sample of each chain.

    Parameters
    ----------
    L
        Linear size.
    count
        Sites per sample, 1 <= count <= L * L.
    seed
        Run seed; may be that of the sampler, whose streams are others.
    chains
        Global chain numbers, shape (n,), int64.
    draw
        Number of the sample within its chain, from 0: another sample, other sites.

    Returns
    -------
    Tensor
        Site indices, shape (n, count), int64.

    Raises
    ------
    UserError
        If ``count`` is out of range.
    """
    if not 1 <= count <= L * L:
        raise UserError(f"{count} origins are asked for, but the lattice has {L * L} sites; use 1 to {L * L}.")
    half = L * L // 2  # of the proposals' pairs of numbers: one number per site
    keys = chain_uniforms(seed, chains + STREAMS, draw * half, half).flatten(0, 1)
    return keys.argsort(dim=0, stable=True)[:count].T


@torch.no_grad()
def local_estimators(
    psi: Ansatz,
    spins: Tensor,
    log_psi: Tensor,
    phase: Tensor,
    *,
    origins: Tensor | Literal["all"],
    dimers: bool = False,
    buffer: int = BUFFER,
) -> LocalObservables:
    """Local estimators of a batch of configurations with S^z = 0.

    Per sample, about L^2 / 4 forwards for each origin. Dimers add one for each of the p * 2 L^2 antiparallel bonds
    and about 2 p^2 L^2 for each origin, with p from 1/2 to 1 the fraction of antiparallel bonds (0.67 at J2 = 0).

    Parameters
    ----------
    psi
        Wave function; of a complex one the real parts are kept, whose means are those of the Hermitian operators.
    spins
        Configurations, shape (batch, L, L), int8.
    log_psi, phase
        psi of these, shape (batch,). Where psi vanishes, the estimators are not finite.
    origins
        Reference sites of each configuration, shape (batch, count), such as :func:`random_origins` gives, or "all".
        They must not depend on the configuration, and each site must be as likely: then the mean is unbiased.
    dimers
        Whether to estimate ``dimer`` and ``bond``.
    buffer
        Configurations in each call of psi.

    Returns
    -------
    LocalObservables
        On the device of ``spins``.
    """
    batch, L, _ = spins.shape
    sites = L * L
    if isinstance(origins, str):
        origins = torch.arange(sites, device=spins.device).expand(batch, sites)
    chunk = max(1, TABLE // (origins.shape[1] * 2 * sites))
    columns = [x.split(chunk) for x in (spins, log_psi, phase, origins)]
    correlation = [_correlations(psi, *part, buffer=buffer) for part in zip(*columns, strict=True)]
    if not dimers:
        return LocalObservables(torch.cat(correlation))
    pairs = [_dimers(psi, *part, buffer=buffer) for part in zip(*columns, strict=True)]
    bond, dimer = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return LocalObservables(torch.cat(correlation), bond, dimer)


def summarise(values: LocalObservables, weights: ArrayLike) -> Observables:
    """Means and errors of sampled local estimators.

    Errors are those of :func:`qmcbench.statistics.estimate` for each component; S(k) is transformed sample by sample
    before, and the connected dimer correlation is linearised about the means of its factors (the delta method).

    Parameters
    ----------
    values
        With batch axes (chains, samples), chains independent, samples in the order of sampling.
    weights
        |psi|^(2 - alpha) up to one factor, shape (chains, samples). Estimators of weight 0 are not looked at.

    Raises
    ------
    UserError
        If no weight is positive, or any is not finite.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(w).all() or not (w > 0).any():
        raise UserError(
            f"Of {w.size} weights, {np.count_nonzero(~np.isfinite(w))} are not finite and {np.count_nonzero(w > 0)} "
            "positive, but all must be finite and one positive: psi vanishes or is not finite there; give abnormal "
            "samples the weight 0, or look at the network."
        )

    def average(series: Array) -> Measured:
        found = [estimate(column, w) for column in np.moveaxis(series.reshape(*w.shape, -1), -1, 0)]
        columns = ([e.mean for e in found], [e.error for e in found], [e.plateau for e in found])
        mean, error, plateau = (np.array(column).reshape(series.shape[2:]) for column in columns)
        return Measured(mean, error, plateau)

    return _observables(values, w, average)


@torch.no_grad()
def full_sum(psi: Ansatz, L: int = 4, *, dimers: bool = True) -> Observables:
    """Exact expectation values: the sum over all configurations and origins, errors 0.

    psi is evaluated once on each configuration. Those where it vanishes have no weight and are left out, which is
    exact: their terms psi(S) psi(S') are 0, while psi(S')/psi(S) is not defined.

    Raises
    ------
    UserError
        If L is not 4, or psi vanishes everywhere.
    """
    spins = all_configurations(L)
    log_psi, phase = psi(spins)
    if log_psi.isneginf().all():
        raise UserError(f"psi vanishes on all {len(spins)} configurations; look at its parameters.")
    codes = _codes(spins)
    position = torch.empty(int(codes.max()) + 1, dtype=torch.int64)
    position[codes] = torch.arange(len(spins))

    def table(asked: Tensor) -> tuple[Tensor, Tensor]:
        found = position[_codes(asked)]
        return log_psi[found], phase[found]

    # Looking up is cheap, so that large buffers pay.
    local = local_estimators(table, spins, log_psi, phase, origins="all", dimers=dimers, buffer=32 * BUFFER)
    weights = (2 * (log_psi - log_psi.max())).exp().double().numpy()

    def average(series: Array) -> Measured:
        mean = np.asarray(np.tensordot(weights, series, 1) / weights.sum())
        return Measured(mean, np.zeros(mean.shape), np.ones(mean.shape, dtype=np.bool_))

    return _observables(local, weights, average)


def _observables(values: LocalObservables, weights: Array, average: Callable[[Array], Measured]) -> Observables:
    """Every quantity from its local estimators by one way of averaging over the axes of ``weights``."""

    def weighted(tensor: Tensor) -> Array:
        array = tensor.numpy(force=True)
        # 0 times a value that is not finite would not be 0.
        used = (weights > 0).reshape(weights.shape + (1,) * (array.ndim - weights.ndim))
        return np.where(used, array, 0.0)

    correlation = weighted(values.correlation)
    bonds = dimers = None
    if values.bond is not None and values.dimer is not None:
        bond, dimer = weighted(values.bond), weighted(values.dimer)
        bonds = average(bond)
        x, mu = bonds.mean[0], bonds.mean
        # <b_x b_mu> about the means, to first order: its mean is that of the product, its error the whole one's.
        disconnected = bond[..., :1] * mu + x * bond - x * mu
        dimers = average(dimer - disconnected[..., None, None])
    return Observables(average(correlation), average(np.fft.fft2(correlation).real), bonds, dimers)


def _correlations(
    psi: Ansatz, spins: Tensor, log_psi: Tensor, phase: Tensor, origins: Tensor, *, buffer: int
) -> Tensor:
    """``LocalObservables.correlation`` of a chunk."""
    L, flat = spins.shape[-1], spins.flatten(1)
    half, fold = (x.to(spins.device) for x in _half_plane(L))
    ends = _translations(L).to(spins.device)[origins[..., None], half]
    differ = flat.gather(1, origins)[..., None] != flat.gather(1, ends.flatten(1)).view_as(ends)
    row, origin, which = differ.nonzero(as_tuple=True)
    pair = torch.stack([origins[row, origin], ends[row, origin, which]], dim=-1)
    ratio = torch.ones(differ.shape, dtype=torch.float64, device=spins.device)
    ratio[differ] = amplitude_ratios(psi, spins, log_psi, phase, row, pair[:, None], buffer=buffer).real
    product = ratio / 2 - 0.25
    product[..., 0] = 0.75  # a site with itself
    return product.mean(1)[:, fold].view(-1, L, L)


def _dimers(
    psi: Ansatz, spins: Tensor, log_psi: Tensor, phase: Tensor, origins: Tensor, *, buffer: int
) -> tuple[Tensor, Tensor]:
    """``LocalObservables.bond`` and ``.dimer`` of a chunk."""
    L, flat = spins.shape[-1], spins.flatten(1)
    sites, bonds = L * L, nearest_bonds(L).to(spins.device)
    movable = antiparallel(spins, bonds)
    row, bond = movable.nonzero(as_tuple=True)
    single = torch.ones(movable.shape, dtype=torch.float64, device=spins.device)
    single[movable] = amplitude_ratios(psi, spins, log_psi, phase, row, bonds[bond][:, None], buffer=buffer).real

    # Bond number mu * N + site starts at that site, so an origin is also the number of its reference bond.
    ends = _translations(L).to(spins.device)[origins]
    others = torch.stack([ends, ends + sites], dim=2).flatten(2)
    pair = bonds[origins]
    moved = flat[:, None].repeat(1, origins.shape[1], 1)
    moved.scatter_(2, pair, moved.gather(2, pair).flip(-1))
    first = movable.gather(1, origins)[..., None]
    second = moved.gather(2, bonds[others, 0]) != moved.gather(2, bonds[others, 1])

    single_first = single.gather(1, origins)[..., None]
    single_other = single.gather(1, others.flatten(1)).view(others.shape)
    # P_b or P_b' alone, if the other one finds parallel spins.
    double = torch.where(first, single_first, single_other)
    both = first & second
    row, origin, other = both.nonzero(as_tuple=True)
    pairs = torch.stack([pair[row, origin], bonds[others[row, origin, other]]], dim=1)
    double[both] = amplitude_ratios(psi, spins, log_psi, phase, row, pairs, buffer=buffer).real
    product = double / 4 - (single_first + single_other) / 8 + 1 / 16
    energy = (single / 2 - 0.25).view(-1, 2, sites).mean(2)
    return energy, product.mean(1).view(-1, 2, L, L)


@cache
def _translations(L: int) -> Tensor:
    """Index of site o + d for every site o and displacement d, shape (L * L, L * L)."""
    site = torch.arange(L * L).view(L, L)
    return torch.stack([site.roll((-i, -j), (0, 1)).flatten() for i in range(L) for j in range(L)], dim=1)


@cache
def _half_plane(L: int) -> tuple[Tensor, Tensor]:
    """One displacement of each pair +-d, shape (L^2 / 2 + 2,), and which of them stands for each d, (L * L,)."""
    i = -torch.arange(L) % L
    opposite = (i[:, None] * L + i).flatten()
    half, fold = torch.minimum(opposite, torch.arange(L * L)).unique(return_inverse=True)
    return half, fold


def _codes(spins: Tensor) -> Tensor:
    """One integer for each 4x4 configuration, shape (batch,), int64; float32 holds it exactly and multiplies fast."""
    bits = (spins.flatten(1) > 0).float()
    return (bits @ 2.0 ** torch.arange(bits.shape[1])).long()
