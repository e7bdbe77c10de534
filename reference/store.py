"""The committed store of exact ground states, and the command that regenerates it.

``python -m qmcbench.reference.store OUT.json`` writes the 4x4 store anew (``data/ed_4x4.json``), with ``--L 6`` that
of 6x6 (``data/ed_6x6.json``). An interrupted one continues with what is missing in OUT.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from qmcbench.reference.apart import apart
from qmcbench.reference.ed import ExactResult, check_coupling, diagonalize
from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.published import energy

if TYPE_CHECKING:
    from qmcbench.reference.orbits import Progress

STORED_J2 = (0.0, 0.1, 0.2, 0.3, 0.4, 0.44, 0.46, 0.48, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)

_TOLERANCE = 1e-12
_BEGAN = time.perf_counter()


def exact(L: int, J2: float, *, recompute: bool = False) -> ExactResult:
    """Exact ground state, from the committed store where it has it, else (4x4, or if told to) computed.

    J2 is matched within 1e-12. ``recompute`` computes even what is stored; 6x6 is computed only then (see
    `qmcbench.reference.requirements`).

    Raises
    ------
    ReferenceLayerError
        If it is not stored and not computed; says how it can be had.
    """
    check_coupling(J2)
    if not recompute and (stored := _find(L, J2)):
        return stored
    if L != 4 and not recompute:
        from qmcbench.reference.ed_sparse import requirements  # Numba takes a second to import

        needed = requirements(L, 1)
        there = ", ".join(f"{row.J2:g}" for row in _committed(L))
        raise ReferenceLayerError(
            f"{L}x{L} at J2 = {J2:g} is not stored (of {L}x{L}, J2 = {there} are): computing it takes about "
            f"{needed.seconds / 60:.0f} minutes on 2 cores and {needed.memory / 1e9:.0f} GB of memory; it is done by "
            f"`qmcbench ed --L {L} --j2 {J2:g} --recompute`"
        )
    return compute(L, J2)


def compute(L: int, J2: float, folder: Path | None = None, progress: Progress | None = None) -> ExactResult:
    """Exact ground state, computed now; ``folder`` and ``progress`` as in `qmcbench.reference.diagonalize_sparse`."""
    return next(_compute(L, [J2], folder, progress))


def known_energy(L: int, J2: float) -> tuple[float, str] | None:
    """Exact energy per site that needs no computation, and its source: the committed store, else the best published.

    None if there is none at hand.
    """
    if stored := _find(L, J2):
        versions = stored.provenance["versions"]
        return stored.energy, f"qmcbench store, exact diagonalization with QuSpin {versions['quspin']}"
    try:
        row = energy(L, J2, "exact")
    except ReferenceLayerError:
        return None
    return row.energy, f"{row.cite}, {row.id}"


def stored() -> tuple[ExactResult, ...]:
    """Everything in the store."""
    return _committed(4) + _committed(6)


def _find(L: int, J2: float) -> ExactResult | None:
    return next((row for row in stored() if row.L == L and abs(row.J2 - J2) <= _TOLERANCE), None)


@cache
def _committed(L: int) -> tuple[ExactResult, ...]:
    return tuple(_read(files("qmcbench.reference").joinpath("data", f"ed_{L}x{L}.json")))


def _read(file: Traversable) -> list[ExactResult]:
    return [ExactResult(**row) for row in json.loads(file.read_text(encoding="utf-8"))["results"]]


def _compute(
    L: int, couplings: Sequence[float], folder: Path | None, progress: Progress | None
) -> Iterator[ExactResult]:
    if L == 4 or not couplings:
        return (diagonalize(4, J2) for J2 in couplings)
    from qmcbench.reference.ed_sparse import diagonalize_sparse

    return diagonalize_sparse(L, couplings, folder, progress)


def _tell(what: str, done: int, total: int) -> None:
    print(f"{time.perf_counter() - _BEGAN:7.0f} s  {what}, {done} of {total}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None, progress: Progress = _tell) -> int:
    """Regenerate the store of one lattice; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m qmcbench.reference.store", description="Regenerate a store by exact diagonalization."
    )
    parser.add_argument("out", type=Path, metavar="OUT.json", help="file to write")
    parser.add_argument("--L", type=int, choices=(4, 6), default=4, help="side of the lattice (default 4)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for 6x6: keeps its pieces there, to resume from")
    options = parser.parse_args(argv)
    out: Path = options.out
    try:
        results = _read(out) if out.exists() else []
        if not out.parent.is_dir():
            raise ReferenceLayerError(f"{out.parent} is no folder: make it, or name another file")
        if any(row.L != options.L for row in results):
            raise ReferenceLayerError(f"{out} holds another lattice than {options.L}x{options.L}: name another file")
        missing = [J2 for J2 in STORED_J2 if J2 not in {row.J2 for row in results}]
        for result in _compute(options.L, missing, options.work, progress):
            results = [*results, result]
            progress(
                f"{result.L}x{result.L}, J2 = {result.J2}: E/N = {result.energy:.12f}", len(results), len(STORED_J2)
            )
            rows = [asdict(row) for row in sorted(results, key=lambda row: row.J2)]
            store = {"units": "S.S, J1 = 1; energy is per site, the others are totals", "results": rows}
            temporary = out.with_name(f"{out.name}.tmp")
            temporary.write_text(json.dumps(store, indent=1) + "\n", encoding="utf-8")
            temporary.replace(out)
    except (ReferenceLayerError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(apart(main, None, progress=_tell))
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, and the same command goes on from it", file=sys.stderr)
        sys.exit(130)
    except ReferenceLayerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
