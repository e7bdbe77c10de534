"""Invented measurements in the format of ``strong.json`` and ``weak.json``: the numbers mean nothing."""

import copy
from typing import Any

from qmcbench.report.document import Cell, Table
from qmcbench.sr.scalapack_mesh import fit_grid

Store = dict[str, Any]

MACHINE = {"cpu": "Synthetic <CPU>", "cores": 2, "memory_GiB": 8.0, "system": "Linux x86_64", "gpu": None}
ORIGIN = {
    "command": "qmcbench scale --out 'a|b'",
    "date": "2000-01-01T00:00:00+00:00",
    "python": "3.11.7",
    "versions": {"qmcbench": "0.1.0", "torch": "2.9.0", "mpi4py": None},
    "machine": MACHINE,
}
LIBRARIES = {"mpi": "Synthetic MPI 1", "scalapack": "Synthetic ScaLAPACK 2", "blas": []}


def times(seconds: float) -> Store:
    """A median with a range of 10 % either way."""
    return {"median_s": seconds, "min_s": 0.9 * seconds, "max_s": 1.1 * seconds, "all_s": [seconds]}


def strong_run(parameters: int = 16249, ranks: int = 1, **changes: Any) -> Store:
    """A run whose phases take 2, 8, 16 and 1 s divided by the ranks, on the most square grid.

    ``changes`` are keys of the layout, of the job or of the run, or ``seconds`` (of phases by name).
    """
    layout = {"grid": list(fit_grid(None, ranks)), "block": 128, "product": "pdgemm", "redistribution": "pdgemr2d"}
    layout |= {name: changes.pop(name) for name in list(changes) if name in layout}
    job = {"parameters": parameters, "samples": 2560, "layout": layout, "space": "parameters", "repeats": 3}
    job |= {name: changes.pop(name) for name in list(changes) if name in job}
    seconds = {"redistribution": 2.0, "product": 8.0, "factorisation": 16.0, "solves": 1.0}
    seconds = {name: time / ranks for name, time in seconds.items()} | changes.pop("seconds", {})
    phases = {name: times(time) for name, time in seconds.items()} | {"total": times(sum(seconds.values()))}
    for name, fraction in (("product", 0.9), ("factorisation", 0.8)):
        phases[name] |= {"GFs": 40.0 * fraction * ranks, "fraction_of_dgemm": fraction}
    return {
        "ranks": ranks,
        "job": job,
        "oversubscribed": ranks > MACHINE["cores"],
        "phases": phases,
        "dgemm": {"GFs_per_rank": 40.0},
        "residual": 1e-15,
        "memory": {"estimate_bytes": 3 * 10**9, "peak_bytes": [4 * 10**9] * ranks, "before_bytes": [10**9] * ranks},
        "speedup": {name: float(ranks) for name in phases},
        "libraries": LIBRARIES,
        "provenance": ORIGIN,
    } | changes


def weak_run(L: int = 10, ranks: int = 1, **changes: Any) -> Store:
    """A run with Monte Carlo of 4 s on the slowest rank, half a second less on the first, and SR of 1 s.

    ``changes`` are keys of the job or of the run.
    """
    job = {"L": L, "network": "medium", "symmetry": "none", "solver": "scalapack", "chains": 16}
    job |= {name: changes.pop(name) for name in list(changes) if name in job}
    parts = {"sampling": 1.5, "local_energy": 1.5, "derivatives": 0.5, "gather": 0.5, "solve": 1.0, "step": 5.0}
    parts |= {"redistribution": 0.1, "product": 0.3, "factorisation": 0.5, "solves": 0.1}
    return {
        "ranks": ranks,
        "job": job,
        "oversubscribed": ranks > MACHINE["cores"],
        "parameters": {"small": 3531, "medium": 16249, "large": 106529}[job["network"]],
        "samples": job["chains"] * ranks,
        "mc": times(4.0),
        "rank_mc_s": [3.5, *[4.0] * (ranks - 1)] if ranks > 1 else [4.0],
        "sr": times(1.0),
        "iteration": times(5.0),
        "overhead": 0.2,
        "samples_per_second": job["chains"] * ranks / 5.0,
        "phases": {name: times(time) for name, time in parts.items()},
        "efficiency": 1.0 - 0.05 * (ranks - 1),
        "libraries": LIBRARIES,
        "provenance": ORIGIN,
    } | changes


def store(*runs: Store, not_run: tuple[Store, ...] = ()) -> Store:
    """A file's content."""
    found = {"format": "qmcbench-scaling-1", "machine": MACHINE, "provenance": ORIGIN}
    return copy.deepcopy({**found, "runs": list(runs), "not_run": list(not_run)})


def unfit(run: Store, why: str = "2 ranks would need 92.6 GB, but 8.0 GB are free; use more nodes.") -> Store:
    """A run that did not fit."""
    return {"ranks": run["ranks"], "job": run["job"], "not_run": why}


def full() -> tuple[Store, Store]:
    """Everything on 1 and 2 ranks, something on 4, and what did not fit."""
    strong = store(
        *(strong_run(size, ranks) for size in (3531, 16249) for ranks in (1, 2, 4)),
        strong_run(3531, 2, product="pdsyrk", seconds={"product": 3.0}),
        strong_run(3531, 2, redistribution="alltoall"),
        strong_run(3531, 4, grid=[1, 4]),
        not_run=(unfit(strong_run(106529, 2)),),
    )
    weak = store(*(weak_run(10, ranks, symmetry=s) for s in ("C4", "none") for ranks in (1, 2)))
    return strong, weak


def texts(table: Table) -> list[dict[str, str]]:
    """Rows by the names of the columns, as plain text; of two columns with one name the second has a star."""
    names: list[str] = []
    for name in table.headers:
        names.append(name + "*" if name in names else name)
    plain = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in table.rows]
    return [dict(zip(names, row, strict=True)) for row in plain]


def named(tables: list[Table], title: str) -> list[dict[str, str]]:
    """The rows of the one table whose title begins so."""
    (found,) = [table for table in tables if table.title.startswith(title)]
    return texts(found)
