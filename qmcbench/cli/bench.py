"""``qmcbench bench``: the command line of times, rates and memory of this machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qmcbench.bench.parts import DEVICE, PARTS, Request
from qmcbench.cli.common import Json, Quiet, typed

if TYPE_CHECKING:
    from qmcbench.store.records import Run

EPILOG = (
    "Examples, in a checkout: `qmcbench bench --quick --out runs/try` (minutes); `qmcbench bench --out runs/bench`, "
    "and once more after a change `qmcbench bench hotpath growth --out runs/bench`; "
    "`qmcbench bench suite --only Solve --out runs/bench`; "
    "`qmcbench bench peers --peers-python peers/bin/python --out runs/bench`; "
    "`qmcbench bench accuracy --peers-python peers/bin/python --limit 600 --out runs/bench`"
)


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the records and the report.")],
    parts: Annotated[
        list[str] | None, typer.Argument(help="; ".join(f"**{name}**: {part.help}" for name, part in PARTS.items()))
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes (minutes), to see that it works.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Regular expression: benchmarks of the suite, programs of accuracy or ways of optimisers to run.",
        ),
    ] = None,
    checkout: Annotated[Path, typer.Option(help="The checkout whose suite, or peers, are run.")] = Path(),
    peers_python: Annotated[
        str | None, typer.Option("--peers-python", help="Interpreter of the peers' environment.")
    ] = None,
    tachys_python: Annotated[
        str | None, typer.Option("--tachys-python", help="Interpreter of the environment of tachys.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="For the part accuracy: seconds of each program; 600 if absent.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Network for the sampling rate of hotpath; a fresh one if absent."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help=f"For the part device: {DEVICE} if absent; cpu, to try it.")
    ] = None,
    commits: Annotated[
        int | None, typer.Option("--commits", min=2, help="For the part history: how many; 12 if absent.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure this machine: PARTS, or all that need nothing else; then a report. Exit status 1 if a benchmark fails.

    Keep the machine free meanwhile. A later call replaces only the parts that it runs.
    """
    chosen = tuple(dict.fromkeys(parts or [name for name, part in PARTS.items() if part.default]))
    request = Request(
        out, chosen, quick, quiet, only, checkout, peers_python, tachys_python, limit, checkpoint, device, commits
    )
    _demand_sense(request)
    _run(request, as_json=as_json)


def _demand_sense(request: Request) -> None:
    """Refuse parts that are none, and options of parts that are not asked for."""
    for name in request.parts:
        if name not in PARTS:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(PARTS)}")
    for field in dict.fromkeys(name for part in PARTS.values() for name in part.own):
        whose = [name for name, part in PARTS.items() if field in part.own]
        *others, last = whose
        either = f"{', '.join(others)} or {last}" if others else last
        if getattr(request, field) is not None and not set(whose) & set(request.parts):
            raise typer.BadParameter(
                f"{_option(field)} is for the part {either}, which is not among {', '.join(request.parts)}"
            )


def _run(request: Request, *, as_json: bool) -> None:
    """Measure, print and report part by part; Ctrl-C keeps what is finished."""
    from qmcbench.bench.parts import measure
    from qmcbench.cli.report import conclude
    from qmcbench.files import Interrupted
    from qmcbench.report import book

    finished: dict[str, Run] = {}
    chapters = []
    try:
        for name, run in measure(request, typed()):
            finished[name] = run
            for table in () if as_json else book.tables(run):
                print(table.text())
            chapters = book.report([request.out], request.out)
    except KeyboardInterrupt:
        left = request.parts[len(finished) :]
        again = ["bench", *left, *_own(left, request)] if left else ["report", str(request.out)]
        raise Interrupted(
            f"Interrupted in {left[0] if left else 'the report'}; finished and kept: "
            f"{', '.join(finished) or 'nothing'}. "
            f"`{shlex.join(['qmcbench', *again, '--out', str(request.out)])}` does the rest."
        ) from None
    failed = _failed(finished.get("suite"))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    conclude(chapters, request.out, list(finished.values()) if as_json else None)
    if failed:
        raise typer.Exit(1)


def _own(parts: Sequence[str], request: Request) -> list[str]:
    """The options of these parts alone, as they were typed."""
    given = [(name, getattr(request, name)) for part in parts for name in PARTS[part].own]
    return [word for name, value in given if value is not None for word in (_option(name), str(value))]


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _failed(suite: Run | None) -> list[str]:
    """Names of the benchmarks of the asv suite that failed."""
    from qmcbench.store.bench import AsvBenchmark

    return sorted({each.benchmark for each in suite.of(AsvBenchmark) if each.failed}) if suite else []
