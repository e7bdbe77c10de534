"""Progress on standard error: a live line on a terminal, a plain line now and then elsewhere.

Whatever happens to the stream (closed, full, a terminal that is gone), the work goes on without it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Seconds between plain lines where standard error is not a terminal, and between looks of the live one where it is.
PLAIN_INTERVAL = 10.0
LIVE_INTERVAL = 0.1


class Bar:
    """Progress of one task of ``total`` units; use as a context manager."""

    def __init__(self, title: str, total: int, done: int = 0, *, quiet: bool = False) -> None:
        self.title, self.total, self.done, self.quiet = title, total, done, quiet
        self._last = time.monotonic()
        self._live: Progress | None = None
        self._whole = _WHOLE.get()
        if self._whole is None and not quiet:
            self._say(self._prepare)

    def _prepare(self) -> None:
        if sys.stderr.isatty():
            # Refreshed by update alone: a thread of its own could not be kept from ending with a traceback.
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}"),
                console=Console(stderr=True),
                auto_refresh=False,
            )
            self._task = self._live.add_task(self.title, total=self.total, completed=self.done, status="")

    def _say(self, speak: Callable[[], None]) -> None:
        """Call ``speak``, and be silent from now on if it fails in any way."""
        if self.quiet:
            return
        try:
            speak()
        except Exception:  # None for a stream, a closed one, a full disk, a terminal that is gone
            self.quiet, live, self._live = True, self._live, None
            if live is not None:
                with suppress(Exception):
                    live.stop()

    def update(self, done: int, status: str = "") -> None:
        """Show that ``done`` units are finished, with a short ``status``."""
        self.done = done
        if self._whole is not None:
            self._whole.update(self._whole.done, f"{self.title} {done}/{self.total} {status}")
        else:
            self._say(lambda: self._show(status))

    def _show(self, status: str) -> None:
        if self._live is not None:
            due = self._due(LIVE_INTERVAL)
            self._live.update(self._task, completed=self.done, total=self.total, status=status, refresh=due)
        elif self._due(PLAIN_INTERVAL):
            print(f"{self.title}: {self.done}/{self.total} {status}", file=sys.stderr, flush=True)

    def _due(self, interval: float) -> bool:
        """Whether to show something: at the end, or so many seconds after the last time."""
        now = time.monotonic()
        due = self.done >= self.total or now - self._last > interval
        self._last = now if due else self._last
        return due

    def stage(self, name: str, done: int, total: int) -> None:
        """Show progress within one of several stages, each with a total of its own."""
        self.total = total
        self.update(done, name)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._say(self._live.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._say(self._live.stop)


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
