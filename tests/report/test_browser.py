"""The book in a real browser, where there is one: nothing overflows, is hidden, leads nowhere or is complained of."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import VIEWS, chromium, looked_at

BOOK = Path(__file__).parents[2] / "reports" / "book"
CONTRAST = 4.5
"""Of text, by the Web Content Accessibility Guidelines (AA)."""
BROKEN = """<!DOCTYPE html><html><head><style>
body { background: #fff; color: #aaa; } .bad { color: #eee }
</style></head><body><nav>Contents</nav><article id="a"><a href="#nowhere">lost</a><p id="a" tabindex="3">twice</p>
<p style="width: 1500px">too wide</p><p class="bad">pale</p>
<div class="wide" style="width: 9rem; overflow-x: auto"><p style="width: 30rem">cannot be scrolled by key</p></div>
<figure><svg width="10" height="10" aria-label="Fine"><path d="M 0 zero"/></svg></figure>
<figure><svg style="display: none"></svg></figure></article></body></html>"""


@pytest.fixture(scope="module")
def program() -> str:
    """The browser."""
    found = chromium()
    if found is None:
        pytest.skip("no Chromium on this machine: the book is not looked at in a browser")
    return found


def test_the_book_in_a_browser(program: str, tmp_path: Path) -> None:
    """At both widths and on paper, in light and dark: what a person must be able to see, read, follow and reach."""
    views, console = looked_at(BOOK / "index.html", tmp_path, program)
    assert not console
    figures = len(list((BOOK / "figures").iterdir()))
    for name, view in views.items():
        assert view["content"] == view["width"] == VIEWS[name], name
        assert (view["figures"], view["hidden"], view["silent"]) == (figures, 0, 0), name
        assert view["links"] > 200
        assert (view["lost"], view["twice"]) == ([], 0), name
        assert (view["order"], view["unreachable"]) == (0, 0), name
        assert min(view["light"]["contrast"], view["dark"]["contrast"]) >= CONTRAST, name
        assert view["light"]["bright"] > 18 > 3 > view["dark"]["bright"], name
    # On paper there is no navigation, and each chapter but the first begins a page.
    assert [view["navigation"] for view in views.values()] == [1, 1, 0]
    assert [view["broken"] for view in views.values()] == [0, 0, views["paper"]["chapters"] - 1]


def test_the_browser_finds_what_is_wrong(program: str, tmp_path: Path) -> None:
    """Each of these checks fails on a page that has the fault."""
    (tmp_path / "broken.html").write_text(BROKEN)
    views, console = looked_at(tmp_path / "broken.html", tmp_path, program)
    view: dict[str, Any] = views["phone"]
    assert view["content"] > view["width"]
    assert (view["figures"], view["hidden"], view["silent"]) == (2, 1, 1)
    assert (view["lost"], view["twice"], view["order"], view["unreachable"]) == (["#nowhere"], 1, 1, 1)
    assert view["light"]["contrast"] < 2
    assert view["dark"]["bright"] == view["light"]["bright"]
    assert (views["paper"]["navigation"], views["paper"]["broken"]) == (1, 0)
    assert len(console) == len(VIEWS)
    assert all(re.search("path.*attribute d", line) for line in console)
