"""``qmcbench ed`` and ``reference ...``: exact and published energies, networks, verification of reference data."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from qmcbench import reference
from qmcbench.cli import shipped
from qmcbench.cli.common import Json, Quiet, number, print_json
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, dumps
from qmcbench.progress import Bar
from qmcbench.reference.published import KINDS, PublishedEnergy, every_row
from qmcbench.report.numbers import format_value_error

app = typer.Typer(
    help="Published energies with their sources, trained networks, and the verification of all reference data.",
    epilog="Begin with `qmcbench reference show --L 10 --j2 0.5`.",
)
app.command("networks", epilog=shipped.EPILOG)(shipped.command)

UNITS = "energy per site, S.S units, J1 = 1"


@app.command("list", epilog="Example: `qmcbench reference list --L 6 --kind exact`")
def list_(
    L: Annotated[int | None, typer.Option("--L", help="Only this L x L lattice.")] = None,
    j2: Annotated[float | None, typer.Option("--j2", help="Only this J2, in units of J1.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Only one of {', '.join(KINDS)}.")] = None,
    as_json: Json = False,
) -> None:
    """Published energies that may be used, one line each; `show` has the methods."""
    rows = reference.published(L, j2, kind)
    if not rows:
        asked = [(name, value) for name, value in (("L", L), ("j2", j2), ("kind", kind)) if value is not None]
        raise UserError(
            f"No published energy matches {' '.join(f'--{name} {value}' for name, value in asked)}: "
            "leave out an option to see what there is."
        )
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table = [(row.L, row.J2, shown(row), row.kind, row.year, row.cite, row.verified_level) for row in rows]
    print(_table(table, ("L", "J2", "energy", "kind", "year", "source", "seen")))
    print(f"\n{len(rows)} energies; {UNITS}")


@app.command(epilog="Example: `qmcbench reference show --L 6 --j2 0.5`")
def show(
    L: Annotated[int, typer.Option("--L", help="Side of the L x L torus.")],
    j2: Annotated[float, typer.Option("--j2", help="J2 in units of J1.")],
    as_json: Json = False,
) -> None:
    """The best published energy of one lattice and coupling, and all the others with their methods."""
    from qmcbench.reference.store import stored  # which loads SciPy

    usable = reference.published(L, j2)
    here = any(row.L == L and abs(row.J2 - j2) <= 1e-12 for row in stored())
    best: PublishedEnergy | str
    try:
        best = reference.best(L, j2)
    except reference.ReferenceLayerError as error:
        if not usable and not here:
            raise
        best = f"none, as {error}"
    cells = {row.cell for row in usable}
    rows = [row for row in every_row() if row.cell in cells]
    if as_json:
        known = {"here": asdict(reference.exact(L, j2)) if here else None}
        known["best"] = asdict(best) if isinstance(best, PublishedEnergy) else None
        print_json({"L": L, "J2": j2, "unit": UNITS, **known, "published": [asdict(row) for row in rows]})
        return
    print(f"{L}x{L}, J2 = {j2:g} J1; {UNITS}")
    if here:
        print(f"here  {reference.exact(L, j2).energy:.12f}  exact: computed, see `qmcbench ed --L {L} --j2 {j2:g}`")
    print(f"best  {best if isinstance(best, str) else _with_source(best)}\n")
    table = [
        (row.kind, shown(row), row.method, row.year, row.cite, row.verified_level, _mark(row).partition(":")[0])
        for row in rows
    ]
    headers = ("kind", "energy", "method", "year", "source", "seen", "")
    print(_table(table, headers, widths=[None, None, 48, None, 44, None, None]))
    marked = [f"{shown(row)} ({row.cite}) {_mark(row)}" for row in rows if _mark(row)]
    print("\n".join(["", *marked]) if marked else "")


@app.command(epilog="Example: `qmcbench reference verify --out verification.json`")
def verify(
    as_json: Json = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the JSON to this file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Re-derive the reference data as far as that goes (a minute). Exit status 1 if a check fails."""
    from qmcbench.reference import verify as verification

    def progress(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    if out is not None:
        try:
            out.open("a").close()  # refused before the work rather than after it
        except OSError as error:
            raise UserError(f"Cannot write {out}: {error.strerror}; choose another file with --out.") from error
    results = verification.verify(progress=progress)
    text = dumps([asdict(result) for result in results], indent=1)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    failures = [f"{result.name}: {failure}" for result in results for failure in result.failures]
    if as_json:
        print(text)
    else:
        table = [
            (result.name, result.checked, len(result.failures), len(result.explained), result.not_checked)
            for result in results
        ]
        total = [sum(column) for column in zip(*(counts for _, *counts in table), strict=True)]
        print(_table([*table, ("all", *total)], ("check", "checked", "failed", "explained", "not checked")))
        print("\nChecked against")
        for result in results:
            print(f"  {result.name}: {result.way}")
        for title, lines in (
            ("Not checked", [f"{r.name}: {r.not_checked}, {r.why}" for r in results if r.not_checked]),
            ("Disagreements with a reason in the data", [text for r in results for text in r.explained]),
            ("Failures", failures),
        ):
            if lines:
                print("\n" + "\n  ".join([title, *lines]))
    if failures:
        values = "value" if len(failures) == 1 else "values"
        print(f"{len(failures)} {values} of the reference data failed", file=sys.stderr)
        raise typer.Exit(1)


def shown(row: PublishedEnergy) -> str:
    """The energy per site as printed, or to the digits that its error or the printed total leave it."""
    if row.scale == 1 and (row.error is None or "(" in row.quoted):
        return row.quoted
    if row.error is not None:
        return format_value_error(row.energy, row.error)
    return f"{row.energy:.{min(12, math.ceil(-math.log10(row.resolution)))}f}"


def _with_source(row: PublishedEnergy) -> str:
    remembered = "" if row.verified else " (only remembered, seen in no document)"
    return f"{shown(row)}  {row.kind}: {row.method}; {row.cite}, {row.id}{remembered}"


def _mark(row: PublishedEnergy) -> str:
    if row.suspect:
        return f"suspect, excluded: {row.note}"
    return f"conflict: {row.conflict}" if row.conflict else ""


def _table(
    rows: Sequence[Sequence[object]], headers: Sequence[str], widths: Sequence[int | None] | None = None
) -> str:
    from tabulate import tabulate

    # Numbers as they stand: tabulate's own parsing would round and align them by their own digits.
    text = [[str(value) for value in row] for row in rows]
    return tabulate(text, headers, disable_numparse=True, maxcolwidths=widths)


ED_EPILOG = (
    "Examples: `qmcbench ed --L 6 --j2 0.5`; `qmcbench ed --L 4 --j2 0.5 --json`; "
    "`qmcbench ed --L 6 --j2 0.52 --recompute`"
)


def ed(
    L: Annotated[int, typer.Option("--L", help="Linear size of the L x L torus.")],
    j2: Annotated[float, typer.Option("--j2", help="J2 in units of J1.", parser=number, metavar="FLOAT")],
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Diagonalize now instead of asking the store.")
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option("--work", help="Keep what 6x6 takes long to compute there, instead of in the user's cache."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ground state by exact diagonalization (QuSpin): energy, spin correlation, structure factor."""
    from qmcbench.reference.apart import apart
    from qmcbench.reference.pieces import cache_folder

    long = recompute and L == 6
    if work is not None and not long:
        raise typer.BadParameter("--work is for `--L 6 --recompute`: nothing else has parts to keep")
    folder = (work or cache_folder(f"ed_{L}x{L}")) if long else None
    if long and not quiet:
        needed = reference.requirements(L, 1)
        print(
            f"6x6 takes about {needed.seconds / 60:.0f} minutes on 2 cores from nothing, {needed.memory / 1e9:.1f} "
            f"GB of memory and {needed.disk / 1e9:.1f} GB in {folder}, from which an interrupted run goes on.",
            file=sys.stderr,
        )
    with Bar(f"{L}x{L}", 1, quiet=quiet or not long) as bar:
        if long:
            try:
                result = apart(reference.compute, L, j2, folder, progress=bar.stage)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"Interrupted; what is finished is kept in {folder}, and the same command goes on from there."
                ) from None
        else:
            result = reference.exact(L, j2, recompute=recompute)
    if as_json:
        print_json(asdict(result))
        return
    print(f"{L}x{L}, J2 = {j2:g} J1, spin-1/2 J1-J2 Heisenberg model (S.S units)")
    print(f"energy per site     {result.energy:.12f}")
    print(f"residual            {result.residual:.1e}")
    print(f"sector              {result.sector}")
    print(f"ground state        {result.ground_state}")
    for sector, energy in result.other_sectors.items():
        print(f"other sector        {sector}: {energy / L**2:.12f} per site")
    print(f"gap in the sector   {result.gap:.6f} (total energy; other sectors may have lower states)")
    print(f"orbits              {result.states}")
    print(f"S(pi,pi)            {result.structure_factor_pi_pi:.10f}")
    print(f"S(pi,0)             {result.structure_factor_pi_0:.10f}")
    for displacement, value in result.spin_correlation.items():
        print(f"<S_0.S_d> d=({displacement})  {value: .10f}")
    made = result.provenance
    print(f"made by             {made['command']} on {made['date']} with QuSpin {made['versions']['quspin']}")
