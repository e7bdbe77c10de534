"""The profiles, campaigns and plans that come with the package."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from qmcbench.structure import read_toml


def profile_names(kind: str = "reproduce") -> list[str]:
    """Names of the shipped profiles of ``qmcbench reproduce``, its campaigns, or plans of ``qmcbench transfer``."""
    names = (entry.name for entry in _shipped(kind).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_shipped(name: str, kind: str) -> dict[str, Any]:
    """The content of a shipped profile."""
    with resources.as_file(_shipped(kind) / f"{name}.toml") as path:
        return read_toml(path, "profile")


def _shipped(kind: str) -> Traversable:
    return resources.files("qmcbench") / "profiles" / kind
