"""The report of one network on other lattices and couplings (``qmcbench zero-shot``)."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qmcbench.report.claims import check_tables, failed_checks, provenance_table
from qmcbench.report.document import Cell, Row, Section, Table, Verdict, write
from qmcbench.report.figure import COLOURS, WIDTH, Plot, Result, provenance, render
from qmcbench.report.numbers import DASH, count, duration, fixed, format_value_error, number, percent
from qmcbench.report.zero_shot.structure_factor import draw_structure_factor


def write_report(results: Result, out: Path) -> list[Path]:
    """Write the report of ``results`` under ``out`` (see :func:`qmcbench.report.document.write`)."""
    trained = results["trained_for"]
    title = f"Zero-shot transfer of a network trained for {trained['L']}x{trained['L']}, J2 = {trained['J2']:g}"
    return write(results, title, judge(results), sections(results), out)


def judge(results: Result) -> Verdict:
    """The verdict: the checks, and every energy whose error is not to be trusted."""
    checks = results["checks"]
    failures = failed_checks(checks)
    headline = (
        f"{len(checks) - len(failures)} of {len(checks)} checks passed" if checks else "Nothing to check against"
    )
    remarks = []
    for evaluation in results["evaluations"]:
        rows = evaluation["estimates"]
        bad = [f"{row['J2']:g}" for row in rows if not row["plateau"]]
        if bad:
            remarks.append(
                f"{_size(evaluation)}: no plateau in the blocking analysis at J2 = {', '.join(bad)}; "
                "these errors are lower bounds."
            )
    return Verdict(headline, bool(checks) and not failures, failures, remarks)


def sections(results: Result) -> list[Section]:
    """Everything below the headline, in order."""
    return [
        Section("Energies", [table for table in (_grid(results), _native(results)) if table.rows]),
        Section("Figures", plots=figures(results)),
        Section("Against exact and published energies", [_comparison(results)]),
        Section("Sampling", [_sampling(results)]),
        Section("Checks", [table for table in check_tables(results["checks"]) if table.rows], empty="None apply."),
        Section("Provenance", [_provenance(results)]),
    ]


def figures(results: Result) -> list[Plot]:
    """Energies above the best reference, and the structure factor where it was measured."""
    plots = [_excess(results)] if any(row["best"] for row in results["comparisons"]) else []
    return plots + [
        _map(evaluation, results) for evaluation in results["evaluations"] if evaluation.get("observables")
    ]


def _size(evaluation: Result) -> str:
    return f"{evaluation['L']}x{evaluation['L']}"


def _grid(results: Result) -> Table:
    rows: list[Row] = [
        [_size(evaluation), *(format_value_error(row["energy"], row["error"]) for row in evaluation["estimates"])]
        for evaluation in results["evaluations"]
    ]
    caption = (
        "Energy per site in units of J1 = 1 with the parameters as they are: trained at one size and J2, it has not "
        "seen the others. Unbiased means of unfiltered local energies; in parentheses one "
        "standard error by blocking. The couplings of one row share their samples, so their errors are correlated. "
        + provenance(results)
    )
    return Table("E/N without retraining", ["lattice", *(f">J2 = {J2:g}" for J2 in results["J2"])], rows, caption)


def _native(results: Result) -> Table:
    """The trained coupling of each lattice: everything known of the estimate."""
    columns = [
        "lattice", ">J2", ">E/N", ">variance of E/N", ">V-score", ">outside window", ">windowed E/N (biased)",
        ">published (windowed)", ">z of windowed", ">z of E/N",
    ]  # fmt: skip
    rows: list[Row] = []
    for evaluation in results["evaluations"]:
        published = evaluation["checkpoint"]["imported"] or {}
        for row in evaluation["estimates"]:
            if row["J2"] != results["trained_for"]["J2"]:
                continue
            same = (published.get("L"), published.get("J2")) == (evaluation["L"], row["J2"])
            value = published.get("published_energy") if same else None
            windowed = row["windowed_biased"] or {}
            rows.append([
                _size(evaluation), number(row["J2"]), format_value_error(row["energy"], row["error"]),
                number(row["variance"]), number(row["v_score"]), percent(row["outside_window"]),
                format_value_error(windowed.get("energy"), windowed.get("error")), number(value, 8),
                *(_deviation(found, value) for found in (windowed, row)),
            ])  # fmt: skip
    low, high = results["evaluations"][0]["estimates"][0]["window"]
    caption = (
        f"At the J2 that the network was trained for. Window: the network's authors keep only local energies with "
        f"{low:g} < E_loc/N < {high:g} (share of |psi|^2 outside it; mean of the rest, which is biased) and publish "
        "that mean without an error. z: our windowed mean, and our unbiased one, minus theirs, in our errors."
    )
    return Table("Unbiased and windowed energies", columns, rows, caption)


def _deviation(found: Result, value: float | None) -> str:
    return DASH if value is None or not found.get("error") else fixed((found["energy"] - value) / found["error"], 2)


def _comparison(results: Result) -> Table:
    columns = [
        ">L", ">J2", ">E/N", ">paper, retrained", ">ours - paper", ">best reference", "kind", ">relative difference",
        "source",
    ]  # fmt: skip
    rows: list[Row] = []
    for row in results["comparisons"]:
        best, paper = row["best"] or {}, row["paper"]
        relative = (row["energy"] - best["energy"]) / abs(best["energy"]) if best else None
        rows.append([
            str(row["L"]), number(row["J2"]), format_value_error(row["energy"], row["error"]), number(paper, 6),
            DASH if paper is None else format_value_error(row["energy"] - paper, row["error"]),
            number(best.get("energy"), 8), best.get("kind", DASH), number(relative, 2), best.get("source", DASH),
        ])  # fmt: skip
    caption = (
        "Paper, retrained: Table 4 of the seed paper, the same architecture optimised at each size and coupling. "
        "Best reference: exact, else the best published energy; a variational one is an upper bound, so a difference "
        "counts what retraining or a better network gains at least."
    )
    return Table("Every energy beside the paper's and the best published one", columns, rows, caption)


def _sampling(results: Result) -> Table:
    columns = [
        "lattice", ">samples", ">chains", ">acceptance", ">R-hat", ">tau", ">effective", ">abnormal", ">seconds",
        ">samples/s",
    ]  # fmt: skip
    rows: list[Row] = []
    for evaluation in results["evaluations"]:
        worst = max(evaluation["estimates"], key=lambda row: row["tau"])
        rows.append([
            _size(evaluation), count(evaluation["samples"]), count(evaluation["sampling"]["chains"]),
            fixed(worst["acceptance"], 3), fixed(worst["r_hat"], 3), number(worst["tau"]),
            count(round(worst["effective_samples"])), count(worst["abnormal"]), fixed(evaluation["seconds"], 0),
            number(evaluation["samples"] / evaluation["seconds"]),
        ])  # fmt: skip
    caption = (
        "Samples are L*L proposals apart. R-hat, autocorrelation time tau (in samples) and effective samples are "
        "those of the local energies at the coupling with the longest tau. Seconds include the warm-up and, "
        "where it was measured, the structure factor. " + provenance(results)
    )
    return Table("How the samples were drawn", columns, rows, caption)


def _provenance(results: Result) -> Table:
    network = results["evaluations"][0]["checkpoint"]
    imported = network["imported"] or {}
    rows: list[Row] = [
        ["network", f"{network['network']}, {count(network['parameters'])} parameters"],
        ["symmetry, sign, precision", ", ".join(network["wavefunction"][k] for k in ("symmetry", "sign", "dtype"))],
        ["checkpoint, SHA-256", Cell(network["sha256"], "code")],
        ["time of the evaluations", duration(sum(e["seconds"] for e in results["evaluations"]))],
    ]
    for name in ("citation", "source", "licence"):
        if name in imported:
            rows.append([name, imported[name]])
    return provenance_table(results, rows)


def _excess(results: Result) -> Plot:
    compared = [row for row in results["comparisons"] if row["best"]]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, J2 in zip(cycle(COLOURS), results["J2"], strict=False):
            rows = [row for row in compared if row["J2"] == J2]
            scale = np.array([abs(row["best"]["energy"]) for row in rows])
            excess = np.array([row["energy"] - row["best"]["energy"] for row in rows]) / scale
            error = np.array([row["error"] for row in rows]) / scale
            sizes = [row["L"] for row in rows]
            axes.errorbar(sizes, excess, error, fmt="o-", color=colour, capsize=3, linewidth=1, label=f"J2 = {J2:g}")
        axes.axhline(0.0, color="black", linestyle="--", linewidth=1)
        axes.set(xlabel="L", ylabel="(E - E_best)/|E_best|", xticks=sorted({row["L"] for row in compared}))
        axes.legend(ncols=2)

    caption = (
        "Relative distance of each zero-shot energy from the best reference: exact where that is known, else "
        "published (the table names each). Bars: one standard error of ours. Lines only guide the eye; lattices and "
        "couplings without a published energy are left out. " + provenance(results)
    )
    return Plot("excess", "Distance from the best known energies", caption, render("excess", (WIDTH, 3.6), draw))


def _map(evaluation: Result, results: Result) -> Plot:
    found: dict[str, Any] = evaluation["observables"]
    factor = np.array(found["structure_factor"]["mean"])
    error = np.array(found["structure_factor"]["error"])
    L = evaluation["L"]
    order = found["staggered_magnetisation_squared"]
    peak = format_value_error(factor[L // 2, L // 2], error[L // 2, L // 2])

    def draw(figure: Figure) -> None:
        draw_structure_factor(factor, figure.subplots())

    name = f"structure-factor-{L}"
    caption = (
        f"Spin structure factor S(k) = sum_d exp(i k.d) <S_0.S_d> of the network on {L}x{L}, by Monte Carlo with the "
        f"full S.S, not divided by N. S(pi, pi) = {peak}, so m_s^2 = S(pi, pi)/N = "
        f"{format_value_error(order['mean'], order['error'])}; largest standard error of any momentum "
        f"{number(float(error.max()), 2)}. The wave function does not depend on J2. {provenance(results)}"
    )
    size = (WIDTH, 0.79 * WIDTH)
    return Plot(name, f"Structure factor, {L}x{L}", caption, render(name, size, draw))
