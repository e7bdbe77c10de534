"""Planting deliberate bugs in the engine with monkeypatch."""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]


Mutant = tuple[Plant, str]
"""A bug, and the gate that has to fail on it."""


def caught_by(gate: str, plant: Plant) -> Mutant:
    """A bug that this gate has to see."""
    return plant, gate


def edited(function: Callable[..., Any], *changes: tuple[str, str]) -> Plant:
    """A function with pieces of its source replaced, each of which must occur exactly once.

    Its own code is replaced, so every module that has imported it is changed with it. A piece that is no longer there
    is an error, so no mutant can become void unnoticed.
    """

    def plant(patch: pytest.MonkeyPatch) -> None:
        inner = inspect.unwrap(function)
        source = textwrap.dedent(inspect.getsource(inner))
        for old, new in changes:
            if source.count(old) != 1:
                raise ValueError(f"{inner.__qualname__} holds {old!r} {source.count(old)} times")
            source = source.replace(old, new)
        tree = ast.parse(source)
        assert isinstance(tree.body[0], ast.FunctionDef)
        tree.body[0].decorator_list = []
        space = dict(inner.__globals__)
        exec(compile(tree, "<mutant>", "exec", __future__.annotations.compiler_flag), space)
        patch.setattr(inner, "__code__", space[inner.__name__].__code__)

    return plant


def changed(owner: object, name: str, change: Callable[..., Any]) -> Plant:
    """An attribute replaced by ``change(what it was, *arguments)``."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = getattr(owner, name)
        patch.setattr(owner, name, lambda *given, **named: change(right, *given, **named))

    return plant


def together(*plants: Plant) -> Plant:
    """Several changes that are one bug."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for each in plants:
            each(patch)

    return plant
