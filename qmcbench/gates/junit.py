"""A run of gates as JUnit XML, which continuous integration shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from qmcbench.gates import summary
from qmcbench.gates.check import Check, Verdict
from qmcbench.store.gates import GateRun, GateSession
from qmcbench.store.records import Run

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


def document(run: Run) -> bytes:
    """One test case for each gate: a failure, an error if it was inconclusive, skipped, or passed."""
    session = run.of(GateSession)[0]
    gates, again = run.of(GateRun), summary.commands(run)
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", name=_text(f"qmcbench gate {session.target}"))
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for each in gates:
        level, _, name = each.name.partition("/")
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"qmcbench.gates.{level}", name=name, time=f"{each.value or 0.0:.3f}"
        )
        verdict = summary.verdict(run, each.name)
        if each.not_run is not None or verdict is Verdict.NOT_MEASURED:
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", message=_text(each.not_run or "not measured"))
        elif verdict is not Verdict.PASS:
            tag = "failure" if verdict is Verdict.FAIL else "error"
            counts["failures" if verdict is Verdict.FAIL else "errors"] += 1
            checks = [check for check in run.of(Check) if check.gate == each.name and check.verdict is verdict]
            node = ElementTree.SubElement(case, tag, message=_text(checks[0].name), type=str(verdict))
            node.text = _text("\n\n".join(summary.explain(check, again[each.name]) for check in checks))
    suite.set("tests", str(len(gates)))
    suite.set("time", f"{run.seconds or 0.0:.3f}")
    for name, count in counts.items():
        suite.set(name, str(count))
    ElementTree.indent(suites)
    made: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return made


def _text(words: str) -> str:
    return FORBIDDEN.sub("?", words)
