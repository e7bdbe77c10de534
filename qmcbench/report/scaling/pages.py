"""The scaling report (``qmcbench scale``): strong and weak scaling here, the cost model, the paper's machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from qmcbench.errors import UserError
from qmcbench.provenance import Machine
from qmcbench.ranks.mesh import memory
from qmcbench.reference import paper
from qmcbench.report.claims import check_tables, judge, machine_text, numbered, together, versions_text
from qmcbench.report.document import Cell, Chapter, Row, Section, Table
from qmcbench.report.figure import Plot
from qmcbench.report.numbers import DASH, count, number
from qmcbench.report.scaling.measured import strong_tables, weak_tables
from qmcbench.report.scaling.measured_figures import strong_plots, weak_plots
from qmcbench.report.scaling.model import model_tables, null_model_wins, projected_tables, sample_space_tables
from qmcbench.report.scaling.model_figures import held_out_plots, model_plots, sample_space_plots
from qmcbench.scaling.claims import checks
from qmcbench.scaling.measurements import describe, measured
from qmcbench.scaling.projection import Projection
from qmcbench.store.records import Run
from qmcbench.store.scaling import Layout, OnRanks, SolverGain, StrongRun, WeakRun

TITLE = "qmcbench scale: stochastic reconfiguration and Monte Carlo on many processes"
STRONG = "Strong scaling measured here (paper Fig. 9)"
WEAK = "Weak scaling measured here (paper Table 3 and Fig. 10)"
PROJECTED = "The paper's times, printed and modelled"
COMMANDS = {
    "strong": "qmcbench scale strong --out FOLDER",
    "weak": "qmcbench scale weak --out FOLDER",
    "projection": "qmcbench scale project --out FOLDER",
}
"""What makes each file."""
JOBS = {"scale strong": "strong", "scale weak": "weak", "scale project": "projection"}
Content = tuple[list[Table], list[Plot]]


@dataclass(frozen=True)
class Material:
    """At most one run of each job, and what they say."""

    runs: dict[str, Run]
    strong: tuple[StrongRun, ...]
    weak: tuple[WeakRun, ...]
    projection: Projection | None

    @classmethod
    def of(cls, runs: dict[str, Run]) -> Material:
        """Sort their records; raises UserError if those of a projection are not complete."""
        strong = runs["strong"].of(StrongRun) if "strong" in runs else []
        weak = runs["weak"].of(WeakRun) if "weak" in runs else []
        projection = Projection.of(runs["projection"]) if "projection" in runs else None
        return cls({part: runs[part] for part in COMMANDS if part in runs}, tuple(strong), tuple(weak), projection)

    @property
    def on_ranks(self) -> list[StrongRun | WeakRun]:
        """All that was asked of ranks, measured or not."""
        return [*self.strong, *self.weak]

    @property
    def machine(self) -> Machine:
        """Where it was measured."""
        return next(iter(self.runs.values())).provenance.machine


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter of one run of each job; a second run of a job begins a second chapter.

    Raises
    ------
    UserError
        If the records of a run cannot be computed with.
    """
    sets = together(runs, _part)
    return [_chapter(Material.of(each), numbered("scaling", n)) for n, each in enumerate(sets, start=1)]


def _part(run: Run) -> str:
    if run.job not in JOBS:
        raise UserError(f"The job {run.job!r} of a run is not one of {', '.join(JOBS)}.")
    return JOBS[run.job]


def _chapter(material: Material, name: str) -> Chapter:
    found = checks(material.strong, material.weak, material.projection)
    none = {part: f"Nothing yet; {command} makes it." for part, command in COMMANDS.items()}
    strongly = (strong_tables(material.strong), strong_plots(material.strong, _origin(material.strong)))
    weakly = (weak_tables(material.weak), weak_plots(material.weak, _origin(material.weak)))
    parts: list[tuple[str, Content, str]] = [
        ("Checks", (check_tables(found), []), ""),
        (STRONG, strongly, none["strong"]),
        (WEAK, weakly, none["weak"]),
        *((title, content, none["projection"]) for title, content in _modelled(material.projection)),
        ("Not run", ([_not_run(material)], []), ""),
        ("Provenance", ([_provenance(material)], []), ""),
    ]
    sections = [
        Section(title, [t for t in tables if t.rows], plots, empty) for title, (tables, plots), empty in parts
    ]
    return Chapter(name, TITLE, judge(found, _remarks(material)), sections)


def _modelled(projection: Projection | None) -> list[tuple[str, Content]]:
    titles = ["The scaling model", PROJECTED, "Sample space against covariance"]
    if projection is None:
        return [(title, ([], [])) for title in titles]
    contents = [
        (model_tables(projection), held_out_plots(projection)),
        (projected_tables(projection), model_plots(projection)),
        (sample_space_tables(projection), sample_space_plots(projection)),
    ]
    return list(zip(titles, contents, strict=True))


def _remarks(material: Material) -> list[str]:
    crowded = sum(run.oversubscribed for run in measured(material.on_ranks))
    said = [f"Runs with more ranks than cores: {crowded}; they are listed, and decide nothing."] if crowded else []
    if material.projection:
        said += [_gain(material.projection), null_model_wins(material.projection)]
    return [each for each in said if each]


def _gain(projection: Projection) -> str:
    """What sample space would have been worth to the paper, for better and for worse."""
    lost, *_, won = sorted(projection.gains, key=lambda each: each.value)
    faster = sum(each.value > 1 for each in projection.gains)
    return (
        f"By the model for {projection.machine.name}, SR in sample space would have been faster than the "
        f"covariance at {faster} of the paper's {len(projection.gains)} points, at most {number(won.value)} "
        f"times ({_where(won)}), and at worst {number(1 / lost.value)} times slower ({_where(lost)})."
    )


def _where(gain: SolverGain) -> str:
    return f"{count(gain.work.parameters)} parameters on {count(gain.work.processes)} processes"


def _origin(runs: Sequence[OnRanks]) -> str:
    """One line on where measured numbers come from."""
    made = [run.provenance for run in measured(runs) if run.provenance]
    if not made:
        return ""
    machine, last = made[-1].machine, made[-1]
    return (
        f"{machine.cpu}, {machine.cores} cores; {_libraries(runs)}; torch {last.versions.get('torch')}; {last.date}."
    )


def _libraries(runs: Sequence[OnRanks]) -> str:
    done = measured(runs)
    found = [*(run.libraries.mpi for run in done), *(run.libraries.scalapack for run in done)]
    return ", ".join(dict.fromkeys(name for name in found if name)) or "without MPI"


def _not_run(material: Material) -> Table:
    """What this report lacks: what did not fit, what nobody has measured, and how to."""
    rows: list[Row] = []
    for run in material.on_ranks:
        if run.not_run is not None:
            rows.append([f"{run.kind}: {describe(run)}", run.not_run, Cell(again(run), "code")])
    there = {"strong": measured(material.strong), "weak": measured(material.weak), "projection": material.projection}
    for name, found in there.items():
        if not found:
            what = name if name == "projection" else f"{name} scaling"
            rows.append([what, "not asked for yet", Cell(COMMANDS[name], "code")])
    rows += _large(material)
    machine = material.machine
    if all(run.oversubscribed or run.ranks <= machine.cores for run in measured(material.on_ranks)):
        why = f"no network between nodes was measured; this machine has {machine.cores} cores"
        command = "qmcbench scale strong --ranks 16 --ranks 64 --ranks 256 --out FOLDER"
        rows.append(["several nodes of a cluster", why, Cell(command, "code")])
    why = "the ranks computed on CPU cores" + ("" if machine.gpu else "; this machine has no GPU")
    command = "mpiexec -n 4 qmcbench train gpu.toml --out FOLDER  (in gpu.toml: [run] device = 'cuda')"
    rows.append(["GPUs", why, Cell(command, "code")])
    return Table("What this report does not cover", ["what", "why", "command that runs it"], rows)


def _large(material: Material) -> list[Row]:
    """The paper's large network, unless it was tried."""
    order = paper.figure9["large"]["parameters"]
    if order in [run.parameters for run in material.strong]:
        return []
    need = memory(order, 2560, 1, Layout((1, 1), 128, "pdsyrk", "pdgemr2d"), "parameters")
    why = (
        f"one rank would need {number(need.total / 1e9)} GB ({number(need.matrix / 1e9)} GB for the matrix "
        f"alone); this machine has {number(material.machine.memory_GiB * 2**30 / 1e9)} GB"
    )
    command = f"qmcbench scale strong --parameters {order} --ranks 64 --out FOLDER"
    return [[f"strong scaling: {count(order)} parameters, the paper's large network", why, Cell(command, "code")]]


def again(run: StrongRun | WeakRun) -> str:
    """The command that tries a run again."""
    if isinstance(run, WeakRun):
        kind, options = (
            "weak",
            {name: getattr(run, name) for name in ("L", "network", "symmetry", "solver", "chains")},
        )
    else:
        kind, layout = "strong", run.layout
        options = {"parameters": run.parameters, "samples": run.samples, "grid": "{}x{}".format(*layout.grid)}
        options |= {name: getattr(layout, name) for name in ("block", "product", "redistribution")}
        options["space"] = run.space
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return shlex.join(["qmcbench", "scale", kind, *words, "--ranks", str(run.ranks), "--out", "FOLDER"])


def _provenance(material: Material) -> Table:
    """One column for each file that the report is made of."""
    items: dict[str, list[str | Cell]] = {}
    for run in material.runs.values():
        done = measured(each for each in run.records if isinstance(each, OnRanks))
        dates = sorted(each.provenance.date for each in done if each.provenance) or [run.provenance.date]
        column: dict[str, str | Cell] = {
            "last command": Cell(run.provenance.command, "code"),
            "measured": dates[0] + (f" to {dates[-1]}" if dates[-1] != dates[0] else ""),
            "machine": machine_text(run.provenance),
            "GPU": run.provenance.machine.gpu or "none",
            "libraries of the ranks": _libraries(done) if done else DASH,
            "versions": versions_text(run.provenance),
        }
        for item, text in column.items():
            items.setdefault(item, []).append(text)
    rows: list[Row] = [[item, *texts] for item, texts in items.items()]
    columns = ["item", *(f"records/{part}.jsonl" for part in material.runs)]
    return Table("What these numbers were made with", columns, rows, "Each run has its own in these files.")
