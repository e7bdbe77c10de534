"""The chapter of mutants: deliberate bugs and the gate that catches each, and correct code that must not fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure

from qmcbench.gates.check import Verdict
from qmcbench.report.claims import provenance_table
from qmcbench.report.colours import BLUE, GREEN, VERMILION
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.figure import Plot, name_rows, origin, render
from qmcbench.report.numbers import count, duration
from qmcbench.store.gates import Mutant, Variant
from qmcbench.store.records import Run

EXACT = 10.0
"""Where exact checks stand on the axis of samples: statistical ones have a thousand and more."""


def mutants(run: Run, place: int) -> Chapter:
    """The chapter of one table of mutants, the ``place``-th from 1."""
    tried, variants = sorted(run.of(Mutant), key=lambda each: (each.gate, each.mutant)), run.of(Variant)
    missed = [each for each in tried if each.verdict != Verdict.FAIL]
    wrong = [each for each in variants if each.failed]
    headline = f"{len(tried) - len(missed)} of {len(tried)} mutants caught"
    if variants:
        headline += f"; of {len(variants)} variants of correct code {len(wrong)} failed"
    failures = [f"{each.mutant}: {each.gate} says {each.verdict}." for each in missed]
    failures += [f"Correct code, {each.variant}, fails: {', '.join(each.failed)}." for each in wrong]
    undecided = [f"{each.variant}: {', '.join(each.undecided)}." for each in variants if each.undecided]
    sections = [
        Section("Mutants", [_table(tried), _by_gate(tried)], [_plot(run, tried)]),
        *([Section("Correct code", [_variants(variants)])] if variants else []),
        Section("Provenance", [provenance_table(run)]),
    ]
    return Chapter(
        name="mutants" if place == 1 else f"mutants-{place}",
        title="Mutants: deliberate bugs in the engine",
        judgement=Judgement(headline, not failures, failures, [], undecided),
        sections=sections,
    )


def _table(tried: Sequence[Mutant]) -> Table:
    rows: list[Row] = [
        [
            "caught" if each.verdict == Verdict.FAIL else Cell(each.verdict, "bad"),
            each.mutant, each.gate, each.check, count(each.samples), duration(each.value),
        ]
        for each in tried
    ]  # fmt: skip
    caption = (
        "Each bug is planted alone, and the named gate alone is run on the engine, at the sizes of `--quick`, with "
        "no unit test. Samples: of the check that failed, where it is statistical; the others are exact."
    )
    return Table("Caught by", ["outcome", "mutant", "gate", "check", ">samples", ">time"], rows, caption)


def _by_gate(tried: Sequence[Mutant]) -> Table:
    """How many each gate catches."""
    caught = Counter(each.gate for each in tried if each.verdict == Verdict.FAIL)
    rows: list[Row] = [
        [gate, count(number), count(caught[gate])] for gate, number in Counter(each.gate for each in tried).items()
    ]
    return Table("By gate", ["gate", ">mutants", ">caught"], rows)


def _plot(run: Run, tried: Sequence[Mutant]) -> Plot:
    gates = list(dict.fromkeys(each.gate for each in tried))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        drawn: Counter[tuple[str, float]] = Counter()
        for each in tried:
            place = EXACT if each.samples is None else float(each.samples)
            colour = VERMILION if each.verdict != Verdict.FAIL else GREEN if each.samples is None else BLUE
            # Mutants that a gate catches at as many samples stand beside each other.
            axes.plot(
                place * 1.15 ** drawn[each.gate, place], gates.index(each.gate), "o", ms=3.5, color=colour, alpha=0.8
            )
            drawn[each.gate, place] += 1
        name_rows(axes, gates)
        axes.set_xlabel("samples (green: exact)")

    return Plot(
        name="samples",
        title="Samples at which each mutant is caught, by gate",
        caption="One point for each mutant: green by an exact check, which has no samples, blue by a statistical one "
        f"at so many (those of equal numbers stand side by side), vermilion if it was missed. {origin(run)}",
        svg=render("mutants", (5.2, 0.9 + 0.19 * len(gates)), draw),
    )


def _variants(variants: Sequence[Variant]) -> Table:
    rows: list[Row] = [
        [
            Cell("failed", "bad") if each.failed else "undecided" if each.undecided else "passed",
            count(each.seed), each.variant, count(each.threads), count(each.gates), count(each.checks),
            duration(each.value),
        ]
        for each in variants
    ]  # fmt: skip
    caption = (
        "Correct code in other forms: seeds, precisions, symmetries, threads, and sizes of buffers and chunks. The "
        "gates are those whose outcome can depend on these; each run at a false-alarm rate of 1e-3."
    )
    columns = ["outcome", ">seed", "variant", ">threads", ">gates", ">checks", ">time"]
    return Table("Variants", columns, rows, caption)
