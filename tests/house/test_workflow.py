"""Continuous integration compares benchmarks with the last release, if there is one, by commands that exist."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.command import parses

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
# A virtual environment whose pip and qmcbench write down what they are asked for.
mkdir -p "$3/bin"
for name in pip qmcbench; do
    printf '#!/bin/sh\\necho "%s $*" >> "$CALLS"\\n[ "$1" != report ]\\n' "$name" > "$3/bin/$name"
    chmod +x "$3/bin/$name"
done
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit with the script."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / ".ci", root / ".ci")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First")
    return root


def git(folder: Path, *arguments: str) -> None:
    """Run git there, as somebody."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=some@body"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def compare(checkout: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What the script says, and the calls of pip and qmcbench that it makes."""
    tools, calls = checkout.parent / "tools", checkout.parent / "calls"
    tools.mkdir(exist_ok=True)
    (tools / "python3").write_text(PYTHON)
    (tools / "python3").chmod(0o755)
    settings = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls)}
    done = subprocess.run(
        [checkout / ".ci" / "compare"], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_without_a_release_nothing_is_compared(checkout: Path) -> None:
    """The first tag is yet to come; a tag of this very commit is not the last release either."""
    git(checkout, "tag", "v0")
    done, calls = compare(checkout)
    assert (done.returncode, done.stdout, calls) == (0, "There is no release to compare with yet.\n", [])


def test_the_last_release_is_compared_with(checkout: Path) -> None:
    """Both are installed and measured, every command parses, and a regression is the script's exit status."""
    git(checkout, "tag", "v0")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "Second")
    done, calls = compare(checkout)
    assert done.returncode == 1, done.stderr
    commands = [line.removeprefix("qmcbench ") for line in calls if line.startswith("qmcbench ")]
    assert [line.split()[0] for line in commands] == ["bench", "bench", "report"]
    for line in commands:
        parses(line)
    before, after = (re.search(r"--out (\S+)", line)[1] for line in commands[:2])
    assert f"--compare {before} {after} --fail-on-regression" in commands[2]
    installed = [line for line in calls if line.startswith("pip ")]
    assert [re.search(r"(before|after)\[mpi,bench\]$", line)[1] for line in installed] == ["before", "after"]


def test_the_workflow_runs_it() -> None:
    """With the whole history, as the last release is a tag of it."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "- run: .ci/compare\n" in workflow
    assert "fetch-depth: 0" in workflow.split("\n  benchmarks:\n")[1]
