"""Our own trainings of networks of several sizes that differ in nothing else: the paper's Fig. 12 in small."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.bench.accuracy import SMOOTH
from qmcbench.paper.trainings import Trained, sizes
from qmcbench.report.colours import COLOURS
from qmcbench.report.document import Row, Table, grouped
from qmcbench.report.figure import DRAWN, WIDTH, Plot, drawn, printable, render
from qmcbench.report.numbers import count, duration
from qmcbench.report.reproduction.pages import measured, relative
from qmcbench.store.records import Run

TITLE = "Ours: networks of several sizes at equal steps"


def table(runs: Sequence[Run]) -> list[Table]:
    """What each size came to; no table without a group of them."""
    rows: list[Row] = []
    for each in (each for group in sizes(runs) for each in group):
        own, energy = each.training, each.energy
        rows.append([
            _setting(each), own.network, count(own.parameters), str(own.seed), count(own.steps),
            count(own.steps * own.chains), duration(own.seconds), measured(energy), relative(energy),
        ])  # fmt: skip
    columns = [
        "setting", "network", ">parameters", ">seed", ">steps", ">samples", ">training", ">E/N", ">relative error",
    ]  # fmt: skip
    caption = (
        "From random parameters, with one symmetry, number of steps and of samples for all sizes of a setting; "
        "evaluated by fresh samples, one standard error in parentheses. Equal steps are not equal seconds."
    )
    return [Table(TITLE, columns, rows, caption)] if rows else []


def figure(runs: Sequence[Run]) -> list[Plot]:
    """Relative error against steps, in one colour for each size; no figure without a group whose energy is known."""
    groups = [group for group in sizes(runs) if group[0].training.reference is not None]
    if not groups:
        return []

    def draw(figure: Figure) -> None:
        for axes, group in zip(figure.subplots(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
            _curves(axes, group)
        figure.axes[-1].set_xlabel("steps")

    caption = (
        f"Relative error of the mean energy of the last {SMOOTH} steps against the exact energy, or beyond 6x6 the "
        f"best known one. At most {DRAWN} steps are drawn, and no mean that is not above it."
    )
    return [Plot("sizes", TITLE, caption, render("sizes", (WIDTH, 0.4 + 2.6 * len(groups)), draw))]


def _curves(axes: Axes, group: Sequence[Trained]) -> None:
    networks = grouped(group, lambda each: (each.training.network, each.training.parameters))
    for colour, ((network, parameters), those) in zip(COLOURS, networks.items(), strict=False):
        for each in those:
            steps, errors = _errors(each)
            axes.plot(steps, errors, color=colour, linewidth=0.9)
        axes.plot([], [], color=colour, label=f"{printable(network)}, {count(parameters)} parameters")
    axes.set(yscale="log", ylabel="relative error")
    axes.set_title(printable(_setting(group[0])), fontsize=9)
    axes.legend()


def _errors(each: Trained) -> tuple[list[int], list[float]]:
    """Steps, and the relative errors of the running mean there."""
    own, points = each.training, each.points
    assert own.reference is not None
    errors = [(samples // own.chains, own.reference.above(mean)) for samples, mean in points[drawn(len(points))]]
    above = [(step, error) for step, error in errors if error is not None and error > 0]
    return [step for step, _ in above], [error for _, error in above]


def _setting(each: Trained) -> str:
    own = each.training
    return f"{own.L}x{own.L}, J2 = {own.J2:g}, symmetry {own.symmetry}"
