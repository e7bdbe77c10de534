"""Deliberate bugs, each caught by a gate that is named beside it, and no correct code with them."""

import pytest
from helpers.mutants_engine import MUTANTS

from qmcbench.gates.check import Verdict, worst
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.builtin import builtin


def verdict(gate: str) -> Verdict:
    """Of one gate, on the engine as it is now."""
    [outcome] = outcomes(builtin(), Plan(only=[gate], quick=True))
    return worst(outcome.checks).verdict


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate fails with the bug planted."""
    plant, gate = MUTANTS[mutant]
    plant(monkeypatch)
    assert verdict(gate) is Verdict.FAIL


@pytest.mark.parametrize("gate", sorted({gate for _, gate in MUTANTS.values()}))
def test_correct_code_passes(gate: str) -> None:
    """The same gates pass without one."""
    assert verdict(gate) is Verdict.PASS
