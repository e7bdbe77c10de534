"""The distributed solver on 1 to 4 ranks against the serial ones, and what its ranks say when they cannot solve.

One start of four ranks is also those of 1, 2 and 3: each solves all its systems; the tests look at what it found.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ranks

from qmcbench.config import Scalapack as Options
from qmcbench.errors import UserError
from qmcbench.ranks.comm import Serial
from qmcbench.ranks.mesh import fit_grid, local_size, memory
from qmcbench.sr.scalapack import PHASES, Scalapack
from qmcbench.sr.scalapack_library import load
from qmcbench.sr.scalapack_mesh import local_indices

SCRIPT = Path(__file__).with_name("scalapack_ranks.py")
SPACES = ("parameters", "samples")
Record = dict[str, Any]

RANKS = pytest.mark.parametrize("count", [1, 2, 3, 4])
SPACE = pytest.mark.parametrize("space", SPACES)


@cache
def answers(count: int, what: str) -> Any:
    """What a start of so many ranks found."""
    done = ranks.run(count, SCRIPT, what, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found(count: int) -> Any:
    """What so many of four ranks found of all systems."""
    return answers(4, "systems")[str(count)]


@RANKS
@SPACE
@pytest.mark.parametrize("redistribution", ["pdgemr2d", "alltoall"])
@pytest.mark.parametrize("product", ["pdsyrk", "pdgemm"])
def test_step(count: int, space: str, redistribution: str, product: str) -> None:
    """On all grids and with blocks of 7 and 64, 50 weighted samples of 173 parameters give the serial step."""
    records = [
        record
        for record in found(count)["everywhere"]
        if (record["space"], record["redistribution"], record["product"]) == (space, redistribution, product)
    ]
    assert len(records) == 2 * {1: 1, 2: 2, 3: 2, 4: 3}[count]
    for record in records:
        case = record["grid"], record["block"]
        assert record["distance"] < 1e-9, case
        assert record["outcomes"] == [[1e-2, 0]] * count, case


@RANKS
def test_the_same_bits_everywhere(count: int) -> None:
    """All ranks get the same step, to the last bit."""
    assert all(record["equal"] for record in found(count)["everywhere"])


@RANKS
def test_redistribution(count: int) -> None:
    """Both redistributions put every sample's parameters where the distribution has them, promoted and unchanged."""
    assert found(count)["redistributed"] == [True] * count


@RANKS
def test_float32(count: int) -> None:
    """Samples in float32 are solved in float64."""
    assert found(count)["float32"]["distance"] < 1e-9


@RANKS
@SPACE
def test_indefinite_matrix(count: int, space: str) -> None:
    """An indefinite matrix is built again with ten times the shift until it is not, on all ranks alike."""
    record = found(count)["shifted"][space]
    assert record["outcomes"] == [[pytest.approx(0.1), 2]] * count
    assert record["equal"]
    assert record["distance"] < 1e-9


@RANKS
@SPACE
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(count: int, space: str, value: float) -> None:
    """One nan or infinity on one rank is an error on all."""
    said = found(count)["failed"][f"{space} {value}"]
    assert len(said) == count
    assert len(set(said)) == 1
    assert "up to a shift of 1.0e+05; its samples are probably not finite" in said[0]


@RANKS
def test_a_factor_that_is_not_finite(count: int) -> None:
    """Nor is it taken, by any rank, where pdpotrf does not notice (as Netlib's does not)."""
    assert found(count)["unnoticed"] == [[True, False]] * count


@RANKS
def test_seconds(count: int) -> None:
    """Every phase of the last call has its time, on every rank."""
    for seconds in found(count)["everywhere"][-1]["seconds"]:
        assert list(seconds) == list(PHASES)
        assert all(value > 0 for value in seconds.values())


@pytest.mark.parametrize("count", [2, 4])
def test_ranks_apart(count: int) -> None:
    """The halves of the ranks solve two different systems at the same time."""
    distances = found(count)["apart"]
    assert len(distances) == count
    assert max(distances) < 1e-9


@pytest.mark.parametrize("count", [2, 4])
def test_samples_that_are_not_shared_in_blocks(count: int) -> None:
    """Samples shared otherwise than ScaLAPACK's blocks are refused on all ranks, not solved as something else."""
    said = found(count)["misshared"]
    assert len(said) == count
    assert all(text.startswith("the ranks have [4, 2") for text in said)


def test_library() -> None:
    """PyPI's oneMKL on one thread, with the BLACS of the MPI library in use."""
    name, *files = found(2)["library"]
    assert name.startswith("Intel oneMKL 20")
    assert name.endswith("(PyPI)")
    assert [file.split(".")[0] for file in files] == [
        f"libmkl_{part}" for part in ("core", "sequential", "intel_lp64", "blacs_intelmpi_lp64", "scalapack_lp64")
    ]


@pytest.mark.parametrize("module", ["mpi4py", "PyScalapack"])
def test_missing_package(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of the packages the user is told which, and what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf'{module}.*pip install "qmcbench\[mpi\]"'):
        load.__wrapped__()


def alone(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, without a launcher."""
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=ranks.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_missing_library() -> None:
    """Without ScaLAPACK the user is told what was looked for; in a process of its own, since it starts MPI."""
    program = """
from qmcbench.sr import scalapack_library as library
library._directories = lambda: iter(())
library.SYSTEM = ("none-of-this-name",)
try:
    library.load()
except library.UserError as error:
    print(error)
"""
    done = alone(program)
    assert "No ScaLAPACK for MPICH" in done.stdout
    assert 'pip install "qmcbench[mpi]"' in done.stdout


@pytest.mark.parametrize(("grid", "ranks"), [((2, 2), 1), ((2, 3), 4), ((-1, -4), 4), ((0, 0), 1)])
def test_wrong_grid(grid: tuple[int, int], ranks: int) -> None:
    """A grid of another number of ranks is refused, with both numbers and one that fits."""
    text = rf"grid of {grid[0]} x {grid[1]} is for .* {ranks}; choose for instance"
    with pytest.raises(UserError, match=text):
        memory(100, 100, ranks, Options(grid=grid), "parameters")


def test_wrong_grid_of_a_solver() -> None:
    """It is refused before anything else."""
    with pytest.raises(UserError, match="grid of 3 x 1"):
        Scalapack(Serial(), Options(grid=(3, 1)), "samples")


@pytest.mark.parametrize("block", [7, 64])
def test_blocks_are_as_large_as_asked_for(block: int) -> None:
    """What ScaLAPACK is told of a matrix has the configuration's block, which decides the speed and not the step."""
    solver = Scalapack(Serial(), Options(block=block), "samples")
    for matrix in (solver.mesh.empty(50, 50), solver.mesh.pdgemr2d(torch.ones(5, 9))):
        assert matrix.descriptor[4:6].tolist() == [block, block]


@pytest.mark.parametrize(("ranks", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (12, (3, 4)), (16, (4, 4))])
def test_square_grid(ranks: int, grid: tuple[int, int]) -> None:
    """Where nothing is asked for, the grid is as square as can be."""
    assert fit_grid(None, ranks) == grid


@pytest.mark.parametrize("block", [1, 7, 8, 64])
@pytest.mark.parametrize("processes", [1, 3, 4])
def test_local_indices(block: int, processes: int) -> None:
    """Block-cyclic: all indices once, rising, neighbours in a block together and the next block with the next."""
    owners = np.full(50, -1)
    for process in range(processes):
        mine = local_indices(50, block, process, processes)
        assert len(mine) == local_size(50, block, process, processes)
        assert (np.diff(mine) > 0).all()
        assert (owners[mine] == -1).all()
        owners[mine] = process
    assert owners.tolist() == [index // block % processes for index in range(50)]


def test_memory_is_what_is_measured() -> None:
    """On 2 ranks the estimate for 3531 parameters and 1024 samples is within 25 % of the measured growth."""
    records = answers(2, "memory")
    assert len(records) == 4
    for record in records:
        assert record["estimate"] == pytest.approx(max(record["measured"]), rel=0.25), record


@SPACE
def test_memory_of_the_matrix(space: str) -> None:
    """The paper's small network: 16249 parameters on 100 ranks are 21 MB each, on one rank the whole 2.1 GB."""
    order = {"parameters": 16249, "samples": 16000}[space]
    assert memory(16249, 16000, 1, Options(), space).matrix == 8 * order**2
    part = memory(16249, 16000, 100, Options(block=32), space)
    assert part.matrix == pytest.approx(8 * order**2 / 100, rel=0.05)
    assert part.promoted == 8 * 160 * 16249


def test_too_large_a_part() -> None:
    """A part of a matrix that ScaLAPACK's 32-bit integers cannot count is refused."""
    program = """
from qmcbench.ranks.comm import Serial
from qmcbench.sr.scalapack_mesh import Mesh, UserError
try:
    Mesh(Serial()).empty(50000, 50000)
except UserError as error:
    print(error)
"""
    done = alone(program)
    assert "2500000000 entries" in done.stdout
    assert "use more ranks" in done.stdout
