"""The parts of ``qmcbench bench``: what each needs, and running and keeping them one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qmcbench.errors import UserError
from qmcbench.files import make_folder

if TYPE_CHECKING:
    from qmcbench.bench.accuracy import Request as AccuracyRequest
    from qmcbench.store.records import Record, Run

DEVICE = "cuda"


@dataclass(frozen=True)
class Request:
    """What is to be measured, how, and where the records go."""

    out: Path
    parts: tuple[str, ...]
    quick: bool = False
    """Tiny sizes."""
    quiet: bool = False
    only: str | None = None
    """Regular expression: benchmarks of the suite, programs of accuracy, or ways of optimisers."""
    checkout: Path = Path()
    """Whose suite, or peers, are run."""
    peers_python: str | None = None
    tachys_python: str | None = None
    limit: float | None = None
    """Seconds of each program against the clock."""
    checkpoint: Path | None = None
    """The network of the sampling rate."""
    device: str | None = None
    commits: int | None = None
    """Of the history."""


@dataclass(frozen=True)
class Part:
    """Something to measure."""

    help: str
    measure: Callable[[Request], tuple[Record, ...] | None]
    """Its records; None if it keeps them itself."""
    check: Callable[[Request], None] = lambda request: None
    """Raises UserError if it cannot be measured."""
    default: bool = True
    """Whether it is measured when no part is named."""
    own: tuple[str, ...] = ()
    """The fields of :class:`Request` that not every part has."""


def measure(request: Request, command: str) -> Iterator[tuple[str, Run]]:
    """Measure the parts and keep each, ``records/PART.jsonl``, before the next: that may take hours.

    Yields
    ------
    tuple of str and Run
        Each part that has been measured and kept.

    Raises
    ------
    UserError
        Before anything is measured, if a part cannot be, the folder cannot be written to, or what it has already of
        other parts cannot be read.
    """
    from qmcbench import provenance
    from qmcbench.store import jsonl
    from qmcbench.store.records import Run

    for name in request.parts:
        PARTS[name].check(request)
    make_folder(request.out)
    kept = sorted((request.out / jsonl.FOLDER).glob("*.jsonl"))
    jsonl.find(path for path in kept if path.stem not in request.parts)
    for name in request.parts:
        began = time.monotonic()
        records = PARTS[name].measure(request)
        if records is None:
            run = jsonl.load(request.out, name)
            if run is None:
                raise UserError(f"{name} left no records in {request.out}.")
        else:
            run = Run(
                job=f"bench {name}",
                provenance=provenance.collect(command),
                records=records,
                quick=request.quick,
                seconds=time.monotonic() - began,
            )
            jsonl.save(request.out, name, run)
        yield name, run


def _with_bar(name: str, request: Request, **more: Any) -> tuple[Record, ...]:
    """What ``qmcbench.bench.NAME`` measures, under a progress bar."""
    from qmcbench.progress import Bar

    part = import_module(f"qmcbench.bench.{name}")
    records: list[Record] = []
    with Bar(name, part.total(request.quick), quiet=request.quiet) as bar:
        for done, found in enumerate(part.measure(request.quick, **more), start=1):
            records += found
            bar.update(done)
    return tuple(records)


def _check_hotpath(request: Request) -> None:
    from qmcbench.training import load_ansatz

    if request.checkpoint is not None:
        load_ansatz(request.checkpoint)


def _check_device(request: Request) -> None:
    from qmcbench.bench import device

    device.check(request.device or DEVICE)


def _suite(request: Request) -> tuple[Record, ...]:
    from qmcbench.bench import asv_run

    folder = request.out / "runs" / "asv"
    asv_run.run(asv_run.Request(request.checkout, folder, request.quick, request.only, request.quiet))
    return asv_run.read(folder)


def _history(request: Request) -> tuple[Record, ...]:
    from qmcbench.bench import history

    folder = request.out / "runs" / "history"
    return history.measure(history.Request(request.checkout, folder, request.commits, request.quick, request.quiet))


def _check_asv(request: Request) -> None:
    from qmcbench.bench import asv_run

    asv_run.check(request.checkout)


def _peers(request: Request) -> None:
    from qmcbench.bench import peers

    peers.compare(request.checkout, request.out, str(request.peers_python), quick=request.quick, quiet=request.quiet)


def _check_peers(request: Request) -> None:
    from qmcbench.bench import peers

    peers.check(request.checkout, request.peers_python)


def _accuracy(request: Request) -> None:
    from qmcbench.bench import accuracy

    accuracy.run(_against_the_clock(request))


def _check_accuracy(request: Request) -> None:
    from qmcbench.bench import accuracy

    accuracy.check(_against_the_clock(request))


def _against_the_clock(request: Request) -> AccuracyRequest:
    from qmcbench.bench.accuracy import Request as Asked

    names = ("checkout", "out", "peers_python", "tachys_python", "limit", "only", "quick", "quiet")
    return Asked(**{name: getattr(request, name) for name in names})


PARTS = {
    "limits": Part(
        "matrix products, bandwidth, and how near each phase of a step comes to them",
        lambda request: _with_bar("limits", request),
    ),
    "hotpath": Part(
        "what each rewriting of the hot path brought, sampling rate, memory of the derivatives",
        lambda request: _with_bar("hotpath", request, checkpoint=request.checkpoint),
        _check_hotpath,
        own=("checkpoint",),
    ),
    "hotspots": Part(
        "where one core spends a forward pass (the paper's Fig. 7)", lambda request: _with_bar("hotspots", request)
    ),
    "speedup": Part(
        "all cores over one scalar core that does the plain network in loops (Fig. 8)",
        lambda request: _with_bar("speedup", request),
    ),
    "growth": Part(
        "how time and memory grow with lattice, network, samples and chains",
        lambda request: _with_bar("growth", request),
    ),
    "device": Part(
        "the large network on a GPU (not run unless named)",
        lambda request: _with_bar("device", request, device=request.device or DEVICE),
        _check_device,
        default=False,
        own=("device",),
    ),
    "optimisers": Part(
        "twelve ways of optimising, three seeds each, in equal seconds (105 minutes; not run unless named)",
        lambda request: _with_bar(
            "optimisers", request, folder=request.out / "runs" / "optimisers", only=request.only
        ),
        default=False,
        own=("only",),
    ),
    "suite": Part("the asv suite of a checkout, on the code that is installed", _suite, _check_asv, own=("only",)),
    "history": Part(
        "seconds of each phase of a step by commit (not run unless named)",
        _history,
        _check_asv,
        default=False,
        own=("commits",),
    ),
    "peers": Part(
        "NetKet and quantax with the same network (not run unless named)",
        _peers,
        _check_peers,
        default=False,
        own=("peers_python",),
    ),
    "accuracy": Part(
        "seconds to an accuracy, against NetKet, quantax and tachys (not run unless named; hours)",
        _accuracy,
        _check_accuracy,
        default=False,
        own=("peers_python", "tachys_python", "limit", "only"),
    ),
}
"""Every part by its name, in the order in which they are run."""
