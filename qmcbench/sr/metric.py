"""What the shift multiplies: (M + shift D) Delta = G with a diagonal D.

``identity``: D = 1, the paper's. ``spectrum``: D is the sum of M's eigenvalues, so that a shift means the same for
every network and scale of psi. ``diagonal``: D is M's own diagonal (S. Sorella, Phys. Rev. B 64, 024512 (2001)), with
a floor where psi does not depend on a parameter. ``march``: D is the root of the mean squares by which the solutions
have changed from step to step (Y. Gu et al., arXiv:2507.02644).

With y = D^(1/2) Delta and the rows X D^(-1/2) this is the system with D = 1, whichever solver it is given to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.ranks.comm import Communicator

# Of the mean of M's diagonal: what an entry of it counts for at least.
FLOOR = 1e-3


def scale(metric: str, rows: Tensor, moments: Tensor | None, comm: Communicator) -> Tensor | None:
    """D^(-1/2), shape (parameters,), float64; None if D = 1.

    Parameters
    ----------
    metric
        identity, spectrum, diagonal or march.
    rows
        sqrt(w) (O - <O>) of this rank's samples, shape (samples, parameters).
    moments
        The mean squares, shape (parameters,), for march.
    comm
        Of the ranks whose rows make up M.
    """
    if metric == "identity":
        return None
    if moments is not None:
        return moments.pow(-0.25)
    diagonal = comm.sum(torch.linalg.vector_norm(rows, dim=0, dtype=torch.float64).square())
    if metric == "spectrum":
        diagonal = diagonal.sum().expand_as(diagonal)
    floor = (FLOOR * diagonal.mean()).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.maximum(diagonal, floor).rsqrt()
