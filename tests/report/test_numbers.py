"""How the report prints numbers: value and error in compact form, percentages, durations, running means."""

import math
import re

import numpy as np
import pytest

from qmcbench.report.figure import DRAWN, stride
from qmcbench.report.numbers import DASH, distinct, duration, format_value_error, number, percent
from qmcbench.report.reproduction.figures import running_mean


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (-0.528617, 3.2e-5, "-0.52862(3)"),
        (-0.528617, 1.44e-5, "-0.528617(14)"),
        (-0.528617, 1.96e-5, "-0.52862(2)"),
        (-0.528617, 9.6e-6, "-0.528617(10)"),
        (-0.49688, 2.5e-3, "-0.497(2)"),
        (-0.5, 0.25, "-0.5(2)"),
        (12.34, 3.2, "12(3)"),
        (12.34, 1.4, "12.3(1.4)"),
        (1234.0, 320.0, "1200(300)"),
        (4.5e-4, 3.2e-5, "4.5(3)e-4"),
        (-4.5e-4, 3.2e-5, "-4.5(3)e-4"),
        (1e-5, 3e-4, "0(3)e-4"),
        (0.0123, 4e-4, "0.0123(4)"),
        (-0.00001, 0.3, "0.0(3)"),
        (0.0, 2e-3, "0.000(2)"),
        (-0.528620217721, 0.0, "-0.528620217721"),
        (-0.528620217721, 1e-30, "-0.528620217721"),
        (0.0, 0.0, "0"),
        (1.0, 1e300, "0.0(1.0)e300"),
        (-0.528617, None, "-0.528617(?)"),
        (-0.528617, math.nan, "-0.528617(?)"),
        (-0.528617, -1.0, "-0.528617(?)"),
        (None, 0.1, DASH),
        (math.nan, 0.1, DASH),
        (math.inf, 0.1, DASH),
    ],
)
def test_value_and_error_in_compact_form(value: float | None, error: float | None, expected: str) -> None:
    assert format_value_error(value, error) == expected


@pytest.mark.parametrize("exponent", range(-12, 9))
@pytest.mark.parametrize("ratio", [0.3, 3e-3, 9.7e-5])
def test_compact_form_reads_back(exponent: int, ratio: float) -> None:
    value = -3.456789 * 10.0**exponent
    error = ratio * abs(value)
    match = re.fullmatch(r"(-?[\d.]+)\(([\d.]+)\)(?:e(-?\d+))?", format_value_error(value, error))
    assert match
    scale = 10.0 ** int(match[3] or 0)
    places = len(match[1].partition(".")[2])
    unit = 1.0 if "." in match[2] else 10.0**-places
    assert float(match[2]) * unit * scale == pytest.approx(error, rel=0.34)
    assert abs(float(match[1]) * scale - value) <= 0.51 * error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(1.23e-5), "1.23e-5"),
        (number(1e10), "1e10"),
        (number(0.5), "0.5"),
        (number(None), DASH),
        (number(math.nan), DASH),
        (number(math.inf), "inf"),
        (percent(0.6123), "61.2 %"),
        (percent(None), DASH),
        (duration(543.21), "543.2 s"),
        (duration(0.0123), "12.3 ms"),
        (duration(4.5e-5), "45 µs"),
        (duration(math.nan), DASH),
        (distinct(0.1, 0.2), ("0.1", "0.2")),
        (distinct(1.00001, 1.0), ("1.00001", "1")),
        (distinct(1.0, 1.0), ("1", "1")),
        (distinct(math.nan, 1.0), (DASH, "1")),
    ],
)
def test_numbers(text: object, expected: object) -> None:
    assert text == expected


def test_running_mean() -> None:
    means = running_mean(np.arange(12.0), 10)
    assert np.isnan(means[:9]).all()
    assert means[9:] == pytest.approx([4.5, 5.5, 6.5])
    assert np.isnan(running_mean(np.ones(3), 10)).all()


def test_at_most_so_many_steps_are_drawn() -> None:
    steps = (0, 1, DRAWN, DRAWN + 1, 2 * DRAWN, 2 * DRAWN + 1, 25 * DRAWN)
    assert [stride(each) for each in steps] == [1, 1, 1, 2, 2, 3, 25]
    assert all(len(range(0, each, stride(each))) <= DRAWN for each in range(3000))


# --- HTML
