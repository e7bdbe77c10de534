"""``qmcbench export``: evaluated energies in the forms in which others keep them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qmcbench.cli.common import Json, print_json

EPILOG = (
    "Examples: `qmcbench export runs/a-energy --format varbench --out rows.md`; "
    "`qmcbench export reports/book --format leaderboard --out rows.json`."
)


def command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that a command has written, or files of records.")],
    form: Annotated[str, typer.Option("--format", help="varbench (Markdown) or leaderboard (JSON).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    as_json: Json = False,
) -> None:
    """Write evaluated energies as rows of VarBench or of the Quantum Many-Body Leaderboard.

    Total energies of Pauli matrices, as both store them. An energy that is not to be trusted is left out and named.
    """
    from qmcbench.export import FORMATS, export
    from qmcbench.files import make_folder, write_atomically
    from qmcbench.store import jsonl

    if form not in FORMATS:
        raise typer.BadParameter(f"--format {form!r} is not one of {', '.join(FORMATS)}")
    made = export(jsonl.find(folders))
    make_folder(out.parent)
    write_atomically(out, made.text(form).encode())
    rows = sum(len(each.rows) for each in made.instances)
    if as_json:
        names = [each.name for each in made.instances]
        print_json({"file": str(out), "rows": rows, "instances": names, "left_out": made.left_out})
        return
    for each in made.left_out:
        print(f"left out: {each}", file=sys.stderr)
    print(f"{rows} rows of {len(made.instances)} instances: {out}")
