"""Jobs on several ranks from outside: what comes back, and how they fail, stop and end."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from qmcbench.bench.scaling import QUICK_STRONG, QUICK_WEAK
from qmcbench.bench.worker import work
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Serial
from qmcbench.structure import unstructure

STRONG, WEAK = (
    {"kind": job.kind, **unstructure(job)} for request in (QUICK_STRONG, QUICK_WEAK) for job in request.jobs()[-1:]
)
"""Jobs of two ranks."""
FAILING = """
import dataclasses, os, signal, sys
from qmcbench.bench import worker

@dataclasses.dataclass
class Fail:
    how: str

def fail(comm, request):
    if comm.rank == 1:
        if request.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("no luck")
    # Waits for ever for rank 1, unless the job is ended.
    comm.any(False)

worker.JOBS["fail"] = lambda: (Fail, fail)
worker.main(sys.argv[1])
"""


# Put before FAILING: the witness takes a second to start, as on a busy machine.
SLOW_WITNESS = """
import pathlib
from qmcbench.ranks import witness
slow = pathlib.Path(__file__).with_name("slow.py")
slow.write_text(f"import runpy, time; time.sleep(1); runpy.run_path({witness.__file__!r}, run_name='__main__')")
witness.__file__ = str(slow)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the text of a program the one that ranks run."""

    def make(text: str) -> None:
        (tmp_path / "stand_in.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr(launch, "WORKER", "stand_in")

    return make


def test_two_ranks_factorise_whatever_launcher_started_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """pdpotrf agrees with numpy; a launcher's variables in this process do not reach the ranks."""
    for name, value in {"PMI_SIZE": "4", "PMI_RANK": "3", "PMI_FD": "77", "HYDI_CONTROL_FD": "78"}.items():
        monkeypatch.setenv(name, value)
    answer = launch.run(2, {"kind": "cholesky"}, 100)
    assert answer["ranks"] == 2
    assert answer["grid"] == [1, 2]
    assert answer["positive"]
    assert answer["difference"] < 1e-13
    assert answer["libraries"]["mpi"]
    assert answer["libraries"]["scalapack"]
    assert answer["provenance"]["machine"]["torch_threads"] == 1


def test_environment_keeps_what_the_user_set() -> None:
    """No launcher is to be recognised in it; settings of MPI and the Slurm allocation stay; threads are pinned."""
    launcher = dict.fromkeys(
        [*launch.SIZES, "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "SLURM_PROCID"], "3"
    )
    user = {"PATH": "/bin", "MPICH_ASYNC_PROGRESS": "1", "OMPI_MCA_btl": "self", "SLURM_JOB_NODELIST": "n1"}
    assert launch.launched(launcher) == 3
    made = launch.environment(2, launcher | user | {"OMP_NUM_THREADS": "64"})
    assert launch.launched(made) == 1
    assert made == user | dict.fromkeys(launch.THREADS, "2")


def test_answer_is_the_last_line(worker) -> None:
    """What libraries print before it is passed over; the job and the threads arrive."""
    worker(
        "import os, sys; print('noise'); print(sys.argv[1]); print(os.environ['OMP_NUM_THREADS'], file=sys.stderr)"
    )
    assert launch.run(None, {"kind": "x", "n": [1, 2]}, 60, threads=3) == {"kind": "x", "n": [1, 2]}
    worker("import os, json; print(json.dumps({name: os.environ[name] for name in os.environ if 'THREADS' in name}))")
    assert launch.run(1, {}, 60, threads=3) == dict.fromkeys(launch.THREADS, "3")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("raises", "A job of 2 ranks failed: rank 1 of 2: ValueError: no luck"),
        ("killed", "A job of 2 ranks failed: rank 1 died without a word"),
    ],
)
def test_one_rank_that_fails_ends_the_job(worker, how: str, sentence: str) -> None:
    """One line that names the rank and the cause, without a traceback."""
    worker(FAILING)
    with pytest.raises(launch.JobError) as caught:
        launch.run(2, {"kind": "fail", "how": how}, 100)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_rank_that_dies_at_once_is_named(worker) -> None:
    """Ranks wait for their witness: none can be dead, or be ended by the launcher, before it watches them."""
    worker(SLOW_WITNESS + FAILING)
    with pytest.raises(launch.JobError, match=r"^A job of 2 ranks failed: rank 1 died without a word"):
        launch.run(2, {"kind": "fail", "how": "killed"}, 100)


def test_mistake_that_all_ranks_see_is_said_once() -> None:
    """An odd lattice, on two ranks."""
    with pytest.raises(launch.JobError) as caught:
        launch.run(2, WEAK | {"L": 5}, 100)
    assert str(caught.value).startswith("A job of 2 ranks failed: L = 5 is odd")
    assert str(caught.value).count("L = 5") == 1


@pytest.mark.parametrize(
    ("job", "words"),
    [
        pytest.param({"kind": "strnog"}, "kind = 'strnog' is not one of find, cholesky, ", id="kind"),
        pytest.param(
            WEAK | {"netwrok": "small"},
            "The job 'weak scaling' of the ranks: unknown key 'netwrok'",
            id="key",
        ),
        pytest.param(STRONG | {"parameters": "many"}, "parameters: 'many' is not an integer", id="value"),
        pytest.param(
            STRONG | {"layout": {"blck": 8}},
            "unknown key layout.'blck'; known here: grid, block, product, redistribution",
            id="inner key",
        ),
    ],
)
def test_typo_in_a_job_is_a_sentence(job: dict[str, Any], words: str) -> None:
    """The key or value, and what is known; before anything is measured."""
    with pytest.raises(UserError, match=re.escape(words)):
        work(Serial(), json.dumps(job))


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("", "A process ended without an answer: it said nothing"),
        ("print('no JSON')", "A process ended without an answer: it said nothing"),
        ("import sys; sys.exit(3)", "A process failed: exit status 3"),
        ("import sys; sys.exit('one\\ntwo')", "A process failed: one / two"),
    ],
)
def test_process_without_an_answer(worker, program: str, sentence: str) -> None:
    """Silence and nonsense are failures, and the last words are passed on."""
    worker(program)
    with pytest.raises(launch.JobError) as caught:
        launch.run(None, {}, 60)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("reason", ["time", "stop"])
def test_job_that_is_ended_leaves_no_process(worker, reason: str) -> None:
    """A job whose time is up, or that is told to stop, takes its launcher and all ranks with it."""
    worker("import time; time.sleep(600)")
    # The tracker of multiprocessing, say, which lives as long as this process.
    others, started = set(psutil.Process().children(recursive=True)), set()

    def look() -> bool:
        started.update(set(psutil.Process().children(recursive=True)) - others)
        ranks = [each for each in started if each.is_running() and "stand_in" in each.cmdline()[-2:]]
        return reason == "stop" and len(ranks) >= 2

    expected = launch.Stopped if reason == "stop" else launch.JobError
    with pytest.raises(expected, match="longer than 3 s" if reason == "time" else None):
        launch.run(2, {}, 3 if reason == "time" else 60, stop=look)
    assert len(started) >= 3
    assert not psutil.wait_procs(started, timeout=20)[1]


def test_launcher_beside_python_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the path; with neither, what to install."""
    assert launch.mpiexec() == Path(sys.executable).with_name("mpiexec")
    (elsewhere := tmp_path / "bin").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(elsewhere))
    with pytest.raises(UserError, match=r"mpiexec.*pip install \"qmcbench\[mpi\]\""):
        launch.mpiexec()
    (elsewhere / "mpiexec").touch(mode=0o755)
    assert launch.mpiexec() == elsewhere / "mpiexec"


def test_nothing_of_mpi_is_loaded_here() -> None:
    """The launcher's side must stay outside MPI, or it could start no job."""
    code = "import sys; from qmcbench.bench import scaling; from qmcbench import cli; print('mpi4py' in sys.modules)"
    found = launch.subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
