"""Runs the asv suite of a checkout, with all that asv writes in a folder of ours, and reads its results."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from qmcbench.bench.suite import VARIABLE
from qmcbench.errors import UserError
from qmcbench.files import make_folder
from qmcbench.store.bench import AsvBenchmark
from qmcbench.structure import parse_json, read_text, structure

T = TypeVar("T")

CONFIG = Path("benchmarks", "asv.conf.json")
MACHINE = "this"
"""The machine's name in asv's files, which would otherwise be the host's."""
VERSION = 2
"""Of asv's result files."""
LAUNCH = """
import sys
from asv.machine import MachineCollection
path = sys.argv.pop(1)
MachineCollection.get_machine_file_path = staticmethod(lambda: path)
from asv.main import main
main()
"""
"""asv with its list of machines in a file of ours: it would be in the home folder, which is the user's."""
SKIPPED = "it does not fit this machine's memory or cores"
UNITS = {"seconds": "s", "bytes": "B"}


@dataclass(frozen=True)
class Results:
    """What is used of a file of results."""

    version: int
    result_columns: tuple[str, ...]
    results: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Described:
    """What is used of a benchmark's description."""

    param_names: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class Columns:
    """What is used of a benchmark's results: of each choice of parameters, the median and its quartiles."""

    params: tuple[tuple[str, ...], ...]
    result: tuple[float | None, ...] | None
    stats_q_25: tuple[float | None, ...] | None = None
    stats_q_75: tuple[float | None, ...] | None = None

    def __post_init__(self) -> None:
        choices = math.prod(map(len, self.params))
        for each in (self.result, self.stats_q_25, self.stats_q_75):
            if each and len(each) != choices:
                raise ValueError(f"{len(each)} values for {choices} choices of parameters")


@dataclass(frozen=True)
class Request:
    """What asv is to run, and where it keeps its files."""

    checkout: Path
    """With ``benchmarks/asv.conf.json`` and a git history: asv files results under commits."""
    folder: Path
    """Made if missing; results of other commits that are there are kept."""
    quick: bool = False
    """Tiny sizes, each benchmark once."""
    only: str | None = None
    """Regular expression of the benchmarks to run."""
    quiet: bool = False
    commit: str | None = None
    """That the results are of; the one that is checked out, if absent."""
    package: Path | None = None
    """Folder of the package to measure; the one that this Python imports, if absent."""
    benchmarks: str | None = None
    """Folder beside the configuration, instead of the one that it names."""


def run(request: Request) -> None:
    """Run the suite, and keep asv's files in the folder.

    Raises
    ------
    UserError
        If asv or the checkout is missing, or asv does not run.
    """
    checkout = request.checkout
    check(checkout)
    folder = request.folder.resolve()
    make_folder(folder)
    commit = request.commit or git(checkout, "rev-parse", "HEAD").decode().strip()
    own = folder / CONFIG.name
    own.write_text(json.dumps(_settings(request, folder), indent=1) + "\n", encoding="utf-8")
    machine = ["machine", "--yes", "--machine", MACHINE]
    suite = ["run", "--python=same", "--set-commit-hash", commit, "--machine", MACHINE]
    suite += ["--show-stderr", *["--quick"] * request.quick, *(["--bench", request.only] if request.only else [])]
    for arguments, fine in ((machine, (0,)), (suite, (0, 2))):  # 2: a benchmark failed, which the results show
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH, str(folder / "machines.json"), *arguments, "--config", str(own)],
            cwd=folder,
            env=_environment(request),
            stdin=subprocess.DEVNULL,
            # Progress, beside what this process prints.
            stdout=subprocess.DEVNULL if request.quiet else sys.__stderr__,
            stderr=subprocess.DEVNULL if request.quiet else None,
            check=False,
        )
        if done.returncode not in fine:
            raise UserError(
                f"asv {arguments[0]} ended with exit status {done.returncode}; run it in {checkout / CONFIG.parent}."
            )


def _settings(request: Request, folder: Path) -> dict[str, Any]:
    """The checkout's configuration with all folders absolute."""
    config = request.checkout / CONFIG
    settings: dict[str, Any] = parse_json(read_text(config, "configuration"), str(config))
    settings["benchmark_dir"] = request.benchmarks or settings["benchmark_dir"]
    settings |= {name: str((config.parent / settings[name]).resolve()) for name in ("repo", "benchmark_dir")}
    return settings | {f"{name}_dir": str(folder / name) for name in ("env", "results", "html")}


def _environment(request: Request) -> dict[str, str]:
    sizes = {"PYTHONDONTWRITEBYTECODE": "1", VARIABLE: "quick" if request.quick else "full"}
    # asv takes PYTHONPATH away from what it runs, and gives it this one.
    package = {} if request.package is None else {"ASV_PYTHONPATH": str(request.package.resolve())}
    return os.environ | sizes | package


def git(checkout: Path, *arguments: str) -> bytes:
    """What git says.

    Raises
    ------
    UserError
        If it fails.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror}); asv needs it.") from error
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed in {checkout}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def check(checkout: Path) -> None:
    """See that the suite is there and can be run.

    Raises
    ------
    UserError
        If not.
    """
    if find_spec("asv") is None:
        raise UserError('The benchmark suite needs asv, which is not installed; pip install "qmcbench[bench]".')
    if not (checkout / CONFIG).is_file() or not (checkout / ".git").exists():
        raise UserError(
            f"The benchmark suite is part of a git checkout of qmcbench, but the folder {checkout.resolve().name} is "
            "none; go to one, or use --checkout."
        )


def read(folder: Path) -> tuple[AsvBenchmark, ...]:
    """The newest results that :func:`run` left in ``folder``, one for each benchmark and choice of parameters.

    Raises
    ------
    UserError
        If there are none, they are of another version of asv, or damaged.
    """
    results = folder / "results"
    files = [path for path in (results / MACHINE).glob("*.json") if path.name != "machine.json"]
    if not files:
        raise UserError(f"asv left no results in {folder}.")
    newest = max(files, key=lambda path: path.stat().st_mtime)
    found = _part(_object(newest), Results, str(newest))
    if found.version != VERSION:
        raise UserError(f"asv's results are of version {found.version}, not {VERSION}; install asv 0.6.")
    benchmarks = _object(results / "benchmarks.json")
    return tuple(
        row
        for name, values in sorted(found.results.items())
        if name in benchmarks
        for row in _rows(
            name,
            _part(dict(zip(found.result_columns, values, strict=False)), Columns, f"{newest}, {name}"),
            _part(benchmarks[name], Described, f"{results / 'benchmarks.json'}, {name}"),
        )
    )


def _object(path: Path) -> dict[str, Any]:
    content = parse_json(read_text(path, "results of asv"), str(path))
    return content if isinstance(content, dict) else {}


def _part(content: Any, cls: type[T], source: str) -> T:
    """The keys that ``cls`` has; asv's files have more."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # only dataclasses
    own = {name: value for name, value in content.items() if name in names} if isinstance(content, dict) else content
    return structure(own, cls, source, "run the suite again")


def _rows(name: str, columns: Columns, benchmark: Described) -> Iterator[AsvBenchmark]:
    unit = UNITS.get(benchmark.unit, benchmark.unit)
    # Values are written as Python writes them: 'large', 16.
    for number, values in enumerate(product(*columns.params)):
        parameters = dict(zip(benchmark.param_names, (value.strip("'") for value in values), strict=False))
        median, low, high = (
            each[number] if each else None for each in (columns.result, columns.stats_q_25, columns.stats_q_75)
        )
        if median is None or math.isnan(median):
            failed = median is None
            yield AsvBenchmark(
                value=None, unit=unit, benchmark=name, parameters=parameters, failed=failed,
                not_run="failed" if failed else SKIPPED,
            )  # fmt: skip
        else:
            yield AsvBenchmark(value=median, unit=unit, benchmark=name, parameters=parameters, low=low, high=high)
