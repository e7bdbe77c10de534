"""Exact ground states as targets, the gates that need them, and wave functions held against their own full sums."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qmcbench import exact, infidelity, provenance, reference
from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.cli.exact import print_exact
from qmcbench.config import Config, Model
from qmcbench.errors import UserError
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.exchange import draw, space
from qmcbench.gates.levels.ground_state import summed
from qmcbench.gates.levels.large import spread
from qmcbench.gates.models import Boltzmann, lowest, quspin
from qmcbench.gates.registry import Setting
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.states import marshall, rough
from qmcbench.gates.targets import eigenstate, foreign
from qmcbench.gates.targets.builtin import NETWORKS, builtin, evaluate
from qmcbench.gates.targets.load import load
from qmcbench.gates.targets.target import Draw, Drawn, Evaluated, Evaluation, Size, Target
from qmcbench.report.book import chapters
from qmcbench.store.gates import Mutant, Variant
from qmcbench.store.records import Run


@cache
def ground(J2: float = 0.5) -> Target:
    return load("exact:4", J2=J2)


def verdicts(target: Target, *gates: str) -> dict[str, Verdict]:
    """By the names of the checks of these gates."""
    done = outcomes(target, Plan(only=[f"ground_state/{gate}" for gate in gates], quick=True))
    return {check.name: check.verdict for each in done for check in each.checks}


def test_the_exact_state_passes_where_every_number_is_known() -> None:
    """Its local energies and its evaluated energy have no variance, and no error bar of 0 is taken for a failure."""
    found = verdicts(ground(), "zero-variance", "variational", "full-sum")
    assert set(found.values()) == {Verdict.PASS}
    assert len(found) == 4
    [done] = outcomes(ground(), Plan(only=["ansatz/symmetries"], quick=True))
    assert {check.verdict for check in done.checks} == {Verdict.PASS}


@pytest.mark.parametrize("J2", [0.0, 0.5, 1.0])
def test_its_symmetries_are_those_of_its_sector(J2: float) -> None:
    """Each generator leaves psi as it is if and only if that is claimed."""
    from qmcbench.gates.plain import IMAGES

    target, spins = ground(J2), space().spins[::97]
    assert target.psi is not None
    log_psi, sign = target.psi(spins)
    clear = log_psi > log_psi.max() - 10
    for name, image in IMAGES.items():
        moved, moved_sign = target.psi(image(spins[clear]).contiguous())
        assert (moved - log_psi[clear]).abs().max() < 1e-6
        assert bool((moved_sign == sign[clear]).all()) == (name in target.invariance), name


def test_what_is_no_eigenstate_has_variance() -> None:
    """The ground state of another coupling fails at its local energies, and where it is evaluated."""
    wrong = replace(ground(), psi=lowest(0.45)[0])
    assert set(verdicts(wrong, "zero-variance").values()) == {Verdict.FAIL}


def test_a_state_that_is_not_at_hand_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """6x6 is not diagonalized unasked; another L is refused."""
    monkeypatch.setattr(exact, "ground_kept", lambda *given: False)
    with pytest.raises(UserError, match=r"ed --L 6 --j2 0\.5 --recompute"):
        load("exact:6")
    with pytest.raises(UserError, match="says L = 4"):
        load("exact:4", L=6)
    with pytest.raises(UserError, match="exact:4 or exact:6"):
        load("exact")
    assert eigenstate.NAMES == {"exact:4": 4, "exact:6": 6}


def law(psi: Callable[[Tensor], tuple[Tensor, Tensor]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """|psi|^2 of all configurations of 4x4."""
    with torch.no_grad():
        log_psi = amplitudes(psi, space().spins)[0]
    weight: np.ndarray[tuple[int], np.dtype[np.float64]] = (2 * (log_psi - log_psi.max())).exp().numpy()
    return weight / weight.sum()


def drawn(psi: Callable[[Tensor], tuple[Tensor, Tensor]], count: int, seed: int) -> Tensor:
    """Independent configurations of |psi|^2."""
    return space().spins[torch.from_numpy(draw(law(psi), count, seed))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
def test_infidelity_by_samples(dtype: torch.dtype) -> None:
    """It scatters about the full sum as its error says, whatever psi's norm; of equal states it is 0, exactly."""
    psi, exact_state = Boltzmann(3, dtype=dtype), lowest(0.5)[0]
    with torch.no_grad():
        one, other = (log.exp() * sign for log, sign in (psi(space().spins), exact_state(space().spins)))
    overlap = (one.conj() * other.to(one.dtype)).sum().abs() ** 2
    expected = 1 - float(overlap / one.abs().square().sum() / other.square().sum())
    assert 0.05 < expected < 0.9999

    def scaled(spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, sign = psi(spins)
        return log_psi + 900, sign

    off = []
    for seed in range(20):
        of_psi, of_ground = drawn(psi, 2000, seed), drawn(exact_state, 2000, 100 + seed)
        value, sigma = infidelity.infidelity(scaled, exact_state, of_psi, of_ground)
        off.append((value - expected) / sigma)
    assert abs(np.mean(off)) < 4 / math.sqrt(20)
    assert 0.5 < np.std(off) < 1.6
    value, sigma = infidelity.infidelity(exact_state, exact_state, of_ground, of_ground)
    assert abs(value) < 1e-12
    assert sigma < 1e-12


def test_a_psi_without_overlap_is_refused() -> None:
    """Where psi vanishes on all samples of the ground state, nothing sets its scale."""
    spins = space().spins[:50]
    with pytest.raises(UserError, match="vanishes on all samples"):
        infidelity.infidelity(
            lambda s: (torch.full((len(s),), -torch.inf), torch.zeros(len(s))), marshall, spins, spins
        )


def test_the_command_gives_the_infidelity_of_what_has_no_sector(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says why there is no full sum, and prints the infidelity with its error."""
    state = lowest(0.5)[0]

    def tilted(spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, sign = state(spins)
        return log_psi + 0.05 * spins[:, 0, 0] * spins[:, 0, 1], sign

    for module in (exact, infidelity):
        monkeypatch.setattr(module, "load_ansatz", lambda path, symmetry: (tilted, Config(model=Model(L=4, J2=0.5))))
    monkeypatch.setattr(infidelity, "CHAINS", 256)
    monkeypatch.setattr(exact, "WHOLE", 2)  # as on 6x6, where not all configurations can be summed over
    # Which is the same state, and compiles nothing.
    monkeypatch.setattr(infidelity, "GroundState", lambda *given, **more: state)
    print_exact(Path("a"), None, None, None, quiet=True, as_json=True)
    printed = capsys.readouterr()
    assert "not symmetric under the translation" in printed.err
    found = json.loads(printed.out)
    assert found["samples"] == 256
    with torch.no_grad():
        one, other = (log.exp() * sign for log, sign in (tilted(space().spins), state(space().spins)))
    expected = 1 - float((one @ other) ** 2 / (one @ one) / (other @ other))
    assert abs(found["infidelity"] - expected) < 5 * found["sigma"] < 0.05


def evaluated(**changes: object) -> Callable[[object, Evaluation], Evaluated]:
    """An evaluation that says these numbers, whatever it is asked for."""
    said = {"mean": 0.0, "sigma": 1e-4, "samples": 10**6} | changes
    return lambda psi, asked: Evaluated(**said)  # type: ignore[arg-type]


def sample(psi: object, asked: Draw) -> Drawn:
    """The exact law."""
    return Drawn(spins=drawn(psi, asked.chains, asked.seed), acceptance=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [("sum", Verdict.PASS), ("windowed", Verdict.FAIL)],
)
def test_an_energy_is_held_against_its_own_full_sum(mean: str, verdict: Verdict) -> None:
    """A windowed mean of a psi that has no special energy is no longer its energy."""
    known = rough()
    weight, energies = known.law(2), known.local_energies
    inside = (energies > -0.6) & (energies < -0.45)
    means = {"sum": known.mean, "windowed": float((weight * energies)[inside].sum() / weight[inside].sum())}
    target = Target(name="psi", psi=known.psi, evaluate=evaluated(mean=means[mean]))  # type: ignore[arg-type]
    assert verdicts(target, "full-sum") == {"evaluated = summed energy, J2 = 0.5": verdict}
    energy, variance = summed(known.psi, 0.5)
    assert energy == pytest.approx(known.mean, rel=1e-12)
    assert variance == pytest.approx(known.variance, rel=1e-9)
    assert set(verdicts(replace(target, L=6), "full-sum").values()) == {Verdict.NOT_MEASURED}


def test_an_energy_of_the_engine_that_is_too_low_is_seen() -> None:
    """Its psi is trained, so 0.01 too low is below the exact energy; a fresh network's is 0.2 above, and passes."""
    engine = builtin()
    assert engine.psi is not None
    assert summed(engine.psi, 0.5)[0] == pytest.approx(reference.network(NETWORKS[4]).evaluation.energy, abs=1e-6)

    def low(psi: Ansatz, asked: Evaluation) -> Evaluated:
        found = evaluate(psi, asked)
        return replace(found, mean=found.mean - 0.01)

    found = verdicts(replace(engine, evaluate=low), "variational", "infidelity")
    assert list(found.values()) == [Verdict.FAIL] * 2


def test_a_small_error_bar_is_no_excuse() -> None:
    """An error that is understated is replaced by that of as many independent samples: too few decide nothing."""
    found = evaluated(mean=rough().mean, sigma=1e-9, samples=10)
    target = Target(name="psi", psi=rough().psi, evaluate=found)  # type: ignore[arg-type]
    assert set(verdicts(target, "full-sum").values()) == {Verdict.INCONCLUSIVE}


@pytest.mark.parametrize(("above", "verdict"), [(0.02, Verdict.PASS), (0.0, Verdict.FAIL)], ids=["enough", "too low"])
def test_an_energy_is_held_against_its_infidelity(above: float, verdict: Verdict) -> None:
    """Marshall's state cannot have the ground state's energy; the least that it can have is less than the gap."""
    _, energy, gap = lowest(0.5)
    assert gap == pytest.approx(0.0199, abs=1e-4)
    found = evaluated(mean=energy + above, sigma=3e-4)
    target = Target(name="psi", psi=marshall, sample=sample, evaluate=found)  # type: ignore[arg-type]
    assert verdicts(target, "infidelity") == {"energy against infidelity, J2 = 0.5": verdict}


def test_the_gap_is_that_of_dense_algebra() -> None:
    """The two lowest energies of QuSpin's matrix in S^z = 0, in the sparse solver's place a dense one of a sector."""
    from scipy.sparse.linalg import eigsh

    energies = np.sort(eigsh(quspin(0.5)[1], k=4, which="SA", return_eigenvectors=False))
    assert lowest(0.5)[2] == pytest.approx((energies[1] - energies[0]) / 16, abs=1e-10)


BEST = -0.4976


@pytest.mark.parametrize(
    ("mean", "variance", "failing"),
    [
        pytest.param(-0.4960, 2e-5, set(), id="as published ones"),
        pytest.param(-0.4960, 2e-3 * 100, {"at most"}, id="of the total energy over N"),
        pytest.param(-0.4960, 1e-8, {"at least"}, id="too small"),
        pytest.param(0.10, 1e-8, set(), id="another eigenstate"),
    ],
)
def test_v_scores(mean: float, variance: float, failing: set[str]) -> None:
    """One that no state of that energy can have fails, in either sense; far above, small ones are eigenstates'."""
    target = Target(name="psi", L=10, J2=0.5)
    found = Evaluated(mean=mean, sigma=1e-4, samples=512, variance=variance)
    made = {check.name.split(",")[0]: check.verdict for check in spread(found, target, BEST)}
    assert {name for name, verdict in made.items() if verdict is Verdict.FAIL} == {
        f"V-score {name}" for name in failing
    }
    assert ("V-score at least" in made) == (mean < 0)


def test_the_bound_of_the_v_score_holds_in_any_state() -> None:
    """(E - E0) (Emax - E) bounds the variance of wave functions without any merit, too."""
    for known in (rough(), rough(0.5)):
        found = Evaluated(mean=known.mean, sigma=0.0, samples=1, variance=known.variance)
        [check] = spread(found, Target(name="psi", L=4, J2=0.5), reference.exact(4, 0.5).energy)
        assert check.passed
        assert check.bound < 30 * float(check.value or 0)


def test_the_v_score_is_that_of_the_evaluation() -> None:
    """The gate asks the target, at its lattice; where diagonalization reaches it is left to other gates."""
    from qmcbench.gates.registry import load as gates

    gate, setting = gates()["large/v-score"], Setting(seed=0, rate=0.01, effect=math.nan)
    target = Target(name="psi", L=10, J2=0.5, psi=marshall, evaluate=evaluated(mean=-0.496, variance=1e-8))  # type: ignore[arg-type]
    made = {check.name: check.verdict for check in _checks(gate.make(target, setting))}
    assert made == {
        "V-score at most, 10x10, J2 = 0.5": Verdict.PASS,
        "V-score at least, 10x10, J2 = 0.5": Verdict.FAIL,
    }
    [none] = _checks(gate.make(replace(target, L=6), setting))
    assert none.verdict is Verdict.NOT_MEASURED


def _checks(made: object) -> list[Check]:
    return [made] if isinstance(made, Check) else list(made)  # type: ignore[call-overload]


class Insisting(nn.Module):
    """A network that converts its input itself, so that it has one precision only."""

    def __init__(self, dtype: torch.dtype, *, halved: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)
        self.dtype, self.halved = dtype, halved

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi = self.layers(spins.flatten(1).to(self.dtype))[:, 0]
        return log_psi.half() if self.halved else log_psi, torch.ones_like(log_psi)


@pytest.mark.parametrize(
    ("psi", "verdict"),
    [
        pytest.param(Insisting(torch.float64), Verdict.PASS, id="float64 alone"),
        pytest.param(Insisting(torch.float32), Verdict.NOT_MEASURED, id="float32 alone"),
        pytest.param(Insisting(torch.float64, halved=True), Verdict.FAIL, id="float64 with values in float16"),
        pytest.param(Insisting(torch.float32, halved=True), Verdict.FAIL, id="float32 with values in float16"),
        pytest.param(
            nn.Sequential(nn.Flatten(), nn.Linear(16, 1).double(), nn.Flatten(0), nn.Module()),
            Verdict.PASS,
            id="of layers that take their own precision",
        ),
    ],
)
def test_nobody_is_failed_for_a_precision_that_psi_does_not_have(psi: nn.Module, verdict: Verdict) -> None:
    """What insists on one precision is judged by the type of its values alone."""
    if isinstance(psi, nn.Sequential):
        psi[3] = Turned()
    target = foreign.target(psi, "psi", Size())
    [done] = outcomes(target, Plan(only=["ansatz/precision"], quick=True))
    assert [check.verdict for check in done.checks] == [verdict]


class Turned(nn.Module):
    """One complex log psi."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.complex(values, torch.zeros_like(values))


def test_the_page_of_mutants_says_what_was_missed_and_what_failed_wrongly() -> None:
    """The headline counts both; a mutant that lives and a variant that fails are failures of the chapter."""
    records = (
        Mutant(value=1.0, mutant="one", gate="a/b", check="c", verdict="FAIL", samples=300),
        Mutant(value=1.0, mutant="two", gate="a/b", check="c", verdict="FAIL"),
        Variant(value=1.0, variant="float32", seed=0, threads=1, gates=3, checks=5),
    )
    run = Run(job="gate mutants", provenance=provenance.collect("command"), records=records)
    [chapter] = chapters([run])
    assert chapter.judgement.headline == "2 of 2 mutants caught; of 1 variants of correct code 0 failed"
    assert chapter.judgement.passed
    [plot] = chapter.sections[0].plots
    assert plot.svg.startswith("<?xml")
    alive = Mutant(value=1.0, mutant="three", gate="a/d", check="c", verdict="PASS")
    wrong = Variant(value=1.0, variant="C4", seed=1, threads=2, gates=3, checks=5, failed=("e",), undecided=("f",))
    [chapter] = chapters([replace(run, records=(*records, alive, wrong))])
    assert not chapter.judgement.passed
    assert chapter.judgement.failures == ["three: a/d says PASS.", "Correct code, C4, fails: e."]
    assert chapter.judgement.undecided == ["C4: f."]
