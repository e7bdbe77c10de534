"""The chapter on the Quantum Many-Body Leaderboard: its own runs under one protocol beside ours."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.export import lineage, program, seconds
from qmcbench.gates.energies import doubts
from qmcbench.reference import leaderboard
from qmcbench.reference.leaderboard import LeaderboardRun
from qmcbench.report.document import Cell, Chapter, Judgement, Row, Section, Table
from qmcbench.report.numbers import DASH, count, format_value_error, number
from qmcbench.statistics import v_score
from qmcbench.store.energies import Energy, best_known
from qmcbench.store.records import Run

PLAN = "leaderboard"
"""Of ``qmcbench transfer``: the protocol with the paper's network."""
COMMAND = "qmcbench reproduce --profile leaderboard --out runs/leaderboard"
COLUMNS = [
    "lattice", "program", "method", ">parameters", ">steps", ">samples a step", ">evaluated", ">E/N",
    ">above the best known", ">V-score", ">seconds", "device", "source",
]  # fmt: skip
SECONDS = "Our seconds: the steps of training and the evaluation, without program starts, warm-up and trial networks."
OURS = (
    "Ours: the paper's network by the same numbers of steps and samples (4,096 chains of one sample, theirs 1,024 of "
    "four), with the same learning rate in the same units and the same relative shift, and a Gram matrix built in "
    f"single precision. {SECONDS} "
)
Ours = list[tuple[Run, Energy]]


def chapters(runs: Sequence[Run]) -> list[Chapter]:
    """One chapter of all runs."""
    ours = _energies(runs)
    alike = [pair for pair in ours if pair[0].profile == PLAN]
    others = [pair for pair in ours if pair[0].profile != PLAN]
    tables = [_protocol(alike), _others(others)]
    sections = [Section("Accuracy, time and device", [each for each in tables if each.rows])]
    return [Chapter("leaderboard", "Quantum Many-Body Leaderboard", _judgement(alike), sections, "Leaderboard")]


def absent(runs: Sequence[Run]) -> list[str]:
    """The lattices of the protocol that have no energy of ours."""
    there = {(each.L, each.J2) for run, each in _energies(runs) if run.profile == PLAN}
    return [_place(L, J2) for L, J2 in _lattices() if (L, J2) not in there]


def _lattices() -> list[tuple[int, float]]:
    """Of the leaderboard's runs: L and J2."""
    return list(dict.fromkeys((each.L, each.J2) for each in leaderboard.runs()))


def _energies(runs: Sequence[Run]) -> Ours:
    """Those on these lattices that are to be trusted."""
    found = [(run, each) for run in runs for each in run.of(Energy) if (each.L, each.J2) in _lattices()]
    return [(run, each) for run, each in found if not doubts(each)]


def _judgement(alike: Ours) -> Judgement:
    common = leaderboard.protocol()
    ran = f"{len(alike)} of ours" if alike else "ours were not run"
    words = f"Under its protocol: {len(leaderboard.runs())} runs of {common.program} on one {common.device}, {ran}"
    return Judgement(words, True, [], [] if alike else [f"`{COMMAND}` runs ours."])


def _protocol(alike: Ours) -> Table:
    common = leaderboard.protocol()
    rows: list[Row] = []
    for L, J2 in _lattices():
        mine = [_ours(run, each) for run, each in alike if (each.L, each.J2) == (L, J2)]
        rows += [_theirs(each) for each in leaderboard.runs() if (each.L, each.J2) == (L, J2)]
        rows += mine or [_absent(L, J2)]
    caption = (
        "J2 = 0.5 unless said. Energies per site in units of J1 = 1, one standard error in parentheses. Theirs are "
        f"of {common.repository}, {common.protocol}; seconds: from the start of the process to the end of the "
        f"evaluation, compilation included. {OURS if alike else ''}The best known energy is exact on 6x6 and "
        "variational on 10x10."
    )
    return Table("Under one protocol", COLUMNS, rows, caption)


def _others(ours: Ours) -> Table:
    rows = [_ours(run, each) for run, each in sorted(ours, key=lambda pair: (pair[1].L, pair[1].value or 0.0))]
    caption = (
        "Every other energy of these lattices in this book that may be exported: by recipes of our own, all stages "
        f"of training together. {SECONDS} A dash: the network was trained by others, and only its evaluation is "
        "known."
    )
    return Table("By other settings", COLUMNS, rows, caption)


def _place(L: int, J2: float) -> str:
    return f"{L}x{L}" if J2 == 0.5 else f"{L}x{L}, J2 = {number(J2)}"


def _above(L: int, J2: float, energy: float, sigma: float | None) -> str:
    best = best_known(L, J2)
    if best is None:
        return DASH
    scale = abs(best.value)
    return format_value_error((energy - best.value) / scale, None if sigma is None else sigma / scale)


def _whole(took: float | None) -> str:
    return DASH if took is None else count(round(took))


def _theirs(run: LeaderboardRun) -> Row:
    common, energy, sigma = leaderboard.protocol(), run.energy / run.scale, run.sigma / run.scale
    return [
        _place(run.L, run.J2), common.program, run.method, count(run.parameters), count(common.steps),
        count(common.samples), count(common.evaluation), format_value_error(energy, sigma),
        _above(run.L, run.J2, energy, sigma), number(v_score(run.energy, run.variance, run.L**2)),
        _whole(run.seconds), common.device, Cell(run.file.rsplit("/", 1)[-1], "code"),
    ]  # fmt: skip


def _ours(run: Run, energy: Energy) -> Row:
    stages, network = lineage(run, energy.name), energy.network
    steps = sum(each.steps for each in stages)
    samples = sum(each.samples or 0 for each in stages)
    machine = run.provenance.machine
    return [
        _place(energy.L, energy.J2), program(run),
        f"the paper's network, {network.name}, {network.symmetry}", count(network.parameters),
        count(steps) if stages else DASH, count(round(samples / steps)) if steps else DASH, count(energy.samples),
        format_value_error(energy.value, energy.sigma),
        _above(energy.L, energy.J2, energy.value or 0.0, energy.sigma), number(energy.v_score),
        _whole(seconds(energy, stages)),
        machine.gpu or "GPU" if energy.device != "cpu" else f"{machine.cpu}, {machine.cores} cores",
        " ".join(filter(None, (run.job, run.profile))) + f", {energy.name}",
    ]  # fmt: skip


def _absent(L: int, J2: float) -> Row:
    return [_place(L, J2), "qmcbench", "the paper's network", *[DASH] * 4, Cell("not run", "absent"), *[DASH] * 5]
