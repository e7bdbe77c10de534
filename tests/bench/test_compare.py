"""Two sets of benchmarks: a slowdown is found, noise is not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command import called, one_sentence
from helpers.energies import MADE

from qmcbench.bench.compare import FEW_FLOOR, FLOOR, UNKNOWN, Comparison, Verdict, compare
from qmcbench.errors import UserError
from qmcbench.report.bench.comparison import chapter
from qmcbench.store import jsonl
from qmcbench.store.bench import AsvBenchmark, SamplingRate, WorkTime
from qmcbench.store.records import Record, Run

RECORDS = Path(__file__).parents[2] / "reports" / "book" / "records"
WORKS = ("forward", "sweep", "solve", "iteration")


def timings(count: int, seed: int, noise: float = 0.0, slow: dict[int, float] | None = None) -> Run:
    """Medians of seven repeats that scatter by 3 %, in a session that is off by ``noise`` in each timing."""
    draw = np.random.default_rng(seed)
    records = []
    for n in range(count):
        session = np.exp(draw.normal(0, noise)) * (slow or {}).get(n, 1.0)
        each = 1e-3 * (n + 1) * session * np.exp(draw.normal(0, 0.03, 7))
        records.append(
            WorkTime.of(
                each.tolist(), each=tuple(each.tolist()), work=WORKS[n % 4], network="small", L=6, batch=n + 1
            )
        )
    return Run(job="bench hotpath", provenance=MADE, records=tuple(records))


def words(found: Comparison) -> list[str]:
    """What is slower."""
    return [each.what for each in found.of(Verdict.SLOWER)]


@pytest.mark.parametrize("count", [3, 40, 300])
def test_noise_of_equal_runs_is_none(count: int) -> None:
    """In 20 pairs of sessions that differ by 4 % in each timing, at most one has an alarm: each may with 1 %."""
    alarms = 0
    for seed in range(20):
        found = compare([timings(count, seed, 0.04)], [timings(count, 1000 + seed, 0.04)])
        assert len(found.changes) == count
        alarms += bool(found.of(Verdict.SLOWER) or found.of(Verdict.FASTER))
    assert alarms <= 1


@pytest.mark.parametrize("count", [8, 40, 300])
def test_a_planted_slowdown_is_found(count: int) -> None:
    """One timing 1.5 times slower than the rest is the first, for every seed; the other way round it is faster."""
    for seed in range(20):
        before, after = timings(count, seed, 0.02), timings(count, 1000 + seed, 0.02, {1: 1.5})
        found = compare([before], [after])
        assert words(found) == ["bench hotpath, sweep, small, 6x6, batch 2, float32, qmcbench, cpu"], seed
        assert found.changes[0].ratio == pytest.approx(1.5, rel=0.2)
        assert len(compare([after], [before]).of(Verdict.FASTER)) == 1


def test_regressions_come_first_and_the_largest_before_all() -> None:
    """Then what is not decided, what is faster, and what is the same."""
    slow = {1: 1.5, 5: 2.0, 8: 0.5}
    found = compare([timings(40, 1)], [timings(40, 2, slow=slow)])
    assert [each.verdict for each in found.changes[:3]] == [Verdict.SLOWER, Verdict.SLOWER, Verdict.FASTER]
    assert found.changes[0].ratio > found.changes[1].ratio
    assert {each.verdict for each in found.changes[3:]} == {Verdict.SAME}
    made = chapter(found, [timings(40, 1)], [timings(40, 2)])
    assert made.judgement.headline == "2 of 40 timings slower, 1 faster, 37 same, 0 undecided"
    assert not made.judgement.passed
    assert made.sections[0].tables[0].rows[0][1] == found.changes[0].what


def test_noisy_sessions_decide_less() -> None:
    """Where all timings scatter by 30 %, a ratio of 1.5 is no news."""
    found = compare([timings(40, 1, 0.3)], [timings(40, 2, 0.3, {1: 1.5})])
    assert found.between > 0.3
    assert words(found) == []


def test_the_least_scatter_holds_even_if_all_agree() -> None:
    """A few timings that happen to agree do not make the next one significant."""
    assert compare([timings(40, 1)], [timings(40, 1)]).between == FLOOR
    assert compare([timings(3, 1)], [timings(3, 1)]).between == FEW_FLOOR


def suite(seed: int = 0, noise: float = 0.0, slow: int | None = None) -> Run:
    """The committed asv suite in another session: noise in every timing, one of them perhaps 1.5 times slower."""
    run, draw = jsonl.read(RECORDS / "suite.jsonl"), np.random.default_rng(seed)

    def again(position: int, record: Record) -> Record:
        factor = float(np.exp(draw.normal(0, noise))) * (1.5 if position == slow else 1.0)
        if not isinstance(record, AsvBenchmark) or record.value is None or record.unit != "s":
            return record
        return replace(
            record, value=record.value * factor, low=record.low and record.low * factor,
            high=record.high and record.high * factor,
        )  # fmt: skip

    return replace(run, records=tuple(again(*pair) for pair in enumerate(run.records)))


def test_committed_benchmarks(tmp_path: Path) -> None:
    """The suite of the book with a planted slowdown: found among hundreds, and nothing else."""
    before = suite()
    timed = [
        n for n, each in enumerate(before.records)
        if isinstance(each, AsvBenchmark) and each.unit == "s" and each.low and (each.high or 1) < 1.05 * each.low
    ]  # fmt: skip
    for seed, position in enumerate(np.random.default_rng(7).choice(timed, 5)):
        found = compare([before], [suite(seed, 0.03, int(position))])
        assert len(found.changes) > 400
        planted: Any = before.records[position]
        (slower,) = words(found)
        assert planted.benchmark in slower
        assert all(value in slower for value in planted.parameters.values())
    assert words(compare([before], [suite(9, 0.03)])) == []


def test_two_real_runs_of_the_same_code() -> None:
    """The book's two reproductions timed the same operations an hour apart: nothing is called slower or faster."""
    quick, cpu = (jsonl.read(RECORDS / f"reproduce-{name}.jsonl") for name in ("quick", "cpu"))
    for found in (compare([quick], [cpu]), compare([cpu], [quick])):
        assert len(found.changes) >= 4
        assert {each.verdict for each in found.changes} <= {Verdict.SAME, Verdict.UNDECIDED}


@pytest.mark.parametrize("spread", [0.0, 0.05], ids=["one sample", "repeats"])
def test_a_timing_without_repeats_is_known_badly(spread: float) -> None:
    """asv gives a single sample equal quartiles: 1.4 times slower is then no news, and with repeats it is."""
    one = AsvBenchmark(value=1.0, unit="s", benchmark="b", parameters={}, low=1 - spread, high=1 + spread)
    names = [f"b{n}" for n in range(10)]
    before, after = (
        Run(
            job="bench suite", provenance=MADE,
            records=tuple(
                replace(one, benchmark=name, value=factor, low=factor * one.low, high=factor * one.high)
                for name in names
                for factor in [slow if name == "b3" else 1.0]
            ),
        )
        for slow in (1.0, 1.4)
    )  # fmt: skip
    (changed,) = (each for each in compare([before], [after]).changes if each.ratio > 1.1)
    assert changed.verdict is (Verdict.SLOWER if spread else Verdict.UNDECIDED)
    assert changed.before.error == (pytest.approx(0.0465, rel=0.01) if spread else UNKNOWN)


def test_equal_repeats_say_nothing() -> None:
    """A clock that is too coarse is no certainty."""
    times = WorkTime.of([1.0] * 5, each=(1.0,) * 5, work="forward", network="small", L=6, batch=1)
    (change,) = compare(*[[Run(job="bench hotpath", provenance=MADE, records=(times,))]] * 2).changes
    assert change.before.error == UNKNOWN


def test_rates_are_the_other_way_round() -> None:
    """Fewer samples a second is slower."""
    rate = SamplingRate(
        value=10.0, low=9.9, high=10.1, repeats=5, network="large", L=12, chains=8, proposals=144, symmetry="C4"
    )
    runs = [Run(job="bench hotpath", provenance=MADE, records=(each,)) for each in (rate, replace(rate, value=5.0))]
    (change,) = compare(runs[:1], runs[1:]).changes
    assert (change.ratio, change.verdict) == (2.0, Verdict.SLOWER)


def test_what_only_one_has_is_listed_and_quick_sizes_are_apart() -> None:
    """Nothing is compared with something else; two sets without a common timing are a mistake."""
    found = compare([timings(40, 1)], [timings(41, 2)])
    assert (len(found.changes), found.only_before, len(found.only_after)) == (40, (), 1)
    with pytest.raises(UserError, match="no timing in common"):
        compare([timings(3, 1)], [replace(timings(3, 1), quick=True)])


def test_the_command(tmp_path: Path) -> None:
    """Exit status 1 only if it is asked for and something is slower; a table, pages, or JSON."""
    jsonl.save(tmp_path / "a", "hotpath", timings(40, 1))
    jsonl.save(tmp_path / "b", "hotpath", timings(40, 2, slow={1: 1.5}))
    sets = ("--compare", tmp_path / "a", tmp_path / "b")
    done = called("report", *sets, "--out", tmp_path / "page")
    assert done.returncode == 0
    assert "1 of 40 timings slower" in done.stdout
    assert (tmp_path / "page" / "tables" / "comparison-timings.csv").read_text().splitlines()[1].startswith("slower,")
    assert called("report", *sets, "--fail-on-regression").returncode == 1
    back = ("--compare", tmp_path / "b", tmp_path / "a")
    assert called("report", *back, "--fail-on-regression").returncode == 0
    document = json.loads(called("report", *sets, "--json").stdout)
    assert [each["verdict"] for each in document["changes"]].count("slower") == 1
    one_sentence(called("report", *sets, tmp_path), "--compare takes two folders")
    one_sentence(called("report", tmp_path / "a"), "give folders and --out")
    one_sentence(called("report", "--compare", tmp_path / "a", tmp_path / "none"), "none has no records")
