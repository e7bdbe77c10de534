"""The seed paper's numbers: one attribute for each table and figure."""

import copy
import subprocess
import sys

import pytest

from qmcbench.reference import paper, schemas


def test_tables_are_attributes() -> None:
    """Each table of the file by its name, as a plain dictionary."""
    tables = schemas.document("paper")
    assert dir(paper) == sorted(tables)
    assert {name: getattr(paper, name) for name in dir(paper)} == tables
    assert paper.table4["rows"][0] == {
        "L": 10,
        "energy": [-0.51273, -0.50728, -0.50209, -0.49717, -0.48611, -0.47713],
    }


def test_a_wrong_name_is_answered_by_the_right_ones() -> None:
    """There is no Table 9."""
    with pytest.raises(AttributeError, match=r"no 'table9': choose one of table1, table2, .*figure13"):
        _ = paper.table9


def test_package_alone_reaches_the_tables() -> None:
    """`import qmcbench.reference` is enough, in a process that has imported nothing else."""
    code = "import qmcbench.reference; print(qmcbench.reference.paper.table4['J2'][0])"
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "0.44\n"


@pytest.mark.parametrize("name", schemas.DOCUMENTS)
def test_documents_keep_to_schemas_that_forbid_what_they_do_not_know(name: str) -> None:
    """Each file is valid, and neither a missing nor an unknown table is."""
    content = copy.deepcopy(schemas.document(name))
    assert schemas.problems(content, name) == ()
    content["table99"] = {}
    assert "table99" in schemas.problems(content, name)[0]
    del content["table99"]
    content.pop(next(iter(content)))
    assert "required" in schemas.problems(content, name)[0]
