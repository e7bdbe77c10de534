"""The store's JSON Schema, made from the dataclasses: ``python -m qmcbench.store.schema > records.schema.json``."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from qmcbench.store.jsonl import FORMAT
from qmcbench.store.kinds import KINDS
from qmcbench.store.records import Run

Schema = dict[str, Any]
PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}


def schema() -> Schema:
    """The schema of one line of a store: the run (the first line) or a record."""
    run = _of(Run, {"format": {"const": FORMAT}})
    del run["properties"]["records"]
    kinds = [_of(cls, {"kind": {"const": name}}) for name, cls in sorted(KINDS.items())]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of a store of qmcbench",
        "description": "The first line of a file is the run, each further line a record. Energies are per site in "
        "units of J1 (S.S convention), times in seconds. A key that is absent has its default value.",
        "oneOf": [run, *kinds],
    }


def _of(cls: type, tag: Schema | None = None) -> Schema:
    """The object that a dataclass is written as, with the key that tells which it is."""
    tag = tag or {}
    hints = typing.get_type_hints(cls)
    properties = tag | {each.name: _form(hints[each.name]) for each in fields(cls)}
    required = [each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING]
    return {
        "title": cls.__name__,
        "description": (cls.__doc__ or "").strip().splitlines()[0],
        "type": "object",
        "properties": properties,
        "required": [*tag, *required],
        "additionalProperties": False,
    }


def _form(hint: Any) -> Schema:
    if hint in PLAIN:
        return PLAIN[hint]
    if is_dataclass(hint):
        return _of(typing.cast(type, hint))
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(inside)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_form(each) for each in inside]}
    if origin is tuple and inside[-1] is Ellipsis:
        return {"type": "array", "items": _form(inside[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [_form(each) for each in inside], "items": False}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _form(inside[1])}
    raise TypeError(f"A store cannot hold a {hint}.")


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, ensure_ascii=False))
