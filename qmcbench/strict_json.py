"""JSON that every reader takes: numbers that are not finite become null."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Nested dictionaries, lists and scalars as strict JSON text."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, indent=indent, sort_keys=sort_keys)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
