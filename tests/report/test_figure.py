"""Figures are small, and nothing of them is lost by that."""

import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from qmcbench.report import figure

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def draw(sheet: Figure) -> None:
    """Lines, marks that share a shape, clipping, and text with an exponent, whose glyphs are scaled."""
    axes = sheet.add_subplot()
    axes.plot([1.0, 3.14159265, 7.0], [1e-3, 2.71828e-2, 1.0], marker="o")
    axes.set(yscale="log", title="0.123456 of $10^3$")


def attributes(svg: str, *names: str) -> list[str]:
    """These of all elements, in their order."""
    return [each.attrib[name] for each in ET.fromstring(svg).iter() for name in names if name in each.attrib]


def test_compact_figures_are_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many shapes at the same places to a hundredth of a point; glyphs keep their scale, uses their shapes."""
    small = figure.render("a", (3, 2), draw)
    monkeypatch.setattr(figure, "compact", lambda svg: svg)
    large = figure.render("a", (3, 2), draw)
    assert len(small) < 0.85 * len(large)
    for name in ("d", "x", "y", "points", "transform", "style", "viewBox"):
        one, other = attributes(small, name), attributes(large, name)
        numbers = [[float(each) for text in texts for each in NUMBER.findall(text)] for texts in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.00501), name
        assert [NUMBER.sub("", text).split() for text in one] == [NUMBER.sub("", text).split() for text in other], (
            name
        )
    assert "scale(0.015625)" in small
    names = attributes(small, "id")
    links = {text.removeprefix("#") for text in attributes(small, "{http://www.w3.org/1999/xlink}href")}
    clips = {text[5:-1] for text in attributes(small, "clip-path")}
    assert links | clips == set(names)
    assert len(names) == len(set(names))
