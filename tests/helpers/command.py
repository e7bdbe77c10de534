"""The command line in this process, and in a process of its own (which takes two seconds to load torch)."""

import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import typer

from qmcbench import __main__
from qmcbench.cli.main import app
from qmcbench.ranks import launch

RUN = """
[model]
L = 4
J2 = 0.5
[sampling]
chains = 8
warm_up = 1
[optimizer]
steps = {steps}
starts = 1
[run]
threads = 1
checkpoint_every = 3
"""


def written(folder: Path, steps: int) -> Path:
    """A configuration of a small run."""
    path = folder / f"run-{steps}.toml"
    path.write_text(RUN.format(steps=steps))
    return path


def shell(line: str, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; ``qmcbench`` in it is this Python's, ``"$1"`` and so on the arguments."""
    script = f'qmcbench() {{ "{sys.executable}" -P -m qmcbench "$@"; }}\n{line}'
    command = ["bash", "-c", script, "bash", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env=launch.environment(1)
    )


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``qmcbench`` with its entry point, streams and exit status, but in this process; warnings are errors."""
    words, out, err = [*map(str, arguments)], StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["qmcbench", *words])
        with pytest.raises(SystemExit) as stop:
            __main__.main()
    return subprocess.CompletedProcess(words, stop.value.code, out.getvalue(), err.getvalue())


def one_sentence(result: subprocess.CompletedProcess[str], *words: str, status: int = 2) -> None:
    """The contract of a mistake: its exit status, one line, no traceback, the words in it."""
    assert result.returncode == status, result
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def parses(line: str) -> None:
    """Whether a command and its options exist; one that is given whole, with what it requires, must be accepted."""
    command, words = typer.main.get_command(app), shlex.split(line)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, line
        command, words = command.commands[words[0]], words[1:]
    names = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = [word for word in words if word.startswith("--")]
    assert set(used) <= names | {"--help"}, line
    if "--out" in used and "[" not in line:
        command.make_context("qmcbench", words)
