"""The numbers that the seed paper prints (``data/paper.toml``; arXiv:2108.13830)."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def paper_numbers() -> dict[str, Any]:
    """All tables and figures by name, as in ``paper.toml``: energies per site in units of J1, times in seconds."""
    with (resources.files("qmcbench.reference") / "data" / "paper.toml").open("rb") as file:
        return tomllib.load(file)
