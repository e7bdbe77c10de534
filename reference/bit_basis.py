"""QuSpin's view of a rectangular cluster: its symmetries as bit operations, and the exchanges on its bonds.

QuSpin's general basis applies lattice symmetries site by site, which is hopeless for the 9 075 135 300 configurations
of 6x6; its `user_basis` takes compiled functions instead: those of `qmcbench.reference.bits`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from qmcbench.reference.bits import INVERTED, REFLECTED, TRANSLATED, TRANSPOSED, Words, symmetries
from qmcbench.reference.errors import ReferenceLayerError

# The second site of each kind of bond, from the first: operators of `symmetric_basis` by this one-letter name.
BONDS = {"x": (0, 1), "y": (1, 0), "d": (1, 1), "a": (1, -1)}
NEAREST, NEXT_NEAREST = "xy", "da"


def pair_masks(rows: int, columns: int, step: tuple[int, int]) -> Words:
    """Two-bit masks of each site and the one ``step`` (down, right) away, in row-major order, shape (sites,)."""
    sites = rows * columns
    first = np.arange(sites)
    i, j = np.divmod(first, columns)
    second = (i + step[0]) % rows * columns + (j + step[1]) % columns
    one = np.uint64(1)
    masks: Words = (one << (sites - 1 - first).astype(np.uint64)) | (one << (sites - 1 - second).astype(np.uint64))
    return masks


@cache
def symmetric_basis(rows: int, columns: int) -> Any:
    """QuSpin's basis of the fully symmetric sector, S^z = 0, whose states are not listed: `Op_bra_ket` needs no list.

    Its operators are the bonds of `BONDS`: the operator ``x`` on ``[site]`` is the exchange on one bond,
    ``(S^+_a S^-_b + S^-_a S^+_b) / 2``, one matrix element per state whose two spins differ.

    Parameters
    ----------
    rows, columns
        Of the cluster; both even, at least 4 and at most 36 sites in all.

    Returns
    -------
    user_basis
        The representative of an orbit is its largest integer.

    Raises
    ------
    ReferenceLayerError
        If QuSpin is missing.
    """
    try:
        from quspin.basis.user import count_particles_sig_64, next_state_sig_64, op_sig_64, user_basis
    except ImportError as cause:
        raise ReferenceLayerError(
            "exact diagonalization needs QuSpin, which cannot be imported: install it with `pip install quspin`"
        ) from cause
    from numba import carray, cfunc  # type: ignore[attr-defined]

    sites = rows * columns
    one, zero = np.uint64(1), np.uint64(0)
    letters = tuple((number, ord(name)) for number, name in enumerate(BONDS))

    @cfunc(next_state_sig_64)
    def next_state(s: Any, counter: Any, N: Any, args: Any) -> Any:
        # The next integer with as many bits set (Gosper).
        lowest = s & (~s + one)
        ripple = s + lowest
        return ripple | (((s ^ ripple) >> np.uint64(2)) // lowest)

    @cfunc(count_particles_sig_64)
    def count_particles(s: Any, count: Any, args: Any) -> None:
        ups = 0
        while s:
            s &= s - one
            ups += 1
        carray(count, 1)[0] = ups

    @cfunc(op_sig_64)
    def exchange(result_pointer: Any, operator: Any, site: Any, N: Any, args: Any) -> Any:
        kind = 0
        for number, letter in letters:
            if operator == letter:
                kind = number
        mask = args[kind * sites + site]
        result = carray(result_pointer, 1)[0]
        pair = result.state & mask
        if pair == zero or pair == mask:  # noqa: SIM109 (Numba)
            result.matrix_ele = 0.0
        else:
            result.state ^= mask
            result.matrix_ele *= 0.5
        return 0

    masks = np.concatenate([pair_masks(rows, columns, step) for step in BONDS.values()])
    particles = {
        "Np": sites // 2,
        "next_state": next_state,
        "next_state_args": np.zeros(1, dtype=np.uint64),
        # One configuration to look at, which is no representative: QuSpin lists none. (QuSpin 1.0.1 has a switch for
        # that, `_make_basis`, which ends in a NameError.)
        "get_Ns_pcon": lambda N, Np: 1,
        "get_s0_pcon": lambda N, Np: np.uint64((1 << Np) - 1),
        "n_sectors": 1,
        "count_particles": count_particles,
        "count_particles_args": np.zeros(1, dtype=np.int32),
    }
    maps = _maps(rows, columns)
    none = np.zeros(1, dtype=np.uint64)
    return user_basis(
        np.uint64,
        sites,
        {"op": exchange, "op_args": masks},
        pcon_dict=particles,
        allowed_ops=set(BONDS),
        block_order=list(maps),
        Ns_block_est=1,
        **{name: (function, period, 0, none) for name, (function, period) in maps.items()},
    )


def parities(rows: int, columns: int, powers: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Parities (see `qmcbench.reference.bits`) of the symmetries whose powers QuSpin returns, shape (n, maps)."""
    kinds = {"translate": TRANSLATED, "reflect": REFLECTED, "transpose": TRANSPOSED, "invert": INVERTED}
    weights = np.array([kinds[name.partition("_")[0]] for name in _maps(rows, columns)])
    found: npt.NDArray[np.int64] = np.bitwise_xor.reduce(powers % 2 * weights, axis=1)
    return found


@cache
def _maps(rows: int, columns: int) -> dict[str, tuple[Any, int]]:
    """Symmetries and their periods as QuSpin wants them, outermost first: it calls the last ones most often."""
    from numba import cfunc
    from quspin.basis.user import map_sig_64

    def compiled(function: Any) -> Any:
        @cfunc(map_sig_64)
        def mapped(s: Any, N: Any, sign: Any, args: Any) -> Any:
            return function(s)

        return mapped

    s = symmetries(rows, columns)
    periods = {
        "reflect_columns": 2,
        "reflect_rows": 2,
        "translate_columns": columns,
        "translate_rows": rows,
        "invert": 2,
    }
    if s.transpose is not None:
        periods = {"transpose": 2} | periods
    return {name: (compiled(getattr(s, name)), period) for name, period in periods.items()}
