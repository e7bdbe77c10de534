"""Computations in a process of their own: results, progress, errors, and what happens when either process dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qmcbench.reference import ReferenceLayerError
from qmcbench.reference.apart import apart


def add(one: int, other: int, *, progress: Callable[[str, int, int], None]) -> tuple[int, int]:
    """Runs in the other process."""
    progress("adding", 1, 2)
    progress("adding", 2, 2)
    return one + other, os.getpid()


def refuse(*, progress: object) -> None:
    """Runs in the other process."""
    raise ReferenceLayerError("no: choose another")


def die(*, progress: object) -> None:
    """Runs in the other process."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(*, progress: object) -> None:
    """Runs in the other process."""
    raise ZeroDivisionError


def sleep(seconds: float, *, progress: Callable[[int], None]) -> None:
    """Runs in the other process."""
    progress(os.getpid())
    time.sleep(seconds)


def blocked(*, progress: object) -> bool:
    """Runs in the other process."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_the_other_process_does_not_hear_ctrl_c() -> None:
    """From its first moment on, in the first such process of a program too: it would print a traceback."""
    code = "from test_apart import apart, blocked; print(apart(blocked))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout == "True\n", result.stderr


def test_result_and_progress() -> None:
    """They come from another process, in order."""
    seen: list[tuple[str, int, int]] = []
    total, process = apart(add, 2, 3, progress=lambda *what: seen.append(what))
    assert total == 5
    assert process != os.getpid()
    assert seen == [("adding", 1, 2), ("adding", 2, 2)]
    assert apart(add, 2, 3)[0] == 5


def test_refusal_is_the_same_sentence() -> None:
    """As if it had been raised here."""
    with pytest.raises(ReferenceLayerError, match=r"^no: choose another$"):
        apart(refuse)


@pytest.mark.parametrize(("function", "status"), [(die, -9), (fail, 1)], ids=["killed", "bug"])
def test_death_of_the_other_process(function: Callable[..., None], status: int) -> None:
    """One sentence with its exit status, no waiting for ever; the traceback of a bug is its own."""
    with pytest.raises(ReferenceLayerError, match=rf"process died \(exit status {status};"):
        apart(function)


def test_interruption_ends_the_other_process() -> None:
    """Ctrl-C here is heard at once, and nothing stays behind."""
    processes: list[int] = []

    def started(process: int) -> None:
        processes.append(process)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        apart(sleep, 300.0, progress=started)
    assert time.monotonic() - began < 60
    with pytest.raises(ProcessLookupError):
        os.kill(processes[0], 0)
