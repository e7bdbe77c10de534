"""The report of any records: the book of ``qmcbench report``, and the last act of every command that measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from qmcbench.errors import UserError
from qmcbench.paper.join import join
from qmcbench.report import document, provenance
from qmcbench.report.document import Chapter, Table
from qmcbench.report.front import front
from qmcbench.report.leaderboard import pages as leaderboard
from qmcbench.report.paper import pages as paper
from qmcbench.store import jsonl
from qmcbench.store.records import Run

CHAPTERS = {
    "gate": "gates",
    "reproduce": "reproduction",
    "transfer": "reproduction",
    "evaluate": "zero_shot",
    "zero-shot": "zero_shot",
    "scale": "scaling",
    "bench": "bench",
    "bench history": "history",
}
"""The chapter (a folder of this package) of each command or part of one, in the order of the report."""


PARTS = {
    "gates": "Correctness",
    "reproduction": "Correctness",
    "bench": "Speed",
    "scaling": "Scaling",
    "zero_shot": "Transfer",
    "history": "History",
}
"""The parts of the book between the paper and the provenance, in their order, by chapter unless that says another."""


def book(folders: Sequence[Path], out: Path) -> list[Chapter]:
    """Write the book of all records in ``folders`` to ``out``: front page, the paper, the chapters, provenance.

    Nothing is measured, and torch is not imported. The same records give the same bytes.

    Raises
    ------
    UserError, OSError
        As :func:`report`.
    """
    made = bound(jsonl.find(folders))
    document.write(made, out)
    return made


def bound(runs: Sequence[Run]) -> list[Chapter]:
    """All chapters of the book; raises as :func:`chapters`."""
    made = [
        # What a section lacks stands on the front page and in its chapter's remarks.
        replace(each, part=each.part or PARTS[package], sections=[s for s in each.sections if s.tables or s.plots])
        for package, those in _sorted(runs).items()
        for each in _of(package, those)
    ]
    order = list(dict.fromkeys(PARTS.values()))
    made.sort(key=lambda each: order.index(each.part))
    joined = join(runs)
    whole = [*paper.chapters(runs, joined), *made, *leaderboard.chapters(runs), *provenance.chapters(runs)]
    return [front(runs, joined, whole), *whole]


def report(folders: Sequence[Path], out: Path) -> list[Chapter]:
    """Write the report of all records in ``folders`` to ``out``; its chapters.

    Nothing is measured, and torch is not imported. The same records give the same bytes.

    Raises
    ------
    UserError
        If a folder has no records, or a file of them cannot be read.
    OSError
        If the report cannot be written.
    """
    made = chapters(jsonl.find(folders))
    document.write(made, out)
    return made


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """Every chapter that these runs have something for.

    Raises
    ------
    UserError
        If a run is of a job that no chapter is about.
    """
    return [made for package, those in _sorted(runs).items() for made in _of(package, those)]


def tables(run: Run) -> list[Table]:
    """The tables of one part of ``qmcbench bench`` that have rows."""
    package = "history" if CHAPTERS.get(run.job) == "history" else "bench"
    made: list[Table] = import_module(f"qmcbench.report.{package}.pages").tables(run)
    return [table for table in made if table.rows]


def _sorted(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each chapter that has some."""
    found: dict[str, list[Run]] = {chapter: [] for chapter in CHAPTERS.values()}
    for run in runs:
        chapter = CHAPTERS.get(run.job, CHAPTERS.get(run.job.split()[0] if run.job else ""))
        if chapter is None:
            raise UserError(f"The job {run.job!r} of a run is not one of {', '.join(CHAPTERS)}.")
        found[chapter].append(run)
    return {chapter: those for chapter, those in found.items() if those}


def _of(package: str, runs: Sequence[Run]) -> list[Chapter]:
    made: list[Chapter] = import_module(f"qmcbench.report.{package}.pages").chapters(runs)
    return made
