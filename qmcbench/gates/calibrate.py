"""Calibration: every statistical gate many times on the correct engine, each time with another seed.

``python -m qmcbench.gates.calibrate --replicas 1000 --out DIR`` counts how often each check raises an alarm, to be
held against its stated rate. Smallest effects are enlarged, so that a replica takes fewer samples: the laws that the
bounds rest on are worst where samples are few. Stopped at any point, it goes on from the last replica; gates that are
new since then catch up.

A gate of data that are what they are (``samples/*``, ``claims/*``) gets other data for each seed. Its tests are held
at the square of a stage's rate, so the rate that is counted is that square.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from qmcbench import provenance
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, make_folder
from qmcbench.gates.calibrated import words
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.correct import correct, fixed
from qmcbench.gates.registry import Gate, Setting, select
from qmcbench.progress import Bar
from qmcbench.store import jsonl
from qmcbench.store.gates import Calibration
from qmcbench.store.records import Run

RECORDS = "calibration"
SAVE_EVERY = 20.0
"""Seconds between saves."""
ENLARGED = 3.0
RATE = 0.005
"""False-alarm rate of each check: about that of a stage in a run of all gates, and enough alarms to be counted."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to calibrate, and where to."""

    out: Path
    replicas: int = 1000
    seed: int = 0
    enlarged: float = ENLARGED
    rate: float = RATE
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
    if request.replicas < 1 or not request.enlarged >= 1 or not 0 < request.rate < 1:
        raise UserError(
            f"{request.replicas} replicas with effects enlarged {request.enlarged:g} times at the rate "
            f"{request.rate:g}: ask for at least 1 and 1, and for a rate between 0 and 1."
        )
    make_folder(request.out)
    gates = [
        each for each in select(request.only) if each.tests and correct(each, request.seed).lacks(each.needs) is None
    ]
    run = jsonl.load(request.out, RECORDS) or Run(
        job="gate calibration", provenance=provenance.collect(request.command), seed=request.seed, seconds=0.0
    )
    _check_same(run, request)
    began, saved = time.monotonic() - (run.seconds or 0.0), time.monotonic()
    first = min((_done(run, each) for each in gates), default=request.replicas)
    with Bar("calibration", request.replicas, first, quiet=request.quiet) as bar, catch_signals() as signals:
        for number in range(first, request.replicas):
            run = _replica(run, [each for each in gates if _done(run, each) == number], request)
            bar.update(number + 1, words(run))
            last = number + 1 == request.replicas
            if signals or last or time.monotonic() - saved > SAVE_EVERY:
                saved = time.monotonic()
                run = replace(run, seconds=saved - began)
                jsonl.save(request.out, RECORDS, run)
            if signals and not last:
                raise Interrupted(
                    f"Stopped after {number + 1} of {request.replicas} replicas; run it again to go on."
                )
    return run


def _done(run: Run, gate: Gate) -> int:
    """Replicas of a gate that are finished."""
    return min((record.replicas for record in run.of(Calibration) if record.gate == gate.name), default=0)


def _check_same(run: Run, request: Request) -> None:
    """Raise a UserError if what is there was counted otherwise."""
    for record in run.of(Calibration):
        for name in ("seed", "enlarged", "rate"):
            there, here = getattr(record, name), getattr(request, name)
            if there != here:
                raise UserError(
                    f"{request.out} holds a calibration with {name} = {there:g}, but this one has {here:g}; choose "
                    "another --out."
                )


def _replica(run: Run, gates: Sequence[Gate], request: Request) -> Run:
    """The counts with one more replica of these gates."""
    counts = {record.check: record for record in run.of(Calibration)}
    for gate in gates:
        assert gate.effect is not None
        seed = request.seed + _done(run, gate)
        rate = math.sqrt(request.rate) if fixed(gate) else request.rate
        setting = Setting(seed=seed, rate=rate, effect=gate.effect.size * request.enlarged)
        made = gate.make(correct(gate, seed), setting)
        for check in (made,) if isinstance(made, Check) else made:
            if check.false_alarm is None or not math.isclose(check.false_alarm, rate):
                continue  # an exact one, or of a rate of its own
            before = counts.get(check.name) or Calibration(
                value=None, seed=request.seed, gate=gate.name, check=check.name, replicas=0, rate=request.rate,
                enlarged=request.enlarged,
            )  # fmt: skip
            counts[check.name] = _counted(before, check, seed)
    return replace(run, records=tuple(counts.values()))


def _counted(before: Calibration, check: Check, seed: int) -> Calibration:
    alarms = before.alarms + ((seed,) if check.verdict is Verdict.FAIL else ())
    return replace(
        before,
        value=len(alarms) / (before.replicas + 1),
        samples=check.samples,
        replicas=before.replicas + 1,
        alarms=alarms,
        inconclusive=before.inconclusive + (check.verdict is Verdict.INCONCLUSIVE),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m qmcbench.gates.calibrate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records; a calibration there goes on")
    parser.add_argument("--seed", type=int, default=0, help="of the first replica")
    parser.add_argument(
        "--enlarged", type=float, default=ENLARGED, help="how many times larger the smallest effects are"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="false-alarm rate of each check")
    parser.add_argument("--only", nargs="*", default=[], help="names or patterns of gates")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args(arguments)
    command = shlex.join(
        ["python", "-m", "qmcbench.gates.calibrate", *(sys.argv[1:] if arguments is None else arguments)]
    )
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
