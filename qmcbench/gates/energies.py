"""What an evaluated energy may be called, and what is claimed of it: made from records alone.

One rule of trust (:func:`doubts`) serves the text of ``evaluate``, the checks and the reports. An energy that it
doubts decides nothing: its checks are INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.gates.check import Check
from qmcbench.store.energies import Energy, FullSum

FEW = 30
"""Effective samples below which nothing is to be trusted: the bias of a reweighted mean is of order 1 / number."""
R_HAT = 1.05
"""Largest split R-hat of chains that agree (for independent samples it is within 0.01 of 1)."""
ACCEPTANCE = 0.05
"""Least share of accepted proposals of chains that move."""
WARM_UP = 10.0
"""Autocorrelation times that the warm-up must last."""
SPREADING = 0.8
"""Sweeps for each site along an edge that it must last too: what the Neel start leaves decays as sweeps^-1.5 until it
has spread over the lattice, which the autocorrelation time of the energy does not show. With psi = 1 and Marshall's
sign on 36x36 the energy per site is off by -1.1e-3 after 20 sweeps, -3e-4 after 40 (4000 chains)."""

FALSE_ALARM = 1e-4
"""Two-sided rate of an unbiased check."""
UNBIASED_Z = 3.890591886413094
"""Standard errors that belong to it."""
UNBIASED_EFFECT = 5e-4
"""The bias of an energy per site (units of J1) that a comparison with the full sum must see."""
VARIATIONAL_Z = 3.0
"""Standard errors that a variational energy may lie below the exact one."""
VARIATIONAL_FALSE_ALARM = 1.35e-3
VARIATIONAL_EFFECT = 5e-3
"""The violation (per site, units of J1) that the variational check must see."""
ROUNDING = 1e-9
"""Of a full sum in float64, per site."""
AGREEMENT_Z = 3.0
"""Standard errors between our energy and a published one of the same network, whose own error is not known."""
AGREEMENT_FALSE_ALARM = 2.7e-3
AGREEMENT_EFFECT = 1e-3
"""The difference (per site, units of J1) from a published energy that must be seen."""


def doubts(energy: Energy) -> tuple[str, ...]:
    """Why an energy is not to be called unbiased, or its error not to be believed; empty if it may be."""
    reasons = []
    if energy.value is None:
        reasons.append("the energy is not finite")
    if not energy.sigma:
        reasons.append(f"the error is {'unknown' if energy.sigma is None else '0, so all samples are alike'}")
    if not energy.effective_samples >= FEW:
        reasons.append(f"FEWER THAN {FEW} EFFECTIVE SAMPLES")
    if energy.r_hat is None:
        reasons.append("R-hat is unknown: fewer than 4 samples a chain")
    elif not energy.r_hat <= R_HAT:
        reasons.append(f"R-hat {energy.r_hat:.3f} is above {R_HAT}: the chains disagree")
    if not energy.acceptance >= ACCEPTANCE:
        reasons.append(f"acceptance {energy.acceptance:.3f} is below {ACCEPTANCE}: the chains hardly move")
    needed = max(WARM_UP * (energy.tau or 0.0) * energy.gap / max(1, energy.L**2), SPREADING * energy.L)
    if not energy.warm_up >= needed:
        reasons.append(
            f"warm-up of {energy.warm_up} sweeps is shorter than {needed:.3g} ({WARM_UP:g} tau, or {SPREADING:g} L)"
        )
    if not energy.plateau:
        reasons.append("NO PLATEAU in the blocking error, which is a lower bound: take more samples")
    if energy.abnormal:
        reasons.append(f"{energy.abnormal} abnormal samples were left out")
    return tuple(reasons)


def label(energy: Energy) -> str:
    """What an energy may be called, in words."""
    reasons = doubts(energy)
    return f"NOT TO BE TRUSTED: {'; '.join(reasons)}" if reasons else "unbiased"


def shortfall(energy: Energy) -> str:
    """That sampling ended before the standard error was what was asked for, in a sentence; empty if it did not."""
    if not energy.short or energy.asked_sigma is None:
        return ""
    error = "unknown" if energy.sigma is None else f"{energy.sigma:.2g}"
    return (
        f"Sampling stopped at {energy.samples} samples, the most that it was to take: the error is {error}, and not "
        f"the {energy.asked_sigma:g} that was asked for, with a plateau; allow more."
    )


def claims(energies: Sequence[Energy]) -> list[Check]:
    """Every check that applies to these energies: which ones depends on what is known of each."""
    found = []
    for energy in energies:
        if energy.exact is not None:
            found.append(variational(energy, energy.exact.value))
            if energy.stepped is not None:
                found.append(variational(energy.stepped, energy.exact.value))
            if energy.tolerance is not None:
                found.append(convergence(energy, energy.exact.value, energy.tolerance))
        if energy.full_sum is not None:
            found.append(unbiased(energy, energy.full_sum))
        if energy.published is not None and energy.window.mean is not None:
            found.append(agreement(energy, energy.published))
    return found


def unbiased(energy: Energy, full_sum: float) -> Check:
    """Sampled energy against the full sum of the same wave function."""
    z = deviation(energy.value, energy.sigma, full_sum)
    return Check(
        name=f"sampled = full-sum energy, {energy.name}",
        check="unbiased",
        value=None if z is None else abs(z),
        bound=UNBIASED_Z,
        sigma=energy.sigma,
        smallest_effect=UNBIASED_EFFECT,
        false_alarm=FALSE_ALARM,
        doubt=_doubt(energy),
        statement="|z| of the Monte Carlo energy against the sum over all configurations, false-alarm rate "
        f"{FALSE_ALARM:g}; a bias of {UNBIASED_EFFECT:g} must be seen.",
    )


def agreement(energy: Energy, published: float) -> Check:
    """The same wave function in the same window, evaluated by somebody else and published without an error."""
    z = deviation(energy.window.mean, energy.window.sigma, published)
    return Check(
        name=f"published = sampled windowed energy, {energy.name}",
        check="unbiased",
        value=None if z is None else abs(z),
        bound=AGREEMENT_Z,
        sigma=energy.window.sigma,
        smallest_effect=AGREEMENT_EFFECT,
        false_alarm=AGREEMENT_FALSE_ALARM,
        doubt=_doubt(energy),
        statement=f"Distance of our windowed mean from the one published for the same parameters, {published:.8g}, "
        f"in our standard errors (theirs is not known); a difference of {AGREEMENT_EFFECT:g} must be seen.",
    )


def variational(energy: Energy, exact: float) -> Check:
    """E + 3 sigma >= E0."""
    z = deviation(energy.value, energy.sigma, exact)
    return Check(
        name=f"variational bound, {energy.name}",
        check="variational",
        value=None if z is None else -z,
        bound=VARIATIONAL_Z,
        sigma=energy.sigma,
        smallest_effect=VARIATIONAL_EFFECT,
        false_alarm=VARIATIONAL_FALSE_ALARM,
        doubt=_doubt(energy),
        statement="Standard errors by which the energy lies below the exact one (negative: above); a violation of "
        f"{VARIATIONAL_EFFECT:g} must be seen.",
    )


def bounded(total: FullSum) -> Check:
    """E >= E0 of a full sum, but for rounding."""
    exact = total.reference.value if total.reference is not None else None
    below = None if exact is None or total.value is None else exact - total.value
    return Check(
        name=f"variational bound, full sum on {total.L}x{total.L}, J2 = {total.J2:g}",
        check="variational",
        value=below,
        bound=ROUNDING,
        not_run="no exact energy is known" if exact is None else None,
        statement="How far the energy per site lies below the exact one (negative: above); there are no samples.",
    )


def convergence(energy: Energy, exact: float, tolerance: float) -> Check:
    """Relative error against a tolerance: by the full sum of the same wave function, or its upper bound (2 sigma)."""
    mean, sigma = energy.value, energy.sigma
    found = None if mean is None or sigma is None else mean + 2 * sigma
    error = "unknown" if sigma is None or exact == 0.0 else f"{sigma / abs(exact):.1e}"
    statement, doubt = f"(E + 2 sigma - E0) / |E0| with sigma / |E0| = {error}.", _doubt(energy)
    if energy.full_sum is not None:
        found, doubt = energy.full_sum, None
        statement = "(E - E0) / |E0| by the full sum of the same wave function."
    return Check(
        name=f"relative error, {energy.name}",
        check="convergence",
        value=None if found is None or exact == 0.0 else (found - exact) / abs(exact),
        bound=tolerance,
        doubt=doubt,
        statement=statement,
    )


def deviation(value: float | None, sigma: float | None, reference: float | None) -> float | None:
    """``value`` minus a ``reference`` in standard errors, signed; None where one is missing or the error is 0."""
    return None if value is None or reference is None or not sigma else (value - reference) / sigma


def _doubt(energy: Energy) -> str | None:
    return "; ".join(doubts(energy)) or None
