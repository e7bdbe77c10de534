"""What several commands share: types of options, and the command as it was typed."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Any

import typer

from qmcbench.files import dumps

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
CHECKPOINT_HELP = "Checkpoint of `train` or `import-weights`, or reference:NAME of `qmcbench reference networks`."
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


def number(text: str) -> float:
    """A number on the command line, or a usage error."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def print_json(result: Any) -> None:
    """Print nested dictionaries, lists and scalars as one document of strict JSON; standard output gets no more."""
    print(dumps(result, indent=1))


def typed() -> str:
    """The command as it was typed, for the provenance."""
    # Bytes of a file name that are not UTF-8 become escapes.
    return shlex.join(["qmcbench", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
