"""qmcbench, NetKet, quantax and tachys against the clock: see ``--help``."""

import argparse
import json
import os
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import learning
import ours
from learning import Job
from practices import CONFIGURATIONS, Configuration
from programs import HERE, take_cores

from qmcbench import provenance, reference
from qmcbench.bench.accuracy import JOB, PROGRAMS, TARGETS
from qmcbench.bench.names import OURS
from qmcbench.errors import UserError
from qmcbench.files import name_of
from qmcbench.progress import Bar
from qmcbench.ranks.launch import THREADS
from qmcbench.store import jsonl
from qmcbench.store.bench import Fresh, Learning, LearningCurve
from qmcbench.store.records import Reference, Run
from qmcbench.structure import parse_json, structure

SCRIPTS = {name: f"learn_{'ours' if name == OURS else name}.py" for name in PROGRAMS}
START, GRACE = 60.0, 900.0
"""Seconds beyond the limit that the first step, and a last step and the fresh energies, may take."""


@dataclass(frozen=True)
class Ready:
    """The first answer."""

    seconds: float
    versions: dict[str, str]
    parameters: int
    samples: int


@dataclass(frozen=True)
class Step:
    """After each update."""

    seconds: float
    energy: float | None
    error: float | None
    peak_MiB: float


@dataclass(frozen=True)
class Answer:
    """One line of a program: one of these."""

    ready: Ready | None = None
    step: Step | None = None
    fresh: Fresh | None = None


@dataclass(frozen=True)
class Plan:
    """The command line; see :func:`plan`."""

    peers_python: str | None
    tachys_python: str | None
    out: Path
    L: int
    J2: float
    limit: float
    seed: int
    threads: int
    fresh_samples: int
    only: str
    quiet: bool

    def python(self, program: str) -> str | None:
        """The interpreter of a program, None if there is none."""
        return {OURS: sys.executable, "tachys": self.tachys_python}.get(program, self.peers_python)


def measure(plan: Plan, data: Path, command: str) -> list[Learning]:
    """A record of every configuration: kept from an earlier run, measured, or why there is none."""
    every = [(program, *each) for program in PROGRAMS for each in CONFIGURATIONS[program]]
    found = []
    with Bar("against the clock", len(every), quiet=plan.quiet) as bar:
        for number, (program, practice, configuration) in enumerate(every):
            bar.update(number, f"{program}: {practice}")
            found.append(_one(plan, program, practice, configuration, data, command))
        bar.update(len(every))
    return found


def _one(plan: Plan, program: str, practice: str, configuration: Configuration, data: Path, command: str) -> Learning:
    job = Job(
        L=plan.L, J2=plan.J2, threads=plan.threads, seed=plan.seed, limit=plan.limit,
        exact=reference.exact(plan.L, plan.J2).energy, targets=TARGETS, fresh_samples=plan.fresh_samples,
        data=str(data), configuration=configuration,
    )  # fmt: skip
    name = name_of({"program": program, "job": asdict(replace(job, data=""))})
    kept = jsonl.load(plan.out / "accuracy", name)
    nothing = blank(plan, program, practice, configuration)
    if kept is not None and kept.of(Learning):
        # What is no part of the name may have been called otherwise then.
        now = {"practice": practice, "network": nothing.network}
        return replace(kept.of(Learning)[0], **now, provenance=kept.provenance)
    python = plan.python(program)
    if not re.search(plan.only, f"{program}: {practice}"):
        return replace(nothing, not_run=f"not among those asked for, --only {plan.only}")
    if python is None:
        option = "--tachys-python" if program == "tachys" else "--peers-python"
        return replace(nothing, not_run=f"there was no {option}, an environment that has it")
    found = train(program, python, job, nothing)
    if found.curve.seconds:
        made = provenance.collect(command)
        jsonl.save(plan.out / "accuracy", name, Run(job=JOB, provenance=made, records=(found,), quick=quick(plan)))
        return replace(found, provenance=made)
    return found


def blank(plan: Plan, program: str, practice: str, configuration: Configuration) -> Learning:
    """The record of a program that has not run."""
    exact = reference.exact(plan.L, plan.J2)
    network = "twin" if configuration.get("twin") else "ViT" if program == "tachys" else "small"
    return Learning(
        value=None,
        program=program,
        practice=practice,
        configuration=configuration,
        network=str(configuration.get("network", network)),
        L=plan.L,
        J2=plan.J2,
        seed=plan.seed,
        threads=plan.threads,
        limit_s=plan.limit,
        reference=Reference(value=exact.energy, source="qmcbench store, exact diagonalization with QuSpin"),
    )


def train(program: str, python: str, job: Job, nothing: Learning) -> Learning:
    """Run a program and read its answers until it ends, or is ended."""
    answers, last_words = _run(program, python, job)
    steps = [each.step for each in answers if each.step]
    fresh = tuple(each.fresh for each in answers if each.fresh)
    ready = next((each.ready for each in answers if each.ready), None)
    last = fresh[-1] if fresh else None
    value = sigma = None
    if last is not None and last.energy is not None:
        value = (last.energy - job.exact) / abs(job.exact)
        sigma = None if last.error is None else last.error / abs(job.exact)
    return replace(
        nothing,
        value=value if last_words is None else None,
        sigma=sigma,
        seconds=steps[-1].seconds if steps else None,
        not_run=last_words or (None if value is not None else "its last energy is not finite"),
        parameters=ready.parameters if ready else None,
        samples=ready.samples if ready else None,
        versions=ready.versions if ready else {},
        peak_bytes=steps[-1].peak_MiB * 2**20 if steps else None,
        curve=LearningCurve(
            seconds=tuple(each.seconds for each in steps),
            energy=tuple(each.energy for each in steps),
            error=tuple(each.error for each in steps),
        ),
        fresh=fresh,
    )


def _run(program: str, python: str, job: Job) -> tuple[list[Answer], str | None]:
    """All answers of a program, and why it ended, if not by itself."""
    answers: list[Answer] = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [python, str(HERE / SCRIPTS[program]), json.dumps(asdict(job))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | dict.fromkeys(THREADS, str(job.threads)) | {"JAX_PLATFORMS": "cpu"},
        )
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout.fileno(), job.limit, lambda: any(each.step for each in answers)):
                answers.append(structure(parse_json(line, program), Answer, f"An answer of {program}"))
        except UserError as error:
            process.kill()
            return answers, str(error)
        finally:
            process.stdout.close()
            status = _status(process)
        errors.seek(0)
        lines = [each.strip() for each in errors if each.strip()]
        return answers, None if status == 0 else f"exit status {status}: {(lines or [''])[-1][:200]}"


def _lines(descriptor: int, limit: float, begun: Callable[[], bool]) -> Iterator[str]:
    """What a program prints, line by line.

    Raises
    ------
    UserError
        If it has not ``begun`` to step by the limit (and what may be lost in starting it), or not ended long after.
    """
    began, pending = time.monotonic(), b""
    while True:
        end = began + limit + (GRACE if begun() else START)
        if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            raise UserError(
                f"it did not end within {GRACE:.0f} s after the limit" if begun() else f"no step in {limit:.0f} s"
            )
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        yield from (line.decode() for line in lines)


def _status(process: "subprocess.Popen[bytes]") -> int:
    """Exit status of a program that has said all it had to say."""
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def quick(plan: Plan) -> bool:
    """Whether it is less than what is compared when nothing else is said."""
    return plan.L < 6 or plan.limit < 300


def plan() -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train qmcbench, NetKet, quantax and tachys on one lattice, each with practices that it "
        "documents and (but for tachys) with one twin network, for as long on the same cores, one after the other. "
        "Fresh energies say which relative error was reached when. Writes records/accuracy.jsonl, of which `qmcbench "
        "report` makes a section; what has run is kept in the folder with its own provenance, and not run again.",
        epilog="The peers need environments of their own: `python3.11 -m venv peers; peers/bin/pip install "
        '"netket==3.23.*" "quantax==0.4.*" "jax==0.10.2"`; `python3.11 -m venv tachys; '
        "tachys/bin/pip install tachys==0.1.4`.",
    )
    parser.add_argument("--peers-python", help="interpreter of the environment of NetKet and quantax")
    parser.add_argument("--tachys-python", help="interpreter of that of tachys")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records")
    parser.add_argument("--L", type=int, default=6, choices=(4, 6), help="lattice whose exact energy is stored")
    parser.add_argument("--J2", type=float, default=0.5)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of each program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=provenance.available_cores(), help="and cores, of each")
    parser.add_argument("--fresh-samples", type=int, default=16384, help="of each fresh energy")
    parser.add_argument("--only", default="", help="regular expression: those to run, as in 'netket: twin'")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    return Plan(**vars(parser.parse_args()))


def main() -> None:
    """Run them all and keep the records."""
    asked = plan()
    take_cores(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    words = [] if not asked.only else ["--only", asked.only]
    command = shlex.join(["qmcbench", "bench", "accuracy", "--limit", f"{asked.limit:g}", *words])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "network.npz"
        ours.export("small", asked.L, 64, data)
        records = tuple(measure(asked, data, command))
    if not any(each.curve.seconds for each in records):
        said = sorted({str(each.not_run) for each in records})
        raise UserError(f"No program has trained: {'; '.join(said)}.")
    run = Run(
        job=JOB,
        provenance=provenance.collect(command),
        records=records,
        seed=asked.seed,
        quick=quick(asked),
        seconds=sum(each.seconds or 0.0 for each in records),  # of those kept from earlier calls too
    )
    print(f"records: {jsonl.save(asked.out, 'accuracy', run)}", file=learning.ANSWERS)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the programs that have ended are kept, and the same command goes on from there")
