"""Time to accuracy: what runs the programs against the clock, and what follows from their curves; without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qmcbench.bench.names import OURS, PEERS
from qmcbench.bench.peers import check as check_peers
from qmcbench.errors import UserError
from qmcbench.store.bench import Learning

JOB = "bench accuracy"
COMPARISON = Path("benchmarks", "peers", "accuracy.py")
PROGRAMS = (OURS, *PEERS, "tachys")
TARGETS = (1e-2, 5e-3, 3e-3, 1e-3)
"""Relative errors of the energy, from the largest."""
LIMIT = 600.0
"""Seconds of each program."""
QUICK = ("--L", "4", "--limit", "20", "--fresh-samples", "2048")
SIGMAS = 2.0
"""Standard errors by which a fresh energy must be within a target: of several looks, one is low by chance."""
SMOOTH = 10
"""Steps whose mean a curve shows."""
NEAR, LOST = 0.05, 0.1
"""Relative errors: once the mean of the last steps was within the first, a step beyond the second has collapsed."""
OWN, ANOTHERS, TWIN = "its own practices", "another program's", "the twin network"
KINDS = (OWN, ANOTHERS, TWIN)
"""Whose network and settings a program trained with."""


@dataclass(frozen=True)
class Request:
    """What is to be run, where, and by which interpreters."""

    checkout: Path
    out: Path
    peers_python: str | None = None
    """Of NetKet and quantax; without it they are not run."""
    tachys_python: str | None = None
    limit: float | None = None
    only: str | None = None
    quick: bool = False
    quiet: bool = False


def check(request: Request) -> None:
    """See that the programs can be run.

    Raises
    ------
    UserError
        If not.
    """
    if not (request.checkout / COMPARISON).is_file():
        raise UserError(
            "The programs against the clock are part of a checkout of qmcbench, but the folder "
            f"{request.checkout.resolve().name} is none; go to one, or use --checkout."
        )
    if request.peers_python is not None:
        check_peers(request.checkout, request.peers_python)
    if request.limit is not None and not 1 <= request.limit <= 1e6:
        raise UserError(f"--limit {request.limit:g} is outside [1, 1e6] seconds; the default is {LIMIT:g}.")


def run(request: Request) -> None:
    """Run all programs one after the other, which leaves their records in ``out`` itself.

    Raises
    ------
    UserError
        If it fails; it has said why.
    """
    options = [
        *(QUICK if request.quick else ()),
        *([] if request.limit is None else ["--limit", str(request.limit)]),
        *([] if request.peers_python is None else ["--peers-python", request.peers_python]),
        *([] if request.tachys_python is None else ["--tachys-python", request.tachys_python]),
        *([] if request.only is None else ["--only", request.only]),
        *["--quiet"] * request.quiet,
    ]
    command = [sys.executable, str(request.checkout / COMPARISON), "--out", str(request.out), *options]
    # What it prints is progress: standard output is for this command's own result.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.__stderr__, check=False)
    if done.returncode:
        raise UserError(
            f"The programs against the clock ended with exit status {done.returncode} and said why above; those that "
            "have ended are kept, and the same command goes on from there."
        )


def exact_energy(learning: Learning) -> float | None:
    """The ground-state energy per site that a program is held against; None if it has none."""
    return None if learning.reference is None else learning.reference.value


def reached(learning: Learning, target: float) -> float | None:
    """Seconds at the first fresh energy within ``target`` of the exact one, by SIGMAS errors; None without one."""
    exact = exact_energy(learning)
    if exact is None:
        return None
    return next(
        (
            each.seconds
            for each in learning.fresh
            if each.energy is not None
            and each.error is not None
            and each.energy + SIGMAS * each.error - exact <= target * abs(exact)
        ),
        None,
    )


def kind(learning: Learning) -> str:
    """Whose network and settings it trained with: one of KINDS."""
    if learning.practice.startswith("twin"):
        return TWIN
    others = [name for name in PROGRAMS if name != learning.program]
    return ANOTHERS if any(learning.practice.startswith(f"{name}'") for name in others) else OWN


def broke_down(learning: Learning) -> bool:
    """Whether it trained and ended with an energy that is not finite, or not even negative."""
    if not learning.curve.seconds or not learning.fresh:
        return False
    energy = learning.fresh[-1].energy
    return energy is None or energy >= 0


def collapsed(learning: Learning) -> list[float] | None:
    """Seconds of the steps that were beyond LOST after the energy had been within NEAR; None if it never was."""
    exact = exact_energy(learning)
    near = next((seconds for seconds, error in smooth(learning) if abs(error) <= NEAR), None)
    if exact is None or near is None:
        return None
    steps = zip(learning.curve.seconds, learning.curve.energy, strict=True)
    return [at for at, energy in steps if at > near and (energy is None or abs(energy / exact - 1) > LOST)]


def best(learnings: Sequence[Learning], program: str, target: float, of: str) -> Learning | None:
    """The run of a program, of one kind, that reached ``target`` first; None if none did."""
    found = [
        (seconds, number)
        for number, each in enumerate(learnings)
        if each.program == program and kind(each) == of and (seconds := reached(each, target)) is not None
    ]
    return learnings[min(found)[1]] if found else None


def smooth(learning: Learning) -> list[tuple[float, float]]:
    """Seconds, and the relative error of the mean of the last steps' energies, after each step."""
    exact, curve = exact_energy(learning), learning.curve
    if exact is None:
        return []
    return [(curve.seconds[step - 1], (mean - exact) / abs(exact)) for step, mean in means(curve.energy)]


def means(energies: Sequence[float | None]) -> list[tuple[int, float]]:
    """The number of each step and the mean energy of the last SMOOTH up to it, where all of these are known."""
    found = []
    for end in range(1, len(energies) + 1):
        last = energies[max(0, end - SMOOTH) : end]
        known = [each for each in last if each is not None]
        if len(known) == len(last):
            found.append((end, sum(known) / len(known)))
    return found
