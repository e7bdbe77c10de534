"""Runs the asv suite of a checkout, with all that asv writes in a folder of ours, and reads its results."""

from __future__ import annotations

import json
import math
import os
import site
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from qmcbench.bench.suite import VARIABLE
from qmcbench.errors import UserError
from qmcbench.files import make_folder

CONFIG = Path("benchmarks", "asv.conf.json")
MACHINE = "this"
"""The machine's name in asv's files, which would otherwise be the host's."""
VERSION = 2
"""Of asv's result files."""


def run(checkout: Path, folder: Path, *, quick: bool = False, only: str | None = None, quiet: bool = False) -> None:
    """Run the suite on the code that this Python imports, and keep asv's files in ``folder``.

    Parameters
    ----------
    checkout
        With ``benchmarks/asv.conf.json`` and a git history: asv files results under commits.
    folder
        Made if missing; results of other commits that are there are kept.
    quick
        Tiny sizes, each benchmark once.
    only
        Regular expression of the benchmarks to run.
    quiet
        Nothing of what asv says.

    Raises
    ------
    UserError
        If asv or the checkout is missing, or asv does not run.
    """
    check(checkout)
    config = checkout / CONFIG
    folder = folder.resolve()
    make_folder(folder)
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings |= {name: str((config.parent / settings[name]).resolve()) for name in ("repo", "benchmark_dir")}
    settings |= {f"{name}_dir": str(folder / name) for name in ("env", "results", "html")}
    own = folder / CONFIG.name
    own.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    # asv keeps a list of machines in the home folder.
    environment = os.environ | {
        "HOME": str(folder),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        VARIABLE: "quick" if quick else "full",
    }
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if commit.returncode:
        raise UserError(f"git does not know the commit of {checkout}: {commit.stderr.strip()}")
    machine = ["machine", "--yes", "--machine", MACHINE]
    suite = ["run", "--python=same", "--set-commit-hash", commit.stdout.strip(), "--machine", MACHINE]
    suite += ["--show-stderr", *["--quick"] * quick, *(["--bench", only] if only else [])]
    for arguments, fine in ((machine, (0,)), (suite, (0, 2))):  # 2: a benchmark failed, which the results show
        done = subprocess.run(
            [sys.executable, "-m", "asv", *arguments, "--config", str(own)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            # Progress, beside what this process prints.
            stdout=subprocess.DEVNULL if quiet else sys.__stderr__,
            stderr=subprocess.DEVNULL if quiet else None,
            check=False,
        )
        if done.returncode not in fine:
            raise UserError(
                f"asv {arguments[0]} ended with exit status {done.returncode}; run it in {checkout / CONFIG.parent}."
            )


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


def read(folder: Path) -> list[dict[str, Any]]:
    """The newest results that :func:`run` left in ``folder``, one for each benchmark and choice of parameters.

    Returns
    -------
    list of dict
        ``benchmark``, ``parameters`` (names and values), ``unit`` ("seconds" or "bytes"), ``median`` and its
        quartiles ``q25`` and ``q75`` (absent for a single value); or, without them, ``not_run``: "skipped" (it does
        not fit this machine) or "failed".

    Raises
    ------
    UserError
        If there are none, or they are of another version of asv.
    """
    results = folder / "results"
    files = [path for path in (results / MACHINE).glob("*.json") if path.name != "machine.json"]
    if not files:
        raise UserError(f"asv left no results in {folder}.")
    found = json.loads(max(files, key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))
    if found["version"] != VERSION:
        raise UserError(f"asv's results are of version {found['version']}, not {VERSION}; install asv 0.6.")
    benchmarks = json.loads((results / "benchmarks.json").read_text(encoding="utf-8"))
    return [
        row
        for name, values in sorted(found["results"].items())
        if name in benchmarks
        for row in _rows(name, dict(zip(found["result_columns"], values, strict=False)), benchmarks[name])
    ]


def _rows(name: str, columns: dict[str, Any], benchmark: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    # Values are written as Python writes them: 'large', 16.
    for number, values in enumerate(product(*columns["params"])):
        parameters = dict(zip(benchmark["param_names"], (value.strip("'") for value in values), strict=True))
        row: dict[str, Any] = {"benchmark": name, "parameters": parameters, "unit": benchmark["unit"]}
        median = columns["result"][number] if columns["result"] else None
        if median is None or math.isnan(median):
            row["not_run"] = "failed" if median is None else "skipped"
        else:
            row["median"] = median
            for ours, theirs in (("q25", "stats_q_25"), ("q75", "stats_q_75")):
                quartiles = columns.get(theirs)
                if quartiles and quartiles[number] is not None:
                    row[ours] = quartiles[number]
        rows.append(row)
    return rows
