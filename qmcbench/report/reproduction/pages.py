"""The report of a reproduction (``qmcbench reproduce``)."""

from __future__ import annotations

import math
from pathlib import Path

from qmcbench.report.claims import check_tables, failed_checks, provenance_table
from qmcbench.report.document import Cell, Row, Section, Table, Verdict, write
from qmcbench.report.figure import Result, provenance
from qmcbench.report.numbers import DASH, count, duration, fixed, format_value_error, number, percent
from qmcbench.report.reproduction.figures import COUNTED, figures

PARTS = {"exact energies": "exact", "training runs": "runs", "timings": "timings"}
"""What a complete report holds, and its key in the results: an interrupted one lacks the last of them."""


def write_report(results: Result, out: Path) -> list[Path]:
    """Write the report of ``results`` under ``out`` (see :func:`qmcbench.report.document.write`).

    Any list in ``results`` may be empty: an interrupted reproduction has a report too.
    """
    title = f"qmcbench reproduce --profile {results['profile']}"
    return write(results, title, judge(results), sections(results), out)


def judge(results: Result) -> Verdict:
    """The verdict: every failed check in words, and what is missing from the report."""
    checks, skipped = results["checks"], results["not_run"]
    failures = failed_checks(checks)
    remarks = [f"{run['name']}: {_PLATEAU}" for run in results["runs"] if _evaluation(run).get("plateau") is False]
    missing = [what for what, name in PARTS.items() if not results[name]]
    if missing:
        remarks.insert(0, f"Incomplete: this report has no {', no '.join(missing)}.")
    if skipped:
        remarks.append(f"Not run: {', '.join(item['what'] for item in skipped)}; the commands are below.")
    headline = f"{len(checks) - len(failures)} of {len(checks)} checks passed" if checks else "No checks were run"
    headline += ", report incomplete" if missing else ""
    return Verdict(headline, bool(checks) and not failures and not missing, failures, remarks)


_PLATEAU = "the blocking analysis found no plateau, so the error of its energy is a lower bound."


def sections(results: Result) -> list[Section]:
    """Everything below the headline, in order."""
    parts = [
        ("Energies", [_energies(results), _settings(results)], "No training run was finished."),
        ("Against the paper", [_paper(results)], "Nothing to compare."),
        ("Exact diagonalization", [_exact(results)], "No exact energies were computed."),
        ("Checks", check_tables(results["checks"]), "No checks were run."),
        ("Timings", [_timings(results)], "Nothing was timed."),
        ("Not run", [_not_run(results)], "The profile itself leaves nothing out."),
        ("Provenance", [_provenance(results)], ""),
    ]
    made = [Section(title, [t for t in tables if t.rows], empty=empty) for title, tables, empty in parts]
    return [made[0], Section("Figures", plots=figures(results), empty="No data to plot."), *made[1:]]


def _evaluation(run: Result) -> Result:
    """A run's evaluation; empty if it was interrupted before."""
    return run.get("evaluation") or {}


def _measured(record: Result, key: str = "energy", error: str = "error") -> str:
    return format_value_error(record.get(key), record.get(error))


def _energies(results: Result) -> Table:
    columns = [
        "run", ">L", ">J2", ">parameters", ">steps", ">samples", ">training s", ">E/N", ">exact E/N", "source",
        ">relative error", ">V-score", ">R-hat", ">tau", "plateau",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in results["runs"]:
        found, reference = _evaluation(run), run["reference"]
        rows.append([
            run["name"], str(run["L"]), number(run["J2"]), count(run["parameters"]), count(run["steps"]),
            count(run["samples"]), fixed(run["seconds"], 1), _measured(found), _measured(reference),
            reference["source"], _measured(run, "relative_error", "relative_error_error"),
            number(found.get("v_score")), fixed(found.get("r_hat"), 4), number(found.get("tau")), _plateau(found),
        ])  # fmt: skip
    caption = (
        "Energies per site in units of J1 = 1, evaluated with unfiltered local energies after training, at fixed "
        "parameters. In parentheses: one standard error of the last digits, by blocking over independent chains; "
        f"relative error (E - E0)/|E0|. Without a plateau {_PLATEAU.split(', so ')[1]} {provenance(results)}"
    )
    return Table("Evaluated energies", columns, rows, caption)


def _plateau(evaluation: Result) -> str | Cell:
    found = evaluation.get("plateau")
    return DASH if found is None else "yes" if found else Cell("no", "bad")


def _settings(results: Result) -> Table:
    columns = [
        "run", "network", "symmetry", "sign", "started from", ">chains", ">samples evaluated", ">effective",
        ">acceptance", ">alpha", ">abnormal", ">evaluation s", ">seed", ">full-sum E/N", ">z",
    ]  # fmt: skip
    rows: list[Row] = []
    for run in results["runs"]:
        found = _evaluation(run)
        rows.append([
            run["name"], run["network"], run["symmetry"], run["sign"], run["start"] or "fresh",
            count(run["chains"]), count(found.get("samples")), _rounded(found.get("effective_samples")),
            fixed(found.get("acceptance"), 3), number(found.get("alpha")), count(found.get("abnormal")),
            fixed(found.get("seconds"), 1), str(found.get("seed", DASH)), number(run["full_sum_energy"], 10),
            _deviation(run),
        ])  # fmt: skip
    caption = (
        "Full-sum E/N: the exact expectation of the trained network, over all configurations of a lattice that is "
        "small enough; z: the evaluated energy minus it, in standard errors."
    )
    return Table("How the runs were made and evaluated", columns, rows, caption)


def _rounded(value: float | None) -> str:
    return DASH if value is None or not math.isfinite(value) else count(round(value))


def _deviation(run: Result) -> str:
    """Evaluated energy minus the full sum, in standard errors."""
    found, exact = _evaluation(run), run["full_sum_energy"]
    return fixed((found["energy"] - exact) / found["error"], 2) if exact is not None and found.get("error") else DASH


def _paper(results: Result) -> Table:
    columns = [
        "what", "quantity", ">paper", ">paper's steps", "our run", ">ours, first step", ">ours, evaluated",
        ">our steps", ">ours - paper",
    ]  # fmt: skip
    runs = {run["name"]: run for run in results["runs"]}
    rows: list[Row] = []
    for row in results["paper"]:
        run = runs.get(row["run"])
        own = _own(run, row) if run else [f"{row['run']} (not run)", DASH, DASH, DASH, DASH]
        rows.append([row["what"], row["quantity"], number(row["paper"], 6), count(row["paper_steps"]), *own])
    caption = (
        "The paper's numbers are read off its text and figures and carry no error; ours carry one standard error. "
        "A run that starts from another's parameters starts lower than one from fresh ones. " + provenance(results)
    )
    return Table("Paper and measurement side by side", columns, rows, caption)


def _own(run: Result, row: Result) -> list[str]:
    """Our side of a comparison: a quantity that names the start is held against the first step."""
    curve, evaluated = run["curve"], _evaluation(run)
    first = {key: curve[key][0] for key in ("energy", "error")} if curve["step"] else {}
    own = first if "start" in row["quantity"].lower() else evaluated
    difference = None if own.get("energy") is None else own["energy"] - row["paper"]
    name = run["name"] + (f" (started from {run['start']})" if run["start"] else "")
    compared = format_value_error(difference, own.get("error"))
    return [name, _measured(first), _measured(evaluated), count(run["steps"]), compared]


def _exact(results: Result) -> Table:
    columns = [
        ">L", ">J2", ">E/N", ">residual", "sector", ">states", ">S(pi,pi)", ">S(pi,0)", ">gap", "source",
    ]  # fmt: skip
    rows: list[Row] = [
        [
            str(r["L"]), number(r["J2"]), number(r["energy"], 12), number(r["residual"], 2), r["sector"],
            count(r["states"]), number(r["structure_factor_pi_pi"], 8), number(r["structure_factor_pi_0"], 8),
            number(r["gap"], 8), r["source"],
        ]
        for r in results["exact"]
    ]  # fmt: skip
    caption = (
        "Ground states in the named symmetry sector, energies per site. Their error is that of the arithmetic: the "
        "residual |H psi - E psi| bounds it. S(q): the sum over displacements, not divided by the number of sites. "
        f"Gap: to the next state of the same sector, total energy in units of J1. {provenance(results)}"
    )
    return Table("Exact ground states", columns, rows, caption)


def _timings(results: Result) -> Table:
    columns = [
        "operation", "network", ">L", ">batch", "type", ">median", ">min..max", ">repeats", ">GF/s", ">of sgemm",
    ]  # fmt: skip
    rows: list[Row] = [
        [
            t["name"], t.get("network") or DASH, count(t.get("L")), count(t.get("batch")), t.get("dtype") or DASH,
            duration(t["median_s"]), f"{duration(t['min_s'])} .. {duration(t['max_s'])}", count(t["repeats"]),
            number(t.get("GFs")), percent(t.get("fraction_of_sgemm")),
        ]
        for t in results["timings"]
    ]  # fmt: skip
    caption = (
        f"Wall times: the median and range of repeats in one session. GF/s: {COUNTED}. sgemm: a large "
        f"single-precision matrix product in the same session, {number(results['rates'].get('sgemm_GFs'))} GF/s. "
        f"{provenance(results)}"
    )
    return Table("Times of single operations", columns, rows, caption)


def _not_run(results: Result) -> Table:
    rows: list[Row] = [[item["what"], item["why"], Cell(item["command"], "code")] for item in results["not_run"]]
    return Table("What this report does not cover", ["what", "why", "command that runs it"], rows)


def _provenance(results: Result) -> Table:
    seeds = [f"{run['name']}: {run['evaluation']['seed']}" for run in results["runs"] if _evaluation(run)]
    return provenance_table(results, [["evaluation seeds", "; ".join(seeds) or DASH]])
