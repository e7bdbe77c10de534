"""The J1-J2 Hamiltonian in the fully symmetric sector, built once with QuSpin and applied for any J2.

In the amplitudes ``u(r) = psi(r)`` of the orbits' representative configurations the exchange on one bond has the
matrix element 1/2 towards the representative of the exchanged configuration, whatever the orbits' lengths: these
enter the scalar product only, ``<u|v> = sum_r u(r) v(r) / n(r)`` with ``n(r)`` the order of the stabiliser. So a list
of representatives is all there is to store, in 4 bytes per exchange (5 GB for 6x6), and it serves every J2.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qmcbench.reference.bit_basis import BONDS, NEAREST, NEXT_NEAREST, pair_masks, symmetric_basis
from qmcbench.reference.bits import Words, representative
from qmcbench.reference.errors import ReferenceLayerError

# Parts of the list of exchanges that are computed, reported and kept one by one.
CHUNKS = 32

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sector:
    """Orbits of one cluster, and where the exchange on each bond leads.

    Attributes
    ----------
    rows, columns
        Of the cluster.
    states
        Representatives as integers (see `qmcbench.reference.bit_basis`), descending, shape (n,), uint64.
    stabiliser
        Order of each representative's stabiliser, shape (n,), float64.
    starts
        Where each representative's exchanges begin in `targets`, shape (n + 1,), int64.
    nearest
        How many of them are on nearest-neighbour bonds; these stand first. Shape (n,), int64.
    targets
        Index of the representative of each exchanged configuration, int32.
    seconds
        What the build took, in all of its sittings.
    """

    rows: int
    columns: int
    states: Words
    stabiliser: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int32]
    seconds: float


def build(rows: int, columns: int, folder: Path | None = None, progress: Progress | None = None) -> Sector:
    """Basis by QuSpin, and the exchanges of all bonds.

    The exchanges on one bond of each kind are compared with QuSpin's operators, element by element.

    Parameters
    ----------
    rows, columns
        Of the cluster, see `qmcbench.reference.bit_basis.symmetric_basis`.
    folder
        Where finished parts are kept, so that an interrupted build resumes; None keeps nothing.
    progress
        Called with what is being done, how many parts are done and how many there are.

    Raises
    ------
    ReferenceLayerError
        If QuSpin is missing, or the folder holds parts of another build.
    """
    report = progress or (lambda what, done, total: None)
    kept = _Folder(folder)
    total = CHUNKS + 2
    report("basis", 0, total)
    states, stabiliser = kept.get("basis", lambda: _basis(rows, columns))
    # The largest representative of all has the top half filled.
    if int(states[0]) != (1 << rows * columns) - (1 << rows * columns // 2):
        raise _foreign(rows, columns, folder)
    counts = {
        kind: antiparallel_count(states, rows, columns, map(BONDS.__getitem__, kind))
        for kind in (NEAREST, NEXT_NEAREST)
    }
    starts = np.zeros(len(states) + 1, dtype=np.int64)
    np.cumsum(counts[NEAREST] + counts[NEXT_NEAREST], out=starts[1:])
    targets = np.empty(starts[-1], dtype=np.int32)
    masks = np.concatenate([pair_masks(rows, columns, BONDS[bond]) for bond in NEAREST + NEXT_NEAREST])
    find = _target_finder(rows, columns)
    edges = np.linspace(0, len(states), CHUNKS + 1).astype(np.int64)
    for chunk, (begin, end) in enumerate(pairwise(edges)):
        report("exchanges", chunk + 1, total)
        size = starts[end] - starts[begin]

        def compute(begin: int = begin, end: int = end, size: int = size) -> tuple[npt.NDArray[np.int32]]:
            out = np.empty(size, dtype=np.int32)
            find(states, starts, masks, begin, end, out)
            return (out,)

        (found,) = kept.get(f"exchanges_{chunk:02d}", compute)
        if len(found) != size:
            raise _foreign(rows, columns, folder)
        targets[starts[begin] : starts[end]] = found
    report("built", total, total)
    return Sector(rows, columns, states, stabiliser, starts, counts[NEAREST], targets, kept.seconds)


def _foreign(rows: int, columns: int, folder: Path | None) -> ReferenceLayerError:
    return ReferenceLayerError(
        f"{folder} holds parts of another build than {rows}x{columns}: name another folder, or delete it"
    )


def _basis(rows: int, columns: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Representatives and the orders of their stabilisers, from QuSpin.

    Its operators on one bond of each kind are compared with the exchanges found here: what QuSpin has as the matrix
    element, ``sqrt(n(target) / n(source)) / 2``, is the 1/2 of this module in its scalar product.
    """
    basis = symmetric_basis(rows, columns)
    # A copy: QuSpin's array does not outlive its basis.
    states, orders = basis.states.copy(), basis._n.astype(np.float64)
    find = _target_finder(rows, columns)
    for bond in BONDS:
        # The last site: the first rows of representatives are full of parallel spins.
        mask = pair_masks(rows, columns, BONDS[bond])[-1:]
        movable = antiparallel(states, mask[0])
        starts = np.concatenate([[0], movable.cumsum()])
        targets = np.empty(starts[-1], dtype=np.int32)
        find(states, starts, mask, 0, len(states), targets)
        elements, found, source = basis.Op(bond, [rows * columns - 1], 1.0, np.float64)
        expected = np.sqrt(orders[targets] / orders[movable]) / 2
        same = np.array_equal(found, targets) and np.array_equal(source, movable.nonzero()[0])
        if not (same and np.allclose(elements, expected, rtol=1e-14, atol=0)):
            raise AssertionError(f"QuSpin finds other exchanges on bonds of kind {bond!r} of {rows}x{columns}")
    return states, orders


def antiparallel(states: Words, mask: np.uint64) -> npt.NDArray[np.bool_]:
    """Which configurations have opposite spins on the two sites of ``mask``, shape as ``states``."""
    pair = states & mask
    found: npt.NDArray[np.bool_] = (pair != 0) & (pair != mask)
    return found


def antiparallel_count(
    states: Words, rows: int, columns: int, steps: Iterable[tuple[int, int]]
) -> npt.NDArray[np.int64]:
    """How many pairs of sites one of ``steps`` (down, right) apart have opposite spins, shape as ``states``."""
    count = np.zeros(len(states), dtype=np.int64)
    for step in steps:
        for mask in pair_masks(rows, columns, step):
            count += antiparallel(states, mask)
    return count


@cache
def _target_finder(rows: int, columns: int) -> Callable[..., None]:
    """Compiled ``(states, starts, masks, begin, end, out)``: writes the targets of states begin to end."""
    largest = representative(rows, columns)

    @numba.njit(parallel=True)
    def find(states: Any, starts: Any, masks: Any, begin: int, end: int, out: Any) -> None:
        for r in numba.prange(begin, end):
            position = starts[r] - starts[begin]
            for mask in masks:
                pair = states[r] & mask
                if pair != 0 and pair != mask:
                    # Binary search in the descending states.
                    word = largest(states[r] ^ mask)
                    low, high = 0, len(states)
                    while low < high:
                        middle = (low + high) // 2
                        if states[middle] > word:
                            low = middle + 1
                        else:
                            high = middle
                    out[position] = low
                    position += 1

    return find


class _Folder:
    """Finished parts of a build, each a list of arrays in one file, and the seconds that they took."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seconds = 0.0
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ReferenceLayerError(f"cannot make {folder} ({error.strerror}): name another folder") from error

    def get(self, name: str, compute: Callable[[], tuple[npt.NDArray[Any], ...]]) -> tuple[npt.NDArray[Any], ...]:
        """The arrays of this part, from its file if there is one."""
        path = self.folder / f"{name}.npz" if self.folder else None
        if path and path.exists():
            found, seconds = self._load(path)
            self.seconds += seconds
            return found
        began = time.perf_counter()
        computed = compute()
        seconds = time.perf_counter() - began
        self.seconds += seconds
        if path:
            self._save(path, (*computed, np.float64(seconds)))
        return computed

    def _load(self, path: Path) -> tuple[tuple[npt.NDArray[Any], ...], float]:
        try:
            with np.load(path, allow_pickle=False) as file:
                *found, seconds = file.values()
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ReferenceLayerError(f"{path} cannot be read ({error}): delete it, to compute it again") from error
        return tuple(found), float(seconds)

    def _save(self, path: Path, arrays: tuple[Any, ...]) -> None:
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as stream:
                np.savez(stream, *arrays)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ReferenceLayerError(
                f"cannot write {path} ({error.strerror}): make room or name another folder, and run it again"
            ) from error
