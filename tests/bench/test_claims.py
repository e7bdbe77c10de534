"""What benchmarks claim, of INVENTED measurements: the numbers mean nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from helpers.benches import MEETING, OF_PART, Parts, change, full, peers, run, times

from qmcbench.bench.claims import checks
from qmcbench.errors import UserError
from qmcbench.gates.check import Check, Verdict
from qmcbench.report.bench.pages import chapters
from qmcbench.report.document import Judgement
from qmcbench.store.bench import Growth, Memory, SamplingRate, WorkTime


def by_name(parts: Parts) -> dict[str, Check]:
    """The checks of these parts."""
    return {check.name: check for check in checks(parts)}


def judged(parts: Parts) -> Judgement:
    """What the chapter concludes."""
    (chapter,) = chapters(list(parts.values()))
    return chapter.judgement


def test_everything_measured_and_met() -> None:
    """Each check takes its value from the records that it is about, and the headline counts them."""
    found = by_name(full())
    assert {name: check.value for name, check in found.items()} == pytest.approx(MEETING)
    assert {check.verdict for check in found.values()} == {Verdict.PASS}
    assert {check.check for check in found.values()} == {"timing"}
    verdict = judged(full())
    assert verdict.passed
    assert verdict.headline == "7 of 7 checks passed"
    assert verdict.remarks == [
        "iteration of medium, 10x10, times as fast as netket: 6.25; the aim of 10 is not reached.",
        "iteration of medium, 10x10, times as fast as quantax: 12.5; the aim of 10 is reached.",
        "samples a second, 12x12 with C4: 8; the aim of 16 is not reached.",
    ]


def test_bounds() -> None:
    """The bounds are what they always were."""
    assert {name: (check.relation, check.bound, check.aim) for name, check in by_name(full()).items()} == {
        "iteration of medium, 10x10, times as fast as netket": ("at least", 3, 10),
        "iteration of medium, 10x10, times as fast as quantax": ("at least", 3, 10),
        "forward of large, 12x12: times as fast as its multiply-adds by sgemm": ("at least", 0.6, None),
        "forward of large, 12x12: times as fast as the plain module": ("at least", 1.7, None),
        "samples a second, 12x12 with C4": ("at least", 5, 16),
        "peak memory of derivatives and step, GiB": ("below", 4, None),
        "growth of seconds: exponent off the expected one": ("at most", 0.35, None),
    }


def _forward(form: str, batch: int) -> Callable[[object], bool]:
    return lambda each: isinstance(each, WorkTime) and (each.form, each.batch, each.threads) == (form, batch, 2)


def _is(kind: type) -> Callable[[object], bool]:
    return lambda each: isinstance(each, kind)


@pytest.mark.parametrize(
    ("part", "chosen", "changes", "name", "value"),
    [
        pytest.param(
            "hotpath", _forward("fourier", 512), {"operations": 0.59 * 200e9},
            "forward of large, 12x12: times as fast as its multiply-adds by sgemm", 0.59, id="slow forward",
        ),
        pytest.param(
            "hotpath", _forward("plain", 512), times(1.69),
            "forward of large, 12x12: times as fast as the plain module", 1.69, id="fast plain",
        ),
        pytest.param(
            "hotpath", _is(SamplingRate), {"value": 4.99},
            "samples a second, 12x12 with C4", 4.99, id="few samples",
        ),
        pytest.param(
            "hotpath", _is(Memory), {"value": 4 * 2**30},
            "peak memory of derivatives and step, GiB", 4.0, id="much memory",
        ),
        pytest.param(
            "growth", _is(Growth), {"value": 4.375},
            "growth of seconds: exponent off the expected one", 0.375, id="steep",
        ),
        pytest.param(
            "growth", _is(Growth), {"value": 3.625},
            "growth of seconds: exponent off the expected one", 0.375, id="flat",
        ),
    ],
)  # fmt: skip
def test_a_miss_fails_its_check_alone(
    part: str, chosen: Callable[[object], bool], changes: dict[str, float], name: str, value: float
) -> None:
    """One value beyond its bound, however many others keep to it, fails that check and says so first."""
    parts = full()
    change(parts, part, chosen, **changes)
    found = by_name(parts)
    assert found[name].value == pytest.approx(value)
    assert [each for each, check in found.items() if not check.passed] == [name]
    verdict = judged(parts)
    assert not verdict.passed
    assert verdict.headline == "6 of 7 checks passed, 1 failed"
    (failure,) = verdict.failures
    assert failure.startswith(name)
    assert f"Value {value:g}" in failure


def test_a_peer_that_is_nearly_as_fast_fails() -> None:
    """The bound holds for each peer by itself, and for one that was not planned too."""
    found = by_name({"peers": peers(netket=2.75, quantax=30.0, other=2.0)})
    assert {name: check.passed for name, check in found.items() if "as fast as" in name and check.value} == {
        f"iteration of medium, 10x10, times as fast as {name}": name == "quantax"
        for name in ("netket", "quantax", "other")
    }


def test_records_that_decide_nothing_leave_a_check_open() -> None:
    """A hot path without the sizes that the claims are about is measured, and decides none of them."""
    parts = full()
    kept = [
        each
        for each in parts["hotpath"].records
        if not (isinstance(each, WorkTime) and each.work == "forward" and each.batch >= 256 and each.L == 12)
        and not (isinstance(each, SamplingRate) and each.L == 12)
    ]
    parts["hotpath"] = run("hotpath", kept)
    change(parts, "hotpath", _is(Memory), batch=512)
    found = by_name(parts)
    assert {found[name].verdict for name in OF_PART["hotpath"]} == {Verdict.NOT_MEASURED}


def test_a_peer_that_a_quick_comparison_left_out() -> None:
    """Only what was there is quick; the other peer was not measured at all."""
    found = by_name({"peers": replace(peers(netket=6.25), quick=True)})
    names = ("iteration of medium, 10x10, times as fast as netket", "iteration, times as fast as quantax")
    quick = [found[name].quick for name in names]
    assert quick == [True, False]


def test_peers_without_times_are_refused() -> None:
    """Records of a comparison that lack a program, a phase or a repeat are one sentence."""
    whole = peers(netket=6.25)
    ours = [each for each in whole.records if getattr(each, "program", "") == "qmcbench"]
    for kept, words in (
        ([each for each in whole.records if each not in ours], "no times of qmcbench"),
        ([each for each in whole.records if each != ours[-1]], "The times of qmcbench in the comparison with peers"),
        (
            [replace(each, each=each.each[:2]) if each is ours[-1] else each for each in whole.records],
            "as many repeats as those of the others",
        ),
    ):
        with pytest.raises(UserError, match=words):
            checks({"peers": run("peers", kept)})
