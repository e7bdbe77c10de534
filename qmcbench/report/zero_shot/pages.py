"""The chapters on one network at other lattices and couplings (``qmcbench zero-shot``, ``qmcbench evaluate``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qmcbench.errors import UserError
from qmcbench.gates.energies import bounded, claims, deviation, doubts, label
from qmcbench.report.claims import check_tables, judge, numbered, provenance_table
from qmcbench.report.colours import COLOURS
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.figure import WIDTH, Plot, origin, render
from qmcbench.report.numbers import DASH, count, duration, fixed, format_value_error, number, percent
from qmcbench.report.zero_shot.structure_factor import draw_structure_factor
from qmcbench.store.energies import Correlations, Energy, FullSum, Network, by_lattice
from qmcbench.store.records import Run


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter for each evaluation by samples, of one lattice or many, and one for all full sums."""
    sums = [run for run in runs if run.of(FullSum)]
    sampled = [run for run in runs if run.of(Energy) or not run.of(FullSum)]
    made = [
        Chapter(numbered("energies", n), title(run), judgement(run), sections(run))
        for n, run in enumerate(sampled, start=1)
    ]
    return [*made, *([_summed(sums)] if sums else [])]


def _summed(runs: Sequence[Run]) -> Chapter:
    """The chapter on full sums: every network beside the others, by lattice and coupling, the lowest energy first."""
    sums = [(run, each) for run in runs for each in run.of(FullSum)]
    sums.sort(key=lambda pair: (pair[1].L, pair[1].J2, pair[1].value or 0.0))
    checks = [bounded(each) for _, each in sums]
    made = [
        replace(_provenance(run, each.network), title=f"{each.network.name} on {_where(each)}") for run, each in sums
    ]
    sections = [
        Section("Energies", [full_sums([each for _, each in sums])]),
        Section("Checks", check_tables(checks)),
        Section("Provenance", made),
    ]
    sizes = " and ".join(dict.fromkeys(_size(each.L) for _, each in sums))
    return Chapter("full-sums", f"Full sums on {sizes}", judge(checks), sections, "Correctness")


def title(run: Run) -> str:
    """What was evaluated: on which lattices, by which sum over symmetries."""
    what = "Zero-shot transfer" if run.job == "zero-shot" else "Evaluation"
    network = _network(run)
    if network is None:
        return f"{what} of a network"
    sizes = sorted({each.L for each in run.of(Energy)})
    where = _size(sizes[0]) if len(sizes) == 1 else f"{_size(sizes[0])} to {_size(sizes[-1])}"
    trained = f"trained for {_size(network.L)}, J2 = {network.J2:g}"
    return f"{what} on {where}, symmetry {network.symmetry}, of a network {trained}"


def _network(run: Run) -> Network | None:
    """The network of all its energies."""
    return next((each.network for each in run.of(Energy)), None)


def judgement(run: Run) -> Judgement:
    """The headline: the checks, and every energy that is not to be trusted."""
    energies = run.of(Energy)
    remarks = [f"{energy.name}: {label(energy)}." for energy in energies if doubts(energy)]
    return judge(claims(energies), remarks, [] if energies else ["energies"])


def sections(run: Run) -> list[Section]:
    """Everything below the headline, in order."""
    network = _network(run)
    if network is None:
        return [Section("Energies", empty="No evaluation was finished.")]
    return [
        Section("Energies", [table for table in (grid(run), _native(run), one_steps(run)) if table.rows]),
        Section("Figures", plots=figures(run), empty="No data to plot."),
        Section("Against exact and published energies", [comparison(run)]),
        Section("Sampling", [_sampling(run)]),
        Section("Checks", check_tables(claims(run.of(Energy))), empty="None apply."),
        Section("Provenance", [_provenance(run, network)]),
    ]


def figures(run: Run) -> list[Plot]:
    """Energies above the best reference, and the structure factor where it was measured."""
    plots = [_excess(run)] if any(energy.reference for energy in run.of(Energy)) else []
    maps = {each.L: each for each in run.of(Correlations) if each.quantity == "structure_factor"}
    return plots + [_map(each, run) for each in maps.values()]


def _size(L: int) -> str:
    return f"{L}x{L}"


def _couplings(run: Run) -> list[float]:
    return list(dict.fromkeys(energy.J2 for energy in run.of(Energy)))


def grid(run: Run) -> Table:
    """The energy of every lattice and coupling."""
    couplings = _couplings(run)
    rows: list[Row] = []
    for energies in by_lattice(run.of(Energy)):
        own = {energy.J2: energy for energy in energies}
        rows.append([_size(energies[0].L), *(_shown(own.get(J2)) for J2 in couplings)])
    caption = (
        "Energy per site in units of J1 = 1 with the parameters as they are: trained at one size and J2, it has not "
        "seen the others. Unbiased means of unfiltered local energies, but for those in red, which are not to be "
        "trusted; in parentheses one standard error by blocking. The couplings of one row share their samples, so "
        "their errors are correlated. " + origin(run)
    )
    return Table("E/N without retraining", ["lattice", *(f">J2 = {J2:g}" for J2 in couplings)], rows, caption)


def _shown(energy: Energy | None) -> str | Cell:
    if energy is None:
        return DASH
    text = format_value_error(energy.value, energy.sigma)
    return Cell(text, "bad") if doubts(energy) else text


def _native(run: Run) -> Table:
    """The trained coupling of each lattice: everything known of the estimate."""
    columns = [
        "lattice", ">J2", ">E/N", ">variance of E/N", ">V-score", ">outside window", ">windowed E/N (biased)",
        ">published (windowed)", ">z of windowed", ">z of E/N",
    ]  # fmt: skip
    energies = run.of(Energy)
    rows: list[Row] = []
    for energy in energies:
        window, published = energy.window, energy.published
        if energy.J2 != energy.network.J2:
            continue
        rows.append([
            _size(energy.L), number(energy.J2), _shown(energy), number(energy.variance), number(energy.v_score),
            percent(window.outside), format_value_error(window.mean, window.sigma), number(published, 8),
            fixed(deviation(window.mean, window.sigma, published), 2),
            fixed(deviation(energy.value, energy.sigma, published), 2),
        ])  # fmt: skip
    low, high = energies[0].window.low, energies[0].window.high
    caption = (
        f"At the J2 that the network was trained for. Window: the network's authors keep only local energies with "
        f"{low:g} < E_loc/N < {high:g} (share of |psi|^2 outside it; mean of the rest, which is biased) "
        "and publish that mean without an error. z: our windowed mean, and our unbiased one, minus theirs, in our "
        "errors."
    )
    return Table("Unbiased and windowed energies", columns, rows, caption)


def one_steps(run: Run) -> Table:
    """Energies after one Lanczos step, where it was taken."""
    columns = [
        ">L", ">J2", ">E/N", ">after one step", ">variance before", ">variance after", ">V-score after",
        ">extrapolated",
    ]  # fmt: skip
    rows: list[Row] = []
    for before in run.of(Energy):
        after, step = before.stepped, before.one_step
        if after is None or step is None:
            continue
        rows.append([
            str(before.L), number(before.J2), _shown(before), _shown(after), number(before.variance),
            number(after.variance), number(after.v_score),
            format_value_error(step.extrapolated_energy, step.extrapolated_sigma),
        ])  # fmt: skip
    caption = (
        "The best (1 + a H)|psi>, by the same samples: a from one half of the chains and the energy from the other, "
        "and the other way about, since the energy of the best a of the same samples is biased low. Extrapolated: to "
        "variance 0 on the line through both, no bound."
    )
    return Table("One Lanczos step", columns, rows, caption)


def comparison(run: Run) -> Table:
    """Every energy beside what else is known of it."""
    columns = [
        ">L", ">J2", ">E/N", ">paper, retrained", ">ours - paper", ">best reference", "kind", ">relative difference",
        "source",
    ]  # fmt: skip
    rows: list[Row] = []
    for energy in run.of(Energy):
        best, paper = energy.reference, energy.paper
        ours = None if energy.value is None or paper is None else energy.value - paper.value
        known = [DASH, DASH, DASH, DASH]
        if best is not None:
            known = [number(best.value, 8), best.kind, number(energy.above(best), 2), best.source]
        rows.append([
            str(energy.L), number(energy.J2), _shown(energy), number(None if paper is None else paper.value, 6),
            DASH if ours is None else format_value_error(ours, energy.sigma), *known,
        ])  # fmt: skip
    caption = (
        "Paper, retrained: Table 4 of the seed paper, the same architecture optimised at each size and coupling. "
        "Best reference: exact, else the best published energy; a variational one is an upper bound, so a difference "
        "counts what retraining or a better network gains at least."
    )
    return Table("Every energy beside the paper's and the best published one", columns, rows, caption)


def full_sums(sums: Sequence[FullSum], made: str = "") -> Table:
    """What full sums say; ``made`` ends the caption."""
    columns = [
        "network", "checkpoint", "summed on", ">E/N", ">exact E/N", ">relative error", ">variance of E/N", ">V-score",
        ">infidelity", ">E/N after one Lanczos step", ">its relative error", ">E/N extrapolated", "sector",
        "ground state's", ">configurations",
    ]  # fmt: skip
    rows: list[Row] = []
    for each in sums:
        own, exact = each.network, each.reference
        stepped = None if exact is None else exact.above(each.one_step_energy)
        rows.append([
            f"{own.name}, {own.symmetry}, trained for {_size(own.L)}, J2 = {own.J2:g}", Cell(own.sha256[:8], "code"),
            _where(each), number(each.value, 10), number(None if exact is None else exact.value, 10),
            number(each.relative_error, 3), number(each.variance, 3), number(each.v_score, 3),
            number(each.infidelity, 3), number(each.one_step_energy, 10), number(stepped, 3),
            number(each.extrapolated_energy, 10), each.sector, each.ground_sector, count(each.configurations),
        ])  # fmt: skip
    caption = (
        "Sums over all configurations, by orbits of the symmetries where there are any: no samples, no error. The "
        "checkpoint is named by the beginning of its SHA-256. Extrapolated: to variance 0 along the line through the "
        f"energies without and with a Lanczos step, which is no bound. {made}"
    )
    return Table("Full sums", columns, rows, caption)


def _where(each: FullSum) -> str:
    return f"{_size(each.L)}, J2 = {each.J2:g}"


def _sampling(run: Run) -> Table:
    columns = [
        "lattice", ">samples", ">chains", ">acceptance", ">R-hat", ">tau", ">effective", ">abnormal", ">seconds",
        ">samples/s",
    ]  # fmt: skip
    rows: list[Row] = []
    for energies in by_lattice(run.of(Energy)):
        worst = max(energies, key=lambda energy: energy.tau or 0.0)
        rate = worst.samples / worst.seconds if worst.samples and worst.seconds else None
        rows.append([
            _size(worst.L), count(worst.samples), count(worst.chains), fixed(worst.acceptance, 3),
            fixed(worst.r_hat, 3), number(worst.tau), count(round(worst.effective_samples)), count(worst.abnormal),
            fixed(worst.seconds, 0), number(rate),
        ])  # fmt: skip
    caption = (
        "Samples are L*L proposals apart. R-hat, autocorrelation time tau (in samples) and effective samples are "
        "those of the local energies at the coupling with the longest tau. Seconds include the warm-up and, "
        "where it was measured, the structure factor. " + origin(run)
    )
    return Table("How the samples were drawn", columns, rows, caption)


def _provenance(run: Run, network: Network) -> Table:
    spent = sum(each[0].seconds or 0.0 for each in by_lattice(run.of(Energy)))
    spent += sum(each.seconds or 0.0 for each in run.of(FullSum))
    rows: list[Row] = [
        ["network", f"{network.name}, {count(network.parameters)} parameters"],
        ["symmetry, sign, precision", ", ".join((network.symmetry, network.sign, network.dtype))],
        ["checkpoint, SHA-256", Cell(network.sha256, "code")],
        ["time of the evaluations", duration(spent)],
    ]
    if network.origin is not None:
        known = {name: getattr(network.origin, name) for name in ("citation", "source", "licence")}
        rows += [[name, value] for name, value in known.items() if value is not None]
    return provenance_table(run, rows)


def _excess(run: Run) -> Plot:
    compared = [energy for energy in run.of(Energy) if energy.reference and energy.reference.value]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, J2 in zip(cycle(COLOURS), _couplings(run), strict=False):
            own = [(each, each.reference) for each in compared if each.J2 == J2 and each.reference is not None]
            excess = np.array([each.above(best) for each, best in own], dtype=np.float64)
            error = np.array([each.sigma for each, _ in own], dtype=np.float64)
            error /= np.array([abs(best.value) for _, best in own])
            sizes = [each.L for each, _ in own]
            axes.errorbar(sizes, excess, error, fmt="o-", color=colour, capsize=3, linewidth=1, label=f"J2 = {J2:g}")
        axes.axhline(0.0, color="black", linestyle="--", linewidth=1)
        axes.set(xlabel="L", ylabel="(E - E_best)/|E_best|", xticks=sorted({each.L for each in compared}))
        axes.legend(ncols=2)

    caption = (
        "Relative distance of each zero-shot energy from the best reference: exact where that is known, else "
        "published (the table names each). Bars: one standard error of ours. Lines only guide the eye; lattices and "
        "couplings without a published energy are left out. " + origin(run)
    )
    return Plot("excess", "Distance from the best known energies", caption, render("excess", (WIDTH, 3.6), draw))


def draw_map(run: Run, path: Path) -> None:
    """Draw the structure factor of an evaluation to ``path`` with the suffix ``.svg``."""
    for each in run.of(Correlations):
        if each.quantity == "structure_factor":
            draw_structure_factor(_factor(each), path)


def _factor(measured: Correlations) -> NDArray[np.float64]:
    """S(k), shape (L, L); raises a UserError if the record is of another shape."""
    L = measured.L
    if measured.shape != (L, L) or len(measured.mean) != L * L or not measured.error:
        raise UserError(
            f"The structure factor of a run has {len(measured.mean)} values of shape {measured.shape} on {L}x{L}; "
            "measure it again."
        )
    return np.array(measured.mean, dtype=np.float64).reshape(L, L)


def _map(measured: Correlations, run: Run) -> Plot:
    L, factor = measured.L, _factor(measured)
    worst = max((error for error in measured.error if error is not None), default=None)
    sites = L * L
    peak = format_value_error(measured.value, measured.sigma)
    order = format_value_error(
        None if measured.value is None else measured.value / sites,
        None if measured.sigma is None else measured.sigma / sites,
    )

    def draw(figure: Figure) -> None:
        draw_structure_factor(factor, figure.subplots())

    name = f"structure-factor-{L}"
    caption = (
        f"Spin structure factor S(k) = sum_d exp(i k.d) <S_0.S_d> of the network on {L}x{L}, by Monte Carlo with the "
        f"full S.S, not divided by N. S(pi, pi) = {peak}, so m_s^2 = S(pi, pi)/N = {order}; largest standard "
        f"error of any momentum {number(worst, 2)}. The wave function does not depend on J2. {origin(run)}"
    )
    size = (WIDTH, 0.79 * WIDTH)
    return Plot(name, f"Structure factor, {L}x{L}", caption, render(name, size, draw))
