"""Who owns which chains, what launchers say, and that ranks can speak to each other."""

import json

import pytest
import torch
from helpers import ranks

from qmcbench.errors import UserError
from qmcbench.ranks.comm import Serial, on_root, share
from qmcbench.ranks.launch import launched


@pytest.mark.parametrize(("count", "size"), [(1, 1), (24, 3), (10, 4), (13, 4), (64, 2)])
def test_shares_cover_every_chain_once_and_in_order(count: int, size: int) -> None:
    """Ranks own neighbouring blocks of equal length, but for a shorter last one."""
    shares = [share(count, rank, size) for rank in range(size)]
    assert [chain for own in shares for chain in own] == list(range(count))
    assert {len(own) for own in shares[:-1]} <= {-(-count // size)}


def test_rank_without_chains_is_refused() -> None:
    """9 chains in blocks of 3 leave the last of 4 ranks empty: the sentence says what would do."""
    with pytest.raises(UserError, match=r"9 chains .* last of 4 ranks .*multiple of 4 chains \(8\)"):
        share(9, 0, 4)


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({}, 1),
        ({"PMI_SIZE": "4"}, 4),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, 3),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 8),
        ({"PMI_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"}, 4),
        ({"SLURM_NTASKS": "8"}, 1),
    ],
)
def test_launchers_are_recognised(environment: dict[str, str], size: int) -> None:
    """The size comes from the launcher; a batch script's own process (SLURM_NTASKS) is one process."""
    assert launched(environment) == size


def test_one_process_speaks_to_itself() -> None:
    """Every call gives back what it was given, and a failure on the root is raised."""
    comm = Serial()
    values = torch.arange(3.0)
    assert comm.sum(values) is values
    assert comm.gather(values) is values
    assert comm.broadcast("x") == "x"
    assert comm.any(True)
    assert not comm.any(False)
    with pytest.raises(ZeroDivisionError):
        on_root(comm, lambda: 1 / 0)


EVERY_CALL = """
import json, sys, torch
from qmcbench.ranks.comm import on_root, world
from qmcbench.errors import UserError
comm = world()
own = torch.full((comm.rank + 1, 2), float(comm.rank))
def fail():
    raise UserError("only rank 0 looked")
try:
    on_root(comm, fail)
    said = None
except UserError as error:
    said = str(error)
found = {
    "sum": comm.sum(torch.tensor([1, comm.rank], dtype=torch.int8)).tolist(),
    "gather": comm.gather(own).tolist(),
    "flags": comm.gather(torch.tensor([comm.rank == 1])).tolist(),
    "broadcast": comm.broadcast(f"rank {comm.rank}"),
    "any": [comm.any(comm.rank == 2), comm.any(False)],
    "size": [comm.size, comm.neighbours],
    "said": said,
}
sys.stdout.write(json.dumps(found) + "\\n")
"""


def test_three_ranks_agree() -> None:
    """Sums, gathered values of unequal lengths, broadcasts, flags and failures are the same on every rank."""
    done = ranks.run(3, "-c", EVERY_CALL)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == {
        "sum": [3, 3],
        "gather": [[0.0, 0.0]] + [[1.0, 1.0]] * 2 + [[2.0, 2.0]] * 3,
        "flags": [False, True, False],
        "broadcast": "rank 0",
        "any": [True, False],
        "size": [3, 3],
        "said": "only rank 0 looked",
    }
