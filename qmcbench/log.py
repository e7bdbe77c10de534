"""A run's ``log.jsonl``: one line of JSON a step, and a digest of what its lines say."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from qmcbench.errors import UserError
from qmcbench.files import cannot_write, dumps, write_atomically
from qmcbench.structure import parse_json, read_text, structure
from qmcbench.vmc import Step

LOG = "log.jsonl"
OTHER = "other"
"""The seconds between two steps: start, trials and warm-up, saving, what was made again."""
# Numbers that may be unknown (nan), for which a log has null.
_NUMBERS = tuple(field.name for field in fields(Step) if field.type == "float")
_LATER = {field.name: field.default for field in fields(Step) if field.default is not MISSING}


class Log:
    """The log, open for a line a step.

    Parameters
    ----------
    path
        The file.
    keep
        How many of its lines stay; later ones will be written again.

    Raises
    ------
    UserError
        If it cannot be read or written; no half line is left behind.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self.digest = digest(read_log(path, keep) if keep else ())
        lines = _lines(path)[:keep] if keep else []
        write_atomically(path, "".join(lines).encode())
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def append(self, step: Step) -> None:
        """Write the line of ``step``."""
        line = (dumps(asdict(step)) + "\n").encode()
        before = os.fstat(self._descriptor).st_size
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise UserError(cannot_write(self.path, error)) from error
        self.digest = digest([step], self.digest)

    def sync(self) -> None:
        """See that all lines are on the disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise UserError(cannot_write(self.path, error)) from error

    def close(self) -> None:
        """No more lines."""
        os.close(self._descriptor)


def digest(steps: Iterable[Step], before: str = "") -> str:
    """SHA-256 of the numbers of ``steps``, but not their times, after those of the digest ``before``."""
    for step in steps:
        # What came later than the first logs has a default, and counts where it differs from it.
        numbers = {k: v for k, v in asdict(step).items() if k != "seconds" and (k not in _LATER or v != _LATER[k])}
        before = hashlib.sha256((before + dumps(numbers)).encode()).hexdigest()
    return before


def wall(steps: Iterable[Step]) -> float:
    """Seconds that a run has taken in all up to the last of its ``steps``."""
    return sum(step.seconds.get(name, 0.0) for step in steps for name in ("step", OTHER))


def read_log(path: Path, count: int | None = None) -> list[Step]:
    """The steps in a run's log, in order; the first ``count`` of them if given.

    Raises
    ------
    UserError
        If it cannot be read or a line is no step.
    """
    steps = []
    for number, line in enumerate(_lines(path)[:count], start=1):
        source = f"{path}, line {number}"
        data = parse_json(line, source)
        if isinstance(data, dict):
            data |= {name: math.nan for name in _NUMBERS if data.get(name, 0) is None}
        steps.append(structure(data, Step, source))
    return steps


def _lines(path: Path) -> list[str]:
    return read_text(path, "log").splitlines(keepends=True)


def summary(step: Step) -> str:
    """One line for the progress bar."""
    text = (
        f"E/N {step.energy:.6f} +- {step.error:.1e}  var {step.variance:.3f}  acc {step.acceptance:.2f}  "
        f"R-hat {step.r_hat:.2f}  eff {step.effective_fraction:.2f}"
    )
    if step.restarted:
        text += f"  restarted {step.restarted}"
    if step.halvings:
        why = "broke down" if step.leapt_to is None else f"leapt to {step.leapt_to:.3f}"
        text += f"  {why}: went back, step halved {step.halvings} times"
    if step.returned_to is not None:
        text += f", then fell back to step {step.returned_to}, half the rate"
    if step.retries:
        text += f"  shift raised to {step.shift:.0e}"
    if step.refused:
        text += f"  refused: {step.refused}"
    return text
