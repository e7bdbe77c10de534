"""The store gives back what was put into it, agrees with its schema, and says in a sentence what is wrong with it."""

import json
import random
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from helpers.damage import bytes_changed
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from qmcbench.errors import UserError
from qmcbench.gates.check import Check
from qmcbench.provenance import Machine, Provenance
from qmcbench.store import jsonl, schema
from qmcbench.store.kinds import KINDS
from qmcbench.store.records import Record, Reference, Run

MADE = Provenance("qmcbench x", "2000-01-01T00:00:00+00:00", "3.11", {"torch": None}, Machine("cpu", 2, 8.0, "Linux"))
CHECK = Check(
    value=0.25,
    name="name",
    check="exact",
    bound=1.0,
    statement="It holds.",
    reference=Reference(value=0.5, source="here"),
)
# Within what every kind allows of its numbers; some relations between them are drawn until they hold.
NUMBERS = {float: st.floats(0.01, 1.0), int: st.integers(1, 9)}
DAMAGED = 600
COMMITTED = json.loads(files("qmcbench.store").joinpath("records.schema.json").read_text())
VALID = jsonschema.Draft202012Validator(COMMITTED)

for _kind, _strategy in NUMBERS.items():
    st.register_type_strategy(_kind, _strategy)


def run(*records: Record) -> Run:
    """A run with these records."""
    return Run(job="bench limits", provenance=MADE, records=records, seed=3, seconds=1.5)


@pytest.mark.parametrize("name", sorted(KINDS))
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_kind_survives_the_file_and_fits_the_schema(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever a record's fields hold, it is read back equal, and its line is what the schema says."""
    try:
        record = data.draw(st.from_type(KINDS[name]))
    except ValueError:
        reject()
    path = jsonl.save(tmp_path, "x", run(record))
    assert jsonl.read(path) == run(record)
    for line in path.read_text().removesuffix("\n").split("\n"):
        VALID.validate(json.loads(line))


def test_the_committed_schema_is_that_of_the_code() -> None:
    """Nobody changes a record without the schema that others read."""
    assert schema.schema() == COMMITTED


def test_a_line_names_its_unit_and_leaves_out_defaults(tmp_path: Path) -> None:
    """The file can be read without this package, and is not filled with nulls."""
    line = json.loads(jsonl.save(tmp_path, "x", run(CHECK)).read_text().splitlines()[1])
    assert line["unit"] == ""
    assert "tau" not in line
    assert "ranks" not in line


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    """Strict JSON has no NaN, and a check of it fails after reading as it did before."""
    path = jsonl.save(tmp_path, "x", run(replace(CHECK, value=float("nan"))))
    (read,) = jsonl.read(path).of(Check)
    assert read.value is None
    assert read.verdict == replace(CHECK, value=float("nan")).verdict == "FAIL"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param('"bound"', '"bond"', "line 2: unknown key 'bond'; known here: ", id="misspelt key"),
        pytest.param("0.25", '"a"', "line 2: value: 'a' is not a number", id="text for a number"),
        pytest.param("0.25", "true", "line 2: value: True is not a number", id="truth for a number"),
        pytest.param('"source": "here"', '"source": 1', "line 2: reference.source: 1 is not a string", id="nested"),
        pytest.param('"kind": "check"', '"kind": "chk"', "line 2: kind = 'chk' is not one of ", id="unknown kind"),
        pytest.param(
            '"kind": "check"', '"kind": []', r"line 2: kind = '\[\]' is not one of ", id="kind that is no text"
        ),
        pytest.param("records-1", "records-0", "is of the format 'qmcbench-records-0', but this", id="old format"),
        pytest.param('"cores": 2', '"cores": 2.5', "line 1: provenance.machine.cores: 2.5 is", id="header"),
        pytest.param('"job"', '"records": [], "job"', "line 1: unknown key 'records'", id="records in the header"),
        pytest.param("0.25", "{", "line 2 is not valid JSON", id="no JSON"),
    ],
)
def test_a_mistake_is_one_sentence(old: str, new: str, said: str, tmp_path: Path) -> None:
    """The file, the line, the key, what is there and what to do."""
    path = jsonl.save(tmp_path, "x", run(CHECK))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=said) as caught:
        jsonl.read(path)
    assert str(caught.value).endswith("measure again, or use another folder.")


def test_no_damage_is_a_traceback(tmp_path: Path) -> None:
    """Of 600 damaged files each is refused in a sentence, or reads as a store (a digit may have changed)."""
    dice = random.Random(1)
    path = jsonl.save(tmp_path, "x", run(CHECK, replace(CHECK, not_run="why")))
    whole = path.read_bytes()
    refused = 0
    for _ in range(DAMAGED):
        path.write_bytes(bytes_changed(whole, dice))
        try:
            jsonl.read(path)
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > DAMAGED // 2


def test_a_folder_without_records_says_so(tmp_path: Path) -> None:
    """A folder of a version before 0.2 is named as such."""
    with pytest.raises(UserError, match=r"has no records/\*.jsonl; measure again"):
        jsonl.find([tmp_path])
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(UserError, match=r"and its bench.json is of a version before 0.2"):
        jsonl.find([tmp_path])


def test_folders_and_files_are_found_in_order(tmp_path: Path) -> None:
    """Runs come in the order of places, and of names within one; a folder of such folders has those of all."""
    for folder, name in (("b", "y"), ("b", "x"), ("a", "z")):
        jsonl.save(tmp_path / folder, name, replace(run(), job=f"bench {folder}{name}"))
    found = jsonl.find([tmp_path / "b", tmp_path / "a" / "records" / "z.jsonl"])
    assert [each.job for each in found] == ["bench bx", "bench by", "bench az"]
    assert [each.job for each in jsonl.find([tmp_path])] == ["bench az", "bench bx", "bench by"]
    assert jsonl.load(tmp_path / "b", "nothing") is None
