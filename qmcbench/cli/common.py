"""What several commands share: types of options, and the command as it was typed."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def number(text: str) -> float:
    """A number on the command line, or a usage error."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def typed() -> str:
    """The command as it was typed, for the provenance."""
    # Bytes of a file name that are not UTF-8 become escapes.
    return shlex.join(["qmcbench", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
