"""The chapter on the seed paper: its tables and figures mirrored, and every claim of it."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.paper.join import Counts, Joined, Outcome, counts, join
from qmcbench.report.document import Chapter, Judgement, Section, Table, grouped
from qmcbench.report.figure import Plot
from qmcbench.report.paper import energies, figures, sizes, tables
from qmcbench.store.records import Run

TITLE = "Li et al., IEEE TPDS 33, 2846 (2022), arXiv:2108.13830"


def chapters(runs: Sequence[Run], joined: Sequence[Joined] | None = None) -> list[Chapter]:
    """One chapter of all runs together, whose claims may be joined already."""
    joined = join(runs) if joined is None else joined
    return [Chapter("paper", TITLE, judgement(joined), sections(joined, runs), "The paper")]


def headline(found: Counts) -> str:
    """The counts in one line."""
    why = f"{found.elsewhere} on another machine, {found.contradicted} that the paper itself contradicts"
    return (
        f"Of {found.listed} claims {found.agreeing} agree, {found.disagreeing} disagree ({why}), {found.projected} "
        f"are projected, {found.not_run} not run"
    )


def judgement(joined: Sequence[Joined]) -> Judgement:
    """The counts, and which claims disagree: none of them fails a check, as a paper is nobody's code."""
    found = counts(joined)
    rest = [each for each in joined if each.outcome is Outcome.DISAGREES and not each.other_machine]
    remarks = [
        f"Listed: {found.listed}; measured: {found.measured}; counted: {found.counted}; projected: "
        f"{found.projected}; not run: {found.not_run}; agreeing: {found.agreeing}; disagreeing: {found.disagreeing}.",
        *(
            f"Disagreeing, {place}: {'; '.join(each.claim.what for each in those)}."
            for place, those in grouped(rest, lambda each: each.claim.place).items()
        ),
        f"The paper contradicts itself in {found.contradicting} claims; a table below lists them.",
    ]
    explained = found.elsewhere + found.contradicted == found.disagreeing
    return Judgement(headline(found), explained, [], remarks)


def sections(joined: Sequence[Joined], runs: Sequence[Run]) -> list[Section]:
    """Everything below the headline, in the paper's order."""
    none = "No record answers this: not run."

    def mirrored(place: str, what: str, plots: list[Plot], text: str = "", more: Sequence[Table] = ()) -> Section:
        places = (place, text) if text else (place,)
        return Section(place, [tables.numbers(joined, f"{place}: {what}", places), *more], plots, none)

    front = [tables.summary(joined), tables.contradictions(joined), tables.regenerated(joined)]
    own = tables.table3_ours(runs)
    networks = [*energies.figure12(joined, runs), *sizes.figure(runs)]
    compared = [*energies.figure13(joined, runs), *energies.direct(runs)]
    return [
        Section("Does the paper hold?", front),
        Section("Table 1", [tables.table1(joined)]),
        Section("Table 2", [tables.table2(runs)]),
        Section("Table 3", [*tables.table3(joined), *([own] if own.rows else [])]),
        Section("Table 4", [tables.table4(joined, runs)]),
        mirrored("Fig. 7", "shares", figures.figure7(joined)),
        mirrored("Fig. 8", "saturated speedups", figures.figure8(runs)),
        mirrored("Fig. 9", "seconds", figures.figure9(joined, runs)),
        mirrored("Fig. 10", "seconds and efficiency", figures.figure10(joined)),
        mirrored("Fig. 11", "energies", energies.figure11(runs)),
        mirrored("Fig. 12", "energies", networks, "Sec. 4.3.2", sizes.table(runs)),
        mirrored("Fig. 13", "energies", compared, "Sec. 4.3.3", tables.direct(runs)),
        Section("Every claim", [tables.everything(joined)]),
    ]
