"""Progress on standard error: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Seconds between plain lines when standard error is not a terminal.
PLAIN_INTERVAL = 10.0


class Bar:
    """Progress of one task of ``total`` units; use as a context manager."""

    def __init__(self, title: str, total: int, done: int = 0, *, quiet: bool = False) -> None:
        self.title, self.total, self.done, self.quiet = title, total, done, quiet
        self._last_plain = time.monotonic()
        self._live: Progress | None = None
        self._whole = _WHOLE.get()
        if self._whole is None and not quiet and sys.stderr.isatty():
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}"),
                console=Console(stderr=True),
            )
            self._task = self._live.add_task(title, total=total, completed=done, status="")

    def update(self, done: int, status: str = "") -> None:
        """Show that ``done`` units are finished, with a short ``status``."""
        self.done = done
        if self._whole is not None:
            self._whole.update(self._whole.done, f"{self.title} {done}/{self.total} {status}")
        elif self._live is not None:
            self._live.update(self._task, completed=done, status=status)
        elif not self.quiet and (done >= self.total or time.monotonic() - self._last_plain > PLAIN_INTERVAL):
            self._last_plain = time.monotonic()
            print(f"{self.title}: {done}/{self.total} {status}", file=sys.stderr, flush=True)

    def stage(self, name: str, done: int, total: int) -> None:
        """Show progress within one of several stages, each with a total of its own."""
        self.total = total
        if self._live is not None:
            self._live.update(self._task, total=total)
        self.update(done, name)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


class Whole:
    """One line for a job of several parts; the bars of a part show in it while it runs."""

    def __init__(self, title: str, parts: int, *, quiet: bool = False) -> None:
        self.bar = Bar(title, parts, quiet=quiet)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One part: it counts when it has ended without an exception."""
        self.bar.update(self.bar.done, name)
        token = _WHOLE.set(self.bar)
        try:
            yield
        finally:
            _WHOLE.reset(token)
        self.bar.update(self.bar.done + 1, name)

    def __enter__(self) -> Self:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, value, trace)


_WHOLE: ContextVar[Bar | None] = ContextVar("_WHOLE", default=None)
"""The line of the job that the current work is a part of."""
