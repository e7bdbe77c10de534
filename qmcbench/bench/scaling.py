"""Lists of measurements on several ranks: saved one by one, continued where they were stopped, none done twice.

``records/strong.jsonl`` and ``records/weak.jsonl`` hold a record of each run; one without a value says why it was not
run. Every call adds to what is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from qmcbench import provenance
from qmcbench.bench import worker_weak
from qmcbench.config import SCALAPACK, Config, parse
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, make_folder
from qmcbench.progress import Bar
from qmcbench.ranks import launch
from qmcbench.ranks.comm import share
from qmcbench.ranks.mesh import fit_grid
from qmcbench.scaling.measurements import describe
from qmcbench.store import jsonl
from qmcbench.store.records import Run
from qmcbench.store.scaling import Layout, StrongRun, WeakRun
from qmcbench.structure import structure, unstructure

Grid = tuple[int, int]
J = TypeVar("J", bound=StrongRun | WeakRun)

TIMEOUT = 4 * 3600.0
"""Seconds that one measurement may take."""
SEED = 0


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

    def jobs(self) -> list[StrongRun]:
        """The runs, before they are measured.

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
        layouts = [
            Layout(grid, block, product, redistribution)
            for product in self.products
            for redistribution in self.redistributions
            for block in self.blocks
            for count in self.ranks
            for grid in [each for each in self.grids if each[0] * each[1] == count] or [fit_grid(None, count)]
        ]
        for layout in layouts:
            # The same limits as a training run's.
            parse({"model": {"L": 4, "J2": 0.5}, "scalapack": asdict(layout)}, source="strong scaling")
        return [
            StrongRun(
                value=None, ranks=math.prod(layout.grid), samples=self.samples, seed=SEED, parameters=size,
                layout=layout, space=self.space, repeats=self.repeats, dgemm_size=self.dgemm_size,
            )
            for size in self.parameters
            for layout in layouts
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WeakRequest:
    """Every combination of these; see :class:`qmcbench.store.scaling.WeakRun`."""

    sizes: Sequence[int] = (10, 16, 24)
    """Lattices."""
    ranks: Sequence[int] = (1, 2)
    """Each with ``chains`` chains (16 are the paper's) and one thread; their mesh is as square as can be."""
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

    def jobs(self) -> list[WeakRun]:
        """The runs, before they are measured; raises as :meth:`StrongRequest.jobs`."""
        _check_positive("ranks", self.ranks)
        _check_positive("steps", [self.steps])
        jobs = [
            WeakRun(
                value=None, ranks=count, samples=self.chains * count, seed=SEED, L=L, network=self.network,
                symmetry=symmetry, solver=self.solver, chains=self.chains, J2=self.J2, steps=self.steps,
                warm_up=self.warm_up,
                layout=Layout(fit_grid(None, count), self.block, self.product, self.redistribution),
            )
            for L in self.sizes
            for symmetry in self.symmetries
            for count in self.ranks
        ]  # fmt: skip
        for job in jobs:
            worker_weak.config(job)
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

    Returns
    -------
    Run
        Everything that is in the store of the folder ``out`` by then.

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


def on_ranks(job: J, timeout: float = TIMEOUT, stop: Callable[[], bool] = lambda: False) -> J:
    """The run of ``job``, measured by its ranks; see :func:`qmcbench.ranks.launch.run`."""
    answer = launch.run(job.ranks, {"kind": job.kind, **unstructure(job)}, timeout, stop=stop)
    return structure(answer, type(job), f"The answer of {describe(job)}")


def single(network: str, L: int, chains: int) -> Config:
    """Training of one process without symmetry, whose solver is that in sample space."""
    request = WeakRequest(
        sizes=(L,), ranks=(1,), network=network, symmetries=("none",), solver="sample_space", chains=chains
    )
    (job,) = request.jobs()
    return worker_weak.config(job)


def _check_positive(name: str, values: Sequence[int]) -> None:
    if not values or min(values) < 1:
        raise UserError(f"{name} = {', '.join(map(str, values)) or 'nothing'}: give numbers of at least 1.")


def _measure(kind: str, jobs: Sequence[StrongRun | WeakRun], out: Path, quiet: bool, command: str) -> Run:
    make_folder(out)
    run = _load(out, kind, provenance.collect(command))
    asked = {job.identity for job in jobs}
    # What was not run is tried again.
    kept = [record for record in run.records if record.value is not None or _identity(record) not in asked]
    finished = {_identity(record) for record in kept}
    todo = [job for job in jobs if job.identity not in finished]
    run = replace(run, records=tuple(kept))
    with Bar(f"{kind} scaling", len(jobs), len(jobs) - len(todo), quiet=quiet) as bar, catch_signals() as signals:
        for number, job in enumerate(todo, start=bar.done + 1):
            bar.update(number - 1, describe(job))
            try:
                record = on_ranks(job, stop=lambda: bool(signals))
            except launch.Stopped:
                raise Interrupted(
                    f"Stopped in run {number} of {len(jobs)}; those before it are in {out}, and the same command "
                    "goes on."
                ) from None
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
    return replace(run, provenance=made_by)
