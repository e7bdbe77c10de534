"""``qmcbench guide``: the pages of the guide in the terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

EPILOG = (
    "Examples: `qmcbench guide` lists the pages; `qmcbench guide train` shows one; `qmcbench guide train | less`."
)


def _names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from qmcbench.guide import PAGES

    return [name for name in PAGES if name.startswith(incomplete)]


def command(
    page: Annotated[
        str | None, typer.Argument(help="Its name; a list of all if absent.", autocompletion=_names)
    ] = None,
) -> None:
    """Read how to do it: pages on training, gates, scaling, clusters, reference values, reports and the design."""
    from qmcbench.guide import PAGES, read

    if page is not None:
        _show(read(page))
        return
    width = max(map(len, PAGES))
    for name, about in PAGES.items():
        print(f"{name:<{width}}  {about}")
    print("\n`qmcbench guide NAME` shows a page.")


def _show(text: str) -> None:
    """Rendered in a terminal; elsewhere the Markdown as it is."""
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text, hyperlinks=False))
