"""Numbers as a report prints them; whatever is missing or not finite prints as a dash."""

from __future__ import annotations

import math
import re
from decimal import Decimal

DASH = "–"


def format_value_error(value: float | None, error: float | None) -> str:
    """``value`` with its standard error in the compact form: -0.528617 with 3.2e-5 is ``-0.52862(3)``.

    The error keeps one digit, or two if the first is 1; below 1e-3 the form is ``4.5(3)e-4``. An error of zero
    (to rounding) marks an exact value, printed with twelve digits; an unknown error prints as ``(?)``.
    """
    if value is None or not math.isfinite(value):
        return DASH
    if error is None or not math.isfinite(error) or error < 0:
        return f"{value:.6g}(?)"
    if error <= 1e-15 * abs(value):
        return f"{value:.12g}"
    mantissa, sigma = Decimal(repr(float(value))), Decimal(repr(float(error)))
    power = max(abs(mantissa), sigma).adjusted()
    shift = 0 if -3 <= power < 7 else power
    mantissa, sigma = mantissa.scaleb(-shift), sigma.scaleb(-shift)
    leading = Decimal(f"{sigma:.1e}")
    digits = 2 if leading.as_tuple().digits[0] == 1 else 1
    quantum = Decimal(1).scaleb(leading.adjusted() + 1 - digits)
    mantissa, sigma = mantissa.quantize(quantum) + 0, sigma.quantize(quantum)  # + 0 turns -0 into 0
    uncertainty = f"{sigma:f}" if sigma >= 1 else f"{sigma / quantum:.0f}"
    return f"{mantissa:f}({uncertainty})" + (f"e{shift}" if shift else "")


def number(value: float | None, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits, with a short exponent: ``1.2e-5``."""
    if value is None or math.isnan(value):
        return DASH
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.{digits}g}")


def distinct(value: float | None, bound: float | None) -> tuple[str, str]:
    """A value and its bound with as many digits as it takes to tell them apart."""
    pair = number(value), number(bound)
    for digits in (6, 12, 17):
        if value == bound or pair[0] != pair[1]:
            break
        pair = number(value, digits), number(bound, digits)
    return pair


def count(value: int | None) -> str:
    """A whole number with commas between thousands."""
    return DASH if value is None else f"{value:,}"


def fixed(value: float | None, places: int) -> str:
    """``value`` with a fixed number of decimal places."""
    return DASH if value is None or math.isnan(value) else f"{value:.{places}f}"


def percent(value: float | None) -> str:
    """A fraction in per cent, to three significant digits."""
    return DASH if value is None or math.isnan(value) else f"{number(100 * value)} %"


def duration(seconds: float | None) -> str:
    """A time to four significant digits, in the unit that suits it."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{number(seconds * factor, 4)} {unit}"
    return f"{number(seconds * 1e6, 4)} µs"
