"""``qmcbench gate``: gates on anybody's wave function."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qmcbench.cli.common import Json, Quiet, print_json, typed

if TYPE_CHECKING:
    from qmcbench.gates.run import Outcome, Plan
    from qmcbench.gates.targets.target import Target
    from qmcbench.store.records import Run

EPILOG = (
    "Examples: `qmcbench gate` (the suite's own engine); `qmcbench gate mypackage.model:psi --L 4 --j2 0.5`; "
    "`qmcbench gate samples.npz`; `qmcbench gate energies.csv`; `qmcbench gate --list`; "
    "`qmcbench gate mypackage.model:psi --only 'sampler/*' --seed 3`. "
    "Exit status 0: all passed, 1: one failed, 2: usage, 3: inconclusive, or nothing ran."
)


def command(
    target: Annotated[
        str,
        typer.Argument(
            help="`package.module:name`, `reference:NAME` (`qmcbench reference networks`), or a file (.npz, .csv, "
            ".json, .nk, .safetensors); else the suite's engine."
        ),
    ] = "builtin",
    L: Annotated[int | None, typer.Option("--L", help="Lattice; 4 unless the target says another.")] = None,
    j2: Annotated[float | None, typer.Option("--j2", help="Coupling in units of J1; 0.5 likewise.")] = None,
    only: Annotated[list[str], typer.Option("--only", help="Names of gates, or patterns (repeatable).")] = [],  # noqa: B006
    level: Annotated[list[str], typer.Option("--level", help="Levels of gates (repeatable).")] = [],  # noqa: B006
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes; leave out what takes long.")] = False,
    rate: Annotated[float, typer.Option("--rate", help="Family-wise false-alarm rate of the run.")] = 1e-3,
    effect: Annotated[list[str], typer.Option("--effect", help="GATE=SIZE: smallest effect to be seen.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
    junit: Annotated[Path | None, typer.Option("--junit", help="File for the results as JUnit XML.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for records and a page to look at.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the gates and run nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a wave function, samples or energies of any code against what is known exactly."""
    from qmcbench.gates import summary
    from qmcbench.gates.run import Plan, parse_effects, recorded

    plan = Plan(only=only, levels=level, quick=quick, seed=seed, rate=rate, effects=parse_effects(effect))
    if show:
        _list(plan)
        return
    from qmcbench.gates.targets.load import load
    from qmcbench.report.gates.pages import gates_table
    from qmcbench.store import jsonl

    tested = load(target, L, j2)
    run = recorded(tested, plan, _outcomes(tested, plan, quiet=quiet), typed())
    if out is not None:
        _write(run, out)
    if junit is not None:
        from qmcbench.files import make_parents, write_atomically
        from qmcbench.gates.junit import document

        make_parents(junit)
        write_atomically(junit, document(run))
    if as_json:
        print_json(jsonl.as_object(run))
    else:
        print(f"{gates_table(run, skipped=False).text()}\n{summary.headline(run)}")
    for words in summary.failures(run):
        print(words, file=sys.stderr)
    if status := summary.status(run):
        raise typer.Exit(status)


def _outcomes(target: Target, plan: Plan, *, quiet: bool) -> list[Outcome]:
    """The outcomes; Ctrl-C keeps those of the gates that have finished."""
    from qmcbench.gates.registry import select
    from qmcbench.gates.run import outcomes
    from qmcbench.progress import Bar

    total = len(select(plan.only, plan.levels, quick=plan.quick))
    done: list[Outcome] = []
    with Bar(f"gates of {target.name}", total, quiet=quiet) as bar:
        try:
            for outcome in outcomes(target, plan):
                done.append(outcome)
                bar.update(len(done), outcome.gate.name)
        except KeyboardInterrupt:
            print(f"Interrupted after {len(done)} of {total} gates; those are shown.", file=sys.stderr)
    return done


def _write(run: Run, out: Path) -> None:
    from qmcbench.files import make_folder
    from qmcbench.report.book import report
    from qmcbench.store import jsonl

    make_folder(out)
    jsonl.save(out, "gate", run)
    report([out], out)


def _list(plan: Plan) -> None:
    from qmcbench.gates.registry import select
    from qmcbench.report.document import Table

    rows = [
        [each.name, each.kind, "" if each.effect is None else f"{each.effect.size:g} {each.effect.unit}", each.about]
        for each in select(plan.only, plan.levels, quick=plan.quick)
    ]
    columns = ["gate", "kind", "smallest effect", "what it proves"]
    print(Table(f"{len(rows)} gates", columns, rows).text())  # type: ignore[arg-type]
