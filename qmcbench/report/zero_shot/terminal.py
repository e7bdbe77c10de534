"""The result of ``qmcbench evaluate`` as text for people."""

from __future__ import annotations

from qmcbench.gates.energies import doubts, label, shortfall
from qmcbench.store.energies import Correlations, Energy, OneStep
from qmcbench.store.jsonl import FOLDER
from qmcbench.store.records import Run


def describe(run: Run) -> str:
    """Everything that an evaluation found, line by line."""
    energies = run.of(Energy)
    lines = _sampled(energies[0])
    if len(energies) > 1:
        lines.append("all J2 are evaluated on the same samples: their errors are correlated")
    for energy in energies:
        lines += _energy(energy)
    lines += _observables(run)
    known = energies[0].network.origin
    if known is not None and known.published_energy is not None:
        lines.append(
            f"the authors published E/N = {known.published_energy:.6f} (windowed) for {known.L}x{known.L}, "
            f"J2 = {known.J2:g}: {known.citation}"
        )
    return "\n".join(lines)


def _sampled(first: Energy) -> list[str]:
    network, samples = first.network, first.samples or 0
    lines = [
        f"{first.L}x{first.L}; network {network.name} ({network.parameters} parameters, {network.symmetry}, "
        f"{network.sign}, {network.dtype}) trained for {network.L}x{network.L}, J2 = {network.J2:g}",
        f"{samples} samples: {first.chains} chains x {samples // first.chains}, |psi|^{first.alpha:g}, "
        f"{first.gap} proposals apart; acceptance {first.acceptance:.3f}; {first.seconds or 0.0:.0f} s",
    ]
    if first.asked_sigma is not None:
        lines.append(f"(until each error was at most {first.asked_sigma:g}, or {first.asked} samples were taken)")
    elif samples != first.asked:
        lines.append(f"({first.asked} were asked for, rounded up to a multiple of the chains)")
    return lines


def _energy(energy: Energy) -> list[str]:
    window, best = energy.window, energy.reference
    lines = [
        f"J2 = {energy.J2:g}",
        f"  E/N             {_shown(energy.value, '.6f')} +- {_shown(energy.sigma, '.1e')}  ({label(energy)})",
        f"  variance of E/N {_shown(energy.variance, '.3e')}   V-score {_shown(energy.v_score, '.2e')}",
        f"  R-hat {_shown(energy.r_hat, '.3f')}   tau {_shown(energy.tau, '.2f')} samples   effective samples "
        f"{energy.effective_samples:.0f}   abnormal {energy.abnormal}",
        f"  outside {window.low} < E_loc/N < {window.high}: {100 * window.outside:.2f}% of |psi|^2",
    ]
    if said := shortfall(energy):
        lines.insert(2, f"  {said}")
    if window.mean is not None:
        error = _shown(window.sigma, ".1e")
        lines.append(f"  windowed E/N    {window.mean:.6f} +- {error}  (BIASED, to compare)")
    if best is not None:
        lines.append(
            f"  {'exact' if best.kind == 'exact' else 'published':<15} {best.value:.6f}  ({best.source}), relative "
            f"error {_shown(energy.above(best), '.1e')}"
        )
    return lines + _stepped(energy.stepped, energy.one_step)


def _stepped(after: Energy | None, step: OneStep | None) -> list[str]:
    if after is None or step is None:
        return []
    said = label(after) if doubts(after) else "a from the other half of the chains"
    lines = [
        f"  1 Lanczos step  {_shown(after.value, '.6f')} +- {_shown(after.sigma, '.1e')}  ({said})",
        f"  variance of it  {_shown(after.variance, '.3e')}   V-score {_shown(after.v_score, '.2e')}",
    ]
    if step.extrapolated_energy is not None:
        error = _shown(step.extrapolated_sigma, ".1e")
        lines.append(f"  extrapolated    {step.extrapolated_energy:.6f} +- {error}  (to variance 0; no bound)")
    return lines


def _observables(run: Run) -> list[str]:
    measured = {each.quantity: each for each in run.of(Correlations)}
    lines = []
    if factor := measured.get("structure_factor"):
        peak, error, sites = factor.value, factor.sigma, factor.L**2
        order = [None if each is None else each / sites for each in (peak, error)]
        lines.append(
            f"S(pi,pi) = {_shown(peak, '.5f')} +- {_shown(error, '.1e')}, m_s^2 = S(pi,pi)/N = "
            f"{_shown(order[0], '.6f')} +- {_shown(order[1], '.1e')}; all observables are in {FOLDER}/evaluate.jsonl"
        )
    if bond := measured.get("bond"):
        values = zip("xy", bond.mean, bond.error, strict=True)
        lines.append(
            "<S_0.S_1> along "
            + ", ".join(f"{name}: {_shown(mean, '.5f')} +- {_shown(error, '.1e')}" for name, mean, error in values)
        )
    return lines


def _shown(value: float | None, form: str) -> str:
    """A number that too few samples leave open is unknown."""
    return "unknown" if value is None else format(value, form)
