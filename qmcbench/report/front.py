"""The front page of the book: is it right, how fast, does the paper hold, what was not run, how old is it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from qmcbench.bench import accuracy
from qmcbench.bench.claims import checks as claims_of_speed
from qmcbench.bench.names import COMMANDS, ITERATION, OURS
from qmcbench.bench.peers import sides
from qmcbench.export import program
from qmcbench.gates.check import Check, Verdict
from qmcbench.paper.join import Joined, Outcome, counts
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table, grouped
from qmcbench.report.leaderboard import pages as leaderboard
from qmcbench.report.numbers import count, duration, number
from qmcbench.report.paper.pages import headline
from qmcbench.shipped import profile_names
from qmcbench.store.bench import Learning
from qmcbench.store.records import Run

PEERS = "bench peers"
SHOWN = 4
"""Numbers of speed on the front page."""
OF_SPEED = (PEERS, "bench hotpath", "bench growth", accuracy.JOB)
"""Those that the answer about speed is of."""
PLANS = ("reproduce", "transfer")
"""Commands that have shipped plans, whose names their runs keep."""


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
        Judgement(words, not wrong if judged else None, [], remarks),
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
        said.append(f"{part}: {_passed(those)} checks passed" + (f" (not: {'; '.join(bad)})" if bad else ""))
    return f"{'; '.join(said)}."


def speed(runs: Sequence[Run]) -> list[Check]:
    """The claims of speed that were measured, those with an aim first."""
    parts = {run.job.removeprefix("bench "): run for run in runs if run.job.startswith("bench ")}
    found = [each for each in claims_of_speed(parts) if each.verdict is not Verdict.NOT_MEASURED] if parts else []
    return sorted(found, key=lambda each: each.aim is None)


def _fast(runs: Sequence[Run]) -> str:
    said = [f"{each.name}: {number(each.value)}{_took(each, runs)}" for each in speed(runs)[:SHOWN]]
    said += _learned([each for run in runs if run.job == accuracy.JOB and not run.quick for each in run.of(Learning)])
    if not said:
        return "Not measured."
    measured = [run for run in runs if run.job in OF_SPEED]
    machines = dict.fromkeys(
        f"{run.provenance.machine.cpu}, {run.provenance.machine.cores} cores" for run in measured
    )
    return f"{'; '.join(said)}. Measured {_days(measured)} on {' and '.join(machines)}."


def _took(check: Check, runs: Sequence[Run]) -> str:
    """The seconds behind a claim about a peer."""
    for run in reversed(runs):
        times = {name: side.times[ITERATION].value for name, side in sides(run).items()} if run.job == PEERS else {}
        for name in times:
            if check.name.endswith(f"times as fast as {name}"):
                return f" ({duration(times[OURS])} against {duration(times[name])}, the same network)"
    return ""


def _learned(found: Sequence[Learning]) -> list[str]:
    """Seconds of each program to each accuracy, by the quickest of its own practices."""
    there = [each for each in found if each.curve.seconds and accuracy.kind(each) == accuracy.OWN]
    said, never = [], []
    for name in dict.fromkeys(each.program for each in there):
        quickest = [(target, accuracy.best(there, name, target, accuracy.OWN)) for target in accuracy.TARGETS]
        times = [
            f"{number(target)} in {duration(accuracy.reached(each, target))}" for target, each in quickest if each
        ]
        if times:
            said.append(f"{name} within {', '.join(times)}")
        else:
            never.append(name)
    if never:
        limit = duration(max(each.limit_s for each in there))
        said.append(f"{', '.join(never)} not within {number(accuracy.TARGETS[0])} in {limit}")
    if not said:
        return []
    of = f"{there[0].L}x{there[0].L}, J2 = {number(there[0].J2)}"
    said[0] = f"relative error of {of}, from fresh networks by each program's own practices, one seed: {said[0]}"
    return said


def _not_run(runs: Sequence[Run], joined: Sequence[Joined]) -> str:
    left = grouped((each for each in joined if each.outcome is Outcome.NOT_RUN), lambda each: each.claim.place)
    places = ", ".join(f"{place}: {len(those)}" for place, those in left.items())
    said = [f"{sum(map(len, left.values()))} claims of the paper" + (f" ({places})" if left else "")]
    there = {run.job for run in runs}
    missing = [f"bench {name}" for name in COMMANDS if f"bench {name}" not in there]
    missing += [job for job in ("gate", "reproduce", "transfer", "zero-shot", "scale strong", "scale weak",
                            "scale project", "bench history") if job not in there]  # fmt: skip
    said += [f"no record of: {', '.join(missing)}"] if missing else []
    ran = {(run.job, run.profile) for run in runs}
    plans = [f"{job} {name}" for job in PLANS for name in profile_names(job) if (job, name) not in ran]
    said += [f"no record of the plans: {', '.join(plans)}"] if plans else []
    absent = leaderboard.absent(runs)
    said += [f"the leaderboard's protocol on {', '.join(absent)}"] if absent else []
    empty = Counter(run.job for run in runs for record in run.records if record.not_run)
    jobs = ", ".join(f"{job}: {n}" for job, n in sorted(empty.items()))
    said += [f"records without a value, each with its reason: {count(empty.total())} ({jobs})"] if empty else []
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
            Cell(each.judgement.headline, "bad") if each.judgement.passed is False else each.judgement.headline,
        ]
        for each in chapters
    ]  # fmt: skip
    return Table("Chapters", ["part", "chapter", "what it says"], rows)
