"""Long computations in a process of their own, which is ended at once when this one is interrupted.

Compiled code, and the compiler itself, hear Ctrl-C late or not at all, and can turn it into another error.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from qmcbench.reference.errors import ReferenceLayerError

T = TypeVar("T")


def apart(function: Callable[..., T], *arguments: Any, progress: Callable[..., None] | None = None) -> T:
    """``function(*arguments, progress=...)`` in a process of its own.

    Parameters
    ----------
    function, arguments
        Such as can be pickled; ``function`` must take a ``progress``.
    progress
        Called here with what the function calls its own with.

    Raises
    ------
    ReferenceLayerError
        If the function raised it, or its process died.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, function, arguments), daemon=True)
    # Ctrl-C reaches every process of a terminal; this one is to end the other. The mask is inherited; the start of
    # multiprocessing's tracker, which would come with that of the process, ends it (in Python 3.11).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    there.close()
    try:
        while True:
            kind, content = here.recv()
            if kind == "progress" and progress is not None:
                progress(*content)
            elif kind == "error":
                raise content
            elif kind == "result":
                return content  # type: ignore[no-any-return]
    except EOFError:
        process.join()
        raise ReferenceLayerError(
            f"the computation's process died (exit status {process.exitcode}; -9 can mean that memory ran out): run "
            "the same command again, which goes on from what is kept"
        ) from None
    finally:
        process.kill()
        process.join()
        here.close()


def _serve(there: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    def watch() -> None:
        # Nothing is ever sent here: what comes is the end of the other process.
        try:
            there.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        result = function(*arguments, progress=lambda *what: there.send(("progress", what)))
    except ReferenceLayerError as error:
        there.send(("error", error))
    else:
        there.send(("result", result))
