"""Fitted to part of the paper's times the model predicts the rest: what is held out, and how large the errors are."""

import math
from collections import Counter
from functools import cache

import pytest

from qmcbench.reference import paper
from qmcbench.scaling import fit as fitting
from qmcbench.scaling import heldout, model, paper_points
from qmcbench.scaling.heldout import COST, EXTRAPOLATION, NULL, PRINTED, SPLITS, WITH_NULL, median_error, null_seconds
from qmcbench.scaling.model import Point
from qmcbench.store.records import Reference
from qmcbench.store.scaling import HeldOutTime, Work

WORK = Work(16249, 16000, 1000)
COSTS = model.Costs(5.0, 17.0, 0.7, 0.2, 0.1, 0.02, 20.0, 2.0, 90.0)


def prediction(predicted: float) -> HeldOutTime:
    """Of a time of 10 s."""
    known = Reference(value=10.0, source="here")
    return HeldOutTime(
        value=predicted, reference=known, work=WORK, model=COST, split="split", fold="fold", phase="sr"
    )


@cache
def predicted(split: str, model: str = COST) -> list[HeldOutTime]:
    """The model's predictions of a split."""
    return [each for each in heldout.held_out(split) if each.model == model]


def test_median_error_by_hand() -> None:
    """Absolute, relative to the measured time."""
    found = [prediction(9.0), prediction(12.0), prediction(10.5)]
    assert [round(each.error, 12) for each in found] == [-0.1, 0.2, 0.05]
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
    assert Point("iteration", work, 727.7, "Table 3") in paper_points.table3()
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


@pytest.mark.parametrize("split", [*SPLITS, EXTRAPOLATION])
def test_every_fold_is_predicted_by_a_fit_without_it(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No held-out point, and no part of a held-out sum, is among the points of the fit that predicts it."""
    fits: list[tuple[Point, ...]] = []

    def watched(points: tuple[Point, ...]) -> fitting.Fit:
        fits.append(points)
        return fitting.Fit(COSTS, points, ())

    monkeypatch.setattr(heldout, "fit", watched)
    found = heldout.held_out(split)
    names = list(dict.fromkeys(each.fold for each in found))
    assert len(fits) == len(names) >= (1 if split == EXTRAPOLATION else 2)
    for fold, name, points in zip(heldout.folds(split), names, fits, strict=True):
        assert 0 < len(points) <= len(paper_points.small_scale()) - (split != EXTRAPOLATION)
        for each in [each for each in found if each.fold == name]:
            parts = model.SUMS.get(each.phase, (each.phase,))
            for known in (points, fold.known):
                assert not [point for point in known if point.work == each.work and point.phase == each.phase]
            lattice = each.work.L, each.work.rotations
            assert not [
                p
                for p in points
                if (p.work.parameters, p.work.processes) == (each.work.parameters, each.work.processes)
                and p.work.samples == each.work.samples
                and p.phase in parts
                and (p.work.L is None or (p.work.L, p.work.rotations) == lattice)
            ]


def test_halves_hold_out_every_printed_number_once() -> None:
    """Both halves together: the 56 printed times and the 32 of Monte Carlo."""
    found = predicted("halves")
    held = [(each.phase, each.work, each.known) for each in found]
    assert len(held) == len(set(held)) == 56 + 32
    points = heldout.printed() + paper_points.monte_carlo()
    assert set(held) == {(point.phase, point.work, point.seconds) for point in points}
    assert {each.fold for each in found} == {"rows 1 and 3 of each network", "rows 2 and 4 of each network"}


@pytest.mark.parametrize("phase", ["all", "monte_carlo", *PRINTED])
@pytest.mark.parametrize("fold", ["rows 1 and 3 of each network", "rows 2 and 4 of each network"])
def test_held_out_half_is_predicted_to_ten_percent(fold: str, phase: str) -> None:
    """The claim: half of Table 3 and Fig. 9 from the other half, either way round, each kind of time by itself."""
    found = [each for each in predicted("halves") if each.fold == fold]
    chosen = [each for each in found if each.phase == phase or (phase == "all" and each.phase in PRINTED)]
    assert median_error(chosen) <= 0.10


@pytest.mark.parametrize("split", ["halves by symmetry", "each network and lattice"])
def test_monte_carlo_of_what_was_never_seen(split: str) -> None:
    """C4 from times without it and the reverse, and a network on a lattice from the other three: to 10 %."""
    found = predicted(split)
    assert {each.phase for each in found} == {"monte_carlo"}
    assert median_error(found) <= 0.10


def test_a_process_count_that_was_never_seen() -> None:
    """Left out one by one, printed times come out to 10 % in the median, beyond the ends of the range too."""
    assert median_error([each for each in predicted("each process count") if each.phase in PRINTED]) <= 0.10


def test_extrapolation_to_twelve_times_the_processes() -> None:
    """Fig. 10, never fitted: SR within 15 % everywhere, though its parts are worse (they are listed, not hidden)."""
    found = predicted(EXTRAPOLATION)
    sr = [each for each in found if each.phase == "sr"]
    assert len(sr) == 7
    assert all(abs(each.error) < 0.15 for each in sr)
    assert median_error([each for each in found if each.phase == "factorisation"]) < 0.15
    assert 0.1 < median_error(found) < 0.25


def test_null_model_by_hand() -> None:
    """Monte Carlo is copied from the nearest number of processes, SR goes on as a power, iterations are sums."""

    def at(processes: int, L: int | None = None) -> Work:
        return Work(16249, 16 * processes, processes, L)

    known = [
        *(Point("monte_carlo", at(P, 10), time) for P, time in ((256, 7.0), (4900, 9.0))),
        Point("monte_carlo", at(1024, 16), 99.0),
        *(Point("sr", at(P), time) for P, time in ((100, 8.0), (400, 4.0), (6400, 3.0))),
    ]
    assert null_seconds(Point("monte_carlo", at(1000, 10), 1.0), known) == 7.0
    assert null_seconds(Point("monte_carlo", at(10000, 10), 1.0), known) == 9.0
    assert null_seconds(Point("sr", at(25), 1.0), known) == pytest.approx(16.0)
    assert null_seconds(Point("sr", at(200), 1.0), known) == pytest.approx(8 / 2**0.5)
    assert null_seconds(Point("iteration", at(25, 10), 1.0), known) == pytest.approx(7 + 16)


@pytest.mark.parametrize("split", WITH_NULL)
def test_model_beats_the_null_model_where_it_says_so(split: str) -> None:
    """On what the paper prints, fold by fold for halves; but not on Monte Carlo, whose times it need only copy."""
    ours, theirs = (
        {
            fold: [each for each in predicted(split, model) if each.fold in (fold, None) and each.phase in PRINTED]
            for fold in {each.fold for each in predicted(split)}
        }
        for model in (COST, NULL)
    )
    assert len(predicted(split)) == len(predicted(split, NULL))
    if split != "each process count":
        assert all(median_error(ours[fold]) < median_error(theirs[fold]) for fold in ours)
    everything = [[one for each in found.values() for one in each] for found in (ours, theirs)]
    assert median_error(everything[0]) < median_error(everything[1])
    if split != EXTRAPOLATION:
        chains = [[each for each in predicted(split, model) if each.phase == "monte_carlo"] for model in (COST, NULL)]
        assert median_error(chains[1]) < median_error(chains[0])


def test_the_term_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's own message count predicts Fig. 9's pdpotrf worse, and Fig. 10's at nearly twice its time."""

    def errors() -> tuple[float, float]:
        halves, ten = (
            [each for each in heldout.held_out(split) if each.model == COST and each.phase == "factorisation"]
            for split in ("halves", EXTRAPOLATION)
        )
        last = ten[-1]
        return median_error(halves), last.error

    def guide(rows: int, P: int) -> dict[str, float]:
        return chosen(rows, P) | {"panel_latency": (4 + math.log2(P)) * rows}

    chosen, ours = model._factorisation, errors()
    monkeypatch.setattr(model, "_factorisation", guide)
    theirs = errors()
    assert ours[0] < 0.06 < theirs[0]
    assert abs(ours[1]) < 0.12
    assert theirs[1] > 0.8
