"""Expectation values on 4x4 by dense algebra with QuSpin's operators, and vectors as wave functions."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from quspin.basis import spin_basis_general
from quspin.operators import hamiltonian as quspin_operator
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits
from torch import Tensor

from qmcbench.reference import ground_state

Array = NDArray[np.float64]
STEPS = ((0, 1), (1, 0))


@cache
def bond_operator(a: int, b: int) -> csr_matrix:
    """QuSpin's S_a.S_b of the 4x4 lattice on the S^z = 0 basis, in the order of ``configurations``."""
    basis = spin_basis_general(16, Nup=8, pauli=False)
    terms = [["+-", [[0.5, a, b]]], ["-+", [[0.5, a, b]]], ["zz", [[1.0, a, b]]]]
    with threadpool_limits(1):
        made = quspin_operator(
            terms, [], basis=basis, dtype=np.float64, check_herm=False, check_symm=False, check_pcon=False
        )
    return made.tocsr()


def site(i: int, j: int) -> int:
    return i % 4 * 4 + j % 4


def spin_product(a: int, b: int, vector: Array) -> Array:
    """S_a.S_b applied to a vector; S.S = 3/4 on one site."""
    return 0.75 * vector if a == b else bond_operator(min(a, b), max(a, b)) @ vector


@dataclass(frozen=True)
class Expected:
    """What the module's docstring defines, from the operators and loops over sites."""

    correlation: Array
    structure_factor: Array
    bond: Array
    dimer: Array


def expected(vector: Array) -> Expected:
    vector = vector / np.linalg.norm(vector)
    places = [(i, j) for i in range(4) for j in range(4)]
    pair = {(a, b): np.vdot(vector, spin_product(a, b, vector)).real for a in range(16) for b in range(a, 16)}
    correlation = np.zeros((4, 4))
    for di, dj in places:
        for i, j in places:
            correlation[di, dj] += pair[tuple(sorted((site(i, j), site(i + di, j + dj))))] / 16
    k = 2 * np.pi * np.arange(4) / 4
    structure = np.zeros((4, 4))
    for m, n in places:
        structure[m, n] = sum((np.exp(1j * (k[m] * di + k[n] * dj)) * correlation[di, dj]).real for di, dj in places)
    applied = {
        (mu, i, j): spin_product(site(i, j), site(i + di, j + dj), vector)
        for mu, (di, dj) in enumerate(STEPS)
        for i, j in places
    }
    bond = np.array([sum(np.vdot(vector, applied[mu, i, j]).real for i, j in places) / 16 for mu in (0, 1)])
    dimer = np.zeros((2, 4, 4))
    for mu in (0, 1):
        for di, dj in places:
            # <A B> for Hermitian A, B is the scalar product of A psi and B psi; the real part is <(AB + BA) / 2>.
            dimer[mu, di, dj] = sum(
                np.vdot(applied[0, i, j], applied[mu, (i + di) % 4, (j + dj) % 4]).real / 16 for i, j in places
            )
    return Expected(correlation, structure, bond, dimer - bond[0] * bond[:, None, None])


def table(vector: Array) -> tuple[Tensor, Tensor]:
    """log|psi| and phase of a vector; zeros become (-inf, 0)."""
    psi = torch.from_numpy(vector)
    return psi.abs().log(), torch.sgn(psi)


@cache
def exact_state(J2: float) -> tuple[float, Array]:
    """Total energy and vector of the 4x4 ground state."""
    return ground_state(4, J2)
