"""INVENTED benchmark results, which every check of the benchmark report accepts: the numbers mean nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qmcbench.store.bench import FORMAT, read

Store = dict[str, Any]
MACHINE = {"cpu": "Synthetic <CPU>", "cores": 2, "memory_GiB": 8.0, "system": "Linux x86_64"}
MACHINE |= {"gpu": None, "torch_threads": 2}


def origin(command: str, date: str = "2000-01-01T00:00:00+00:00") -> Store:
    """Where an invented part comes from."""
    versions = {"qmcbench": "0.1.0", "torch": "2.9.0", "mpi4py": None}
    return {"command": command, "date": date, "python": "3.11.7", "versions": versions, "machine": dict(MACHINE)}


def part(name: str, results: Any) -> Store:
    """A part of full size."""
    return {"quick": False, "provenance": origin(f"qmcbench bench {name} --out 'a|b'"), "results": results}


def times(median: float) -> Store:
    """A median with a range of 20 % either way."""
    return {"median_s": median, "min_s": 0.8 * median, "max_s": 1.2 * median, "repeats": 5}


def forward(form: str, seconds: float, fraction: float, batch: int = 256, cores: int = 2, L: int = 12) -> Store:
    """A forward pass of the large network."""
    row = {"network": "large", "L": L, "batch": batch, "form": form, "cores": cores}
    return row | times(seconds) | {"GFs": 200 * fraction, "fraction_of_sgemm": fraction}


def hotpath() -> Store:
    """The fastest form reaches 0.625 of sgemm at the worse of two large batches, and is twice as fast as plain."""
    return {
        "threads": 2,
        "sgemm_GFs": 200.0,
        "forward": [
            forward("plain", 1.0, 0.3125),
            forward("fused", 0.8, 0.39),
            forward("fourier", 0.5, 0.625),
            forward("plain", 2.2, 0.3, batch=512),
            forward("fourier", 1.0, 0.66, batch=512),
            # None of these counts: a small batch, one core, another lattice.
            forward("fourier", 0.2, 0.2, batch=64),
            forward("scalar", 50.0, 0.01, cores=1),
            forward("fourier", 0.9, 0.3, cores=1),
            forward("fourier", 0.4, 0.5, L=6),
        ],
        "steps": [
            {"step": "fused pooled grid", "workload": "forward, large, 12x12, batch 256", "before_s": 1.0}
            | {"after_s": 0.8, "predicted": 1.4, "measured": 1.25, "remark": "fewer copies"},
            {"step": "Fourier space, compiled", "workload": "forward, large, 12x12, batch 256", "before_s": 0.8}
            | {"after_s": 0.5, "predicted": None, "measured": 1.6, "remark": "tried first"},
        ],
        "samples_per_second": [
            {"network": "liang", "L": 12, "symmetry": "C4", "chains": 64, "proposals": 144, "per_second": 8.0}
            | {"min": 7.5, "max": 8.25, "repeats": 5, "weights": "random", "acceptance": 0.5, "remark": "one sweep"},
            {"network": "liang", "L": 10, "symmetry": "C4", "chains": 64, "proposals": 100, "per_second": 2.0}
            | {"min": 1.5, "max": 2.25, "repeats": 5},
        ],
        "derivatives": {"network": "large", "L": 10, "samples": 1024, "derivatives_s": 12.5, "solve_s": 1.75}
        | {"peak_bytes": 2 * 2**30, "before_bytes": 2**29, "repeats": 5},
    }


def limits() -> Store:
    """Two phases in float32 and one in float64, close to each other in the plot."""
    rates = {"sgemm_GFs": 200.0, "dgemm_GFs": 100.0, "bf16_GFs": 350.0, "copy_GBs": 25.0}
    phases = []
    for name, dtype, intensity, reached in (
        ("forward", "float32", 4000.0, 120.0),
        ("sweep", "float32", 4100.0, 110.0),
        ("local_energy", "float32", 3900.0, 115.0),
        ("log_derivatives", "float32", 2.0, 10.0),
        ("solve", "float64", 300.0, 80.0),
    ):
        attainable = min(rates["sgemm_GFs" if dtype == "float32" else "dgemm_GFs"], 25 * intensity)
        phases.append(
            {"phase": name, "network": "medium", "L": 10, "samples": 1024, "dtype": dtype, "flops": 1e9 * reached}
            | {"bytes": 1e9 * reached / intensity, "GFs": reached, "intensity": intensity}
            | {"attainable_GFs": attainable, "fraction": reached / attainable}
            | {"solver": "sample_space" if name == "solve" else None}
            | {"bound": "arithmetic" if attainable < 25 * intensity else "memory"}
            | times(1.0)
        )
    sizes = {"gemm": 4096, "bf16": 2048, "copy_bytes": 10**9}
    return {"threads": 2, "rates": rates, "sizes": sizes, "phases": phases}


def speedup() -> list[Store]:
    """A speedup that grows with the batch, of two lattices of one network and one of another."""
    operations = {"conv2d": 20.0, "max_pool": 5.0, "deconv": 3.0, "bias": 8.0, "pad": 2.0, "product": 0.5}
    return [
        {"network": network, "L": L, "batch": batch, "operation": name, "scalar_s": 1.0, "cores": 2}
        | {"one_core_s": 1.8 / gain, "all_cores_s": 1 / gain, "speedup": gain}
        for network, L in (("medium", 10), ("large", 10), ("large", 16))
        for batch in (8, 32, 48, 64, 256)
        for name, factor in (operations | {"forward": 40.0}).items()
        for gain in [factor * batch / (batch + 16)]
    ]


def curve(quantity: str, what: str, variable: str, expected: float, exponent: float, xs: list[int]) -> Store:
    """A power law with a flat start: the first point is not fitted to."""
    points = [
        {"x": x, "median": y, "min": 0.9 * y, "max": 1.2 * y, "repeats": 5}
        for x in xs
        for y in [1e-3 * max(x, xs[1]) ** exponent * (1 if quantity == "seconds" else 1e9)]
    ]
    error = None if quantity == "bytes" else 0.03125
    return (
        {"quantity": quantity, "what": what, "variable": variable, "fixed": {"network": "medium", "chains": 64}}
        | {"expected": expected, "why": "N proposals of cost N each", "points": points, "exponent": exponent}
        | {"exponent_error": error, "fitted_from": xs[1]}
    )


def growth() -> Store:
    """Seconds within a quarter of what is expected; bytes are farther off, and decide nothing."""
    return {
        "threads": 2,
        "curves": [
            curve("seconds", "sweep", "L", 4.0, 3.875, [4, 6, 8, 12, 16, 24]),
            curve("seconds", "local_energy", "L", 4.0, 4.25, [4, 6, 8, 12, 16, 24]),
            curve("seconds", "log_derivatives", "parameters", 1.0, 0.9375, [3531, 16249, 106529]),
            curve("bytes", "solve (sample_space)", "samples", 2.0, 1.0, [256, 512, 1024, 2048]),
        ],
    }


def device() -> Store:
    """One lattice on an invented GPU."""
    row = {"network": "large", "L": 16, "batch": 2048, "chains": 256, "forward_s": 0.5, "GFs": 15000.0}
    row |= {"fraction_of_sgemm": 0.375, "samples_per_second": 96.0, "iteration_s": 2.5, "peak_bytes": 3 * 2**30}
    return {"device": "cuda", "name": "Synthetic GPU", "repeats": 5, "sgemm_GFs": 40000.0, "rows": [row]}


def suite() -> list[Store]:
    """One benchmark with quartiles, one in bytes, one that was skipped and one that failed."""
    rows: list[Store] = [
        {"benchmark": "b.Operation.time", "parameters": {"operation": "conv2d", "batch": str(batch)}}
        | {"unit": "seconds", "median": 0.001 * batch, "q25": 0.0009 * batch, "q75": 0.0011 * batch}
        for batch in (8, 32)
    ]
    rows.append({"benchmark": "b.Peak.mem", "parameters": {}, "unit": "bytes", "median": 300 * 2**20})
    solves = (("dense", "skipped"), ("cg", "failed"))
    return rows + [
        {"benchmark": "b.Solve.time", "parameters": {"solver": s}, "unit": "seconds", "not_run": why}
        for s, why in solves
    ]


def hotspots() -> Store:
    """Shares that add up to 100."""
    plain = {"conv2d": 70.0, "max_pool": 6.5, "deconv": 10.0, "bias": 4.0, "pad": 6.0, "product": 1.0, "other": 2.5}
    return {
        "network": "large",
        "L": 10,
        "batch": 256,
        "repeats": 10,
        "plain": {"seconds": 1.5, "share_percent": plain},
        "fused": {"seconds": 0.75, "share_percent": {"fused": 97.5, "product": 1.5, "other": 1.0}},
    }


def program(name: str, iteration: float) -> Store:
    """A program whose phases take a part of its iteration each; the last of three repeats is slower."""
    shares = {"sweep": 0.5, "local_energy": 0.25, "sr_step": 0.125, "iteration": 1.0}
    repeats = [{phase: factor * share * iteration for phase, share in shares.items()} for factor in (1, 1, 1.5)]
    return {
        "versions": {name: "1.2.3", "numpy": "2.0.0"},
        "amplitude_difference": 8e-7,
        "tau": 1.25,
        "configuration": {"form": "conv", "x64": False},
        "repeats": repeats,
        "medians": repeats[0] | {"effective_sample": 0.75 * iteration * 1.25 / 1024},
        "peak_MiB": 1234.5,
    }


def peers(**iterations: float) -> Store:
    """peers.json of an iteration of a second and the peers' ``iterations``."""
    programs = {name: program(name, seconds) for name, seconds in {"qmcbench": 1.0, **iterations}.items()}
    ratios = {
        name: {
            phase: {"median": seconds, "min": 0.8 * seconds, "max": 1.25 * seconds}
            for phase in ("sweep", "local_energy", "sr_step", "iteration")
        }
        for name, seconds in iterations.items()
    }
    trials: list[Store] = [
        {"program": name, "configuration": each["configuration"], "iteration": 7.5, "peak_MiB": 1200.0}
        for name, each in programs.items()
    ]
    trials.append(
        {"program": "netket", "configuration": {"form": "im2col", "x64": True}, "failure": "exit status 137"}
    )
    job = {"L": 10, "J2": 0.5, "model": "medium", "samples": 1024, "threads": 2, "configuration": {}}
    made = origin("python benchmarks/peers/run.py --peers-python PYTHON --out OUT", "2000-01-02T00:00:00+00:00")
    return {"job": job, "repeats": 3, "trials": trials, "programs": programs, "ratios": ratios, "provenance": made}


def bench() -> Store:
    """bench.json with every part."""
    works: dict[str, Callable[[], Any]] = {
        "limits": limits,
        "hotpath": hotpath,
        "hotspots": hotspots,
        "speedup": speedup,
        "growth": growth,
        "device": device,
        "suite": suite,
    }
    return {"format": FORMAT} | {name: part(name, work()) for name, work in works.items()}


def full() -> tuple[Store, Store]:
    """Both files, complete."""
    return bench(), peers(netket=6.25, quantax=12.5)


def parts_of(folder: Path, own: Store | None, other: Store | None = None) -> dict[str, Store]:
    """The parts of these files as they are read."""
    for name, found in (("bench.json", own), ("peers.json", other)):
        if found is not None:
            (folder / name).write_text(json.dumps(found))
    return read(folder)
