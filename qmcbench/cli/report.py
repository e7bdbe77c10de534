"""``qmcbench report``: the report of records that are there, without measuring anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qmcbench.report.document import Chapter

EPILOG = (
    "Examples: `qmcbench report reports/quick --out reports/quick` makes it again; "
    "`qmcbench report reports/quick reports/scaling --out book` makes one of both."
)


def command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that a command has written, or files of records.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for index.html, report.md and figures.")],
) -> None:
    """Write the report of records that are there: nothing is measured. Exit status 1 if a check failed."""
    from qmcbench.files import make_folder
    from qmcbench.report.book import report

    make_folder(out)
    conclude(report(folders, out), out)


def conclude(chapters: list[Chapter], out: Path) -> None:
    """Print what each chapter concludes and where the report is; exit status 1 if a check failed."""
    for chapter in chapters:
        print(f"{chapter.title}: {chapter.judgement.headline}")
    print(f"report: {out / 'index.html'}")
    failures = [text for chapter in chapters for text in chapter.judgement.failures]
    for text in failures:
        print(f"failed: {text}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)
