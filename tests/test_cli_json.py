"""``--json``: wherever a command prints a result, standard output is one document of strict JSON and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plain
import pytest
from helpers import benches, command, energies, stores
from test_cli import commands
from typer.testing import CliRunner

import qmcbench.bench.parts as parts
import qmcbench.bench.scaling as scaling
from qmcbench.cli.main import app
from qmcbench.jobs import doctor, reproduce, zero_shot
from qmcbench.reference import verify
from qmcbench.store import jsonl
from qmcbench.store.records import Run
from qmcbench.training import CHECKPOINT, LOG, read_log

GROUPS = ("", "reference", "scale")
"""Names that are no command by themselves."""
NO_RESULT = ("guide",)
"""Commands whose output is a text to read."""


def printed(*arguments: object) -> Any:
    """What ``qmcbench ARGUMENTS --json`` prints, which holds neither NaN nor Infinity."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code in (0, 1), done.output
    assert not isinstance(done.exception, Exception), done.exception

    def refuse(name: str) -> float:
        raise AssertionError(name)

    return json.loads(done.stdout, parse_constant=refuse)


def test_every_command_with_a_result_has_the_option() -> None:
    """A new command gets it too, or stands among those without a result."""
    without = []
    for words in commands():
        name = " ".join(words)
        if name not in (*GROUPS, *NO_RESULT) and "--json" not in CliRunner().invoke(app, [*words, "--help"]).stdout:
            without.append(name)
    assert not without


def test_training(tmp_path: Path) -> None:
    """Steps done and asked for, the checkpoint, and the log's last line: energy with error, unknown numbers null."""
    config = command.written(tmp_path, 2)
    found = printed("train", config, "--out", tmp_path / "run", "--quiet")
    (last,) = read_log(tmp_path / "run" / LOG)[1:]
    assert (found["steps"], found["asked"]) == (2, 2)
    assert found["checkpoint"] == str(tmp_path / "run" / CHECKPOINT)
    assert (found["last_step"]["energy"], found["last_step"]["error"]) == (last.energy, last.error)
    assert found["last_step"]["r_hat"] is None
    config.write_text(command.RUN.format(steps=0))
    assert "last_step" not in printed("train", config, "--out", tmp_path / "none", "--quiet")


def test_imported_network(tmp_path: Path) -> None:
    """What was recognised, and where it comes from."""
    np.savez(tmp_path / "w.npz", **{n: p.detach().numpy() for n, p in plain.lively("small").named_parameters()})
    found = printed("import-weights", tmp_path / "w.npz", "--out", tmp_path / "x.safetensors", "--L", 4, "--j2", 0.4)
    assert (found["network"], found["parameters"], found["L"], found["J2"]) == ("small", 3531, 4, 0.4)
    assert found["checkpoint"] == str(tmp_path / "x.safetensors")
    assert found["imported"]["file"] == "w.npz"


def test_published_energies() -> None:
    """The best one and all others of a lattice and coupling; None where there is no best."""
    found = printed("reference", "show", "--L", 6, "--j2", 0.5)
    assert found["here"]["energy"] == pytest.approx(-0.5038096539, abs=1e-9)
    assert found["best"]["kind"] == "exact"
    assert len(found["published"]) > 5
    assert found["best"] in found["published"]
    assert printed("reference", "show", "--L", 8, "--j2", 0.48)["best"] is None


def runs() -> Iterator[Any]:
    """Command lines that measure, the module and the function that would, and what it is to return."""
    strong = stores.store(*(stores.strong_run(3531, ranks) for ranks in (1, 2)))
    weak = stores.store(*(stores.weak_run(10, ranks) for ranks in (1, 2)))
    yield pytest.param(["reproduce"], reproduce, "reproduce", energies.reproduction(), id="reproduce")
    yield pytest.param(["zero-shot", "x"], zero_shot, "zero_shot", energies.zero_shot(), id="zero-shot")
    yield pytest.param(["scale", "strong"], scaling, "strong", strong, id="strong")
    yield pytest.param(["scale", "weak"], scaling, "weak", weak, id="weak")


@pytest.mark.parametrize(("arguments", "module", "name", "run"), list(runs()))
def test_measurements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], module: Any, name: str, run: Run
) -> None:
    """The whole run as in its file, what each chapter concludes, and where the report is."""

    def measured(*_: object, **__: object) -> Run:
        jsonl.save(tmp_path, name, run)
        return run

    monkeypatch.setattr(module, name, measured)
    found = printed(*arguments, "--out", tmp_path)
    head, *rest = map(json.loads, jsonl.path_of(tmp_path, name).read_text().splitlines())
    assert found["runs"] == [{**head, "records": rest}]
    assert found["report"] == str(tmp_path / "index.html")
    assert all({"title", "headline", "passed", "failures"} <= chapter.keys() for chapter in found["chapters"])
    assert found["chapters"]


def test_projection_and_report(tmp_path: Path) -> None:
    """`scale project` computes, `report` only reads: its document has no runs."""
    found = printed("scale", "project", "--out", tmp_path)
    assert [run["job"] for run in found["runs"]] == ["scale project"]
    again = printed("report", tmp_path, "--out", tmp_path)
    assert again["runs"] == []
    # The book has the command's chapter among a front page, the paper, the leaderboard, and where numbers come from.
    assert all(chapter in again["chapters"][2:-1] for chapter in found["chapters"])
    assert len(again["chapters"]) == len(found["chapters"]) + 4


def test_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part that was measured is a run of the document."""
    for name in ("limits", "hotspots"):
        records = getattr(benches, name)()
        monkeypatch.setitem(parts.PARTS, name, parts.Part(name, lambda request, records=records: tuple(records)))
    found = printed("bench", "limits", "hotspots", "--out", tmp_path, "--quiet")
    assert [run["job"] for run in found["runs"]] == ["bench limits", "bench hotspots"]
    assert len(found["chapters"]) >= 1


def test_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `doctor` and `reference verify` find, one object each."""
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Finding("MPI", doctor.FAILED, "none", "install it")]))
    assert [each["status"] for each in printed("doctor")] == [doctor.FAILED]
    result = verify.Verification("energies", "by hand", 3)
    monkeypatch.setattr(verify, "verify", lambda progress: [result])
    assert [each["checked"] for each in printed("reference", "verify", "--quiet")] == [3]
