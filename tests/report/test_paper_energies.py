"""Figs. 11 to 13 and Table 4 of made-up records: every energy of ours is there, under its own name."""

from dataclasses import replace
from typing import Any

import pytest
from helpers.energies import ENERGY, MADE, NETWORK
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.paper.join import join
from qmcbench.report.document import Cell
from qmcbench.report.paper import energies, pages, sizes, tables
from qmcbench.store.energies import Curve, Energy, Network, Training
from qmcbench.store.records import Record, Reference, Run

LARGE = replace(NETWORK, name="large", parameters=106529, L=12)
TRUSTED = {"gap": 100, "warm_up": 40, "r_hat": 1.001, "sigma": 1e-4}


def training(name: str, L: int, start: str | None = None, **changes: Any) -> Training:
    """Of ten steps of a hundred samples."""
    levels = tuple(-0.4 - 0.01 * step for step in range(10))
    curve = Curve(step=tuple(range(1, 11)), energy=levels, error=(1e-3,) * 10)
    given = {"network": "medium", "symmetry": "C4", "parameters": 16249, "J2": 0.5, "curve": curve} | changes
    return Training(value=-0.49, name=name, sign="marshall", L=L, start=start, steps=10, chains=100, **given)


def energy(name: str, L: int, value: float, network: Network, trained_for: int | None = None) -> Energy:
    """One that nothing is wrong with, of a network trained for its own lattice if no other is said."""
    network = replace(network, L=L if trained_for is None else trained_for)
    return replace(ENERGY, name=name, L=L, value=value, network=network, **TRUSTED)


def run(*records: Record, job: str = "transfer", profile: str = "cpu") -> Run:
    """Of a plan."""
    return Run(job=job, provenance=MADE, records=records, profile=profile)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, instead of their files."""
    made: list[Figure] = []

    def savefig(figure: Figure, file: Any, **options: Any) -> None:
        made.append(figure)
        file.write("<svg></svg>")

    monkeypatch.setattr(Figure, "savefig", savefig)
    return made


def labels(figure: Figure) -> list[str]:
    """Of the figure's legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def points(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """Where an axes has these marks."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_every_training_is_in_figure_11(drawn: list[Figure]) -> None:
    """Seven runs, more than there are styles; the stages of one lie end to end, whatever lattice came before."""
    chain = run(training("4x4", 4), training("6x6", 6, "4x4"), training("10x10", 10, "6x6"))
    alone = [run(training("6x6", 6), profile=f"plan {number}") for number in range(6)]
    energies.figure11([chain, *alone])
    own = [text for text in labels(drawn[0]) if text.startswith("ours")]
    assert own == ["ours (cpu), medium, C4, 6x6 to 10x10", *(f"ours (plan {n}), medium, C4, 6x6" for n in range(6))]
    right = drawn[0].axes[1]
    curves = [line for line in right.lines if len(line.get_xdata())]
    assert [(line.get_xdata()[0], line.get_xdata()[-1]) for line in curves[:3]] == [
        (1100, 2000), (2100, 3000), (100, 1000),
    ]  # fmt: skip
    assert len(curves) == 8
    assert curves[0].get_linestyle() == curves[1].get_linestyle() != curves[2].get_linestyle()
    assert curves[1].get_color() == drawn[0].axes[0].lines[1].get_color()  # the paper's 10x10


def test_figure_11_without_trainings_is_the_papers(drawn: list[Figure]) -> None:
    """Of other couplings and lattices, or quick ones, none is shown."""
    others = run(training("4x4", 4), training("6x6", 6, J2=0.4))
    energies.figure11([others, replace(run(training("6x6", 6)), quick=True)])
    assert len(drawn[0].axes) == 2
    assert [text.split(",")[0] for text in labels(drawn[0])] == ["paper"] * 5


FULL = replace(NETWORK, name="medium", parameters=16249, symmetry="full")
MIXED = (
    run(
        training("10x10", 10, symmetry="full"), energy("10x10", 10, -0.4951, FULL),
        training("16x16", 16, "10x10", symmetry="full"), energy("16x16", 16, -0.4941, FULL),
    ),
    run(energy("zero", 10, -0.4971, LARGE, 12), energy("zero too", 16, -0.4961, LARGE, 12), job="zero-shot"),
    run(energy("own, elsewhere", 10, -0.4900, FULL, 16), job="zero-shot"),
)  # fmt: skip
"""A network of ours that answers no claim, the authors', and ours on a lattice that it was not trained for."""


def test_energies_are_called_what_they_are(drawn: list[Figure]) -> None:
    """Our own trained ones are triangles, the authors' network alone has crosses, and nothing else is shown."""
    joined = join(MIXED)
    energies.figure12(joined, MIXED)
    energies.figure13(joined, MIXED)
    twelve, thirteen = drawn
    (axes,) = twelve.axes
    assert sorted(points(axes, "^")) == [(16249, -0.4951), (16249, -0.4941)]
    assert sorted(points(axes, "x")) == [(106529, -0.4971), (106529, -0.4961)]
    for axes, own, theirs, start in zip(
        thirteen.axes, (-0.4951, -0.4941), (-0.4971, -0.4961), ("direct", "transfer"), strict=True
    ):
        names = [text.get_text() for text in axes.get_xticklabels()]
        assert names[-2:] == [f"ours: medium, full, {start}", "authors' 12x12, as it is"]
        assert points(axes, "^") == [(len(names) - 2, own)]
        assert points(axes, "x") == [(len(names) - 1, theirs)]


def test_an_energy_that_answers_is_no_triangle(drawn: list[Figure]) -> None:
    """One of just what Fig. 12 is about is a disc; one that is not to be trusted is nothing."""
    none = replace(FULL, symmetry="none")
    runs = [run(training("10x10", 10, symmetry="none"), energy("10x10", 10, -0.4967, none))]
    runs.append(run(replace(energy("doubted", 10, -0.4999, FULL), plateau=False)))
    energies.figure12(join(runs), runs)
    (axes,) = drawn[0].axes
    assert points(axes, "^") == []
    assert (16249, -0.4967) in points(axes, "o")


def test_table_4_has_our_own_rows() -> None:
    """Beside the cells that decide: ours of another symmetry, and the authors' network under its name."""
    rows = {
        (str(row[0]), str(row[1])): [cell.text if isinstance(cell, Cell) else cell for cell in row[2:]]
        for row in tables.table4(join(MIXED), MIXED).rows
    }
    assert rows["10x10", "of a network trained for it"] == ["not run"] * 6
    assert rows["10x10", "ours: medium, full"] == ["not run"] * 3 + ["● -0.49510(10)"] + ["not run"] * 2
    assert rows["10x10", "12x12's network, not retrained"][3] == "● -0.49710(10)"
    assert ("12x12", "ours: medium, full") not in rows


def test_table_1_has_every_layer() -> None:
    """As printed and as laid out: the printed shapes are those of the last blocks; what was inferred is marked."""
    table = tables.table1(join([]))
    rows = {str(row[0]): [cell.text if isinstance(cell, Cell) else cell for cell in row[1:]] for row in table.rows}
    assert list(rows) == ["small (layout inferred)", "medium", "large"]
    assert rows["medium"][:4] == [
        "16*16*3*3", "Σ 32*1*5*5, 8*16*5*5, 4 of 16*16*3*3", "16*16*1*3",
        "Σ 32*16*1*2, 8*16*1*2, 3 of 16*16*1*2, 16*1*1*2",
    ]  # fmt: skip
    assert rows["large"][4:6] == ["32", "Σ 32"]


def test_table_2_has_the_gpus() -> None:
    """Of runs that computed on one, not of those that only had one."""
    there = replace(MADE, machine=replace(MADE.machine, gpu="NVIDIA H200"))
    found = run(energy("10x10", 10, -0.4973, LARGE))
    on = replace(found, provenance=there, records=(replace(found.records[0], device="cuda"),))
    for runs, said in (([replace(found, provenance=there)], "none"), ([found, on], "1 NVIDIA H200")):
        assert tables.table2(runs).rows[-1] == ["GPUs", "none", said]


def race() -> tuple[Training, Training, Training]:
    """Planted curves, straight lines, whose mean of the last ten steps lags by 4.5 steps.

    Direct training falls by 0.001 a step from -0.3: it is at -0.49 in step 191, its mean below it in step 196.
    Transfer falls by 0.01 a step from -0.4: its mean is below in step 15.
    """
    slow, fast = (
        Curve(step=tuple(range(1, 301)), energy=tuple(first - slope * step for step in range(300)))
        for first, slope in ((-0.3, 1e-3), (-0.4, 1e-2))
    )
    first = training("6x6", 6)
    direct = replace(training("any name", 10, curve=slow), steps=300)
    transfer = replace(training("another", 10, "6x6", curve=fast), steps=300, chains=50)
    return first, direct, transfer


def cells(*runs: Run) -> dict[str, dict[str, str]]:
    """Rows of the table by the name of the training."""
    (table,) = tables.direct(runs)
    return {str(row[4]): dict(zip(table.headers, map(str, row), strict=True)) for row in table.rows}


def test_direct_against_transfer_of_a_planted_curve(drawn: list[Figure]) -> None:
    """Samples to -0.49 of each and their ratio, alone and with the stage before."""
    found = run(*race())
    rows = cells(found)
    assert list(rows) == ["any name", "another"]
    assert rows["any name"]["samples to -0.49"] == rows["any name"]["with earlier stages"] == "19,600"
    assert rows["another"]["samples to -0.49"] == "750"
    assert rows["another"]["with earlier stages"] == "1,750"
    assert (rows["any name"]["speedup by transfer"], rows["another"]["speedup by transfer"]) == ("–", "26.1")
    assert rows["another"]["speedup with earlier stages"] == "11.2"
    energies.direct([found])
    (axes,) = drawn[0].axes
    assert labels(drawn[0]) == ["direct", "transfer", "transfer, after the samples of its earlier stages"]
    assert [line.get_xdata()[0] for line in axes.lines[:3]] == [100, 50, 1050]


def test_what_was_not_reached_is_said() -> None:
    """Neither samples nor a ratio of a curve that stays above."""
    first, direct, transfer = race()
    flat = replace(direct, curve=replace(direct.curve, energy=(-0.4899,) * 300))
    rows = cells(run(first, flat, transfer))
    assert rows["any name"]["samples to -0.49"] == rows["any name"]["with earlier stages"] == "not reached"
    assert rows["another"]["speedup by transfer"] == "not reached"
    assert rows["another"]["samples to -0.49"] == "750"


@pytest.mark.parametrize("start", ["elsewhere.safetensors", "reference:small-6x6-0.5"], ids=["file", "shipped"])
def test_a_start_from_elsewhere_is_no_fresh_one(start: str) -> None:
    """It is a transfer whose earlier samples are not known; two of them are no pair, nor is a continuation one."""
    first, direct, transfer = race()
    away = replace(transfer, start=start)
    rows = cells(run(first, direct, away))
    assert (rows["another"]["start"], rows["another"]["with earlier stages"]) == (f"from {start}", "–")
    assert rows["another"]["speedup with earlier stages"] == "–"
    assert tables.direct([run(first, away, replace(direct, start=start))]) == []
    assert tables.direct([run(first, direct, replace(transfer, start="any name"))]) == []
    assert tables.direct([run(first, direct), run(first, replace(transfer, symmetry="full"))]) == []
    assert energies.direct([run(first, direct)]) == []


def test_a_transfer_is_held_against_its_own_runs_direct_training() -> None:
    """Another run's, of other settings, only serves where there is none."""
    first, direct, transfer = race()
    quick = replace(direct, curve=transfer.curve)
    assert cells(run(first, direct, transfer), run(quick))["another"]["speedup by transfer"] == "26.1"
    assert cells(run(first, transfer), run(quick))["another"]["speedup by transfer"] == "2"


def test_the_chapter_shows_the_race(drawn: list[Figure]) -> None:
    """In the section of Fig. 13, its table and its figure."""
    runs = [run(*race())]
    section = next(each for each in pages.sections(join(runs), runs) if each.title == "Fig. 13")
    assert [table.title for table in section.tables][1:] == ["Ours: direct training against transfer"]
    assert [plot.name for plot in section.plots] == ["figure-13", "direct"]
    assert drawn


def of_size(name: str, network: str, parameters: int, **changes: Any) -> Training:
    """Trained on 6x6 from nothing: 20 steps that fall by 0.001 each from -0.4805, where -0.5 is exact."""
    falling = Curve(step=tuple(range(1, 21)), energy=tuple(-0.4805 - 1e-3 * step for step in range(20)))
    exact = Reference(value=-0.5, source="exact diagonalization")
    given = {"network": network, "parameters": parameters, "curve": falling, "seed": 1, "seconds": 3.0} | changes
    return replace(training(name, 6), reference=exact, **({"steps": 20} | given))


def test_sizes_at_equal_steps(drawn: list[Figure]) -> None:
    """The smallest first, with the evaluated energy of each; curves of the mean of ten steps, a colour a size."""
    ours = [of_size("b", "large", 106529), of_size("a", "small", 3531), of_size("c", "large", 106529, seed=2)]
    found = run(*ours, energy("a", 6, -0.499, replace(NETWORK, L=6)), profile="sizes")
    found = replace(found, records=tuple(
        replace(each, reference=ours[0].reference) if isinstance(each, Energy) else each for each in found.records
    ))  # fmt: skip
    (table,) = sizes.table([found])
    assert [row[1:] for row in table.rows] == [
        ["small", "3,531", "1", "20", "2,000", "3 s", "-0.49900(10)", "0.0020(2)"],
        ["large", "106,529", "1", "20", "2,000", "3 s", "–", "–"],
        ["large", "106,529", "2", "20", "2,000", "3 s", "–", "–"],
    ]
    assert {row[0] for row in table.rows} == {"6x6, J2 = 0.5, symmetry C4"}
    sizes.figure([found])
    (axes,) = drawn[0].axes
    small, _, *large, _ = axes.lines
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "small, 3,531 parameters", "large, 106,529 parameters",
    ]  # fmt: skip
    assert {line.get_color() for line in large} != {small.get_color()}
    # The mean of the last ten of steps 11 to 20 is -0.495, a hundredth above; no step is drawn twice.
    assert (small.get_xdata()[-1], small.get_ydata()[-1]) == (20, pytest.approx(0.01))
    assert list(small.get_xdata()) == list(range(1, 21))


def test_what_is_no_group_of_sizes() -> None:
    """One network alone; other steps, symmetry or start; another run; a quick one."""
    small, large = of_size("a", "small", 3531), of_size("b", "large", 106529)
    assert sizes.table([run(small, large)])
    assert sizes.table([run(small, replace(small, name="b"))]) == []
    for changed in ({"steps": 19}, {"chains": 50}, {"symmetry": "full"}, {"start": "a"}, {"J2": 0.4}):
        assert sizes.table([run(small, replace(large, **changed))]) == []
        assert sizes.figure([run(small, replace(large, **changed))]) == []
    assert sizes.table([run(small), run(large)]) == []
    assert sizes.table([replace(run(small, large), quick=True)]) == []


def test_a_mean_below_the_exact_energy_is_not_drawn(drawn: list[Figure]) -> None:
    """Nothing on a logarithmic axis can be: its curve ends before."""
    low = Curve(step=tuple(range(1, 21)), energy=(-0.49,) * 10 + (-0.52,) * 10)
    sizes.figure([run(of_size("a", "small", 3531, curve=low), of_size("b", "large", 106529))])
    assert list(drawn[0].axes[0].lines[0].get_xdata()) == list(range(1, 14))


def test_the_chapter_shows_sizes(drawn: list[Figure]) -> None:
    """In the section of Fig. 12, its table and its figure."""
    runs = [run(of_size("a", "small", 3531), of_size("b", "large", 106529))]
    section = next(each for each in pages.sections(join(runs), runs) if each.title == "Fig. 12")
    assert [table.title for table in section.tables][1:] == [sizes.TITLE]
    assert [plot.name for plot in section.plots] == ["figure-12", "sizes"]
    assert drawn
