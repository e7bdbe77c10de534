"""What a benchmark report claims: each claim with its value and bound, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from qmcbench.report.document import Cell, Row, Table, Verdict
from qmcbench.report.figure import Result
from qmcbench.report.numbers import DASH, distinct, number
from qmcbench.store.bench import PEERS_COMMAND

PEERS = ("netket", "quantax")
"""Those that an iteration is to be compared with."""
FORMS = ("fused", "fourier")
"""The package's own ways of a forward pass, the fastest of which counts."""
PEER_BOUND, PEER_AIM = 3.0, 10.0
GIB = 2**30
WITHIN = 0.35
"""How far a growth exponent may be from the expected one."""
COMMANDS = {
    name: f"qmcbench bench {name} --out FOLDER"
    for name in ("limits", "hotpath", "hotspots", "speedup", "growth", "device", "suite")
} | {"peers": PEERS_COMMAND}
"""What makes each part."""
ABSENT = {"device": "no GPU where the rest was measured: large on 10x10, 16x16 and 24x24"}
"""Why a part is not there, if nobody could have run it."""
Parts = dict[str, Result]


@dataclass(frozen=True)
class Check:
    """One claim. It is decided by its value, and not at all where there is none."""

    title: str
    part: str
    value: float | None
    relation: str
    """``at least``, ``at most`` or ``below``."""
    bound: float
    statement: str
    aim: float | None = None
    quick: bool = False
    """Measured, but at sizes that say only that it works."""

    @property
    def met(self) -> bool | None:
        """Whether the value keeps to the bound; None if there is no value that counts."""
        if self.value is None:
            return None
        if self.relation == "below":
            return self.value < self.bound
        return self.value <= self.bound if self.relation == "at most" else self.value >= self.bound

    @property
    def word(self) -> str:
        """The result for a table."""
        return {None: "quick" if self.quick else "not measured", True: "met", False: "NOT MET"}[self.met]

    def record(self) -> Result:
        """The check with its result, ready for JSON."""
        return asdict(self) | {"met": self.met}


def checks(parts: Parts) -> list[Check]:
    """Every claim, in the order of the report; parts made with ``--quick`` give none of them a value."""
    counted = {name: part["results"] for name, part in parts.items() if not part["quick"]}
    hotpath = counted.get("hotpath", {})
    forwards = _forwards(hotpath)
    slowest = min((each["fraction_of_sgemm"] for each, _ in forwards), default=None)
    gains = [plain["median_s"] / own["median_s"] for own, plain in forwards if plain]
    batches = (
        f"batches of {_listed(each['batch'] for each, _ in forwards)}" if forwards else "batches of 256 and more"
    )
    rates = [row["per_second"] for row in hotpath.get("samples_per_second", ()) if _is(row, L=12, symmetry="C4")]
    derivatives = hotpath.get("derivatives", {})
    peak = derivatives["peak_bytes"] / GIB if _is(derivatives, network="large", L=10, samples=1024) else None
    exponents = [each for each in counted.get("growth", {}).get("curves", ()) if _fitted(each)]
    worst = max(exponents, key=off, default=None)
    compared = counted.get("peers", {}).get("ratios", {})
    tried = parts["peers"]["results"]["ratios"] if "peers" in parts else {}
    quick = {name for name, part in parts.items() if part["quick"]}

    def add(
        title: str, part: str, value: float | None, relation: str, bound: float, words: str,
        aim: float | None = None, known: bool = True,
    ) -> Check:  # fmt: skip
        return Check(title, part, value, relation, bound, words, aim, known and part in quick)

    outside = [each for each in exponents if off(each) > WITHIN]
    return [
        *(
            add(
                f"iteration, times as fast as {peer}",
                "peers",
                compared[peer]["iteration"]["median"] if peer in compared else None,
                "at least",
                PEER_BOUND,
                "The peer's fastest configuration over ours, repeat by repeat of one run; the median.",
                PEER_AIM,
                peer in tried,
            )
            for peer in dict.fromkeys([*PEERS, *tried])
        ),
        add(
            "forward of large, 12x12: fraction of sgemm", "hotpath", slowest, "at least", 0.6,
            f"The fastest form on all cores, the lowest of {batches}; fused multiply-adds over sgemm's.",
        ),
        add(
            "forward of large, 12x12: times as fast as the plain module", "hotpath", min(gains, default=None),
            "at least", 1.7, f"The fastest form on all cores, the least of {batches}.",
        ),
        add(
            "samples a second, 12x12 with C4", "hotpath", min(rates, default=None), "at least", 5.0,
            "The median rate; of several networks the lowest.", 16.0,
        ),
        add(
            "peak memory of derivatives and step, GiB", "hotpath", peak, "below", 4.0,
            "Log-derivatives and the step in sample space of large, 10x10, 1,024 samples: all that the process held.",
        ),
        add(
            "growth of seconds: exponent off the expected one", "growth",
            None if worst is None else off(worst), "at most", WITHIN,
            f"The largest of {len(exponents) or 'all'} curves"
            + (f"; outside: {'; '.join(_curve(each) for each in outside)}." if outside else "."),
        ),
    ]  # fmt: skip


def _forwards(hotpath: Result) -> list[tuple[Result, Result | None]]:
    """The fastest own form on all cores of each batch that the claims are about, with the plain module's if known."""
    rows = [
        row
        for row in hotpath.get("forward", ())
        if _is(row, network="large", L=12, cores=hotpath["threads"]) and row["batch"] >= 256
    ]
    found = []
    for batch in sorted({row["batch"] for row in rows}):
        forms = {row["form"]: row for row in rows if row["batch"] == batch}
        own = [forms[name] for name in FORMS if name in forms]
        if own:
            found.append((min(own, key=lambda row: float(row["median_s"])), forms.get("plain")))
    return found


def _is(row: Result, **wanted: str | int) -> bool:
    return all(row.get(name) == value for name, value in wanted.items())


def _fitted(curve: Result) -> bool:
    return curve["quantity"] == "seconds" and curve["exponent"] is not None


def off(curve: Result) -> float:
    """How far a curve's exponent is from the expected one."""
    return abs(float(curve["exponent"]) - float(curve["expected"]))


def _curve(curve: Result) -> str:
    exponent = f"{curve['exponent']:.2f} for {number(curve['expected'])}"
    return f"{curve['what'].replace('_', ' ')} against {curve['variable']} ({exponent})"


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def judge(found: list[Check], parts: Parts) -> Verdict:
    """The verdict: checks that are met, that are not, and that nothing was measured for."""
    met = [check for check in found if check.met]
    failed = [check for check in found if check.met is False]
    missing = [check.title for check in found if check.met is None and not check.quick]
    undecided = [check.title for check in found if check.met is None and check.quick]
    headline = f"{len(met)} of {len(found)} checks met"
    headline += f", {len(failed)} not met" if failed else ""
    headline += f", {len(missing)} not measured" if missing else ""
    headline += f", {len(undecided)} at quick sizes only" if undecided else ""
    remarks = []
    if missing:
        remarks.append(f"Not measured: {'; '.join(missing)}.")
    quick = [name for name, part in parts.items() if part["quick"]]
    if quick:
        remarks.append(
            f"Measured at quick sizes, which say only that it works and decide nothing: {', '.join(quick)}."
        )
    absent = [name for name in COMMANDS if name not in parts]
    if absent:
        remarks.append(f"Parts not run: {', '.join(absent)}.")
    for check in met:
        if check.aim is not None and check.value is not None:
            words = "reached" if check.value >= check.aim else "not reached"
            remarks.append(f"{check.title}: {number(check.value)}; the aim of {number(check.aim)} is {words}.")
    return Verdict(headline, len(met) == len(found), [_failure(check) for check in failed], remarks)


def _failure(check: Check) -> str:
    value, bound = distinct(check.value, check.bound)
    return f"{check.title}: {value}, which should be {check.relation} {bound}. {check.statement}"


def check_table(found: list[Check]) -> Table:
    """Every check with its value, bound and aim."""
    rows: list[Row] = []
    for check in found:
        value, bound = distinct(check.value, check.bound)
        word = Cell(check.word, "bad") if check.met is False else check.word
        aim = DASH if check.aim is None else number(check.aim)
        rows.append([word, check.title, value, f"{check.relation} {bound}", aim, check.statement])
    caption = (
        "Timings are those of one machine in one session, which may have been shared. Not measured: nothing here "
        "decides it. Quick: measured only at tiny sizes, which say that it works and decide nothing. Aim: what was "
        "hoped for beyond the bound."
    )
    return Table("What is claimed", ["result", "check", ">value", ">bound", ">aim", "statement"], rows, caption)


def not_run(parts: Parts) -> Table:
    """What this report lacks, and the commands that measure it."""
    rows: list[Row] = []
    for name, command in COMMANDS.items():
        if name not in parts:
            rows.append([name, ABSENT.get(name, "not asked for yet"), Cell(command, "code")])
        elif parts[name]["quick"]:
            rows.append([name, "at quick sizes only", Cell(command, "code")])
    if "peers" in parts:
        for peer in PEERS:
            if peer not in parts["peers"]["results"]["programs"]:
                rows.append([f"peers: {peer}", "left out of this comparison", Cell(PEERS_COMMAND, "code")])
    return Table("Not run", ["what", "why", "command that runs it"], rows)
