"""The two solvers against Eqs. 5-7 solved by numpy, on random and on real samples, and when they fail."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from plain import C4, random_spins
from torch import Tensor

from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.sign import MarshallSign
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import local_energies
from qmcbench.sr import SOLVERS, centre, dense, sample_space, solvers
from qmcbench.sr.solvers import FactorisationError

BOTH = pytest.mark.parametrize("solver", ["dense", "sample_space"])


class Samples(NamedTuple):
    """O, local energies and importance weights of one step."""

    derivatives: Tensor
    energies: Tensor
    weights: Tensor

    def centred(self, dtype: torch.dtype = torch.float64) -> solvers.Centred:
        """Through ``centre``, which overwrites what it is given."""
        return centre(self.derivatives.to(dtype, copy=True), self.energies.clone(), self.weights.clone())


def made_up(samples: int, parameters: int) -> Samples:
    """Random numbers with means far from 0, so that forgetting to centre shows, and very unequal weights."""
    generator = torch.Generator().manual_seed(samples)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    derivatives = normal(samples, parameters) + 2 * normal(parameters)
    energies = derivatives[:, 0] + normal(samples) - 8
    weights = (1.5 * normal(samples)).exp()
    return Samples(derivatives, energies, weights / weights.sum())


def from_network(count: int) -> Samples:
    """The small network with sign and C4 at J2 = 0.5 on random 4x4 configurations, weighted by |psi|."""
    cnn, spins = CNN("small", seed=2, dtype=torch.float64), random_spins(4, count)
    psi = MarshallSign(C4(cnn))
    with torch.no_grad():
        cnn.block6.deconv.bias.fill_(0.1)
        log_psi, sign = psi(spins)
    energies = local_energies(psi, J1J2(4, 0.5), spins, log_psi, sign)
    weights = (log_psi - log_psi.max()).exp()
    return Samples(psi.log_derivatives(spins), energies, weights / weights.sum())


def by_numpy(samples: Samples, shift: float) -> NDArray[np.float64]:
    """Eqs. 5-7 as written, with weighted means: M = <O O> - <O><O>, G = <E O> - <E><O>, Delta = (M + shift)^-1 G."""
    o, e, w = (x.numpy() for x in samples)
    mean = w @ o
    covariance = (o * w[:, None]).T @ o - np.outer(mean, mean)
    gradient = (w * e) @ o - (w @ e) * mean
    return np.linalg.solve(covariance + shift * np.eye(len(mean)), gradient)


def distance(step: Tensor, expected: NDArray[np.float64]) -> float:
    """Relative to the expected step."""
    return float(np.linalg.norm(step.numpy() - expected) / np.linalg.norm(expected))


@BOTH
@pytest.mark.parametrize("shape", [(30, 80), (80, 30), (50, 50)], ids=["wide", "tall", "square"])
@pytest.mark.parametrize("shift", [1e-3, 0.5])
def test_random_samples(solver: str, shape: tuple[int, int], shift: float) -> None:
    """Fewer samples than parameters, as many, or more: the step is numpy's to 1e-8, at the shift asked for."""
    samples = made_up(*shape)
    solution = SOLVERS[solver](samples.centred(), shift)
    assert solution.step.dtype == torch.float64
    assert distance(solution.step, by_numpy(samples, shift)) < 1e-8
    assert (solution.shift, solution.retries) == (shift, 0)


def test_network_samples() -> None:
    """On 300 real samples of the 3531-parameter network with unequal weights the solvers agree to 1e-8."""
    samples = from_network(300)
    assert samples.weights.max() > 2 * samples.weights.min()
    one, other = dense(samples.centred(), 1e-3), sample_space(samples.centred(), 1e-3)
    assert one.step.shape == (3531,)
    assert distance(other.step, one.step.numpy()) < 1e-8


@pytest.mark.parametrize("shift", [1e-1, 1e-3])
def test_single_precision(shift: float) -> None:
    """With a Gram matrix in float32 the step of 300 real samples is another, but by less than 1e-3."""
    centred = from_network(300).centred(torch.float32)
    found = SOLVERS["sample_space_float32"](centred, shift)
    assert found.step.dtype == torch.float64
    assert 0 < distance(found.step, sample_space(centred, shift).step.numpy()) < 1e-3
    assert (found.shift, found.retries) == (shift, 0)


def test_single_precision_cannot_resolve_a_tiny_shift() -> None:
    """Rounding to float32 makes the Gram matrix of dependent samples indefinite: the shift is raised, and said so."""
    found = SOLVERS["sample_space_float32"](from_network(300).centred(torch.float32), 1e-5)
    assert found.retries > 0
    assert found.shift == pytest.approx(1e-5 * 10**found.retries)


@BOTH
def test_network_samples_by_numpy(solver: str) -> None:
    """On real samples and 200 of the parameters, both are Eqs. 5-7."""
    derivatives, energies, weights = from_network(300)
    samples = Samples(derivatives[:, ::18].contiguous(), energies, weights)
    assert distance(SOLVERS[solver](samples.centred(), 1e-3).step, by_numpy(samples, 1e-3)) < 1e-8


@BOTH
def test_pseudo_inverse(solver: str) -> None:
    """As the shift goes to 0 the step becomes the pseudo-inverse's: the least-squares step of smallest norm."""
    samples = made_up(20, 50)
    rows, energies = samples.centred()
    # The centred rows are linearly dependent: 19 of their 20 singular values remain.
    expected = np.linalg.pinv(rows.numpy(), rcond=1e-10) @ energies.numpy()
    assert distance(SOLVERS[solver](samples.centred(), 1e-9).step, expected) < 1e-5


@BOTH
def test_a_constant_energy_is_no_step(solver: str) -> None:
    """At an eigenstate the local energies are equal and the step vanishes."""
    derivatives, energies, weights = made_up(30, 40)
    samples = Samples(derivatives, torch.full_like(energies, -8.458), weights)
    assert SOLVERS[solver](samples.centred(), 1e-3).step.norm() < 1e-10


def test_centring() -> None:
    """Weighted means of both vanish, the rows carry sqrt(w), and O is overwritten rather than copied."""
    samples = made_up(30, 40)
    derivatives = samples.derivatives.clone()
    rows, energies = centre(derivatives, samples.energies, samples.weights)
    root = samples.weights.sqrt()
    assert rows.data_ptr() == derivatives.data_ptr()
    assert (root @ rows).abs().max() < 1e-12
    assert abs(root @ energies) < 1e-12
    spread = samples.energies - samples.energies[0]
    torch.testing.assert_close(energies / root - energies[0] / root[0], spread, rtol=1e-10, atol=1e-10)
    o = samples.derivatives
    torch.testing.assert_close((rows / root[:, None]).diff(dim=0), o.diff(dim=0), rtol=1e-10, atol=1e-10)


@BOTH
def test_blocks_of_columns(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken in blocks of columns, the last one narrower, the step is the same."""
    samples = made_up(30, 80)
    monkeypatch.setattr(solvers, "COLUMNS", 7)
    assert distance(SOLVERS[solver](samples.centred(), 1e-3).step, by_numpy(samples, 1e-3)) < 1e-8


@BOTH
def test_float32_derivatives(solver: str) -> None:
    """O in float32 stays so, is solved in float64 and moves the step by the rounding of O only."""
    samples = made_up(30, 80)
    centred = samples.centred(torch.float32)
    assert centred.rows.dtype == torch.float32
    solution = SOLVERS[solver](centred, 0.1)
    assert solution.step.dtype == torch.float64
    assert distance(solution.step, by_numpy(samples, 0.1)) < 1e-4
    exact = Samples(centred.rows.double(), centred.energies, torch.ones(30, dtype=torch.float64))
    rows, energies = exact.derivatives.numpy(), exact.energies.numpy()
    expected = np.linalg.solve(rows.T @ rows + 0.1 * np.eye(80), rows.T @ energies)
    assert distance(solution.step, expected) < 1e-8


@BOTH
@pytest.mark.parametrize("failures", [1, 2, 5])
def test_failed_factorisation_raises_the_shift(solver: str, failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After n failures the step is that of a shift 10^n times as large, which the solution states."""
    cholesky, calls = torch.linalg.cholesky_ex, []

    def failing(matrix: Tensor) -> object:
        calls.append(matrix)
        factor, info = cholesky(matrix)
        return factor, torch.ones_like(info) if len(calls) <= failures else info

    samples = made_up(30, 40)
    monkeypatch.setattr(torch.linalg, "cholesky_ex", failing)
    solution = SOLVERS[solver](samples.centred(), 1e-4)
    assert solution.retries == failures
    assert solution.shift == pytest.approx(1e-4 * 10**failures, rel=1e-12)
    assert distance(solution.step, by_numpy(samples, solution.shift)) < 1e-8


def test_indefinite_matrix_is_shifted_until_it_is_not() -> None:
    """A matrix that rounding has made indefinite by 0.05 needs 1e-3 -> 1e-2 -> 1e-1, and is solved with that."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    matrix = basis @ torch.diag(torch.tensor([-0.05, 0.1, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)) @ basis.T
    right = torch.arange(6.0, dtype=torch.float64)
    step, shift, retries = solvers._solve(matrix.clone(), right, 1e-3)
    assert (shift, retries) == (pytest.approx(0.1), 2)
    expected = np.linalg.solve(matrix.numpy() + 0.1 * np.eye(6), right.numpy())
    assert distance(step, expected) < 1e-10


@BOTH
@pytest.mark.parametrize("broken", ["derivatives", "weights"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite(solver: str, broken: str, value: float) -> None:
    """One nan or infinity among the samples is an error that says so."""
    samples = made_up(30, 40)
    getattr(samples, broken).view(-1)[17] = value
    with pytest.raises(FactorisationError, match="finite"):
        SOLVERS[solver](samples.centred(), 1e-3)


@BOTH
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_energies_that_are_not_finite(solver: str, value: float) -> None:
    """They do not reach the matrix; the step may not look like one that could be taken."""
    samples = made_up(30, 40)
    samples.energies[17] = value
    try:
        solution = SOLVERS[solver](samples.centred(), 1e-3)
    except FactorisationError:
        return
    assert not solution.step.isfinite().any()
