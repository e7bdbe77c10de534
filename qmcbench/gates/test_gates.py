"""One test for each gate, on the target that ``pytest --pyargs qmcbench.gates --qmc-target TARGET`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qmcbench.errors import UserError

if TYPE_CHECKING:
    from qmcbench.gates.cases import Case

NO_TARGET = "no target: say what to test, such as --qmc-target mypackage.model:psi"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The gates that the options ask for; without a target, one test that is skipped and says so."""
    option = metafunc.config.getoption
    target = option("qmc_target", None)
    if target is None:
        nothing = pytest.param(None, id="no target", marks=pytest.mark.skip(reason=NO_TARGET))
        metafunc.parametrize("gate", [nothing])
        return
    from qmcbench.gates.cases import Suite
    from qmcbench.gates.run import RATE, Plan, parse_effects
    from qmcbench.gates.targets.target import Size

    rate = option("qmc_rate")
    try:
        plan = Plan(
            only=option("qmc_only"),
            levels=option("qmc_level"),
            quick=option("qmc_quick"),
            seed=option("qmc_seed"),
            rate=RATE if rate is None else rate,
            effects=parse_effects(option("qmc_effect")),
        )
        metafunc.parametrize("gate", Suite(target, Size(L=option("qmc_L"), J2=option("qmc_j2")), plan).params())
    except UserError as error:
        raise pytest.Collector.CollectError(str(error)) from error


def test_gate(gate: Case) -> None:
    """A gate passes."""
    __tracebackhide__ = True
    gate()
