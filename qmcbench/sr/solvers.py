"""Solvers of the stochastic-reconfiguration system (M + shift I) Delta = G on one process.

With the weighted, centred rows X_s = sqrt(w_s) (O_s - <O>) and e_s = sqrt(w_s) (E_s - <E>), Eqs. 5-7 of the paper are
G = X^T e and M = X^T X. ``dense`` factorises the N_p x N_p covariance as the paper does; ``sample_space`` solves the
N_s x N_s Gram system instead (Chen & Heyl, Nat. Phys. 20, 1476 (2024)). The two are equal for every shift > 0:
(X^T X + shift)^-1 X^T = X^T (X X^T + shift)^-1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# Columns of O promoted to float64 at once: never the whole matrix.
COLUMNS = 8192
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
    """No shift that was tried made the matrix positive definite (or it is not finite)."""


def centre(derivatives: Tensor, energies: Tensor, weights: Tensor) -> Centred:
    """Weighted, centred samples.

    Parameters
    ----------
    derivatives
        O, shape (samples, parameters); overwritten, to hold it only once.
    energies
        Local (total) energies, shape (samples,), real.
    weights
        Importance weights, shape (samples,), summing to 1.
    """
    root = weights.sqrt()
    for columns in derivatives.split(COLUMNS, dim=1):
        mean = weights @ columns.double()
        columns.sub_(mean.to(columns.dtype)).mul_(root[:, None].to(columns.dtype))
    return Centred(derivatives, root * (energies - weights @ energies))


def dense(samples: Centred, shift: float) -> Solution:
    """Solve with the covariance matrix M (parameters x parameters): Cholesky and two triangular solves (paper)."""
    rows = samples.rows.double()
    gradient = rows.T @ samples.energies
    step, used, retries = _solve(rows.T @ rows, gradient, shift)
    return Solution(step, used, retries)


def sample_space(samples: Centred, shift: float) -> Solution:
    """Solve with the Gram matrix (samples x samples), built from blocks of columns."""
    count = len(samples.rows)
    gram = torch.zeros(count, count, dtype=torch.float64, device=samples.rows.device)
    for columns in samples.rows.split(COLUMNS, dim=1):
        block = columns.double()
        gram.addmm_(block, block.T)
    dual, used, retries = _solve(gram, samples.energies, shift)
    step = torch.cat([columns.double().T @ dual for columns in samples.rows.split(COLUMNS, dim=1)])
    return Solution(step, used, retries)


def _solve(matrix: Tensor, right: Tensor, shift: float) -> tuple[Tensor, float, int]:
    """Solve (matrix + shift) x = right by Cholesky; on failure raise the shift tenfold. ``matrix`` is overwritten."""
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
    raise FactorisationError(
        f"the stochastic-reconfiguration matrix stayed indefinite up to a shift of {added:.1e}; "
        "its samples are probably not finite"
    )


SOLVERS: dict[str, Callable[[Centred, float], Solution]] = {"dense": dense, "sample_space": sample_space}
