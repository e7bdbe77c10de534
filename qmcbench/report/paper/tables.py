"""Tables of the chapter on the paper: its own, mirrored, and the list of its claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from qmcbench.bench.accuracy import SMOOTH
from qmcbench.gates.energies import doubts
from qmcbench.paper import counted
from qmcbench.paper.answers import COUNTED, beside, of_authors, origin
from qmcbench.paper.join import Joined, Outcome
from qmcbench.paper.trainings import TARGET, Trained, rivals, total
from qmcbench.reference import model_spec, paper
from qmcbench.reference.claims import answers
from qmcbench.report.document import Cell, Row, Table, grouped
from qmcbench.report.numbers import DASH, count, duration, fixed, format_value_error, number
from qmcbench.report.paper.marks import LEGEND, NOT_RUN, SIGNS, either, of, printed, shown
from qmcbench.store.energies import Energy, Training
from qmcbench.store.records import Run
from qmcbench.store.scaling import OnRanks, WeakRun

T = TypeVar("T", int, float)
STYLES = {
    Outcome.AGREES: "counted",
    Outcome.DISAGREES: "bad",
    Outcome.PROJECTED: "projected",
    Outcome.NOT_RUN: "absent",
}


def summary(joined: Sequence[Joined]) -> Table:
    """How many claims of each place came to what."""
    rows: list[Row] = []
    for place, those in [*grouped(joined, lambda each: each.claim.place).items(), ("all", list(joined))]:
        found = [sum(each.outcome is outcome for each in those) for outcome in Outcome]
        rows.append([place, count(len(those)), *(count(n) if n else DASH for n in found)])
    columns = ["place", ">listed", *(f">{outcome}" for outcome in Outcome)]
    caption = (
        "agrees: ours, of the same thing, is within three standard errors of what is printed (and its last digit; "
        "'about' allows what the list says). disagrees: it is not. projected: nothing was measured on the paper's "
        "machine, and the cost model was fitted to these very times. not run: no record of just this."
    )
    return Table("Claims by place", columns, rows, caption)


def contradictions(joined: Sequence[Joined]) -> Table:
    """Where the paper contradicts itself."""
    rows: list[Row] = []
    for why, those in grouped(joined, lambda each: each.claim.contradiction).items():
        if why:
            what = "; ".join(each.claim.what for each in those)
            values = ", ".join(printed(each.claim.value) for each in those)
            rows.append([those[0].claim.place, what, values, Cell(why, "bad")])
    return Table("Where the paper contradicts itself", ["place", "claim", ">printed", "but"], rows)


def everything(joined: Sequence[Joined]) -> Table:
    """The whole list."""
    rows: list[Row] = []
    for each in joined:
        claim = each.claim
        relation = {"equal": "", "about": f"about (within {100 * claim.within:g} %) "}.get(
            claim.relation, f"{claim.relation} "
        )
        found = dict.fromkeys(answer.of for answer in (each.ours, each.projection) if answer)
        rows.append([
            claim.place, claim.what, claim.unit or DASH, f"{relation}{printed(claim.value)}",
            shown(each.ours) if each.ours else DASH if each.projection else NOT_RUN,
            shown(each.projection) if each.projection else DASH, fixed(each.difference, 1),
            Cell(str(each.outcome), STYLES[each.outcome]), "; ".join(found) or DASH, each.why or DASH,
        ])  # fmt: skip
    columns = [
        "place", "claim", "unit", ">paper", ">ours", ">projection", ">difference, sigma", "outcome", "record",
        "why, or what is near",
    ]  # fmt: skip
    return Table("Every quantitative claim of the paper", columns, rows, LEGEND)


def regenerated(joined: Sequence[Joined]) -> Table:
    """What answers the claims, and how it is made again."""
    rows: list[Row] = []
    for name, those in grouped(joined, lambda each: each.claim.answer).items():
        kind = answers()[name]
        rows.append([
            kind.about, ", ".join(kind.kinds) or DASH, ", ".join(dict.fromkeys(each.claim.place for each in those)),
            count(len(those)), Cell(kind.command, "code") if kind.command else Cell("no command yet", "absent"),
            kind.time or DASH,
        ])  # fmt: skip
    columns = ["what answers", "kinds of record", "places", ">claims", "command", "time on two cores"]
    return Table("What makes the answers again", columns, rows)


def table1(joined: Sequence[Joined]) -> Table:
    """Layers, channels and parameters of the networks."""
    rows: list[Row] = []
    for network in paper.table1["parameters"]:
        name = f"{network} (layout inferred)" if model_spec(network).inferred else network
        row: Row = [name]
        for layer, own in shapes(network).items():
            row += [paper.table1[layer][network], Cell(f"{SIGNS[COUNTED]} {own}", COUNTED)]
        for name in ("channels", "parameters"):
            claim = of(joined, "Table 1", name=name, network=network)
            row += [printed(claim.claim.value), either(claim)] if claim else [DASH, DASH]
        rows.append(row)
    columns = [
        "network", "convolution, paper", "ours", "transposed convolution, paper", "ours", ">channels, paper", ">ours",
        ">parameters, paper", ">ours",
    ]  # fmt: skip
    caption = (
        "Ours: all layers, output times input channels times the kernel's sides (of a transposed convolution input "
        "times output), and the channels of most convolutions. An inferred layout is not the authors', which is not "
        f"published: it was found by the printed number of parameters, with which it can but agree. {LEGEND}"
    )
    return Table("Table 1: the networks", columns, rows, caption)


def shapes(network: str) -> dict[str, str]:
    """The layers of a layout as Table 1 prints one, by its names."""
    blocks, width = model_spec(network).blocks, int(counted.count({"name": "transposed kernel"}))
    inputs = (1, *(block.deconv for block in blocks))
    layers = {
        "convolution": [f"{b.conv}*{n}*{b.kernel}*{b.kernel}" for b, n in zip(blocks, inputs, strict=False)],
        "transposed": [f"{b.conv}*{b.deconv}*1*{width}" for b in blocks],
    }
    return {
        layer: ", ".join(shape if n == 1 else f"{n} of {shape}" for shape, n in Counter(each).items())
        for layer, each in layers.items()
    }


def table2(runs: Sequence[Run]) -> Table:
    """Parameters of the experiment, theirs and ours."""
    theirs = paper.table2
    energies = [each for run in runs for each in run.of(Energy)]
    trainings = [each for run in runs for each in run.of(Training)]
    sizes = {each.network.parameters for each in energies} | {each.parameters for each in trainings}
    lattices = {each.L for each in energies} | {each.L for each in trainings}
    couplings = {each.J2 for each in energies} | {each.J2 for each in trainings}
    ranks = max((each.ranks for run in runs for each in run.of(OnRanks) if each.value is not None), default=1)
    versions: dict[str, None] = {}
    for run in runs:
        for name in ("torch", "mpich", "PyScalapack"):
            versions |= {f"{name} {run.provenance.versions[name]}": None} if run.provenance.versions.get(name) else {}
    machines = {run.provenance.machine.cpu: run.provenance.machine.cores for run in runs}
    used = [run for run in runs if any(getattr(each, "device", "cpu") != "cpu" for each in run.records)]
    gpus = dict.fromkeys(run.provenance.machine.gpu or "GPU" for run in used)
    rows: list[Row] = [
        ["parameters of the network", _list(theirs["parameters"]), _list(sorted(sizes))],
        ["lattices", _lattices(theirs["lattices"]), _lattices(sorted(lattices))],
        ["J2", "0.44 to 0.6", _list(sorted(couplings))],
        ["transfer", ", ".join(theirs["transfer"]), _transfer(runs)],
        ["software", ", ".join(theirs["software"]), ", ".join(versions) or DASH],
        ["most processes", count(theirs["max_processes"]), count(ranks)],
        ["most cores", count(theirs["max_cores"]), ", ".join(f"{n} ({cpu})" for cpu, n in machines.items()) or DASH],
        ["GPUs", "none", ", ".join(f"1 {gpu}" for gpu in gpus) or "none"],
    ]
    return Table("Table 2: parameters of the experiment", ["parameter", "paper", "these records"], rows)


def _transfer(runs: Sequence[Run]) -> str:
    """What differs between a training and the one that it started from, and what was tried without retraining."""
    pairs = [
        (each, start)
        for run in runs
        for each in run.of(Training)
        for start in run.of(Training)
        if each.start == start.name
    ]
    energies = [each for run in runs for each in run.of(Energy)]
    found = {
        "scale": any(each.L != start.L for each, start in pairs),
        "symmetry": any(each.symmetry != start.symmetry for each, start in pairs),
        "J2 interaction": any(each.J2 != start.J2 for each, start in pairs),
        "scale without retraining": any(each.L != each.network.L for each in energies),
        "J2 without retraining": any(each.J2 != each.network.J2 for each in energies),
    }
    return ", ".join(name for name, there in found.items() if there) or DASH


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:,}" if isinstance(value, int) else f"{value:g}" for value in values) or DASH


def _lattices(sizes: Iterable[int]) -> str:
    return ", ".join(f"{L}x{L}" for L in sizes) or DASH


NOT_REACHED = "not reached"
CASES = ((10, "none"), (10, "C4"), (16, "none"), (16, "C4"))


def table3(joined: Sequence[Joined]) -> list[Table]:
    """Seconds of an iteration and of ScaLAPACK, and the overhead, printed and projected."""
    seconds: list[Row] = []
    overheads: list[Row] = []
    for printed_row in paper.table3["rows"]:
        work = {key: printed_row[key] for key in ("parameters", "processes")}
        head: Row = [count(work["parameters"]), count(work["processes"])]
        times = [of(joined, "Table 3", phase="sr", **work)]
        times += [of(joined, "Table 3", phase="iteration", L=L, symmetry=s, **work) for L, s in CASES]
        shares = [of(joined, "Table 3", phase="overhead", L=L, symmetry=s, **work) for L, s in CASES]
        seconds.append(head + _pairs(times))
        overheads.append(head + _pairs(shares))
    head_columns = [">parameters", ">processes"]
    names = [f"{L}x{L} {'C4' if s == 'C4' else 'no C4'}" for L, s in CASES]
    return [
        Table("Table 3: seconds", head_columns + _twice(["ScaLAPACK", *names]), seconds,
              "The column MC-CNN of the paper is the whole iteration, ScaLAPACK included. " + LEGEND),
        Table("Table 3: overhead", head_columns + _twice(names), overheads,
              "ScaLAPACK over the iteration; the list of claims has the quotients of the printed times too. Errors "
              "of a projected quotient: as if its two times were independent."),
    ]  # fmt: skip


def _pairs(claims: Iterable[Joined | None]) -> Row:
    row: Row = []
    for each in claims:
        row += [printed(each.claim.value), shown(each.projection)] if each else [DASH, DASH]
    return row


def _twice(names: Iterable[str]) -> list[str]:
    return [column for name in names for column in (f">{name}, paper", ">model")]


def table3_ours(runs: Sequence[Run]) -> Table:
    """The same quantities of our own steps, at the sizes that this machine reaches."""
    rows: list[Row] = []
    for run in runs:
        for each in run.of(WeakRun):
            if each.value is None or not each.times or each.oversubscribed:
                continue
            cells = [duration(each.median("solve")), duration(each.value), number(each.overhead)]
            rows.append([
                count(each.parameters), count(each.ranks), f"{each.L}x{each.L}", each.symmetry, each.solver,
                count(each.chains), *(Cell(f"● {text}", "measured") for text in cells),
            ])  # fmt: skip
    columns = [
        ">parameters", ">ranks", "lattice", "symmetry", "solver", ">samples a rank", ">solve", ">iteration",
        ">overhead",
    ]  # fmt: skip
    caption = "Medians. Far fewer samples and ranks than the paper's, so no row is one of its rows."
    return Table("The same of our own steps", columns, rows, caption)


WITHOUT_RETRAINING = {
    "C4": "12x12's network, not retrained",
    "full": "12x12's network, not retrained, all symmetries",
}


def table4(joined: Sequence[Joined], runs: Sequence[Run]) -> Table:
    """Energies of every lattice and coupling: printed, of networks trained for it, and without retraining."""
    couplings = paper.table4["J2"]
    zero = {
        (each.network.symmetry, each.L, each.J2): each
        for run in runs
        for each in run.of(Energy)
        if of_authors(run, each) and not doubts(each)
    }
    near = beside([each.claim for each in joined if each.claim.place == "Table 4"], runs)
    rows: list[Row] = []
    for row in paper.table4["rows"]:
        L = row["L"]
        rows.append([f"{L}x{L}", "paper", *(printed(value) for value in row["energy"])])
        own = [of(joined, "Table 4", L=L, J2=J2) for J2 in couplings]
        rows.append([f"{L}x{L}", "of a network trained for it", *(either(each) if each else NOT_RUN for each in own)])
        others = grouped(
            (each for _, each in near if each.L == L), lambda each: (each.network.name, each.network.symmetry)
        )
        for (name, symmetry), those in others.items():
            rows.append([f"{L}x{L}", f"ours: {name}, {symmetry}", *_grey([_lowest(those, J2) for J2 in couplings])])
        for symmetry, what in WITHOUT_RETRAINING.items():
            theirs = [zero.get((symmetry, L, J2)) for J2 in couplings]
            if any(theirs):
                rows.append([f"{L}x{L}", what, *_grey(theirs)])
    caption = (
        "Energy per site, J1 = 1, 106 529 parameters with C4. Grey: ours, of another network or symmetry trained for "
        "it, and the authors' network of 12x12, J2 = 0.5, as it is on the others, summed over C4 as there or over "
        "all 32 symmetries: upper bounds, which decide no claim but the authors' own cell's. " + LEGEND
    )
    return Table("Table 4: energies", ["lattice", "of", *(f">J2 = {J2:g}" for J2 in couplings)], rows, caption)


def _lowest(energies: Sequence[Energy], J2: float) -> Energy | None:
    return min((each for each in energies if each.J2 == J2), key=lambda each: each.value or 0.0, default=None)


def _grey(energies: Sequence[Energy | None]) -> Row:
    """Energies that decide no claim."""
    texts = [f"● {format_value_error(each.value, each.sigma)}" if each else "not run" for each in energies]
    return [Cell(text, "absent") for text in texts]


def direct(runs: Sequence[Run]) -> list[Table]:
    """Samples until TARGET of our direct trainings and our transfers; no table without such a pair."""
    rows: list[Row] = []
    for pair in rivals(runs):
        for each in (*pair.direct, *pair.transfer):
            own, gains = each.training, (DASH, DASH)
            if each in pair.transfer:
                gains = (_reached(pair.gain(each), number), _whole(each, pair.gain(each, whole=True), number))
            rows.append([
                f"{own.L}x{own.L}", number(own.J2), own.network, own.symmetry, own.name, origin(each),
                count(own.steps * own.chains), format_value_error(own.value, own.sigma),
                _reached(each.reached(), count), _whole(each, total(each), count), *gains,
            ])  # fmt: skip
    columns = [
        "lattice", "J2", "network", "symmetry", "training", "start", ">samples", ">last step",
        f">samples to {TARGET:g}", ">with earlier stages", ">speedup by transfer", ">speedup with earlier stages",
    ]  # fmt: skip
    caption = (
        f"Samples after which the mean energy of the last {SMOOTH} steps is first at {TARGET:g} or below; speedup: "
        "those of direct training (the quickest of the same run) over those of the transfer, of this lattice alone "
        "and with those of the smaller lattices, which cost less each. Warm-up and trial starts are not counted."
    )
    return [Table("Ours: direct training against transfer", columns, rows, caption)] if rows else []


def _reached(found: T | None, shown: Callable[[T], str]) -> str:
    return NOT_REACHED if found is None else shown(found)


def _whole(each: Trained, found: T | None, shown: Callable[[T], str]) -> str:
    """What counts the samples before a training; those of a start from a file are not known."""
    return DASH if each.offset is None else _reached(found, shown)


def numbers(joined: Sequence[Joined], title: str, places: Sequence[str]) -> Table:
    """The claims of a figure: printed and ours."""
    rows: list[Row] = [
        [
            each.claim.what, each.claim.unit or DASH, printed(each.claim.value), either(each),
            fixed(each.difference, 1), Cell(str(each.outcome), STYLES[each.outcome]),
        ]
        for each in joined
        if each.claim.place in places
    ]  # fmt: skip
    columns = ["what", "unit", ">paper", ">ours or projected", ">difference, sigma", "outcome"]
    return Table(title, columns, rows, LEGEND)
