"""The report of a reproduction: results to ``index.html``, ``report.md``, ``plots/*.svg`` and ``results.json``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup
from tabulate import tabulate

from qmcbench import strict_json
from qmcbench.checkpoint import write_atomically
from qmcbench.report.numbers import (
    DASH,
    count,
    distinct,
    duration,
    fixed,
    format_value_error,
    number,
    percent,
)
from qmcbench.report.plots import Plot, Result, figures, provenance

KINDS = {
    "exact": "Full sums and dense algebra: tight tolerances, no statistics.",
    "unbiased": "Monte Carlo against full sums at fixed parameters: two-sided, at a stated false-alarm rate.",
    "variational": "No energy may lie below the exact one by more than its error allows: a violation is a bug.",
    "convergence": "How close training came: the upper bound of the relative error against a tolerance.",
}
"""The kinds of check, in the order of the report."""

PARTS = {"exact energies": "exact", "training runs": "runs", "timings": "timings"}
"""What a complete report holds, and its key in the results: an interrupted one lacks the last of them."""


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell that is a failure (red) or a command (monospaced)."""

    text: str
    style: str
    """``bad`` or ``code``."""


Row = list[str | Cell]


@dataclass(frozen=True)
class Table:
    """Rows of text under ``columns``; each column's name starts with ``>`` if its entries are numbers."""

    title: str
    columns: list[str]
    rows: list[Row]
    caption: str = ""

    @property
    def headers(self) -> list[str]:
        """Names of the columns."""
        return [name.removeprefix(">") for name in self.columns]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column is aligned to the right."""
        return [name.startswith(">") for name in self.columns]


@dataclass(frozen=True)
class Section:
    """A heading with its tables and figures; ``empty`` stands for them where there are none."""

    title: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    empty: str = ""


@dataclass(frozen=True)
class Verdict:
    """The headline: how many checks passed, and which did not and why."""

    headline: str
    passed: bool
    failures: list[str]
    remarks: list[str]


def write_report(results: Result, out: Path) -> list[Path]:
    """Write the report of ``results`` under ``out`` and return the paths written, ``index.html`` last.

    Each file is replaced in one step, and the same results give the same bytes. Any list in ``results`` may be empty:
    an interrupted reproduction has a report too. Files of an earlier report that this one lacks are left alone.
    """
    parts, verdict = sections(results), judge(results)
    title = f"qmcbench reproduce --profile {results['profile']}"
    contents = {f"plots/{plot.name}.svg": plot.svg for section in parts for plot in section.plots}
    contents["results.json"] = strict_json.dumps(results, indent=1, sort_keys=True) + "\n"
    contents["report.md"] = _markdown(title, verdict, parts)
    contents["index.html"] = _html(title, verdict, parts)
    for name, text in contents.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return [out / name for name in contents]


def judge(results: Result) -> Verdict:
    """The verdict: every failed check in words, and what is missing from the report."""
    checks, skipped = results["checks"], results["not_run"]
    failed = [check for check in checks if not check["passed"]]
    failures = []
    for check in failed:
        value, bound = distinct(check["value"], check["bound"])
        found = f"Value {value.replace(DASH, 'not finite')}, bound {bound}."
        failures.append(f"{check['name']} ({check['kind']}): {check['statement']} {found}")
    remarks = [f"{run['name']}: {_PLATEAU}" for run in results["runs"] if _evaluation(run).get("plateau") is False]
    missing = [what for what, name in PARTS.items() if not results[name]]
    if missing:
        remarks.insert(0, f"Incomplete: this report has no {', no '.join(missing)}.")
    if skipped:
        remarks.append(f"Not run: {', '.join(item['what'] for item in skipped)}; the commands are below.")
    headline = f"{len(checks) - len(failed)} of {len(checks)} checks passed" if checks else "No checks were run"
    headline += ", report incomplete" if missing else ""
    return Verdict(headline, bool(checks) and not failed and not missing, failures, remarks)


_PLATEAU = "the blocking analysis found no plateau, so the error of its energy is a lower bound."


def sections(results: Result) -> list[Section]:
    """Everything below the headline, in order."""
    kinds = dict.fromkeys([*KINDS, *(check["kind"] for check in results["checks"])])
    checks = [_checks(kind, results["checks"]) for kind in kinds]
    parts = [
        ("Energies", [_energies(results), _settings(results)], "No training run was finished."),
        ("Against the paper", [_paper(results)], "Nothing to compare."),
        ("Exact diagonalization", [_exact(results)], "No exact energies were computed."),
        ("Checks", checks, "No checks were run."),
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


def _checks(kind: str, checks: list[Result]) -> Table:
    rows: list[Row] = []
    for check in checks:
        if check["kind"] == kind:
            passed: str | Cell = "passed" if check["passed"] else Cell("FAILED", "bad")
            rows.append([passed, check["name"], *distinct(check["value"], check["bound"]), check["statement"]])
    return Table(
        f"Kind: {kind}", ["result", "check", ">value", ">bound (at most)", "statement"], rows, KINDS.get(kind, "")
    )


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
        f"Wall times: the median and range of repeats in one session. sgemm: a large single-precision matrix product "
        f"in the same session, {number(results['rates'].get('sgemm_GFs'))} GF/s. {provenance(results)}"
    )
    return Table("Times of single operations", columns, rows, caption)


def _not_run(results: Result) -> Table:
    rows: list[Row] = [[item["what"], item["why"], Cell(item["command"], "code")] for item in results["not_run"]]
    return Table("What this report does not cover", ["what", "why", "command that runs it"], rows)


def _provenance(results: Result) -> Table:
    origin = results["provenance"]
    machine = origin["machine"]
    versions = {"Python": origin["python"], **origin["versions"]}
    host = (machine["cpu"], f"{machine['cores']} cores", f"{number(machine['memory_GiB'])} GiB", machine["system"])
    seeds = [f"{run['name']}: {run['evaluation']['seed']}" for run in results["runs"] if _evaluation(run)]
    rows: list[Row] = [
        ["command", Cell(origin["command"], "code")],
        ["versions", ", ".join(f"{package} {version}" for package, version in versions.items() if version)],
        ["machine", ", ".join(host)],
        ["GPU", machine["gpu"] or "none"],
        ["torch threads", str(machine["torch_threads"])],
        ["date", origin["date"]],
        ["seed", str(results["seed"])],
        ["evaluation seeds", "; ".join(seeds) or DASH],
        ["total time", duration(results["seconds"])],
    ]
    return Table("What these numbers were made with", ["item", "value"], rows)


def _html(title: str, verdict: Verdict, parts: list[Section]) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda plot: Markup(plot.inline())
    environment.tests["cell"] = lambda value: isinstance(value, Cell)
    template = files("qmcbench.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(title=title, verdict=verdict, sections=parts) + "\n"


def _markdown(title: str, verdict: Verdict, parts: list[Section]) -> str:
    blocks = [f"# {_escaped(title)}", f"**{verdict.headline}.**"]
    items = [f"- **FAILED** {_escaped(text)}" for text in verdict.failures]
    items += [f"- {_escaped(text)}" for text in verdict.remarks]
    blocks += ["\n".join(items)] if items else []
    for part in parts:
        blocks.append(f"## {part.title}")
        for table in part.tables:
            blocks += [f"### {_escaped(table.title)}", _markdown_table(table), _escaped(table.caption)]
        for plot in part.plots:
            title = _escaped(plot.title)
            blocks += [f"### {title}", f"![{title}](plots/{plot.name}.svg)", _escaped(plot.caption)]
        if not part.tables and not part.plots:
            blocks.append(part.empty)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_table(table: Table) -> str:
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    align = ["right" if numeric else "left" for numeric in table.numeric]
    return tabulate(rows, table.headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _escaped(cell)
    if cell.style == "code":
        return "`` " + " ".join(cell.text.split()).replace("|", r"\|") + " ``"
    return f"**{_escaped(cell.text)}**"


def _escaped(text: str) -> str:
    """Text without line breaks or anything that Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split())).replace("&", "&amp;")
