"""The gates of the levels sampler and estimator: deliberate bugs are caught, correct code passes, noise does not."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.mutants_statistical import MUTANTS
from helpers.planting import edited
from scipy.stats import chi2, ncx2

from qmcbench.errors import UserError
from qmcbench.gates import calibrate, calibrated, power
from qmcbench.gates.calibrate import Request
from qmcbench.gates.check import POWER, Check, Verdict
from qmcbench.gates.correct import correct
from qmcbench.gates.exchange import after, draw, kernel, space
from qmcbench.gates.levels import estimator
from qmcbench.gates.power import Words, distance, goodness, needed
from qmcbench.gates.registry import Gate, Setting, load
from qmcbench.gates.states import ordered, rough, spiky
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.target import Draw, Drawn, Target
from qmcbench.report.book import chapters
from qmcbench.sampler import Sampler
from qmcbench.store.gates import Calibration

RATE = 0.005
LARGER = {
    "estimator/unbiased": 2.0,
    "estimator/independent-samples": 1.5,
    "estimator/honest-errors": 2.0,
    "sampler/reachability": 4.0,
}
"""Effects are enlarged so many times where the bugs are seen with fewer samples."""


@cache
def target() -> Target:
    return builtin()


def made(name: str, seed: int = 1, tested: Target | None = None) -> list[Check]:
    """The checks of one gate, at one stage."""
    gate: Gate = load()[name]
    effect = math.nan if gate.effect is None else gate.effect.size * LARGER.get(name, 1.0)
    found = gate.make(tested or target(), Setting(seed=seed, rate=RATE, effect=effect))
    return [found] if isinstance(found, Check) else list(found)


def fails(name: str) -> bool:
    """Whether a check of the gate fails, or the target is refused (which fails the gate in a run)."""
    try:
        return any(check.verdict is Verdict.FAIL for check in made(name))
    except (UserError, IndexError):
        return True


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate that is named beside a bug fails with the bug planted."""
    plant, gate = MUTANTS[mutant]
    plant(monkeypatch)
    assert fails(gate)


@pytest.mark.parametrize("gate", sorted({gate for _, gate in MUTANTS.values()} | {"sampler/own-start"}))
def test_correct_code_passes(gate: str) -> None:
    """The same gates pass without a bug, none of their checks is inconclusive, and names are not used twice."""
    checks = made(gate)
    assert [check.name for check in checks if check.verdict is not Verdict.PASS] == []
    assert len({check.name for check in checks}) == len(checks)


def test_a_mutant_cannot_be_void(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is not there, or twice, is an error."""
    with pytest.raises(ValueError, match="0 times"):
        edited(Sampler.advance, ("no such line", ""))(monkeypatch)


def test_noise_never_passes() -> None:
    """An evaluation with an error of 1 decides nothing, whatever its mean."""

    def noisy(psi: object, asked: object) -> estimator.Evaluated:
        return estimator.Evaluated(mean=0.1, sigma=1.0, samples=100)

    tested = Target(name="noise", evaluate=noisy)
    for gate in ("estimator/unbiased", "estimator/unclipped", "estimator/warm-up"):
        assert {check.verdict for check in made(gate, tested=tested)} == {Verdict.INCONCLUSIVE}


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=["nan", "inf"])
def test_what_is_not_finite_fails(value: float) -> None:
    """A mean, a variance or an error that is none passes no gate."""

    def wrong(psi: object, asked: estimator.Evaluation) -> estimator.Evaluated:
        return estimator.Evaluated(mean=value, sigma=value, variance=value, samples=asked.chains * asked.samples)

    tested = Target(name="wrong", evaluate=wrong)
    for gate in ("unbiased", "unclipped", "independent-samples", "honest-errors", "abnormal"):
        assert not any(
            check.passed for check in made(f"estimator/{gate}", tested=tested) if "counted" not in check.name
        )


def test_a_sampler_of_its_own_moves() -> None:
    """A sampler that draws each chain anew from the exact law passes all gates but the one for the engine's moves."""

    def exact(psi: object, asked: Draw) -> Drawn:
        with torch.no_grad():
            log_psi = psi(space().spins)[0].numpy()  # type: ignore[operator]
        law = np.exp(asked.alpha * (log_psi - log_psi.max()))
        found = space().spins[torch.from_numpy(draw(law, asked.chains, asked.seed))]
        return Drawn(spins=found, acceptance=1.0)

    tested = Target(name="exact", sample=exact)
    for gate in ("stationary-law", "own-start", "detailed-balance", "reachability", "independent-streams"):
        assert [check for check in made(f"sampler/{gate}", tested=tested) if not check.passed] == []
    assert tested.lacks(load()["sampler/exact-kernel"].needs)


def test_the_exact_kernel_is_one() -> None:
    """Its rows sum to one, it obeys detailed balance, and after many proposals from Neel it has forgotten them."""
    log_weight = np.log(np.abs(rough().amplitudes))
    step, law = kernel(log_weight), rough().law(1)
    assert np.abs(step.sum(axis=1) - 1).max() < 1e-14
    flow = step.multiply(law[:, None]).tocsr()
    assert abs(flow - flow.T).max() < 1e-17
    assert (((after(log_weight, 0, 640) - law) ** 2) / law).sum() < 1e-6


def test_the_smallest_effect_is_seen() -> None:
    """As many samples as needed pass the rule just so; the effect is then missed with the stated probability."""
    dof, effect = 31, 0.01
    assert ncx2.cdf(chi2.isf(RATE, dof), dof, needed(dof, RATE)) == pytest.approx(power.MISS, rel=1e-6)
    setting = Setting(seed=0, rate=RATE, effect=effect)
    words = Words(name="n", statement="s")
    enough = power.size(setting, dof)
    assert distance(words, 31.0, dof, enough, setting).verdict is Verdict.PASS
    assert distance(words, 31.0, dof, enough - 1, setting).verdict is Verdict.INCONCLUSIVE
    assert distance(words, 31.0 + 2 * needed(dof, RATE), dof, enough, setting).verdict is Verdict.FAIL


def test_goodness_of_fit() -> None:
    """Independent samples of a law have the chi-square that they should; a configuration outside it is infinite."""
    law, order = rough().law(2), np.argsort(rough().law(2))
    values = [goodness(np.bincount(draw(law, 2000, seed), minlength=len(law)), law, order) for seed in range(200)]
    dof = values[0][1]
    assert 25 <= dof < power.BINS
    assert np.mean([value for value, _ in values]) == pytest.approx(dof, abs=4 * math.sqrt(2 * dof / 200))
    assert goodness(np.array([5, 1]), np.array([1.0, 0.0]), np.array([0, 1]))[0] == math.inf


def test_full_sums() -> None:
    """The known energies are those of closed forms: Marshall's state has n pairs less than a constant."""
    pairs = space().pairs
    # 1 / 4 for each of 32 bonds, less 1 for each antiparallel pair; each diagonal gives J2 / 4 whatever it is.
    assert ordered().local_energies * 16 == pytest.approx(8 - pairs + 0.5 * 8, abs=1e-12)
    known = spiky()
    clipped = float(known.law(2) @ known.local_energies.clip(-2, 2))
    assert clipped - known.mean > 1.5 * load()["estimator/unclipped"].effect.size  # type: ignore[union-attr]
    for alpha in (0.5, 1.0):
        assert known.law(alpha) @ known.influence(alpha, known.local_energies) == pytest.approx(0, abs=1e-12)


def test_calibration_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas are counted with their seeds, a second call adds what is missing, and other settings are refused."""
    asked = Request(out=tmp_path, replicas=2, only=("sampler/detailed-balance",), quiet=True, rate=0.3)
    first = calibrate.calibrate(asked)
    assert [each.replicas for each in first.of(Calibration)] == [2, 2, 2]
    both = calibrate.calibrate(replace(asked, replicas=4))
    whole = calibrate.calibrate(replace(asked, replicas=4, out=tmp_path / "other"))
    assert both.records == whole.records
    assert any(each.alarms for each in both.of(Calibration))
    assert all(set(each.alarms) <= set(range(4)) for each in both.of(Calibration))
    with pytest.raises(UserError, match=r"rate = 0\.3, but this one has 0\.1"):
        calibrate.calibrate(replace(asked, rate=0.1))
    [chapter] = chapters([both])
    assert chapter.title == "Calibration of the gates"
    assert chapter.sections[0].tables[0].rows[0][:3] == [
        "sampler/detailed-balance",
        both.of(Calibration)[0].check,
        "4",
    ]


@pytest.mark.parametrize(
    "name", ["ground_state/variational", "ground_state/infidelity", "samples/energy", "claims/variational"]
)
def test_what_a_one_sided_gate_is_calibrated_on_attains_its_bound(name: str) -> None:
    """Its energies are within a few errors of it; far above, where most states are, nothing could alarm."""
    each = load()[name]
    assert each.effect is not None
    for seed in range(2):
        setting = Setting(seed=seed, rate=0.05, effect=3 * each.effect.size)
        made = each.make(correct(each, seed), setting)
        values = [check.value for check in ([made] if isinstance(made, Check) else made)]
        assert all(value is not None and abs(value) < 4 for value in values), values


def test_data_are_calibrated_at_the_rate_of_both_stages(tmp_path: Path) -> None:
    """Other data for each seed, held at the stated rate: half of the claimed energies lie below the exact one."""
    only = ("claims/variational", "samples/window")
    [counts] = calibrate.calibrate(Request(out=tmp_path, replicas=40, only=only, quiet=True, rate=0.5)).records
    assert isinstance(counts, Calibration)  # a window's edge has a rate of its own, too small to be counted
    assert (counts.gate, counts.replicas) == ("claims/variational", 40)
    assert 10 < len(counts.alarms) < 30


def test_calibration_counts_against_the_rate() -> None:
    """A check may have so many alarms as its rate explains, and no more."""
    record = Calibration(
        value=0.05,
        seed=0,
        gate="sampler/g",
        check="c",
        replicas=1000,
        alarms=tuple(range(18)),
        rate=0.005,
        enlarged=3.0,
    )
    assert calibrated.allowed(record, 1e-3) == 13
    run = calibrate.Run(job="gate calibration", provenance=None, records=(record,))  # type: ignore[arg-type]
    assert calibrated.claims(run)[0].verdict is Verdict.FAIL
    run = replace(run, records=(replace(record, alarms=(1, 2)),))
    assert calibrated.claims(run)[0].verdict is Verdict.PASS
    run = replace(run, records=(replace(record, alarms=(), replicas=100),))
    assert calibrated.claims(run)[0].verdict is Verdict.INCONCLUSIVE
    assert POWER == 6.5
