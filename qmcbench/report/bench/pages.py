"""The benchmark report (``qmcbench bench``): peers, hot path, limits, speedup, hotspots, growth and the asv suite.

It is made of whatever ``bench.json`` and ``peers.json`` of its folder hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qmcbench.bench.claims import COMMANDS, Parts, check_table, checks, judge, not_run
from qmcbench.report.bench import curves as bench_curves
from qmcbench.report.bench import figures as bench_plots
from qmcbench.report.bench import peers as bench_peers
from qmcbench.report.bench import tables as bench_tables
from qmcbench.report.document import Section, Table, write
from qmcbench.report.figure import Plot, Result
from qmcbench.store.bench import read

TITLE = "qmcbench bench: how fast, against what, and where the time goes"
Tables = Callable[[Any], list[Table]]
Plots = Callable[[Any, str], list[Plot]]
CONTENTS: dict[str, tuple[str, Tables, Plots]] = {
    "peers": ("Peers", bench_peers.tables, bench_peers.plots),
    "hotpath": ("Hot path", bench_tables.hotpath, bench_plots.hotpath),
    "limits": ("Limits of this machine", bench_tables.limits, bench_curves.limits),
    "speedup": ("Speedup over one scalar core (paper Fig. 8)", bench_tables.speedup, bench_plots.speedup),
    "hotspots": ("Hotspots of the forward pass (paper Fig. 7)", bench_tables.hotspots, bench_plots.hotspots),
    "growth": ("Growth of the cost", bench_tables.growth, bench_curves.growth),
    "device": ("On a GPU", bench_tables.device, lambda results, origin: []),
    "suite": ("Benchmark suite (asv)", bench_tables.suite, lambda results, origin: []),
}
"""Sections of the parts in their order: title, tables and figures."""


def refresh(folder: Path) -> list[Path]:
    """Write the report of what is in ``folder`` into it (see :func:`qmcbench.report.document.write`).

    Returns
    -------
    list of Path
        Every file written, the HTML page last.

    Raises
    ------
    UserError
        If there is nothing to report, or a file cannot be read or lacks something.
    """
    parts = read(folder)
    found = checks(parts)
    made = {name: {"quick": part["quick"], "provenance": part["provenance"]} for name, part in parts.items()}
    results = {"checks": [check.record() for check in found], "parts": made}
    sections = [
        Section("Checks", [check_table(found), not_run(parts)]),
        *(_section(name, parts) for name in CONTENTS),
        Section("Provenance", [bench_tables.provenance(parts)]),
    ]
    return write(results, TITLE, judge(found, parts), sections, folder)


def _section(name: str, parts: Parts) -> Section:
    title, tables, plots = CONTENTS[name]
    part = parts.get(name)
    if part is None:
        return Section(title, empty=f"Nothing yet; {COMMANDS[name]} makes it.")
    results = part["results"]
    found = [table for table in tables(results) if table.rows]
    return Section(title, found, plots(results, _origin(part)), "This part was run, and is empty.")


def _origin(part: Result) -> str:
    """One line on where the numbers of a figure come from."""
    origin = part["provenance"]
    machine = origin["machine"]
    quick = "Quick: tiny sizes, which say only that it works. " if part["quick"] else ""
    versions = ", ".join(
        f"{name} {origin['versions'][name]}" for name in ("qmcbench", "torch") if name in origin["versions"]
    )
    return f"{quick}{machine['cpu']}, {machine['cores']} cores; {versions}; {origin['date']}."
