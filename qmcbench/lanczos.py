"""One Lanczos step by sampling: the lowest (1 + a H)|psi>, from samples of |psi|^2 alone.

With phi = (1 + a H) psi, v = phi / psi and u = (H phi) / psi at the samples, <H> is the mean of Re(conj(v) u) over
that of |v|^2, and <H^2> that of |u|^2: sums of local values of H and its square. The a that is best for some samples
seems better on these than it is: with few of them the minimum over a of a noisy estimate is biased low. Therefore a
comes from one half of the chains and the energy from the other, and the other way about; the result is the mean of
both, each the energy of a state that its samples have not chosen. With few samples these states are not the best
ones, and the result is too high: by an eighth of its standard error with a fresh network on 4x4 and 512 samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmcbench import statistics
from qmcbench.ansatz.base import Ansatz
from qmcbench.errors import UserError
from qmcbench.hamiltonian import J1J2
from qmcbench.local_powers import local_powers
from qmcbench.reference.full_sum import EIGENSTATE, at_no_variance, lowest_combination
from qmcbench.store.energies import OneStep, finite

POWERS = "powers"
"""Name of what :func:`powers_of` gives among what is observed of samples."""

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Expectation:
    """Energy and variance of a state per site, and what each sample adds to them, shape (chains, samples)."""

    energy: float
    variance: float
    energies: Real
    variances: Real
    """Influences to first order, whose means are 0: their errors are those of the energy and the variance."""


@dataclass(frozen=True)
class Step:
    """The combination ``along * psi + across * (H - origin) psi``, per site."""

    origin: float
    along: float
    across: float


def powers_of(psi: Ansatz, hamiltonian: J1J2, spins: Tensor, log_psi: Tensor, phase: Tensor) -> Tensor:
    """:func:`local_powers` per site (of H) and per site squared (of its square), real and imaginary parts.

    Returns
    -------
    Tensor
        Shape (batch, 5, 2), float64.
    """
    found = local_powers(psi, hamiltonian, spins, log_psi, phase).to(torch.complex128)
    found[:, :2] /= hamiltonian.sites
    found[:, 2:] /= hamiltonian.sites**2
    return torch.view_as_real(found)


def one_step(powers: Complex, weights: Real, J2: float, sites: int) -> OneStep:
    """The energy after one Lanczos step, with its error by blocking.

    Parameters
    ----------
    powers
        Of each sample, as :func:`powers_of`, shape (chains, samples, 5).
    weights
        |psi|^2 over what the chains follow, shape (chains, samples); 0 for samples that do not count.
    J2
        In units of the J2 of the Hamiltonian that the powers are of.
    sites
        Number of sites, for the V-score.

    Raises
    ------
    UserError
        If half of the chains has no sample that counts, or a power of one that does is not finite.
    """
    powers = np.where((weights > 0)[..., None], powers, 0)
    broken = int((~np.isfinite(powers).all(-1)).sum())
    if broken:
        raise UserError(
            f"(H^2 psi) / psi is not finite on {broken} of {weights.size} samples: the amplitudes differ by more "
            "than numbers can hold. Evaluate this wave function without --lanczos."
        )
    local = powers[..., 0] + J2 * powers[..., 1]
    square = powers[..., 2] + J2 * powers[..., 3] + J2**2 * powers[..., 4]
    value, image, shares = np.empty_like(local), np.empty_like(local), np.empty_like(weights)
    even = np.arange(len(weights)) % 2 == 0
    if not (weights[even].any() and weights[~even].any()):
        raise UserError("Every sample of half of the chains is abnormal, which leaves no Lanczos step; take more.")
    for own in (even, ~even):
        step = fitted(local[~own], square[~own], weights[~own])
        value[own] = step.along + step.across * (local[own] - step.origin)
        image[own] = step.along * local[own] + step.across * (square[own] - step.origin * local[own])
        shares[own] = weights[own] / np.average(_squared(value[own]), weights=weights[own]) / weights[own].mean()
    before, after = expectation(np.ones_like(local), local, weights), expectation(value, image, shares)
    found = statistics.estimate(after.energy + after.energies)
    kish = statistics.effective_sample_size(shares * _squared(value))
    extrapolated, error = _extrapolated(before, after)
    energy, variance = after.energy, after.variance
    return OneStep(
        energy=finite(energy),
        sigma=finite(found.error),
        variance=finite(variance),
        v_score=finite(statistics.v_score(energy * sites, variance * sites**2, sites)) if energy else None,
        tau=found.tau,
        r_hat=finite(found.r_hat),
        effective_samples=kish / found.tau,
        plateau=found.plateau,
        extrapolated_energy=finite(extrapolated),
        extrapolated_sigma=finite(error),
    )


def fitted(local: Complex, square: Complex, weights: Real) -> Step:
    """The lowest combination for these samples of (H psi) / psi and (H^2 psi) / psi, all of one shape."""
    origin = float(np.average(local.real, weights=weights))
    rest = local - origin
    variance = float(np.average(_squared(rest), weights=weights))
    if variance**0.5 <= EIGENSTATE * abs(origin):
        return Step(origin, 1.0, 0.0)
    again = np.average((rest.conj() * (square - origin * local)).real, weights=weights)
    _, mixing = lowest_combination(origin, variance, float(again) / variance)
    return Step(origin, float(mixing[0]), float(mixing[1]) / variance**0.5)


def expectation(value: Complex, image: Complex, weights: Real) -> Expectation:
    """Of the state phi with ``value`` = phi / psi and ``image`` = (H phi) / psi, shapes (chains, samples)."""
    shares = weights / (weights * _squared(value)).mean()
    energy = float((shares * (value.conj() * image).real).mean())
    rest = image - energy * value
    variance = float((shares * _squared(rest)).mean())
    return Expectation(
        energy=energy,
        variance=variance,
        energies=shares * (value.conj() * rest).real,
        variances=shares * (_squared(rest) - variance * _squared(value)),
    )


def _extrapolated(before: Expectation, after: Expectation) -> tuple[float | None, float | None]:
    """Energy at variance 0 on the line through both, with its error to first order."""
    found = at_no_variance((before.energy, before.variance), (after.energy, after.variance))
    if found is None:
        return None, None
    gained = before.variance - after.variance
    slope, reach = (before.energy - after.energy) / gained, after.variance / gained
    near, far = (each.energies - slope * each.variances for each in (after, before))
    return found, statistics.blocking_error((1 + reach) * near - reach * far).error


def _squared(values: Complex) -> Real:
    """Squared moduli."""
    found: Real = values.real**2 + values.imag**2
    return found
