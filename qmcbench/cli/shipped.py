"""``qmcbench reference networks``: trained networks that travel with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qmcbench import reference
from qmcbench.cli.common import Json, print_json
from qmcbench.reference.networks import NetworkCard

if TYPE_CHECKING:
    from qmcbench.report.document import Row, Table

EPILOG = (
    "Examples: `qmcbench reference networks`; `qmcbench reference networks small-4x4-0.5`; use one by name: "
    "`qmcbench evaluate reference:small-4x4-0.5 --exact`"
)

USE = (
    "Energies per site, S.S units, J1 = 1; an error in parentheses, or a full sum. Samples, and the time of steps, "
    "are those of all stages of training. Use one as reference:NAME wherever a checkpoint is taken."
)


def command(
    name: Annotated[str | None, typer.Argument(help="One of them: its card, and how it was trained.")] = None,
    as_json: Json = False,
) -> None:
    """Trained networks that are here, each usable as reference:NAME wherever a checkpoint is taken."""
    if name is not None:
        card = reference.network(name)
        if as_json:
            print_json(asdict(card))
        else:
            print(_card(card).text())
            for position, stage in enumerate(card.stages, start=1):
                print(f"\n# stage {position} of {len(card.stages)}: {stage.command}")
                print(_toml(stage.configuration))
        return
    cards = reference.checkpoints()
    if as_json:
        print_json([asdict(card) for card in cards])
    else:
        print(_table(cards).text())
        print(USE)


def _energy(card: NetworkCard) -> str:
    from qmcbench.report.numbers import format_value_error

    found = card.evaluation
    return format_value_error(found.energy, found.error) if found.error else f"{found.energy:.10f}"


def _table(cards: tuple[NetworkCard, ...]) -> Table:
    from qmcbench.report.document import Table
    from qmcbench.report.numbers import count, duration, number

    columns = [
        "name", "symmetry", ">parameters", ">E/N", ">relative error", ">V-score", ">infidelity", ">samples", ">steps",
    ]  # fmt: skip
    rows: list[Row] = [
        [
            card.name, card.symmetry, count(card.parameters), _energy(card),
            number(card.evaluation.relative_error, 2), number(card.evaluation.v_score, 2),
            number(card.evaluation.infidelity, 2), count(sum(stage.samples for stage in card.stages)),
            duration(sum(stage.seconds for stage in card.stages)),
        ]
        for card in cards
    ]  # fmt: skip
    return Table("Trained networks", columns, rows)


def _card(card: NetworkCard) -> Table:
    from qmcbench.report.document import Table
    from qmcbench.report.numbers import count, duration, number

    found, last = card.evaluation, card.stages[-1]
    values = {
        "parameters": f"{count(card.parameters)} of {card.configuration['wavefunction']['network']}",
        "lattice, J2": f"{card.L}x{card.L}, {card.J2:g}",
        "symmetry": card.symmetry,
        "E/N": f"{_energy(card)}, {found.how}",
        "exact E/N": number(found.exact, 10),
        "relative error": number(found.relative_error, 3),
        "variance, V-score": f"{number(found.variance, 3)}, {number(found.v_score, 3)}",
        "infidelity": number(found.infidelity, 3),
        "evaluated by": found.command,
        "started from": card.start or "fresh parameters",
        "seed": str(card.configuration["run"]["seed"]),
        "steps": " + ".join(str(stage.steps) for stage in card.stages),
        "samples": count(sum(stage.samples for stage in card.stages)),
        "time of the steps": duration(sum(stage.seconds for stage in card.stages)),
        "machine": f"{last.cpu}, {last.cores} cores, ranks: {last.ranks}; {last.date}",
        "versions": ", ".join(f"{package} {version}" for package, version in last.versions.items()),
        "licence": card.licence,
        "SHA-256": card.sha256,
    }
    return Table(card.name, ["what", "value"], [[what, value] for what, value in values.items()])


def _toml(configuration: Mapping[str, Mapping[str, Any]]) -> str:
    """A configuration as `qmcbench train` reads it."""
    lines = []
    for section, values in configuration.items():
        lines.append(f"[{section}]")
        # Text, numbers, booleans and lists of them are written alike in JSON and TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines)
