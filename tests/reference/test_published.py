"""Published energies: what is in the file, what is never returned, and which of several is the best."""

import importlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from qmcbench import reference
from qmcbench.reference import PublishedEnergy, ReferenceLayerError, best, energy, published

# Not `from qmcbench.reference import published`, which is the function.
module = importlib.import_module("qmcbench.reference.published")

ROW = PublishedEnergy(
    L=6,
    J2=0.5,
    energy=-0.5,
    quoted="-0.50",
    method="guess",
    kind="variational",
    year=2000,
    cite="A",
    id="arXiv:1",
    verified="A",
    verified_level="primary",
)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the given rows all that is published."""
    return lambda *rows: monkeypatch.setattr(module, "every_row", lambda: rows)


def test_every_row_of_the_file_is_loaded_and_suspect_ones_are_withheld() -> None:
    """606 rows in the file, ten of them suspect, three only remembered; the rest by kind."""
    rows = module.every_row()
    assert len(rows) == 606
    assert sum(row.suspect for row in rows) == 10
    assert sum(row.verified_level == "memory" for row in rows) == 3
    assert all((row.verified is False) == (row.verified_level == "memory") for row in rows)
    assert set(published()) == {row for row in rows if not row.suspect}
    kinds = {"variational": 427, "exact": 78, "extrapolated": 60, "qmc": 20, "projected": 11}
    assert Counter(row.kind for row in published()) == kinds


@pytest.mark.parametrize("row", [row for row in module.every_row() if row.suspect], ids=lambda row: row.quoted)
def test_no_question_is_answered_with_a_suspect_row(row: PublishedEnergy) -> None:
    """Neither the best energy nor that of its kind, though several suspect rows are the lowest of their cell."""
    assert not best(*row.cell).suspect
    assert not energy(*row.cell, row.kind).suspect
    assert row not in published(*row.cell)


def test_filters_combine_and_match_the_coupling_to_rounding() -> None:
    """Each filter alone and all together; 1e-12 in J2 is the same coupling, 1e-9 another."""
    assert {row.L for row in published(L=10)} == {10}
    assert {row.J2 for row in published(J2=0.5)} == {0.5}
    assert {row.kind for row in published(kind="qmc")} == {"qmc"}
    both = published(10, 0.5, "variational")
    assert both == tuple(row for row in published() if (row.L, row.J2, row.kind) == (10, 0.5, "variational"))
    assert published(10, 0.5 + 5e-13, "variational") == both
    assert published(10, 0.5 + 1e-9) == published(11) == ()


def test_rows_come_by_cell_then_kind_then_energy() -> None:
    """The order that tables print: exact first, then by energy."""
    keys = [(row.L, row.J2, module.KINDS.index(row.kind), row.energy) for row in published()]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("cell", "quoted", "kind"),
    [
        ((6, 0.5), "-72.548590160286", "exact"),  # of four, that with most digits
        ((6, 0.65), "-0.506588", "exact"),  # converged; the lower one carries a reason for its conflict
        ((12, 0.0), "-0.67068192(2)", "qmc"),  # of two, that with the smaller error, and it was seen
        ((14, 0.5), "-0.4964", "variational"),  # the lowest, though not the one with most digits
    ],
)
def test_best_of_the_file(cell: tuple[int, float], quoted: str, kind: str) -> None:
    """Exact before QMC before variational, each by its own merit."""
    found = best(*cell)
    assert (found.quoted, found.kind) == (quoted, kind)
    assert energy(*cell) == found == energy(*cell, kind)


def test_best_is_no_estimate_from_below(only: Callable[..., None]) -> None:
    """Extrapolated and projected energies are lower here, and never the best."""
    low = [replace(ROW, energy=-0.6, quoted="-0.60", kind=kind) for kind in ("extrapolated", "projected")]
    only(ROW, *low)
    assert best(6, 0.5) is ROW
    assert energy(6, 0.5, "projected") is low[1]
    only(*low)
    with pytest.raises(
        ReferenceLayerError, match=r"no exact, qmc or variational .* only projected, extrapolated ones"
    ):
        best(6, 0.5)


def test_best_is_remembered_only_where_nothing_was_seen(only: Callable[..., None]) -> None:
    """A seen upper bound goes before a remembered exact energy; alone, that one is taken and says what it is."""
    remembered = replace(ROW, energy=-0.51, quoted="-0.51", kind="exact", verified=False, verified_level="memory")
    only(ROW, remembered)
    assert best(6, 0.5) is ROW
    assert energy(6, 0.5, "exact") is remembered
    only(remembered, replace(ROW, energy=-0.6, kind="extrapolated"))
    assert best(6, 0.5).verified_level == "memory"


def test_best_of_a_kind(only: Callable[..., None]) -> None:
    """Smallest uncertainty for QMC and extrapolations, lowest for variational, lower of equals for exact energies."""
    qmc = [replace(ROW, J2=0.0, kind="qmc", energy=e, error=s) for e, s in ((-0.5, 2e-3), (-0.4, 1e-3), (-0.6, None))]
    lanczos = [replace(ROW, kind="exact", energy=e, quoted=str(e)) for e in (-0.501, -0.502, -0.503)]
    lanczos[2] = replace(lanczos[2], conflict="not converged")
    only(*qmc, *lanczos, ROW, replace(ROW, energy=-0.4, error=1e-6))
    assert energy(6, 0.0, "qmc") is qmc[1]
    assert energy(6, 0.5, "exact") is lanczos[1]
    assert energy(6, 0.5, "variational") is ROW


def test_printed_digits_know_their_unit_and_resolution() -> None:
    """Per site as printed, or a total in Pauli units, 4 L^2 times larger."""
    assert (ROW.scale, ROW.resolution, ROW.uncertainty) == (1, 0.01, 0.01)
    total = replace(ROW, quoted="-72.0(3)", error=0.3 / 144)
    assert (total.scale, total.resolution) == (144, pytest.approx(0.1 / 144))
    assert total.uncertainty == total.error


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ((7, 0.5), r"L = 7, J2 = 0.5 .* nearest is L = 6, J2 = 0.5"),
        ((6, 0.45), r"nearest is L = 6, J2 = 0.48"),
        ((100, 0.5), r"nearest is L = 24, J2 = 0.5"),
        ((6, math.nan), r"J2 = nan is not a finite number"),
        (
            (10, 0.5, "exact"),
            r"no exact energy of L = 10, J2 = 0.5 .* only variational, projected, extrap",
        ),
        ((10, 0.5, "guess"), r"no kind 'guess'.*exact, qmc, variational, projected, extrapolated"),
    ],
)
def test_what_is_not_there_is_answered_by_what_is(question: tuple[int, float], words: str) -> None:
    """One sentence that names the nearest lattice, or the kinds that exist."""
    with pytest.raises(ReferenceLayerError, match=words):
        energy(*question)


def test_the_function_is_not_hidden_by_its_module() -> None:
    """Importing the module of the same name leaves the function in the package."""
    importlib.import_module("qmcbench.reference.published")
    assert reference.published is module.published
