"""``qmcbench scale ...``: measurements on one and several ranks of MPI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from qmcbench.cli.common import Json, Quiet, typed

if TYPE_CHECKING:
    from qmcbench.bench.scaling import StrongRequest, WeakRequest
    from qmcbench.store.records import Run

    Request = TypeVar("Request", StrongRequest, WeakRequest)

app = typer.Typer(
    help="How the time depends on the number of MPI ranks: measured on this machine, projected to larger ones.",
    epilog="Begin with `qmcbench scale strong --quick --out runs/scaling` (seconds).",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; what is there already is kept.")]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny sizes (seconds), to see that it works.")]


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
    as_json: Json = False,
) -> None:
    """Time ScaLAPACK's redistribution, product, Cholesky factorisation and solves of one fixed problem on more ranks.

    Writes `records/strong.jsonl` and the report. "of dgemm" is each rank's share of what plain dgemm reaches on
    all ranks at once in the same run. A result that does not solve its system is refused. Exit status 1 if a check
    failed.
    """
    from qmcbench.bench import scaling
    from qmcbench.report.scaling.pages import STRONG

    request = _changed(
        scaling.QUICK_STRONG if quick else scaling.StrongRequest(),
        parameters=parameters,
        samples=samples,
        ranks=ranks,
        grids=grid,
        blocks=block,
        products=product,
        redistributions=redistribution,
        space=space,
        repeats=repeats,
    )
    run = scaling.strong(request, out, quiet=quiet, command=typed())
    _report(out, STRONG, [run] if as_json else None)


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
    as_json: Json = False,
) -> None:
    """Time whole optimisation steps with a fixed number of chains on each rank.

    Writes `records/weak.jsonl` and the report. "Monte Carlo" is sampling, local energies and derivatives on the
    slowest rank, and the efficiency its time on one rank over that on more. The overhead is SR / iteration, as
    printed in the paper's Table 3. Exit status 1 if a check failed.
    """
    from qmcbench.bench import scaling
    from qmcbench.report.scaling.pages import WEAK

    request = _changed(
        scaling.QUICK_WEAK if quick else scaling.WeakRequest(),
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
    )
    run = scaling.weak(request, out, quiet=quiet, command=typed())
    _report(out, WEAK, [run] if as_json else None)


@app.command(
    epilog="Examples: `qmcbench scale project --out runs/scaling`; "
    "`qmcbench scale project --machine cluster.toml --processes 4096 --processes 65536 --out runs/cluster`; "
    "`qmcbench scale project --fit runs/scaling --out runs/scaling`"
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
            help="Folder (or file) of strong and weak scaling to fit a machine to; may be repeated. What it does not "
            "show stays near --machine's costs."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Project the paper's Table 3, Fig. 9 and Fig. 10 to a machine, and test the model on times it was not fitted to.

    Writes `records/projection.jsonl` and the report (and `machine.toml`, if the machine was fitted). Each time is the
    paper's, on its own machine, and the model's. Exit status 1 if a check failed, of the model's or of measurements
    that the folder has.
    """
    from qmcbench.report.scaling.pages import PROJECTED
    from qmcbench.scaling import job

    run = job.run(job.ProjectRequest(machine, tuple(fit or ()), tuple(processes or ())), out, command=typed())
    _report(out, PROJECTED, [run] if as_json else None)


def _changed(request: Request, **options: Any) -> Request:
    """``request`` with the options that were given."""
    return replace(request, **{name: value for name, value in options.items() if value is not None})


def _report(out: Path, section: str, runs: Sequence[Run] | None) -> None:
    """Print the tables of one section (or the runs as JSON), and make the report of all that the folder has."""
    from qmcbench.cli.report import conclude
    from qmcbench.report.book import report

    chapters = report([out], out)
    if runs is None:
        for each in (each for chapter in chapters for each in chapter.sections if each.title == section):
            for table in each.tables:
                print(table.text())
    conclude(chapters, out, runs)
