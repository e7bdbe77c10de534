"""Campaigns: profiles of ``qmcbench reproduce`` whose parts are commands, and whose report is one book of all."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, dumps, make_folder, make_parents, write_atomically
from qmcbench.report import book
from qmcbench.report.document import Chapter
from qmcbench.shipped import profile_names, read_shipped
from qmcbench.store import jsonl
from qmcbench.structure import parse_json, read_text, read_toml, structure, unstructure

COMMANDS = ("gate", "reproduce", "transfer", "zero-shot", "bench", "scale")
"""Those that write records."""
OUT = "{out}"
"""In a command: the folder of all parts."""
DECIDED = (0, 1)
"""Exit statuses of a command that has measured everything: 1 if a check failed or was not decided."""


@dataclass(frozen=True)
class Part:
    """One command, without ``qmcbench`` and ``--out``."""

    name: str
    command: str
    minutes: float
    """That it is planned to take on two cores."""
    folder: str = ""
    """Of its records: its name, unless it shares that of others."""

    @property
    def words(self) -> list[str]:
        """Of the command."""
        return shlex.split(self.command)


@dataclass(frozen=True)
class Campaign:
    """What is measured, part by part."""

    name: str
    parts: tuple[Part, ...]

    @property
    def minutes(self) -> float:
        """Of all parts."""
        return sum(part.minutes for part in self.parts)


@dataclass(frozen=True)
class Finished:
    """What is kept of a part that is finished, in ``OUT/finished/NAME.json``."""

    command: str
    status: int
    seconds: float


def load(name: str) -> Campaign | None:
    """A shipped campaign, or the file ``name`` if that ends with ``.toml`` and has parts; None for other profiles.

    Raises
    ------
    UserError
        If a key or value of it is wrong, naming it.
    """
    if name.endswith(".toml"):
        data = read_toml(Path(name), "profile")
    elif name in profile_names("campaign"):
        data = read_shipped(name, "campaign")
    else:
        return None
    if "parts" not in data:
        return None
    campaign = structure({**data, "name": Path(name).stem}, Campaign, f"profile {name}")
    _check(campaign, f"profile {name}")
    return campaign


def _check(campaign: Campaign, source: str) -> None:
    names = [part.name for part in campaign.parts]
    if not names:
        raise UserError(f"{source}: it needs at least one [[parts]].")
    for part in campaign.parts:
        where = f"{source}, part {part.name!r}"
        if names.count(part.name) > 1:
            raise UserError(f"{where}: another part has this name; give each one of its own.")
        if not re.fullmatch(r"[a-z0-9-]+", part.name) or not re.fullmatch(r"[a-z0-9-]*", part.folder):
            raise UserError(f"{where}: name and folder have small letters, digits and dashes.")
        if not part.words or part.words[0] not in COMMANDS:
            raise UserError(f"{where}: its command is not one of {', '.join(COMMANDS)}.")
        if {"--out", "-o"} & set(part.words):
            raise UserError(f"{where}: its command has --out, which the campaign gives; leave it out.")


def run(campaign: Campaign, out: Path, *, quiet: bool = False) -> list[Chapter]:
    """Do every part that is not finished, then write the book of all; its chapters.

    Raises
    ------
    UserError
        If a part could not be measured, after all others; the book is there then too.
    Interrupted
        After a signal; the same call goes on from there.
    """
    make_folder(out)
    failed, chapters = [], []
    try:
        for number, part in enumerate(campaign.parts, start=1):
            status = _kept(part, out)
            if not quiet:
                about = f"{part.minutes:g} minutes as planned" if status is None else "finished before"
                _say(f"{campaign.name}, part {number} of {len(campaign.parts)}: {part.name} ({about})")
            if status is None:
                status = _carry_out(part, out, quiet=quiet)
            if status not in DECIDED:
                failed.append(part.name)
    finally:
        if any(out.glob(f"*/{jsonl.FOLDER}/*.jsonl")):
            chapters = book.book([out], out)
    if failed:
        raise UserError(f"Not measured: {', '.join(failed)}; why is said above, and the same command tries again.")
    return chapters


def _say(text: str) -> None:
    with suppress(OSError, AttributeError):  # a stream that is closed, or none
        print(text, file=sys.stderr, flush=True)


def _folder(part: Part, out: Path) -> Path:
    return out / (part.folder or part.name)


def _note(part: Part, out: Path) -> Path:
    return out / "finished" / f"{part.name}.json"


def _kept(part: Part, out: Path) -> int | None:
    """The exit status that a part ended with, if this very command is finished."""
    path = _note(part, out)
    if not path.exists():
        return None
    finished = structure(parse_json(read_text(path, "note of a finished part"), str(path)), Finished, str(path))
    return finished.status if finished.command == part.command else None


def _carry_out(part: Part, out: Path, *, quiet: bool) -> int:
    """Run the command of a part in a process of its own; its exit status, kept if everything was measured."""
    began = time.monotonic()
    words = [word.replace(OUT, str(out)) for word in part.words]
    status = _process([*words, "--out", str(_folder(part, out)), *["--quiet"] * quiet])
    if status in DECIDED:
        finished = Finished(part.command, status, time.monotonic() - began)
        make_parents(_note(part, out))
        write_atomically(_note(part, out), (dumps(unstructure(finished)) + "\n").encode())
    return status


def _process(words: Sequence[str]) -> int:
    """Exit status of ``qmcbench`` with these words; a signal that comes meanwhile is handed on to it.

    Raises
    ------
    Interrupted
        After a signal, when the process has ended.
    """
    with catch_signals() as signals:
        # A session of its own: a terminal's Ctrl-C would reach it twice, and the second time ends it at once.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "qmcbench", *words],
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__,
            start_new_session=True,
        )
        told = False
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
                if signals and not told:
                    process.send_signal(signals[0])
                    told = True
        except KeyboardInterrupt:  # the second signal
            process.kill()
            process.wait()
        if signals:
            raise Interrupted(
                "Interrupted; finished parts are kept, and so is what this one has saved. The same command goes on."
            )
    return process.returncode
