"""The exact gates pass on the engine, and each planted bug fails the gate that is there for it."""

from __future__ import annotations

import pytest
from helpers.mutants import MUTANTS

from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.target import Target

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
    mutant = MUTANTS[name]
    mutant.plant(monkeypatch)
    made = checks(builtin(), Plan(only=[mutant.gate], quick=True))
    assert Verdict.FAIL in {check.verdict for check in made}, [(check.name, check.value) for check in made]
