"""Training on several ranks: the numbers do not depend on how many, and when one fails all end."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
from helpers import ranks

from qmcbench import checkpoint
from qmcbench.log import Step, digest
from qmcbench.training import CHECKPOINT, LOG, read_log

# float64, so that a batch of another size rounds too little to turn an accepted move into a rejected one.
RUN = """
[model]
L = 4
J2 = 0.5
[wavefunction]
dtype = "float64"
[sampling]
chains = 24
warm_up = 2
[optimizer]
steps = {steps}
solver = "{solver}"
[run]
seed = 3
threads = 1
checkpoint_every = 2
"""


def written(folder: Path, *, steps: int = 6, solver: str = "sample_space") -> Path:
    """A configuration file."""
    path = folder / f"{solver}-{steps}.toml"
    path.write_text(RUN.format(steps=steps, solver=solver))
    return path


def trained(count: int, config: Path, out: Path) -> checkpoint.Checkpoint:
    """The checkpoint after `qmcbench train` on ``count`` ranks."""
    done = ranks.train(count, config, out, "--quiet")
    assert done.returncode == 0, done.stderr
    return checkpoint.read(out / CHECKPOINT)


def assert_same_steps(one: list[Step], other: list[Step]) -> None:
    """As many; energies, errors and lengths equal to 1e-9 of their size."""
    for a, b in zip(one, other, strict=True):
        for key in ("energy", "error", "variance", "acceptance", "effective_fraction", "step_norm"):
            assert getattr(b, key) == pytest.approx(getattr(a, key), rel=1e-9), (key, a.step)


def assert_same_run(one: Path, other: Path) -> None:
    """Equal configurations; energies, errors and parameters equal to 1e-9 of their size."""
    assert_same_steps(read_log(one / LOG), read_log(other / LOG))
    a, b = (checkpoint.read(folder / CHECKPOINT) for folder in (one, other))
    assert torch.equal(a.chains["spins"], b.chains["spins"])
    assert torch.equal(a.chains["numbers"], b.chains["numbers"])
    for name, parameter in a.parameters.items():
        torch.testing.assert_close(b.parameters[name], parameter, rtol=1e-9, atol=1e-11)


# Each run is a configuration, its folder, and whether chain 9 has an infinite local energy each step ("poisoned").
SEVERAL = """
import json, sys
from pathlib import Path
import torch
from helpers.groups import groups
from qmcbench import config, training, vmc
from qmcbench.ranks import comm, faults
job = faults.Job(comm.world())
clean = vmc.local_energies
for group, runs in groups(job.comm, json.loads(sys.argv[1])):
    def poisoned(psi, hamiltonian, spins, *rest):
        energies = clean(psi, hamiltonian, spins, *rest)
        own = range(24)[group.rank * len(spins):][:len(spins)]
        if 9 in own:
            energies[9 - own.start] = torch.inf
        return energies
    for path, out, name in runs:
        vmc.local_energies = poisoned if name == "poisoned" else clean
        training.train(config.load(Path(path)), Path(out) / name, quiet=True, comm=group)
job.end(0, None)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders 1 to 4, named after the number of ranks, each with the same runs; all of one start of four ranks.

    ``relay`` is handed on: two steps on 1 rank, two on 3, two on 2. The undisturbed run is one of 2 ranks.
    """
    folder = tmp_path_factory.mktemp("runs")
    serial, scalapack = written(folder), written(folder, steps=2, solver="scalapack")
    uneven = folder / "uneven.toml"
    uneven.write_text(scalapack.read_text().replace("chains = 24", "chains = 23\nwarm_up_lattices = 1"))
    configs = {path.stem: path for path in (serial, scalapack, written(folder, solver="scalapack_samples"), uneven)}
    configs["poisoned"] = serial

    def each(count: int) -> list[tuple[str, str, str]]:
        return [(str(path), str(folder / str(count)), name) for name, path in configs.items()]

    def relay(steps: int) -> tuple[str, str, str]:
        return str(written(folder, steps=steps)), str(folder), "relay"

    undisturbed = str(written(folder, steps=30)), str(folder), "undisturbed"
    turns = [
        [(1, [*each(1), relay(2)]), (2, [*each(2), undisturbed])],
        [(3, [*each(3), relay(4)])],
        [(4, each(4))],
        [(2, [relay(6)])],
    ]
    done = ranks.run(4, "-c", SEVERAL, json.dumps(turns), timeout=400)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", ["sample_space-6", "scalapack-2", "scalapack_samples-6", "uneven"])
def test_energies_do_not_depend_on_the_number_of_ranks(runs: Path, count: int, name: str) -> None:
    """The same steps; ``uneven`` spreads 23 chains, all started from the one lattice that rank 0 warmed up."""
    assert_same_run(runs / "1" / name, runs / str(count) / name)


def test_warm_up_lattice_is_shared(runs: Path) -> None:
    """The paper's warm-up, one lattice for all chains, is another start than each chain's own."""
    uneven, own = (read_log(runs / "1" / name / LOG)[0] for name in ("uneven", "scalapack-2"))
    assert uneven.energy != own.energy


def test_solvers_agree(runs: Path) -> None:
    """Covariance and Gram matrix on the grid of four ranks take the steps of the serial sample-space solver."""
    serial = runs / "1" / "sample_space-6"
    assert_same_run(serial, runs / "4" / "scalapack_samples-6")
    assert_same_steps(read_log(serial / LOG)[:2], read_log(runs / "4" / "scalapack-2" / LOG))


def test_another_number_of_ranks_continues(runs: Path) -> None:
    """Two steps on 1 rank, two on 3, two on 2 end like six on one."""
    assert_same_run(runs / "1" / "sample_space-6", runs / "relay")


def test_mistakes_are_said_once(tmp_path: Path) -> None:
    """What all ranks find, or rank 0 alone reads, is one sentence and status 2, not one from each rank."""
    few = written(tmp_path)
    few.write_text(few.read_text().replace("chains = 24", "chains = 2"))
    for count, config, sentence in ((3, few, "2 chains in blocks of 1"), (2, tmp_path / "none.toml", "No such file")):
        done = ranks.train(count, config, tmp_path / "out")
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("error:") == done.stderr.count(sentence) == 1
        assert "Traceback" not in done.stderr


def test_other_commands_are_for_one_process() -> None:
    """`mpiexec -n 2 qmcbench ed` would do the same work twice: refused."""
    done = ranks.run(2, "-m", "qmcbench", "ed", "--L", "4", "--j2", "0.5")
    assert done.returncode == 2
    assert done.stderr.count("`qmcbench ed` is for one process, but 2 ranks were started") == 1


SABOTAGE = """
import sys
from qmcbench import vmc
from qmcbench.cli import main as cli
from qmcbench.ranks import comm
rank, clean = comm.world().rank, vmc.local_energies
calls = []
def sabotaged(*arguments):
    calls.append(0)
    if rank == 1 and len(calls) == 4:
        {how}
    return clean(*arguments)
vmc.local_energies = sabotaged
sys.argv = ["qmcbench", "train", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize(
    ("how", "sentence", "status"),
    [
        ("raise RuntimeError('no more')", "RuntimeError: no more", 1),
        ("raise cli.UserError('The disk of this node is full.')", "The disk of this node is full.", 2),
    ],
)
def test_rank_that_raises_ends_all(tmp_path: Path, how: str, sentence: str, status: int) -> None:
    """The job ends, one message names rank and cause, and the checkpoint of step 2 is intact."""
    config = written(tmp_path)
    done = ranks.run(2, "-c", SABOTAGE.format(how=how), config, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == status
    assert "error: rank 1 of 2: " in done.stderr
    assert done.stderr.count(sentence) == 1
    assert "without a word" not in done.stderr
    assert checkpoint.read(tmp_path / "out" / CHECKPOINT).state.step == 2


def test_non_finite_sample_of_one_rank_is_handled_alike(runs: Path) -> None:
    """An infinite local energy of chain 9 gives the same run on one rank and on three, where rank 1 finds it."""
    assert {line.restarted for line in read_log(runs / "3" / "poisoned" / LOG)} == {1}
    assert_same_run(runs / "1" / "poisoned", runs / "3" / "poisoned")


def started(config: Path, out: Path) -> subprocess.Popen[str]:
    """A long run on 2 ranks that has taken at least three steps."""
    command = ranks.command(2, "-m", "qmcbench", "train", config, "--out", out)
    job = subprocess.Popen(command, env=ranks.environment(), stderr=subprocess.PIPE, text=True)
    log, deadline = out / LOG, time.monotonic() + 100
    while not log.exists() or len(log.read_text().splitlines()) < 3:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return job


def process_of(job: subprocess.Popen[str], rank: int) -> psutil.Process:
    """The process of a rank."""
    for process in psutil.Process(job.pid).children(recursive=True):
        if process.environ().get("PMI_RANK") == str(rank) and "train" in process.cmdline():
            return process
    raise AssertionError(f"no rank {rank}")


@pytest.mark.parametrize("rank", [0, 1])
def test_killed_rank_ends_the_job_and_it_resumes(runs: Path, tmp_path: Path, rank: int) -> None:
    """The job is over in under 10 s and says which rank died; the same command ends like an undisturbed run."""
    config, out = written(tmp_path, steps=30), tmp_path / "out"
    job = started(config, out)
    os.kill(process_of(job, rank).pid, signal.SIGKILL)
    killed = time.monotonic()
    said = job.communicate(timeout=60)[1]
    assert time.monotonic() - killed < 10
    assert job.returncode != 0
    assert f"error: rank {rank} died without a word" in said
    trained(2, config, out)
    assert digest(read_log(out / LOG)) == digest(read_log(runs / "undisturbed" / LOG))


def test_interruption_stops_all_ranks_after_the_same_step(tmp_path: Path) -> None:
    """SIGINT to the launcher, as Ctrl-C sends it, saves a completed step and says how to go on."""
    config, out = written(tmp_path, steps=4000), tmp_path / "out"
    job = started(config, out)
    job.send_signal(signal.SIGINT)
    said = job.communicate(timeout=60)[1]
    assert job.returncode != 0
    assert "of 4000; run the same command" in said
    assert checkpoint.read(out / CHECKPOINT).state.step == len(read_log(out / LOG))
