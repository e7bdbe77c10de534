"""Claims beside records: what agrees, what does not, and what was never measured."""

from dataclasses import replace

import pytest
from helpers.energies import ENERGY, MADE, NETWORK
from helpers.stores import weak_run

from qmcbench.paper.answers import COUNTED, MEASURED, Answer
from qmcbench.paper.join import Joined, Outcome, agrees, counts, join, rounding
from qmcbench.paper.models import Modelled
from qmcbench.reference import paper
from qmcbench.reference.claims import Claim
from qmcbench.report.paper.marks import shown
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Correlations, Curve, Energy, Training
from qmcbench.store.records import Record, Reference, Run
from qmcbench.store.scaling import ModelledTime, Work

LARGE = replace(NETWORK, name="large", parameters=106529, L=12, J2=0.5)
TWELVE = replace(
    ENERGY, name="12x12 J2=0.5", network=LARGE, L=12, value=-0.49660, sigma=6e-5, gap=144, warm_up=40, r_hat=1.001
)
WHAT = "energy, 12x12, J2 = 0.5"


def answered(what: str, *records: Record, quick: bool = False) -> Joined:
    """The claim with these words beside one run of these records."""
    run = Run(job="evaluate", provenance=MADE, records=records, quick=quick)
    (found,) = [each for each in join([run]) if each.claim.what == what]
    return found


def test_an_energy_of_just_that_network_decides() -> None:
    """At most three standard errors (and half a digit) above the printed one agrees; more does not."""
    found = answered(WHAT, TWELVE)
    assert found.outcome is Outcome.AGREES
    assert found.difference == pytest.approx((-0.49660 + 0.49665) / 6e-5)
    assert "12x12" in found.ours.of
    above = answered(WHAT, replace(TWELVE, value=-0.49665 + 3 * 6e-5 + 6e-6))
    assert above.outcome is Outcome.DISAGREES
    assert "times the paper's" in above.why
    assert answered(WHAT, replace(TWELVE, value=-0.49665 + 3 * 6e-5 + 4e-6)).outcome is Outcome.AGREES
    assert answered(WHAT, replace(TWELVE, value=-0.4980)).outcome is Outcome.AGREES  # it reaches even more


@pytest.mark.parametrize(
    "other",
    [
        replace(TWELVE, network=replace(LARGE, L=10)),
        replace(TWELVE, network=replace(LARGE, J2=0.6)),
        replace(TWELVE, network=replace(LARGE, symmetry="none")),
        replace(TWELVE, network=replace(LARGE, name="small", parameters=3531)),
    ],
    ids=["trained for 10x10", "trained for J2 = 0.6", "without C4", "of another size"],
)
def test_an_energy_of_another_network_is_only_near(other: Energy) -> None:
    """It is named, and decides nothing."""
    found = answered(WHAT, other)
    assert found.outcome is Outcome.NOT_RUN
    assert found.ours is None
    assert found.why.startswith("nearest: evaluate: 12x12 J2=0.5")


def test_what_is_not_to_be_trusted_answers_nothing() -> None:
    """Quick sizes, energies with a doubt, and none at all."""
    for found in (
        answered(WHAT, TWELVE, quick=True),
        answered(WHAT, replace(TWELVE, plateau=False)),
        answered(WHAT, replace(TWELVE, L=10)),
        answered(WHAT),
    ):
        assert (found.outcome, found.answer) == (Outcome.NOT_RUN, None)
        assert "no record" in found.why


@pytest.mark.parametrize(
    ("relation", "value", "agreeing"),
    [
        ("equal", 2.149, True), ("equal", 2.151, False), ("about", 2.56, True), ("about", 2.58, False),
        ("at least", 9.0, True), ("at least", 2.04, False), ("at most", -9.0, True), ("at most", 2.16, False),
        ("equal", float("nan"), False), ("at most", float("nan"), False), ("at least", float("nan"), False),
    ],
)  # fmt: skip
def test_relations(relation: str, value: float, agreeing: bool) -> None:
    """Of a printed 2.1, "about" being a fifth; what is not a number agrees with nothing."""
    claim = Claim("Table 1", "x", 2.1, "", "counted", relation=relation, within=0.2)
    assert agrees(claim, Answer(MEASURED, value, 0.0, "")) is agreeing


def test_half_of_the_last_digit() -> None:
    """What was printed is known only so far."""
    assert [rounding(value) for value in (6.43, -0.5, 40.0, 3531, 2e-3)] == pytest.approx([0.005, 0.05, 0, 0, 0.0005])


def test_forwards_of_a_sample_follow_from_correlations() -> None:
    """The Neel state has 2 L^2 antiparallel bonds, all nearest; its planted correlations say so."""
    L = 4
    mean = tuple(0.75 * (-1) ** (row + column) for row in range(L) for column in range(L))
    record = Correlations(
        value=0.75, quantity="correlation", L=L, shape=(L, L), at=(2, 2), mean=mean, error=(0.01,) * 16,
        plateau=(True,) * 16,
    )  # fmt: skip
    found = answered("forward passes for the local energy of a sample, over L^2", record)
    assert found.ours.value == pytest.approx(2.0)
    assert found.ours.sigma == pytest.approx(2 * 2 / 3 * 0.01)
    assert found.outcome is Outcome.AGREES
    broken = replace(record, mean=(None,) * 16)
    assert answered("forward passes for the local energy of a sample, over L^2", broken).outcome is Outcome.NOT_RUN


def time(phase: str, value: float, L: int | None = None, rotations: int = 1, processes: int = 256) -> ModelledTime:
    """A modelled time of Table 3's first row, with an error of 10 %."""
    work = Work(16249, 4096, processes, L, rotations)
    reference = Reference(value=1.0, source="Table 3", kind="paper")
    band = (0.9 * value, 1.1 * value)
    return ModelledTime(value=value, phase=phase, work=work, band68=band, band95=band, reference=reference)


def test_projections_are_never_measurements() -> None:
    """A time of the model is a projection, with half its band as the error; an overhead is the quotient of two."""
    run = Run(job="scale project", provenance=MADE, records=(time("sr", 6.0), time("iteration", 30.0, 10, 4)))
    joined = {each.claim.what: each for each in join([run])}
    found = joined["ScaLAPACK, 16,249 parameters, 256 processes"]
    assert (found.outcome, found.ours) == (Outcome.PROJECTED, None)
    assert found.difference == pytest.approx((6.0 - 6.43) / 0.6)
    share = joined["overhead, 10x10 with C4, 16,249 parameters, 256 processes"]
    assert (share.projection.value, share.projection.sigma) == pytest.approx((0.2, 0.2 * 0.1 * 2**0.5))
    assert share.difference == pytest.approx((0.2 - 0.183) / (0.2 * 0.1 * 2**0.5))
    assert joined["overhead, 10x10 without C4, 16,249 parameters, 256 processes"].projection is None
    assert Modelled.of([]).value({"name": "saturation"}) is None


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("overhead, 10x10 with C4, 16,249 parameters, 256 processes", 6.43 / 35.1),
        ("overhead, 16x16 without C4, 106,529 parameters, 40,000 processes", 55.17 / 226.9),
        ("speedup of ScaLAPACK from 1,024 to 40,000 processes, large", 136.46 / 55.17),
        ('processes at which the large network\'s ScaLAPACK time is least ("saturation")', 90000),
    ],
    ids=["overhead", "overhead of the large network", "speedup", "saturation"],
)
def test_what_follows_from_printed_numbers_is_counted(what: str, value: float) -> None:
    """The model may say something else, and decides nothing there."""
    found = answered(what)
    assert (found.ours.how, found.ours.value) == (COUNTED, pytest.approx(value))
    assert found.outcome is Outcome.AGREES


def test_every_printed_overhead_follows() -> None:
    """All 32 are the quotients of the printed times, to 2 %: some are cut off, not rounded."""
    found = [each for each in join([]) if each.claim.what.startswith("overhead, ")]
    assert [each.outcome for each in found] == [Outcome.AGREES] * 32
    off = replace(found[0].claim, value=1.05 * found[0].claim.value)
    assert not agrees(off, found[0].ours)


def test_a_time_has_the_range_of_its_repeats() -> None:
    """Of the rotations by the slowest and the fastest step of either, of the speedups by their least and greatest."""
    one, four = weak_run(mc=2.0), weak_run(mc=8.0, symmetry="C4")
    one, four = replace(one, monte_carlo=(1.6, 2.0, 2.5)), replace(four, monte_carlo=(7.5, 8.0, 8.8))
    found = answered("times the cost with the four rotations", one, four).ours
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 3.0, 5.5))
    scalar, every = (
        WorkTime(value=value, low=0.9 * value, high=1.2 * value, work="conv2d", network="large", L=10, batch=8,
                 form=form, threads=threads)
        for value, form, threads in ((60.0, "scalar", 1), (0.5, "plain", 2))
    )  # fmt: skip
    run = Run(job="bench speedup", provenance=MADE, records=(scalar, every))
    (speedup,) = [each.ours for each in join([run]) if each.claim.what == "speedup of Conv2D, large, 10x10"]
    assert (speedup.value, speedup.low, speedup.high) == pytest.approx((120.0, 90.0, 160.0))
    assert shown(speedup).text == "● 120 (90..160)"
    old = replace(run, records=(replace(scalar, low=None), every))
    (speedup,) = [each.ours for each in join([old]) if each.claim.what == "speedup of Conv2D, large, 10x10"]
    assert shown(speedup).text == "● 120"


def test_a_start_is_that_of_just_such_a_training() -> None:
    """Of two trainings on the lattice the one that started as the paper's did decides, wherever it stands."""
    near, like = (
        Training(
            value=-0.4, name=name, network=network, parameters=size, symmetry="none", sign="marshall", L=6, J2=0.5,
            start=None, steps=2, chains=8, curve=Curve(step=(1, 2), energy=(first, -0.4), error=(1e-3, 1e-3)),
        )
        for name, network, size, first in (("a", "small", 3531, -0.2), ("b", "large", 106529, -0.2512))
    )  # fmt: skip
    what = "start of stage 1, 6x6 without C4"
    found = answered(what, near, like)
    assert (found.outcome, found.ours.value) == (Outcome.AGREES, -0.2512)
    assert answered(what, replace(like, start="c"), replace(like, name="c", L=4)).outcome is Outcome.NOT_RUN
    for elsewhere in ("w.safetensors", "reference:small-6x6-0.5"):
        assert answered(what, replace(like, start=elsewhere)).outcome is Outcome.NOT_RUN
    only = answered(what, near)
    assert only.outcome is Outcome.NOT_RUN
    assert "first step of a, small" in only.why


FROM = ("24x24", "10x10", "w.safetensors", "reference:small-6x6-0.5")
DIRECT, TRANSFER = "end of direct training, 10x10, 1,200 steps", "end of transfer from 24x24, 10x10"


@pytest.mark.parametrize("start", [None, *FROM, ""], ids=["fresh", "24x24", "10x10", "file", "shipped", "evaluated"])
def test_direct_training_and_transfer_are_told_apart(start: str | None) -> None:
    """By the training of an energy: fresh, or from 24x24; another start, or an unknown one, is neither."""
    trainings = [
        Training(
            value=-0.4971, name=name, network="large", parameters=106529, symmetry="none", sign="marshall", L=L,
            J2=0.5, start=begun, steps=2, chains=8,
        )
        for name, L, begun in (("24x24", 24, None), ("10x10", 10, None), ("end", 10, start))
    ]  # fmt: skip
    known = trainings if start != "" else []
    found = {}
    for what, symmetry in ((DIRECT, "none"), (TRANSFER, "C4")):
        energy = replace(TWELVE, name="end", L=10, value=-0.4972, network=replace(LARGE, L=10, symmetry=symmetry))
        found[what] = answered(what, *known, energy).outcome
    of = {None: [DIRECT], "24x24": [TRANSFER]}.get(start, [])
    assert found == {what: Outcome.AGREES if what in of else Outcome.NOT_RUN for what in (DIRECT, TRANSFER)}


@pytest.mark.parametrize(("L", "outcome"), [(24, Outcome.AGREES), (16, Outcome.NOT_RUN), (None, Outcome.NOT_RUN)])
def test_a_transfer_from_another_plans_network_is_known_by_its_lattice(L: int | None, outcome: Outcome) -> None:
    """The paper's Stage 2 begins with a file of 24x24, which its record says."""
    training = Training(
        value=-0.4971, name="10x10", network="large", parameters=106529, symmetry="C4", sign="marshall", L=10, J2=0.5,
        start="runs/paper/checkpoint.safetensors", start_L=L, steps=2, chains=8,
    )  # fmt: skip
    energy = replace(TWELVE, name="10x10", L=10, value=-0.4972, network=replace(LARGE, L=10))
    assert answered(TRANSFER, training, energy).outcome is outcome


def test_a_setting_is_no_measurement() -> None:
    """The sampling gap of our evaluations is what we asked for."""
    found = answered("forward passes for the sampling gap between two samples, over L^2", TWELVE)
    assert (found.ours.how, found.ours.value, found.outcome) == (COUNTED, 1.0, Outcome.AGREES)


def test_counting_needs_no_record() -> None:
    """Without any record, only what counting answers is answered; the counts add up."""
    joined = join([])
    assert {each.answer.how for each in joined if each.answer} == {COUNTED}
    found = counts(joined)
    assert found.listed == len(joined) > 200
    assert found.agreeing + found.disagreeing == found.counted + found.measured == found.counted
    assert found.listed == found.counted + found.not_run + found.projected
    assert (found.listed, found.counted, found.contradicting) == (213, 55, 20)
    assert (found.agreeing, found.disagreeing) == (50, 5)
    cores = next(each for each in joined if each.claim.place == "Table 2")
    assert cores.ours.value == paper.table2["max_cores"]
