"""``qmcbench report``: the book of records that are there, or what changed between two, without measuring."""

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
    "`qmcbench report runs/quick runs/scaling --out book` makes one of both; "
    "`qmcbench report --compare runs/before runs/after --fail-on-regression` says what has become slower."
)
SHOWN = 40
"""Changed timings in a terminal."""


def command(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders that a command has written, or files of records.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for index.html, report.md, figures, tables.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option("--compare", help="Two folders of benchmarks, before and after.")
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail-on-regression", help="With --compare: exit status 1 if a timing is slower.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the book of records that are there: nothing is measured.

    Front page, the paper, correctness, speed, scaling, transfer, history, leaderboard, and where all numbers come
    from; exit status 1 if a check failed or is inconclusive. With --compare: which timings changed between two sets
    of benchmarks.
    """
    if compare is not None:
        if folders:
            raise typer.BadParameter("--compare takes two folders, and no others are read beside them")
        _compare(compare, out, fail=fail, as_json=as_json)
        return
    if not folders or out is None or fail:
        raise typer.BadParameter("give folders and --out, or --compare BEFORE AFTER (with --fail-on-regression)")
    from qmcbench.files import make_folder
    from qmcbench.report.book import book
    from qmcbench.report.document import left_over

    make_folder(out)
    made = book(folders, out)
    if left := left_over(made, out):
        print(
            f"{len(left)} files in {out} are not of this report but of an earlier one, such as {left[0]}; "
            "remove them if nothing refers to them.",
            file=sys.stderr,
        )
    conclude(made, out, () if as_json else None)


def _compare(places: tuple[Path, Path], out: Path | None, *, fail: bool, as_json: bool) -> None:
    """What changed from the first to the second; pages too, if there is a folder for them."""
    from qmcbench.bench.compare import Verdict, compare
    from qmcbench.files import make_folder
    from qmcbench.report import document
    from qmcbench.report.bench.comparison import chapter, table
    from qmcbench.store import jsonl

    before, after = (jsonl.find([place]) for place in places)
    found = compare(before, after)
    made = chapter(found, before, after)
    if out is not None:
        make_folder(out)
        document.write([made], out)
    if as_json:
        changes = [{"verdict": str(e.verdict), "timing": e.what, "ratio": e.ratio, "z": e.z} for e in found.changes]
        print_json({"headline": made.judgement.headline, "remarks": made.judgement.remarks, "changes": changes})
    else:
        changed = [each for each in found.changes if each.verdict is not Verdict.SAME]
        print(table(changed[:SHOWN]).text())
        print("\n".join([made.judgement.headline, *made.judgement.remarks]))
    if fail and found.of(Verdict.SLOWER):
        raise typer.Exit(1)


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
