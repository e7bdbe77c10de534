"""The phases of a step by commit: asv on the code of commits spread over the engine's history, in rounds.

One benchmark file of today (``benchmarks/history``) measures every commit's package, which is unpacked beside the
records and stands first on Python's path; the interpreter and all libraries are those of now. Every round measures
each commit once, in a process of its own, so that a busy minute falls on all commits and not on one.
"""

from __future__ import annotations

import math
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from statistics import median

from qmcbench.bench import asv_run
from qmcbench.errors import UserError
from qmcbench.files import make_folder
from qmcbench.progress import Bar
from qmcbench.store.bench import AsvBenchmark, CommitTime

ENGINE = tuple(
    f"qmcbench/{name}"
    for name in ("ansatz", "sampler.py", "local_energy.py", "hamiltonian.py", "lattice.py", "sr", "vmc.py")
)
FIRST = "qmcbench/vmc.py"
"""The oldest commit that can be measured is the one that added this."""
PACKAGE = ("qmcbench", "reference")
BENCHMARKS = "history"
COMMITS, QUICK_COMMITS = 12, 2
ROUNDS, QUICK_ROUNDS = 3, 1
PHASES = ("sampling", "local_energy", "derivatives", "solve", "step")
SIZE, QUICK_SIZE = (6, 512), (4, 64)
"""L and chains of ``benchmarks/history/steps.py``, which can import nothing that is newer than the commits."""
FAILED = "the benchmark fails with the code of this commit"


@dataclass(frozen=True)
class Commit:
    """A commit of the checkout."""

    full: str
    short: str
    date: str
    subject: str


@dataclass(frozen=True)
class Request:
    """Whose history is measured, at how many commits, and where the pieces are kept."""

    checkout: Path
    folder: Path
    commits: int | None = None
    quick: bool = False
    quiet: bool = False


def measure(request: Request) -> tuple[CommitTime, ...]:
    """Seconds of each phase at each commit; what an earlier call has measured is kept.

    Raises
    ------
    UserError
        If asv or git cannot do it.
    """
    wanted = request.commits or (QUICK_COMMITS if request.quick else COMMITS)
    commits = spread(engine_commits(request.checkout), wanted)
    rounds = QUICK_ROUNDS if request.quick else ROUNDS
    pieces: dict[str, list[Mapping[str, float]]] = {each.full: [] for each in commits}
    with Bar("history", rounds * len(commits), quiet=request.quiet) as bar:
        for number in range(rounds):
            for commit in commits:
                bar.update(bar.done, f"round {number + 1}, {commit.short} of {commit.date}")
                pieces[commit.full].append(_piece(request, commit, number))
                bar.update(bar.done + 1)
    return levelled([record for each in commits for record in _records(each, pieces[each.full], request.quick)])


def engine_commits(checkout: Path) -> list[Commit]:
    """Commits that changed the engine, the oldest first: those of the main line, back to the first that trains.

    Raises
    ------
    UserError
        If git knows none.
    """
    form = "--format=%H%x09%h%x09%cs%x09%s"
    found = [Commit(*line.split("\t", 3)) for line in reversed(_log(checkout, form, "--", *ENGINE))]
    added = _log(checkout, "--diff-filter=A", "--format=%H", "--", FIRST)
    first = [number for number, each in enumerate(found) if added and each.full == added[-1]]
    if not first:
        raise UserError(
            f"git knows no commit of {checkout.resolve().name} that adds {FIRST}; clone all of its history."
        )
    return found[first[0] :]


def _log(checkout: Path, *arguments: str) -> list[str]:
    return asv_run.git(checkout, "log", "--first-parent", *arguments).decode(errors="replace").splitlines()


def spread(commits: Sequence[Commit], number: int) -> list[Commit]:
    """So many of them at equal distances, the first and the last among them.

    Raises
    ------
    UserError
        If it is below 2.
    """
    if number < 2:
        raise UserError(f"A history of {number} commits is none; ask for 2 or more.")
    last = len(commits) - 1
    places = dict.fromkeys(round(k * last / (number - 1)) for k in range(number))
    return [commits[place] for place in places]


def unpack(checkout: Path, commit: str, folder: Path) -> Path:
    """The package as of a commit, ready to import from ``folder``."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        make_folder(partial)
        with tarfile.open(fileobj=BytesIO(asv_run.git(checkout, "archive", commit, "--", *PACKAGE))) as archive:
            # Python before 3.11.4 knows no filters.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(partial)
        reference = partial / "qmcbench" / "reference"
        if not reference.exists():  # which the installed package has there
            reference.symlink_to(Path("..", "reference"), target_is_directory=True)
        partial.rename(folder)
    return folder


def _piece(request: Request, commit: Commit, number: int) -> Mapping[str, float]:
    """Seconds by phase of one commit in one round: kept as asv's own files, measured if not there."""
    home = request.folder / ("quick" if request.quick else "full")
    folder = home / f"round-{number + 1}" / commit.full[:12]
    if found := _read(folder):
        return found
    package = unpack(request.checkout, commit.full, home / "code" / commit.full[:12])
    asv_run.run(
        asv_run.Request(
            request.checkout, folder, request.quick, quiet=True, commit=commit.full, package=package,
            benchmarks=BENCHMARKS,
        )
    )  # fmt: skip
    return _read(folder)


def _read(folder: Path) -> Mapping[str, float]:
    """Nothing if asv left none, or has failed."""
    if not (folder / "results" / "benchmarks.json").exists():
        return {}
    rows: Sequence[AsvBenchmark] = asv_run.read(folder)
    return {row.parameters["phase"]: row.value for row in rows if row.value is not None and row.parameters}


def _records(commit: Commit, pieces: Sequence[Mapping[str, float]], quick: bool) -> list[CommitTime]:
    """One of each phase: the median of the rounds."""
    L, chains = QUICK_SIZE if quick else SIZE
    made = []
    for phase in PHASES:
        each = tuple(piece[phase] for piece in pieces if phase in piece)
        record = CommitTime(
            value=None, not_run=FAILED, commit=commit.short, date=commit.date, subject=commit.subject, phase=phase,
            network="small", L=L, chains=chains, symmetry="C4",
        )  # fmt: skip
        if each:
            record = replace(record, value=median(each), not_run=None, repeats=len(each), each=each)
            record = replace(record, low=min(each), high=max(each))
        made.append(record)
    return made


def levelled(records: Sequence[CommitTime]) -> tuple[CommitTime, ...]:
    """The records with the level of each: that of its piece of the steps that asv detects, in logarithms."""
    from asv.step_detect import detect_steps

    levels: dict[int, float] = {}
    for phase in dict.fromkeys(record.phase for record in records):
        places = [n for n, record in enumerate(records) if record.phase == phase and record.value is not None]
        series = [math.log(records[n].value or math.nan) for n in places]
        for left, right, *_ in detect_steps(series):
            levels |= dict.fromkeys(places[left:right], math.exp(median(series[left:right])))
    return tuple(replace(record, level=levels.get(n)) for n, record in enumerate(records))
