"""``qmcbench reference``: what it prints, what it refuses, and that a damaged reference value is exit status 1."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qmcbench import reference
from qmcbench.cli.main import app
from qmcbench.cli.reference import shown
from qmcbench.errors import UserError
from qmcbench.reference import ReferenceLayerError, schemas
from qmcbench.reference import verify as verification
from qmcbench.reference.published import every_row
from qmcbench.reference.verification import Verification


def run(*arguments: object) -> str:
    """Standard output of a command that succeeds."""
    result = CliRunner().invoke(app, ["reference", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> Exception:
    """What a command that the user got wrong raises; `main` prints it and exits with status 2."""
    result = CliRunner().invoke(app, ["reference", *map(str, arguments)])
    assert isinstance(result.exception, UserError | ReferenceLayerError), result.output
    return result.exception


def test_list_prints_one_line_for_each_usable_energy() -> None:
    """As many lines as the API has rows, as printed in the source; the count and the unit stand below."""
    lines = run("list", "--L", 10, "--kind", "variational").splitlines()
    rows = reference.published(10, kind="variational")
    assert lines[-1] == f"{len(rows)} energies; energy per site, S.S units, J1 = 1"
    body = lines[2:-2]
    assert len(body) == len(rows)
    assert all(row.cite in line and shown(row) in line for row, line in zip(rows, body, strict=True))


def test_list_as_json_has_every_field() -> None:
    """What the API returns, in the same order."""
    found = json.loads(run("list", "--j2", 0, "--kind", "qmc", "--json"))
    assert [row["quoted"] for row in found] == [row.quoted for row in reference.published(J2=0.0, kind="qmc")]
    assert {"L", "J2", "energy", "error", "id", "verified", "verified_level", "suspect"} <= set(found[0])


def test_list_withholds_suspect_rows() -> None:
    """They are shown by `show` alone."""
    assert "-0.5001(1)" not in run("list", "--L", 8, "--j2", 0.5)


def test_show_begins_with_the_best_and_marks_what_is_excluded() -> None:
    """Exact energies first, then by energy; suspect rows marked, with the reason."""
    text = run("show", "--L", 8, "--j2", 0.5)
    assert text.splitlines()[0] == "8x8, J2 = 0.5 J1; energy per site, S.S units, J1 = 1"
    assert text.splitlines()[1].startswith("best  -0.4989635(19)  variational: ")
    (line,) = (line for line in text.splitlines() if line.startswith("variational") and "-0.5001(1)" in line)
    assert line.endswith("suspect, excluded")
    assert "-0.5001(1) (Guo, Xiao, Liu, Li, KDD 2026, arXiv:2607.00398) suspect, excluded: 1e-3 below" in text
    kinds = [line.split()[0] for line in run("show", "--L", 6, "--j2", 0.5).splitlines()[6:] if line[:1].strip()]
    assert kinds == ["exact"] * 4 + ["variational"] * 25 + ["projected"] * 3 + ["extrapolated"] * 3


def test_show_gives_the_reason_for_a_conflict() -> None:
    """Marked in the table, explained below it."""
    text = run("show", "--L", 6, "--j2", 0.7)
    assert "conflict\n" in text
    assert "conflict: 1.2e-5 above" in text


def test_show_says_that_there_is_no_reference() -> None:
    """Extrapolations alone are listed, and are no reference."""
    text = run("show", "--L", 8, "--j2", 0.48)
    assert "best  none, as no exact, qmc or variational energy" in text
    assert "-0.5034(4)" in text


def test_show_says_that_the_best_was_only_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing else at hand."""
    (row,) = (row for row in every_row() if row.L == 12 and row.verified_level == "memory")
    monkeypatch.setitem(reference.best.__globals__, "every_row", lambda: (row,))
    assert "-0.670685(5)  qmc: SSE QMC" in (text := run("show", "--L", 12, "--j2", 0))
    assert "only remembered, seen in no document" in text.splitlines()[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "--L", 7, "--j2", 0.5), "nearest is L = 6, J2 = 0.5"),
        (("show", "--L", 6, "--j2", "nan"), "J2 = nan is not a finite number"),
        (("list", "--kind", "guess"), "no kind 'guess'"),
        (("list", "--L", 9, "--kind", "qmc"), "No published energy matches --L 9 --kind qmc"),
        (("verify", "--out", "missing/folder/out.json"), "Cannot write missing/folder/out.json"),
    ],
)
def test_questions_without_an_answer(arguments: tuple[object, ...], words: str) -> None:
    """One sentence that says what there is."""
    error = refused(*arguments)
    assert words in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("cell", "quoted", "text"),
    [
        ((6, 0.5), "-72.548590160286", "-0.503809653891"),  # a total in Pauli units, twelve digits
        ((4, 0.0), "-44.9139328", "-0.701780200"),  # as many digits as the total leaves
        ((6, 0.5), "-72.54722", "-0.5038001(11)"),
        ((12, 0.0), "-0.67068192(2)", "-0.67068192(2)"),
        ((6, 0.5), "-0.503810", "-0.503810"),
        ((6, 0.0), "-0.6788680", "-0.678868(14)"),  # an error that is not in the quoted digits
    ],
)
def test_energies_show_the_digits_that_they_have(cell: tuple[int, float], quoted: str, text: str) -> None:
    """Per site, with the error in parentheses."""
    (row,) = (row for row in reference.published(*cell) if row.quoted == quoted)
    assert shown(row) == text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Verification of the installed data without diagonalizing anything; the published rows, to be damaged."""
    documents = {name: schemas.document(name) for name in schemas.DOCUMENTS}
    rows = [dict(row) for row in documents["published"]["energy"] if row["L"] != 4]
    documents["published"] = documents["published"] | {"energy": rows}
    monkeypatch.setattr(
        verification, "ReferenceData", lambda data=verification.ReferenceData: data(documents=documents, stored=())
    )
    return rows


def test_verify_counts_and_lists(small: list[dict[str, object]], tmp_path: Path) -> None:
    """A table with totals, what was not checked and why, explained disagreements; the same as JSON in a file."""
    out = tmp_path / "verification.json"
    text = run("verify", "--out", out, "--quiet")
    results = [Verification(**entry) for entry in json.loads(out.read_text())]
    assert f"energies as printed                    {len(small)} " in text
    total = [line.split() for line in text.splitlines() if line.startswith("all ")]
    assert total == [
        [
            "all",
            str(sum(result.checked for result in results)),
            "0",
            str(sum(len(result.explained) for result in results)),
            str(sum(result.not_checked for result in results)),
        ]
    ]
    assert "Not checked\n" in text
    assert "Disagreements with a reason in the data\n" in text
    assert "Failures" not in text
    assert json.loads(run("verify", "--json", "--quiet")) == json.loads(out.read_text())


def test_verify_fails_on_a_damaged_value(small: list[dict[str, object]]) -> None:
    """Exit status 1, the failure on standard output, the progress and the count on standard error."""
    (row,) = (row for row in small if row["quoted"] == "-0.4976939(2)")
    row["energy"] = -0.4976839
    result = CliRunner().invoke(app, ["reference", "verify"])
    assert result.exit_code == 1
    assert "Failures\n  energies as printed: 10x10, J2 = 0.5: variational -0.4976939(2)" in result.stdout
    assert "energies as printed: 5" in result.stderr
    assert result.stderr.endswith("1 value of the reference data failed\n")
