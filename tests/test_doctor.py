"""``qmcbench doctor``: what works is used and shown, what does not is said with what to do, and is exit status 1."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from helpers.stores import ORIGIN
from typer.testing import CliRunner

from qmcbench.cli.main import app
from qmcbench.errors import UserError
from qmcbench.jobs import doctor
from qmcbench.jobs.doctor import Finding
from qmcbench.ranks import launch
from qmcbench.structure import unstructure

RANKS = ["MPI", "mpiexec", "ScaLAPACK", "rank's threads", "pdpotrf"]


def test_this_installation_works() -> None:
    """The real thing: QuSpin's energy, two ranks that see each other, ScaLAPACK's Cholesky against numpy's."""
    result = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    lines = {line[11:25].strip(): line for line in result.stdout.splitlines()}
    assert list(lines) == ["Python", "torch", "QuSpin", "processor", "memory", "GPU", *RANKS]
    assert all(line.startswith("ok ") for name, line in lines.items() if name != "GPU"), result.stdout
    assert result.exit_code == 0
    assert "E/N = -0.528620209" in lines["QuSpin"]
    assert "2 ranks see each other" in lines["mpiexec"]
    assert "differs from numpy's Cholesky by" in lines["pdpotrf"]


def healthy(ranks: int | None, job: dict[str, Any], timeout: float) -> dict[str, Any]:
    """What the jobs answer where all is well."""
    blas = [{"name": "openblas", "version": "1.0", "threads": 1}, {"name": "openmp", "version": None, "threads": 1}]
    common = {
        "ranks": ranks or 1,
        "oversubscribed": False,
        "libraries": {"mpi": None, "scalapack": None, "blas": blas},
        "provenance": unstructure(replace(ORIGIN, machine=replace(ORIGIN.machine, torch_threads=1))),
    }
    if job["kind"] == "cholesky":
        return common | {"size": 200, "grid": [1, 2], "positive": True, "difference": 1e-15}
    return common | {"mpi": {"found": "an MPI"}, "scalapack": {"found": "a ScaLAPACK"}}


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """Makes findings about ranks from ``healthy`` answers, changed by ``change(ranks, kind, answer)``."""

    def make(change: Callable[[int | None, str, dict[str, Any]], None] | None = None) -> dict[str, Finding]:
        def run(ranks: int | None, job: dict[str, Any], timeout: float) -> dict[str, Any]:
            answer = healthy(ranks, job, timeout)
            if change is not None:
                change(ranks, job["kind"], answer)
            return answer

        monkeypatch.setattr(launch, "run", run)
        return {finding.name: finding for finding in doctor.ranks_work()}

    return make


def statuses(findings: dict[str, Finding]) -> list[str]:
    """In the order of ``RANKS``."""
    assert list(findings) == RANKS
    assert all(finding.advice for finding in findings.values() if finding.status != doctor.OK)
    return [finding.status for finding in findings.values()]


def test_healthy_answers_are_ok(examined: Callable[..., dict[str, Finding]]) -> None:
    """So that each of the tests below fails by its one change."""
    assert statuses(examined()) == ["ok"] * 5


def test_without_mpi_nothing_has_failed(
    examined: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is optional: not there, with the command that installs it, and exit status 0."""
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "mpi4py" else name)
    findings = examined(lambda *_: pytest.fail("no job can be started"))
    assert statuses(findings) == ["not there"] * 5
    assert all('pip install "qmcbench[mpi]"' in finding.advice for finding in findings.values())


def test_without_pyscalapack_ranks_still_work(
    examined: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the solvers need no more than MPI."""
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "PyScalapack" else name)
    assert statuses(examined()) == ["ok", "ok", "not there", "ok", "not there"]


def test_missing_launcher(examined: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch) -> None:
    """With mpi4py there, it is a failure, and what needs it cannot be tried."""

    def missing() -> None:
        raise UserError("there is no mpiexec")

    monkeypatch.setattr(launch, "mpiexec", missing)
    findings = examined()
    assert statuses(findings) == ["ok", "FAILED", "ok", "ok", "FAILED"]
    assert findings["mpiexec"].found == "there is no mpiexec"
    assert findings["pdpotrf"].found == "needs mpiexec"


def test_missing_scalapack(examined: Callable[..., dict[str, Finding]]) -> None:
    """PyScalapack is there, but finds no library."""

    def change(ranks: int | None, kind: str, answer: dict[str, Any]) -> None:
        answer["scalapack"] = {"problem": "No ScaLAPACK was found."}

    findings = examined(change)
    assert statuses(findings) == ["ok", "ok", "FAILED", "ok", "FAILED"]
    assert findings["ScaLAPACK"].found == "No ScaLAPACK was found."


def test_launcher_of_another_library(examined: Callable[..., dict[str, Finding]]) -> None:
    """Two processes that each think they are alone, or that the job refused."""

    def alone(ranks: int | None, kind: str, answer: dict[str, Any]) -> None:
        answer["ranks"] = 1

    def refused(ranks: int | None, kind: str, answer: dict[str, Any]) -> None:
        if ranks == 2:
            raise launch.JobError("the MPI library of mpi4py sees 1")

    for change, words in ((alone, "2 processes started by it do not see each other"), (refused, "sees 1")):
        findings = examined(change)
        assert statuses(findings) == ["ok", "FAILED", "ok", "ok", "FAILED"]
        assert words in findings["mpiexec"].found


@pytest.mark.parametrize("answer", [{"difference": 1e-3}, {"positive": False}, {"difference": None}], ids=str)
def test_wrong_cholesky(examined: Callable[..., dict[str, Finding]], answer: dict[str, Any]) -> None:
    """A library that computes something else is not to be used."""

    def change(ranks: int | None, kind: str, found: dict[str, Any]) -> None:
        if kind == "cholesky":
            found.update(answer)

    assert statuses(examined(change)) == ["ok"] * 4 + ["FAILED"]


def test_answer_that_is_none(examined: Callable[..., dict[str, Finding]]) -> None:
    """Ranks of another version, say: a sentence for each part."""
    findings = examined(lambda ranks, kind, found: found.pop("libraries"))
    assert statuses(findings) == ["FAILED"] * 5
    assert findings["MPI"].found == "The answer to 'find': the key libraries is missing."


def test_threads_that_were_not_asked_for(examined: Callable[..., dict[str, Finding]]) -> None:
    """Ranks whose BLAS takes all cores get in each other's way."""
    greedy = [{"name": "openblas", "version": "1.0", "threads": 8}]
    findings = examined(lambda ranks, kind, found: found["libraries"].update(blas=greedy))
    assert statuses(findings) == ["ok", "ok", "ok", "FAILED", "ok"]
    assert "openblas 1.0: 8" in findings["rank's threads"].found


def test_broken_mpi4py(examined: Callable[..., dict[str, Finding]]) -> None:
    """Even one that takes its process down is one line for each part."""

    def crash(ranks: int | None, kind: str, answer: dict[str, Any]) -> None:
        raise launch.JobError("A process failed: exit status -11")

    findings = examined(crash)
    assert statuses(findings) == ["FAILED"] * 5
    assert findings["MPI"].found == "A process failed: exit status -11"


def test_failure_is_exit_status_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to do; as JSON, the same."""
    broken = Finding("QuSpin", doctor.FAILED, "ImportError: no", "install quspin again")
    for findings, status in (([Finding("GPU", doctor.ABSENT, "none", "buy one")], 0), ([broken], 1)):
        monkeypatch.setattr(doctor, "examine", lambda findings=findings: iter(findings))
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == status
    assert result.stdout == "FAILED     QuSpin          ImportError: no  -> install quspin again\n"
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {"name": "QuSpin", "status": "FAILED", "found": "ImportError: no", "advice": "install quspin again"}
    ]


def test_quspin_and_torch_that_are_wrong_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result a little off fails, and so does whatever a broken library raises."""
    wrong = type("Found", (), {"energy": -0.5286})
    with monkeypatch.context() as patch:
        patch.setattr(doctor.reference, "diagonalize", lambda L, J2: wrong, raising=False)
        finding = doctor._guarded("QuSpin", doctor.quspin_works, "advice")
    assert (finding.status, finding.advice) == ("FAILED", "advice")
    assert "E/N = -0.528600000, published -0.528620209" in finding.found
    monkeypatch.setattr(doctor.torch, "from_numpy", lambda array: 1 / 0)
    finding = doctor._guarded("torch", doctor.torch_works, "advice")
    assert (finding.status, finding.found) == ("FAILED", "ZeroDivisionError: division by zero")


def test_help_has_an_example() -> None:
    """How the command is called."""
    assert "Example: qmcbench doctor" in CliRunner().invoke(app, ["doctor", "--help"]).stdout
