"""Checks of the engine against exact diagonalization: full sums on 4x4, finite differences, dense algebra.

What is claimed of a trained wave function's energy stands in :mod:`qmcbench.gates.energies`.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from qmcbench import reference
from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.gates.check import Check
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import all_configurations
from qmcbench.local_energy import local_energies
from qmcbench.ranks.comm import Serial
from qmcbench.sampler import Chains, Sampler
from qmcbench.sr import SOLVERS, Centred, centre, dense, sample_space

STEPS = (1e-5, 1e-6, 1e-7, 1e-8)
"""Of finite differences: a kink of the network (where a maximum changes over) may lie within the longer ones."""


def _exact(name: str, value: float, bound: float, statement: str) -> Check:
    return Check(name=name, check="exact", value=value, bound=bound, statement=statement)


def matrix_elements(J2: float) -> Check:
    """Hamiltonian against QuSpin's matrix, element by element, 4x4 in S^z = 0."""
    spins, exact = reference.hamiltonian_matrix(4, J2)
    ours = sparse_hamiltonian(J1J2(4, J2), torch.from_numpy(spins))
    return _exact(
        f"matrix elements, 4x4, J2 = {J2:g}",
        float(abs(ours - exact).max()),
        1e-13,
        f"All {exact.shape[0]} x {exact.shape[1]} matrix elements equal QuSpin's (largest difference).",
    )


def sparse_hamiltonian(hamiltonian: J1J2, spins: Tensor) -> scipy.sparse.csr_array:
    """Matrix of the engine's Hamiltonian over ``spins`` (states, L, L), which must be closed under it."""
    codes = _codes(spins)
    order = codes.argsort()
    movable = hamiltonian.antiparallel(spins)
    row, bond = movable.nonzero(as_tuple=True)
    connected = _codes(hamiltonian.exchange(spins, row, bond))
    column = order[torch.searchsorted(codes[order], connected)]
    n = len(spins)
    values = torch.cat([hamiltonian.diagonal(movable).sum(1), hamiltonian.off_diagonal(bond)])
    index = torch.arange(n)
    rows, columns = torch.cat([index, column]), torch.cat([index, row])
    matrix = scipy.sparse.coo_array((values.numpy(), (rows.numpy(), columns.numpy())), shape=(n, n))
    return scipy.sparse.csr_array(matrix)


def _codes(spins: Tensor) -> Tensor:
    """Each configuration of up to 62 sites as one integer, shape (batch,)."""
    up = (spins.flatten(1) > 0).to(torch.int64)
    return up @ (2 ** torch.arange(up.shape[1]))


@torch.no_grad()
def full_sum_energy(psi: Ansatz, J2: float) -> float:
    """<psi|H|psi> / <psi|psi> per site by a sum over all 4x4 configurations; nan if a term of it is not finite."""
    spins = all_configurations(4)
    log_psi, phase = amplitudes(psi, spins)
    energies = local_energies(psi, J1J2(4, J2), spins, log_psi, phase)
    weights = torch.softmax(2 * log_psi, 0)
    # A configuration with psi = 0 has no local energy and no weight; a local energy that is not finite elsewhere must
    # be seen.
    terms = torch.where(weights == 0, 0.0, weights * energies.real)
    return float(terms.sum()) / 16


def full_sum(psi: Ansatz, J2: float) -> Check:
    """Full-sum energy through local energies against psi^T H psi / psi^T psi with QuSpin's H."""
    spins, matrix = reference.hamiltonian_matrix(4, J2)
    with torch.no_grad():
        log_psi, phase = amplitudes(psi, torch.from_numpy(spins))
    vector = (phase * (log_psi - log_psi.max()).exp()).numpy()
    expected = np.vdot(vector, matrix @ vector).real / np.vdot(vector, vector).real / 16
    return _exact(
        f"full-sum energy, 4x4, J2 = {J2:g}",
        abs(full_sum_energy(psi, J2) - expected),
        1e-10,
        "The mean local energy over all configurations equals psi^T H psi / psi^T psi with QuSpin's H (float64).",
    )


def derivatives(psi: nn.Module, L: int, seed: int = 0) -> Check:
    """Log-derivatives of a float64 wave function against central finite differences, along random directions.

    Each sample is held against the step that agrees best with it: a wrong derivative is wrong at all of them, while a
    kink lies within the longest only.
    """
    generator = torch.Generator().manual_seed(seed)
    chains = Chains.neel(L, 8)
    Sampler(L, seed).advance(psi, chains, 2 * L * L, 0.0)
    ours = log_derivatives(psi, chains.spins)
    worst = []
    for _ in range(4):
        direction = torch.randn(ours.shape[1], generator=generator, dtype=ours.dtype)
        slopes = [_slope(psi, chains.spins, direction, step) for step in STEPS]
        off = (ours @ direction - torch.stack(slopes)).abs()
        scale = (ours.norm(dim=1) * direction.norm()).clamp(min=1e-300)
        # A difference that is not a number agrees with nothing.
        worst.append((off.nan_to_num(torch.inf).amin(0) / scale).amax())
    return _exact(
        f"log-derivatives, {L}x{L}",
        float(torch.stack(worst).nan_to_num(torch.inf).amax()),
        1e-8,
        "Per-sample log-derivatives along random directions equal central finite differences (relative to |O| |d|).",
    )


@torch.no_grad()
def _slope(psi: nn.Module, spins: Tensor, direction: Tensor, step: float) -> Tensor:
    """Central difference of log|psi| along ``direction``, shape (batch,); the parameters end as they were."""
    parameters = list(psi.parameters())
    start = nn.utils.parameters_to_vector(parameters).clone()
    values: list[Tensor] = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * step * direction, parameters)
        values.append(amplitudes(psi, spins)[0])
    nn.utils.vector_to_parameters(start, parameters)
    return (values[0] - values[1]) / (2 * step)


def solvers(psi: nn.Module, J2: float, seed: int = 0) -> Check:
    """The parameter-space and sample-space solvers give the same step."""
    samples = _centred(psi, J2, seed)
    one, other = dense(samples, 1e-3).step, sample_space(samples, 1e-3).step
    return _exact(
        "dense = sample-space solver",
        float((one - other).norm() / one.norm()),
        1e-8,
        f"{len(one)} parameters, {len(samples.rows)} samples, shift 1e-3: relative difference of the two steps.",
    )


def solver_precision(psi: nn.Module, J2: float, seed: int = 0) -> Check:
    """A Gram matrix in float32 changes the step by far less than the statistical error of the step."""
    samples = _centred(psi, J2, seed)
    samples = samples._replace(rows=samples.rows.float())
    one, other = (SOLVERS[name](samples, 1e-3, Serial()).step for name in ("sample_space", "sample_space_float32"))
    return _exact(
        "Gram matrix in float32",
        float((one - other).norm() / one.norm()),
        1e-3,
        f"{len(one)} parameters, {len(samples.rows)} samples, shift 1e-3: relative difference of the step from that "
        "of a Gram matrix in float64.",
    )


def _centred(psi: nn.Module, J2: float, seed: int) -> Centred:
    """96 samples of |psi| on 4x4, float64."""
    hamiltonian, chains = J1J2(4, J2), Chains.neel(4, 96)
    sweep = Sampler(4, seed).advance(psi, chains, 160, 1.0)
    energies = local_energies(psi, hamiltonian, chains.spins, sweep.log_psi, sweep.phase).real
    weights = torch.softmax(sweep.log_psi, 0)
    return centre(log_derivatives(psi, chains.spins).double(), energies, weights)
