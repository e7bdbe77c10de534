"""qmcbench against NetKet and quantax in one run: see ``--help``."""

import argparse
import hashlib
import json
import math
import os
import select
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ours
import summary
from worker import ANSWERS, Job

from qmcbench import provenance
from qmcbench.files import dumps, write_atomically
from qmcbench.progress import Bar
from qmcbench.ranks.launch import THREADS
from qmcbench.statistics import integrated_autocorrelation_time

HERE = Path(__file__).parent
SCRIPTS = {summary.OURS: "ours.py", "netket": "twin_netket.py", "quantax": "twin_quantax.py"}
CONFIGURATIONS: dict[str, list[dict[str, Any]]] = {
    summary.OURS: [{"solver": "sample_space"}, {"solver": "sample_space_float32"}],
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

SLOW = 4.0
"""How many times the best iteration so far, compilation included, ends a trial."""
WARM_UP = 2
"""Uncounted iterations of a trial; NetKet still compiles in its second."""


class Failed(Exception):
    """A program ended."""


class Slow(Failed):
    """It did not answer in time."""


class Running:
    """A program that waits for requests; use as a context manager."""

    def __init__(self, program: str, job: Job, python: str, timeout: float) -> None:
        self.timeout = timeout
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the program)
        self.process = subprocess.Popen(
            [python, str(HERE / SCRIPTS[program]), json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | dict.fromkeys(THREADS, str(job.threads)) | {"JAX_PLATFORMS": "cpu"},
        )

    def ready(self) -> dict[str, Any]:
        """Its first answer, once it has been found to be the same network."""
        return self._answer()

    def ask(self, request: str) -> dict[str, Any]:
        """Its answer to ``request``.

        :raises Failed: with the last line of its messages.
        """
        assert self.process.stdin is not None
        try:
            print(request, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        # One line a request, so that nothing is ever left in Python's own buffer when select looks.
        if not select.select([self.process.stdout], [], [], self.timeout)[0]:
            raise Slow(f"no answer in {self.timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        status = f"exit status {self.process.returncode}"
        return f"{status}: {lines[-1][:200]}" if lines else status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            stream.close()


def compare(jobs: dict[str, Job], pythons: dict[str, str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Try every configuration, then time the best of each program in turn, repeat by repeat."""
    trials = try_all(jobs, pythons, arguments)
    chosen = {}
    for program in jobs:
        found = summary.best(trials, program)
        if found is None:
            failures = {trial["failure"] for trial in trials if trial["program"] == program}
            sys.exit(f"error: no configuration of {program} ran: {'; '.join(sorted(failures))}")
        chosen[program] = with_configuration(jobs[program], found["configuration"])
    programs = timed(chosen, pythons, arguments)
    own = programs[summary.OURS]["repeats"]
    return {
        "repeats": arguments.repeats,
        "trials": trials,
        "programs": programs,
        "ratios": {
            name: summary.ratios(own, row["repeats"]) for name, row in programs.items() if name != summary.OURS
        },
    }


def try_all(jobs: dict[str, Job], pythons: dict[str, str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A trial of every configuration; those that an earlier run of the same job has in its folder are kept."""
    every = [(program, configuration) for program in jobs for configuration in CONFIGURATIONS[program]]
    trials = []
    with Bar("configurations", len(every), quiet=arguments.quiet) as bar:
        for number, (program, configuration) in enumerate(every):
            bar.update(number, f"{program} {configuration}")
            job = with_configuration(jobs[program], configuration)
            described = {"program": program, "job": public(job)}
            file = (
                arguments.out / "trials" / f"{hashlib.sha256(json.dumps(described).encode()).hexdigest()[:12]}.json"
            )
            if file.exists():
                found = json.loads(file.read_text())
            else:
                best = summary.best(trials, program)
                found = trial(program, job, pythons, arguments, SLOW * best["iteration"] if best else math.inf)
                if "failure" not in found or found["slow"]:
                    file.parent.mkdir(exist_ok=True)
                    file.write_text(dumps(described | found, indent=1) + "\n")
            trials.append(found | {"program": program, "configuration": job.configuration})
        bar.update(len(every))
    return trials


def public(job: Job) -> dict[str, Any]:
    """The job without the machine's own paths."""
    return {key: value for key, value in asdict(job).items() if key != "data"}


def with_configuration(job: Job, configuration: dict[str, Any]) -> Job:
    """``job`` with ``configuration``, no chunk larger than there are samples."""
    fitting = {
        key: min(value, job.samples) if key == "backward_chunk" else value for key, value in configuration.items()
    }
    return Job(**asdict(job) | {"configuration": fitting})


def trial(
    program: str, job: Job, pythons: dict[str, str], arguments: argparse.Namespace, most: float
) -> dict[str, Any]:
    """The fastest iteration after uncounted ones, and the memory it took; or why there is none.

    It ends with an iteration that takes more than ``most`` seconds.
    """
    try:
        with Running(program, job, pythons[program], arguments.timeout) as running:
            running.ready()
            running.timeout = min(running.timeout, most)
            for _ in range(WARM_UP):
                running.ask("iteration")
            rows = [running.ask("iteration") for _ in range(arguments.trial_repeats)]
    except Failed as error:
        return {"failure": str(error), "slow": isinstance(error, Slow)}
    return {"iteration": min(row["iteration"] for row in rows), "peak_MiB": rows[-1]["peak_MiB"]}


def timed(jobs: dict[str, Job], pythons: dict[str, str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Repeats of all programs in turn, so that a slow spell of the machine meets all of them; then tau of each."""
    running: dict[str, Running] = {}
    try:
        ready = {}
        for name, job in jobs.items():
            running[name] = Running(name, job, pythons[name], arguments.timeout)
            ready[name] = running[name].ready()
            running[name].ask("repeat")
        repeats: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
        with Bar("repeats", arguments.repeats, quiet=arguments.quiet) as bar:
            for number in range(1, arguments.repeats + 1):
                for name, program in running.items():
                    repeats[name].append(program.ask("repeat"))
                bar.update(number)
        taus = {}
        for name, program in running.items():
            series = program.ask(f"series {arguments.tau_sweeps}")["series"]
            taus[name] = integrated_autocorrelation_time(series)
    except Failed as error:
        sys.exit(f"error: {error}")
    finally:
        for program in running.values():
            program.__exit__(None, None, None)
    return {
        name: ready[name]
        | {
            "tau": taus[name],
            "configuration": jobs[name].configuration,
            "repeats": repeats[name],
            "medians": summary.medians(repeats[name], jobs[name].samples, taus[name]),
            "peak_MiB": max(row["peak_MiB"] for row in repeats[name]),
        }
        for name in jobs
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Time qmcbench, NetKet and quantax with the same network, lattice, samples and threads in one "
        "run; every peer in several configurations, the best of which counts. Writes peers.json, which the report of "
        "`qmcbench bench` takes in.",
        epilog="The peers need an environment of their own: `python3.11 -m venv peers; peers/bin/pip install "
        '"netket==3.23.*" "quantax==0.4.*"`. Example: `python benchmarks/peers/run.py '
        "--peers-python peers/bin/python --out reports/peers`; to see that it works, add "
        "`--L 4 --model small --samples 64`.",
    )
    parser.add_argument("--peers-python", required=True, help="interpreter of the peers' environment")
    parser.add_argument("--out", type=Path, required=True, help="folder for peers.json")
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
    parser.add_argument("--only", action="append", choices=["netket", "quantax"], help="this peer; may be repeated")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    return parser.parse_args()


def main() -> None:
    """Run the comparison and write its files."""
    arguments = parse()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < arguments.threads:
        sys.exit(f"error: {arguments.threads} threads need as many cores, but {len(cores)} are here; use --threads.")
    # XLA takes every core it may use, whatever OMP_NUM_THREADS says; the programs inherit this.
    os.sched_setaffinity(0, cores[: arguments.threads])
    programs = [summary.OURS, *(arguments.only or ["netket", "quantax"])]
    pythons = {name: sys.executable if name == summary.OURS else arguments.peers_python for name in programs}
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "network.npz"
        ours.export(arguments.model, arguments.L, 64, data)
        job = Job(
            L=arguments.L,
            J2=arguments.J2,
            model=arguments.model,
            samples=arguments.samples,
            threads=arguments.threads,
            data=str(data),
            learning_rate=0.02,
            shift=1e-3,
            configuration={},
        )
        results = compare(dict.fromkeys(programs, job), pythons, arguments)
    command = shlex.join(["python", "benchmarks/peers/run.py", *_arguments(sys.argv[1:])])
    results = {"job": public(job), **results, "provenance": provenance.collect(command)}
    write_atomically(arguments.out / "peers.json", (dumps(results, indent=1) + "\n").encode())
    title = f"{job.model}, {job.L}x{job.L}, {job.samples} samples, {job.threads} threads"
    # The programs' module takes standard output for their answers.
    print(title, summary.table(results), sep="\n", end="\n\n", file=ANSWERS)


def _arguments(given: list[str]) -> list[str]:
    """The command line without the machine's own paths."""
    kept = []
    for before, argument in zip(["", *given], given, strict=False):
        kept.append("PYTHON" if before == "--peers-python" else "OUT" if before in ("--out",) else argument)
    return kept


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the configurations tried so far are kept")
