"""``qmcbench report``: the report of records that are there, without measuring anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qmcbench.cli.common import Json, print_json

if TYPE_CHECKING:
    from qmcbench.report.document import Chapter, Judgement
    from qmcbench.store.records import Run

EPILOG = (
    "Examples: `qmcbench report reports/book --out book` makes this repository's again; "
    "`qmcbench report runs/quick runs/scaling --out book` makes one of both."
)


def command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that a command has written, or files of records.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for index.html, report.md, figures, tables.")],
    as_json: Json = False,
) -> None:
    """Write the book of records that are there: nothing is measured.

    Front page, the paper, correctness, speed, scaling, transfer, and where all numbers come from.

    Exit status 1 if a check failed or is inconclusive.
    """
    from qmcbench.files import make_folder
    from qmcbench.report.book import book

    make_folder(out)
    conclude(book(folders, out), out, () if as_json else None)


def conclude(chapters: Iterable[Chapter], out: Path, runs: Sequence[Run] | None = None) -> None:
    """Print what each chapter concludes and where the report is; exit status 1 if a check is not in order.

    Parameters
    ----------
    runs
        Absent: as text. Otherwise as JSON, with these runs, which the command has measured.
    """
    verdicts([(chapter.title, chapter.judgement) for chapter in chapters], out, runs)


def verdicts(judged: Sequence[tuple[str, Judgement]], out: Path, runs: Sequence[Run] | None = None) -> None:
    """As :func:`conclude`, of titles and what is concluded."""
    report = out / "index.html"
    if runs is None:
        for title, judgement in judged:
            print(f"{title}: {judgement.headline}")
        print(f"report: {report}")
    else:
        from qmcbench.store import jsonl

        chapters = [{"title": title, **asdict(judgement)} for title, judgement in judged]
        print_json({"report": str(report), "chapters": chapters, "runs": [jsonl.as_object(run) for run in runs]})
    for _, judgement in judged:
        for text in judgement.failures:
            print(f"failed: {text}", file=sys.stderr)
        for text in judgement.undecided:
            print(f"inconclusive: {text}", file=sys.stderr)
    if any(judgement.failures or judgement.undecided for _, judgement in judged):
        raise typer.Exit(1)
