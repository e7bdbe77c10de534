"""Verification of the reference data: all that can be re-derived is, and what cannot be is counted.

The checks are functions of the data they look at, in `verify_published`, `verify_exact` and `verify_paper`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qmcbench.reference import schemas, store, verify_exact, verify_paper, verify_published
from qmcbench.reference.ed import ExactResult, diagonalize
from qmcbench.reference.published import parse
from qmcbench.reference.verification import Verification

_LIVE = 4


@dataclass(frozen=True)
class ReferenceData:
    """What is verified: by default, what is installed."""

    documents: Mapping[str, Any] = field(
        default_factory=lambda: {name: schemas.document(name) for name in schemas.DOCUMENTS}
    )
    """The TOML documents by name, as `schemas.document` returns them."""
    stored: Sequence[ExactResult] = field(default_factory=store.stored)
    """Stored results of exact diagonalization."""


def verify(
    data: ReferenceData | None = None,
    *,
    diagonalize: Callable[[int, float], ExactResult] = diagonalize,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Verification]:
    """Run every check of the reference data; all of them, failed or not.

    Parameters
    ----------
    data
        What to check; None is what is installed.
    diagonalize
        Ground state of ``(L, J2)``: called for every 4x4 coupling that is published or stored, seconds each.
    progress
        Called with one line before each diagonalization and after each check.

    Raises
    ------
    ReferenceLayerError
        If QuSpin or jsonschema cannot be imported.
    """
    data = data or ReferenceData()
    found = []
    for result in _checks(data, diagonalize, progress):
        progress(f"{result.name}: {result.checked} checked, {len(result.failures)} failed")
        found.append(result)
    return found


def _checks(
    data: ReferenceData, diagonalize: Callable[[int, float], ExactResult], progress: Callable[[str], None]
) -> Iterator[Verification]:
    problems = [text for name in schemas.DOCUMENTS for text in schemas.problems(data.documents[name], name)]
    way = "JSON Schema of each document (draft 2020-12)"
    if problems:
        # The other checks take the shape of the documents for granted.
        left = sum(1 for _ in verify_paper.numbers(data.documents))
        why = "numbers in documents, one of which breaks its schema: no other check was run"
        yield Verification("schemas", way, len(schemas.DOCUMENTS), (*problems,), left, why)
        return
    yield Verification("schemas", way, len(schemas.DOCUMENTS))
    rows, paper = parse(data.documents["published"]), data.documents["paper"]
    yield verify_published.digits(rows)
    yield verify_published.errors(rows)
    yield verify_published.variances(rows)

    wanted = {row.J2 for row in rows if row.kind == "exact" and row.L == _LIVE and not row.suspect}
    wanted |= {result.J2 for result in data.stored if result.L == _LIVE}
    live = {}
    for count, J2 in enumerate(sorted(wanted), start=1):
        progress(f"diagonalizing 4x4, J2 = {J2} ({count} of {len(wanted)})")
        live[_LIVE, J2] = diagonalize(_LIVE, J2)
    yield verify_exact.recomputed(data.stored, live)
    yield verify_exact.consistent(data.stored)
    yield verify_exact.trial_states(data.stored)

    energies = {(result.L, result.J2): result.energy for result in [*data.stored, *live.values()]}
    for L in sorted({row.L for row in rows if row.kind == "exact" and not row.suspect}):
        yield verify_published.truths(rows, energies, L, "live diagonalization" if L == _LIVE else "stored results")
    yield verify_published.conflicts(rows, energies)
    yield verify_published.bounds(rows)
    yield verify_published.concave(rows)
    yield verify_published.sizes(rows)
    yield verify_published.larger(rows)

    yield verify_paper.table3(paper)
    yield verify_paper.table4(paper, rows)
    yield verify_paper.training(paper, data.documents["published"]["milestone"])
    yield verify_paper.arithmetic(paper)
    yield verify_paper.networks(data.documents["models"], paper)
