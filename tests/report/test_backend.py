"""Figures need no backend of matplotlib: whatever MPLBACKEND names, they are drawn, and a usable one is kept."""

import os
import subprocess
import sys

import pytest

DRAW = """
from qmcbench.report import figure
svg = figure.render("a", (3, 2), lambda sheet: sheet.add_subplot().plot([1, 2]))
assert svg.startswith("<?xml") and "<path" in svg
"""


@pytest.mark.parametrize("backend", ["module://nonexistent", "module://matplotlib_inline.backend_inline", "bogus"])
def test_any_backend_will_do(backend: str) -> None:
    """The environment of a Jupyter kernel is handed on to the commands that its cells start."""
    subprocess.run(
        [sys.executable, "-P", "-c", DRAW], check=True, timeout=60, env=os.environ | {"MPLBACKEND": backend}
    )


def test_a_backend_that_exists_is_kept() -> None:
    """A notebook that imports the report still draws its own figures inline."""
    code = "import qmcbench.report, matplotlib; print(matplotlib.get_backend())"
    environment = os.environ | {"MPLBACKEND": "pdf"}
    run = [sys.executable, "-P", "-c", code]
    assert (
        subprocess.run(run, check=True, timeout=60, env=environment, capture_output=True, text=True).stdout == "pdf\n"
    )
