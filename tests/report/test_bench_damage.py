"""Stores of benchmark records that are damaged or hostile: one sentence, or a report that means no harm.

The numbers are INVENTED.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helpers.benches import commits, full, save

from qmcbench.bench.claims import checks
from qmcbench.errors import UserError
from qmcbench.report.bench.pages import chapters, part, tables
from qmcbench.report.book import report
from qmcbench.report.document import write
from qmcbench.store import jsonl
from qmcbench.store.records import KINDS

DAMAGES = 400
"""Random inputs of the test of damaged stores."""
KEEPS = ("job", "format", "kind", "date")
Line = dict[str, Any]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a store with every part, by name."""
    folder = tmp_path_factory.mktemp("stored")
    save(folder, full())
    jsonl.save(folder, "history", replace(full()["limits"], job="bench history", records=tuple(commits())))
    return {path.name: path.read_text() for path in sorted((folder / "records").iterdir())}


@pytest.fixture(scope="module")
def clean(stored: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every part as it should be, and the report."""
    folder = tmp_path_factory.mktemp("clean")
    lay(folder, stored)
    report([folder], folder)
    return folder


def lay(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a store."""
    (folder / "records").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / "records" / name).write_text(text)


@pytest.mark.parametrize(
    ("part", "kind", "changes", "words"),
    [
        ("limits", "work time", {"operations": "many"}, r"limits\.jsonl, line 6: operations: 'many'"),
        ("limits", "rate", {"operation": "golf"}, r"line 2: operation: .*golf"),
        ("limits", "rate", {"value": 0.0}, r"line 2: value = 0\.0 is not between"),
        ("limits", "rate", {"value": None}, r"line 2: value: None is not a number"),
        ("hotpath", "work time", {"threads": True}, r"threads: True is not an integer"),
        ("hotpath", "work time", {"L": 0}, r"L = 0 is not between"),
        ("hotpath", "memory", {"extra": 1}, r"unknown key 'extra'"),
        ("hotpath", "work time", {"low": -1.0}, r"low = -1\.0 is not between"),
        ("hotspots", "share", {"value": 101.0}, r"value = 101\.0 is not between 0 and 100"),
        ("growth", "growth", {"variable": "/../../pwned"}, r"variable: .*pwned"),
        ("growth", "growth", {"points": {}}, r"points"),
        ("growth", "growth", {"value": 1e18}, r"value = 1e\+18 is not between -100 and 100"),
        ("suite", "asv", {"low": "7"}, r"low: '7' is not a number"),
        ("suite", "asv", {"parameters": {"system": 4}}, r"parameters"),
        ("peers", "peer program", {"tau": -1.0}, r"tau = -1\.0 is not between"),
        ("peers", "peer trial", {"program": "\ud800"}, r"program: .* is no text"),
        ("speedup", "run", {"quick": 1}, r"line 1: quick: 1 is not true or false"),
        ("speedup", "run", {"format": "other"}, r"is of the format 'other'"),
        ("speedup", "run", {"job": "bench golf"}, r"The job 'bench golf' of a run"),
        ("speedup", "run", {"provenance": {}}, r"line 1: the key provenance\.command is missing"),
    ],
    ids=lambda value: (
        ", ".join(f"{name} {each!r}" for name, each in value.items()) if isinstance(value, dict) else None
    ),
)
def test_a_damaged_file_is_one_sentence(
    tmp_path: Path,
    stored: dict[str, str],
    part: str,
    kind: str,
    changes: Line,
    words: str,
) -> None:
    """What is missing, of the wrong kind or out of its range is named, with its file and line."""
    lines = [json.loads(line) for line in stored[f"{part}.jsonl"].splitlines()]
    next(line for line in lines if line.get("kind", "run") == kind).update(changes)
    lay(tmp_path, {f"{part}.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})
    with pytest.raises(UserError, match=words) as raised:
        report([tmp_path], tmp_path)
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not valid JSON"), ("[]", "is no object"), ("", "is not valid JSON")]
)
def test_no_records(tmp_path: Path, text: str, words: str) -> None:
    """A file that is cut off, empty or holds something else is named."""
    lay(tmp_path, {"limits.jsonl": text})
    with pytest.raises(UserError, match=rf"limits\.jsonl.* {words}"):
        report([tmp_path], tmp_path)


def test_nothing_to_report(tmp_path: Path) -> None:
    """An empty folder says so; one of an old version says which file of it is not read."""
    with pytest.raises(UserError, match=r"has no records/\*\.jsonl; measure again"):
        report([tmp_path], tmp_path)
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(UserError, match=r"its bench\.json is of a version before 0\.2"):
        report([tmp_path], tmp_path)


ODD = (None, True, 0, -1, 1e-320, 1e308, 10**30, float("nan"), float("inf"), "", "x" * 5000, "\ud800", [], {}, [[]])


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything inside nested data is."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*path, key)
        yield from _paths(each, (*path, key))


def _damage(text: str, chance: random.Random) -> bytes:
    """One of: a bit, a byte range, a line, the order, or one value of the data."""
    content = bytearray(text.encode())
    lines = text.splitlines(keepends=True)
    where = chance.randrange(len(content))
    match chance.randrange(6):
        case 0:
            content[where] ^= 1 << chance.randrange(8)
            return bytes(content)
        case 1:
            return bytes(content[:where])
        case 2:
            del content[where : where + chance.randrange(1, 200)]
            return bytes(content)
        case 3:
            del lines[chance.randrange(len(lines))]
            return "".join(lines).encode()
        case 4:
            chance.shuffle(lines)
            return "".join(lines).encode()
    number = chance.randrange(len(lines))
    line = json.loads(lines[number])
    *way, last = chance.choice(list(_paths(line)))
    inner = line
    for step in way:
        inner = inner[step]
    if chance.random() < 0.2:
        del inner[last]
    else:
        inner[last] = chance.choice(ODD)
    lines[number] = json.dumps(line) + "\n"
    return "".join(lines).encode()


def test_random_damage_is_one_sentence_or_a_report(tmp_path: Path, stored: dict[str, str]) -> None:
    """Of 400 damaged files none ends in a traceback: each is refused in a sentence, or still makes tables and checks.

    Of every sixth the whole chapter is drawn and written, which a number out of its range would not survive.
    """
    chance = random.Random(0)
    said, drawn = [], 0
    for number in range(DAMAGES):
        name = chance.choice(sorted(stored))
        path = tmp_path / name
        path.write_bytes(_damage(stored[name], chance))
        try:
            read = jsonl.read(path)
            if number % 6 == 0:
                write(chapters([read]), tmp_path)
            else:
                checks({part(read): read})
                tables(read)
            drawn += 1
        except UserError as error:
            said.append(str(error))
    refused = len(said)
    assert refused + drawn == DAMAGES
    assert {len(sentence.splitlines()) for sentence in said} == {1}
    assert max(map(len, said)) < 700
    assert refused > DAMAGES // 3
    assert drawn > DAMAGES // 20


HOSTILE = (
    '"><script>alert(1)</script>',
    "<img src=x onerror=alert(1)>",
    "/../../../../pwned",
    "a|b\n# c\n- d `` e ``` [f](javascript:g) ![h](i) *j* _k_ \\",
    "$\\frac{$ ' -- --> & &lt; ]]> \x00\x07",
)


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [str(value) for name, value in attrs if name == "id"]


def _hostile(value: Any, text: str, key: str = "") -> Any:
    """The same data with ``text`` in every string, name of a setting included, that is not of a closed list."""
    if isinstance(value, dict):
        loose = key in ("fixed", "configuration", "parameters", "versions")
        return {(text + name if loose else name): _hostile(each, text, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_hostile(each, text, key) for each in value]
    return text + value if isinstance(value, str) and key not in KEEPS else value


CLOSED = {"rate": ("operation",), "share": ("form",), "growth": ("quantity", "variable")}
"""Fields of closed lists: anything else is refused on reading."""


ROLES = ("work", "form", "dtype", "program", "unit", "operation")
"""What a record is of: with another word it is of something that the chapter has no place for."""


def _hostile_line(line: Line, text: str, spared: tuple[str, ...]) -> Line:
    changed: Line = _hostile(line, text)
    kept = CLOSED.get(line.get("kind", ""), ()) + spared
    # The comparison must know which program is ours, and its phases, to be shown at all.
    if "energies" in line or "each" in line:
        kept = (*kept, "program", "work")
    return changed | {name: line[name] for name in kept if name in line}


def _bars(lines: list[str]) -> list[int]:
    """Cells of each row of a table, and how many rows have so many one after another."""
    return [len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in lines]


@pytest.mark.parametrize("spared", [ROLES, ()], ids=["but roles", "all"])
@pytest.mark.parametrize("text", HOSTILE, ids=["script", "image", "path", "markdown", "mathematics"])
def test_hostile_strings_do_no_harm(
    tmp_path: Path, stored: dict[str, str], clean: Path, text: str, spared: tuple[str, ...]
) -> None:
    """In every string field of every kind, and of the run: no tag, attribute, link, heading or file comes of it."""
    dirty = tmp_path / "dirty"
    hostile = {
        name: "".join(
            json.dumps(_hostile_line(json.loads(line), text, spared)) + "\n" for line in content.splitlines()
        )
        for name, content in stored.items()
    }
    lay(dirty, hostile)
    kinds = {json.loads(line).get("kind") for content in hostile.values() for line in content.splitlines()}
    assert kinds >= {name for name, kind in KINDS.items() if kind.__module__ == "qmcbench.store.bench"}
    report([dirty], dirty)
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (clean, dirty)]
    assert files[1] <= files[0] if not spared else files[1] == files[0]
    assert [path.name for path in tmp_path.iterdir()] == ["dirty"]
    before, after = (Page((folder / "index.html").read_text()) for folder in (clean, dirty))
    assert after.tags <= before.tags
    assert after.attributes <= before.attributes
    assert all(re.fullmatch(r"[\w.-]+", each) for each in after.ids)
    lines = [(folder / "report.md").read_text().splitlines() for folder in (clean, dirty)]
    headings = [[line for line in each if line.lstrip().startswith("#")] for each in lines]
    assert len(headings[1]) <= len(headings[0])
    prose = "\n".join(line for line in lines[1] if not line.startswith("!["))
    outside = re.sub(r"(?s)(?<!\\)(`{2,}) .*? \1", "", prose)
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\(", outside)
    if spared:
        assert text.split()[0][:8] in re.sub(r"\\(.)", r"\1", prose)
        assert _bars(lines[0]) == _bars(lines[1])
