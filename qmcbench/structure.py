"""Plain data (TOML, JSON) to frozen dataclasses: the one validator; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs import AttributeValidationNote, IterableValidationNote
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from qmcbench.errors import UserError

T = TypeVar("T")

Scalar = str | int | float | bool | None
"""What a table's cell can hold."""

LARGEST = 256 * 2**20
"""Bytes of the largest file that is read whole; a longer one (or a device that never ends) is no file of ours."""

LONGEST = 400
"""Characters of a mistake that are shown: a value may have any number."""


def structure(data: object, cls: type[T], source: str, hint: str = "") -> T:
    """``data`` as an instance of the dataclass ``cls``.

    Parameters
    ----------
    data
        Nested dictionaries, lists and scalars.
    cls
        What they should be; its fields may be dataclasses, tuples, dictionaries, unions with None.
    source
        Where they come from, for the message.
    hint
        What to do about a mistake, for the message.

    Raises
    ------
    UserError
        Naming the first wrong key or value, what is allowed and where it stands.
    """
    try:
        return CONVERTER.structure(data, cls)
    except (ClassValidationError, IterableValidationError, ValueError, TypeError, AttributeError) as error:
        clause = " ".join(problem(error).split())
        shown = clause if len(clause) <= LONGEST else f"{clause[:LONGEST]}..."
        raise UserError(f"{source}: {shown}{f'; {hint}' if hint else ''}.") from error


def unstructure(value: object) -> Any:
    """Plain nested data that :func:`structure` reads back."""
    return CONVERTER.unstructure(value)


def read_text(path: Path, what: str, hint: str = "") -> str:
    """The text of a file of ours, which is UTF-8 and not endless.

    Raises
    ------
    UserError
        If it cannot be read, is not text, or is longer than :data:`LARGEST`.
    """
    after = f"; {hint}" if hint else ""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode()
    except OSError as error:
        raise UserError(f"Cannot read the {what} {path}: {error.strerror}{after}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The {what} {path} is no text ({error}){after}.") from error
    if len(content) > LARGEST:
        raise UserError(f"The {what} {path} is longer than {LARGEST >> 20} MiB, so it is none{after}.")
    return text


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A TOML file as nested dictionaries.

    Raises
    ------
    UserError
        If it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path, what))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error


def parse_json(text: str, source: str, hint: str = "") -> Any:
    """JSON text as nested dictionaries, lists and scalars.

    Raises
    ------
    UserError
        If it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is not valid JSON: {error}{f'; {hint}' if hint else ''}.") from error


def problem(error: BaseException, place: str = "") -> str:
    """The innermost problem of a cattrs error group as one clause."""
    if isinstance(error, ForbiddenExtraKeysError):
        known = ", ".join(f.name for f in dataclasses.fields(error.cl))
        return f"unknown key {place}{sorted(map(str, error.extra_fields))[0]!r}; known here: {known}"
    if isinstance(error, ClassValidationError | IterableValidationError):
        # A misspelt key is missing too; what is there says more.
        inner = next((e for e in error.exceptions if isinstance(e, ForbiddenExtraKeysError)), error.exceptions[0])
        if isinstance(inner, KeyError):
            return f"the key {place}{inner.args[0]} is missing"
        for note in getattr(inner, "__notes__", ()):
            if isinstance(note, IterableValidationNote):
                return problem(inner, f"{place.rstrip('.')}[{note.index}].")
            if isinstance(note, AttributeValidationNote):
                return problem(inner, f"{place}{note.name}.")
        return problem(inner, place)
    where = place.rstrip(".")
    wrong = str(error) if isinstance(error, TypeError) else ""
    if isinstance(error, AttributeError) or "mapping" in wrong or "argument of type" in wrong:
        return f"{where or 'this'} is not a table of keys"
    if "not iterable" in wrong:
        return f"{where or 'this'} is not a list"
    return f"{where}: {error}" if where else str(error)


def number(value: Any, kind: type) -> Any:
    """``value`` if it is a number of this kind; a whole one will do for a float, but True is no number."""
    accepted = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise ValueError(f"{value!r} is not {'a number' if kind is float else 'an integer'}")
    # No counter and no array's axis is longer than 64 bits, and no float.
    if isinstance(value, int) and abs(value) >= 2 ** (63 if kind is int else 1023):
        raise ValueError(f"{value if abs(value) < 10**40 else 'an integer of that many digits'} is too large")
    return kind(value)


def _exactly(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is not {'a string' if kind is str else 'true or false'}")
    return _encodable(value) if isinstance(value, str) else value


def _scalar(value: Any, _: Any) -> Scalar:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError(f"{value!r} is neither text nor a number")
    return _encodable(value) if isinstance(value, str) else value


def _encodable(text: str) -> str:
    """``text``, unless it has half a surrogate pair (JSON allows it), which no file or terminal could take."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{text!r} is no text")
    return text


def _is_sequence(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1:] == (Ellipsis,)


def _sequence(kind: Any, converter: cattrs.BaseConverter) -> Any:
    """A hook for a tuple of any length: of a list, and not of whatever can be looped over, such as a string."""
    whole: Any = list[typing.get_args(kind)[0]]  # type: ignore[misc]  # known only here

    def hook(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{str(value)[:60]!r} is not a list")
        return tuple(converter.structure(value, whole))

    return hook


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, number)
    converter.register_structure_hook(float, number)
    converter.register_structure_hook(str, _exactly)
    converter.register_structure_hook(bool, _exactly)
    converter.register_structure_hook_func(lambda kind: kind == Scalar, _scalar)
    converter.register_structure_hook_factory(_is_sequence, _sequence)
    converter.register_unstructure_hook(float, lambda value: value if math.isfinite(value) else None)
    return converter


CONVERTER = _converter()
"""Modules with types of their own (a schedule, a record) register them here."""
