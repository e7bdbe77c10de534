"""Solvers of the stochastic-reconfiguration system (M + shift I) Delta = G.

With the weighted, centred rows X_s = sqrt(w_s) (O_s - <O>) and e_s = sqrt(w_s) (E_s - <E>), Eqs. 5-7 of the paper are
G = X^T e and M = X^T X. ``dense`` factorises the N_p x N_p covariance as the paper does; ``sample_space`` solves the
N_s x N_s Gram system instead (Chen & Heyl, Nat. Phys. 20, 1476 (2024)). The two are equal for every shift > 0:
(X^T X + shift)^-1 X^T = X^T (X X^T + shift)^-1.

Each rank brings the rows of its own chains. With these two, the ranks share the work of building the matrix, but each
holds all of it and rank 0 alone factorises it; :mod:`qmcbench.sr.scalapack` distributes that too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from qmcbench.ranks.comm import Communicator, Serial, on_root, share

SERIAL = Serial()
# Columns of O promoted to float64 at once: few enough that they are still in the cache when they are used.
COLUMNS = 1024
# Rows of the Gram matrix computed at once, up to the diagonal: the rest is its mirror image.
STRIP = 128
RETRIES = 8


class Centred(NamedTuple):
    """Weighted and centred samples."""

    rows: Tensor
    """sqrt(w) (O - <O>), shape (samples, parameters), in the precision of O."""
    energies: Tensor
    """sqrt(w) (E - <E>), shape (samples,), float64."""


class Solution(NamedTuple):
    """A step, and what it took."""

    step: Tensor
    """Delta = (M + shift)^-1 G, shape (parameters,), float64."""
    shift: float
    """The diagonal shift of the factorisation that succeeded."""
    retries: int
    """How often the factorisation failed and the shift was raised tenfold."""


class FactorisationError(ArithmeticError):
    """No shift up to ``shift`` made the matrix positive definite (or it is not finite)."""

    def __init__(self, shift: float) -> None:
        self.shift = shift
        super().__init__(shift)

    def __str__(self) -> str:
        return (
            f"the stochastic-reconfiguration matrix stayed indefinite up to a shift of {self.shift:.1e}; "
            "its samples are probably not finite"
        )


def centre(
    derivatives: Tensor, energies: Tensor, weights: Tensor, comm: Communicator = SERIAL, *, keep_norm: bool = False
) -> Centred:
    """Weighted, centred samples of this rank; the averages are over the samples of all ranks.

    Parameters
    ----------
    derivatives
        O, shape (samples, parameters); overwritten if real, to hold it only once.
    energies
        Local (total) energies, shape (samples,), complex with complex O.
    weights
        Importance weights, shape (samples,), summing to 1 over all ranks.
    keep_norm
        Leave O as it is, which adds <O> <O>^T to M: a step that changes the norm of psi then has a price. G does not
        change, as the centred energies have no mean.

    Returns
    -------
    Centred
        Of complex derivatives twice as many rows: X is then their real parts above their imaginary ones, and e
        likewise, so that M = X^T X = Re(O^+ O) and G = X^T e = Re(O^+ E), what imaginary time demands of real
        parameters (S. Yuan et al., Quantum 3, 191 (2019)).
    """
    if derivatives.is_complex():
        parts = torch.view_as_real(derivatives).unbind(-1), (energies.real, energies.imag)
        halves = [
            centre(rows.contiguous(), values, weights, comm, keep_norm=keep_norm)
            for rows, values in zip(*parts, strict=True)
        ]
        return Centred(*map(torch.cat, zip(*halves, strict=True)))
    root = weights.sqrt()
    for columns in derivatives.split(COLUMNS, dim=1):
        if not keep_norm:
            columns.sub_(comm.sum(weights @ columns.double()).to(columns.dtype))
        columns.mul_(root[:, None].to(columns.dtype))
    return Centred(derivatives, root * (energies - comm.sum(weights @ energies)))


def dense(samples: Centred, shift: float, comm: Communicator = SERIAL) -> Solution:
    """Solve with the covariance matrix M (parameters x parameters): Cholesky and two triangular solves (paper)."""
    rows = samples.rows.double()
    gradient = comm.sum(rows.T @ samples.energies)
    covariance = comm.sum(rows.T @ rows)
    step, used, retries = on_root(comm, lambda: _solve(covariance, gradient, shift))
    return Solution(step, used, retries)


def sample_space(
    samples: Centred, shift: float, comm: Communicator = SERIAL, *, precision: torch.dtype = torch.float64
) -> Solution:
    """Solve with the Gram matrix (samples x samples), built from blocks of columns; each rank computes its rows.

    Only its lower triangle is, in strips of rows, and in the given ``precision``; all else is in float64. In float32
    it is off by some 1e-7 of its largest eigenvalue: a shift below that may have to be raised.
    """
    energies = comm.gather(samples.energies)
    mine = share(len(energies), comm.rank, comm.size)
    own = torch.zeros(len(samples.rows), len(energies), dtype=precision, device=samples.rows.device)
    for columns in samples.rows.split(COLUMNS, dim=1):
        block = columns.to(precision)
        add_lower(own, block, comm.gather(block), mine.start)
    gram = comm.gather(own).double()
    dual, used, retries = on_root(comm, lambda: _solve(gram, energies, shift))
    # Into place: a small result kept after each block would keep the heap from using that block's memory again.
    step = dual.new_empty(samples.rows.shape[1])
    for columns, part in zip(samples.rows.split(COLUMNS, dim=1), step.split(COLUMNS), strict=True):
        torch.mv(columns.double().T, dual[mine.start : mine.stop], out=part)
    return Solution(comm.sum(step), used, retries)


def add_lower(gram: Tensor, rows: Tensor, everything: Tensor, first: int) -> None:
    """Add ``rows @ everything.T`` to ``gram`` up to its diagonal (and a little beyond).

    Parameters
    ----------
    gram
        Rows ``first``, ``first`` + 1, ... of the Gram matrix, shape (own, samples).
    rows
        A block of columns of these samples, shape (own, columns).
    everything
        The same columns of all samples, shape (samples, columns).
    """
    for start in range(0, len(rows), STRIP):
        strip = rows[start : start + STRIP]
        end = first + start + len(strip)
        gram[start : start + STRIP, :end].addmm_(strip, everything[:end].T)


def _solve(matrix: Tensor, right: Tensor, shift: float) -> tuple[Tensor, float, int]:
    """Solve (matrix + shift) x = right by Cholesky; on failure raise the shift tenfold.

    Of ``matrix`` the lower triangle is read, and its diagonal overwritten.
    """
    diagonal = matrix.diagonal()
    added = 0.0
    for attempt in range(RETRIES):
        trial = shift * 10.0**attempt
        diagonal += trial - added
        added = trial
        factor, info = torch.linalg.cholesky_ex(matrix)
        if info.item() == 0:
            half = torch.linalg.solve_triangular(factor, right[:, None], upper=False)
            full = torch.linalg.solve_triangular(factor.mT, half, upper=True)
            return full.squeeze(1), trial, attempt
    raise FactorisationError(added)


SOLVERS: dict[str, Callable[[Centred, float, Communicator], Solution]] = {
    "dense": dense,
    "sample_space": sample_space,
    "sample_space_float32": partial(sample_space, precision=torch.float32),
}
