"""The front page of the book: is it right, how fast, does the paper hold, what was not run."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.bench.claims import checks as claims_of_speed
from qmcbench.bench.names import COMMANDS
from qmcbench.gates.check import Check, Verdict
from qmcbench.paper.join import Joined, Outcome, counts
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table, grouped
from qmcbench.report.numbers import number
from qmcbench.report.paper.pages import headline
from qmcbench.store.records import Run

SHOWN = 4
"""Numbers of speed on the front page."""


def front(runs: Sequence[Run], joined: Sequence[Joined], chapters: Sequence[Chapter]) -> Chapter:
    """The first page of these chapters, made of these runs."""
    judged = [each for each in chapters if each.judgement.checks]
    words = f"{_passed(judged)} checks passed" if judged else "No checks were run"
    wrong = any(each.judgement.failures or each.judgement.undecided for each in judged)
    remarks = [
        f"Is it right? {_right(judged)}",
        f"How fast? {_fast(runs)}",
        f"Does the paper hold? {headline(counts(joined))}.",
        f"What was not run? {_not_run(runs, joined)}",
    ]
    return Chapter(
        "front",
        f"qmcbench: {len(runs)} runs, {sum(len(run.records) for run in runs):,} records",
        Judgement(words, bool(judged) and not wrong, [], remarks),
        [Section("Chapters", [_chapters(chapters)])],
    )


def _passed(chapters: Sequence[Chapter]) -> str:
    good, of = (sum(getattr(each.judgement, name) for each in chapters) for name in ("good", "checks"))
    return f"{good} of {of}"


def _right(judged: Sequence[Chapter]) -> str:
    """The checks of each part, and which of them did not pass."""
    if not judged:
        return "Nothing was checked."
    said = []
    for part, those in grouped(judged, lambda each: each.part).items():
        # Of each that did not pass, the name: its sentence stands in its chapter.
        bad = [
            text.split(": ")[0] for each in those for text in (*each.judgement.failures, *each.judgement.undecided)
        ]
        said.append(f"{part}: {_passed(those)} checks passed" + (f" (not: {', '.join(bad)})" if bad else ""))
    return f"{'; '.join(said)}."


def speed(runs: Sequence[Run]) -> list[Check]:
    """The claims of speed that were measured, those with an aim first."""
    parts = {run.job.removeprefix("bench "): run for run in runs if run.job.startswith("bench ")}
    found = [each for each in claims_of_speed(parts) if each.verdict is not Verdict.NOT_MEASURED] if parts else []
    return sorted(found, key=lambda each: each.aim is None)


def _fast(runs: Sequence[Run]) -> str:
    found = speed(runs)[:SHOWN]
    if not found:
        return "Not measured."
    return f"{'; '.join(f'{each.name}: {number(each.value)}' for each in found)}."


def _not_run(runs: Sequence[Run], joined: Sequence[Joined]) -> str:
    left = grouped((each for each in joined if each.outcome is Outcome.NOT_RUN), lambda each: each.claim.place)
    places = ", ".join(f"{place}: {len(those)}" for place, those in left.items())
    said = [f"{sum(map(len, left.values()))} claims of the paper" + (f" ({places})" if left else "")]
    there = {run.job for run in runs}
    missing = [f"bench {name}" for name in COMMANDS if f"bench {name}" not in there]
    missing += [job for job in ("gate", "reproduce", "zero-shot", "scale strong", "scale weak", "scale project",
                            "bench history") if job not in there]  # fmt: skip
    said += [f"no record of: {', '.join(missing)}"] if missing else []
    return f"{'; '.join(said)}."


def _chapters(chapters: Sequence[Chapter]) -> Table:
    rows: list[Row] = [
        [
            each.part, Cell(each.title, "link", each.name),
            each.judgement.headline if each.judgement.passed else Cell(each.judgement.headline, "bad"),
        ]
        for each in chapters
    ]  # fmt: skip
    return Table("Chapters", ["part", "chapter", "what it says"], rows)
