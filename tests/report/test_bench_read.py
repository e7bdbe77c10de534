"""Files of benchmark results that are damaged or missing: one sentence each. The numbers are INVENTED."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benches import Store, bench, parts_of, peers

from qmcbench.errors import UserError
from qmcbench.report.bench.pages import refresh
from qmcbench.store.bench import FORMAT


def _without(*path: str | int) -> Callable[[Store], None]:
    """Take away what lies at ``path``."""

    def change(found: Any) -> None:
        for step in path[:-1]:
            found = found[step]
        del found[path[-1]]

    return change


def _with(value: Any, *path: str | int) -> Callable[[Store], None]:
    """Put ``value`` at ``path``."""

    def change(found: Any) -> None:
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("limits", "results", "phases", 1, "GFs"), r"limits\.results\.phases\[1\]\.GFs is missing"),
        (_without("speedup", "provenance"), r"speedup\.provenance is missing"),
        (_with("fast", "hotpath", "results", "sgemm_GFs"), r'hotpath\.results\.sgemm_GFs is "fast"'),
        (_with(True, "hotpath", "results", "threads"), r"hotpath\.results\.threads is true"),
        (_with(1, "growth", "quick"), r"growth\.quick is 1"),
        (_with([], "growth", "results"), r"growth\.results is no object"),
        (_with({}, "suite", "results"), r"suite\.results is no list"),
        (_with("7", "suite", "results", 0, "median"), r'suite\.results\[0\]\.median is "7"'),
        (_with("x", "hotspots", "results", "plain", "share_percent", "pad"), r'share_percent\.pad is "x"'),
        (_with("other", "format"), f"is not of the format {FORMAT}"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, change: Callable[[Store], None], words: str) -> None:
    """What is missing or of the wrong kind is named, with the command that measures it again."""
    own = bench()
    change(own)
    with pytest.raises(UserError, match=words) as raised:
        parts_of(tmp_path, own)
    assert "measure" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_damaged_peers_are_one_sentence(tmp_path: Path) -> None:
    """As of bench.json; this package has to be among the programs."""
    other = peers(netket=6.25)
    del other["programs"]["qmcbench"]
    with pytest.raises(UserError, match=r"peers\.json is incomplete or damaged: programs\.qmcbench is missing"):
        parts_of(tmp_path, None, other)


@pytest.mark.parametrize("name", ["bench.json", "peers.json"])
@pytest.mark.parametrize(("text", "words"), [("{", "cannot be read"), ("[]", "is not of the format|is no object")])
def test_no_json(tmp_path: Path, name: str, text: str, words: str) -> None:
    """A file that is cut off or holds something else is named."""
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        refresh(tmp_path)


def test_nothing_to_report(tmp_path: Path) -> None:
    """An empty folder says how to begin."""
    with pytest.raises(UserError, match="has nothing to report; begin with `qmcbench bench --out"):
        refresh(tmp_path)
