"""Files and folders: atomic writes, one writer a folder, strict JSON (not finite becomes null), stops by signals."""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import secrets
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from qmcbench.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the file in a folder whose lock the one process holds that writes there."""
# Signals after which a run saves a completed step and stops; SIGHUP comes when a terminal is closed.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# Longest part of a file's name that the name of its temporary file repeats.
STEM = 40

_held: dict[Path, tuple[int, int]] = {}
"""Locks of this process: descriptor, and how often it has taken them."""


class Interrupted(Exception):
    """The run was stopped by a signal after saving a completed step."""


def dumps(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Nested dictionaries, lists and scalars as strict JSON text, which UTF-8 can always encode."""
    text = json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, indent=indent, sort_keys=sort_keys)
    # Bytes of a file name that are not UTF-8 are lone surrogates in Python, and an escape in JSON.
    return text.encode(errors="backslashreplace").decode()


def name_of(value: Any) -> str:
    """A short file name for what plain data describe, the same for the same data."""
    return hashlib.sha256(dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomically(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Put ``content`` at ``path`` in one step, through a synced temporary file beside it.

    Parameters
    ----------
    path
        Where; a link there is replaced, never followed.
    content
        All of it.
    replace
        Whether a file that is there already may be replaced.

    Raises
    ------
    UserError
        If it cannot be written, or is there already and must stay; nothing has changed then, nothing is left behind.
    """
    # A random name, which nobody can have put a link at; O_EXCL follows none.
    temporary = path.with_name(f".{path.name[:STEM]}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise UserError(f"{path} exists already; give another name, or remove it first.") from error
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        raise UserError(cannot_write(path, error)) from error


def make_parents(path: Path) -> None:
    """Make the folder that ``path`` is to stand in.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(cannot_write(path, error)) from error


def cannot_write(path: Path, error: Exception) -> str:
    """One sentence about a write that failed."""
    cause = error.strerror if isinstance(error, OSError) else error
    number = error.errno if isinstance(error, OSError) else None
    advice = "choose another with --out"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "make room and run the same command again; what had been saved before is intact"
    return f"Cannot write {path}: {cause}; {advice}."


def make_folder(out: Path) -> None:
    """Make ``out``, see that files can be written there, and keep all other processes from it until this one ends.

    Raises
    ------
    UserError
        If not, or another process writes there, which is named.
    """
    _take(out)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """As :func:`make_folder`, but other processes may write to ``out`` afterwards.

    A process that holds a folder may take it again; when it dies, however, the folder is free.
    """
    folder = _take(out)
    try:
        yield
    finally:
        _give(folder)


def _take(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = out.resolve()
        if folder in _held:
            descriptor, times = _held[folder]
        else:
            descriptor, times = _lock(folder / LOCK, out), 0
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"Cannot write to the folder {out}: {cause}; choose another with --out.") from error
    _held[folder] = descriptor, times + 1
    return folder


def _lock(path: Path, out: Path) -> int:
    """Descriptor of the locked file at ``path``, which says who holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file that this one has opened.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                with contextlib.suppress(OSError):  # a full disk is found when it matters
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, _who().encode(errors="backslashreplace"))
                return descriptor
            os.close(descriptor)
        except OSError as error:
            holder = " ".join(os.read(descriptor, 400).decode(errors="replace").split()) or "another process"
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UserError(
                    f"The folder {out} is in use: {holder} writes to it; wait until it ends, stop it, or choose "
                    "another folder with --out."
                ) from error
            raise


def _who() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200] if sys.argv else "python"
    return f"process {os.getpid()} on {platform.node()} ({command})"


def _give(folder: Path) -> None:
    descriptor, times = _held.pop(folder)
    if times > 1:
        _held[folder] = descriptor, times - 1
        return
    with contextlib.suppress(OSError):  # the folder may be gone
        (folder / LOCK).unlink()
    with contextlib.suppress(OSError):
        os.close(descriptor)


@atexit.register
def _give_all() -> None:
    for folder, (descriptor, _) in list(_held.items()):
        _held[folder] = descriptor, 1
        _give(folder)


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of dying in mid-step; a second one interrupts at once.

    A signal that is ignored (under nohup, or in the background of a shell) stays so.
    """
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        heeded = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, handle) for number in heeded}
    except ValueError:  # Only the main thread may handle signals.
        yield caught
        return
    try:
        yield caught
    finally:
        for number, old in before.items():
            signal.signal(number, old)
