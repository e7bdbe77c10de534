"""The store: one JSONL file a run, ``FOLDER/records/NAME.jsonl``, replaced in one step.

The first line is the run (format, job, provenance), each further line a record with its ``kind``. Keys with their
default value are left out. ``records.schema.json`` beside this module describes both; :mod:`qmcbench.store.schema`
makes it from the dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from cattrs.gen import make_dict_unstructure_fn, override

from qmcbench.errors import UserError
from qmcbench.files import dumps, write_atomically
from qmcbench.store.kinds import KINDS
from qmcbench.store.records import Record, Run
from qmcbench.structure import CONVERTER, parse_json, read_text, structure

FORMAT = "qmcbench-records-1"
FOLDER = "records"
OLD = ("results.json", "evaluation.json", "bench.json", "strong.json", "weak.json", "projection.json", "peers.json")
"""What versions before 0.2 wrote instead."""
LARGEST = 1e19
"""No number of a record is beyond it (a seed has 64 bits): what is, no figure could show beside the others."""
AGAIN = "measure again, or use another folder"


def save(out: Path, name: str, run: Run) -> Path:
    """Write ``run`` as ``out/records/name.jsonl``; the path.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is then still there.
    """
    path = path_of(out, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(f"{line}\n" for line in lines(run)).encode(errors="replace"))
    return path


def path_of(out: Path, name: str) -> Path:
    """Where the run ``name`` of a folder stands."""
    return out / FOLDER / f"{name}.jsonl"


def lines(run: Run) -> list[str]:
    """The lines of a file, each a JSON object: the run, then its records."""
    return [dumps(line) for line in _objects(run)]


def as_object(run: Run) -> dict[str, Any]:
    """The whole run as one object, ready for JSON: the file's first line, with the others in a list ``records``."""
    head, *rest = _objects(run)
    return head | {"records": rest}


def _objects(run: Run) -> list[dict[str, Any]]:
    head = {"format": FORMAT} | _plain(replace(run, records=()))
    return [head, *({"kind": record.kind} | _plain(record) for record in run.records)]


def read(path: Path) -> Run:
    """The run of one file.

    Raises
    ------
    UserError
        If it cannot be read, is of another format, or a line of it is not what it should be.
    """
    # Not splitlines: it would also split at characters that JSON may hold unescaped.
    rows = read_text(path, "store", AGAIN).removesuffix("\n").split("\n")
    head, *rest = (_object(line, f"{path}, line {number}") for number, line in enumerate(rows, start=1))
    found = head.pop("format", None)
    if found != FORMAT:
        raise UserError(f"{path} is of the format {str(found)[:40]!r}, but this version reads {FORMAT!r}; {AGAIN}.")
    if "records" in head:
        raise UserError(f"{path}, line 1: unknown key 'records'; {AGAIN}.")
    run = structure(head, Run, f"{path}, line 1", AGAIN)
    return replace(run, records=tuple(_record(each, f"{path}, line {n}") for n, each in enumerate(rest, start=2)))


def load(out: Path, name: str) -> Run | None:
    """The run ``out/records/name.jsonl``, or None if there is none yet; raises as :func:`read`."""
    path = path_of(out, name)
    return read(path) if path.exists() else None


def find(places: Iterable[Path]) -> list[Run]:
    """Every run in these folders (or files), in the order of places and names; of one without, those of its folders.

    Raises
    ------
    UserError
        If a place has none, or a file cannot be read.
    """
    runs = []
    for place in places:
        paths = [place] if place.is_file() else sorted(place.joinpath(FOLDER).glob("*.jsonl"))
        paths = paths or sorted(place.glob(f"*/{FOLDER}/*.jsonl"))
        if not paths:
            old = [name for name in OLD if (place / name).exists()]
            why = f", and its {old[0]} is of a version before 0.2, which this one does not read" if old else ""
            raise UserError(f"{place} has no {FOLDER}/*.jsonl{why}; {AGAIN}.")
        runs += [read(path) for path in paths]
    return runs


def _object(line: str, source: str) -> dict[str, Any]:
    value = parse_json(line, source, AGAIN)
    if not isinstance(value, dict):
        raise UserError(f"{source} is no object; {AGAIN}.")
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            waiting += each.values() if isinstance(each, dict) else each
        elif isinstance(each, int | float) and abs(each) > LARGEST:
            raise UserError(f"{source}: the number {str(each)[:30]} is beyond {LARGEST:g}; {AGAIN}.")
    return value


def _record(data: dict[str, Any], source: str) -> Record:
    name = data.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UserError(f"{source}: kind = {str(name)[:40]!r} is not one of {', '.join(sorted(KINDS))}; {AGAIN}.")
    return structure(data, kind, source, AGAIN)


def _plain(value: Record | Run) -> dict[str, Any]:
    plain: dict[str, Any] = _WRITER.unstructure(value)
    return plain


def _writer() -> Any:
    """Leaves out defaults, but says the unit of every record."""
    converter = CONVERTER.copy(omit_if_default=True)
    for kind in KINDS.values():
        keep = {each.name: override(omit_if_default=False) for each in fields(kind) if each.name == "unit"}
        hook = make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **keep)  # type: ignore[arg-type]
        converter.register_unstructure_hook(kind, hook)
    return converter


_WRITER = _writer()
