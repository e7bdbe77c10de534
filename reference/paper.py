"""The numbers that the seed paper prints (arXiv:2108.13830): one attribute for each table and figure.

``paper.table4`` is the table ``[table4]`` of ``data/paper.toml`` as a plain dictionary. Energies are per site in S.S
units with J1 = 1, times in seconds.
"""

from typing import Any

from qmcbench.reference.schemas import document


def __getattr__(name: str) -> dict[str, Any]:
    tables = document("paper")
    if name not in tables:
        raise AttributeError(f"the paper has no {name!r}: choose one of {', '.join(tables)}")
    table: dict[str, Any] = tables[name]
    return table


def __dir__() -> list[str]:
    return sorted(document("paper"))
