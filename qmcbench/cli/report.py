"""``qmcbench report``: the report of records that are there, without measuring anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qmcbench.report.document import Chapter, Judgement

EPILOG = (
    "Examples: `qmcbench report reports/quick --out reports/quick` makes it again; "
    "`qmcbench report reports/quick reports/scaling --out book` makes one of both."
)


def command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that a command has written, or files of records.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for index.html, report.md and figures.")],
) -> None:
    """Write the report of records that are there: nothing is measured.

    Exit status 1 if a check failed or is inconclusive.
    """
    from qmcbench.files import make_folder
    from qmcbench.report.book import report

    make_folder(out)
    conclude(report(folders, out), out)


def conclude(chapters: Iterable[Chapter], out: Path) -> None:
    """Print what each chapter concludes and where the report is; exit status 1 if a check is not in order."""
    verdicts([(chapter.title, chapter.judgement) for chapter in chapters], out)


def verdicts(judged: Sequence[tuple[str, Judgement]], out: Path) -> None:
    """As :func:`conclude`, of titles and what is concluded."""
    for title, judgement in judged:
        print(f"{title}: {judgement.headline}")
    print(f"report: {out / 'index.html'}")
    for _, judgement in judged:
        for text in judgement.failures:
            print(f"failed: {text}", file=sys.stderr)
        for text in judgement.undecided:
            print(f"inconclusive: {text}", file=sys.stderr)
    if any(judgement.failures or judgement.undecided for _, judgement in judged):
        raise typer.Exit(1)
