"""quantax's variational states as targets; quantax itself is never imported.

Sites of ``quantax.sites.Square(L)`` are numbered row by row, as here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qmcbench.errors import UserError
from qmcbench.gates.targets.netket import padded
from qmcbench.gates.targets.target import Size, Target
from qmcbench.gates.targets.wrap import wave_function


def is_state(value: object) -> bool:
    """Whether ``value`` looks like a variational state of quantax."""
    return callable(value) and all(hasattr(value, name) for name in ("Nsites", "Nmodes", "get_params_flatten"))


def target(state: Any, *, name: str, size: Size) -> Target:
    """A ``Variational`` state of spins on a square.

    Raises
    ------
    UserError
        If it is none.
    """
    L = math.isqrt(state.Nsites)
    if state.Nmodes != state.Nsites or state.Nsites != L * L:
        raise UserError(f"{name} has {state.Nmodes} modes on {state.Nsites} sites, but spins on a square have L * L.")
    size.check(name, L)

    def log_value(rows: NDArray[np.int8]) -> NDArray[np.complex128]:
        value = state(rows)
        # Small amplitudes are told apart by their logarithm, if it is at hand.
        size = getattr(value, "logabs", None)
        sign = np.array(getattr(value, "sign", value), np.complex128)
        with np.errstate(divide="ignore"):  # psi = 0
            log_psi: NDArray[np.complex128] = np.log(np.abs(sign)) + 1j * np.angle(sign)
        return log_psi if size is None else log_psi + np.array(size, np.float64)

    return Target(name=name, L=L, J2=size.coupling(), psi=wave_function(padded(log_value, np.arange(L * L)), name, L))
