"""The TOML documents of ``data/`` and the JSON Schemas that they keep to."""

import json
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from qmcbench.reference.errors import ReferenceLayerError

DOCUMENTS = ("published", "paper", "models", "claims", "leaderboard")


@cache
def document(name: str) -> dict[str, Any]:
    """One of `DOCUMENTS` as a plain dictionary, read once: whoever changes it works on a copy."""
    return tomllib.loads(_read(f"{name}.toml"))


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one of `DOCUMENTS`."""
    found: dict[str, Any] = json.loads(_read(f"{name}.schema.json"))
    return found


def problems(content: Any, name: str) -> tuple[str, ...]:
    """Where ``content``, such as `document` returns, breaks the schema of the document ``name``; empty if nowhere.

    Raises
    ------
    ReferenceLayerError
        If jsonschema cannot be imported.
    """
    try:
        from jsonschema import Draft202012Validator
    except ImportError as cause:
        raise ReferenceLayerError(
            "validating the reference data needs jsonschema, which cannot be imported: "
            "install it with `pip install jsonschema`"
        ) from cause
    errors = Draft202012Validator(schema(name)).iter_errors(content)
    return tuple(f"{name}.toml {error.json_path}: {error.message:.300}" for error in errors)


def _read(name: str) -> str:
    return files("qmcbench.reference").joinpath("data", name).read_text(encoding="utf-8")
