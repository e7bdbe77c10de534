"""The scaling report (``qmcbench scale``): strong and weak scaling here, the cost model, the paper's machine.

It is made of whatever of ``strong.json``, ``weak.json`` and ``projection.json`` its folder holds.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from qmcbench.bench.scaling import FORMAT as STORE_FORMAT
from qmcbench.bench.scaling import describe
from qmcbench.config import Scalapack
from qmcbench.errors import UserError
from qmcbench.reference import paper
from qmcbench.report.document import Cell, Row, Section, Table, Verdict, write
from qmcbench.report.figure import Plot, Result
from qmcbench.report.numbers import DASH, count, distinct, number
from qmcbench.report.scaling.measured import strong_tables, weak_tables
from qmcbench.report.scaling.measured_figures import strong_plots, weak_plots
from qmcbench.report.scaling.model import model_tables, projected_tables, sample_space_tables
from qmcbench.report.scaling.model_figures import held_out_plots, model_plots, sample_space_plots
from qmcbench.scaling.heldout import SPLITS
from qmcbench.scaling.job import FILE as PROJECTION
from qmcbench.scaling.job import FORMAT as PROJECTION_FORMAT
from qmcbench.scaling.job import read
from qmcbench.sr.scalapack import memory

TITLE = "qmcbench scale: stochastic reconfiguration and Monte Carlo on many processes"
PAPER_ORDER = 16249
"""Parameters of the smaller network in the paper's Fig. 9: the fractions of dgemm are required there."""
EMPTY: Result = {"runs": [], "not_run": [], "machine": None, "provenance": None}
COMMANDS = {
    "strong": "qmcbench scale strong --out FOLDER",
    "weak": "qmcbench scale weak --out FOLDER",
    "projection": "qmcbench scale project --out FOLDER",
}
"""What makes each file."""
Content = tuple[list[Table], list[Plot]]


def refresh(out: Path) -> Verdict:
    """Write the report of what is in ``out`` into it (see :func:`qmcbench.report.document.write`).

    Raises
    ------
    UserError
        If there is none of the files, or one cannot be read or is of another format.
    """
    forms = {"strong.json": STORE_FORMAT, "weak.json": STORE_FORMAT, PROJECTION: PROJECTION_FORMAT}
    strong, weak, projection = (
        read(out / name, form) if (out / name).exists() else None for name, form in forms.items()
    )
    strong, weak = strong or EMPTY, weak or EMPTY
    made = {
        name: store and store["provenance"] for name, store in zip(COMMANDS, (strong, weak, projection), strict=True)
    }
    if not any(made.values()):
        raise UserError(f"{out} has nothing to report; begin with `{COMMANDS['strong']}`.")
    found = checks(strong, weak, projection)
    verdict = judge(found, strong, weak, projection)
    parts = sections(strong, weak, projection, found)
    write({"checks": found, "provenance": made}, TITLE, verdict, parts, out)
    return verdict


def checks(strong: Result, weak: Result, projection: Result | None) -> list[Result]:
    """Every claim with its value and bound; ``passed`` is None where nothing was measured to decide it."""
    found = []

    def add(name: str, kind: str, value: float | None, relation: str, bound: float, statement: str) -> None:
        passed = None if value is None else value <= bound if relation == "at most" else value >= bound
        keys = ("name", "kind", "passed", "value", "relation", "bound", "statement")
        found.append(dict(zip(keys, (name, kind, passed, value, relation, bound, statement), strict=True)))

    residual = max((run["residual"] for run in strong["runs"]), default=None)
    solved = f"The largest relative residual of {len(strong['runs'])} measurements on synthetic samples."
    add("residual of the solves", "exact", residual, "at most", 1e-9, solved)
    own = _fair(strong["runs"], ranks=(1, 2))
    square = [run for run in own if (run["job"]["parameters"], run["job"]["space"]) == (PAPER_ORDER, "parameters")]
    paper_s = [run for run in square if run["job"]["layout"]["product"] == "pdgemm"]
    for routine, phase, runs in (("pdpotrf", "factorisation", square), ("pdgemm", "product", paper_s)):
        for ranks in (1, 2):
            those = _fair(runs, (ranks,))
            value = max((run["phases"][phase]["fraction_of_dgemm"] for run in those), default=None)
            name = f"{routine}, {count(PAPER_ORDER)} parameters, {ranks} rank{'s' * (ranks > 1)}"
            statement = f"Fraction of the machine's dgemm that each rank reaches, in the best layout of {len(those)}."
            add(name, "timing", value, "at least", 0.7, statement)
    speedups = [run["speedup"]["total"] for run in _fair(paper_s, (2,)) if run["speedup"]]
    name = f"speedup on 2 ranks, {count(PAPER_ORDER)} parameters"
    statement = f"Of all phases together with pdgemm over one rank, in the best layout of {len(speedups)}."
    add(name, "timing", max(speedups, default=None), "at least", 1.7, statement)
    lattices = [int(case.split("x")[0]) for case in paper.table3["cases"]]
    paired = [run for run in _fair(weak["runs"], (2,)) if run["efficiency"] and run["job"]["L"] >= min(lattices)]
    statement = f"Monte Carlo time on one rank over that on two, the worst of {len(paired)} runs of 10x10 and more."
    efficiency = min((run["efficiency"] for run in paired), default=None)
    add("Monte Carlo efficiency on 2 ranks", "timing", efficiency, "at least", 0.9, statement)
    for row in _held_out(projection):
        part = f" ({row['fold']})" if row["fold"] else ""
        statement = f"Median relative error of {row['count']} times of the paper that were not fitted to."
        add(f"model, {row['split']}{part}", "held out", row["median"], "at most", 0.10, statement)
    return found


def _held_out(projection: Result | None) -> list[Result]:
    """The errors that are claims: both halves of the paper's times, and each other split as a whole."""
    if projection is None:
        return [{"split": split, "fold": None, "median": None, "count": 0} for split in SPLITS]
    found: dict[tuple[str, str | None], Result] = {}
    for row in projection["errors"]:
        if row["split"] in SPLITS:
            # The first is all that the paper prints, where the split has it.
            found.setdefault((row["split"], row["fold"]), row)
    return list(found.values())


def _fair(runs: list[Result], ranks: tuple[int, ...]) -> list[Result]:
    """Runs on so many ranks with a core for each."""
    return [run for run in runs if run["ranks"] in ranks and not run["oversubscribed"]]


def judge(checks: list[Result], strong: Result, weak: Result, projection: Result | None) -> Verdict:
    """The verdict: checks that are met, that are not, and that nothing was measured for."""
    met = [check for check in checks if check["passed"]]
    failed = [check for check in checks if check["passed"] is False]
    missing = [check["name"] for check in checks if check["passed"] is None]
    headline = f"{len(met)} of {len(checks)} checks met"
    headline += f", {len(failed)} not met" if failed else ""
    headline += f", {len(missing)} not run" if missing else ""
    remarks = [f"Not run: {'; '.join(missing)}."] if missing else []
    crowded = sum(run["oversubscribed"] for store in (strong, weak) for run in store["runs"])
    if crowded:
        remarks.append(f"Runs with more ranks than cores: {crowded}; they are listed, and decide nothing.")
    if projection:
        remarks.append(_gain(projection))
    return Verdict(headline, len(met) == len(checks), [_failure(check) for check in failed], remarks)


def _failure(check: Result) -> str:
    value, bound = distinct(check["value"], check["bound"])
    return f"{check['name']}: {value}, which should be {check['relation']} {bound}. {check['statement']}"


def _gain(projection: Result) -> str:
    """What sample space would have been worth to the paper, for better and for worse."""
    compared = projection["comparisons"]
    lost, *_, won = sorted(compared, key=lambda each: float(each["speedup"]["value"]))
    faster = sum(each["speedup"]["value"] > 1 for each in compared)
    return (
        f"By the model for {projection['machine']['name']}, SR in sample space would have been faster than the "
        f"covariance at {faster} of the paper's {len(compared)} points, at most {number(won['speedup']['value'])} "
        f"times ({_where(won)}), and at worst {number(1 / lost['speedup']['value'])} times slower ({_where(lost)})."
    )


def _where(comparison: Result) -> str:
    work = comparison["work"]
    return f"{count(work['parameters'])} parameters on {count(work['processes'])} processes"


def sections(strong: Result, weak: Result, projection: Result | None, checks: list[Result]) -> list[Section]:
    """Everything below the headline, in order."""
    none = {name: f"Nothing yet; {command} makes it." for name, command in COMMANDS.items()}
    model: Content = ([], [])
    projected: Content = ([], [])
    gain: Content = ([], [])
    if projection:
        model = (model_tables(projection), held_out_plots(projection))
        projected = (projected_tables(projection), model_plots(projection))
        gain = (sample_space_tables(projection), sample_space_plots(projection))
    strongly = (strong_tables(strong), strong_plots(strong, _origin(strong)))
    weakly = (weak_tables(weak), weak_plots(weak, _origin(weak)))
    parts: list[tuple[str, Content, str]] = [
        ("Checks", ([_checks(checks)], []), ""),
        ("Strong scaling measured here (paper Fig. 9)", strongly, none["strong"]),
        ("Weak scaling measured here (paper Table 3 and Fig. 10)", weakly, none["weak"]),
        ("The scaling model", model, none["projection"]),
        ("The paper's times, printed and modelled", projected, none["projection"]),
        ("Sample space against covariance", gain, none["projection"]),
        ("Not run", ([_not_run(strong, weak, projection)], []), ""),
        ("Provenance", ([_provenance(strong, weak, projection)], []), ""),
    ]
    return [Section(title, [t for t in tables if t.rows], plots, empty) for title, (tables, plots), empty in parts]


def _checks(checks: list[Result]) -> Table:
    rows: list[Row] = []
    for check in checks:
        value, bound = distinct(check["value"], check["bound"])
        words: dict[bool | None, str | Cell] = {None: "not run", True: "met", False: Cell("NOT MET", "bad")}
        rows.append(
            [words[check["passed"]], check["name"], value, f"{check['relation']} {bound}", check["statement"]]
        )
    caption = (
        "Timings are those of one machine in one session, which may have been shared; runs with more ranks than "
        "cores decide nothing. Not run: nothing was measured that decides it."
    )
    return Table("What is claimed", ["result", "check", ">value", ">bound", "statement"], rows, caption)


def _origin(store: Result) -> str:
    """One line on where measured numbers come from."""
    if not store["runs"]:
        return ""
    machine, versions = store["machine"], store["runs"][-1]["provenance"]["versions"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores; {_libraries(store)}; torch {versions['torch']}; "
        f"{store['runs'][-1]['provenance']['date']}."
    )


def _libraries(store: Result) -> str:
    found = [run["libraries"][name] for name in ("mpi", "scalapack") for run in store["runs"]]
    return ", ".join(dict.fromkeys(name for name in found if name)) or "without MPI"


def _not_run(strong: Result, weak: Result, projection: Result | None) -> Table:
    """What this report lacks: what did not fit, what nobody has measured, and how to."""
    rows: list[Row] = []
    for kind, store in (("strong", strong), ("weak", weak)):
        for entry in store["not_run"]:
            rows.append([f"{kind} scaling: {describe(entry)}", entry["not_run"], Cell(_again(entry), "code")])
    for name, found in (("strong", strong["runs"]), ("weak", weak["runs"]), ("projection", projection)):
        if not found:
            what = name if name == "projection" else f"{name} scaling"
            rows.append([what, "not asked for yet", Cell(COMMANDS[name], "code")])
    runs = [*strong["runs"], *weak["runs"]]
    machine = strong["machine"] or weak["machine"] or (projection or EMPTY)["provenance"]["machine"]
    order = paper.figure9["large"]["parameters"]
    if order not in [entry["job"].get("parameters") for entry in [*strong["runs"], *strong["not_run"]]]:
        need = memory(order, 2560, 1, Scalapack(), "parameters")
        why = (
            f"one rank would need {number(need.total / 1e9)} GB ({number(need.matrix / 1e9)} GB for the matrix "
            f"alone); this machine has {number(machine['memory_GiB'] * 2**30 / 1e9)} GB"
        )
        command = f"qmcbench scale strong --parameters {order} --ranks 64 --out FOLDER"
        rows.append(
            [f"strong scaling: {count(order)} parameters, the paper's large network", why, Cell(command, "code")]
        )
    if all(run["oversubscribed"] or run["ranks"] <= machine["cores"] for run in runs):
        why = f"no network between nodes was measured; this machine has {machine['cores']} cores"
        command = "qmcbench scale strong --ranks 16 --ranks 64 --ranks 256 --out FOLDER"
        rows.append(["several nodes of a cluster", why, Cell(command, "code")])
    why = "the ranks computed on CPU cores" + ("" if machine["gpu"] else "; this machine has no GPU")
    command = "mpiexec -n 4 qmcbench train gpu.toml --out FOLDER  (in gpu.toml: [run] device = 'cuda')"
    rows.append(["GPUs", why, Cell(command, "code")])
    return Table("What this report does not cover", ["what", "why", "command that runs it"], rows)


def _again(entry: Result) -> str:
    """The command that tries a run again."""
    job, ranks = entry["job"], entry["ranks"]
    if "L" in job:
        options = {"L": job["L"], "network": job["network"], "symmetry": job["symmetry"], "solver": job["solver"]}
        options["chains"] = job["chains"]
    else:
        layout = job["layout"]
        options = {
            "parameters": job["parameters"],
            "samples": job["samples"],
            "grid": "{}x{}".format(*layout["grid"]),
        }
        options |= {name: layout[name] for name in ("block", "product", "redistribution")} | {"space": job["space"]}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    kind = "weak" if "L" in job else "strong"
    return shlex.join(["qmcbench", "scale", kind, *words, "--ranks", str(ranks), "--out", "FOLDER"])


def _provenance(strong: Result, weak: Result, projection: Result | None) -> Table:
    """One column for each file that the report is made of."""
    stores = {"strong.json": strong, "weak.json": weak, PROJECTION: projection or EMPTY}
    found = {name: store for name, store in stores.items() if store["provenance"]}
    items: dict[str, list[str | Cell]] = {}

    def add(item: str, text: str, style: str = "") -> None:
        items.setdefault(item, []).append(Cell(text, style) if style else text)

    for store in found.values():
        origin = store["provenance"]
        machine, runs = origin["machine"], store.get("runs", [])
        dates = sorted(run["provenance"]["date"] for run in runs) or [origin["date"]]
        versions = {"Python": origin["python"], **origin["versions"]}
        add("last command", origin["command"], "code")
        add("measured", dates[0] + (f" to {dates[-1]}" if dates[-1] != dates[0] else ""))
        host = (
            machine["cpu"],
            f"{machine['cores']} cores",
            f"{number(machine['memory_GiB'])} GiB",
            machine["system"],
        )
        add("machine", ", ".join(host))
        add("GPU", machine["gpu"] or "none")
        add("libraries of the ranks", _libraries(store) if runs else DASH)
        add("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    rows: list[Row] = [[item, *texts] for item, texts in items.items()]
    return Table("What these numbers were made with", ["item", *found], rows, "Each run has its own in these files.")
