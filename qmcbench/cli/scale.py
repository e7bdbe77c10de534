"""``qmcbench scale ...``: measurements on one and several ranks of MPI."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

app = typer.Typer(
    help="How the time depends on the number of MPI ranks: measured on this machine, projected to larger ones.",
    epilog="Begin with `qmcbench scale strong --quick --out runs/scaling` (seconds).",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; what is there already is kept.")]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny sizes (seconds), to see that it works.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def _grid(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not rows x columns, such as 2x4")
    return int(found[1]), int(found[2])


@app.command(
    epilog="Examples: `qmcbench scale strong --parameters 16249 --ranks 1 --ranks 2 --out runs/scaling`; the same "
    "command again goes on with a stopped list, another one adds to it. "
    "`qmcbench scale strong --ranks 4 --grid 2x2 --grid 1x4 --block 64 --block 256 --out runs/grids`"
)
def strong(
    out: Out,
    parameters: Annotated[
        list[int] | None, typer.Option(help="Order of the covariance; may be repeated; 3531 and 16249 if absent.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Of all ranks together; 2560 if absent.")] = None,
    ranks: Annotated[list[int] | None, typer.Option(help="May be repeated; 1, 2 and 4 if absent.")] = None,
    grid: Annotated[
        list[Any] | None,
        typer.Option(
            parser=_grid, metavar="RxC", help="Mesh of ranks; may be repeated; as square as can be if absent."
        ),
    ] = None,
    block: Annotated[
        list[int] | None, typer.Option(help="Edge of ScaLAPACK's blocks; may be repeated; 128 if absent.")
    ] = None,
    product: Annotated[
        list[str] | None, typer.Option(help="pdgemm (the paper's, if absent) or pdsyrk; may be repeated.")
    ] = None,
    redistribution: Annotated[
        list[str] | None, typer.Option(help="pdgemr2d (if absent) or alltoall (the paper's); may be repeated.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="parameters (if absent) or samples: which matrix.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Of each measurement; 3 if absent.")] = None,
    quick: Quick = False,
    quiet: Quiet = False,
) -> None:
    """Time ScaLAPACK's redistribution, product, Cholesky factorisation and solves of one fixed problem on more ranks.

    Writes `strong.json`. GF/s count all ranks; "of dgemm" is each rank's share of what plain dgemm reaches on all
    ranks at once in the same run. A result that does not solve its system is refused.
    """
    from qmcbench.bench import scaling

    results = scaling.strong(
        out,
        **(scaling.QUICK_STRONG if quick else {})
        | _given(
            parameters=parameters,
            samples=samples,
            ranks=ranks,
            grids=grid,
            blocks=block,
            products=product,
            redistributions=redistribution,
            space=space,
            repeats=repeats,
        ),
        quiet=quiet,
        command=_command(),
    )
    headers = ["parameters", "samples", "ranks", "grid", "block", "routines", "data s", "product s", "GF/s"]
    headers += ["of dgemm", "pdpotrf s", "GF/s", "of dgemm", "solves s", "total s", "speedup", ""]
    _print(results, [_strong_row(run) for run in results["runs"]], headers, out / "strong.json")


@app.command(
    epilog="Examples: `qmcbench scale weak --L 10 --symmetry none --out runs/scaling`; the same command again goes "
    "on with a stopped list. `qmcbench scale weak --L 10 --network large --solver scalapack_samples --out runs/large`"
)
def weak(
    out: Out,
    L: Annotated[list[int] | None, typer.Option("--L", help="May be repeated; 10, 16 and 24 if absent.")] = None,
    ranks: Annotated[list[int] | None, typer.Option(help="May be repeated; 1 and 2 if absent.")] = None,
    network: Annotated[str | None, typer.Option(help="small, medium (if absent) or large.")] = None,
    symmetry: Annotated[list[str] | None, typer.Option(help="none or C4; may be repeated; both if absent.")] = None,
    solver: Annotated[
        str | None, typer.Option(help="scalapack (if absent), scalapack_samples, dense or sample_space.")
    ] = None,
    chains: Annotated[int | None, typer.Option(help="On each rank; 16, the paper's, if absent.")] = None,
    steps: Annotated[int | None, typer.Option(help="Timed steps of each run; 3 if absent.")] = None,
    block: Annotated[int | None, typer.Option(help="Edge of ScaLAPACK's blocks; 128 if absent.")] = None,
    product: Annotated[str | None, typer.Option(help="pdgemm (the paper's, if absent) or pdsyrk.")] = None,
    redistribution: Annotated[
        str | None, typer.Option(help="pdgemr2d (if absent) or alltoall (the paper's).")
    ] = None,
    quick: Quick = False,
    quiet: Quiet = False,
) -> None:
    """Time whole optimisation steps with a fixed number of chains on each rank.

    Writes `weak.json`. "MC" is sampling, local energies and derivatives on the slowest rank, and the efficiency its
    time on one rank over that on more. The overhead is SR / iteration, as printed in the paper's Table 3.
    """
    from qmcbench.bench import scaling

    results = scaling.weak(
        out,
        **(scaling.QUICK_WEAK if quick else {})
        | _given(
            sizes=L,
            ranks=ranks,
            network=network,
            symmetries=symmetry,
            solver=solver,
            chains=chains,
            steps=steps,
            block=block,
            product=product,
            redistribution=redistribution,
        ),
        quiet=quiet,
        command=_command(),
    )
    headers = ["lattice", "network", "symmetry", "solver", "ranks", "samples", "MC s", "efficiency", "SR s"]
    headers += ["iteration s", "overhead", "samples/s", ""]
    _print(results, [_weak_row(run) for run in results["runs"]], headers, out / "weak.json")


@app.command(
    epilog="Examples: `qmcbench scale project --out runs/scaling`; "
    "`qmcbench scale project --machine cluster.toml --processes 4096 --processes 65536 --out runs/cluster`; "
    "`qmcbench scale project --fit runs/scaling/strong.json --fit runs/scaling/weak.json --out runs/scaling`"
)
def project(
    out: Out,
    machine: Annotated[
        str, typer.Option(help="TOML file of a machine's costs, or a shipped one: sunway, the paper's.")
    ] = "sunway",
    processes: Annotated[
        list[int] | None, typer.Option(help="To project to beside the paper's; may be repeated.")
    ] = None,
    fit: Annotated[
        list[Path] | None,
        typer.Option(
            help="strong.json or weak.json to fit a machine to; may be repeated. What they do not show stays near "
            "--machine's costs."
        ),
    ] = None,
) -> None:
    """Project the paper's Table 3, Fig. 9 and Fig. 10 to a machine, and test the model on times it was not fitted to.

    Writes `projection.json` (and `machine.toml`, if it was fitted). Each pair is the time in the paper, on its own
    machine, and the model's; the report has their uncertainty.
    """
    from qmcbench.scaling import job

    results = job.run(out, machine, own=fit or (), processes=processes or (), command=_command())
    print(f"seconds: paper / model for {results['machine']['name']}")
    for source, title in (("table3", "Table 3"), ("figure9", "Fig. 9"), ("figure10", "Fig. 10")):
        print(f"\n{title}\n{_projected([each for each in results['times'] if each['source'] == source])}")
    if results["more"]:
        headers = ["parameters", "lattice", "processes", "nodes", "samples", "MC s", "SR s", "SR s in sample space"]
        print(f"\nwith C4\n{tabulate(map(_more_row, results['more']), headers, disable_numparse=True)}")
    print(f"\nall times with their uncertainty: {out / job.FILE}")
    _report(out)


def _projected(times: list[dict[str, Any]]) -> str:
    """One line for each number of processes, one column for each time of an iteration."""
    from qmcbench.report.scaling.model import PHASES

    lines: dict[tuple[int, ...], dict[str, str]] = {}
    for each in times:
        work = each["work"]
        lattice = f" {work['L']}x{work['L']}" + " C4" * (work["rotations"] > 1) if work["L"] else ""
        key = (work["parameters"], work["processes"], each["nodes"])
        lines.setdefault(key, {})[PHASES[each["phase"]] + lattice] = (
            f"{each['paper_s']:g} / {each['seconds']['value']:.3g}"
        )
    columns = list(dict.fromkeys(name for line in lines.values() for name in line))
    rows = [[*map(str, key), *(line.get(name, "") for name in columns)] for key, line in sorted(lines.items())]
    return tabulate(rows, ["parameters", "processes", "nodes", *columns], disable_numparse=True)


def _more_row(each: dict[str, Any]) -> list[str]:
    work = each["work"]
    times = [f"{each[name]:.3g}" for name in ("monte_carlo_s", "covariance_s", "sample_space_s")]
    lattice = f"{work['L']}x{work['L']}"
    return [
        str(work["parameters"]),
        lattice,
        str(work["processes"]),
        str(each["nodes"]),
        str(work["samples"]),
        *times,
    ]


def _report(out: Path) -> None:
    from qmcbench.report.scaling.pages import refresh

    print(f"{refresh(out).headline}; report: {out / 'index.html'}")


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _strong_row(run: dict[str, Any]) -> list[str]:
    job, layout, phases = run["job"], run["job"]["layout"], run["phases"]
    rates = {name: f"{phases[name]['GFs']:.1f}" for name in ("product", "factorisation")}
    parts = {name: f"{phases[name]['fraction_of_dgemm']:.2f}" for name in rates}
    return [
        str(job["parameters"]),
        str(job["samples"]),
        str(run["ranks"]),
        "{}x{}".format(*layout["grid"]),
        str(layout["block"]),
        f"{layout['redistribution']}, {layout['product']}",
        _seconds(phases["redistribution"]),
        *(_seconds(phases["product"]), rates["product"], parts["product"]),
        *(_seconds(phases["factorisation"]), rates["factorisation"], parts["factorisation"]),
        _seconds(phases["solves"]),
        _seconds(phases["total"]),
        f"{run['speedup']['total']:.2f}" if run["speedup"] else "",
        _mark(run),
    ]


def _weak_row(run: dict[str, Any]) -> list[str]:
    job = run["job"]
    return [
        f"{job['L']}x{job['L']}",
        job["network"],
        job["symmetry"],
        job["solver"],
        str(run["ranks"]),
        str(run["samples"]),
        _seconds(run["mc"]),
        f"{run['efficiency']:.3f}" if run["efficiency"] else "",
        _seconds(run["sr"]),
        _seconds(run["iteration"]),
        f"{run['overhead']:.3f}",
        f"{run['samples_per_second']:.1f}",
        _mark(run),
    ]


def _seconds(phase: dict[str, Any]) -> str:
    return f"{phase['median_s']:.3g}"


def _mark(run: dict[str, Any]) -> str:
    return "more ranks than cores" if run["oversubscribed"] else ""


def _print(results: dict[str, Any], rows: list[list[str]], headers: list[str], path: Path) -> None:
    from qmcbench.bench.scaling import describe

    print(tabulate(rows, headers, disable_numparse=True))
    for entry in results["not_run"]:
        print(f"not run: {describe(entry)}: {entry['not_run']}")
    print(f"\nmedians; all times: {path}")
    _report(path.parent)


def _command() -> str:
    return shlex.join(["qmcbench", *sys.argv[1:]])
