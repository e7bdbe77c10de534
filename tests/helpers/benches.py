"""INVENTED benchmark records, which every check of the benchmark chapter accepts: the numbers mean nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from qmcbench.bench.history import FAILED
from qmcbench.bench.names import OPERATIONS, PHASES
from qmcbench.provenance import Machine, Provenance
from qmcbench.report.bench.pages import part
from qmcbench.store import jsonl
from qmcbench.store.bench import (
    AsvBenchmark,
    CommitTime,
    Fresh,
    Growth,
    Learning,
    LearningCurve,
    Memory,
    Optimised,
    PeerProgram,
    PeerTrial,
    Point,
    Rate,
    SamplingRate,
    Share,
    Step,
    WorkTime,
)
from qmcbench.store.records import Record, Reference, Run

MACHINE = Machine(cpu="Synthetic <CPU>", cores=2, memory_GiB=8.0, system="Linux x86_64", torch_threads=2)
Parts = dict[str, Run]
Records = tuple[Record, ...]


def origin(command: str, date: str = "2000-01-01T00:00:00+00:00") -> Provenance:
    """Where an invented part comes from."""
    versions = {"qmcbench": "0.1.0", "torch": "2.9.0", "mpi4py": None}
    return Provenance(command=command, date=date, python="3.11.7", versions=versions, machine=MACHINE)


def run(name: str, records: Iterable[Record]) -> Run:
    """A part of full size."""
    made = origin(f"qmcbench bench {name} --out 'a|b'")
    return Run(job=f"bench {name}", provenance=made, records=tuple(records), seconds=1.5)


def times(median: float) -> dict[str, Any]:
    """A median with a range of 20 % either way."""
    return {"value": median, "low": 0.8 * median, "high": 1.2 * median, "repeats": 5}


def forward(form: str, seconds: float, fraction: float, batch: int = 256, cores: int = 2, L: int = 12) -> WorkTime:
    """A forward pass of the large network, which counts as many operations as that fraction of sgemm takes."""
    return WorkTime(
        work="forward", form=form, network="large", L=L, batch=batch, threads=cores,
        operations=fraction * 200e9 * seconds, **times(seconds),
    )  # fmt: skip


SGEMM = Rate(value=200.0, operation="sgemm", size=4096, threads=2)
DERIVATIVES = partial(WorkTime, network="large", L=10, batch=1024, threads=2, repeats=5)


def sampling(network: str, L: int, rate: float, **more: Any) -> SamplingRate:
    """A sampling rate with C4."""
    return SamplingRate(
        value=rate, low=rate - 0.5, high=rate + 0.25, repeats=5, network=network, L=L, symmetry="C4", chains=64,
        proposals=L * L, **more,
    )  # fmt: skip


def hotpath() -> Records:
    """The fastest form reaches 0.625 of sgemm at the worse of two large batches, and is twice as fast as plain."""
    workload = "forward, large, 12x12, batch 256"
    return (
        SGEMM,
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
        Step(
            name="fused pooled grid", workload=workload, before_s=1.0, after_s=0.8, predicted=1.4, value=1.25,
            remark="fewer copies",
        ),
        Step(
            name="Fourier space, compiled", workload=workload, before_s=0.8, after_s=0.5, value=1.6,
            remark="tried first",
        ),
        sampling("liang", 12, 8.0, weights="random", acceptance=0.5),
        sampling("liang", 10, 2.0),
        DERIVATIVES(work="log_derivatives", value=12.5),
        DERIVATIVES(work="solve", form="sample_space", value=1.75),
        Memory(
            value=2 * 2**30, before=2**29, work="derivatives and step", network="large", L=10, batch=1024
        ),
    )  # fmt: skip


def limits() -> Records:
    """Two phases in float32 and one in float64, close to each other in the plot."""
    phases = [
        WorkTime(
            work=name, form="sample_space" if name == "solve" else "", network="medium", L=10, batch=1024,
            dtype=dtype, operations=1e9 * reached, traffic=1e9 * reached / intensity, threads=2, **times(1.0),
        )
        for name, dtype, intensity, reached in (
            ("forward", "float32", 4000.0, 120.0),
            ("sweep", "float32", 4100.0, 110.0),
            ("local_energy", "float32", 3900.0, 115.0),
            ("log_derivatives", "float32", 2.0, 10.0),
            ("solve", "float64", 300.0, 80.0),
        )
    ]  # fmt: skip
    return (
        SGEMM,
        Rate(value=100.0, operation="dgemm", size=4096, threads=2),
        Rate(value=350.0, operation="bf16 gemm", size=2048, threads=2),
        Rate(value=25.0, unit="GB/s", operation="copy", size=10**9, threads=2),
        *phases,
    )


def speedup() -> Records:
    """A speedup that grows with the batch, of two lattices of one network and one of another."""
    factors = dict(zip(OPERATIONS, (20.0, 5.0, 3.0, 8.0, 2.0, 0.5), strict=True)) | {"forward": 40.0}
    return tuple(
        WorkTime(work=name, network=network, L=L, batch=batch, repeats=5, form=form, threads=cores, value=seconds)
        for network, L in (("medium", 10), ("large", 10), ("large", 16))
        for batch in (8, 32, 48, 64, 256)
        for name, factor in factors.items()
        for gain in [factor * batch / (batch + 16)]
        for form, cores, seconds in (("scalar", 1, 1.0), ("", 1, 1.8 / gain), ("", 2, 1 / gain))
    )


def curve(
    quantity: Literal["seconds", "bytes"],
    work: str,
    variable: Literal["L", "parameters", "samples", "chains"],
    exponents: tuple[float, float],
    xs: list[int],
) -> Growth:
    """A power law with a flat start: the first point is not fitted to. Exponents are the expected and the fitted."""
    expected, exponent = exponents
    unit = 1e-3 if quantity == "seconds" else 1e6
    heights = [unit * max(x, xs[1]) ** exponent for x in xs]
    return Growth(
        value=exponent, sigma=None if quantity == "bytes" else 0.03125, quantity=quantity, work=work,
        variable=variable, fixed={"network": "medium", "chains": 64}, expected=expected,
        why="N proposals of cost N each", fitted_from=xs[1], threads=2,
        points=tuple(
            Point(x=x, median=y, low=0.9 * y, high=1.2 * y, repeats=5) for x, y in zip(xs, heights, strict=True)
        ),
    )  # fmt: skip


def growth() -> Records:
    """Seconds within a quarter of what is expected; bytes are farther off, and decide nothing."""
    return (
        curve("seconds", "sweep", "L", (4.0, 3.875), [4, 6, 8, 12, 16, 24]),
        curve("seconds", "local_energy", "L", (4.0, 4.25), [4, 6, 8, 12, 16, 24]),
        curve("seconds", "log_derivatives", "parameters", (1.0, 0.9375), [3531, 16249, 106529]),
        curve("bytes", "solve (sample_space)", "samples", (2.0, 1.0), [256, 512, 1024, 2048]),
    )


def device() -> Records:
    """One lattice on an invented GPU."""
    row = partial(WorkTime, network="large", L=16, device="Synthetic GPU")
    return (
        Rate(value=40000.0, operation="sgemm", device="Synthetic GPU"),
        row(work="forward", batch=2048, operations=15000e9 * 0.5, **times(0.5)),
        sampling("large", 16, 96.0, device="Synthetic GPU"),
        row(work="iteration", batch=64, **times(2.5)),
        Memory(value=3 * 2**30, work="all", network="large", L=16, batch=2048, device="Synthetic GPU"),
    )


def suite() -> Records:
    """One benchmark with quartiles, one in bytes, one that was skipped and one that failed."""
    solve = partial(AsvBenchmark, value=None, unit="s", benchmark="b.Solve.time")
    return (
        *(
            AsvBenchmark(
                benchmark="b.Operation.time", parameters={"operation": "conv2d", "batch": str(batch)}, unit="s",
                value=0.001 * batch, low=0.0009 * batch, high=0.0011 * batch,
            )
            for batch in (8, 32)
        ),
        AsvBenchmark(benchmark="b.Peak.mem", parameters={}, unit="B", value=300 * 2**20),
        solve(parameters={"solver": "dense"}, not_run="it does not fit this machine's memory or cores"),
        solve(parameters={"solver": "cg"}, not_run="failed", failed=True),
    )  # fmt: skip


def hotspots() -> Records:
    """Shares that leave something to other."""
    shares: dict[Literal["plain", "fused"], tuple[float, dict[str, float]]] = {
        "plain": (
            1.5, {"conv2d": 70.0, "max_pool": 6.5, "deconv": 10.0, "bias": 4.0, "pad": 6.0, "product": 1.0},
        ),
        "fused": (0.75, {"fused": 97.5, "product": 1.5}),
    }  # fmt: skip
    return tuple(
        Share(value=share, operation=name, form=form, network="large", L=10, batch=256, pass_s=seconds, repeats=10)
        for form, (seconds, own) in shares.items()
        for name, share in own.items()
    )


SIZE: dict[str, Any] = {"network": "medium", "L": 10, "J2": 0.5, "samples": 1024, "threads": 2}
CONFIGURATION = {"form": "conv", "x64": False}


def program(name: str, iteration: float) -> Records:
    """A program whose phases take a part of its iteration each; the last of three turns is slow, and uneven."""
    shares = dict(zip(PHASES, (0.5, 0.25, 0.125, 1.0), strict=True))
    turns = (1.0, 1.0, 1.5) if name == "qmcbench" else (1.0, 0.8, 1.875)
    phases = [
        WorkTime(
            work=phase, program=name, network="medium", L=10, batch=1024, threads=2, value=one,
            low=min(turns) * one, high=max(turns) * one, repeats=3, each=tuple(turn * one for turn in turns),
        )
        for phase, share in shares.items()
        for one in [share * iteration]
    ]  # fmt: skip
    described = PeerProgram(
        value=8e-7, tau=1.25, program=name, configuration=CONFIGURATION, peak_bytes=1234.5 * 2**20,
        versions={name: "1.2.3", "numpy": "2.0.0"}, energies=(-0.5, -0.5, -0.5), **SIZE,
    )  # fmt: skip
    return (described, *phases)


def peers(**iterations: float) -> Run:
    """A comparison of an iteration of a second and the peers' ``iterations``."""
    programs = {"qmcbench": 1.0, **iterations}
    trials = [
        PeerTrial(value=7.5, program=name, configuration=CONFIGURATION, peak_bytes=1200 * 2**20, **SIZE)
        for name in programs
    ]
    failed = PeerTrial(
        value=None, program="netket", configuration={"form": "im2col", "x64": True}, not_run="exit status 137", **SIZE
    )
    records = [each for name, seconds in programs.items() for each in program(name, seconds)]
    made = origin("python benchmarks/peers/run.py --peers-python PYTHON --out OUT", "2000-01-02T00:00:00+00:00")
    return replace(run("peers", [*trials, failed, *records]), provenance=made)


def learned(program: str, practice: str, errors: dict[float, float], **more: Any) -> Learning:
    """A program whose fresh energies have these relative errors after so many seconds, and whose steps lie above."""
    exact = -0.5
    ends = max(errors)
    seconds = tuple(float(second) for second in range(5, int(ends) + 1, 5))
    return Learning(
        value=errors[ends], sigma=1e-4, program=program, practice=practice, configuration={"rate": 0.01},
        network="small", L=6, J2=0.5, samples=1024, seed=0, threads=2, limit_s=200.0, seconds=ends,
        reference=Reference(value=exact, source="invented"), parameters=3531, versions={program: "1.2.3"},
        curve=LearningCurve(
            seconds, tuple(exact * (1 - 1 / (10 + second)) for second in seconds), (1e-3,) * len(seconds)
        ),
        fresh=tuple(Fresh(second, exact * (1 - error), 1e-5, 4096) for second, error in errors.items()),
        **more,
    )  # fmt: skip


def learning() -> tuple[Learning, Learning, Learning, Learning]:
    """A slow peer, a fast program, a peer's twin that gets nowhere, and one that ended."""
    failed = learned("tachys", "quick start", {5.0: 0.5})
    return (
        learned("netket", "tutorial", {40.0: 9e-3, 80.0: 4e-3, 120.0: 6e-3}),
        learned(
            "qmcbench",
            "its recipe",
            {5.0: 2e-2, 10.0: 6e-3, 20.0: 2e-3, 160.0: 5e-4},
            provenance=origin("qmcbench bench accuracy --only recipe", "1999-12-31T00:00:00+00:00"),
        ),
        learned("quantax", "twin", {150.0: 0.3}),
        replace(failed, value=None, not_run="exit status 137", curve=LearningCurve(), fresh=()),
    )


def optimisers() -> tuple[Optimised, ...]:
    """Two ways; the second is better with one seed, and was not run with the other."""
    one = Optimised(
        value=-0.49, sigma=1e-4, samples=10, way="plain", what="no momentum", L=6, J2=0.5, network="small",
        symmetry="full", chains=8, steps=9, exact=-0.5, seed=1, seconds=2.0,
    )  # fmt: skip
    return (
        one,
        replace(one, way="spring", what="with momentum", value=-0.495),
        replace(one, way="spring", what="with momentum", seed=2, value=None, not_run="no time"),
    )


def commits(seconds: Sequence[float | None] = (1.0, None, 2.0), phase: str = "step") -> list[CommitTime]:
    """Records of one phase with a spread of 2 %, by commit; without seconds it failed."""
    return [
        CommitTime(
            value=value, not_run=None if value else FAILED, low=value and 0.98 * value,
            high=value and 1.02 * value, repeats=3, commit=f"c{n}", date=f"2026-01-{n + 1:02}", subject="A <change>",
            phase=phase, network="small", L=6, chains=512, symmetry="C4",
        )
        for n, value in enumerate(seconds)
    ]  # fmt: skip


def full() -> Parts:
    """Every part."""
    works: dict[str, Callable[[], Records]] = {
        "limits": limits,
        "hotpath": hotpath,
        "hotspots": hotspots,
        "speedup": speedup,
        "growth": growth,
        "device": device,
        "suite": suite,
        "accuracy": learning,
        "optimisers": optimisers,
    }
    return {name: run(name, work()) for name, work in works.items()} | {"peers": peers(netket=6.25, quantax=12.5)}


def save(folder: Path, parts: Parts) -> None:
    """Keep the parts in a folder."""
    for each in parts.values():
        jsonl.save(folder, part(each), each)


def change(parts: Parts, name: str, chosen: Callable[[Any], bool], **changes: Any) -> None:
    """Change the first record of a part that is ``chosen``."""
    records = list(parts[name].records)
    place = next(place for place, each in enumerate(records) if chosen(each))
    records[place] = replace(records[place], **changes)
    parts[name] = replace(parts[name], records=tuple(records))


MEETING = {
    "iteration of medium, 10x10, times as fast as netket": 6.25,
    "iteration of medium, 10x10, times as fast as quantax": 12.5,
    "forward of large, 12x12: times as fast as its multiply-adds by sgemm": 0.625,
    "forward of large, 12x12: times as fast as the plain module": 2.0,
    "samples a second, 12x12 with C4": 8.0,
    "peak memory of derivatives and step, GiB": 2.0,
    "growth of seconds: exponent off the expected one": 0.25,
}
"""Every check and what the invented measurements give it, all of which meet their bounds."""


OF_PART = {"peers": list(MEETING)[:2], "hotpath": list(MEETING)[2:6], "growth": list(MEETING)[6:]}
"""Names of the checks of each part that has any."""
