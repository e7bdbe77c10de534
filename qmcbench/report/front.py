"""The front page of the book: is it right, how fast, does the paper hold, what was not run, how old is it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qmcbench.bench.claims import checks as claims_of_speed
from qmcbench.bench.names import COMMANDS
from qmcbench.export import program
from qmcbench.gates.check import Check, Verdict
from qmcbench.paper.join import Joined, Outcome, counts
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table, grouped
from qmcbench.report.numbers import number
from qmcbench.report.paper.pages import headline
from qmcbench.store.records import Run

SHOWN = 4
"""Numbers of speed on the front page."""
OF_SPEED = ("bench peers", "bench hotpath", "bench growth")
"""Those that the claims of speed are about."""


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
        f"How old is it? {_age(runs)}",
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
    said = "; ".join(f"{each.name}: {number(each.value)}" for each in found)
    return f"{said}. Measured {_days(run for run in runs if run.job in OF_SPEED)}."


def _not_run(runs: Sequence[Run], joined: Sequence[Joined]) -> str:
    left = grouped((each for each in joined if each.outcome is Outcome.NOT_RUN), lambda each: each.claim.place)
    places = ", ".join(f"{place}: {len(those)}" for place, those in left.items())
    said = [f"{sum(map(len, left.values()))} claims of the paper" + (f" ({places})" if left else "")]
    there = {run.job for run in runs}
    missing = [f"bench {name}" for name in COMMANDS if f"bench {name}" not in there]
    missing += [job for job in ("gate", "reproduce", "transfer", "zero-shot", "scale strong", "scale weak",
                            "scale project", "bench history") if job not in there]  # fmt: skip
    said += [f"no record of: {', '.join(missing)}"] if missing else []
    return f"{'; '.join(said)}."


def _age(runs: Sequence[Run]) -> str:
    """By which versions, and when, the numbers were measured: the code of the report may be newer."""
    made = sorted(grouped(runs, program).items())
    said = "; ".join(f"{name}, {len(own)} run{'s' * (len(own) != 1)}, {_days(own)}" for name, own in made)
    return f"Measured with {said}; what has changed in the code since is not in it."


def _days(runs: Iterable[Run]) -> str:
    """The first and the last day of these runs."""
    days = sorted({run.provenance.date[:10] for run in runs})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _chapters(chapters: Sequence[Chapter]) -> Table:
    rows: list[Row] = [
        [
            each.part, Cell(each.title, "link", each.name),
            each.judgement.headline if each.judgement.passed else Cell(each.judgement.headline, "bad"),
        ]
        for each in chapters
    ]  # fmt: skip
    return Table("Chapters", ["part", "chapter", "what it says"], rows)
