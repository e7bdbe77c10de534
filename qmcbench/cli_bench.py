"""``qmcbench bench``: the benchmark suite, the speedup over the paper's baseline, and the hotspots, in one folder."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

from qmcbench.errors import UserError

PARTS = ("hotspots", "speedup", "suite")
FILE = "bench.json"
FORMAT = "qmcbench-bench-1"
QUICK_SPEEDUP: dict[str, Any] = {"systems": (("small", 4),), "batches": (8, 32), "repeats": 1}
QUICK_HOTSPOTS: dict[str, Any] = {"model": "small", "L": 4, "batch": 8, "repeats": 2}


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help=f"Folder for {FILE} and the files of asv.")],
    part: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(PARTS)}; may be repeated; all if absent.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Regular expression: benchmarks of the suite to run.")] = None,
    checkout: Annotated[Path, typer.Option(help="The checkout whose suite is run.")] = Path(),
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes (minutes), to see that it works.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Time the network's operations, the phases of a step, solvers and scaling. Exit status 1 if a benchmark fails.

    hotspots: where one core spends a forward pass (the paper's Fig. 7). speedup: all cores over one scalar core that
    does the plain network in loops (Fig. 8). suite: the asv suite of a checkout, on the code that is installed.
    """
    from qmcbench import provenance, strict_json
    from qmcbench.bench import asv_run
    from qmcbench.checkpoint import write_atomically
    from qmcbench.training import make_folder

    for name in part or ():
        if name not in PARTS:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(PARTS)}")
    chosen = part or list(PARTS)
    if "suite" in chosen:
        asv_run.check(checkout)  # before the others take their time
    make_folder(out)
    results = _read(out / FILE)
    works: dict[str, Callable[[], Any]] = {
        "hotspots": lambda: _hotspots(quick),
        "speedup": lambda: _speedup(quick, quiet),
        "suite": lambda: _suite(checkout, out / "runs" / "asv", quick, only, quiet),
    }
    for name in chosen:
        found = works[name]()
        made_by = provenance.collect(shlex.join(["qmcbench", *sys.argv[1:]]))
        results[name] = {"quick": quick, "provenance": made_by, "results": found}
        # After each: the next may take hours.
        write_atomically(out / FILE, (strict_json.dumps(results, indent=1) + "\n").encode())
    print(f"everything: {out / FILE}")
    rows = results["suite"]["results"] if "suite" in chosen else []
    failed = {row["benchmark"] for row in rows if row.get("not_run") == "failed"}
    if failed:
        print(f"failed: {', '.join(sorted(failed))}", file=sys.stderr)
        raise typer.Exit(1)


def _read(path: Path) -> dict[str, Any]:
    """The parts that are there already, or none."""
    if not path.exists():
        return {"format": FORMAT}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away, or use another --out folder.") from error
    if found.get("format") != FORMAT:
        raise UserError(f"{path} is not of the format {FORMAT}; move it away, or use another --out folder.")
    return found


def _hotspots(quick: bool) -> dict[str, Any]:
    from qmcbench.bench.operations import OPERATIONS, hotspots
    from qmcbench.reference import paper

    found = hotspots(**(QUICK_HOTSPOTS if quick else {}))
    plain, fused = found["plain"], found["fused"]
    labels = OPERATIONS | {"other": "Other"}
    print(f"share of a forward pass, {found['network']}, {found['L']}x{found['L']}, batch {found['batch']}, one core")
    rows = [
        [
            name,
            *(
                f"{each['share_percent'][name]:.1f}" if name in each["share_percent"] else ""
                for each in (plain, fused)
            ),
            str(paper.figure7["share_percent"].get(labels.get(name), "")),
        ]
        for name in dict.fromkeys([*plain["share_percent"], *fused["share_percent"]])
    ]
    rows.append(["seconds", f"{plain['seconds']:.3g}", f"{fused['seconds']:.3g}", ""])
    print(tabulate(rows, ["operation", "plain %", "fused %", "paper %"], disable_numparse=True))
    print("paper: large, 10x10; its Other includes pad and product\n")
    return found


def _speedup(quick: bool, quiet: bool) -> list[dict[str, Any]]:
    from qmcbench.bench import baseline
    from qmcbench.bench.operations import OPERATIONS
    from qmcbench.progress import Bar

    settings = QUICK_SPEEDUP if quick else {"systems": baseline.SYSTEMS, "batches": baseline.BATCHES}
    total = len(settings["systems"]) * len(settings["batches"]) * (len(OPERATIONS) + 1)
    with Bar("speedup", total, quiet=quiet) as bar:
        rows = baseline.speedups(**settings, done=bar.update)
    shown = [
        [
            f"{row.network}-{row.L}",
            str(row.batch),
            row.operation,
            *(f"{seconds:.3g}" for seconds in (row.scalar_s, row.one_core_s, row.all_cores_s)),
            f"{row.scalar_s / row.one_core_s:.1f}",
            f"{row.speedup:.1f}",
        ]
        for row in rows
        if row.operation in ("conv2d", "forward")
    ]
    headers = ["system", "batch", "operation", "scalar s", "one core s", "all cores s", "speedup of one", "of all"]
    print("convolutions by PyTorch and the package's forward pass, over one scalar core")
    print(tabulate(shown, headers, disable_numparse=True), end="\n\n")
    return [row._asdict() | {"speedup": row.speedup} for row in rows]


def _suite(checkout: Path, folder: Path, quick: bool, only: str | None, quiet: bool) -> list[dict[str, Any]]:
    from qmcbench.bench import asv_run

    asv_run.run(checkout, folder, quick=quick, only=only, quiet=quiet)
    rows = asv_run.read(folder)
    shown = [
        [
            row["benchmark"],
            ", ".join(f"{name} {value}" for name, value in row["parameters"].items()),
            f"{row['median']:.3g} {row['unit']}" if "median" in row else row["not_run"],
        ]
        for row in rows
    ]
    print(tabulate(shown, ["benchmark", "parameters", "median"], disable_numparse=True), end="\n\n")
    return rows
