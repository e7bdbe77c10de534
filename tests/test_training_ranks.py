"""Training on several ranks: the numbers do not depend on how many, and when one fails all end."""

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
from qmcbench.log import digest
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
starts = 1
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


def assert_same_run(one: Path, other: Path) -> None:
    """Equal configurations; energies, errors and parameters equal to 1e-9 of their size."""
    lines = read_log(one / LOG), read_log(other / LOG)
    assert len(lines[0]) == len(lines[1])
    for a, b in zip(*lines, strict=True):
        for key in ("energy", "error", "variance", "acceptance", "effective_fraction", "step_norm"):
            assert getattr(b, key) == pytest.approx(getattr(a, key), rel=1e-9), (key, a.step)
    a, b = (checkpoint.read(folder / CHECKPOINT) for folder in (one, other))
    assert torch.equal(a.chains["spins"], b.chains["spins"])
    assert torch.equal(a.chains["numbers"], b.chains["numbers"])
    for name, parameter in a.parameters.items():
        torch.testing.assert_close(b.parameters[name], parameter, rtol=1e-9, atol=1e-11)


SEVERAL = """
import sys
from pathlib import Path
from qmcbench import config, training
from qmcbench.ranks import comm, faults
job = faults.Job(comm.world())
for path in map(Path, sys.argv[2:]):
    training.train(config.load(path), Path(sys.argv[1]) / path.stem, quiet=True, comm=job.comm)
job.end(0, None)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders 1 to 4, named after the number of ranks, each with the same runs."""
    folder = tmp_path_factory.mktemp("runs")
    configs = [written(folder, solver=solver) for solver in ("sample_space", "scalapack", "scalapack_samples")]
    uneven = folder / "uneven.toml"
    uneven.write_text(configs[1].read_text().replace("chains = 24", "chains = 23\nwarm_up_lattices = 1"))
    for count in (1, 2, 3, 4):
        done = ranks.run(count, "-c", SEVERAL, folder / str(count), *configs, uneven)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", ["sample_space-6", "scalapack-6", "scalapack_samples-6", "uneven"])
def test_energies_do_not_depend_on_the_number_of_ranks(runs: Path, count: int, name: str) -> None:
    """The same six steps; ``uneven`` spreads 23 chains, all started from the one lattice that rank 0 warmed up."""
    assert_same_run(runs / "1" / name, runs / str(count) / name)


def test_warm_up_lattice_is_shared(runs: Path) -> None:
    """The paper's warm-up, one lattice for all chains, is another start than each chain's own."""
    uneven, own = (read_log(runs / "1" / name / LOG)[0] for name in ("uneven", "scalapack-6"))
    assert uneven.energy != own.energy


def test_solvers_agree(runs: Path) -> None:
    """Covariance and Gram matrix on the grid of four ranks take the steps of the serial sample-space solver."""
    for name in ("scalapack-6", "scalapack_samples-6"):
        assert_same_run(runs / "1" / "sample_space-6", runs / "4" / name)


def test_another_number_of_ranks_continues(runs: Path, tmp_path: Path) -> None:
    """Two steps on 1 rank, two on 3, two on 2 end like six on one."""
    for count, steps in ((1, 2), (3, 4), (2, 6)):
        trained(count, written(tmp_path, steps=steps), tmp_path / "relay")
    assert_same_run(runs / "1" / "sample_space-6", tmp_path / "relay")


def test_mistakes_are_said_once(tmp_path: Path) -> None:
    """What all ranks find, or rank 0 alone reads, is one sentence and status 2, not one from each rank."""
    few = written(tmp_path)
    few.write_text(few.read_text().replace("chains = 24", "chains = 2"))
    for config, sentence in ((few, "2 chains in blocks of 1"), (tmp_path / "none.toml", "No such file")):
        done = ranks.train(3, config, tmp_path / "out")
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
    done = ranks.run(3, "-c", SABOTAGE.format(how=how), config, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == status
    assert "error: rank 1 of 3: " in done.stderr
    assert done.stderr.count(sentence) == 1
    assert "without a word" not in done.stderr
    assert checkpoint.read(tmp_path / "out" / CHECKPOINT).state.step == 2


def test_non_finite_sample_of_one_rank_is_handled_alike(tmp_path: Path) -> None:
    """An infinite local energy of chain 9 gives the same run on one rank and on three, where rank 1 finds it."""
    poison = """
import sys, torch
from qmcbench import vmc
from qmcbench.cli import main as cli
from qmcbench.ranks import comm
clean = vmc.local_energies
def poisoned(psi, hamiltonian, spins, *rest):
    energies = clean(psi, hamiltonian, spins, *rest)
    own = range(24)[comm.world().rank * len(spins):][:len(spins)]
    if 9 in own:
        energies[9 - own.start] = torch.inf
    return energies
vmc.local_energies = poisoned
sys.argv = ["qmcbench", "train", *sys.argv[1:]]
cli.main()
"""
    config = written(tmp_path)
    for count in (1, 3):
        done = ranks.run(count, "-c", poison, config, "--out", tmp_path / str(count), "--quiet")
        assert done.returncode == 0, done.stderr
    assert {line.restarted for line in read_log(tmp_path / "3" / LOG)} == {1}
    assert_same_run(tmp_path / "1", tmp_path / "3")


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
def test_killed_rank_ends_the_job_and_it_resumes(tmp_path: Path, rank: int) -> None:
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
    trained(2, config, tmp_path / "undisturbed")
    assert digest(read_log(out / LOG)) == digest(read_log(tmp_path / "undisturbed" / LOG))


def test_interruption_stops_all_ranks_after_the_same_step(tmp_path: Path) -> None:
    """SIGINT to the launcher, as Ctrl-C sends it, saves a completed step and says how to go on."""
    config, out = written(tmp_path, steps=4000), tmp_path / "out"
    job = started(config, out)
    job.send_signal(signal.SIGINT)
    said = job.communicate(timeout=60)[1]
    assert job.returncode != 0
    assert "of 4000; run the same command" in said
    assert checkpoint.read(out / CHECKPOINT).state.step == len(read_log(out / LOG))
