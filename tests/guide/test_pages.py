"""The README and the guide's pages: every block of code on them runs as it stands, and every command parses.

A page is a story: its blocks are run from the first to the last in one empty folder, the README's in a shell as a
reader does it, plain ``qmcbench`` lines of the other pages by its entry point in this process. A ``toml`` block is a
run's configuration, written to the file that its first line names; of a ``console`` block each line after ``$`` is a
command, and lines below it must be in its output (``...`` stands for any lines); a ``python`` block is a program, and
a module of those that follow if its first line names its file.
What cannot run here says why on the line that opens it, ``not-run: why``, and is counted.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import pytest
from helpers.command import called, parses

from qmcbench.config import Config, Model, parse
from qmcbench.gates import registry
from qmcbench.guide import PAGES, read
from qmcbench.recipe import recipe

README = Path(__file__).parents[2] / "README.md"
LANGUAGES = ("console", "python", "toml")
NOT_RUN = {"cluster": ["needs a Slurm cluster", "needs a Slurm cluster", "installs"]}
"""Blocks that the test leaves out, by page."""
INDENTED = [
    "pip install . && qmcbench reproduce --profile quick --out reports/quick",
    'pip install ".[test]" && pytest',
]
"""The README's two commands, which install: .ci/run runs the second, and the first minutes of the first are tests."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    not_run: str
    code: str


@cache
def text_of(page: str) -> str:
    """Markdown of a page."""
    return README.read_text(encoding="utf-8") if page == "README" else read(page)


def blocks(page: str) -> list[Block]:
    """All fenced blocks in their order; any other info string than the documented one is a mistake."""
    found = []
    for info, code in re.findall(r"^```([^\n]*)\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE):
        parts = re.fullmatch(rf"({'|'.join(LANGUAGES)})(?: not-run: (.+))?", info)
        assert parts, f"{page}: a block is opened by ```{info}"
        found.append(Block(parts[1], parts[2] or "", code))
    return found


def run_toml(code: str, folder: Path) -> None:
    """A whole configuration, in the file that later commands name."""
    named = re.match(r"# ([\w-]+\.toml)\n", code)
    assert named, f"the first line of a configuration names its file: {code.splitlines()[0]}"
    parse(tomllib.loads(code))
    (folder / named[1]).write_text(code)


def in_shell(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own."""
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def in_process(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A plain line of ``qmcbench`` by its entry point, without loading torch again.

    As in a shell, the reader's folder is the current one, and every module in it is imported anew.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(registry, "GATES", dict(registry.load()))
        result = called(*shlex.split(command)[1:])
    for name, module in [*sys.modules.items()]:
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    return result


def run_console(code: str, folder: Path, environment: dict[str, str], *, alone: bool) -> None:
    """Commands, and lines that their output must have in this order; ``alone`` is each in a process of its own."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        plain = command.startswith("qmcbench ") and not set(command) & set("|&;<>$*`\\")
        result = in_process(command, folder) if plain and not alone else in_shell(command, folder, environment)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        if expected:
            pattern = "".join("(.*\n)*" if line == "..." else re.escape(line) + "\n" for line in expected)
            assert re.fullmatch(pattern, result.stdout), f"{command}\n{result.stdout}"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where ``qmcbench`` is this code, and ``mpiexec`` that of this environment; one thread, as tests share cores."""
    commands = tmp_path / "bin"
    commands.mkdir()
    qmcbench = commands / "qmcbench"
    qmcbench.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m qmcbench "$@"\n')
    qmcbench.chmod(0o755)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    # Modules of the page import each other; the plugin is pytest's also where the package is not installed.
    modules = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(tmp_path / "reader")]))
    plugin = {"PYTHONPATH": modules, "PYTEST_PLUGINS": "qmcbench.gates.plugin"}
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | plugin


@pytest.mark.parametrize("page", ["README", *PAGES])
def test_blocks_run_as_they_stand(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """A reader who copies them one after the other gets no error."""
    folder = tmp_path / "reader"
    folder.mkdir()
    for block in blocks(page):
        if block.not_run:
            continue
        if block.language == "toml":
            run_toml(block.code, folder)
        elif block.language == "console":
            run_console(block.code, folder, environment, alone=page == "README")
        else:
            if named := re.match(r"# (\w+\.py)\n", block.code):
                (folder / named[1]).write_text(block.code)
            command = [sys.executable, "-P", "-W", "error", "-c", block.code]
            result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert result.returncode == 0, f"{block.code}\n{result.stdout}{result.stderr}"


def test_what_is_not_run_is_counted() -> None:
    """A block that no test runs is one that says why, and is listed here."""
    found = {page: [block.not_run for block in blocks(page) if block.not_run] for page in ["README", *PAGES]}
    assert {page: reasons for page, reasons in found.items() if reasons} == NOT_RUN
    assert re.findall(r"^    (\S.*)$", text_of("README"), re.MULTILINE)[: len(INDENTED)] == INDENTED


@pytest.mark.parametrize("page", ["README", *PAGES])
def test_commands_in_the_text_parse(page: str) -> None:
    """Commands and options that the text names exist."""
    commands = re.findall(r"(?<!`)`(?:mpiexec -n \d+ )?qmcbench ([^`]+)`", text_of(page))
    commands += (
        [line.split("qmcbench ", 1)[1] for line in INDENTED if "qmcbench " in line] if page == "README" else []
    )
    for line in commands:
        parses(line)


def test_defaults_are_the_defaults() -> None:
    """The block that shows all keys has the defaults of the code, and no key is missing or too many.

    If this fails after a default has changed: the block "All keys" of the page `train` is to be changed too.
    """
    code = next(block.code for block in blocks("train") if block.code.startswith("# defaults.toml"))
    assert parse(tomllib.loads(code)) == Config(Model(L=6, J2=0.5))
    everything = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", code, flags=re.MULTILINE))
    parse(everything)
    sections = {section.name: getattr(Config(Model(6, 0.5)), section.name) for section in fields(Config)}
    assert set(everything) == set(sections)
    for name, section in sections.items():
        shown, given = everything[name], tomllib.loads(code)[name]
        assert set(shown) == {field.name for field in fields(section)}, name
        absent = {field.name for field in fields(section) if getattr(section, field.name) is None}
        assert set(shown) - set(given) == absent, name


def test_the_recipe_is_the_recipe() -> None:
    """The page `train` names every value that recipe 2 fills in, as the code has it."""
    text = " ".join(text_of("train").split())
    for L in (4, 6, 8):
        for values in recipe(L, 0.5).values():
            for name, value in values.items():
                assert f"`{name} = {json.dumps(value)}`" in text


def test_pages_name_each_other_rightly() -> None:
    """Links of a page to files of the checkout lead somewhere, and the README lists every page with its subject."""
    for page in ["README", *PAGES]:
        here = README.parent if page == "README" else README.parent / "qmcbench" / "guide"
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text_of(page)):
            assert (here / target).exists(), f"{page}: {target}"
    for name, about in PAGES.items():
        assert f"| [{name}](qmcbench/guide/{name}.md) | {about} |" in text_of("README"), name
