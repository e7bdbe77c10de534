"""Figures of a report: matplotlib without pyplot, to SVG text that is the same bytes for the same data."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from qmcbench.report.colours import BLUE
from qmcbench.report.numbers import count
from qmcbench.store.records import Run

Draw = Callable[[Figure], None]

WIDTH = 5.2
"""Width of a figure in inches: small, so that its text is still readable on a phone."""
DRAWN = 64
"""Steps of one training that a figure draws at most: more are no wider than a line, and make a page of megabytes."""
Numbers = Sequence[float] | NDArray[np.float64]
STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}
METADATA: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}


SHARED = "_"
"""What the name of a glyph begins with: it is the same shape in all figures, and stands once in a page of many."""
GLYPH = re.compile(rf'<path id="({SHARED}[^"]*)"(?: d="[^"]*")? transform="scale\([^)]*\)"/>\n')
XLINK = ' xmlns:xlink="http://www.w3.org/1999/xlink"'


@dataclass(frozen=True)
class Plot:
    """One figure with what a reader must know to trust it."""

    name: str
    """In lower case with dashes: the last part of its file's name."""
    title: str
    caption: str
    svg: str
    """A complete SVG file."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9-]{1,60}", self.name):
            raise ValueError(f"A figure's name is a file's name, so {self.name!r} will not do.")

    def inline(self, prefix: str, chapter: str) -> str:
        """The ``<svg>`` element alone, named for screen readers after its chapter and itself, to stand inside HTML.

        Its identifiers get ``prefix`` and the figure's name, so that many figures can share one page, which has its
        glyphs from :func:`glyphs`.
        """
        element = GLYPH.sub("", self.svg[self.svg.index("<svg") :].strip()).replace("<defs>\n</defs>\n", "")
        element = element.replace("xlink:href", "href").replace(XLINK, "")
        element = re.sub(rf'(\bid="|href="#|url\(#)(?!{SHARED})', rf"\g<1>{prefix}-{self.name}-", element)
        return element.replace("<svg", f'<svg role="img" aria-label={quoteattr(f"{chapter}: {self.title}")}', 1)


def glyphs(plots: Iterable[Plot]) -> str:
    """The shapes of all letters of some figures, each once, as an ``<svg>`` element that shows nothing."""
    found = {each[1]: each[0] for plot in plots for each in GLYPH.finditer(plot.svg)}
    if not found:
        return ""
    shapes = "".join(found[name] for name in sorted(found))
    return f'<svg aria-hidden="true" width="0" height="0" style="position: absolute"><defs>\n{shapes}</defs></svg>'


def origin(run: Run) -> str:
    """One line on where the numbers come from: seed, versions, machine and date."""
    made, seed = run.provenance, "" if run.seed is None else f"Seed {run.seed}, "
    return (
        f"{seed}torch {made.versions.get('torch')} with {made.machine.torch_threads} threads on "
        f"{made.machine.cpu}, {made.date}."
    )


def render(name: str, size: tuple[float, float], draw: Draw) -> str:
    """SVG of ``draw``, the same bytes for the same data and ``name``.

    A comment names the version of matplotlib, which decides on the bytes too.
    """
    text = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", metadata=METADATA)
    return compact(text.getvalue()).replace("<svg", f"{stamp()}\n<svg", 1)


def stamp() -> str:
    """The comment in an SVG file of this version of matplotlib."""
    return f"<!-- matplotlib {matplotlib.__version__} -->"


def compact(svg: str) -> str:
    """The same picture in fewer bytes: hundredths of a point, short names, none that nothing uses, no indentation.

    Marks of one style that follow each other have it from a group around them.
    """
    svg = re.sub(r' (?:d|x|y)="[^"]*"|translate\([^)]*\)', lambda found: _round(found[0]), svg)
    letters = re.findall(r'<path id="([^"]*)"(?: d="[^"]*")? transform="scale\(', svg)  # a space has no shape
    used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
    short = {name: f"i{number:x}" for number, name in enumerate(used)}
    short |= {name: SHARED + name.removeprefix("DejaVuSans-") for name in letters}
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", svg)
    svg = re.sub(r'(href="#|url\(#)([^")]*)', lambda found: found[1] + short[found[2]], svg)
    svg = re.sub(r"^ +| +$", "", svg, flags=re.MULTILINE)
    return re.sub(r'<use [^>]* style="([^"]*)"/>\n(?:<use [^>]* style="\1"/>\n)+', _together, svg)


def _together(marks: re.Match[str]) -> str:
    return f'<g style="{marks[1]}">\n' + marks[0].replace(f' style="{marks[1]}"', "") + "</g>\n"


def _round(numbers: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), numbers)


def plain_numbers(axes: Axes, which: str = "y") -> None:
    """A logarithmic axis with plain numbers, and with 2 and 5 beside the tens where there is room."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whiskers(middle: Numbers, low: Numbers, high: Numbers) -> tuple[list[float], list[float]]:
    """Lengths of error bars from the least to the largest; a value outside them has none on that side."""
    values = np.array(middle)
    # Lists: of arrays of one value matplotlib 3.10.0 asks whether each is finite, and NumPy warns.
    below, above = (
        np.clip(lengths, 0, None).tolist() for lengths in (values - np.array(low), np.array(high) - values)
    )
    return below, above


def printable(text: str) -> str:
    """Text from a record for a figure: no mathematics, nothing unprintable, not endless."""
    words = "".join(each if each.isprintable() or each == "\n" else " " for each in text)
    return words[:100].replace("$", r"\$")


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name horizontal bars from the top down, so shortly that the bars keep half of the width."""
    shown = [text if len(text) <= 48 else f"{text[:47]}…" for text in labels]
    axes.set_yticks(range(len(labels)), [printable(text) for text in shown], fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def stride(steps: int) -> int:
    """The least distance of drawn steps with which there are at most :data:`DRAWN`."""
    return -(-steps // DRAWN) or 1


def drawn(steps: int) -> slice:
    """Those steps of so many."""
    return slice(None, None, stride(steps))


def log_axis(axes: Axes, ticks: Sequence[int], label: str, base: int = 10) -> None:
    """A logarithmic horizontal axis with ticks at these numbers only."""
    axes.set_xscale("log", base=base)
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(round(value))))
    axes.set_xlabel(label)


def seconds_axis(axes: Axes) -> None:
    """A logarithmic vertical axis of seconds in plain numbers."""
    axes.set(yscale="log", ylabel="seconds")
    plain_numbers(axes)


def stacked_bars(
    axes: Axes,
    parts: Mapping[str, tuple[str, Numbers]],
    written: Callable[[float], str],
    size: float = 7,
) -> None:
    """A horizontal bar for each row, of parts beside each other: by label the colour, and the part of every row.

    ``written`` is the text inside a part; of one that is too small for it, nothing.
    """
    left: NDArray[np.float64] | None = None
    for label, (colour, widths) in parts.items():
        left = np.zeros(len(widths)) if left is None else left
        axes.barh(range(len(widths)), widths, 0.6, left, color=colour, label=printable(label))
        ink = "white" if colour == BLUE else "black"
        for row, width in enumerate(widths):
            if text := written(width):
                middle = left[row] + width / 2
                axes.text(middle, row, text, ha="center", va="center", fontsize=size, color=ink)
        left = left + np.array(widths)
