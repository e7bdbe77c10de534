"""The command line: a user's mistake is one sentence on standard error and a non-zero exit, never a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "[model]\nL = 4\nJ2 = 0.5\n[sampling]\nchains = 8\nwarm_up = 1\n[optimizer]\nsteps = 1\n[run]\nthreads = 1\n"


def qmcbench(*arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, optionally with one package missing."""
    block = f"sys.modules[{without!r}] = None;" if without else ""
    code = f"import sys; {block} sys.argv[0] = 'qmcbench'; from qmcbench.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """The one-sentence contract, and that the sentence names what it is about."""
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("L = 4", "L = 5"), ("L = 5 is odd", "6")),
        (("L = 4", "L = 38"), ("38", "36")),
        (("J2 = 0.5", "J2 = 'half'"), ("model.J2", "'half' is not a number")),
        (("J2 = 0.5", "J2 = nan"), ("model.J2", "finite")),
        (("J2 = 0.5\n", ""), ("model.J2 is missing",)),
        (("chains = 8", "chians = 8"), ("unknown key sampling.'chians'", "chains")),
        (("chains = 8", "chains = 1"), ("sampling.chains = 1", "[2,")),
        (("[run]", "[rnu]"), ("unknown key 'rnu'",)),
        (("threads = 1", "device = 'tpu'"), ("run.device = 'tpu'", "cpu")),
        (("[model]", "[model"), ("not valid TOML",)),
    ],
)
def test_wrong_configuration(tmp_path: Path, change: tuple[str, str], words: tuple[str, ...]) -> None:
    """Each wrong key or value is refused before anything is written."""
    toml = tmp_path / "run.toml"
    toml.write_text(RUN.replace(*change))
    refused(qmcbench("train", toml, "--out", tmp_path / "out", "-q"), *words)
    assert not (tmp_path / "out").exists()


def test_missing_configuration(tmp_path: Path) -> None:
    """A file that is not there is named."""
    refused(qmcbench("train", tmp_path / "no.toml", "--out", tmp_path / "out"), "no.toml", "No such file")


def test_unwritable_output(tmp_path: Path) -> None:
    """An output folder that cannot be made is refused."""
    (tmp_path / "file").write_text("")
    (tmp_path / "run.toml").write_text(RUN)
    refused(qmcbench("train", tmp_path / "run.toml", "--out", tmp_path / "file" / "x"), "Cannot write", "--out")


def test_damaged_and_foreign_checkpoints(tmp_path: Path) -> None:
    """A truncated checkpoint and one of another format are refused and left as they are."""
    toml, out = tmp_path / "run.toml", tmp_path / "out"
    toml.write_text(RUN)
    assert qmcbench("train", toml, "--out", out, "-q").returncode == 0
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    for content, word in ((whole[: len(whole) // 2], "damaged"), (b"nonsense", "damaged")):
        path.write_bytes(content)
        refused(qmcbench("train", toml, "--out", out, "-q"), "checkpoint.safetensors", word)
        assert path.read_bytes() == content
    path.write_bytes(whole.replace(b"qmcbench-checkpoint-1", b"qmcbench-checkpoint-9"))
    refused(qmcbench("train", toml, "--out", out, "-q"), "qmcbench-checkpoint-9", "qmcbench-checkpoint-1")


def test_missing_quspin_is_named() -> None:
    """Without QuSpin a new diagonalization says what to install."""
    refused(qmcbench("ed", "--L", 4, "--j2", 0.37, without="quspin"), "quspin", "pip install")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ed", "--L", "4", "--j2", "half"], ("--j2", "half")),
        (["ed", "--L", "4"], ("--j2",)),
        (["ed", "--L", "4", "--j2", "nan"], ("nan",)),
        (["train", "run.toml", "--ouut", "x"], ("--ouut",)),
        (["trian"], ("trian",)),
        ([], ("ommand",)),
    ],
)
def test_wrong_command_line(arguments: list[str], words: tuple[str, ...]) -> None:
    """Options that are missing, misspelt or no numbers."""
    refused(qmcbench(*arguments), *words)


def test_exact_diagonalization_of_other_sizes_is_refused() -> None:
    """Odd and too large lattices."""
    refused(qmcbench("ed", "--L", 5, "--j2", 0.5), "5")
    refused(qmcbench("ed", "--L", 8, "--j2", 0.5), "8")


def test_six_by_six_is_stored_and_its_cost_is_known() -> None:
    """Stored couplings answer at once; others say what computing them takes."""
    result = qmcbench("ed", "--L", 6, "--j2", 0.5)
    assert result.returncode == 0
    assert "-0.50380965" in result.stdout
    refused(qmcbench("ed", "--L", 6, "--j2", 0.51), "6x6 at J2 = 0.51 is not stored", "--recompute")


def test_exact_diagonalization_as_json() -> None:
    """Machine-readable output carries every digit."""
    found = json.loads(qmcbench("ed", "--L", 4, "--j2", 0.5, "--json").stdout)
    assert abs(found["energy"] + 0.5286202094621775) < 1e-12
    assert found["provenance"]["versions"]["quspin"]


def test_unknown_profile(tmp_path: Path) -> None:
    """The shipped profiles are named."""
    refused(qmcbench("reproduce", "--profile", "slow", "--out", tmp_path), "'slow'", "quick")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["train"],
        ["evaluate"],
        ["zero-shot"],
        ["import-weights"],
        ["ed"],
        ["reproduce"],
        ["reference", "list"],
        ["reference", "show"],
        ["reference", "verify"],
    ],
)
def test_help_has_an_example(command: list[str]) -> None:
    """Every --help shows how the command is called."""
    result = qmcbench(*command, "--help")
    assert result.returncode == 0
    assert "xample" in result.stdout or "qmcbench reproduce" in result.stdout
