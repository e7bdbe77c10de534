"""What an energy may be called, and what is claimed of it: each planted doubt is seen, and noise never passes."""

import math
from dataclasses import replace
from typing import Any

import pytest
import scipy.stats
from helpers.energies import ENERGY

from qmcbench.gates import energies
from qmcbench.gates.check import Verdict
from qmcbench.gates.energies import agreement, claims, convergence, doubts, label, unbiased, variational
from qmcbench.store.energies import Energy, Origin, Windowed
from qmcbench.store.records import Reference


def energy(value: float | None = -0.5, sigma: float | None = 1e-5, **changes: Any) -> Energy:
    """An energy with nothing wrong but what is changed."""
    return replace(ENERGY, value=value, sigma=sigma, **changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param({"sigma": 0.0}, "error is 0", id="error 0"),
        pytest.param({"sigma": None}, "error is unknown", id="no error"),
        pytest.param({"value": None}, "energy is not finite", id="no energy"),
        pytest.param({"effective_samples": 29.0}, "FEWER THAN 30 EFFECTIVE SAMPLES", id="few samples"),
        pytest.param({"effective_samples": math.nan}, "EFFECTIVE SAMPLES", id="nan samples"),
        pytest.param({"r_hat": None}, "R-hat is unknown", id="R-hat unknown"),
        pytest.param({"r_hat": math.nan}, "R-hat nan", id="R-hat nan"),
        pytest.param({"r_hat": 1.15}, "R-hat 1.150 is above 1.05", id="chains disagree"),
        pytest.param({"r_hat": math.inf}, "R-hat inf", id="R-hat infinite"),
        pytest.param({"acceptance": 0.04}, "acceptance 0.040", id="frozen"),
        pytest.param({"acceptance": 0.0}, "acceptance 0.000", id="dead"),
        pytest.param({"tau": 2.1}, "warm-up of 20 sweeps is shorter than 21", id="warm-up against tau"),
        pytest.param({"tau": 1.1, "gap": 32}, "warm-up of 20 sweeps is shorter than 22", id="tau in samples"),
        pytest.param({"L": 36, "warm_up": 20, "gap": 1296}, "shorter than 28.8", id="Neel start at L = 36"),
        pytest.param({"plateau": False}, "NO PLATEAU", id="no plateau"),
        pytest.param({"abnormal": 2}, "2 abnormal samples", id="abnormal"),
    ],
)
def test_each_reason_for_doubt_is_seen(changes: dict[str, Any], word: str) -> None:
    """It is named, the energy is not called unbiased, and no check of it passes or fails."""
    doubtful = replace(ENERGY, **changes)
    assert len(doubts(doubtful)) == 1
    assert word in label(doubtful)
    assert "unbiased" not in label(doubtful)
    for check in (unbiased(doubtful, -0.5), variational(doubtful, -0.6), convergence(doubtful, -0.5, 1.0)):
        assert check.verdict is Verdict.INCONCLUSIVE


def test_what_nothing_is_wrong_with_is_unbiased() -> None:
    """The label that all others are held against."""
    assert doubts(ENERGY) == ()
    assert label(ENERGY) == "unbiased"


def test_bounds_are_where_they_say() -> None:
    """3.89 sigma two-sided, 3 sigma below E0, and the tolerance with 2 sigma on top."""
    assert scipy.stats.norm.isf(energies.FALSE_ALARM / 2) == energies.UNBIASED_Z
    assert scipy.stats.norm.sf(energies.VARIATIONAL_Z) == pytest.approx(energies.VARIATIONAL_FALSE_ALARM, rel=1e-3)
    assert unbiased(energy(), -0.5 + 3.88e-5).passed
    for full_sum in (-0.5 + 3.90e-5, -0.5 - 3.90e-5):
        assert unbiased(energy(), full_sum).verdict is Verdict.FAIL
    assert variational(energy(-0.5 - 2.9e-5), -0.5).passed
    assert variational(energy(-0.5 - 3.1e-5), -0.5).verdict is Verdict.FAIL
    assert variational(energy(-0.4), -0.5).passed
    assert convergence(energy(-0.4996, 1e-4), -0.5, 1.3e-3).passed
    assert convergence(energy(-0.4996, 1e-4), -0.5, 1.1e-3).verdict is Verdict.FAIL


def test_a_full_sum_decides_how_close_training_came() -> None:
    """It has no error, so nothing is added to it, however unlucky, noisy or doubtful the samples are."""
    for samples in (energy(-0.4999, 1e-6), energy(-0.49, 1e-4), energy(sigma=None), energy(r_hat=2.0)):
        known = replace(samples, full_sum=-0.4995)
        assert convergence(known, -0.5, 1.01e-3).passed
        assert convergence(known, -0.5, 0.99e-3).verdict is Verdict.FAIL


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 1e6])
def test_noise_neither_passes_nor_fails(sigma: float) -> None:
    """An error that would hide the smallest effect is inconclusive, however well the value fits."""
    noisy = energy(sigma=sigma, window=Windowed(low=-1, high=0, outside=0.0, mean=-0.5, sigma=sigma))
    for check in (unbiased(noisy, -0.5), agreement(noisy, -0.5)):
        assert check.verdict is Verdict.INCONCLUSIVE
    assert variational(energy(sigma=max(sigma, 1e-3)), -0.5).verdict is Verdict.INCONCLUSIVE


def test_agreement_is_two_sided() -> None:
    """Three standard errors off passes, a little more on either side does not."""
    own = energy(window=Windowed(low=-0.6, high=-0.45, outside=0.0, mean=-0.5, sigma=1e-4))
    passed = [agreement(own, -0.5 + sigma * 1e-4).passed for sigma in (-3.01, -2.99, 0, 2.99, 3.01)]
    assert passed == [False, True, True, True, False]


def test_claims_follow_what_is_known() -> None:
    """Exact energy, tolerance, full sum and the authors' own value each bring their check; nothing else does."""
    assert claims([ENERGY]) == []
    exact, best = Reference(value=-0.6, source="x"), Reference(value=-0.6, source="x", kind="variational")
    assert claims([energy(reference=best, tolerance=0.1)]) == []
    known = energy(reference=exact, tolerance=0.3, full_sum=-0.5)
    assert [check.check for check in claims([known])] == ["variational", "convergence", "unbiased"]
    own = replace(ENERGY.network, origin=Origin(L=4, J2=0.5, published_energy=-0.5))
    assert [check.name for check in claims([energy(network=own)])] == [
        "published = sampled windowed energy, 4x4 J2=0.5"
    ]
    assert claims([energy(network=own, L=6)]) == []
