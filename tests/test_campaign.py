"""Campaigns: parts are commands, what is finished is kept, what fails stops nothing else, and all is one book."""

import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers.benches import origin
from helpers.command import called, one_sentence, parses

from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.jobs import campaign
from qmcbench.shipped import profile_names
from qmcbench.store import jsonl
from qmcbench.store.bench import Rate
from qmcbench.store.records import Run

PLAN = """
[[parts]]
name = "first"
minutes = 1
command = "bench limits"
[[parts]]
name = "second"
folder = "shared"
minutes = 2
command = "scale {command}"
[[parts]]
name = "third"
folder = "shared"
minutes = 3
command = "scale project --processes '{{out}}'"
"""


def written(folder: Path, text: str = PLAN, command: str = "weak") -> str:
    """The plan in a file."""
    (folder / "plan.toml").write_text(text.format(command=command))
    return str(folder / "plan.toml")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run: ``bench`` leaves a record, ``scale strong`` cannot be done."""
    commands: list[list[str]] = []

    def process(words: Sequence[str]) -> int:
        commands.append([*words])
        if words[0] == "bench":
            run = Run(
                job="bench limits", provenance=origin("qmcbench bench"), records=(Rate(value=1.0, operation="sgemm"),)
            )
            jsonl.save(Path(words[words.index("--out") + 1]), "limits", run)
            return 1
        return 2 if words[1] == "strong" else 0

    monkeypatch.setattr(campaign, "_process", process)
    return commands


def test_what_is_finished_is_kept(tmp_path: Path, done: list[list[str]]) -> None:
    """Every part is run once, in its folder; one whose command has changed is run again; the book is of all."""
    out = tmp_path / "out"
    for command, ran in (("weak", ["bench", "scale", "scale"]), ("weak", []), ("weak --L 4", ["scale"])):
        done.clear()
        planned = campaign.load(written(tmp_path, command=command))
        assert planned is not None
        assert planned.minutes == 6
        titles = [chapter.part for chapter in campaign.run(planned, out, quiet=True)]
        assert [words[0] for words in done] == ran
        assert titles == ["", "The paper", "Speed", "Leaderboard", "Provenance"]
        if len(ran) == 3:
            assert [words[-2] for words in done] == [str(out / name) for name in ("first", "shared", "shared")]
            assert done[2][1:4] == ["project", "--processes", str(out)]
    assert (out / "index.html").exists()


def test_a_part_that_fails_is_named(tmp_path: Path, done: list[list[str]]) -> None:
    """The others are run, the book is there, and the next call tries it again."""
    plan, out = written(tmp_path, command="strong"), tmp_path / "out"
    one_sentence(called("reproduce", "--profile", plan, "--out", out, "-q"), "Not measured: second;")
    assert [words[0] for words in done] == ["bench", "scale", "scale"]
    assert (out / "index.html").exists()
    done.clear()
    one_sentence(called("reproduce", "--profile", plan, "--out", out, "-q"), "Not measured: second;")
    assert [words[1] for words in done] == ["strong"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("bench limits", "export x"), "part 'first': its command is not one of gate, reproduce"),
        (("bench limits", "bench --out x"), "part 'first': its command has --out"),
        (('"first"', '"second"'), "part 'second': another part has this name"),
        (('"first"', '"a/b"'), "name and folder have small letters"),
        (("minutes = 1", "minute = 1"), "minute"),
        ((PLAN, "parts = []"), "at least one"),
    ],
    ids=["command", "out", "twice", "folder", "key", "nothing"],
)
def test_mistakes(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    """Each is refused in a sentence before anything is run."""
    with pytest.raises(UserError, match=words):
        campaign.load(written(tmp_path, PLAN.replace(*change)))


def test_options_of_runs_are_refused(tmp_path: Path) -> None:
    """A campaign's commands have their own."""
    result = called("reproduce", "--profile", written(tmp_path), "--out", tmp_path / "out", "--seed", "3")
    one_sentence(result, "--seed, --threads and --restart are for profiles of runs")


def test_shipped_campaigns() -> None:
    """Every command of them parses, and the paper's takes three hours at most; other profiles are none."""
    for name in profile_names("campaign"):
        planned = campaign.load(name)
        assert planned is not None
        assert planned.minutes <= 180 or name == "leaderboard"
        for part in planned.parts:
            parses(f"{part.command} --out x")
    assert campaign.load("quick") is None
    assert campaign.load("nothing") is None


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A shell program in the place of Python."""

    def put(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return put


def test_a_signal_is_handed_on(tmp_path: Path, program: Callable[[str], None]) -> None:
    """The command saves what it has and ends; then the campaign says that the same command goes on."""
    program(f"trap 'touch {tmp_path}/saved; exit 130' TERM\ntouch {tmp_path}/ready\nwhile :; do sleep 0.05; done")

    def stop() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(Interrupted, match="The same command goes on"):
        campaign._process(["bench"])
    assert (tmp_path / "saved").exists()


def test_the_status_of_a_command(program: Callable[[str], None]) -> None:
    """It is that of qmcbench, called with the words."""
    program('[ "$*" = "-P -m qmcbench bench --quick" ] && exit 7')
    assert campaign._process(["bench", "--quick"]) == 7
