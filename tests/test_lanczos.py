"""One Lanczos step by sampling: local powers of H, and the step's energy, against dense algebra and the full sum."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import energies
from helpers.energies import timeless
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from test_exact import complex_jastrow, jastrow, vector_of
from torch import Tensor

from qmcbench import evaluation, lanczos
from qmcbench.ansatz.base import Ansatz
from qmcbench.config import Sampling, Wavefunction
from qmcbench.errors import UserError
from qmcbench.evaluation import OtherEvaluationError, Request, evaluate
from qmcbench.evaluator import Evaluator
from qmcbench.exact import ExactEvaluation, whole_sum
from qmcbench.gates.energies import claims
from qmcbench.hamiltonian import J1J2
from qmcbench.lanczos import one_step, powers_of
from qmcbench.local_energy import local_energy_parts
from qmcbench.local_powers import local_powers
from qmcbench.report.zero_shot.pages import one_steps, sections
from qmcbench.report.zero_shot.terminal import describe
from qmcbench.store.energies import Energy, OneStep
from qmcbench.training import load_ansatz
from qmcbench.vmc import build_ansatz

Matrix = Callable[[float], csr_matrix]
Powers = tuple[NDArray[np.complex128], NDArray[np.float64]]
J2 = 0.5


@pytest.fixture(scope="module")
def psi(configurations: Tensor, tabulated: Callable[..., Ansatz]) -> Ansatz:
    """A fresh network, far from the ground state, read from the list of its amplitudes."""
    with torch.no_grad():
        return tabulated(*build_ansatz(Wavefunction(dtype="float64"), seed=3)(configurations))


@pytest.fixture(scope="module")
def exact(psi: Ansatz) -> ExactEvaluation:
    """The sum over all configurations."""
    return whole_sum(psi, 4, J2)


def sampled(psi: Ansatz, seed: int) -> Powers:
    """Powers and weights of 64 chains, 8 samples each."""

    def observe(spins: Tensor, log_psi: Tensor, phase: Tensor, number: int) -> dict[str, Tensor]:
        return {"powers": powers_of(psi, hamiltonian, spins, log_psi, phase)}

    hamiltonian = J1J2(4, 1.0)
    evaluator = Evaluator(psi, hamiltonian, Sampling(chains=64, alpha=1.5, warm_up=12), seed, observe)
    while evaluator.taken < 8:
        evaluator.advance()
    return torch.view_as_complex(evaluator.observed()["powers"]).numpy(), evaluator.samples().weights


@pytest.fixture(scope="module")
def eight(psi: Ansatz) -> list[Powers]:
    """Eight seeds."""
    return [sampled(psi, seed) for seed in range(8)]


def test_local_powers_are_those_of_the_matrix(
    configurations: Tensor, matrix: Matrix, tabulated: Callable[..., Ansatz]
) -> None:
    """(H psi) / psi and (H^2 psi) / psi at every J2 from one set of parts; psi is complex and often vanishes."""
    generator = np.random.default_rng(1)
    vector = vector_of(complex_jastrow, configurations)
    vector[generator.random(len(vector)) < 0.3] = 0
    values = torch.from_numpy(vector)
    psi = tabulated(values.abs().log(), torch.sgn(values))
    picked = generator.choice(np.flatnonzero(vector), 40, replace=False)
    spins, state = configurations[picked], (values[picked].abs().log(), torch.sgn(values[picked]))
    found = local_powers(psi, J1J2(4, 1.0), spins, *state, buffer=500).numpy()
    for coupling in (0.0, 0.5, -1.25):
        image = matrix(coupling) @ vector
        again = matrix(coupling) @ image
        powers = coupling ** np.array([[0, 1, 0, 0, 0], [0, 0, 0, 1, 2]])
        local, square = found[:, :2] @ powers[0, :2], found[:, 2:] @ powers[1, 2:]
        np.testing.assert_allclose(local, image[picked] / vector[picked], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(square, again[picked] / vector[picked], rtol=1e-9, atol=1e-8)


def test_powers_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch, configurations: Tensor) -> None:
    """The same bits from small tables, and the energies are those of the engine."""
    spins, hamiltonian = configurations[5000:5006], J1J2(4, 1.0)
    state = jastrow(spins)
    whole = local_powers(jastrow, hamiltonian, spins, *state)
    monkeypatch.setattr("qmcbench.local_powers.TABLE", 3 * len(hamiltonian.bonds))
    assert torch.equal(local_powers(jastrow, hamiltonian, spins, *state), whole)
    parts = local_energy_parts(jastrow, hamiltonian, spins, *state)
    torch.testing.assert_close(whole[:, :2], parts, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wave", [jastrow, complex_jastrow], ids=["real", "complex"])
def test_the_whole_space_as_samples_gives_the_full_sum(wave: Ansatz, configurations: Tensor, matrix: Matrix) -> None:
    """All configurations once in each half of two chains: energy, variance, V-score and extrapolation, no noise."""
    vector, H = vector_of(wave, configurations), matrix(J2)
    image = H @ vector
    zero = np.zeros(len(vector))
    powers = np.stack([image / vector / 16, zero, H @ image / vector / 256, zero, zero], axis=1)
    weights = np.abs(vector) ** 2
    found = one_step(np.stack([powers, powers]), np.stack([weights, weights]), 0.0, 16)
    expected = whole_sum(wave, 4, J2)
    assert found.energy == pytest.approx(expected.one_step_energy, rel=1e-10)
    assert found.variance == pytest.approx(expected.one_step_variance, rel=1e-8)
    assert found.extrapolated_energy == pytest.approx(expected.extrapolated_energy, rel=1e-9)
    assert found.v_score == pytest.approx(16 * expected.one_step_variance / expected.one_step_energy**2, rel=1e-8)


def deviations(steps: list[OneStep], exact: float) -> NDArray[np.float64]:
    """z of the energies, shape (seeds,)."""
    return np.array([(step.energy - exact) / step.sigma for step in steps])


def rms(z: NDArray[np.float64]) -> float:
    """1 in the mean of squares where errors are honest."""
    return float((z**2).mean() ** 0.5)


def test_sampled_step_agrees_with_the_full_sum(eight: list[Powers], exact: ExactEvaluation) -> None:
    """Eight seeds: every one within 4 standard errors, and the errors are neither too small nor too large."""
    steps = [one_step(*each, J2, 16) for each in eight]
    after = [replace(step, energy=step.extrapolated_energy, sigma=step.extrapolated_sigma) for step in steps]
    for those, true in ((steps, exact.one_step_energy), (after, exact.extrapolated_energy)):
        z = deviations(those, true)
        assert (np.abs(z) < 4).all(), z
        assert 0.4 < rms(z) < 2.0, z  # chi^2 of 8: 3e-3 below, 1e-4 above
    # Such an error tells the step from the state before it, and sees the ground state below.
    error = np.mean([step.sigma for step in steps])
    assert exact.energy - exact.one_step_energy > 10 * error
    assert exact.one_step_energy - exact.exact_energy > 4 * error


def test_a_square_of_local_energies_is_not_that_of_the_operator(eight: list[Powers], exact: ExactEvaluation) -> None:
    """Planted: E_L(s)^2 in place of the sum over the local energies of what s leads to."""
    steps = []
    for powers, weights in eight:
        wrong, (one, other) = powers.copy(), (powers[..., 0], powers[..., 1])
        wrong[..., 2], wrong[..., 3], wrong[..., 4] = one**2, 2 * one * other, other**2
        steps.append(one_step(wrong, weights, J2, 16))
    z = deviations(steps, exact.one_step_energy)
    assert (np.abs(z) > 4).any(), z
    assert rms(z) > 3, z


def test_the_best_a_of_the_same_samples_is_too_good(eight: list[Powers]) -> None:
    """4 chains of 4 samples: with an a of their own they seem better than with that of the other half."""

    def naive(powers: NDArray[np.complex128], weights: NDArray[np.float64]) -> float:
        local = powers[..., 0] + J2 * powers[..., 1]
        square = powers[..., 2] + J2 * powers[..., 3] + J2**2 * powers[..., 4]
        step = lanczos.fitted(local, square, weights)
        value = step.along + step.across * (local - step.origin)
        image = step.along * local + step.across * (square - step.origin * local)
        return lanczos.expectation(value, image, weights).energy

    parts = [
        (powers[first : first + 4, :4], weights[first : first + 4, :4])
        for powers, weights in eight
        for first in range(0, 64, 4)
    ]
    same, apart = (
        np.array([value(*part) for part in parts]) for value in (naive, lambda *part: one_step(*part, J2, 16).energy)
    )
    gained = apart - same
    assert gained.mean() > 4 * gained.std() / len(parts) ** 0.5
    whole = one_step(np.concatenate([p for p, _ in eight]), np.concatenate([w for _, w in eight]), J2, 16).energy
    assert apart.mean() > whole - 3 * apart.std() / len(parts) ** 0.5


def test_what_has_no_step(eight: list[Powers]) -> None:
    """An eigenstate stays as it is; half of the chains without samples, or a power that is none, is one sentence."""
    powers, weights = eight[0]
    same = np.zeros_like(powers)
    same[..., 0], same[..., 2] = -0.5, 0.25
    found = one_step(same, weights, 0.0, 16)
    assert (found.energy, found.extrapolated_energy) == (pytest.approx(-0.5, abs=1e-14), None)
    assert found.variance == pytest.approx(0, abs=1e-25)
    half = weights.copy()
    half[::2] = 0
    with pytest.raises(UserError, match="half of the chains is abnormal"):
        one_step(powers, half, J2, 16)
    broken = powers.copy()
    broken[3, 1, 4] = np.inf
    with pytest.raises(UserError, match=r"not finite on 1 of 512 samples.*without --lanczos"):
        one_step(broken, weights, J2, 16)
    weights = weights.copy()
    weights[3, 1] = 0
    assert np.isfinite(one_step(broken, weights, J2, 16).energy)


FEW = Sampling(chains=4, warm_up=2, gap=5, alpha=1.5)


def test_evaluate_takes_the_step(tmp_path: Path) -> None:
    """At every J2, stored and resumed to the same bits, in the text, the claims and the report; else as without."""
    network = energies.network(tmp_path / "network.safetensors", J2=0.5)
    request = Request(checkpoint=network, out=tmp_path / "a", samples=16, sampling=FEW, symmetry="none", quiet=True)
    request = replace(request, J2=(0.5, 0.0), lanczos=True)
    psi, _ = load_ansatz(network, "none")
    result = timeless(evaluate(request))
    evaluator = Evaluator(psi, J1J2(4, 1.0), FEW, evaluation.EVALUATION_SEED)
    evaluator.observe = evaluation.observer(evaluator, replace(request, observables="spins"))
    while evaluator.taken < 4:
        evaluator.advance()
    powers = torch.view_as_complex(evaluator.observed()["powers"]).numpy()
    for energy in result.of(Energy):
        expected = one_step(powers, evaluator.samples().weights, energy.J2, 16)
        assert energy.one_step == expected
        assert energy.stepped is not None
        assert (energy.stepped.value, energy.stepped.sigma) == (expected.energy, expected.sigma)
        assert f"1 Lanczos step  {expected.energy:.6f} +- " in describe(result)
    # In two parts, and with correlations, the same.
    evaluate(replace(request, out=tmp_path / "b", samples=8))
    assert timeless(evaluate(replace(request, out=tmp_path / "b"))) == result
    more = evaluate(replace(request, out=tmp_path / "c", observables="spins"))
    assert [each.one_step for each in more.of(Energy)] == [each.one_step for each in result.of(Energy)]
    plain = evaluate(replace(request, out=tmp_path / "d", lanczos=False)).of(Energy)
    assert [replace(each, one_step=None, seconds=None) for each in result.of(Energy)] == [
        replace(each, seconds=None) for each in plain
    ]
    with pytest.raises(OtherEvaluationError, match="lanczos"):
        evaluate(replace(request, out=tmp_path / "d"))
    names = [check.name for check in claims(result.of(Energy))]
    assert "variational bound, 4x4 J2=0.5, one Lanczos step" in names
    assert len(one_steps(result).rows) == 2
    assert one_steps(result) in sections(result)[0].tables
    assert not one_steps(evaluate(replace(request, out=tmp_path / "d", lanczos=False))).rows


def test_a_step_that_nobody_waits_for_is_refused(tmp_path: Path) -> None:
    """Before anything is written, with how many samples would do."""
    network = energies.network(tmp_path / "network.safetensors")
    request = Request(checkpoint=network, out=tmp_path / "out", samples=10**6, sampling=FEW, L=24, quiet=True)
    with pytest.raises(UserError, match=r"about 8.3e\+05 amplitudes a sample on 24x24.*use at most 120563 samples"):
        evaluate(replace(request, lanczos=True))
    assert not (tmp_path / "out").exists()
