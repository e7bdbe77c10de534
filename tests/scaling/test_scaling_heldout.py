"""Fitted to part of the paper's times the model predicts the rest: what is held out, and how large the errors are."""

import math
from collections import Counter

import pytest

from qmcbench.reference import paper
from qmcbench.scaling import fit as fitting
from qmcbench.scaling import heldout, model, paper_points
from qmcbench.scaling.heldout import PRINTED, SPLITS, Prediction, extrapolation, held_out, median_error
from qmcbench.scaling.model import Point, Work

WORK = Work(16249, 16000, 1000)


def prediction(predicted: float, held: bool = True) -> Prediction:
    """Of a time of 10 s."""
    return Prediction("split", "fold", Point("sr", WORK, 10.0), predicted, held)


def test_median_error_by_hand() -> None:
    """Absolute, relative to the measured time, of held-out points only."""
    found = [prediction(9.0), prediction(12.0), prediction(10.5), prediction(99.0, held=False)]
    assert [round(each.error, 12) for each in found] == [-0.1, 0.2, 0.05, 8.9]
    assert median_error(found) == pytest.approx(0.1)


def test_points_are_the_paper_s() -> None:
    """Every number of Table 3's times and of Fig. 9, once; of Fig. 10 all but the two that Fig. 9 has."""
    table = [point.seconds for point in paper_points.table3()]
    assert sorted(table) == sorted(x for row in paper.table3["rows"] for x in (row["scalapack_s"], *row["mc_s"]))
    figure = [point.seconds for point in paper_points.figure9()]
    keys = [(size, key) for size in ("medium", "large") for key in ("pdpotrf_s", "pdgemm_s")]
    assert sorted(figure) == sorted(time for size, key in keys for time in paper.figure9[size][key])
    ten = Counter(point.phase for point in paper_points.figure10())
    assert ten == {"product": 7, "data": 7, "factorisation": 5}
    assert {point.work.samples // point.work.processes for point in paper_points.figure10()} == {8}


def test_one_case_of_table_3_by_hand() -> None:
    """The large network with C4 on 16x16 and 40 000 processes: its work, and the iteration's parts."""
    work = Work(106529, 640000, 40000, 16, 4)
    assert Point("iteration", work, 727.7, "table3") in paper_points.table3()
    mc = next(point.seconds for point in paper_points.monte_carlo() if point.work == work)
    assert mc == pytest.approx(727.7 - 55.17)
    plain = Work(106529, 640000, 40000)
    data = next(point.seconds for point in paper_points.data_operations() if point.work == plain)
    assert data == pytest.approx(55.17 - 21.5 - 32.7)


def test_monte_carlo_time_does_not_depend_on_the_processes() -> None:
    """What the module says of Table 3: iteration less SR is flat to 14 %, while the iteration itself is not."""
    groups: dict[tuple[int, int | None, int], list[float]] = {}
    for point in paper_points.monte_carlo():
        key = point.work.parameters, point.work.L, point.work.rotations
        groups.setdefault(key, []).append(point.seconds)
    assert len(groups) == 8
    assert all(max(times) / min(times) < 1.14 for times in groups.values())
    large = [row["mc_s"][0] for row in paper.table3["rows"] if row["parameters"] == 106529]
    assert max(large) / min(large) > 1.8


@pytest.mark.parametrize("split", SPLITS)
def test_every_fold_is_predicted_by_a_fit_without_it(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No held-out point, and no part of a held-out sum, is among the points of the fit that predicts it."""
    fits: list[list[Point]] = []

    def watched(points: list[Point]) -> fitting.Fit:
        fits.append(points)
        return fitting.fit(points)

    monkeypatch.setattr(heldout, "fit", watched)
    found = held_out(split)
    folds = list(dict.fromkeys(each.fold for each in found))
    assert len(fits) == len(folds) >= 2
    for fold, points in zip(folds, fits, strict=True):
        assert 0 < len(points) < len(paper_points.small_scale())
        for each in found:
            if each.fold == fold and each.held_out:
                rows = [p for p in points if p.work.parameters == each.point.work.parameters]
                same = [p for p in rows if p.work.processes == each.point.work.processes]
                parts = model.SUMS.get(each.point.phase, (each.point.phase,))
                lattice = each.point.work.L, each.point.work.rotations
                assert not [
                    p
                    for p in same
                    if p.phase in parts and (p.work.L is None or (p.work.L, p.work.rotations) == lattice)
                ]


def test_halves_hold_out_every_printed_number_once() -> None:
    """Both halves together: the 56 printed times and the 32 of Monte Carlo; fitted ones are listed besides."""
    found = held_out("halves")
    held = [each.point for each in found if each.held_out]
    assert len(held) == len(set(held)) == 56 + 32
    assert set(held) == set(heldout.printed()) | set(paper_points.monte_carlo())
    assert {each.point for each in found if not each.held_out} == set(held)
    assert {each.fold for each in found} == {"rows 1 and 3 of each network", "rows 2 and 4 of each network"}


@pytest.mark.parametrize("phase", ["all", "monte_carlo", *PRINTED])
@pytest.mark.parametrize("fold", ["rows 1 and 3 of each network", "rows 2 and 4 of each network"])
def test_held_out_half_is_predicted_to_ten_percent(fold: str, phase: str) -> None:
    """The claim: half of Table 3 and Fig. 9 from the other half, either way round, each kind of time by itself."""
    found = [each for each in held_out("halves") if each.fold == fold]
    chosen = [each for each in found if each.point.phase == phase or (phase == "all" and each.point.phase in PRINTED)]
    assert median_error(chosen) <= 0.10


@pytest.mark.parametrize("split", ["halves by symmetry", "each network and lattice"])
def test_monte_carlo_of_what_was_never_seen(split: str) -> None:
    """C4 from times without it and the reverse, and a network on a lattice from the other three: to 10 %."""
    found = held_out(split)
    assert {each.point.phase for each in found} == {"monte_carlo"}
    assert median_error(found) <= 0.10


def test_a_process_count_that_was_never_seen() -> None:
    """Left out one by one, printed times come out to 10 % in the median, beyond the ends of the range too."""
    assert median_error([each for each in held_out("each process count") if each.point.phase in PRINTED]) <= 0.10


def test_extrapolation_to_twelve_times_the_processes() -> None:
    """Fig. 10, never fitted: SR within 15 % everywhere, though its parts are worse (they are listed, not hidden)."""
    found = extrapolation()
    sr = [each for each in found if each.point.phase == "sr"]
    assert len(sr) == 7
    assert all(abs(each.error) < 0.15 for each in sr)
    assert median_error([each for each in found if each.point.phase == "factorisation"]) < 0.15
    assert 0.1 < median_error(found) < 0.25


def test_the_term_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's own message count predicts Fig. 9's pdpotrf worse, and Fig. 10's at nearly twice its time."""

    def errors() -> tuple[float, float]:
        halves = [each for each in held_out("halves") if each.point.phase == "factorisation"]
        last = [each for each in extrapolation() if each.point.phase == "factorisation"][-1]
        return median_error(halves), last.error

    def guide(rows: int, P: int) -> dict[str, float]:
        return chosen(rows, P) | {"panel_latency": (4 + math.log2(P)) * rows}

    chosen, ours = model._factorisation, errors()
    monkeypatch.setattr(model, "_factorisation", guide)
    theirs = errors()
    assert ours[0] < 0.06 < theirs[0]
    assert abs(ours[1]) < 0.12
    assert theirs[1] > 0.8
