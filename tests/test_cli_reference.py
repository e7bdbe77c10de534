"""``qmcbench reference``: what it prints, what it refuses, and that a damaged reference value is exit status 1."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from qmcbench import reference
from qmcbench.cli.main import app
from qmcbench.cli.reference import shown
from qmcbench.errors import UserError
from qmcbench.reference import ReferenceLayerError, schemas
from qmcbench.reference import verify as verification
from qmcbench.reference.published import every_row
from qmcbench.reference.store import stored
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


def ed(*arguments: object) -> Result:
    """`qmcbench ed` in this process."""
    return CliRunner().invoke(app, ["ed", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--L", 6, "--j2", 0.51), r"6x6 at J2 = 0.51 is not stored (of 6x6, J2 = 0, 0.1, 0.2, "),
        (("--L", 4, "--j2", "1e300"), "J2 = 1e+300 is beyond 1000 in size"),
        (("--L", 6, "--j2", "-1e300", "--recompute"), "J2 = -1e+300 is beyond 1000 in size"),
        (("--L", 6, "--j2", "nan", "--recompute"), "J2 = nan is not a finite number"),
        (("--L", 8, "--j2", 0.5), "L = 8 cannot be diagonalized, only L = 4 and 6 can"),
        (("--L", 8, "--j2", 0.5, "--recompute"), "L = 8 cannot be diagonalized, only L = 4 and 6 can"),
    ],
    ids=["not stored", "large", "large 6x6", "nan", "8x8", "8x8 anew"],
)
def test_what_ed_cannot_do(
    arguments: tuple[object, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with what can be done instead; the couplings named are those of the lattice asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    error = ed(*arguments).exception
    assert isinstance(error, ReferenceLayerError)
    assert words in str(error)
    assert "\n" not in str(error)
    assert not list(tmp_path.iterdir())


def test_couplings_named_are_stored() -> None:
    """Those that the refusal for 6x6 lists are what `ed` then answers."""
    text = str(ed("--L", 6, "--j2", 0.51).exception)
    named = re.search(r"\(of 6x6, J2 = (.*) are\)", text)
    assert named is not None
    couplings = [float(J2) for J2 in named[1].split(", ")]
    assert couplings == [row.J2 for row in stored() if row.L == 6]
    assert all(ed("--L", 6, "--j2", J2).exit_code == 0 for J2 in couplings)


def test_ed_says_of_which_sector_the_energy_is() -> None:
    """And how it is known to be the ground state's."""
    lines = ed("--L", 6, "--j2", 0.5).stdout.splitlines()
    assert any(line.startswith("sector") and "kx=ky=0, A1" in line for line in lines)
    assert any(line.startswith("ground state") and "-0.503809653891" in line and "agrees" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_long_computation_is_ended_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """While 6x6 is built a signal ends it and its own process; Ctrl-C with a sentence that says where it goes on."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "qmcbench", "ed", "--L", "6", "--j2", "0.52", "--recompute"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        folder = tmp_path / "qmcbench" / "ed_6x6"
        assert re.fullmatch(
            r"6x6 takes about \d+ minutes on 2 cores from nothing, \d\.\d GB of memory and \d\.\d GB in "
            rf"{folder}, from which an interrupted run goes on\.\n",
            first,
        )
        while not folder.exists():  # the computation's process has begun
            time.sleep(0.05)
        time.sleep(1)
        children = psutil.Process(process.pid).children()
        process.send_signal(number)
        # A free machine takes 0.3 s; without a process of its own it is most of a minute.
        _, rest = process.communicate(timeout=20)
    assert psutil.wait_procs(children, timeout=20)[1] == []
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert (
            rest == f"Interrupted; what is finished is kept in {folder}, and the same command goes on from there.\n"
        )
