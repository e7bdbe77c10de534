"""Figures of energies: Figs. 11 to 13, and our direct trainings against our transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qmcbench.gates.energies import doubts
from qmcbench.paper.answers import beside, of_authors, training_of
from qmcbench.paper.join import Joined
from qmcbench.paper.trainings import FRESH, TARGET, Rivals, Trained, rivals, trained
from qmcbench.reference import model_names, model_spec, paper
from qmcbench.report.colours import BLUE, COLOURS, GREY, VERMILION
from qmcbench.report.document import grouped
from qmcbench.report.figure import DRAWN, WIDTH, Plot, drawn, log_axis, printable, render
from qmcbench.report.paper.figures import MARKS, MEASURED, PRINTED, SIZE
from qmcbench.store.energies import Energy
from qmcbench.store.records import Run

J2 = 0.5
"""Of Figs. 11 to 13."""
OTHER: dict[str, Any] = {"marker": "^", "linestyle": "none", "markersize": 4}
AUTHORS: dict[str, Any] = {"marker": "x", "linestyle": "none", "markersize": 5}
BESIDE = (
    "Triangles: ours, of another network, symmetry or start. Crosses: the authors' network of 12x12, as it is. None "
    "of them decides a claim."
)
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)))
LABEL = 60
"""Letters of a label, at most."""
ABOVE = 0.06
"""How far above TARGET curves are shown."""


def figure11(runs: Sequence[Run]) -> list[Plot]:
    """Five stages of transfer learning, and every training of ours on the same lattices."""
    stages = paper.figure11["stages"]
    colours: dict[int, str] = {}
    for colour, stage in zip(COLOURS, stages, strict=False):
        colours.setdefault(stage["L"], colour)
    own = [each for each in trained(runs) if each.training.L in colours and each.training.J2 == J2]

    def draw(figure: Figure) -> None:
        rows = figure.subplots(2, 2 if own else 1, sharex="col", sharey="row", squeeze=False)
        for axes in rows[:, 0]:
            _stages(axes, stages)
            axes.set_ylabel("energy per site")
        for axes in rows[:, 1:].flat:
            _own(axes, own, colours)
            axes.set_xscale("log")
        rows[0, 0].set_ylim(-0.51, -0.24)
        rows[1, 0].set_ylim(-0.5035, -0.4915)
        rows[1, 0].set_xlabel("the paper's steps, of all stages")
        for axes in rows[1, 1:]:
            axes.set_xlabel("our samples, of all stages")
        handles = [each for axes in rows[0] for each in axes.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=6)

    caption = (
        "Rings: starts and ends as the paper states them; dotted lines only join them, and a stage without a stated "
        "length is drawn with 200 steps. Right: all of our trainings on these lattices, mostly of other networks, in "
        "the colours of the lattices; a stage begins after the samples of those that it started from (a start from a "
        "file begins at 0), and each point is the mean of the last ten steps, of which at most "
        f"{DRAWN} are drawn of a training. Below: the same, enlarged."
    )
    return [Plot("figure-11", "Fig. 11: five stages to 24x24", caption, render("figure-11", (WIDTH, 5.6), draw))]


def _stages(axes: Axes, stages: Sequence[Mapping[str, Any]]) -> None:
    first = 0
    for colour, stage in zip(COLOURS, stages, strict=False):
        last = first + stage.get("steps", 200)
        label = f"paper, {stage['L']}x{stage['L']}{', C4' if stage['symmetry'] == 'C4' else ''}"
        style = PRINTED | {"linestyle": ":"}
        axes.plot([first, last], [stage["start"], stage["end"]], color=colour, label=label, **style)
        first = last


def _own(axes: Axes, own: Sequence[Trained], colours: Mapping[int, str]) -> None:
    """Each chain of trainings in dashes of its own."""
    chains = grouped(own, lambda each: (id(each.run), each.first.name))
    for dashes, those in zip(cycle(DASHES), chains.values(), strict=False):
        for each in those:
            _curve(axes, each, each.offset or 0, color=colours[each.training.L], linestyle=dashes)
        axes.plot([], [], color=GREY, linestyle=dashes, label=_label(those))


def _curve(axes: Axes, each: Trained, offset: int, **style: Any) -> None:
    points = each.points
    points = points[drawn(len(points))]
    axes.plot([offset + x for x, _ in points], [y for _, y in points], linewidth=0.9, **style)


def _label(chain: Sequence[Trained]) -> str:
    first, last = chain[0].training, chain[-1].training
    names = first.name if len(chain) == 1 else f"{first.name} to {last.name}"
    text = f"ours ({chain[0].run.profile or chain[0].run.job}), {last.network}, {last.symmetry}, {names}"
    return printable(text if len(text) <= LABEL else f"{text[: LABEL - 1]}…")


def figure12(joined: Sequence[Joined], runs: Sequence[Run]) -> list[Plot]:
    """Energy against the number of parameters."""
    lattices = _by_lattice(joined, "Fig. 12")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, (L, those) in zip(COLOURS, lattices.items(), strict=False):
            at = [each.claim.of["parameters"] for each in those]
            axes.plot(at, [each.claim.value for each in those], color=colour, label=f"{L}x{L}", **PRINTED)
            for each in those:
                if each.ours:
                    axes.plot(each.claim.of["parameters"], each.ours.value, color=colour, **MEASURED)
            for _, energy in beside([each.claim for each in those], runs):
                _mark(axes, energy.network.parameters, energy, OTHER | {"color": colour})
            for energy in _authors(runs, L):
                _mark(axes, energy.network.parameters, energy, AUTHORS | {"color": colour})
        log_axis(axes, [model_spec(name).parameters for name in model_names()], "parameters")
        axes.set_ylabel("energy per site")
        axes.legend()

    caption = f"J2 = {J2:g}. {MARKS} {BESIDE}"
    return [Plot("figure-12", "Fig. 12: energy against the network's size", caption, render("figure-12", SIZE, draw))]


def _by_lattice(joined: Sequence[Joined], place: str) -> dict[int, list[Joined]]:
    return grouped((each for each in joined if each.claim.place == place), lambda each: int(each.claim.of["L"]))


def _authors(runs: Sequence[Run], L: int) -> list[Energy]:
    """Energies of the authors' network on a lattice that it was not trained for."""
    there = [each for run in runs for each in run.of(Energy) if of_authors(run, each) and not doubts(each)]
    return [each for each in there if (each.L, each.J2) == (L, J2)]


def _mark(axes: Axes, at: float, energy: Energy, style: Mapping[str, Any]) -> None:
    axes.errorbar([at], [energy.value or 0.0], [energy.sigma or 0.0], capsize=2, **style)


def figure13(joined: Sequence[Joined], runs: Sequence[Run]) -> list[Plot]:
    """Direct training against transfer."""
    lattices = _by_lattice(joined, "Fig. 13")

    def draw(figure: Figure) -> None:
        for axes, (L, those) in zip(figure.subplots(1, len(lattices)), lattices.items(), strict=True):
            for at, each in enumerate(those):
                axes.plot(at, each.claim.value, color="black", **PRINTED)
                if each.ours:
                    axes.errorbar([at], [each.ours.value], [each.ours.sigma or 0.0], color=BLUE, **MEASURED)
            names = [each.claim.what.split(",")[0].replace(" from 24x24", "") for each in those]
            near = grouped(beside([each.claim for each in those], runs), _name)
            for name, energies in near.items():
                for _, energy in energies:
                    _mark(axes, len(names), energy, OTHER | {"color": BLUE})
                names.append(name)
            if theirs := _authors(runs, L):
                for energy in theirs:
                    _mark(axes, len(names), energy, AUTHORS | {"color": GREY})
                names.append("authors' 12x12, as it is")
            axes.set_xticks(
                range(len(names)), [printable(name) for name in names], rotation=40, ha="right", fontsize=7
            )
            axes.set_title(f"{L}x{L}", fontsize=9)
            axes.margins(x=0.15)
        figure.axes[0].set_ylabel("energy per site")

    caption = f"J2 = {J2:g}. The paper's: 106 529 parameters, transfer from 24x24. {MARKS} {BESIDE}"
    return [Plot("figure-13", "Fig. 13: direct training against transfer", caption, render("figure-13", SIZE, draw))]


def _name(pair: tuple[Run, Energy]) -> str:
    """Network, symmetry and start of an energy of ours."""
    run, energy = pair
    training = training_of(run, energy)
    start = "" if training is None else ", direct" if training.origin == FRESH else ", transfer"
    return f"ours: {energy.network.name}, {energy.network.symmetry}{start}"


def direct(runs: Sequence[Run]) -> list[Plot]:
    """Energy against samples of our direct trainings and our transfers; no figure without such a pair."""
    pairs = rivals(runs)
    if not pairs:
        return []

    def draw(figure: Figure) -> None:
        for axes, pair in zip(figure.subplots(len(pairs), 1, squeeze=False)[:, 0], pairs, strict=True):
            _race(axes, pair)
        figure.axes[-1].set_xlabel("samples")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)

    caption = (
        f"Our own trainings; each point is the mean of the last ten steps, of which at most {DRAWN} are drawn. "
        "Warm-up and trial starts are not counted. "
        f"Horizontal: {TARGET:g}, where the table compares them."
    )
    size = (WIDTH, 0.6 + 2.6 * len(pairs))
    return [Plot("direct", "Ours: direct training against transfer", caption, render("direct", size, draw))]


def _race(axes: Axes, pair: Rivals) -> None:
    for label, those in (("direct", pair.direct), ("transfer", pair.transfer)):
        for number, each in enumerate(those):
            said = {"label": label} if number == 0 else {}
            _curve(axes, each, 0, color=BLUE if label == "direct" else VERMILION, linestyle="-", **said)
    for number, each in enumerate(each for each in pair.transfer if each.offset is not None):
        said = {"label": "transfer, after the samples of its earlier stages"} if number == 0 else {}
        _curve(axes, each, each.offset or 0, color=VERMILION, linestyle=":", **said)
    axes.axhline(TARGET, color=GREY, linewidth=0.7)
    of, low = pair.direct[0].training, axes.dataLim.y0
    if low < TARGET + ABOVE:
        axes.set_ylim(low - 0.05 * (TARGET + ABOVE - low), TARGET + ABOVE)
    axes.set_title(printable(f"{of.L}x{of.L}, J2 = {of.J2:g}, {of.network}, {of.symmetry}"), fontsize=9)
    axes.set_ylabel("energy per site")
