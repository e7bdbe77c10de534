"""Calibration: every statistical gate many times on the correct engine, each time with another seed.

``python -m qmcbench.gates.calibrate --replicas 1000 --out DIR`` counts how often each check raises an alarm, to be
held against its stated rate. Smallest effects are enlarged, so that a replica takes fewer samples: the laws that the
bounds rest on are worst where samples are few. Stopped at any point, it goes on from the last replica.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from qmcbench import provenance
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, make_folder
from qmcbench.gates.calibrated import words
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.registry import Gate, Setting, select
from qmcbench.gates.run import Plan, stage_rate
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.target import Target
from qmcbench.progress import Bar
from qmcbench.store import jsonl
from qmcbench.store.gates import Calibration
from qmcbench.store.records import Run

RECORDS = "calibration"
SAVE_EVERY = 20.0
"""Seconds between saves."""
ENLARGED = 3.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to calibrate, and where to."""

    out: Path
    replicas: int = 1000
    seed: int = 0
    enlarged: float = ENLARGED
    only: Sequence[str] = ()
    """Names or patterns of gates; all that are statistical if empty."""
    quiet: bool = False
    command: str = "qmcbench.gates.calibrate.calibrate"


def calibrate(request: Request) -> Run:
    """Run the replicas that are still missing in the folder, and keep the counts there.

    Raises
    ------
    UserError
        If the folder holds a calibration with other settings, or cannot be written to.
    Interrupted
        After a signal, with all finished replicas saved.
    """
    if request.replicas < 1 or not request.enlarged >= 1:
        raise UserError(f"{request.replicas} replicas with effects enlarged {request.enlarged:g} times: both from 1 up.")
    make_folder(request.out)
    target = builtin()
    gates = [each for each in select(request.only) if each.tests and target.lacks(each.needs) is None]
    rate = stage_rate(target, Plan(only=request.only), gates)
    run = jsonl.load(request.out, RECORDS) or Run(
        job="gate calibration", provenance=provenance.collect(request.command), seed=request.seed, seconds=0.0
    )
    counts = {record.check: record for record in run.of(Calibration)}
    _check_same(counts.values(), request, rate)
    done = min((record.replicas for record in counts.values()), default=0)
    began, saved = time.monotonic() - (run.seconds or 0.0), time.monotonic()
    with Bar("calibration", request.replicas, done, quiet=request.quiet) as bar, catch_signals() as signals:
        while done < request.replicas:
            counts = _replica(target, gates, counts, request, rate, done)
            done += 1
            bar.update(done, f"{sum(len(record.alarms) for record in counts.values())} alarms")
            if signals or done >= request.replicas or time.monotonic() - saved > SAVE_EVERY:
                saved = time.monotonic()
                run = replace(run, records=tuple(counts.values()), seconds=saved - began)
                jsonl.save(request.out, RECORDS, run)
            if signals and done < request.replicas:
                raise Interrupted(f"Stopped after {done} of {request.replicas} replicas; run it again to go on.")
    return run


def _check_same(counts: Iterable[Calibration], request: Request, rate: float) -> None:
    """Raise a UserError if what is there was counted otherwise."""
    for record in counts:
        there = (record.seed, record.enlarged, record.rate)
        if there != (request.seed, request.enlarged, rate):
            raise UserError(
                f"{request.out} holds a calibration with seed {there[0]}, effects enlarged {there[1]:g} times and rate "
                f"{there[2]:g}, but this one has {request.seed}, {request.enlarged:g} and {rate:g}; choose another --out."
            )


def _replica(
    target: Target,
    gates: Sequence[Gate],
    counts: dict[str, Calibration],
    request: Request,
    rate: float,
    number: int,
) -> dict[str, Calibration]:
    """The counts with one more replica of every gate."""
    seed = request.seed + number
    made = dict(counts)
    for gate in gates:
        assert gate.effect is not None
        effect = gate.effect.size * request.enlarged
        result = gate.make(target, Setting(seed=seed, rate=rate, effect=effect))
        for check in (result,) if isinstance(result, Check) else result:
            before = made.get(check.name) or Calibration(
                value=None, seed=request.seed, gate=gate.name, check=check.name, replicas=0, rate=rate,
                enlarged=request.enlarged,
            )  # fmt: skip
            alarms = before.alarms + ((seed,) if check.verdict is Verdict.FAIL else ())
            made[check.name] = replace(
                before,
                value=len(alarms) / (before.replicas + 1),
                samples=check.samples,
                replicas=before.replicas + 1,
                alarms=alarms,
                inconclusive=before.inconclusive + (check.verdict is Verdict.INCONCLUSIVE),
            )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m qmcbench.gates.calibrate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records; a calibration there goes on")
    parser.add_argument("--seed", type=int, default=0, help="of the first replica")
    parser.add_argument("--enlarged", type=float, default=ENLARGED, help="how many times larger the smallest effects are")
    parser.add_argument("--only", nargs="*", default=[], help="names or patterns of gates")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "qmcbench.gates.calibrate", *(sys.argv[1:] if arguments is None else arguments)])
    torch.set_num_threads(1)
    try:
        run = calibrate(Request(**vars(given), command=command))
    except (UserError, Interrupted) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 130
    print(words(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
