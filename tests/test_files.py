"""Files and folders: nothing half written, no link followed, one writer a folder; progress that nothing can end."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qmcbench import files
from qmcbench.errors import UserError
from qmcbench.files import LOCK, catch_signals, dumps, make_folder, write_atomically, writing
from qmcbench.progress import Bar


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def test_written_whole_and_nothing_left_behind(tmp_path: Path) -> None:
    """The content is there, the temporary file is not, also after a second write."""
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
        assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO])
def test_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A full disk, a limit, a broken disk: one sentence with the cause, the old file whole, nothing beside it."""
    write_atomically(tmp_path / "x", b"old")

    def broken(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(UserError, match=os.strerror(number)):
        write_atomically(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Links under the old predictable names keep their targets; one in the file's own place is replaced."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("x.tmp", ".writable", "x"):
        (out / name).symlink_to(target)
    with writing(out):
        write_atomically(out / "x", b"new")
    assert target.read_bytes() == b"precious"
    assert not (out / "x").is_symlink()
    assert (out / "x").read_bytes() == b"new"


def test_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    """Its target is neither emptied nor written to."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(target)
    with pytest.raises(UserError, match="Cannot write to the folder"), writing(tmp_path / "out"):
        pass
    assert target.read_bytes() == b"precious"


def test_new_file_replaces_none(tmp_path: Path) -> None:
    """With ``replace=False`` the file that is there stays, even if it has come at the last moment."""
    (tmp_path / "x").write_bytes(b"days of work")
    with pytest.raises(UserError, match="exists already"):
        write_atomically(tmp_path / "x", b"new", replace=False)
    assert (tmp_path / "x").read_bytes() == b"days of work"
    assert names(tmp_path) == ["x"]
    write_atomically(tmp_path / "y", b"new", replace=False)
    assert (tmp_path / "y").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\0b"], ids=["long", "deep", "null-byte"])
def test_impossible_names_are_sentences(tmp_path: Path, name: str) -> None:
    """Neither the folder nor a file of such a name can be made."""
    with pytest.raises(UserError, match="Cannot write"):
        make_folder(tmp_path / name)
    with pytest.raises(UserError, match="Cannot write"):
        write_atomically(tmp_path / name, b"")
    assert names(tmp_path) == []


def test_long_name_that_is_possible_can_be_written(tmp_path: Path) -> None:
    """255 bytes, although the temporary file's name has a suffix."""
    write_atomically(tmp_path / ("x" * 255), b"y")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"y"


def test_json_of_a_name_that_is_not_utf_8() -> None:
    """Such bytes are lone surrogates in Python: the text can be encoded and gives them back."""
    value = {"command": os.fsdecode(b"qmcbench --out caf\xe9")}
    assert json.loads(dumps(value).encode()) == value
    assert dumps([float("nan"), {"a": float("-inf")}]) == '[null, {"a": null}]'


HOLD = """
import sys, time
from pathlib import Path
from qmcbench import files
sys.argv = ["qmcbench", "train", "run.toml"]
files.make_folder(Path({out!r}))
print("held", flush=True)
time.sleep(60)
"""


def holder(out: Path) -> subprocess.Popen[str]:
    """A process that holds ``out``."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD.format(out=str(out))], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_folder_has_one_writer_that_is_named_and_its_death_frees_it(tmp_path: Path) -> None:
    """The second is told process and command; after SIGKILL of the first the folder is free, and clean afterwards."""
    out = tmp_path / "out"
    with holder(out) as first:
        for _ in range(2):
            with pytest.raises(UserError, match=rf"in use: process {first.pid} .*train run\.toml"), writing(out):
                pass
        first.kill()
        first.wait()
    with writing(out), writing(out / ".." / "out"):
        assert names(out) == [LOCK], "a process may take its own folder again"
    assert names(out) == []


def test_process_that_ends_leaves_no_lock(tmp_path: Path) -> None:
    """A command keeps its folder to its end and then removes the lock's file."""
    out = tmp_path / "out"
    code = f"from pathlib import Path; from qmcbench import files; files.make_folder(Path({str(out)!r}))"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
    assert names(out) == []


@pytest.mark.parametrize("number", files.STOPS, ids=lambda number: number.name)
def test_signals_are_collected_and_a_second_one_interrupts(number: signal.Signals) -> None:
    """The first of SIGINT, SIGTERM and SIGHUP is noted; the handlers of before are back afterwards."""
    before = signal.getsignal(number)
    with catch_signals() as caught:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert caught == [number]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_ignored_signal_stays_ignored() -> None:
    """As nohup sets it: closing the terminal does not stop the run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert caught == []
    finally:
        signal.signal(signal.SIGHUP, before)


class Broken(io.StringIO):
    """A stream whose other end is gone."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("terminal", [False, True], ids=["file", "terminal"])
def test_progress_never_ends_a_run(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that breaks from the start, or is none at all, or is closed."""
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(terminal), None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        with Bar("work", 3) as bar:
            for done in range(1, 4):
                bar.update(done)
        assert bar.done == 3


def test_progress_is_shown_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A plain line for a file, unless it is to be quiet."""
    for quiet in (False, True):
        with Bar("work", 2, quiet=quiet) as bar:
            bar.update(1)
            bar.update(2, "done")
    assert capsys.readouterr().err == "work: 2/2 done\n"
