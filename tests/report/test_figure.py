"""Figures are small, and nothing of them is lost by that."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from matplotlib.figure import Figure

from qmcbench.report import figure

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def draw(sheet: Figure) -> None:
    """Lines, marks that share a shape, clipping, and text with an exponent, whose glyphs are scaled."""
    axes = sheet.add_subplot()
    axes.plot([1.0, 3.14159265, 7.0], [1e-3, 2.71828e-2, 1.0], marker="o")
    axes.set(yscale="log", title="0.123456 of $10^3$")


def plot(name: str) -> figure.Plot:
    """A figure of a page."""
    return figure.Plot(name, "A title", "A caption.", figure.render(name, (3, 2), draw))


def attributes(svg: str, *names: str) -> list[str]:
    """These of all elements, in their order."""
    return [each.attrib[name] for each in ET.fromstring(svg).iter() for name in names if name in each.attrib]


def styles(svg: str) -> list[str]:
    """Of all elements that have one, and of marks that have it from their group, in the order of the elements."""

    def found(element: ET.Element, given: str | None) -> Iterator[str]:
        marks = [each for each in element if each.tag.endswith("}use")]
        own = element.get("style", given if element.tag.endswith("}use") else None)
        shared = bool(marks) and own is not None and element.tag.endswith("}g")
        if own is not None and not shared:
            yield own
        for each in element:
            yield from found(each, own if shared else None)

    return list(found(ET.fromstring(svg), None))


def test_compact_figures_are_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many shapes at the same places to a hundredth of a point; glyphs keep their scale, uses their shapes."""
    small = figure.render("a", (3, 2), draw)
    monkeypatch.setattr(figure, "compact", lambda svg: svg)
    large = figure.render("a", (3, 2), draw)
    assert len(small) < 0.85 * len(large)
    for name in ("d", "x", "y", "points", "transform", "style", "viewBox"):
        one, other = (styles(each) if name == "style" else attributes(each, name) for each in (small, large))
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


def test_a_page_has_each_letter_once() -> None:
    """Two figures of a page, with the letters of both, are all that their files are; nothing is named twice."""
    plots = [plot("one"), plot("two")]
    elements = [each.inline("chapter", "A chapter") for each in plots]
    html = "".join([*elements, figure.glyphs(plots)])
    page = ET.fromstring(f"<p>{html}</p>")
    names = [each.attrib["id"] for each in page.iter() if "id" in each.attrib]
    assert len(names) == len(set(names))
    assert len(html) < 0.9 * sum(len(each.svg) for each in plots)
    assert "xlink" not in html
    shapes = outlines(page)
    for made, element in zip(plots, elements, strict=True):
        own = outlines(ET.fromstring(made.svg))
        drawn = [own[name] for name in attributes(made.svg, "{http://www.w3.org/1999/xlink}href")]
        assert [shapes[name] for name in attributes(element, "href")] == drawn


def outlines(tree: ET.Element) -> dict[str, str]:
    """The shapes that can be used, by the links to them."""
    return {f"#{each.attrib['id']}": each.attrib.get("d", "") for each in tree.iter() if "id" in each.attrib}


def test_a_page_without_figures_has_no_letters() -> None:
    """Nothing stands for them."""
    assert figure.glyphs([]) == ""
