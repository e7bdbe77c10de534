"""Projections on 4x4, exactly: energies by full sums, and each one-dimensional sector against QuSpin's own block."""

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from dense import Array
from plain import lively
from quspin.basis import spin_basis_general
from quspin.operators import hamiltonian as quspin_operator
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits
from torch import Tensor

from qmcbench import group
from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.sign import MarshallSign, marshall_sign
from qmcbench.ansatz.symmetry import Projected
from qmcbench.gates.checks import full_sum_energy

J2 = 0.5
GENERATORS = ("rotation", "reflection", "column shift", "spin flip")
Signs = tuple[int, ...]
"""The characters of these generators."""

SECTORS = [
    pytest.param(
        signs, id=", ".join(f"{'-' * (sign < 0)}{name}" for name, sign in zip(GENERATORS, signs, strict=True))
    )
    for signs in [(1, 1, 1, 1), (1, -1, -1, 1), (-1, 1, 1, -1), (-1, -1, -1, -1)]
]


def symmetry_of(signs: Signs) -> str:
    return ", ".join(f"{'-' * (sign < 0)}{name}" for name, sign in zip(GENERATORS, signs, strict=True))


@cache
def spectrum(signs: Signs) -> Array:
    """Energies per site of QuSpin's block of the sector: its own symmetries, its own reduction."""
    rotation, reflection, shift, flip = (sign < 0 for sign in signs)
    grid = np.arange(16).reshape(4, 4)
    with warnings.catch_warnings():
        # In a one-dimensional representation the order of the symmetries does not matter.
        warnings.filterwarnings("ignore", message="using non-commuting symmetries")
        basis = spin_basis_general(
            16,
            Nup=8,
            pauli=False,
            rotation=(np.rot90(grid).ravel(), 2 * rotation),
            reflection=(np.fliplr(grid).ravel(), int(reflection)),
            rows=(np.roll(grid, 1, 0).ravel(), 2 * shift),
            columns=(np.roll(grid, 1, 1).ravel(), 2 * shift),
            flip=(-(grid.ravel() + 1), int(flip)),
        )
    bonds = [(1.0, (0, 1)), (1.0, (1, 0)), (J2, (1, 1)), (J2, (1, -1))]
    pairs = [
        [weight, int(grid[i, j]), int(grid[(i + di) % 4, (j + dj) % 4])]
        for weight, (di, dj) in bonds
        for i in range(4)
        for j in range(4)
    ]
    halves = [[weight / 2, a, b] for weight, a, b in pairs]
    with threadpool_limits(1):
        block = quspin_operator(
            [["+-", halves], ["-+", halves], ["zz", pairs]],
            [],
            basis=basis,
            # QuSpin's exp(i pi) is -1 but for rounding, which real numbers do not allow.
            dtype=np.complex128,
            check_herm=False,
            check_symm=False,
            check_pcon=False,
        ).toarray()
        return np.asarray(np.linalg.eigvalsh(block)) / 16


def projector(psi: Projected, configurations: Tensor, position: Callable[[Tensor], Tensor]) -> csr_array:
    """The matrix of a projection of a wave function that states no invariance, times its number of images."""
    images = psi.images(configurations)
    states, count = images.shape[:2]
    terms = group.images(psi.generators, (), 4)
    columns = position(images.flatten(0, 1)).numpy()
    characters = np.tile([float(term.character) for term in terms], states)
    return csr_array((characters, columns, np.arange(states + 1) * count), shape=(states, states))


@torch.no_grad()
def vector_of(psi: Ansatz, configurations: Tensor) -> Array:
    """Amplitudes, the largest one 1, as double numbers."""
    log_psi, phase = psi(configurations)
    return np.asarray((phase * (log_psi - log_psi.max()).exp()).numpy())


def energy_of(vector: Array, hamiltonian: csr_matrix) -> float:
    """<v|H|v> / <v|v> per site."""
    return float(vector @ (hamiltonian @ vector) / (vector @ vector) / 16)


@pytest.mark.parametrize("signs", SECTORS)
def test_spectra_of_sectors(
    signs: Signs,
    configurations: Tensor,
    matrix: Callable[[float], csr_matrix],
    position: Callable[[Tensor], Tensor],
    tabulated: Callable[..., Ansatz],
) -> None:
    """Random vectors, projected, span a space in which H has exactly the energies of QuSpin's block.

    The projection is symmetric, commutes with H, and applied twice is itself times the number of its images.
    """
    expected, hamiltonian = spectrum(signs), matrix(J2)
    nothing = tabulated(torch.zeros(12870), torch.ones(12870))
    P = projector(Projected(nothing, symmetry_of(signs)), configurations, position)
    draws = np.random.default_rng(0).normal(size=(12870, len(expected) + 3))
    projected = P @ draws
    assert P.nnz == 256 * 12870
    twice = P @ projected[:, :3]
    assert abs(twice - 256 * projected[:, :3]).max() < 1e-10 * abs(twice).max()
    # <a|P b> = <P a|b>, H P = P H.
    assert np.allclose(draws.T @ projected, projected.T @ draws, rtol=0, atol=1e-8)
    assert np.allclose(P @ (hamiltonian @ draws[:, :3]), hamiltonian @ projected[:, :3], rtol=0, atol=1e-9)
    with threadpool_limits(1):
        space, sizes, _ = np.linalg.svd(projected, full_matrices=False)
        # As many directions as the sector has states, and no more.
        assert sizes[len(expected) - 1] > 1e-3 * sizes[0]
        assert (sizes[len(expected) :] < 1e-10 * sizes[0]).all()
        space = space[:, : len(expected)]
        found = np.linalg.eigvalsh(space.T @ (hamiltonian @ space)) / 16
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("signs", SECTORS[1:3])
def test_energies_of_projected_functions(
    signs: Signs,
    configurations: Tensor,
    matrix: Callable[[float], csr_matrix],
    position: Callable[[Tensor], Tensor],
    tabulated: Callable[..., Ansatz],
) -> None:
    """By local energies, summed over all configurations, <P v|H|P v> / <P v|P v>; never below the sector's lowest."""
    vector = np.random.default_rng(1).normal(size=12870)
    hamiltonian = matrix(J2)
    # By a power iteration close to low energies, where a bound says something.
    for _ in range(60):
        vector = 8 * vector - hamiltonian @ vector
        vector /= np.linalg.norm(vector)
    psi = tabulated(torch.from_numpy(vector).abs().log(), torch.from_numpy(vector).sgn())
    # The rotations and the flip alone, whose images are few enough to sum over every configuration's neighbours.
    few = Projected(psi, f"{'-' * (signs[0] < 0)}rotation, {'-' * (signs[3] < 0)}spin flip")
    by_hand = projector(few, configurations, position) @ vector
    ours = vector_of(few, configurations)
    np.testing.assert_allclose(ours / abs(ours).max(), by_hand / abs(by_hand).max(), rtol=0, atol=1e-12)
    assert full_sum_energy(few, J2) == pytest.approx(energy_of(by_hand, hamiltonian), rel=0, abs=1e-11)
    full = vector_of(Projected(psi, symmetry_of(signs)), configurations)
    lowest = spectrum(signs)[0]
    assert lowest - 1e-12 <= energy_of(full, hamiltonian)


@pytest.mark.parametrize("signs", [SECTORS[0], SECTORS[2]])
def test_the_network_in_each_sector(
    signs: Signs, configurations: Tensor, matrix: Callable[[float], csr_matrix]
) -> None:
    """The projected network is a state of its sector: its energy is at or above the sector's lowest one.

    And H leaves it there: its overlap with a state of another sector vanishes. (Sectors in which a shift has the
    character -1 are none of this network's.)
    """
    hamiltonian = matrix(J2)
    vector = vector_of(Projected(MarshallSign(lively("small")), symmetry_of(signs)), configurations)
    assert spectrum(signs)[0] <= energy_of(vector, hamiltonian) <= spectrum(signs)[-1]
    rotation, *rest = signs
    other = symmetry_of((-rotation, *rest))
    stranger = vector_of(Projected(MarshallSign(lively("small")), other), configurations)
    scale = np.linalg.norm(vector) * np.linalg.norm(stranger)
    assert abs(stranger @ vector) < 1e-10 * scale
    assert abs(stranger @ (hamiltonian @ vector)) < 1e-10 * scale


@pytest.mark.parametrize("symmetry", ["C4", "full"])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_left_out(
    symmetry: str, seed: int, configurations: Tensor, matrix: Callable[[float], csr_matrix]
) -> None:
    """The energy is the mean of those of the projection and of the rest, weighted with their shares.

    So a projection lowers the energy if, and only if, the rest lies above it.
    """
    hamiltonian, network = matrix(J2), MarshallSign(lively("small", seed=seed))
    psi = Projected(network, symmetry)
    with torch.no_grad():
        log_psi, phase = network(configurations)
        summed, summed_phase = psi(configurations)
    top = log_psi.max()
    vector = (phase * (log_psi - top).exp()).numpy()
    inside = (summed_phase * (summed - top).exp()).numpy() / len(psi.images(configurations[:1])[0])
    rest = vector - inside
    # Orthogonal parts, between which H has no elements.
    norms = np.array([each @ each for each in (vector, inside, rest)])
    assert norms[0] == pytest.approx(norms[1] + norms[2], rel=1e-10)
    energies = np.array([energy_of(each, hamiltonian) for each in (vector, inside, rest)])
    assert energies[0] == pytest.approx((norms[1:] * energies[1:]).sum() / norms[0], rel=0, abs=1e-10)


def test_what_projecting_a_fresh_network_does(configurations: Tensor, matrix: Callable[[float], csr_matrix]) -> None:
    """With the sign rule all six seeds go down with each larger group, without it all six go up.

    A fresh network is nearly constant. With the sign rule it is on the ground state's side of the spectrum, of which
    a sum over images keeps more; without the rule it is near the ferromagnet, the state of the highest energy.
    """
    hamiltonian, rule = matrix(J2), marshall_sign(configurations).numpy()
    lower = {"marshall": np.zeros(3, int), "none": np.zeros(3, int)}
    for seed in range(6):
        network = CNN("small", seed=seed, dtype=torch.float64)
        vectors = [vector_of(Projected(network, name), configurations) for name in ("none", "C4", "C4v", "full")]
        for sign, factor in (("marshall", rule), ("none", 1)):
            energies = [energy_of(factor * vector, hamiltonian) for vector in vectors]
            lower[sign] += np.diff(energies) < 0
    assert {sign: counts.tolist() for sign, counts in lower.items()} == {"marshall": [6, 6, 6], "none": [0, 0, 0]}
