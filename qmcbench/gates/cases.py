"""Gates as parametrised tests of pytest: one test for each gate, at the odds of all of them together."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict, Unpack

import pytest

from qmcbench.errors import UserError
from qmcbench.gates import summary
from qmcbench.gates.check import Verdict
from qmcbench.gates.registry import select
from qmcbench.gates.run import Outcome, Plan, one, session
from qmcbench.gates.targets import foreign
from qmcbench.gates.targets.load import load
from qmcbench.gates.targets.target import Size, Target


class Failed(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A gate found something wrong."""


class Undecided(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A gate was inconclusive; to expect a failure does not excuse that."""


@dataclass(frozen=True)
class Suite:
    """Gates on one target, which is made when the first of them runs."""

    value: Any
    """A target, its name on the command line, or whatever a target can be made from."""
    size: Size
    plan: Plan
    expected: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def target(self) -> Target:
        """The target."""
        if isinstance(self.value, str):
            return load(self.value, self.size.L, self.size.J2)
        name = f"{getattr(self.value, '__module__', '')}:{getattr(self.value, '__qualname__', '')}"
        return foreign.target(self.value, name if len(name.strip(":")) else type(self.value).__name__, self.size)

    def params(self) -> list[Any]:
        """One parameter of a test for each gate, with the gate's name as id."""
        gates = select(self.plan.only, self.plan.levels, quick=self.plan.quick)
        names = [each.name for each in gates]
        if unknown := [name for name in self.expected if name not in names]:
            raise pytest.UsageError(
                f"expected_failures names {unknown[0]!r}, which is none of the {len(names)} gates that are asked for."
            )
        return [
            pytest.param(
                Case(self, name),
                id=name,
                marks=[pytest.mark.xfail(reason=self.expected[name], raises=Failed, strict=True)]
                if name in self.expected
                else [],
            )
            for name in names
        ]


@dataclass(frozen=True)
class Case:
    """One gate on one target; calling it runs it."""

    suite: Suite
    name: str

    def __call__(self) -> None:
        """Pass, fail with what the gate has to say, or skip.

        Raises
        ------
        Failed, Undecided, pytest.skip.Exception, pytest.fail.Exception
            The last one if there is no target.
        """
        __tracebackhide__ = True
        try:
            outcome = one(self.name, self.suite.target, self.suite.plan)
        except UserError as error:  # no failure of a gate, so never an expected one
            pytest.fail(str(error), pytrace=False)
        if outcome.skipped is not None:
            pytest.skip(outcome.skipped)
        wrong = [check for check in outcome.checks if check.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
        if wrong:
            again = self._again(outcome)
            words = [summary.explain(check, again) for check in wrong]
            raise (Failed if any(check.verdict is Verdict.FAIL for check in wrong) else Undecided)(
                "\n\n".join(words), pytrace=False
            )
        if not any(check.passed for check in outcome.checks):
            pytest.skip("measured only at sizes that decide nothing")

    def _again(self, outcome: Outcome) -> str:
        """The command line that runs this test again, or the gate of a target that the command line can name."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
        if test and not isinstance(self.suite.value, str):
            return f"pytest {shlex.quote(test)}"
        plan = self.suite.plan
        return summary.command(outcome.record(plan), session(self.suite.target, plan), quick=plan.quick)


class Options(TypedDict, total=False):
    """What :class:`~qmcbench.gates.run.Plan` has, all of it optional."""

    only: Sequence[str]
    """Names of gates, or patterns such as ``sampler/*``."""
    levels: Sequence[str]
    quick: bool
    """Smaller sizes; leave out what takes long."""
    seed: int
    """Of everything random."""
    rate: float
    """Family-wise false-alarm rate of all of them."""
    effects: Mapping[str, float]
    """Smallest effects by the names of gates."""


def parametrize_with_gates(
    psi: Any,
    *,
    L: int | None = None,
    J2: float | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **plan: Unpack[Options],
) -> Callable[..., Any]:
    """Decorate ``def test_psi(gate): gate()``: it becomes one test for each gate, named by it.

    Each test can be run alone (``-k``, pytest-xdist); the false-alarm rate is that of all of them together.

    Parameters
    ----------
    psi
        A wave function or whatever else a target can be made from
        (:func:`qmcbench.gates.targets.foreign.target`), or the name of one on the command line.
    L, J2
        Lattice and coupling, 4 and 0.5 unless the target says others.
    expected_failures
        Gates that are known to fail, each with the reason: they are expected to (``xfail``), and one that passes
        fails the test.
    **plan
        Any of :class:`Options`: which gates, and at which odds.

    Returns
    -------
    Callable
        The decorator.
    """
    suite = Suite(psi, Size(L=L, J2=J2), Plan(**plan), dict(expected_failures or {}))
    return pytest.mark.parametrize("gate", suite.params())
