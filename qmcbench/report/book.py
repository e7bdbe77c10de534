"""The report of any records: ``qmcbench report``, and the last act of every command that measures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from qmcbench.errors import UserError
from qmcbench.report import document
from qmcbench.report.document import Chapter
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
}
"""The chapter (a folder of this package) of each command, in the order of the report."""


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
    found: dict[str, list[Run]] = {chapter: [] for chapter in CHAPTERS.values()}
    for run in runs:
        chapter = CHAPTERS.get(run.job.split()[0] if run.job else "")
        if chapter is None:
            raise UserError(f"The job {run.job!r} of a run is not one of {', '.join(CHAPTERS)}.")
        found[chapter].append(run)
    return [
        made
        for chapter, those in found.items()
        if those
        for made in import_module(f"qmcbench.report.{chapter}.pages").chapters(those)
    ]
