"""Reports of hostile or unlikely records: nothing live in HTML, Markdown or figures, and never a traceback."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from helpers.energies import reproduction, zero_shot
from helpers.pages import Page, changed, render, without

from qmcbench.errors import UserError
from qmcbench.gates.check import Check
from qmcbench.report import book, document
from qmcbench.store import jsonl
from qmcbench.store.bench import WorkTime
from qmcbench.store.energies import Correlations, Curve, Energy, Exact, LeftOut, Training
from qmcbench.store.records import Reference, Run

HOSTILE = "<script>alert('x')</script> & a|b $x_1$ `tick` [a](javascript:b) ![c](d) <b>"
KINDS = (Exact, Training, Energy, Check, WorkTime, LeftOut)


def strings(
    value: Any, path: tuple[str | int, ...] = (), kinds: tuple[type, ...] = (str,)
) -> Iterator[tuple[str | int, ...]]:
    """Where a record, a run or what is in them holds text (or other kinds of value)."""
    if isinstance(value, kinds) and not isinstance(value, bool):
        yield path
    elif is_dataclass(value):
        for each in fields(value):
            yield from strings(getattr(value, each.name), (*path, each.name), kinds)
    elif isinstance(value, dict):
        for key in value:
            yield from strings(value[key], (*path, key), kinds)
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from strings(each, (*path, index), kinds)


def planted(value: Any, path: tuple[str | int, ...], text: str | float) -> Any:
    """``value`` with ``text`` at one place."""
    if not path:
        return text
    first, rest = path[0], path[1:]
    if is_dataclass(value):
        return replace(value, **{first: planted(getattr(value, str(first)), rest, text)})
    if isinstance(value, dict):
        return {**value, first: planted(value[first], rest, text)}
    return (*value[:first], planted(value[first], rest, text), *value[first + 1 :])


def harmless(run: Run, out: Path) -> None:
    """No live markup in either format, no file outside, and no figure of another name."""
    html, markdown = render(run, out)
    page = Page(html)
    assert not {"script", "b", "a javascript:b"} & set(page.tags)
    assert not any(value.startswith("javascript") for _, _, value in page.attributes)
    outside = re.sub(r"(`{2,}) .*? \1", "", markdown)
    assert not re.search(r"(?<!\\)<\w|(?<!\\)!\[c|(?<!\\)\[a\\?\]\(", outside)
    assert not re.search(r"(?<!\\)`", outside)
    assert all(path.is_relative_to(out) for path in out.rglob("*"))
    assert all(re.fullmatch(r"[a-z0-9-]+\.svg", path.name) for path in out.glob("figures/*"))


def test_strings_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    """Hostile text in every string field of every kind of record and of the run, each alone (some 100 places)."""
    tried = 0
    for made in (reproduction(), zero_shot()):
        run = without_figures(made)
        for path in strings(run):
            if path == ("job",):
                with pytest.raises(UserError, match="is not one of"):
                    book.chapters([planted(run, path, HOSTILE)])
                continue
            harmless(planted(run, path, HOSTILE), tmp_path)
            tried += 1
    assert tried > 100


def test_numbers_that_nobody_measures_are_no_traceback() -> None:
    """Zero, a negative and a huge number at every place alone make a report, or are refused in a sentence."""
    tried = 0
    for made in (reproduction(), zero_shot()):
        run = without_figures(made)
        for path in strings(run, kinds=(int, float)):
            for number in (0, -3, 10**18):
                tried += 1
                try:
                    damaged = planted(run, path, number)
                except ValueError:  # of which reading makes a sentence
                    continue
                with suppress(UserError):
                    book.chapters([damaged])
    assert tried > 500


def without_figures(run: Run) -> Run:
    """The run with nothing to draw, so that hundreds of reports take seconds."""
    run = changed(run, Training, lambda each: replace(each, curve=Curve(), phases={}))
    run = changed(run, WorkTime, lambda each: replace(each, operations=None))
    if run.job == "reproduce":
        return changed(run, Energy, lambda each: replace(each, reference=Reference(value=-1, source="x", kind="qmc")))
    return without(changed(run, Energy, lambda each: replace(each, reference=None)), Correlations)


def everywhere(value: Any, text: str) -> Any:
    """``value`` with ``text`` in all places at once, but for those that choose what is shown."""
    for path in strings(value):
        if path[-1] not in ("job", "quantity") and path[-2:] != ("reference", "kind"):
            value = planted(value, path, text)
    return value


@pytest.mark.parametrize("make", [reproduction, zero_shot])
def test_strings_are_escaped_in_figures_too(make: Callable[[], Run], tmp_path: Path) -> None:
    """All at once, with everything drawn."""
    harmless(everywhere(make(), HOSTILE), tmp_path)


# --- files


@pytest.mark.parametrize("make", [reproduction, zero_shot])
def test_the_store_gives_the_same_report(make: Callable[[], Run], tmp_path: Path) -> None:
    """What was written and read back makes the same bytes, twice."""
    for name in ("a", "b"):
        jsonl.save(tmp_path / name, "run", make())
        book.report([tmp_path / name], tmp_path / name)
    document.write(book.chapters([make()]), tmp_path / "c")
    files = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("a", "b", "c")
    }
    assert files["a"] == files["b"]
    assert files["c"].items() <= files["a"].items()
