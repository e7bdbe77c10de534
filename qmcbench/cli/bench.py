"""``qmcbench bench``: times, rates and memory of this machine in one folder, with their report."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from qmcbench.errors import UserError

QUICK_SPEEDUP: dict[str, Any] = {"systems": (("small", 4),), "batches": (8, 32), "repeats": 1}
QUICK_HOTSPOTS: dict[str, Any] = {"model": "small", "L": 4, "batch": 8, "repeats": 2}
QUICK_PEERS = ("--L", "4", "--model", "small", "--samples", "64")
COMPARISON = Path("benchmarks", "peers", "run.py")
INSTALL_PEERS = '`python -m venv peers; peers/bin/pip install "netket==3.23.*" "quantax==0.4.*"`'
# An empty sentence would be a failure too.
FIND_PEERS = (
    "import importlib.util as u, sys; sys.exit(' and '.join(n for n in sys.argv[1:] if not u.find_spec(n)) or 0)"
)
PEERS = ("netket", "quantax")
DEVICE = "cuda"
EPILOG = (
    "Examples, in a checkout: `qmcbench bench --quick --out runs/try` (minutes); `qmcbench bench --out runs/bench`, "
    "and once more after a change `qmcbench bench hotpath growth --out runs/bench`; "
    "`qmcbench bench suite --only Solve --out runs/bench`; "
    "`qmcbench bench peers --peers-python peers/bin/python --out runs/bench`"
)


@dataclass(frozen=True)
class Options:
    """The command line."""

    out: Path
    quick: bool
    quiet: bool
    only: str | None
    checkout: Path
    peers_python: str | None
    checkpoint: Path | None
    device: str | None


class Part(NamedTuple):
    """Something to measure."""

    help: str
    run: Callable[[Options], Any]
    """Measures and prints; returns what bench.json gets, or None if the part has a file of its own."""
    check: Callable[[Options], None] = lambda options: None
    """Raises UserError if the part cannot be run."""
    default: bool = True
    """Whether it is run when no part is named."""
    own: tuple[str, ...] = ()
    """Options that are for this part alone."""


def _with_bar(name: str, options: Options, **more: Any) -> Any:
    """What ``qmcbench.bench.NAME`` measures, under a progress bar, printed by its table's name."""
    from qmcbench.cli import bench_tables as tables
    from qmcbench.progress import Bar

    part = import_module(f"qmcbench.bench.{name}")
    with Bar(name, part.total(options.quick), quiet=options.quiet) as bar:
        found = part.measure(quick=options.quick, done=bar.update, **more)
    print(getattr(tables, name)(found))
    return found


def _hotpath(options: Options) -> Any:
    return _with_bar("hotpath", options, checkpoint=options.checkpoint)


def _check_hotpath(options: Options) -> None:
    from qmcbench.training import load_ansatz

    if options.checkpoint is not None:
        load_ansatz(options.checkpoint)


def _hotspots(options: Options) -> Any:
    from qmcbench.bench.operations import hotspots
    from qmcbench.cli import bench_tables as tables

    found = hotspots(**(QUICK_HOTSPOTS if options.quick else {}))
    print(tables.hotspots(found))
    return found


def _speedup(options: Options) -> Any:
    from qmcbench.bench import baseline
    from qmcbench.bench.operations import OPERATIONS
    from qmcbench.cli import bench_tables as tables
    from qmcbench.progress import Bar

    settings = QUICK_SPEEDUP if options.quick else {"systems": baseline.SYSTEMS, "batches": baseline.BATCHES}
    total = len(settings["systems"]) * len(settings["batches"]) * (len(OPERATIONS) + 1)
    with Bar("speedup", total, quiet=options.quiet) as bar:
        rows = baseline.speedups(**settings, done=bar.update)
    found = [row._asdict() | {"speedup": row.speedup} for row in rows]
    print(tables.speedup(found))
    return found


def _device(options: Options) -> Any:
    return _with_bar("device", options, device=options.device or DEVICE)


def _check_device(options: Options) -> None:
    from qmcbench.bench import device

    device.check(options.device or DEVICE)


def _suite(options: Options) -> Any:
    from qmcbench.bench import asv_run
    from qmcbench.cli import bench_tables as tables

    folder = options.out / "runs" / "asv"
    asv_run.run(options.checkout, folder, quick=options.quick, only=options.only, quiet=options.quiet)
    rows = asv_run.read(folder)
    print(tables.suite(rows))
    return rows


def _check_suite(options: Options) -> None:
    from qmcbench.bench import asv_run

    asv_run.check(options.checkout)


def _peers(options: Options) -> None:
    """benchmarks/peers/run.py prints, and writes peers.json, itself."""
    python = str(options.peers_python)
    command = [sys.executable, str(options.checkout / COMPARISON), "--peers-python", python]
    command += ["--out", str(options.out), *QUICK_PEERS * options.quick, *["--quiet"] * options.quiet]
    sys.stdout.flush()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UserError(
            f"The comparison with peers ended with exit status {done.returncode} and said why above; what it has "
            "tried is kept, and the same command goes on from there."
        )


def _check_peers(options: Options) -> None:
    python, peers = options.peers_python, " and ".join(PEERS)
    if python is None:
        raise UserError(
            f"{peers} need an environment of their own, whose Python is --peers-python; make one with "
            f"{INSTALL_PEERS} and use --peers-python peers/bin/python."
        )
    if not (options.checkout / COMPARISON).is_file():
        raise UserError(
            f"The comparison with peers is part of a checkout of qmcbench, but the folder "
            f"{options.checkout.resolve().name} is none; go to one, or use --checkout."
        )
    try:
        found = subprocess.run(
            [python, "-c", FIND_PEERS, *PEERS], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UserError(
            f"--peers-python {python} cannot be started ({error.strerror}); it is the interpreter of an environment "
            f"with {peers}, which {INSTALL_PEERS} makes."
        ) from error
    if found.returncode:
        last = (found.stderr.strip().splitlines() or [f"exit status {found.returncode}"])[-1]
        raise UserError(
            f"--peers-python {python} lacks what is compared ({last}); {INSTALL_PEERS} makes one that has it."
        )


PARTS = {
    "limits": Part(
        "matrix products, bandwidth, and how near each phase of a step comes to them", partial(_with_bar, "limits")
    ),
    "hotpath": Part(
        "what each rewriting of the hot path brought, sampling rate, memory of the derivatives",
        _hotpath,
        _check_hotpath,
        own=("--checkpoint",),
    ),
    "hotspots": Part("where one core spends a forward pass (the paper's Fig. 7)", _hotspots),
    "speedup": Part("all cores over one scalar core that does the plain network in loops (Fig. 8)", _speedup),
    "growth": Part(
        "how time and memory grow with lattice, network, samples and chains", partial(_with_bar, "growth")
    ),
    "device": Part(
        "the large network on a GPU (not run unless named)",
        _device,
        _check_device,
        default=False,
        own=("--device",),
    ),
    "suite": Part(
        "the asv suite of a checkout, on the code that is installed", _suite, _check_suite, own=("--only",)
    ),
    "peers": Part(
        "NetKet and quantax with the same network (not run unless named)",
        _peers,
        _check_peers,
        default=False,
        own=("--peers-python",),
    ),
}
DEFAULT = [name for name, part in PARTS.items() if part.default]


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for bench.json, peers.json and the report.")],
    parts: Annotated[
        list[str] | None, typer.Argument(help="; ".join(f"**{name}**: {part.help}" for name, part in PARTS.items()))
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes (minutes), to see that it works.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", help="Regular expression: benchmarks of the suite to run.")
    ] = None,
    checkout: Annotated[Path, typer.Option(help="The checkout whose suite, or peers, are run.")] = Path(),
    peers_python: Annotated[
        str | None, typer.Option("--peers-python", help="Interpreter of the peers' environment.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Network for the sampling rate of hotpath; a fresh one if absent."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help=f"For the part device: {DEVICE} if absent; cpu, to try it.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Measure this machine: PARTS, or all but device and peers; then a report. Exit status 1 if a benchmark fails.

    Keep the machine free meanwhile. A later call replaces only the parts that it runs.
    """
    from qmcbench.files import Interrupted

    options = Options(out, quick, quiet, only, checkout, peers_python, checkpoint, device)
    chosen = list(dict.fromkeys(parts or DEFAULT))
    given = {"--only": only, "--peers-python": peers_python, "--checkpoint": checkpoint, "--device": device}
    results = _prepare(options, chosen, [name for name, value in given.items() if value is not None])
    for number, name in enumerate(chosen):
        try:
            page = _keep(options, name, PARTS[name].run(options), results)
        except KeyboardInterrupt:
            rest = shlex.join(["qmcbench", "bench", *chosen[number:], "--out", str(out)])
            finished = ", ".join(chosen[:number]) or "nothing"
            raise Interrupted(
                f"Interrupted in {name}; finished and kept: {finished}. `{rest}` does the rest."
            ) from None
    rows = results["suite"]["results"] if "suite" in chosen else []
    failed = {row["benchmark"] for row in rows if row.get("not_run") == "failed"}
    if failed:
        print(f"failed: {', '.join(sorted(failed))}", file=sys.stderr)
    print(f"report: {page}")
    if failed:
        raise typer.Exit(1)


def _prepare(options: Options, chosen: list[str], given: list[str]) -> dict[str, Any]:
    """See that everything can be run before any of it takes its time; the parts that bench.json has already."""
    from qmcbench.files import make_folder

    for name in chosen:
        if name not in PARTS:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(PARTS)}")
    for name, part in PARTS.items():
        useless = [option for option in part.own if option in given and name not in chosen]
        if useless:
            raise typer.BadParameter(f"{useless[0]} is for the part {name}, which is not among {', '.join(chosen)}")
    for name in chosen:
        PARTS[name].check(options)
    make_folder(options.out)
    return _read(options.out)


def _read(out: Path) -> dict[str, Any]:
    """The parts that are there already, or none."""
    from qmcbench.store.bench import FILE, FORMAT

    path = out / FILE
    if not path.exists():
        return {"format": FORMAT}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away, or use another --out folder.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError(f"{path} is not of the format {FORMAT}; move it away, or use another --out folder.")
    return found


def _keep(options: Options, name: str, found: Any, results: dict[str, Any]) -> Path:
    """Write a part down, and the report anew: the next part may take hours. The report's page."""
    from qmcbench import provenance
    from qmcbench.files import dumps, write_atomically
    from qmcbench.report.bench import pages as bench
    from qmcbench.store.bench import FILE

    if found is not None:
        made_by = provenance.collect(shlex.join(["qmcbench", *sys.argv[1:]]))
        results[name] = {"quick": options.quick, "provenance": made_by, "results": found}
        write_atomically(options.out / FILE, (dumps(results, indent=1) + "\n").encode())
    return bench.refresh(options.out)[-1]
