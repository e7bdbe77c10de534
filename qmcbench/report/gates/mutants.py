"""The chapter of mutants: deliberate bugs, and the gate that catches each."""

from __future__ import annotations

from qmcbench.gates.check import Verdict
from qmcbench.report.claims import provenance_table
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.numbers import count, duration
from qmcbench.store.gates import Mutant
from qmcbench.store.records import Run


def mutants(run: Run, place: int) -> Chapter:
    """The chapter of one table of mutants, the ``place``-th from 1."""
    all_of_them = run.of(Mutant)
    missed = [each for each in all_of_them if each.verdict != Verdict.FAIL]
    headline = f"{len(all_of_them) - len(missed)} of {len(all_of_them)} mutants caught"
    failures = [f"{each.mutant}: {each.gate} says {each.verdict}." for each in missed]
    return Chapter(
        name="mutants" if place == 1 else f"mutants-{place}",
        title="Mutants: deliberate bugs in the engine",
        judgement=Judgement(headline, not missed, failures, []),
        sections=[Section("Mutants", [_table(all_of_them)]), Section("Provenance", [provenance_table(run)])],
    )


def _table(those: list[Mutant]) -> Table:
    rows: list[Row] = [
        [
            "caught" if each.verdict == Verdict.FAIL else Cell(each.verdict, "bad"),
            each.mutant, each.gate, each.check, count(each.samples), duration(each.value),
        ]
        for each in sorted(those, key=lambda each: (each.gate, each.mutant))
    ]  # fmt: skip
    caption = (
        "Each bug is planted alone, and the named gate alone is run on the engine, at the sizes of `--quick`, with "
        "no unit test. Samples: of the check that failed, where it is statistical; the others are exact."
    )
    return Table("Caught by", ["outcome", "mutant", "gate", "check", ">samples", ">time"], rows, caption)
