"""qmcbench against NetKet and quantax in one run: see ``--help``."""

import argparse
import hashlib
import math
import shlex
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ours
from programs import Failed, Iteration, Ready, Repeat, Running, Series, Slow, interpreter, take_cores
from worker import ANSWERS, Job

from qmcbench import provenance
from qmcbench.bench.names import OURS, PEERS, PHASES
from qmcbench.bench.peers import best
from qmcbench.errors import UserError
from qmcbench.files import dumps
from qmcbench.progress import Bar
from qmcbench.statistics import integrated_autocorrelation_time
from qmcbench.store import jsonl
from qmcbench.store.bench import PeerProgram, PeerTrial, WorkTime
from qmcbench.store.records import Record, Run
from qmcbench.structure import Scalar

NAME = "bench peers"
CONFIGURATIONS: dict[str, list[dict[str, Scalar]]] = {
    OURS: [{"solver": "sample_space"}, {"solver": "sample_space_float32"}],
    "netket": [
        {
            "form": form,
            "forward_chunk": chunk,
            "backward_chunk": 128,
            "use_ntk": True,
            "on_the_fly": on_the_fly,
            "x64": x64,
            "operator": operator,
        }
        for form, chunk, on_the_fly, x64, operator in (
            ("conv", 1024, True, False, "jax"),
            ("conv", 4096, True, False, "jax"),
            ("conv", 1024, False, False, "jax"),
            ("conv", 1024, True, True, "jax"),
            ("conv", 1024, True, False, "numba"),
            ("conv", 4096, False, False, "numba"),
            ("conv_nchw", 1024, False, False, "jax"),
            ("im2col", 1024, False, False, "jax"),
        )
    ],
    "quantax": [
        {"form": form, "forward_chunk": forward, "backward_chunk": backward, "solver": solver}
        for form, forward, backward, solver in (
            ("conv", 1024, 128, "shift_eig_float32"),
            ("conv", 1024, 128, "shift_eig_float64"),
            ("conv", 256, 32, "shift_eig_float32"),
            ("conv", 4096, 512, "shift_eig_float32"),
            ("conv_nchw", 1024, 128, "shift_eig_float32"),
            ("im2col", 256, 128, "shift_eig_float32"),
            ("conv", 1024, 128, "cg"),
        )
    ],
}
"""What each program is tried with; the fastest iteration is its best."""

LEARNING_RATE, SHIFT = 0.02, 1e-3
SLOW = 4.0
"""How many times the best iteration so far, compilation included, ends a trial."""
PATIENCE = 3.0
"""Seconds within which no iteration ends a trial: the machine may be busy for a moment."""
WARM_UP = 2
"""Uncounted iterations of a trial; NetKet still compiles in its second."""


@dataclass(frozen=True)
class Plan:
    """The command line; see :func:`plan`."""

    peers_python: str
    out: Path
    L: int
    J2: float
    model: str
    samples: int
    threads: int
    repeats: int
    trial_repeats: int
    tau_sweeps: int
    timeout: float
    only: list[str] | None
    quiet: bool

    @property
    def programs(self) -> list[str]:
        """What is compared."""
        return [OURS, *(self.only or PEERS)]

    @property
    def quick(self) -> bool:
        """Whether it is less than what is compared when nothing else is said."""
        return self.L < 10 or self.samples < 1024 or self.model == "small"

    @property
    def size(self) -> dict[str, Any]:
        """What every record of a program has."""
        return {
            "network": self.model,
            "L": self.L,
            "J2": self.J2,
            "samples": self.samples,
            "threads": self.threads,
            "learning_rate": LEARNING_RATE,
            "shift": SHIFT,
        }


def compare(job: Job, plan: Plan, command: str) -> list[Record]:
    """Try every configuration, then time the best of each program in turn, repeat by repeat."""
    trials = try_all(job, plan, command)
    chosen = {}
    for program in plan.programs:
        found = best(trials, program)
        if found is None:
            failures = {str(trial.not_run) for trial in trials if trial.program == program}
            raise UserError(f"no configuration of {program} ran: {'; '.join(sorted(failures))}")
        chosen[program] = with_configuration(job, dict(found.configuration))
    return [*trials, *timed(chosen, plan)]


def try_all(job: Job, plan: Plan, command: str) -> list[PeerTrial]:
    """A trial of every configuration; those that an earlier run of the same job has in its folder are kept."""
    every = [(program, configuration) for program in plan.programs for configuration in CONFIGURATIONS[program]]
    trials: list[PeerTrial] = []
    with Bar("configurations", len(every), quiet=plan.quiet) as bar:
        for number, (program, configuration) in enumerate(every):
            bar.update(number, f"{program} {configuration}")
            one = with_configuration(job, configuration)
            described = dumps({"program": program, "job": asdict(replace(one, data=""))}, sort_keys=True)
            name = hashlib.sha256(described.encode()).hexdigest()[:12]
            kept = jsonl.load(plan.out / "trials", name)
            found = next(iter(kept.of(PeerTrial)), None) if kept else None
            if found is None:
                fastest = best(trials, program)
                most = max(PATIENCE, SLOW * fastest.value) if fastest and fastest.value is not None else math.inf
                found = trial(program, one, plan, most)
                if found.value is not None or found.slow:
                    run = Run(job=NAME, provenance=provenance.collect(command), records=(found,), quick=plan.quick)
                    jsonl.save(plan.out / "trials", name, run)
            trials.append(found)
        bar.update(len(every))
    return trials


def with_configuration(job: Job, configuration: dict[str, Scalar]) -> Job:
    """``job`` with ``configuration``, no chunk larger than there are samples."""
    fitting = {
        key: min(value, job.samples) if key == "backward_chunk" and isinstance(value, int) else value
        for key, value in configuration.items()
    }
    return replace(job, configuration=fitting)


def trial(program: str, job: Job, plan: Plan, most: float) -> PeerTrial:
    """The fastest iteration after uncounted ones, and the memory it took; or why there is none.

    It ends with an iteration that takes more than ``most`` seconds.
    """
    described: dict[str, Any] = {"program": program, "configuration": job.configuration, **plan.size}
    try:
        with Running(job, program, interpreter(program, plan.peers_python), plan.timeout) as running:
            running.ready()
            running.timeout = min(running.timeout, most)
            for _ in range(WARM_UP):
                running.ask("iteration", Iteration)
            rows = [running.ask("iteration", Iteration) for _ in range(plan.trial_repeats)]
    except Failed as error:
        return PeerTrial(value=None, not_run=str(error), slow=isinstance(error, Slow), **described)
    return PeerTrial(value=min(row.iteration for row in rows), peak_bytes=rows[-1].peak_MiB * 2**20, **described)


def timed(jobs: dict[str, Job], plan: Plan) -> list[Record]:
    """Repeats of all programs in turn, so that a slow spell of the machine meets all of them; then tau of each."""
    running: dict[str, Running] = {}
    ready: dict[str, Ready] = {}
    try:
        for name, job in jobs.items():
            running[name] = Running(job, name, interpreter(name, plan.peers_python), plan.timeout)
            ready[name] = running[name].ready()
            running[name].ask("repeat", Repeat)
        repeats: dict[str, list[Repeat]] = {name: [] for name in jobs}
        with Bar("repeats", plan.repeats, quiet=plan.quiet) as bar:
            for number in range(1, plan.repeats + 1):
                for name, program in running.items():
                    repeats[name].append(program.ask("repeat", Repeat))
                bar.update(number)
        series = {name: each.ask(f"series {plan.tau_sweeps}", Series).series for name, each in running.items()}
    except Failed as error:
        raise UserError(str(error)) from error
    finally:
        for program in running.values():
            program.close()
    found: list[Record] = []
    for name, job in jobs.items():
        peaks = tuple(row.peak_MiB * 2**20 for row in repeats[name])
        found.append(
            PeerProgram(
                value=ready[name].amplitude_difference,
                tau=integrated_autocorrelation_time(series[name]),
                program=name,
                configuration=job.configuration,
                peak_bytes=max(peaks),
                peaks=peaks,
                versions=ready[name].versions,
                energies=tuple(row.energy_per_site for row in repeats[name]),
                **plan.size,
            )
        )
        found += (time_of(name, phase, repeats[name], plan) for phase in PHASES)
    return found


def time_of(program: str, phase: str, repeats: list[Repeat], plan: Plan) -> WorkTime:
    """One phase of one program, repeat by repeat."""
    each = tuple(float(getattr(row, phase)) for row in repeats)
    return WorkTime.of(
        each, work=phase, program=program, network=plan.model, L=plan.L, batch=plan.samples, threads=plan.threads,
        each=each,
    )  # fmt: skip


def plan() -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Time qmcbench, NetKet and quantax with the same network, lattice, samples and threads in one "
        "run; every peer in several configurations, the best of which counts. Writes records/peers.jsonl, of which "
        "`qmcbench report` makes a chapter.",
        epilog="The peers need an environment of their own: `python3.11 -m venv peers; peers/bin/pip install "
        '"netket==3.23.*" "quantax==0.4.*" "jax==0.10.2"`. Example: `python benchmarks/peers/run.py '
        "--peers-python peers/bin/python --out reports/peers`; to see that it works, add "
        "`--L 4 --model small --samples 64`.",
    )
    parser.add_argument("--peers-python", required=True, help="interpreter of the peers' environment")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records")
    parser.add_argument("--L", type=int, default=10)
    parser.add_argument("--J2", type=float, default=0.5)
    parser.add_argument("--model", default="medium", help="small, medium or large")
    parser.add_argument("--samples", type=int, default=1024, help="per iteration, one of each chain")
    parser.add_argument(
        "--threads", type=int, default=provenance.available_cores(), help="and cores, of every program; all if absent"
    )
    parser.add_argument("--repeats", type=int, default=5, help="of the final timing")
    parser.add_argument("--trial-repeats", type=int, default=1, help="of every configuration")
    parser.add_argument(
        "--tau-sweeps", type=int, default=30, help="sweeps that the autocorrelation time is taken from"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that one answer may take")
    parser.add_argument("--only", action="append", choices=PEERS, help="this peer; may be repeated")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    return Plan(**vars(parser.parse_args()))


def main() -> None:
    """Run the comparison and keep its records."""
    asked, began = plan(), time.monotonic()
    take_cores(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "benchmarks/peers/run.py", *_arguments(sys.argv[1:])])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "network.npz"
        ours.export(asked.model, asked.L, 64, data)
        job = Job(
            L=asked.L,
            J2=asked.J2,
            model=asked.model,
            samples=asked.samples,
            threads=asked.threads,
            data=str(data),
            learning_rate=LEARNING_RATE,
            shift=SHIFT,
            configuration={},
        )
        records = tuple(compare(job, asked, command))
    run = Run(
        job=NAME,
        provenance=provenance.collect(command),
        records=records,
        quick=asked.quick,
        seconds=time.monotonic() - began,
    )
    # The programs' module takes standard output for their answers.
    print(f"records: {jsonl.save(asked.out, 'peers', run)}", file=ANSWERS)


def _arguments(given: list[str]) -> list[str]:
    """The command line without the machine's own paths."""
    kept = []
    for before, argument in zip(["", *given], given, strict=False):
        kept.append("PYTHON" if before == "--peers-python" else "OUT" if before in ("--out",) else argument)
    return kept


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the configurations tried so far are kept")
