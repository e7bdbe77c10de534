"""What ``qmcbench bench`` left in a folder, read and checked: everything the report then takes for granted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qmcbench.errors import UserError
from qmcbench.report.figure import Result

FILE = "bench.json"
FORMAT = "qmcbench-bench-1"
PEERS_FILE = "peers.json"
PEERS_COMMAND = "qmcbench bench peers --peers-python PYTHON --out FOLDER"

Form = Any
"""A type, a tuple of types, ``[form of each]``, or ``{"name": form}``, in which ``str`` is the name of all others and
a name that ends with ``?`` may be missing.

A float may be a whole number; names that a form does not have are let through.
"""
TIMES = {"median_s": float, "min_s": float, "max_s": float, "repeats": int}
MAYBE = (float, type(None))
SETTINGS = {str: (str, int, float, bool, type(None))}
PROVENANCE = {
    "command": str,
    "date": str,
    "python": str,
    "versions": {str: (str, type(None))},
    "machine": {
        "cpu": str,
        "cores": int,
        "memory_GiB": float,
        "system": str,
        "gpu": (str, type(None)),
        "torch_threads": int,
    },
}
SHARES = {"seconds": float, "share_percent": {str: float}}
PARTS: dict[str, Form] = {
    "limits": {
        "threads": int,
        "rates": {"sgemm_GFs": float, "dgemm_GFs": float, "bf16_GFs": MAYBE, "copy_GBs": float},
        "sizes": {str: int},
        "phases": [
            {"phase": str, "network": str, "L": int, "samples": int, "dtype": str, "flops": float, "bytes": float}
            | {
                "GFs": float,
                "solver?": (str, type(None)),
                "intensity": float,
                "attainable_GFs": float,
                "fraction": float,
                "bound": str,
            }
            | TIMES
        ],
    },
    "hotpath": {
        "threads": int,
        "sgemm_GFs": float,
        "forward": [
            {"network": str, "L": int, "batch": int, "form": str, "cores": int}
            | {"GFs": float, "fraction_of_sgemm": float}
            | TIMES
        ],
        "steps": [
            {"step": str, "workload": str, "before_s": float, "after_s": float}
            | {"predicted": MAYBE, "measured": float, "remark": str}
        ],
        "samples_per_second": [
            {"network": str, "L": int, "symmetry": str, "chains": int, "proposals": int}
            | {"per_second": float, "min": float, "max": float, "repeats": int}
            | {"weights?": str, "acceptance?": float, "remark?": str}
        ],
        "derivatives": {"network": str, "L": int, "samples": int, "derivatives_s": float, "solve_s": float}
        | {"peak_bytes": float, "before_bytes": float, "repeats": int},
    },
    "speedup": [
        {"network": str, "L": int, "batch": int, "operation": str, "cores": int}
        | {"scalar_s": float, "one_core_s": float, "all_cores_s": float, "speedup": float}
    ],
    "hotspots": {"network": str, "L": int, "batch": int, "repeats": int, "plain": SHARES, "fused": SHARES},
    "growth": {
        "threads": int,
        "curves": [
            {"quantity": str, "what": str, "variable": str, "fixed": SETTINGS, "expected": float}
            | {"why": str, "exponent": MAYBE, "exponent_error": MAYBE, "fitted_from": float}
            | {"points": [{"x": float, "median": float, "min": float, "max": float, "repeats": int}]}
        ],
    },
    "device": {
        "device": str,
        "name": str,
        "repeats": int,
        "sgemm_GFs": float,
        "rows": [
            {"network": str, "L": int, "batch": int, "chains": int, "forward_s": float, "GFs": float}
            | {"fraction_of_sgemm": float, "samples_per_second": float, "iteration_s": float}
            | {"peak_bytes": (int, type(None))}
        ],
    },
    "suite": [
        {"benchmark": str, "parameters": {str: str}, "unit": str}
        | {"median?": float, "q25?": float, "q75?": float, "not_run?": str}
    ],
}
"""The results of each part of bench.json, in the order of the report."""
PEER_PHASES = ("sweep", "local_energy", "sr_step", "iteration")
PROGRAM = {
    "versions": {str: str},
    "amplitude_difference": float,
    "tau": float,
    "configuration": SETTINGS,
    "repeats": [dict.fromkeys(PEER_PHASES, float)],
    "medians": dict.fromkeys((*PEER_PHASES, "effective_sample"), float),
    "peak_MiB": float,
}
PEERS: Form = {
    "job": {"L": int, "J2": float, "model": str, "samples": int, "threads": int},
    "repeats": int,
    "trials": [{"program": str, "configuration": SETTINGS, "iteration?": float, "peak_MiB?": float, "failure?": str}],
    "programs": {"qmcbench": PROGRAM, str: PROGRAM},
    "ratios": {str: {phase: {"median": float, "min": float, "max": float} for phase in PEER_PHASES}},
    "provenance": PROVENANCE,
}


def read(folder: Path) -> dict[str, Result]:
    """Every part that ``folder`` has: ``quick``, ``provenance`` and ``results`` of each.

    Peers are the part "peers", quick if they were compared at less than what ``benchmarks/peers/run.py`` takes when
    not told otherwise.

    Raises
    ------
    UserError
        If there is none, or a file cannot be read, is of another format, or lacks something.
    """
    parts: dict[str, Result] = {}
    if (folder / FILE).exists():
        found = _load(folder / FILE, "qmcbench bench")
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise UserError(f"{folder / FILE} is not of the format {FORMAT}; move it away and measure again.")
        for name, results in PARTS.items():
            if name in found:
                form = {"quick": bool, "provenance": PROVENANCE, "results": results}
                _demand(found[name], form, name, folder / FILE, f"qmcbench bench {name}")
                parts[name] = found[name]
    if (folder / PEERS_FILE).exists():
        found = _load(folder / PEERS_FILE, PEERS_COMMAND)
        _demand(found, PEERS, "", folder / PEERS_FILE, PEERS_COMMAND)
        job = found["job"]
        quick = job["L"] < 10 or job["samples"] < 1024 or job["model"] == "small"
        parts["peers"] = {"quick": quick, "provenance": found["provenance"], "results": found}
    if not parts:
        raise UserError(f"{folder} has nothing to report; begin with `qmcbench bench --out {folder}`.")
    return parts


def _load(path: Path, command: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away and measure again (`{command}`).") from error


def _demand(value: Any, form: Form, where: str, path: Path, command: str) -> None:
    """See that ``value`` is of ``form``, or say where it is not."""
    wrong = _wrong(value, form, where)
    if wrong:
        raise UserError(f"{path} is incomplete or damaged: {wrong}; measure it again with `{command}`.")


def _wrong(value: Any, form: Form, where: str) -> str | None:
    """The first place where ``value`` is not of ``form``, in words."""
    if not isinstance(form, dict | list):
        kinds = form if isinstance(form, tuple) else (form,)
        # A whole number will do for a float, but Python's True is 1.
        fits = isinstance(value, (*kinds, int) if float in kinds else kinds)
        fits = fits and (bool in kinds or not isinstance(value, bool))
        return None if fits else f"{where} is {json.dumps(value)[:60]}"
    dot = f"{where}." if where else ""
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        inside = [(each, form[0], f"{where}[{i}]") for i, each in enumerate(value)]
    else:
        if not isinstance(value, dict):
            return f"{where or 'the file'} is no object"
        missing = next((name for name in form if name is not str and name[-1] != "?" and name not in value), None)
        if missing is not None:
            return f"{dot}{missing} is missing"
        inside = [
            (each, form[key], f"{dot}{name}")
            for name, each in value.items()
            for key in [next((key for key in (name, f"{name}?", str) if key in form), None)]
            if key is not None
        ]
    return next((wrong for one in inside if (wrong := _wrong(*one))), None)
