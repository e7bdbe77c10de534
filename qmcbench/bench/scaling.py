"""Lists of measurements on several ranks: saved one by one, continued where they were stopped, none done twice.

``strong.json`` and ``weak.json`` hold ``runs`` (each with its ``job``, ``ranks``, times, libraries and provenance)
and ``not_run`` (what does not fit into memory, and why). Every call adds to what is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qmcbench import provenance
from qmcbench.bench.worker_strong import Strong
from qmcbench.bench.worker_weak import Weak
from qmcbench.config import SCALAPACK, Scalapack, parse
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, dumps, make_folder, write_atomically
from qmcbench.progress import Bar
from qmcbench.ranks import launch
from qmcbench.ranks.comm import share
from qmcbench.sr.scalapack_mesh import fit_grid

Grid = tuple[int, int]
Results = dict[str, Any]

FORMAT = "qmcbench-scaling-1"
# Seconds that one measurement may take.
TIMEOUT = 4 * 3600.0
QUICK_STRONG: dict[str, Any] = {
    "parameters": (96,),
    "samples": 64,
    "ranks": (1, 2),
    "blocks": (16,),
    "repeats": 2,
    "dgemm_size": 256,
}
QUICK_WEAK: dict[str, Any] = {
    "sizes": (4,),
    "ranks": (1, 2),
    "network": "small",
    "symmetries": ("none",),
    "solver": "scalapack_samples",
    "chains": 8,
    "steps": 2,
    "warm_up": 1,
}
"""Measurements of seconds, which show that everything works."""


def strong(
    out: Path,
    *,
    parameters: Sequence[int] = (3531, 16249),
    samples: int = 2560,
    ranks: Sequence[int] = (1, 2, 4),
    grids: Sequence[Grid] = (),
    blocks: Sequence[int] = (128,),
    products: Sequence[str] = ("pdgemm",),
    redistributions: Sequence[str] = ("pdgemr2d",),
    space: str = "parameters",
    repeats: int = 3,
    dgemm_size: int = 2500,
    quiet: bool = False,
    command: str = "qmcbench.bench.scaling.strong",
) -> Results:
    """Time the phases of ScaLAPACK for every combination; see :mod:`qmcbench.bench.worker_strong`.

    Parameters
    ----------
    out
        Folder for ``strong.json``; made if missing.
    parameters, samples
        Sizes of the problem, all ranks together; the paper's networks by default.
    ranks
        Numbers of ranks. With more ranks than cores a run is marked as ``oversubscribed``.
    grids
        Meshes: each for the number of ranks it has. Numbers of ranks without one, and all by default, get the most
        square.
    blocks, products, redistributions, space
        See :class:`qmcbench.config.Scalapack` and :class:`qmcbench.bench.worker_strong.Strong`.
    repeats
        Of each measurement.
    dgemm_size
        Of the matrix product that gives the machine's rate.
    quiet
        No progress on standard error.
    command
        For the provenance.

    Returns
    -------
    dict
        As in ``strong.json``. Each run's ``speedup`` of its phases is over the same job on one rank, if there is one.

    Raises
    ------
    UserError
        If a value is not allowed, the folder cannot be written to or holds runs of another machine, or a run fails.
    Interrupted
        After SIGINT or SIGTERM: the run under way is ended, those before it are saved.
    """
    for name, values in (
        ("parameters", parameters),
        ("samples", [samples]),
        ("ranks", ranks),
        ("repeats", [repeats]),
    ):
        _check_positive(name, values)
    if space not in SCALAPACK.values():
        raise UserError(f"space = {space!r} is not one of {', '.join(SCALAPACK.values())}.")
    for count in ranks:
        try:
            share(samples, 0, count)
        except UserError as error:
            raise UserError(f"samples = {samples}: {error}") from error
    for rows, columns in grids:
        if rows * columns not in ranks:
            raise UserError(
                f"The grid {rows}x{columns} is for {rows * columns} ranks, but those asked for are "
                f"{', '.join(map(str, ranks))}; add --ranks {rows * columns}."
            )
    jobs = [
        (count, Strong(size, samples, layout, space, repeats, dgemm_size))
        for size in parameters
        for product in products
        for redistribution in redistributions
        for block in blocks
        for count in ranks
        for grid in [each for each in grids if each[0] * each[1] == count] or [fit_grid(None, count)]
        for layout in [Scalapack(grid, block, product, redistribution)]
    ]
    for _, job in jobs:
        # The same limits as a training run's.
        parse({"model": {"L": 4, "J2": 0.5}, "scalapack": asdict(job.layout)}, source="strong scaling")
    return _measure("strong", out, jobs, quiet, command)


def weak(
    out: Path,
    *,
    sizes: Sequence[int] = (10, 16, 24),
    ranks: Sequence[int] = (1, 2),
    network: str = "medium",
    symmetries: Sequence[str] = ("none", "C4"),
    solver: str = "scalapack",
    chains: int = 16,
    steps: int = 3,
    warm_up: int = 2,
    J2: float = 0.5,
    block: int = 128,
    product: str = "pdgemm",
    redistribution: str = "pdgemr2d",
    quiet: bool = False,
    command: str = "qmcbench.bench.scaling.weak",
) -> Results:
    """Time training steps for every combination; see :mod:`qmcbench.bench.worker_weak`.

    Parameters
    ----------
    out
        Folder for ``weak.json``; made if missing.
    sizes
        Lattices.
    ranks
        Numbers of ranks, each with ``chains`` chains and one thread.
    network, symmetries, solver, J2, block, product, redistribution
        As in a training run; the mesh of ranks is as square as can be.
    steps
        Counted ones; the first is not.
    warm_up
        Sweeps before it.
    quiet
        No progress on standard error.
    command
        For the provenance.

    Returns
    -------
    dict
        As in ``weak.json``. Each run's ``efficiency`` is the Monte Carlo time of the same job on one rank, if there
        is one, over its own.

    Raises
    ------
    UserError, Interrupted
        As :func:`strong`.
    """
    for name, values in (("ranks", ranks), ("steps", [steps])):
        _check_positive(name, values)
    layout = Scalapack(None, block, product, redistribution)
    jobs = [
        (count, Weak(L, network, symmetry, solver, chains, J2, steps, warm_up, layout))
        for L in sizes
        for symmetry in symmetries
        for count in ranks
    ]
    for count, job in jobs:
        job.config(count)
    return _measure("weak", out, jobs, quiet, command)


def _check_positive(name: str, values: Sequence[int]) -> None:
    if not values or min(values) < 1:
        raise UserError(f"{name} = {', '.join(map(str, values)) or 'nothing'}: give numbers of at least 1.")


def _measure(
    kind: str, out: Path, jobs: Iterable[tuple[int, Strong] | tuple[int, Weak]], quiet: bool, command: str
) -> Results:
    make_folder(out)
    path = out / f"{kind}.json"
    made_by = provenance.collect(command)
    results = _read(path, made_by["machine"]) | {"provenance": made_by}
    # As JSON has them, to be compared with those of the file.
    asked = [{"ranks": ranks, "job": json.loads(dumps(asdict(job)))} for ranks, job in jobs]
    results["not_run"] = [entry for entry in results["not_run"] if _identity(entry) not in asked]
    finished = [_identity(run) for run in results["runs"]]
    todo = [entry for entry in asked if entry not in finished]
    with Bar(f"{kind} scaling", len(asked), len(asked) - len(todo), quiet=quiet) as bar, catch_signals() as signals:
        for number, entry in enumerate(todo, start=bar.done + 1):
            bar.update(number - 1, describe(entry))
            try:
                job = {"kind": kind, **entry["job"]}
                answer = launch.run(entry["ranks"], job, TIMEOUT, stop=lambda: bool(signals))
            except launch.Stopped:
                raise Interrupted(
                    f"Stopped in run {number} of {len(asked)}; those before it are in {path}, and the same command "
                    "goes on."
                ) from None
            results["not_run" if "not_run" in answer else "runs"].append(entry | answer)
            _write(path, results)
            bar.update(number)
    _write(path, results)
    return results


def describe(entry: dict[str, Any]) -> str:
    """A run in a few words."""
    job, ranks = entry["job"], f"{entry['ranks']} rank{'s' * (entry['ranks'] > 1)}"
    if "L" in job:
        return f"{job['L']}x{job['L']}, {job['network']}, symmetry {job['symmetry']}, {ranks}"
    layout = job["layout"]
    rows, columns = layout["grid"]
    return f"{job['parameters']} parameters, {ranks} ({rows}x{columns}), block {layout['block']}, {layout['product']}"


def _identity(entry: dict[str, Any]) -> dict[str, Any]:
    return {"ranks": entry["ranks"], "job": entry["job"]}


def _read(path: Path, machine: dict[str, Any]) -> Results:
    """What is there, or nothing yet."""
    if not path.exists():
        # The ranks have threads of their own number.
        own = {name: value for name, value in machine.items() if name != "torch_threads"}
        return {"format": FORMAT, "machine": own, "runs": [], "not_run": []}
    try:
        found: Results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away, or use another --out folder.") from error
    if found.get("format") != FORMAT:
        raise UserError(f"{path} is not of the format {FORMAT}; move it away, or use another --out folder.")
    for name in ("cpu", "cores"):
        if found["machine"][name] != machine[name]:
            raise UserError(
                f"{path} holds runs of another machine ({name}: {found['machine'][name]}; here: {machine[name]}), "
                "which cannot be compared; use another --out folder."
            )
    return found


def _write(path: Path, results: Results) -> None:
    """Save, after comparing every run with the same job on one rank."""
    alone = {_job_on_any_ranks(run): run for run in results["runs"] if run["ranks"] == 1}
    rates: dict[str, float] = {}
    for run in results["runs"]:
        one = alone.get(_job_on_any_ranks(run))
        if "dgemm" in run:
            ranks = str(run["ranks"])
            rates[ranks] = max(rates.get(ranks, 0.0), run["dgemm"]["GFs_per_rank"])
            run["speedup"] = one and {
                name: one["phases"][name]["median_s"] / phase["median_s"] for name, phase in run["phases"].items()
            }
        else:
            run["efficiency"] = one and one["mc"]["median_s"] / run["mc"]["median_s"]
    if rates:
        results["machine"]["dgemm_GFs_per_rank"] = rates
    write_atomically(path, (dumps(results, indent=1) + "\n").encode())


def _job_on_any_ranks(run: dict[str, Any]) -> str:
    """The job without what must differ between numbers of ranks."""
    layout = {name: value for name, value in run["job"]["layout"].items() if name != "grid"}
    return json.dumps(run["job"] | {"layout": layout}, sort_keys=True)
