"""Evaluation on several ranks: the same bits on however many, and all stop together."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import safetensors
from helpers import energies, ranks
from helpers.energies import timeless
from torch import Tensor

from qmcbench.config import Sampling
from qmcbench.evaluation import RECORDS, Request, evaluate
from qmcbench.evaluation_state import HINT
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy
from qmcbench.store.records import Run

STATE = "evaluation.safetensors"
SIGMA = 0.012
"""A target error that takes some 30 samples of each chain."""
# Each evaluation is a checkpoint, folder, samples, observables, whether chain 9 has an infinite local energy in every
# round ("poison"), and a target error or none. A mistake is said by every rank.
SEVERAL = """
import json, sys
from pathlib import Path
import torch
from helpers.groups import groups
from qmcbench import evaluator
from qmcbench.config import Sampling
from qmcbench.errors import UserError
from qmcbench.evaluation import Request, evaluate
from qmcbench.ranks import comm, faults
job = faults.Job(comm.world())
clean = evaluator.local_energy_parts
for group, evaluations in groups(job.comm, json.loads(sys.argv[1])):
    def poisoned(psi, hamiltonian, spins, *rest):
        parts, first = clean(psi, hamiltonian, spins, *rest), comm.share(23, group.rank, group.size).start
        if 0 <= 9 - first < len(parts):
            parts[9 - first] = torch.inf
        return parts
    for network, out, samples, observables, poison, sigma in evaluations:
        evaluator.local_energy_parts = poisoned if poison == "poison" else clean
        sampling = Sampling(chains=23, warm_up=2, gap=7, alpha=1.5)
        wanted = Request(checkpoint=Path(network), out=Path(out), samples=samples, sampling=sampling,
                         J2=(0.5, 0.0), observables=observables, sigma=sigma, quiet=True)
        try:
            evaluate(wanted, group)
        except UserError as error:
            print(error)
job.end(0, None)
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for 4x4."""
    return energies.network(tmp_path_factory.mktemp("network") / "network.safetensors")


Evaluation = tuple[str, str, int, str, str, float | None]


def evaluated(count: int, turns: list[list[tuple[int, list[Evaluation]]]]) -> str:
    """Evaluate on groups of ``count`` ranks; what they say."""
    done = ranks.run(count, "-c", SEVERAL, json.dumps(turns), timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(folder: Path) -> dict[str, Tensor]:
    """Chains and samples in the stored state."""
    with safetensors.safe_open(folder / STATE, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def result(folder: Path) -> Run:
    """The records, without times and the number of ranks."""
    found = jsonl.load(folder, RECORDS)
    assert found is not None
    run = timeless(found)
    return Run(**{**vars(run), "records": tuple(type(r)(**{**vars(r), "ranks": 1}) for r in run.records)})


def assert_same(one: Path, other: Path) -> None:
    """Equal records and states, bit for bit (nan is equal to nan)."""
    a, b = content(one), content(other)
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert tensor.numpy().tobytes() == b[name].numpy().tobytes(), name
    assert result(one) == result(other)


@pytest.fixture(scope="module")
def evaluations(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders 1 to 3, named after the number of ranks, and one that they have handed on; all of one start."""
    folder = tmp_path_factory.mktemp("evaluations")

    def each(count: int, relay: int) -> tuple[int, list[Evaluation]]:
        own = folder / str(count)
        return count, [
            (str(network), str(own / "dimers"), 115, "dimers", "clean", None),
            (str(network), str(own / "poisoned"), 69, "none", "poison", None),
            (str(network), str(own / "until"), 23 * 100, "none", "clean", SIGMA),
            (str(network), str(folder / "relay"), relay, "dimers", "clean", None),
        ]

    # 23, 46 and 115 samples: 1, 2 and 5 of each chain, the first on one rank, the next on three, the rest on two.
    evaluated(3, [[each(1, 20)], [each(3, 46)], [each(2, 115)]])
    return folder


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", ["dimers", "poisoned", "until"])
def test_nothing_depends_on_the_number_of_ranks(evaluations: Path, count: int, name: str) -> None:
    """23 chains do not spread evenly; energies, errors, correlations and every sample are the same bits.

    ``poisoned``: a chain of the last but one rank is restarted from its neighbour each time, which may be another's.
    ``until``: all ranks stop at the same target error, before the samples that it may take are over.
    """
    assert_same(evaluations / "1" / name, evaluations / str(count) / name)
    found = jsonl.load(evaluations / str(count) / name, RECORDS)
    assert {each.ranks for each in found.records} == {count}
    assert {each.abnormal for each in found.of(Energy)} == {3 if name == "poisoned" else 0}
    if name == "until":
        assert {each.short for each in found.of(Energy)} == {False}
        assert 23 * 16 < found.of(Energy)[0].samples < 23 * 100


def test_another_number_of_ranks_goes_on(evaluations: Path) -> None:
    """One sample a chain on 1 rank, two on 3, five on 2: the bits of five on one."""
    assert_same(evaluations / "1" / "dimers", evaluations / "relay")


# Saves every round and is slow, so that a signal comes in between on a busy machine too.
SLOW = """
import sys, time
from qmcbench import evaluation
from qmcbench.cli import main as cli
evaluation.SAVE_EVERY, clean = 0.0, evaluation.write_state
evaluation.write_state = lambda *given: (clean(*given), time.sleep(0.02))
sys.argv[0] = "qmcbench"
cli.main()
"""


def started(network: Path, out: Path) -> subprocess.Popen[str]:
    """A long evaluation on 2 ranks that has saved its first samples."""
    line = ["evaluate", network, "--samples", 100_000, "--chains", 6, "--warm-up", 1, "--gap", 3, "--out", out, "-q"]
    job = subprocess.Popen(
        ranks.command(2, "-c", SLOW, *line), env=ranks.environment(), stdout=-1, stderr=-1, text=True
    )
    deadline = time.monotonic() + 100
    while not (out / STATE).exists() or "rounds/parts" not in content(out):
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job


def processes(job: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those of the ranks, by their numbers."""
    found = {}
    for process in psutil.Process(job.pid).children(recursive=True):
        if "evaluate" in process.cmdline() and (rank := process.environ().get("PMI_RANK")):
            found[rank] = process
    return [found[rank] for rank in sorted(found)]


def to_every_rank(job: subprocess.Popen[str]) -> None:
    """As `scancel --signal=INT` and Slurm's --signal=INT@300 do it, one rank after the other."""
    for process in processes(job):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)


def to_one_rank(job: subprocess.Popen[str]) -> None:
    """As whoever finds one process does it."""
    processes(job)[1].send_signal(signal.SIGINT)


@pytest.mark.parametrize("send", [to_every_rank, to_one_rank])
def test_interruption_stops_all_ranks_after_the_same_round(
    network: Path, tmp_path: Path, send: Callable[[subprocess.Popen[str]], None]
) -> None:
    """One sentence, a whole state that goes on to the bits of an undisturbed evaluation, and no process is left."""
    job = started(network, tmp_path / "out")
    everyone = psutil.Process(job.pid).children(recursive=True)
    send(job)
    said = job.communicate(timeout=60)[1]
    assert job.returncode == 130
    assert said.count("samples a chain; run the same command, without --restart, to continue.") == 1
    assert said.count("\n") <= 2, said  # the launcher may say that it passed the signal on
    taken = len(content(tmp_path / "out")["rounds/parts"])
    assert f"Stopped after {taken} of " in said
    psutil.wait_procs(everyone, timeout=10)
    assert not [process for process in everyone if process.is_running() and process.status() != "zombie"]
    sampling = Sampling(chains=6, warm_up=1, gap=3, alpha=2.0)
    for out in (tmp_path / "out", tmp_path / "whole"):
        evaluate(Request(checkpoint=network, out=out, samples=6 * (taken + 1), sampling=sampling, quiet=True))
    assert_same(tmp_path / "whole", tmp_path / "out")


def test_mistakes_are_said_alike(network: Path, tmp_path: Path) -> None:
    """A damaged state, which rank 0 alone reads, is known to all; a full sum on ranks is refused."""
    (tmp_path / STATE).write_bytes(b"nonsense")
    said = evaluated(2, [[(2, [(str(network), str(tmp_path), 46, "none", "clean", None)])]])
    assert said.count(f"The evaluation {tmp_path / STATE} is damaged") == said.count(HINT) == 2
    done = ranks.run(2, "-m", "qmcbench", "evaluate", network, "--exact")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == done.stderr.count("A full sum is for one process") == 1, done.stderr
