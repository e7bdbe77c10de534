"""The chapters on whole lists of runs (``qmcbench reproduce`` and ``qmcbench transfer``)."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.bench.roofline import of_sgemm, rates
from qmcbench.gates.check import Check
from qmcbench.gates.energies import claims, deviation, doubts, label, shortfall
from qmcbench.report.claims import check_tables, judge, numbered, provenance_table
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.figure import origin
from qmcbench.report.numbers import DASH, count, duration, fixed, format_value_error, number, percent
from qmcbench.report.reproduction.figures import COUNTED, figures
from qmcbench.report.zero_shot.pages import full_sums
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Energy, Exact, FullSum, LeftOut, Training
from qmcbench.store.records import Record, Run

PARTS: dict[str, dict[str, type[Record]]] = {
    "reproduce": {"exact energies": Exact, "training runs": Training, "timings": WorkTime},
    "transfer": {"training runs": Training},
}
"""What a complete job holds: an interrupted one lacks the last of them."""
PART = {"transfer": "Transfer"}
"""The part of the book, where it is not that of the chapter."""
PLATEAU = "the error is a lower bound"


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter for each job: of the part on correctness, or on transfer."""
    return [
        Chapter(numbered("reproduction", n), title(run), judgement(run), sections(run), PART.get(run.job, ""))
        for n, run in enumerate(runs, start=1)
    ]


def title(run: Run) -> str:
    """The command, as far as it decides what was run."""
    return f"qmcbench {run.job} {'--profile ' if run.job == 'reproduce' else ''}{run.profile}"


def checks(run: Run) -> list[Check]:
    """The checks of the engine, and what is claimed of the energies."""
    return [*run.of(Check), *claims(run.of(Energy))]


def judgement(run: Run) -> Judgement:
    """The headline: the checks, what is missing, which energy is not to be trusted, what the profile leaves out."""
    remarks = [f"{energy.name}: {label(energy)}." for energy in run.of(Energy) if doubts(energy)]
    remarks += [f"{energy.name}: {said}" for energy in run.of(Energy) if (said := shortfall(energy))]
    skipped = run.of(LeftOut)
    if skipped:
        remarks.append(
            f"Left out: {'; '.join(each.what for each in skipped)}. The last tables say why, and what runs it."
        )
    missing = [what for what, kind in PARTS[run.job].items() if not run.of(kind)]
    return judge(checks(run), remarks, missing)


def sections(run: Run) -> list[Section]:
    """Everything below the headline, in order."""
    parts = [
        ("Energies", [energies(run), _settings(run)], "No training run was finished."),
        ("Against the paper", [_paper(run)], "Nothing to compare."),
        ("Exact diagonalization", [_exact(run)], "No exact energies were computed."),
        ("Checks", check_tables(checks(run)), "No checks were run."),
        ("Timings", [_timings(run)], "Nothing was timed."),
        ("Left out", [_left_out(run)], "The profile itself leaves nothing out."),
        ("Provenance", [_provenance(run)], ""),
    ]
    if run.of(FullSum):
        parts.insert(1, ("Full sums", [full_sums(run.of(FullSum), origin(run))], ""))
    if run.job == "transfer":  # which measures nothing else
        parts = [part for part in parts if part[0] not in ("Exact diagonalization", "Timings")]
    made = [Section(title, [t for t in tables if t.rows], empty=empty) for title, tables, empty in parts]
    return [made[0], Section("Figures", plots=figures(run), empty="No data to plot."), *made[1:]]


def _pairs(run: Run) -> list[tuple[Training, Energy | None]]:
    """Each training run with its evaluation, if there is one already."""
    evaluated = {energy.name: energy for energy in run.of(Energy)}
    return [(training, evaluated.get(training.name)) for training in run.of(Training)]


def energies(run: Run) -> Table:
    """What each run came to."""
    columns = [
        "run", ">L", ">J2", ">parameters", ">steps", ">samples", ">training s", ">E/N", ">reference E/N", "source",
        ">relative error", ">V-score", ">R-hat", ">tau", "plateau",
    ]  # fmt: skip
    rows: list[Row] = []
    for training, energy in _pairs(run):
        exact = training.reference
        known = [DASH, DASH] if exact is None else [format_value_error(exact.value, 0.0), exact.source]
        rows.append([
            training.name, str(training.L), number(training.J2), count(training.parameters), count(training.steps),
            count(training.samples), fixed(training.seconds, 1), measured(energy), *known, *_quality(energy),
        ])  # fmt: skip
    caption = (
        "Energies per site in units of J1 = 1, evaluated with unfiltered local energies after training, at fixed "
        "parameters. In parentheses: one standard error of the last digits, by blocking over independent chains; "
        "relative error (E - E0)/|E0|. The reference is exact up to 6x6, else the best published. "
        f"Without a plateau {PLATEAU}. {origin(run)}"
    )
    return Table("Evaluated energies", columns, rows, caption)


def measured(energy: Energy | None) -> str:
    """An evaluated energy with its standard error."""
    return DASH if energy is None else format_value_error(energy.value, energy.sigma)


def relative(energy: Energy | None) -> str:
    """Its relative error against the exact one, with its standard error."""
    if energy is None or energy.exact is None or not energy.exact.value:
        return DASH
    error = None if energy.sigma is None else energy.sigma / abs(energy.exact.value)
    return format_value_error(energy.above(energy.exact), error)


def _quality(energy: Energy | None) -> Row:
    """Relative error, V-score, R-hat, tau and plateau."""
    if energy is None:
        return [DASH] * 5
    plateau = "yes" if energy.plateau else Cell("no", "bad")
    return [relative(energy), number(energy.v_score), fixed(energy.r_hat, 4), number(energy.tau), plateau]


def _settings(run: Run) -> Table:
    columns = [
        "run", "network", "symmetry", "sign", "started from", ">chains", ">samples evaluated", ">effective",
        ">acceptance", ">alpha", ">abnormal", ">evaluation s", ">seed", ">full-sum E/N", ">z",
    ]  # fmt: skip
    rows: list[Row] = []
    for training, energy in _pairs(run):
        rows.append([
            training.name, training.network, training.symmetry, training.sign, training.start or "fresh",
            count(training.chains), *_evaluation(energy),
        ])  # fmt: skip
    caption = (
        "Full-sum E/N: the exact expectation of the trained network, over all configurations of a lattice that is "
        "small enough; z: the evaluated energy minus it, in standard errors."
    )
    return Table("How the runs were made and evaluated", columns, rows, caption)


def _evaluation(energy: Energy | None) -> Row:
    """How a run was evaluated, and what that is by the full sum."""
    if energy is None:
        return [DASH] * 9
    return [
        count(energy.samples), count(round(energy.effective_samples)), fixed(energy.acceptance, 3),
        number(energy.alpha), count(energy.abnormal), fixed(energy.seconds, 1), str(energy.seed),
        number(energy.full_sum, 10), fixed(deviation(energy.value, energy.sigma, energy.full_sum), 2),
    ]  # fmt: skip


def _paper(run: Run) -> Table:
    columns = [
        "what", "quantity", ">paper", ">paper's steps", "our run", ">ours, first step", ">ours, evaluated",
        ">our steps", ">ours - paper",
    ]  # fmt: skip
    rows: list[Row] = []
    for training, energy in _pairs(run):
        stage, curve = training.paper, training.curve
        if stage is None:
            continue
        first = (curve.energy[0], curve.error[0]) if curve.energy and curve.error else (None, None)
        last = (energy.value, energy.sigma) if energy else (None, None)
        name = training.name + (f" (started from {training.start})" if training.start else "")
        for quantity, paper, own in (("start of E/N", stage.start, first), ("E/N", stage.end, last)):
            difference = None if own[0] is None else own[0] - paper
            rows.append([
                stage.what, quantity, number(paper, 6), count(stage.steps), name, format_value_error(*first),
                measured(energy), count(training.steps), format_value_error(difference, own[1]),
            ])  # fmt: skip
    caption = (
        "The paper's numbers are read off its text and figures and carry no error; ours carry one standard error. "
        "A run that starts from another's parameters starts lower than one from fresh ones. " + origin(run)
    )
    return Table("Paper and measurement side by side", columns, rows, caption)


def _exact(run: Run) -> Table:
    columns = [
        ">L", ">J2", ">E/N", ">residual", "sector", ">states", ">S(pi,pi)", ">S(pi,0)", ">gap", "source",
    ]  # fmt: skip
    rows: list[Row] = [
        [
            str(r.L), number(r.J2), number(r.value, 12), number(r.residual, 2), r.sector, count(r.states),
            number(r.structure_factor_pi_pi, 8), number(r.structure_factor_pi_0, 8), number(r.gap, 8), r.source,
        ]
        for r in run.of(Exact)
    ]  # fmt: skip
    caption = (
        "Ground states in the named symmetry sector, energies per site. Their error is that of the arithmetic: the "
        "residual |H psi - E psi| bounds it. S(q): the sum over displacements, not divided by the number of sites. "
        f"Gap: to the next state of the same sector, total energy in units of J1. {origin(run)}"
    )
    return Table("Exact ground states", columns, rows, caption)


def _timings(run: Run) -> Table:
    columns = [
        "operation", "network", ">L", ">batch", "type", ">median", ">min..max", ">repeats", ">GF/s", ">of sgemm",
    ]  # fmt: skip
    known = rates(run)
    sgemm = known.get("sgemm")
    rows: list[Row] = [
        [
            t.work, t.network, count(t.L), count(t.batch), t.dtype, duration(t.value),
            f"{duration(t.low)} .. {duration(t.high)}", count(t.repeats), number(t.GFs), percent(of_sgemm(t, known)),
        ]
        for t in run.of(WorkTime)
    ]  # fmt: skip
    caption = (
        f"Wall times: the median and range of repeats in one session. GF/s: {COUNTED}. sgemm: a large "
        f"single-precision matrix product in the same session, {number(sgemm.value if sgemm else None)} GF/s. "
        f"{origin(run)}"
    )
    return Table("Times of single operations", columns, rows, caption)


def _left_out(run: Run) -> Table:
    rows: list[Row] = [
        [each.what, each.not_run or DASH, Cell(each.command, "code") if each.command else DASH]
        for each in run.of(LeftOut)
    ]
    return Table("What this report does not cover", ["what", "why", "command that runs it, or the nearest"], rows)


def _provenance(run: Run) -> Table:
    seeds = [f"{energy.name}: {energy.seed}" for energy in run.of(Energy)]
    return provenance_table(run, [["evaluation seeds", "; ".join(seeds) or DASH]])
