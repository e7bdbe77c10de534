"""How the chapter on the paper shows what is printed, measured, counted, projected, or not there."""

from __future__ import annotations

from collections.abc import Sequence

from qmcbench.paper.answers import COUNTED, MEASURED, PROJECTED, Answer
from qmcbench.paper.join import Joined
from qmcbench.report.document import Cell
from qmcbench.report.numbers import format_value_error, number

SIGNS = {MEASURED: "●", COUNTED: "Σ", PROJECTED: "◇"}
NOT_RUN = Cell("not run", "absent")
LEGEND = (
    "Plain: printed in the paper. ●: measured here. Σ: counted, from layouts, lattices, settings and the paper's own "
    "numbers. ◇: projected by the cost model, which is fitted to the paper's own times. In parentheses one standard "
    "error, or what the least and the greatest repeats give (a..b); without either, no more than a mean was kept."
)


def printed(value: float) -> str:
    """A number of the paper, with all of its digits."""
    return f"{value:,}" if isinstance(value, int) else number(value, 12)


def shown(found: Answer | None) -> Cell:
    """A value of ours with its sign, and its error or range."""
    if found is None:
        return NOT_RUN
    if found.sigma:
        text = format_value_error(found.value, found.sigma)
    elif found.sigma == 0.0 and found.value == round(found.value):
        text = f"{round(found.value):,}"
    else:
        text = number(found.value, 4)
    if found.low is not None and found.high is not None:
        text += f" ({number(found.low)}..{number(found.high)})"
    return Cell(f"{SIGNS[found.how]} {text}", found.how)


def either(joined: Joined) -> Cell:
    """What answers a claim, measured, counted or projected; one that is only near does not."""
    return shown(joined.ours or joined.projection)


def of(joined: Sequence[Joined], place: str, **wanted: float | str) -> Joined | None:
    """The claim of a place whose parameters are these."""
    return next(
        (
            each
            for each in joined
            if each.claim.place == place and all(each.claim.of.get(key) == value for key, value in wanted.items())
        ),
        None,
    )
