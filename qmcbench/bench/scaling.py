"""Lists of measurements on several ranks: saved one by one, continued where they were stopped, none done twice.

``records/strong.jsonl`` and ``records/weak.jsonl`` hold a record of each run; one without a value says why it was not
run. Every call adds to what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qmcbench import provenance
from qmcbench.bench.worker_strong import Strong
from qmcbench.bench.worker_weak import Weak
from qmcbench.config import SCALAPACK, Scalapack, parse
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, make_folder
from qmcbench.progress import Bar
from qmcbench.ranks import launch
from qmcbench.ranks.comm import share
from qmcbench.ranks.mesh import fit_grid
from qmcbench.scaling.measurements import describe
from qmcbench.scaling.sound import sound
from qmcbench.store import jsonl
from qmcbench.store.records import Run
from qmcbench.store.scaling import StrongRun, WeakRun
from qmcbench.structure import structure, unstructure

Grid = tuple[int, int]

TIMEOUT = 4 * 3600.0
"""Seconds that one measurement may take."""


@dataclass(frozen=True, kw_only=True)
class StrongRequest:
    """Every combination of these; see :class:`qmcbench.store.scaling.StrongRun`."""

    parameters: Sequence[int] = (3531, 16249)
    """The paper's networks by default."""
    samples: int = 2560
    """Of all ranks together."""
    ranks: Sequence[int] = (1, 2, 4)
    """With more ranks than cores a run is marked as ``oversubscribed``."""
    grids: Sequence[Grid] = ()
    """Meshes, each for the number of ranks it has. Numbers of ranks without one get the most square."""
    blocks: Sequence[int] = (128,)
    products: Sequence[str] = ("pdgemm",)
    redistributions: Sequence[str] = ("pdgemr2d",)
    space: str = "parameters"
    repeats: int = 3
    dgemm_size: int = 2500

    def jobs(self) -> list[tuple[int, Strong]]:
        """The measurements, each with its number of ranks.

        Raises
        ------
        UserError
            If a value is not allowed.
        """
        _check_positive("parameters", self.parameters)
        _check_positive("samples", [self.samples])
        _check_positive("ranks", self.ranks)
        _check_positive("repeats", [self.repeats])
        if self.space not in SCALAPACK.values():
            raise UserError(f"space = {self.space!r} is not one of {', '.join(SCALAPACK.values())}.")
        for count in self.ranks:
            try:
                share(self.samples, 0, count)
            except UserError as error:
                raise UserError(f"samples = {self.samples}: {error}") from error
        for rows, columns in self.grids:
            if rows * columns not in self.ranks:
                raise UserError(
                    f"The grid {rows}x{columns} is for {rows * columns} ranks, but those asked for are "
                    f"{', '.join(map(str, self.ranks))}; add --ranks {rows * columns}."
                )
        jobs = [
            (count, Strong(size, self.samples, layout, self.space, self.repeats, self.dgemm_size))
            for size in self.parameters
            for product in self.products
            for redistribution in self.redistributions
            for block in self.blocks
            for count in self.ranks
            for grid in [each for each in self.grids if each[0] * each[1] == count] or [fit_grid(None, count)]
            for layout in [Scalapack(grid, block, product, redistribution)]
        ]
        for _, job in jobs:
            # The same limits as a training run's.
            parse({"model": {"L": 4, "J2": 0.5}, "scalapack": asdict(job.layout)}, source="strong scaling")
        return jobs


@dataclass(frozen=True, kw_only=True)
class WeakRequest:
    """Every combination of these; see :class:`qmcbench.store.scaling.WeakRun`."""

    sizes: Sequence[int] = (10, 16, 24)
    """Lattices."""
    ranks: Sequence[int] = (1, 2)
    """Each with ``chains`` chains and one thread; their mesh is as square as can be."""
    network: str = "medium"
    symmetries: Sequence[str] = ("none", "C4")
    solver: str = "scalapack"
    chains: int = 16
    steps: int = 3
    warm_up: int = 2
    J2: float = 0.5
    block: int = 128
    product: str = "pdgemm"
    redistribution: str = "pdgemr2d"

    def jobs(self) -> list[tuple[int, Weak]]:
        """The measurements, each with its number of ranks; raises as :meth:`StrongRequest.jobs`."""
        _check_positive("ranks", self.ranks)
        _check_positive("steps", [self.steps])
        layout = Scalapack(None, self.block, self.product, self.redistribution)
        run = (self.solver, self.chains, self.J2, self.steps, self.warm_up, layout)
        jobs = [
            (count, Weak(L, self.network, symmetry, *run))
            for L in self.sizes
            for symmetry in self.symmetries
            for count in self.ranks
        ]
        for count, job in jobs:
            job.config(count)
        return jobs


QUICK_STRONG = StrongRequest(parameters=(96,), samples=64, ranks=(1, 2), blocks=(16,), repeats=2, dgemm_size=256)
QUICK_WEAK = WeakRequest(
    sizes=(4,),
    ranks=(1, 2),
    network="small",
    symmetries=("none",),
    solver="scalapack_samples",
    chains=8,
    steps=2,
    warm_up=1,
)
"""Measurements of seconds, which show that everything works."""


def strong(
    request: StrongRequest, out: Path, *, quiet: bool = False, command: str = "qmcbench.bench.scaling.strong"
) -> Run:
    """Time the phases of ScaLAPACK for every combination; see :mod:`qmcbench.bench.worker_strong`.

    Parameters
    ----------
    request
        What to measure.
    out
        Folder of the store; made if missing.
    quiet
        No progress on standard error.
    command
        For the provenance.

    Returns
    -------
    Run
        Everything that is in the store by then.

    Raises
    ------
    UserError
        If a value is not allowed, the folder cannot be written to or holds runs of another machine, or a run fails.
    Interrupted
        After SIGINT or SIGTERM: the run under way is ended, those before it are saved.
    """
    return _measure("strong", request.jobs(), out, quiet, command)


def weak(
    request: WeakRequest, out: Path, *, quiet: bool = False, command: str = "qmcbench.bench.scaling.weak"
) -> Run:
    """Time training steps for every combination; see :mod:`qmcbench.bench.worker_weak` and :func:`strong`."""
    return _measure("weak", request.jobs(), out, quiet, command)


def _check_positive(name: str, values: Sequence[int]) -> None:
    if not values or min(values) < 1:
        raise UserError(f"{name} = {', '.join(map(str, values)) or 'nothing'}: give numbers of at least 1.")


def _measure(
    kind: str, jobs: Sequence[tuple[int, Strong] | tuple[int, Weak]], out: Path, quiet: bool, command: str
) -> Run:
    blanks = [job.record(ranks) for ranks, job in jobs]
    make_folder(out)
    run = _load(out, kind, provenance.collect(command))
    asked = {blank.identity for blank in blanks}
    # What was not run is tried again.
    kept = [record for record in run.records if record.not_run is None or _identity(record) not in asked]
    finished = {_identity(record) for record in kept}
    todo = [each for each in zip(jobs, blanks, strict=True) if each[1].identity not in finished]
    run = replace(run, records=tuple(kept))
    with Bar(f"{kind} scaling", len(jobs), len(jobs) - len(todo), quiet=quiet) as bar, catch_signals() as signals:
        for number, ((ranks, job), blank) in enumerate(todo, start=bar.done + 1):
            bar.update(number - 1, describe(blank))
            try:
                answer = launch.run(ranks, {"kind": kind, **unstructure(job)}, TIMEOUT, stop=lambda: bool(signals))
            except launch.Stopped:
                raise Interrupted(
                    f"Stopped in run {number} of {len(jobs)}; those before it are in {out}, and the same command "
                    "goes on."
                ) from None
            record = structure(answer, type(blank), f"The answer of {describe(blank)}")
            run = replace(run, records=(*run.records, record))
            jsonl.save(out, kind, run)
            bar.update(number)
    jsonl.save(out, kind, run)
    return run


def _identity(record: object) -> object:
    return record.identity if isinstance(record, StrongRun | WeakRun) else None


def _load(out: Path, kind: str, made_by: provenance.Provenance) -> Run:
    """What is there, or nothing yet, as of this command."""
    job = f"scale {kind}"
    run = jsonl.load(out, kind)
    if run is None:
        return Run(job=job, provenance=made_by)
    path = out / jsonl.FOLDER / f"{kind}.jsonl"
    if run.job != job:
        raise UserError(f"{path} is of `qmcbench {run.job}`, not of `qmcbench {job}`; use another --out folder.")
    for name in ("cpu", "cores"):
        there, here = getattr(run.provenance.machine, name), getattr(made_by.machine, name)
        if there != here:
            raise UserError(
                f"{path} holds runs of another machine ({name}: {there}; here: {here}), which cannot be compared; "
                "use another --out folder."
            )
    return replace(sound(run), provenance=made_by)
