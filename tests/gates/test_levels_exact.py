"""The exact gates pass on the engine, and each planted bug fails the gate that is there for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.mutants import MUTANTS
from torch import Tensor, nn

from qmcbench.ansatz.base import invariance
from qmcbench.config import Wavefunction
from qmcbench.errors import UserError
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.levels.distributed import settings, trained
from qmcbench.gates.levels.reproducibility import differences
from qmcbench.gates.models import Jastrow
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.builtin import builtin, log_derivatives, step
from qmcbench.gates.targets.target import Target
from qmcbench.ranks.comm import Serial
from qmcbench.vmc import build_ansatz

LEVELS = ("ansatz", "derivatives", "local_energy", "optimiser")


def checks(target: Target, plan: Plan) -> list[Check]:
    """All checks of a plan."""
    return [check for outcome in outcomes(target, plan) for check in outcome.checks]


def test_the_engine_passes() -> None:
    """Every check of these levels passes; none is left out."""
    made = checks(builtin(), Plan(levels=LEVELS, quick=True))
    assert len(made) > 50
    assert [check.name for check in made if check.verdict is not Verdict.PASS] == []
    assert len({check.name for check in made}) == len(made)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the gate that is named with it."""
    plant, gate = MUTANTS[name]
    plant(monkeypatch)
    made = checks(builtin(), Plan(only=[gate], quick=True))
    assert Verdict.FAIL in {check.verdict for check in made}, [(check.name, check.value) for check in made]


def verdicts(target: Target, level: str) -> dict[str, Verdict]:
    """By the names of the checks of a level."""
    return {check.name: check.verdict for check in checks(target, Plan(levels=[level], quick=True))}


@pytest.mark.parametrize("seed", range(4))
def test_kinks_and_nodes_are_no_mistake(seed: int) -> None:
    """Correct derivatives pass whatever the seed, though a maximum may change over, or psi vanish, right beside."""
    psi = build_ansatz(Wavefunction(dtype="float64"), seed=seed)
    made = checks(replace(builtin(), psi=psi), Plan(only=["derivatives/finite-differences"], seed=seed, quick=True))
    assert {check.verdict for check in made} == {Verdict.PASS}


@pytest.mark.parametrize("symmetry", ["none", "C4", "full"])
def test_float32_is_precise_enough(symmetry: str) -> None:
    """A network in production precision passes the tests of a wave function, and those of its derivatives."""
    psi = build_ansatz(Wavefunction(dtype="float32", symmetry=symmetry), seed=2)
    target = replace(builtin(), psi=psi, invariance=invariance(psi), engine=False)
    for level in ("ansatz", "derivatives"):
        # Where a network alone is not invariant, nothing is claimed.
        assert set(verdicts(target, level).values()) <= {Verdict.PASS, Verdict.NOT_MEASURED}


class Single(nn.Module):
    """A network that insists on float32, as most do; ``turned`` gives it a phase with a parameter."""

    def __init__(self, *, turned: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))
        self.angle = nn.Parameter(torch.tensor(0.3)) if turned else None

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi = self.layers(spins.flatten(1).float()).squeeze(1)
        if self.angle is None:
            return log_psi, torch.ones_like(log_psi)
        return log_psi, torch.exp(1j * self.angle * spins[:, 0, 0])


@pytest.mark.parametrize("turned", [False, True], ids=["real", "complex"])
def test_a_network_that_insists_on_float32(turned: bool) -> None:
    """It is looked at in float32, with bounds for that: right derivatives pass, those of the other sign fail."""
    right = replace(builtin(), psi=Single(turned=turned), invariance=(), engine=False)
    assert set(verdicts(right, "derivatives").values()) == {Verdict.PASS}
    wrong = replace(right, log_derivatives=lambda psi, spins: -log_derivatives(psi, spins))
    assert Verdict.FAIL in verdicts(wrong, "derivatives").values()
    assert verdicts(right, "ansatz")["float32 against float64"] is Verdict.NOT_MEASURED


class Gapped(nn.Module):
    """A linear log psi that is no number on the first configuration of a batch; ``least``: in that precision only."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least
        self.weights = nn.Parameter(torch.linspace(-1, 1, 64, dtype=torch.float64))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi = spins.flatten(1).to(self.weights.dtype) @ self.weights
        gap = torch.where(torch.arange(len(spins)) == 0, torch.nan, 0.0)
        broken = torch.finfo(log_psi.dtype).eps >= self.least
        return log_psi + gap if broken else log_psi, torch.ones_like(log_psi)


@pytest.mark.parametrize("least", [pytest.param(1e-7, id="float32"), pytest.param(0.0, id="float64 too")])
def test_what_is_no_number_is_never_precise(least: float) -> None:
    """One configuration without a value fails, be it in single precision alone or in what that is held against."""
    target = replace(builtin(), psi=Gapped(least), invariance=())
    [check] = checks(target, Plan(only=["ansatz/precision"], quick=True))
    assert check.verdict is Verdict.FAIL


def test_equal_histories_with_a_gap_are_equal() -> None:
    """A step whose chains were abnormal has no energy, in the whole run and in the resumed one; else they differ."""
    whole = trained(settings(0), Serial())
    parts = trained(settings(0), Serial())
    assert differences(whole, parts) == 0
    whole.history[0, 0] = torch.nan
    assert differences(whole, parts) == 1
    parts.history[0, 0] = torch.nan
    assert differences(whole, parts) == 0


def test_a_phase_that_nobody_differentiates_is_not_certified() -> None:
    """Real log-derivatives of a psi whose phase has parameters fail; a refusal by name is not a pass."""
    target = replace(builtin(), psi=Jastrow(0, turning=True), invariance=(), engine=False)
    real = replace(target, log_derivatives=lambda psi, spins: log_derivatives(psi, spins).real)
    assert verdicts(target, "derivatives")["log-derivatives against differences, 4x4, as it is"] is Verdict.PASS
    assert verdicts(real, "derivatives")["log-derivatives against differences, 4x4, as it is"] is Verdict.FAIL

    def refuse(psi: nn.Module, spins: Tensor) -> Tensor:
        raise UserError("The phase depends on a parameter, which is not supported.")

    assert set(verdicts(replace(target, log_derivatives=refuse), "derivatives").values()) == {Verdict.NOT_MEASURED}
    # Nothing excuses the refusal of a real psi.
    plain = replace(builtin(), psi=Jastrow(0), invariance=(), engine=False, log_derivatives=refuse)
    assert Verdict.FAIL in verdicts(plain, "derivatives").values()


def test_a_step_that_takes_no_complex_rows_is_not_certified() -> None:
    """A refusal is named; a step that drops the imaginary part fails."""
    refusing = replace(builtin(), step=lambda rows, *rest: step(_real_only(rows), *rest))
    dropping = replace(builtin(), step=lambda rows, energies, *rest: step(rows.real, energies.real, *rest))
    for target, verdict in ((refusing, Verdict.NOT_MEASURED), (dropping, Verdict.FAIL)):
        [check] = checks(target, Plan(only=["optimiser/complex-rows"]))
        assert check.verdict is verdict


def _real_only(rows: Tensor) -> Tensor:
    if rows.is_complex():
        raise UserError("Complex log-derivatives are not supported.")
    return rows


def test_zeros_and_plain_functions() -> None:
    """A plain function with zeros, (-inf, 0), is a wave function; a zero given as (0, 0) is told what to be."""

    def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
        even = spins[:, 0].sum(1) != 4
        return torch.where(even, 0.1 * spins[:, 0, 0], -torch.inf), even.double()

    target = replace(builtin(), psi=psi, invariance=(), engine=False)
    assert set(verdicts(target, "ansatz").values()) == {Verdict.PASS, Verdict.NOT_MEASURED}
    wrong = replace(target, psi=lambda spins: (psi(spins)[0].nan_to_num(neginf=0.0), psi(spins)[1]))
    [check] = checks(wrong, Plan(only=["ansatz/phase"]))
    assert check.verdict is Verdict.FAIL
    assert "logarithm is -inf" in str(check.cause)


def test_an_angle_is_told_what_it_should_be() -> None:
    """The cause of the failure says how to give an angle."""
    angle = replace(builtin(), psi=lambda spins: (0.0 * spins[:, 0, 0], 0.3 + 0.0 * spins[:, 0, 0]), invariance=())
    [check] = checks(angle, Plan(only=["ansatz/phase"]))
    assert check.verdict is Verdict.FAIL
    assert "torch.exp(1j * a)" in str(check.cause)
