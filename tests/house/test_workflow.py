"""Continuous integration compares benchmarks with the last release or the commit before, by commands that exist."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.command import parses

from qmcbench.bench.compare import FEW
from qmcbench.store import jsonl
from qmcbench.store.bench import AsvBenchmark

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


def git(folder: Path, *arguments: str) -> str:
    """What git says there, as somebody."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=some@body"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


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


def measured(calls: list[str]) -> tuple[list[str], list[str]]:
    """What qmcbench is asked for, every command of which parses, and which checkouts are installed."""
    commands = [line.removeprefix("qmcbench ") for line in calls if line.startswith("qmcbench ")]
    for line in commands:
        parses(line)
    installed = [re.search(r"(before|after)\[mpi,bench\]$", line)[1] for line in calls if line.startswith("pip ")]
    return commands, installed


def test_the_first_commit_is_measured(checkout: Path) -> None:
    """The suite runs where there is nothing to compare with, and says so: a tag of this very commit is nothing."""
    git(checkout, "tag", "v0")
    done, calls = compare(checkout)
    assert (done.returncode, done.stdout) == (0, "There is no earlier commit to compare with.\n"), done.stderr
    commands, installed = measured(calls)
    assert [line.split()[0] for line in commands] == ["bench"]
    assert installed == ["after"]


@pytest.mark.parametrize("release", [True, False], ids=["a release", "no release"])
def test_an_earlier_commit_is_compared_with(checkout: Path, release: bool) -> None:
    """The last release, else the commit before: both are measured, and a regression is the script's exit status."""
    if release:
        git(checkout, "tag", "v0")
    for name in ("Second", "Third"):
        git(checkout, "commit", "-q", "--allow-empty", "-m", name)
    done, calls = compare(checkout)
    assert done.returncode == 1, done.stderr
    commands, installed = measured(calls)
    assert [line.split()[0] for line in commands] == ["bench", "bench", "report"]
    assert installed == ["before", "after"]
    before, after = (re.search(r"--out (\S+)", line)[1] for line in commands[:2])
    assert f"--compare {before} {after} --fail-on-regression" in commands[2]
    earlier = "v0" if release else git(checkout, "rev-parse", "HEAD^").strip()
    assert done.stdout == f"Compared with {earlier}:\n"


def test_what_is_measured_is_enough_to_decide() -> None:
    """Benchmarks of the suite that asv repeats, in minutes, and so many that their scatter is known."""
    (chosen,) = re.findall(r"^few='(.*)'$", (ROOT / ".ci" / "compare").read_text(), re.MULTILINE)
    (kept,) = jsonl.find([ROOT / "reports" / "book" / "records" / "suite.jsonl"])
    found = [
        each for each in kept.of(AsvBenchmark)
        # As asv names them; it writes numbers without quotation marks, which are not looked at.
        if re.search(chosen, f"{each.benchmark}({', '.join(map(repr, each.parameters.values()))})")
    ]  # fmt: skip
    assert FEW <= len(found) <= 12
    for each in found:
        assert each.unit == "s"
        assert each.value is not None
        assert each.value < 1
        assert each.low < each.high


def test_the_workflow_runs_it() -> None:
    """With the whole history, as the last release is a tag of it."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "- run: .ci/compare\n" in workflow
    assert "fetch-depth: 0" in workflow.split("\n  benchmarks:\n")[1]
