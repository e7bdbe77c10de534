"""``qmcbench evaluate --exact``: a full sum instead of samples."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmcbench.exact import ExactEvaluation
    from qmcbench.infidelity import Infidelity
    from qmcbench.report.document import Cell, Table


RECORDS = "full-sum"
"""The name of the record in the store of a folder."""


def print_exact(
    checkpoint: Path,
    L: int | None,
    j2: float | None,
    symmetry: str | None = None,
    *,
    out: Path | None = None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Evaluate a checkpoint by a full sum, or its infidelity alone by samples, and print the result.

    The full sum leaves a record in the folder ``out``, if there is one.

    Raises
    ------
    UserError
        If the checkpoint cannot be read, or a record is asked for and the wave function lacks a symmetry.
    """
    from qmcbench.cli.common import print_json
    from qmcbench.exact import exact_energy_of
    from qmcbench.infidelity import infidelity_of
    from qmcbench.sector import NoSector

    found: ExactEvaluation | Infidelity
    try:
        found = exact_energy_of(checkpoint, L=L, J2=j2, symmetry=symmetry, quiet=quiet)
        shown = table(found)
        if out is not None:
            _keep(found, checkpoint, symmetry, out)
    except NoSector as error:
        if out is not None:
            raise
        print(f"{error} This is its infidelity by samples.", file=sys.stderr)
        found = infidelity_of(checkpoint, L=L, J2=j2, symmetry=symmetry, quiet=quiet)
        shown = sampled(found)
    if as_json:
        print_json(asdict(found))
    else:
        print(shown.text())


def _keep(found: ExactEvaluation, checkpoint: Path, symmetry: str | None, out: Path) -> None:
    """Write the record of a full sum."""
    from qmcbench import provenance
    from qmcbench.checkpoint import digest, read
    from qmcbench.cli.common import typed
    from qmcbench.estimates import full_sum, network_of
    from qmcbench.files import make_folder
    from qmcbench.store import jsonl
    from qmcbench.store.records import Run
    from qmcbench.training import projected

    stored = read(checkpoint)
    config = projected(stored.config, symmetry)
    record = full_sum(found, network_of(stored, config, digest(checkpoint)))
    make_folder(out)
    made = provenance.collect(typed())
    jsonl.save(out, RECORDS, Run(job="evaluate exact", provenance=made, records=(record,), seconds=record.seconds))


def table(found: ExactEvaluation) -> Table:
    """The evaluation, for a terminal."""
    from qmcbench.report.document import Table

    rows: list[list[str | Cell]] = [
        ["energy", f"{found.energy:.10f}", f"relative error {found.relative_error:.3e}"],
        ["exact", f"{found.exact_energy:.10f}", f"sector {found.ground_sector}"],
        ["variance of E/N", f"{found.variance:.4e}", f"V-score {found.v_score:.3e}"],
        ["infidelity", f"{found.infidelity:.4e}", f"sector {found.sector}"],
        ["one Lanczos step", f"{found.one_step_energy:.10f}", f"variance {found.one_step_variance:.4e}"],
    ]
    if found.extrapolated_energy is not None:
        rows.append(["extrapolated", f"{found.extrapolated_energy:.10f}", "to variance 0; no bound"])
    what = "configurations" if found.sector == "none" else "orbits"
    title = f"{found.L}x{found.L}, J2 = {found.J2:g} J1: full sum over {found.configurations} {what} (S.S units)"
    return Table(title, ["per site", ">value", ""], rows)


def sampled(found: Infidelity) -> Table:
    """The infidelity by Monte Carlo, for a terminal."""
    from qmcbench.report.document import Table

    rows: list[list[str | Cell]] = [["infidelity", f"{found.infidelity:.5f}", f"+- {found.sigma:.1e}"]]
    title = f"{found.L}x{found.L}, J2 = {found.J2:g} J1: {found.samples} samples of each state"
    return Table(title, ["", ">value", ""], rows)
