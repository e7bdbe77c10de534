"""One trained network on other lattices and couplings, without retraining (``qmcbench zero-shot``).

The network has as many outputs as there are sites, so the same parameters are a wave function on every even lattice:
what transfer learning starts from, held against exact and published energies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from qmcbench import checkpoint, evaluation, provenance
from qmcbench.config import Model, Sampling
from qmcbench.errors import UserError
from qmcbench.files import make_folder
from qmcbench.progress import Whole
from qmcbench.report import book
from qmcbench.store import jsonl
from qmcbench.store.records import Run

RECORDS = "zero-shot"
SIZES = (6, 8, 10, 12, 14, 16, 18, 24)
COUPLINGS = (0.44, 0.46, 0.48, 0.5, 0.55, 0.6)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which network to evaluate, where, and where to."""

    checkpoint: Path
    out: Path
    """Folder for the report and, under ``runs``, the evaluations."""
    sizes: tuple[int, ...] = SIZES
    couplings: tuple[float, ...] = COUPLINGS
    """Even L, and J2; all couplings share the samples of a lattice."""
    samples: int = 1024
    """On the lattice that the network was trained for. Others get ``samples * (trained L / L)^2``, which makes for
    about the same error of the energy per site, and at least two for each chain."""
    chains: int = 32
    warm_up: int = 20
    seed: int = 0
    """As in :class:`qmcbench.config.Sampling`; chains follow |psi|^2."""
    restart: bool = False
    """Discard evaluations that are there."""
    quiet: bool = False
    command: str = "qmcbench.jobs.zero_shot.zero_shot"
    """For the provenance."""

    @property
    def sampling(self) -> Sampling:
        """As the evaluations take it."""
        return Sampling(chains=self.chains, warm_up=self.warm_up, alpha=2.0)


def zero_shot(request: Request) -> Run:
    """Evaluate the network at every size and coupling and write records and report; finished sizes are kept.

    Returns
    -------
    Run
        All records, as in ``records/zero-shot.jsonl``.

    Raises
    ------
    UserError
        If a setting is out of range, or a file cannot be read or written.
    Interrupted
        After a signal; the finished sizes are in a partial report, and the same call continues.
    """
    trained = check(request)
    out, sizes = request.out, sorted(set(request.sizes))
    make_folder(out)
    began = time.perf_counter()
    run = Run(job="zero-shot", provenance=provenance.collect(request.command), seed=request.seed)
    try:
        with Whole("zero-shot", len(sizes), quiet=request.quiet) as whole:
            for L in sizes:
                with whole.part(f"{L}x{L}"):
                    evaluated = evaluation.evaluate(of_size(request, L, trained))
                    run = replace(run, records=(*run.records, *evaluated.records))
    finally:
        run = replace(run, seconds=time.perf_counter() - began)
        jsonl.save(out, RECORDS, run)
        book.report([jsonl.path_of(out, RECORDS)], out)
    return run


def check(request: Request) -> Model:
    """What the network was trained for; raises a UserError if a setting is out of range, before any work."""
    if not request.sizes or not request.couplings:
        raise UserError("Neither a size nor a coupling is left to evaluate; give at least one of each.")
    if request.samples < 1:
        raise UserError(f"samples = {request.samples} is less than 1; ask for a few hundred.")
    for L, J2 in product(request.sizes, request.couplings):
        evaluation.check_settings(L, J2, request.sampling, request.seed, "cpu")
    return checkpoint.read(request.checkpoint).config.model


def of_size(request: Request, L: int, trained: Model) -> evaluation.Request:
    """The evaluation on one lattice."""
    return evaluation.Request(
        checkpoint=request.checkpoint,
        out=request.out / "runs" / f"{L}x{L}",
        L=L,
        J2=request.couplings,
        samples=max(2 * request.chains, round(request.samples * (trained.L / L) ** 2)),
        sampling=request.sampling,
        seed=request.seed,
        observables="spins" if trained.L == L else "none",
        restart=request.restart,
        quiet=request.quiet,
        command=request.command,
    )
