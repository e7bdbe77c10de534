"""Level *samples*: configurations, amplitudes and local energies that another program has written.

The data are what they are, whatever the seed: both stages of a test say the same, so each test is held at the square
of the rate of a stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from qmcbench import reference, statistics
from qmcbench.gates.causes import factors
from qmcbench.gates.check import Check, unmeasured
from qmcbench.gates.registry import Effect, Setting, gate
from qmcbench.gates.sampled import CODED, Indices, Reals, Sampled, Solved, connected, quantile, tail
from qmcbench.gates.targets.target import Target

R_HAT = 1.1
EFFECTIVE = 100
"""Fewest effective samples from which an error bar can be trusted."""
STUCK = 0.9
"""Largest share of steps that may leave a chain where it is; 0.6 is common on 4x4 near the ground state."""
LOCAL = 1e-4
"""Largest error of a local energy per site: log psi may be in single precision."""
REPEATED = 0.1
"""The share of samples that must be configurations drawn before, for their frequencies to say something."""


MISSING = 20.0
"""Samples that a smooth tail must have beyond an edge for its absence to be an alarm."""


def _sampled(target: Target) -> Sampled:
    assert target.samples is not None
    return connected(target.samples, target.J2).sampled


def _nothing(name: str, kind: str, why: str) -> Check:
    return unmeasured(name, kind, why, why)


@gate(
    "exact",
    needs=("samples",),
    cause="0 and 1 instead of -1 and +1; moves that do not conserve S^z; another sector; psi = 0 or an overflow",
)
def configurations(target: Target, setting: Setting) -> Iterator[Check]:
    """Every configuration is of spins +1 and -1 with S^z = 0, and all values are finite."""
    sampled = _sampled(target)
    wrong = ~np.isin(sampled.spins, (-1, 1)).all(1)
    values = [sampled.log_psi] if sampled.energies is None else [sampled.log_psi, sampled.energies]
    counts = {
        "spins of other values": wrong,
        "S^z not 0": sampled.spins.sum(1, dtype=np.int64) != 0,
        "values not finite": ~np.isfinite(np.stack(values)).all(0),
    }
    for what, bad in counts.items():
        yield Check(
            name=f"samples with {what}",
            check="exact",
            value=float(bad.sum()),
            bound=0.0,
            samples=len(bad),
            statement=f"Number of samples with {what}, of {len(bad)}.",
        )


@gate("exact", needs=("samples",), cause="parameters changed between samples; log psi of other configurations")
def amplitudes(target: Target, setting: Setting) -> Check:
    """Equal configurations have equal psi."""
    sampled, name = _sampled(target), "psi of equal configurations"
    if sampled.doubt is not None:
        return _nothing(name, "exact", sampled.doubt)
    if (sampled.counts == 1).all():
        return _nothing(name, "exact", "no configuration was drawn twice")
    off = sampled.log_psi - sampled.log_psi[sampled.first][sampled.which]
    return Check(
        name=name,
        check="exact",
        value=float(np.abs(np.exp(off) - 1).max()),
        bound=1e-3,
        statement=f"Largest relative difference among {int((sampled.counts > 1).sum())} that were drawn repeatedly.",
    )


@gate(
    "unbiased",
    needs=("samples",),
    effect=Effect(size=0.1, unit="of a standard deviation", tests=3),
    cause="another alpha; no Hastings factor for the number of possible moves; too short a warm-up; samples left out "
    "or weighted; the threshold drawn from the numbers that chose the move",
)
def distribution(target: Target, setting: Setting) -> Iterator[Check]:
    """Frequencies follow |psi|^alpha: in every other chain, among what the other chains have drawn."""
    sampled = _sampled(target)
    halves = None if sampled.doubt else _halves(sampled)
    if halves is None:
        why = sampled.doubt or "too few samples are of configurations that came before: only a small lattice has few"
        yield _nothing("distribution", "unbiased", why)
        return
    known, chains = halves
    assert target.samples is not None
    weight = np.where(known, sampled.weights(target.samples.alpha)[sampled.first], 0.0)
    weight /= weight.sum()
    for what, values in _properties(sampled).items():
        mean = float(weight @ values)
        spread = math.sqrt(float(weight @ (values - mean) ** 2))
        if spread < 1e-9:
            yield _nothing(what, "unbiased", "it is the same everywhere")
            continue
        inside = known[sampled.which]
        series = sampled.series(np.where(inside, (values[sampled.which] - mean) / spread, 0.0), chains)
        found = statistics.estimate(series)
        share = float(sampled.series(inside.astype(float), chains).mean())
        yield Check(
            name=f"mean of {what} under |psi|^{target.samples.alpha:g}",
            check="unbiased",
            value=abs(found.z(0.0)),
            bound=quantile(setting.rate**2 / 2),
            sigma=found.error / share,
            smallest_effect=setting.effect,
            false_alarm=setting.rate,
            samples=series.size,
            tau=found.tau,
            doubt=None if found.plateau else "the chains are too short for an error bar",
            statement=f"Standard errors between the samples and |psi|^{target.samples.alpha:g}; they are "
            f"{found.mean / share:+.3f} standard deviations apart.",
        )


def _halves(sampled: Sampled) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], list[Indices]] | None:
    """Which configurations half of the chains have drawn, and the other half; None if that says nothing."""
    chains = sampled.chains
    if len(chains) == 1:
        chains = np.array_split(chains[0], 2)
        chains = [part[: min(map(len, chains))] for part in chains]
    known = np.zeros(len(sampled.first), dtype=np.bool_)
    known[sampled.which[np.concatenate(chains[0::2])]] = True
    others = chains[1::2]
    if not others or not len(others[0]) or known[sampled.which[np.concatenate(others)]].mean() < REPEATED:
        return None
    return known, others


def _properties(sampled: Sampled) -> dict[str, Reals]:
    """Numbers that tell configurations apart, of each one that was drawn."""
    spins = sampled.spins[sampled.first].reshape(-1, sampled.L, sampled.L).astype(np.float64)
    i = np.arange(sampled.L)
    neel = 1 - 2 * ((i[:, None] + i) % 2)
    return {
        "log|psi|": sampled.log_psi[sampled.first].real,
        "the number of antiparallel neighbours": -sum(
            (spins * np.roll(spins, 1, axis)).sum((1, 2)) for axis in (1, 2)
        )
        / 2,
        "the staggered magnetisation squared": (spins * neel).sum((1, 2)) ** 2,
    }


@gate(
    "exact",
    needs=("samples",),
    cause="another J2, boundary or order of the sites; J for J/2 in the exchange; psi(S) / psi(S')",
)
def local_energies(target: Target, setting: Setting) -> Check:
    """Local energies are those of the file's own psi, as far as psi of the connected configurations is known."""
    sampled, name = _sampled(target), "local energies"
    why = sampled.doubt or ("there are no local energies" if sampled.energies is None else None)
    why = why or (f"of {sampled.L}x{sampled.L} too few configurations are known" if sampled.L > CODED else None)
    if why is not None or sampled.energies is None:
        return _nothing(name, "exact", why or "")
    assert target.samples is not None
    table = connected(target.samples, target.J2)
    off = _off(table.solved, sampled)
    if off is None:
        return _nothing(name, "exact", "of too few configurations all connected ones were drawn")
    sites = sampled.L**2
    cause = None
    if off > LOCAL:
        for multiple, meaning in factors(sites).items():
            again = _off(table.solve(sampled.energies / multiple), sampled)
            if again is not None and again <= LOCAL:
                cause = meaning
    return Check(
        name=name,
        check="exact",
        value=off,
        bound=LOCAL,
        samples=len(sampled.first),
        statement=f"Largest contradiction, per site, between local energies and psi at J2 = {target.J2:g}, for any "
        "psi of what was not drawn.",
        cause=cause,
    )


def _off(solved: Solved, sampled: Sampled) -> float | None:
    """The largest error of a local energy, per site; None if there is nothing to compare."""
    if not solved.known.any():
        return None
    return float(np.abs(solved.residual[solved.known]).max()) / sampled.L**2


@gate("convergence", needs=("samples",), cause="too short a warm-up; chains caught apart; an acceptance near zero")
def chains(target: Target, setting: Setting) -> Iterator[Check]:
    """Chains agree with each other, move, and are long against their autocorrelation time."""
    sampled = _sampled(target)
    if sampled.doubt is not None:
        yield _nothing("chains", "convergence", sampled.doubt)
        return
    observed = {"log|psi|": sampled.log_psi.real}
    if sampled.energies is not None:
        observed["local energy"] = sampled.energies.real
    for what, values in observed.items():
        found = statistics.estimate(sampled.series(values))
        yield Check(
            name=f"effective samples of {what}",
            check="convergence",
            value=found.effective_samples,
            relation="at least",
            bound=EFFECTIVE,
            samples=found.samples,
            tau=found.tau,
            statement=f"{found.samples} samples over an autocorrelation time of {found.tau:.1f}.",
        )
        if math.isfinite(found.r_hat) and found.effective_samples >= EFFECTIVE:
            yield Check(
                name=f"R-hat of {what}",
                check="convergence",
                value=found.r_hat,
                bound=R_HAT,
                statement=f"Split R-hat of {len(sampled.chains)} chains.",
            )
    still = sampled.series(sampled.which.astype(float))
    if still.shape[1] > 1:
        yield Check(
            name="chains that stand still",
            check="convergence",
            value=float((np.diff(still, axis=1) == 0).mean(1).max()),
            bound=STUCK,
            statement="Largest share of a chain's samples that repeat the one before.",
        )


@gate(
    "variational",
    needs=("samples",),
    effect=Effect(size=1e-2, unit="of the energy per site", tests=2),
    cause="a window or clipping of local energies; local energies of another Hamiltonian; the weights of alpha",
)
def energy(target: Target, setting: Setting) -> Iterator[Check]:
    """The energy is real, and not below the exact one."""
    sampled = _sampled(target)
    why = sampled.doubt or ("there are no local energies" if sampled.energies is None else None)
    if why is not None or sampled.energies is None or target.samples is None:
        yield _nothing("energy", "variational", why or "")
        return
    weights = sampled.series(sampled.weights(2 - target.samples.alpha))
    per_site = sampled.energies / sampled.L**2
    real = statistics.estimate(sampled.series(per_site.real), weights)
    imaginary = statistics.estimate(sampled.series(per_site.imag), weights)
    known = reference.known_energy(sampled.L, target.J2)
    words = f"E = {real.mean:.6f} +- {real.error:.2g} per site, tau = {real.tau:.1f}"
    for name, found, value, rate in (
        ("imaginary part of the energy", imaginary, abs(imaginary.z(0.0)), setting.rate**2 / 2),
        ("exact energy", real, math.nan if known is None else -real.z(known[0]), setting.rate**2),
    ):
        if math.isnan(value):
            yield _nothing(name, "variational", f"no exact energy of {sampled.L}x{sampled.L} at J2 = {target.J2:g}")
            continue
        against = "0: H is Hermitian" if found is imaginary or known is None else f"the exact energy {known[0]:.6f}"
        yield Check(
            name=name,
            check="variational",
            value=value,
            bound=quantile(rate),
            sigma=found.error,
            smallest_effect=setting.effect,
            false_alarm=setting.rate,
            samples=found.samples,
            tau=found.tau,
            doubt=None if found.plateau else "the chains are too short for an error bar",
            statement=f"Standard errors from (below) {against}. {words}.",
        )


@gate(
    "unbiased",
    needs=("samples",),
    effect=Effect(size=MISSING, unit="samples that a smooth tail would have", tests=2),
    cause="local energies outside a window left out, or cut off at its edge",
)
def window(target: Target, setting: Setting) -> Iterator[Check]:
    """Local energies end in tails, not at the edges of a window."""
    sampled = _sampled(target)
    why = sampled.doubt or ("there are no local energies" if sampled.energies is None else None)
    if why is not None or sampled.energies is None:
        yield _nothing("window", "unbiased", why or "")
        return
    values = sampled.energies.real / sampled.L**2
    size = sampled.log_psi.real
    if np.ptp(values) < 1e-6:
        yield _nothing("window", "unbiased", "all local energies are the same")
        return
    for side, sign in (("largest", 1.0), ("smallest", -1.0)):
        edge = (sign * values).max()
        at = sign * values >= edge - 1e-12
        yield Check(
            name=f"different |psi| with the {side} local energy",
            check="unbiased",
            value=float(len(np.unique(np.round(size[at], 6)))),
            bound=4.0,
            statement=f"Clipping gives many configurations the same one, {sign * edge:.6g} per site.",
        )
        yield Check(
            name=f"samples missing beyond the {side} local energy",
            check="unbiased",
            value=tail(sign * values),
            bound=MISSING,
            samples=len(values),
            # Of a smooth tail with so many expected, none is seen with this probability (Poisson).
            false_alarm=math.exp(-MISSING),
            statement=f"How many a smooth tail would have beyond {sign * edge:.6g} per site, where there is none.",
        )


@gate(
    "unbiased",
    needs=("samples",),
    effect=Effect(size=0.02, unit="of the weight"),
    cause="samples left out: those outside a window, or of small |psi|; moves that cannot reach all",
)
def unseen(target: Target, setting: Setting) -> Check:
    """What was never drawn has no more weight than chance leaves; psi of it follows from local energies (4x4)."""
    sampled, name = _sampled(target), "weight of what was never drawn"
    why = sampled.doubt or (None if sampled.L == 4 else "only 4x4 has few enough configurations")
    if why is not None or sampled.energies is None or target.samples is None:
        return _nothing(name, "unbiased", why or "there are no local energies")
    solved = connected(target.samples, target.J2).solved
    if solved.unknown and not len(solved.log_psi):
        return _nothing(name, "unbiased", "psi of what was not drawn does not follow; more samples are needed")
    # Every configuration's weight, those that were drawn first; each is missed with the probability exp(-n p).
    size = np.concatenate([sampled.log_psi[sampled.first].real, solved.log_psi])
    weight = np.exp(target.samples.alpha * (size - size.max()))
    tau = statistics.integrated_autocorrelation_time(sampled.series(sampled.log_psi.real))
    count = len(sampled.which) / max(1.0, tau)
    visits = count * weight / weight.sum()
    missed = np.exp(-visits)
    share = float(visits[len(sampled.first) :].sum() / count)
    expected = float((visits * missed).sum() / count)
    sigma = math.sqrt(float((visits**2 * missed * (1 - missed)).sum())) / count
    return Check(
        name=name,
        check="unbiased",
        value=(share - expected) / sigma if sigma else 0.0,
        bound=quantile(setting.rate**2),
        sigma=sigma,
        smallest_effect=setting.effect,
        false_alarm=setting.rate,
        samples=len(sampled.which),
        tau=tau,
        statement=f"Standard errors by which it, {share:.3g}, exceeds what chance leaves, {expected:.3g}.",
    )
