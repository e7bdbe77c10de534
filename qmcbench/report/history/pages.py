"""The chapter on the history: seconds of each phase of a step by commit, and the steps that asv detects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, groupby, pairwise

from matplotlib.figure import Figure

from qmcbench.bench.compare import SMALLEST
from qmcbench.report.claims import numbered, provenance_table
from qmcbench.report.colours import COLOURS
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table, grouped
from qmcbench.report.figure import WIDTH, Plot, origin, printable, render, seconds_axis, whiskers
from qmcbench.report.numbers import DASH, count, duration, fixed, percent
from qmcbench.store.bench import CommitTime
from qmcbench.store.records import Run

TITLE = "Seconds of each phase by commit"
WHOLE = "step"
QUICK = "Measured at quick sizes, which say only that it works and decide nothing."


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter of each run."""
    return [_chapter(run, numbered("history", n)) for n, run in enumerate(runs, start=1)]


def _chapter(run: Run, name: str) -> Chapter:
    plots = [_plot(run)] if any(each.level for each in run.of(CommitTime)) else []
    sections = [
        Section(TITLE, [each for each in tables(run) if each.rows], plots),
        Section("Provenance", [provenance_table(run)]),
    ]
    return Chapter(name, "History of the engine", judgement(run), sections)


def judgement(run: Run) -> Judgement:
    """The levels of the whole step at the first and the last commit, and which phases are slower than they were."""
    series = _series(run)
    steps = [pair for each in series.values() for pair in _steps(each)]
    slower = [
        f"Slower than at its best: {_words(phase)}, {fixed(last / best, 2)} times, {those[-1].commit}."
        for phase, those in series.items()
        for best, last in [(min(each.level or 0.0 for each in those), those[-1].level or 0.0)]
        if last > SMALLEST * best
    ]
    whole = series.get(WHOLE)
    if not whole:
        return Judgement("Nothing was measured", False, [], [])
    first, last = whole[0], whole[-1]
    before, after = first.level or 0.0, last.level or 1.0
    headline = (
        f"A step of {duration(before)} at {first.commit} takes {duration(after)} at {last.commit} (levels): "
        f"{fixed(before / after, 1)} times as fast; asv detects {count(len(steps))} changes of all phases"
    )
    return Judgement(headline, not slower, [], [*slower, *([QUICK] if run.quick else [])])


def tables(run: Run) -> list[Table]:
    """Times by commit, and the steps."""
    records = run.of(CommitTime)
    phases = list(dict.fromkeys(each.phase for each in records))
    rows: list[Row] = []
    for commit, those in grouped(records, lambda each: each.commit).items():
        by_phase = {each.phase: each for each in those}
        cells = [_time(by_phase[phase]) if phase in by_phase else DASH for phase in phases]
        rows.append([Cell(commit, "code"), those[0].date, *cells, those[0].subject])
    columns = ["commit", "date", *(f">{_words(phase)}" for phase in phases), "subject"]
    found: list[Row] = [
        [
            _words(phase), Cell(before.commit, "code"), Cell(after.commit, "code"), after.date,
            duration(before.level), duration(after.level), _change(before, after),
        ]
        for phase, those in _series(run).items()
        for before, after in _steps(those)
    ]  # fmt: skip
    stepped = ["phase", "last before", "first after", "date", ">level before", ">level after", ">times as fast"]
    about = (
        "Detected by asv (asv.step_detect) in the logarithms of the times of a phase; a level is the median of its "
        "commits. The change was made by the first commit after, or by one that was not measured between the two. "
        f"{_missed(run)}"
    )
    return [Table("By commit", columns, rows, _about(run)), Table("Steps", stepped, found, about)]


def _missed(run: Run) -> str:
    """How large a change the detection leaves, by its rule and in these times."""
    series = _series(run)
    if not series:
        return ""
    spreads = [
        (max(times) / min(times), phase)
        for phase, those in series.items()
        for _, level in groupby(those, lambda each: each.level)
        if (times := [each.value for each in level if each.value])
    ]
    longest = max(map(len, series.values()))
    # asv.step_detect takes the steps that minimise 4 ln(n) / n of their number and ln of the sum of the distances.
    (largest, phase), gain = max(spreads), longest ** (4 / longest)
    return (
        f"Of {count(longest)} commits a step is taken only if it brings the logarithms of a phase's times "
        f"{fixed(gain, 1)} times nearer to their levels in all, so that a change of a few commits beside a larger "
        f"one stays unseen: within one level times differ by up to {fixed(largest, 2)} ({_words(phase)})."
    )


def _about(run: Run) -> str:
    records = run.of(CommitTime)
    if not records:
        return ""
    one, rounds = records[0], max(each.repeats or 0 for each in records)
    return (
        f"Training steps of the {one.network} network with {one.symmetry} on {one.L}x{one.L}, {count(one.chains)} "
        f"chains, {count(one.L**2)} proposals a sample: of each round the fastest step, of the rounds ({rounds}) the "
        "median ± half of their range. One benchmark file of today measured the code of every commit, the commits in "
        "turn, with the libraries of today."
    )


def _time(record: CommitTime) -> str | Cell:
    if record.value is None:
        return Cell(record.not_run or DASH, "bad")
    half = ((record.high or record.value) - (record.low or record.value)) / 2
    return f"{duration(record.value)} ± {percent(round(half / record.value, 3))}"


def _words(phase: str) -> str:
    return "whole step" if phase == WHOLE else phase.replace("_", " ")


def _series(run: Run) -> dict[str, list[CommitTime]]:
    """What was measured of each phase, the oldest commit first."""
    return grouped((each for each in run.of(CommitTime) if each.level is not None), lambda each: each.phase)


def _steps(records: Sequence[CommitTime]) -> list[tuple[CommitTime, CommitTime]]:
    """Neighbours of different levels."""
    return [(before, after) for before, after in pairwise(records) if before.level != after.level]


def _change(before: CommitTime, after: CommitTime) -> str | Cell:
    ratio = (before.level or 0.0) / (after.level or 1.0)
    return fixed(ratio, 2) if ratio > 1 / SMALLEST else Cell(fixed(ratio, 2), "bad")


def _plot(run: Run) -> Plot:
    caption = (
        "Medians of the rounds with least and largest, on a logarithmic axis; lines: the levels that asv's step "
        f"detection finds. {QUICK + ' ' if run.quick else ''}{origin(run)}"
    )
    series = _series(run)
    return Plot("commits", TITLE, caption, render("history", (WIDTH, 3.6), lambda figure: _draw(figure, series)))


def _draw(figure: Figure, series: dict[str, list[CommitTime]]) -> None:
    axes = figure.subplots()
    commits = list(dict.fromkeys(each.commit for those in series.values() for each in those))
    for colour, marker, (phase, those) in zip(cycle(COLOURS), cycle("os^Dv"), series.items(), strict=False):
        places = [commits.index(each.commit) for each in those]
        middle, low, high = ([getattr(each, end) for each in those] for end in ("value", "low", "high"))
        axes.errorbar(
            places, middle, whiskers(middle, low, high), fmt=marker, color=colour, markersize=4, capsize=2,
            label=_words(phase),
        )  # fmt: skip
        levels = [each.level or 0.0 for each in those]
        axes.step(places, levels, where="mid", color=colour, linewidth=1)
    seconds_axis(axes)
    axes.set_xticks(range(len(commits)), [printable(each) for each in commits], rotation=60, fontsize=7)
    axes.set_xlabel("commit, from the oldest")
    figure.legend(loc="outside upper center", ncols=3)
