"""The command line: a user's mistake is one sentence on standard error and a non-zero exit, never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import typer
from helpers.command import called, one_sentence

from qmcbench.cli.main import app
from qmcbench.guide import PAGES, read

HEAVY = ("torch", "numpy", "scipy", "quspin", "numba", "matplotlib", "mpi4py", "jsonschema")
"""Packages whose import takes a noticeable time."""
RUN = (
    "[model]\nL = 4\nJ2 = 0.5\n[sampling]\nchains = 8\nwarm_up = 1\n"
    "[optimizer]\nsteps = 1\nstarts = 1\n[run]\nthreads = 1\n"
)


def alone(
    *arguments: object, without: str = "", environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, optionally with one package missing."""
    block = f"sys.modules[{without!r}] = None;" if without else ""
    code = f"import sys; {block} sys.argv[0] = 'qmcbench'; from qmcbench.__main__ import main; main()"
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(environment))


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """The one-sentence contract, and that the sentence names what it is about."""
    one_sentence(result, *words)
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(("L = 4", "L = 5"), ("L = 5 is odd", "6"), id="odd"),
        pytest.param(("L = 4", "L = 38"), ("38", "36"), id="too large"),
        pytest.param(("J2 = 0.5", "J2 = 'half'"), ("model.J2", "'half' is not a number"), id="no number"),
        pytest.param(("J2 = 0.5", "J2 = nan"), ("model.J2", "finite"), id="nan"),
        pytest.param(("J2 = 0.5\n", ""), ("model.J2 is missing",), id="missing"),
        pytest.param(("chains = 8", "chians = 8"), ("unknown key sampling.'chians'", "chains"), id="misspelt key"),
        pytest.param(("chains = 8", "chains = 1"), ("sampling.chains = 1", "[2,"), id="too small"),
        pytest.param(("[run]", "[rnu]"), ("unknown key 'rnu'",), id="misspelt section"),
        pytest.param(("threads = 1", "device = 'tpu'"), ("run.device = 'tpu'", "cpu"), id="no device"),
        pytest.param(("[model]", "[model"), ("not valid TOML",), id="no TOML"),
    ],
)
def test_wrong_configuration(tmp_path: Path, change: tuple[str, str], words: tuple[str, ...]) -> None:
    """Each wrong key or value is refused before anything is written."""
    toml = tmp_path / "run.toml"
    toml.write_text(RUN.replace(*change))
    refused(called("train", toml, "--out", tmp_path / "out", "-q"), *words)
    assert not (tmp_path / "out").exists()


def test_missing_configuration(tmp_path: Path) -> None:
    """A file that is not there is named; in a process of its own, as a user starts it."""
    refused(alone("train", tmp_path / "no.toml", "--out", tmp_path / "out"), "no.toml", "No such file")


def test_unwritable_output(tmp_path: Path) -> None:
    """An output folder that cannot be made is refused."""
    (tmp_path / "file").write_text("")
    (tmp_path / "run.toml").write_text(RUN)
    refused(called("train", tmp_path / "run.toml", "--out", tmp_path / "file" / "x"), "Cannot write", "--out")


def test_damaged_and_foreign_checkpoints(tmp_path: Path) -> None:
    """A truncated checkpoint and one of another format are refused and left as they are."""
    toml, out = tmp_path / "run.toml", tmp_path / "out"
    toml.write_text(RUN)
    assert called("train", toml, "--out", out, "-q").returncode == 0
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    for content, word in ((whole[: len(whole) // 2], "damaged"), (b"nonsense", "damaged")):
        path.write_bytes(content)
        refused(called("train", toml, "--out", out, "-q"), "checkpoint.safetensors", word)
        assert path.read_bytes() == content
    path.write_bytes(whole.replace(b"qmcbench-checkpoint-2", b"qmcbench-checkpoint-9"))
    refused(called("train", toml, "--out", out, "-q"), "qmcbench-checkpoint-9", "qmcbench-checkpoint-2")


def test_missing_quspin_is_named() -> None:
    """Without QuSpin a new diagonalization says what to install."""
    refused(alone("ed", "--L", 4, "--j2", 0.37, without="quspin"), "quspin", "pip install")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["ed", "--L", "4", "--j2", "half"], ("--j2", "half", "see `qmcbench ed --help`"), id="no number"
        ),
        pytest.param(["ed", "--L", "4"], ("--j2", "see `qmcbench ed --help`"), id="missing option"),
        pytest.param(["ed", "--L", "4", "--j2", "nan"], ("nan",), id="nan"),
        pytest.param(
            ["ed", "--L", "4", "--j2", "0.5", "--work", "x"],
            ("--work", "see `qmcbench ed --help`"),
            id="useless option",
        ),
        pytest.param(["train", "run.toml", "--ouut", "x"], ("--ouut", "see `qmcbench train --help`"), id="misspelt"),
        pytest.param(
            ["reference", "list", "--l", "4"], ("--l", "see `qmcbench reference list --help`"), id="of a group"
        ),
        pytest.param(["trian"], ("trian", "ee `qmcbench --help`"), id="misspelt command"),
        pytest.param(["guide", "trian"], ("'trian'", "train"), id="misspelt page"),
    ],
)
def test_wrong_command_line(arguments: list[str], words: tuple[str, ...]) -> None:
    """Options that are missing, misspelt or no numbers: the sentence names the help of the command."""
    refused(called(*arguments), *words)


@pytest.mark.parametrize("group", [[], ["reference"], ["scale"]], ids=" ".join)
def test_no_command_shows_the_help(group: list[str]) -> None:
    """Whoever types the name alone wants to know what there is."""
    bare, asked = called(*group), called(*group, "--help")
    assert bare.returncode == 0
    assert bare.stdout == asked.stdout
    assert "Usage: qmcbench" in bare.stdout


def test_exact_diagonalization_of_other_sizes_is_refused() -> None:
    """Odd and too large lattices."""
    refused(called("ed", "--L", 5, "--j2", 0.5), "5")
    refused(called("ed", "--L", 8, "--j2", 0.5), "8")


def test_six_by_six_is_stored_and_its_cost_is_known() -> None:
    """Stored couplings answer at once; others say what computing them takes."""
    result = called("ed", "--L", 6, "--j2", 0.5)
    assert result.returncode == 0
    assert "-0.50380965" in result.stdout
    refused(called("ed", "--L", 6, "--j2", 0.51), "6x6 at J2 = 0.51 is not stored", "--recompute")


def test_exact_diagonalization_as_json() -> None:
    """Machine-readable output carries every digit."""
    found = json.loads(called("ed", "--L", 4, "--j2", 0.5, "--json").stdout)
    assert abs(found["energy"] + 0.5286202094621775) < 1e-12
    assert found["provenance"]["versions"]["quspin"]


def test_unknown_profile(tmp_path: Path) -> None:
    """The shipped profiles are named."""
    refused(called("reproduce", "--profile", "slow", "--out", tmp_path), "'slow'", "quick")


def commands(command: object = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the command line, groups included, as the words that name it."""
    command = typer.main.get_command(app) if command is None else command
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


HELP = """
import contextlib, io, json, sys
before, found = set(sys.modules), []
from qmcbench.__main__ import main
for words in json.loads(sys.argv[1]):
    sys.argv, out = ["qmcbench", *words, "--help"], io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main()
    found.append((out.getvalue(), sorted(set(sys.modules) - before)))
    before |= set(sys.modules)
print(json.dumps(found))
"""


@cache
def helped() -> dict[tuple[str, ...], tuple[str, list[str]]]:
    """What each command's --help prints, and what it imports on top of those before it, in one process for all."""
    words = list(commands())
    run = [sys.executable, "-P", "-c", HELP, json.dumps(words)]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout)
    return dict(zip(words, found, strict=True))


@pytest.mark.parametrize("command", list(commands()), ids=lambda words: " ".join(("qmcbench", *words)))
def test_help_has_an_example_and_is_quick(command: tuple[str, ...]) -> None:
    """Every --help shows how the command is called, and imports nothing heavy: that would take seconds."""
    shown, imported = helped()[command]
    assert " ".join(("Usage: qmcbench", *command)) in shown
    assert "xample" in shown or "Begin with" in shown
    assert not set(HEAVY) & set(imported)


def test_the_package_and_its_version_are_quick() -> None:
    """``import qmcbench`` and ``--version`` import nothing heavy; every name that the package offers is there."""
    code = (
        f"import sys, qmcbench\nassert not set({HEAVY}) & set(sys.modules)\n"
        "from qmcbench.cli.main import app\ntry: app(['--version'])\nexcept SystemExit: pass\n"
        f"assert not set({HEAVY}) & set(sys.modules)\n"
        "[getattr(qmcbench, name) for name in qmcbench.__all__]\nassert 'torch' in sys.modules\n"
        "assert set(qmcbench.__all__) <= set(dir(qmcbench))\nqmcbench.nothing"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.startswith("qmcbench ")
    assert result.stderr.endswith("AttributeError: module 'qmcbench' has no attribute 'nothing'\n"), result.stderr


def test_completion() -> None:
    """The shell's completion knows commands, options and the guide's pages."""
    for words, expected in (
        ("qmcbench tra", "train transfer"),
        ("qmcbench train --res", "--restart"),
        ("qmcbench guide cl", "cluster"),
    ):
        asked = {"_QMCBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        assert alone(environment=os.environ | asked).stdout.split() == expected.split()


def test_guide_lists_its_pages_and_shows_each() -> None:
    """Outside a terminal a page is its Markdown, which a forge shows as well."""
    listed = called("guide").stdout
    for name in PAGES:
        assert f"{name} " in listed
        assert called("guide", name).stdout == read(name)


def test_ranks_are_refused_where_they_share_nothing() -> None:
    """Under a launcher only the commands that ranks share go on; the sentence needs no MPI."""
    refused(
        alone("ed", "--L", 4, "--j2", 0.5, environment=os.environ | {"PMI_SIZE": "2"}, without="mpi4py"), "mpi4py"
    )
