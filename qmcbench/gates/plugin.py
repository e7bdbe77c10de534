"""The plugin of pytest: options of ``pytest --pyargs qmcbench.gates``, and what a test run says of its gates.

pytest loads it in every environment that has qmcbench, so it imports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PROPERTY = "gate"
"""Name of the property (of JUnit, too) that a test of a gate has, with the gate's name."""
OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "target",
        {"metavar": "TARGET", "help": "`package.module:name`, or a file (.npz, .csv, .json, .nk)"},
    ),
    (
        "only",
        {"metavar": "GATE", "action": "append", "default": [], "help": "names or patterns (repeatable)"},
    ),
    ("level", {"metavar": "LEVEL", "action": "append", "default": [], "help": "levels of gates (repeatable)"}),
    ("quick", {"action": "store_true", "help": "smaller sizes; leave out what takes long"}),
    ("rate", {"metavar": "P", "type": float, "help": "family-wise false-alarm rate (1e-3)"}),
    ("effect", {"metavar": "GATE=SIZE", "action": "append", "default": [], "help": "smallest effect to be seen"}),
    ("L", {"metavar": "L", "type": int, "help": "lattice of the wave function (4)"}),
    ("j2", {"metavar": "J2", "type": float, "help": "coupling, in units of J1 (0.5)"}),
    ("seed", {"metavar": "N", "type": int, "default": 0, "help": "of everything random (0)"}),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """A group of their own in ``pytest --help``."""
    group = parser.getgroup("qmcbench", "gates of a variational wave function (pytest --pyargs qmcbench.gates)")
    for name, settings in OPTIONS:
        group.addoption(f"--qmc-{name}", dest=f"qmc_{name}", **settings)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Mark tests of gates, so that reports know them, those of other processes (pytest-xdist) too."""
    case: Any = getattr(getattr(item, "callspec", None), "params", {}).get("gate")
    if type(case).__module__ == "qmcbench.gates.cases":
        item.user_properties.append((PROPERTY, case.name))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """``N gates ran, M skipped (why)``, if there were any."""
    ran, reasons = 0, []
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if PROPERTY not in dict(getattr(report, "user_properties", ())) or outcome == "":
                continue
            if outcome == "skipped":
                reasons.append(str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr))
            else:
                ran += 1
    if ran or reasons:
        why = {reason.removeprefix("Skipped: "): None for reason in reasons}
        words = f" ({'; '.join(why)})" if why else ""
        terminalreporter.write_line(f"{ran} gate{'s' * (ran != 1)} ran, {len(reasons)} skipped{words}")
