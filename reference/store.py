"""The committed store of reference energies, and the command that regenerates it.

``python -m qmcbench.reference.store OUT.json`` writes the 4x4 store anew; the committed copy is ``data/ed.json``.
The published 6x6 energies are in ``data/exact_6x6.toml``, with their sources.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from qmcbench.reference.ed import ExactResult, diagonalize
from qmcbench.reference.errors import ReferenceLayerError

STORED_J2 = (0.0, 0.1, 0.2, 0.3, 0.4, 0.44, 0.46, 0.48, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)

_TOLERANCE = 1e-12


def exact(L: int, J2: float, *, recompute: bool = False) -> ExactResult:
    """Exact ground state, from the committed store where it has it, else computed.

    Parameters
    ----------
    L, J2
        Side of the lattice and next-nearest-neighbour coupling (J1 = 1); J2 is matched within 1e-12.
    recompute
        Compute even what is stored.

    Returns
    -------
    ExactResult
        Energies in S.S units, with provenance.

    Raises
    ------
    ReferenceLayerError
        If it is not stored and cannot be computed (see `qmcbench.reference.diagonalize`); quotes the published energy
        if there is one.
    """
    stored = None if recompute else _find(L, J2)
    try:
        return stored or diagonalize(L, J2)
    except ReferenceLayerError as error:
        if L == 4 or (known := known_energy(L, J2)) is None:
            raise
        energy, source = known
        raise ReferenceLayerError(
            f"{error}, or take the published energy per site, {energy:.12g} ({source})"
        ) from error


def known_energy(L: int, J2: float) -> tuple[float, str] | None:
    """Exact energy that needs no computation: the committed store for 4x4, published values for 6x6.

    Parameters
    ----------
    L, J2
        As in `exact`.

    Returns
    -------
    tuple of float and str, or None
        Energy per site in S.S units and its source; None if no exact value is at hand.
    """
    if stored := _find(L, J2):
        versions = stored.provenance["versions"]
        return stored.energy, f"qmcbench store, exact diagonalization with QuSpin {versions['quspin']}"
    published = _published_6x6() if L == 6 else ()
    row = next((row for row in published if abs(row["J2"] - J2) <= _TOLERANCE), None)
    return (row["energy"], f"{row['cite']}, {row['id']}") if row else None


def _find(L: int, J2: float) -> ExactResult | None:
    return next((row for row in _stored() if row.L == L and abs(row.J2 - J2) <= _TOLERANCE), None)


def _read(name: str) -> str:
    return files("qmcbench.reference").joinpath("data", name).read_text(encoding="utf-8")


@cache
def _stored() -> tuple[ExactResult, ...]:
    return tuple(ExactResult(**row) for row in json.loads(_read("ed.json"))["results"])


@cache
def _published_6x6() -> tuple[dict[str, Any], ...]:
    return tuple(tomllib.loads(_read("exact_6x6.toml"))["energy"])


def main(argv: Sequence[str] | None = None) -> int:
    """Regenerate the 4x4 store; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m qmcbench.reference.store", description="Regenerate the 4x4 store by exact diagonalization."
    )
    parser.add_argument("out", type=Path, metavar="OUT.json", help="file to write")
    out: Path = parser.parse_args(argv).out
    results = []
    try:
        for count, J2 in enumerate(STORED_J2, start=1):
            result = diagonalize(4, J2)
            results.append(asdict(result))
            print(f"{count}/{len(STORED_J2)}: 4x4, J2 = {J2}: E/N = {result.energy:.12f}", file=sys.stderr)
        store = {"units": "S.S, J1 = 1; energy is per site, the others are totals", "results": results}
        out.write_text(json.dumps(store, indent=1) + "\n", encoding="utf-8")
    except (ReferenceLayerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
