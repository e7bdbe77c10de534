"""Files and folders: atomic writes, strict JSON (numbers that are not finite become null), stops by signals."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from qmcbench.errors import UserError


class Interrupted(Exception):
    """The run was stopped by a signal after saving a completed step."""


def dumps(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Nested dictionaries, lists and scalars as strict JSON text."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, indent=indent, sort_keys=sort_keys)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, through a synced temporary file beside it."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def make_folder(out: Path) -> None:
    """Make ``out`` and see that files can be written there.

    Raises
    ------
    UserError
        If not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UserError(f"Cannot write to the folder {out}: {error.strerror}; choose another with --out.") from error


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying in mid-step; a second SIGINT interrupts at once."""
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # Only the main thread may handle signals.
        yield caught
        return
    try:
        yield caught
    finally:
        for number, old in before.items():
            signal.signal(number, old)
