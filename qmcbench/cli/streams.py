"""Standard streams as a command finds them: closed, full, or of another encoding."""

from __future__ import annotations

import os
import sys


def open_streams() -> None:
    """Put the null device wherever a standard stream is closed, and print whatever cannot be encoded as an escape.

    Otherwise the next file that is opened would take the stream's place, and messages would go into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open until the end)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def system_error(error: OSError) -> str:
    """One sentence about what the operating system refused, after which nothing more is printed."""
    try:
        sys.stdout.flush()
    except OSError:
        # What could not be printed must not be tried again, with a traceback, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    where = f" {os.fsdecode(error.filename)!r}" if isinstance(error.filename, str | bytes) else ""
    return f"The system refused{where}: {error.strerror or error}; what had been saved before is intact."
