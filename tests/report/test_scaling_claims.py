"""Claims of the scaling chapter: each is decided by what it says, and by nothing that was not measured."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from helpers.stores import full, store, strong_run, unfit, weak_run

from qmcbench.gates.check import Check
from qmcbench.report.claims import judge
from qmcbench.report.scaling import model as scaling_model
from qmcbench.report.scaling.pages import chapters
from qmcbench.scaling.claims import checks
from qmcbench.scaling.heldout import COST, EXTRAPOLATION, PRINTED, errors, held_out, median_error
from qmcbench.scaling.machine import load
from qmcbench.scaling.model import UNITS
from qmcbench.scaling.projection import Projection
from qmcbench.store.records import Run
from qmcbench.store.scaling import HeldOutTime, StrongRun, WeakRun

BARE = "".join(
    f'{name} = {{ value = {value}, unit = "{UNITS[name]}" }}\n' for name, value in vars(load("sunway").costs).items()
)
FAILING = {"model, Fig. 10, pdgemm", "model, Fig. 10, data operations"}
"""What the model does not do for the paper's times, whatever was measured here."""


def claims(*runs: StrongRun | WeakRun, projection: Projection | None = None) -> dict[str, Check]:
    """The checks of some runs by their names."""
    strong = [run for run in runs if isinstance(run, StrongRun)]
    weak = [run for run in runs if isinstance(run, WeakRun)]
    return {check.name: check for check in checks(strong, weak, projection)}


def verdicts(*runs: StrongRun | WeakRun, projection: Projection | None = None) -> dict[str, str]:
    """Their verdicts."""
    return {name: str(check.verdict) for name, check in claims(*runs, projection=projection).items()}


def test_nothing_measured_passes_nothing() -> None:
    """Every check is there, not measured; and the headline says so."""
    (chapter,) = chapters([store()])
    found = claims()
    assert {str(check.verdict) for check in found.values()} == {"NOT MEASURED"}
    assert not chapter.judgement.passed
    assert chapter.judgement.headline == f"0 of {len(found)} checks passed, {len(found)} not measured"
    assert chapter.judgement.failures == []
    assert all(name in chapter.judgement.remarks[0] for name in found)


def test_everything_measured(projected: Run) -> None:
    """All checks pass but the two parts of Fig. 10; one that does not is a failure with its value and bound."""
    strong, weak = full()
    (chapter,) = chapters([strong, weak, projected])
    every = claims(*strong.of(StrongRun), *weak.of(WeakRun), projection=Projection.of(projected))
    assert len(every) == 1 + 4 + 1 + 1 + (2 + 2 + 1 + 1) + 4 + 4
    assert {name for name, check in every.items() if not check.passed} == FAILING
    assert chapter.judgement.headline == f"{len(every) - 2} of {len(every)} checks passed, 2 failed"
    worse = replace(strong, records=(replace(strong.records[0], residual=2e-9), *strong.records[1:]))
    judgement = judge(checks(worse.of(StrongRun), weak.of(WeakRun), Projection.of(projected)))
    assert judgement.headline == f"{len(every) - 3} of {len(every)} checks passed, 3 failed"
    assert judgement.failures[0].startswith("residual of the solves (exact): The largest relative residual")
    assert judgement.failures[0].endswith("Value 2e-9, which should be at most 1e-9.")


@pytest.mark.parametrize(
    ("name", "phase"),
    [("pdpotrf, 16,249 parameters, {}", "factorisation"), ("pdgemm, 16,249 parameters, {}", "product")],
    ids=["pdpotrf", "pdgemm"],
)
def test_fraction_of_dgemm(name: str, phase: str) -> None:
    """At least 0.7 in the best layout of each number of ranks; only of the paper's order and matrix."""
    for ranks, words in ((1, "1 rank"), (2, "2 ranks")):
        claim = name.format(words)
        run = strong_run(ranks=ranks)
        run = replace(run, dgemm_GFs=run.rate(phase) / ranks / 0.69)
        assert verdicts(run)[claim] == "FAIL"
        assert verdicts(run, strong_run(ranks=ranks, block=64))[claim] == "PASS"
        assert verdicts(run, strong_run(3531, ranks))[claim] == "FAIL"
        assert verdicts(run, strong_run(ranks=ranks, space="samples"))[claim] == "FAIL"
        assert verdicts(replace(run, oversubscribed=True))[claim] == "NOT MEASURED"
        assert verdicts(strong_run(ranks=3 - ranks))[claim] == "NOT MEASURED"
        assert verdicts(unfit(run))[claim] == "NOT MEASURED"


def test_half_a_product_does_not_stand_for_the_paper_s() -> None:
    """The rate of pdsyrk says nothing about pdgemm, but its factorisation is the same."""
    found = verdicts(strong_run(product="pdsyrk"))
    assert found["pdgemm, 16,249 parameters, 1 rank"] == "NOT MEASURED"
    assert found["pdpotrf, 16,249 parameters, 1 rank"] == "PASS"


def test_speedup() -> None:
    """Of all phases on two ranks, at least 1.7; unknown without the same run on one."""
    name, one = "speedup on 2 ranks, 16,249 parameters", strong_run()
    assert verdicts(one, strong_run(ranks=2))[name] == "PASS"
    # 27 s over 11.5 s + 4.5 s.
    slow = strong_run(ranks=2, seconds={"factorisation": 11.0})
    assert claims(one, slow)[name].value == pytest.approx(27 / 16.5)
    assert verdicts(one, slow)[name] == "FAIL"
    for runs in ([strong_run(ranks=2)], [one, strong_run(ranks=4)], [one, strong_run(ranks=2, repeats=5)]):
        assert verdicts(*runs)[name] == "NOT MEASURED"
    assert verdicts(strong_run(3531), strong_run(3531, 2))[name] == "NOT MEASURED"


def test_monte_carlo_efficiency() -> None:
    """The worst run on two ranks counts; lattices smaller than the paper's do not."""
    name = "Monte Carlo efficiency on 2 ranks"
    alone = [weak_run(L) for L in (6, 10, 16)]
    assert verdicts(*alone, weak_run(10, 2, mc=4.4), weak_run(6, 2, mc=8.0))[name] == "PASS"
    assert verdicts(*alone, weak_run(10, 2), weak_run(16, 2, mc=4.5))[name] == "FAIL"
    for runs in ([weak_run(10)], [weak_run(10, 2)], [*alone, weak_run(6, 2)], [*alone, weak_run(10, 4)]):
        assert verdicts(*runs)[name] == "NOT MEASURED"


def test_held_out_checks_are_the_medians(projection: Projection) -> None:
    """Both halves of what the paper prints, either way, the other splits, Fig. 10; none passes above 10 %."""
    found = {name: check for name, check in claims(projection=projection).items() if check.check == "held out"}
    splits = dict.fromkeys(each.split for each in projection.tests)
    ours = {split: [each for each in held_out(split) if each.model == COST] for split in splits}
    for fold in ("rows 1 and 3 of each network", "rows 2 and 4 of each network"):
        mine = [each for each in ours["halves"] if each.fold == fold and each.phase in PRINTED]
        check = found.pop(f"model, halves ({fold})")
        assert check.value == pytest.approx(median_error(mine))
        assert check.statement.startswith("Median relative error of 28 times")
    for split in ("each process count", "each network and lattice"):
        printed = [each for each in ours[split] if each.phase in PRINTED]
        assert found.pop(f"model, {split}").value == pytest.approx(median_error(printed or ours[split]))
    for phase, name in (("product", "pdgemm"), ("sr", "all of SR")):
        mine = [each for each in ours[EXTRAPOLATION] if each.phase == phase]
        assert found.pop(f"model, Fig. 10, {name}").value == pytest.approx(median_error(mine))
    left = {f"model, halves by symmetry ({fold})" for fold in ("without symmetry", "with C4")}
    left |= {"model, Fig. 10, pdpotrf", "model, Fig. 10, data operations"}
    assert {name for name in found if "null" not in name} == left


def changed(projection: Projection, change: Callable[[HeldOutTime], float]) -> Projection:
    """With other predicted times."""
    return replace(projection, tests=tuple(replace(each, value=change(each)) for each in projection.tests))


def test_a_worse_model_fails(projection: Projection) -> None:
    """11 % off everywhere fails every bound; and it does not beat a null model that is as good as it is."""
    off = changed(projection, lambda each: 1.11 * each.known)
    assert {value for name, value in verdicts(projection=off).items() if name.startswith("model")} == {"FAIL"}


def test_model_against_the_null_model(projection: Projection) -> None:
    """Each claim is the ratio of two medians on the same times; it fails where the null model is the better one."""
    over = {name: check for name, check in claims(projection=projection).items() if "over null" in name}
    rows = {(row.split, row.fold): row for row in errors(projection.tests) if row.times == "printed" and row.null}
    assert [check.value for check in over.values()] == [row.median / row.null_median for row in rows.values()]
    assert len(over) == 4
    assert all(0 < check.value < 1 and check.passed for check in over.values())
    for row in rows.values():
        assert [(each.phase, each.work) for each in row.predictions] == [(each.phase, each.work) for each in row.null]
    perfect = changed(projection, lambda each: each.value if each.model == COST else 1.0001 * each.known)
    assert {value for name, value in verdicts(projection=perfect).items() if "over null" in name} == {"FAIL"}
    remark = scaling_model.null_model_wins(projection)
    won = [row for row in errors(projection.tests) if row.times != "printed" and row.null]
    assert f"predicts {sum(row.null_median < row.median for row in won)} of {len(won)} kinds of" in remark
    assert "Monte Carlo (halves, rows 1 and 3 of each network)" in remark
