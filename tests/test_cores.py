"""Cores, quotas and threads: what the user and the container decide is what is used, before torch is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qmcbench import cores


def groups(folder: Path, membership: str, files: dict[str, str]) -> float | None:
    """The quota of a made-up tree of control groups."""
    for name, text in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "cgroup").write_text(membership)
    return cores.quota(folder / "root", folder / "cgroup")


V1_QUOTA, V1_PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="v2-container"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, None, id="v2-no-limit"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0, id="v2-parent"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5, id="v2-least"),
        pytest.param("0::/not/visible\n", {"cpu.max": "300000 100000"}, 3.0, id="v2-path-of-the-host"),
        pytest.param("0::/\n", {}, None, id="v2-no-file"),
        pytest.param("0::/\n", {"cpu.max": "much\n"}, None, id="v2-nonsense"),
        pytest.param(
            "3:cpuset:/\n2:cpu,cpuacct:/d\n",
            {f"cpu,cpuacct/d/{V1_QUOTA}": "250000", f"cpu,cpuacct/d/{V1_PERIOD}": "100000"},
            2.5,
            id="v1",
        ),
        pytest.param(
            "2:cpuacct,cpu:/d\n", {f"cpu/{V1_QUOTA}": "100000", f"cpu/{V1_PERIOD}": "50000"}, 2.0, id="v1-container"
        ),
        pytest.param("1:cpu:/\n0::/\n", {f"cpu/{V1_QUOTA}": "-1", f"cpu/{V1_PERIOD}": "9"}, None, id="v1-no-limit"),
        pytest.param("1:memory:/\n", {"memory/cpu.max": "1 1"}, None, id="other-controllers"),
    ],
)
def test_quota(membership: str, files: dict[str, str], limit: float | None, tmp_path: Path) -> None:
    """Of every version of control groups the smallest limit on the way up; nonsense is no limit."""
    assert groups(tmp_path, membership, files) == limit


def test_no_control_groups(tmp_path: Path) -> None:
    """A system without them has no quota."""
    assert cores.quota(tmp_path, tmp_path / "nothing") is None


@pytest.mark.parametrize(("limit", "count"), [(None, 8), (0.3, 1), (1.9, 1), (3.0, 3), (64.0, 8)])
def test_available_cores(limit: float | None, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight cores as many as the quota pays for in full, and at least one."""
    monkeypatch.setattr(cores, "cores", lambda: frozenset(range(8)))
    monkeypatch.setattr(cores, "quota", lambda: limit)
    assert cores.available_cores() == count


@pytest.mark.parametrize(
    ("environment", "sharing", "threads"),
    [
        pytest.param({}, 1, 8, id="alone"),
        pytest.param({}, 3, 2, id="three-share"),
        pytest.param({}, 20, 1, id="twenty-share"),
        pytest.param({"OMP_NUM_THREADS": "3"}, 1, 3, id="fewer"),
        pytest.param({"OMP_NUM_THREADS": "16"}, 4, 16, id="more"),
        pytest.param({"OMP_NUM_THREADS": "5,2"}, 1, 5, id="nested"),
        pytest.param({"OMP_NUM_THREADS": ""}, 1, 8, id="empty"),
        pytest.param({"OMP_NUM_THREADS": "0"}, 1, 8, id="zero"),
        pytest.param({"OMP_NUM_THREADS": "many"}, 1, 8, id="nonsense"),
    ],
)
def test_default_threads(
    environment: dict[str, str], sharing: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OMP_NUM_THREADS decides; without it the process's share of the cores."""
    monkeypatch.setattr(cores, "available_cores", lambda: 8)
    assert cores.default_threads(sharing, environment=environment) == threads


def test_no_more_threads_than_there_is_work_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most as many as asked for, at least one; OMP_NUM_THREADS has the last word."""
    monkeypatch.setattr(cores, "available_cores", lambda: 8)
    assert [cores.default_threads(1, most, {}) for most in (0, 1, 3, 100)] == [1, 1, 3, 8]
    assert cores.default_threads(1, 1, {"OMP_NUM_THREADS": "3"}) == 3


def loaded(code: str, **environment: str) -> str:
    """What GNU's OpenMP says that it has read, once ``code`` has loaded it with torch."""
    outer = {name: value for name, value in os.environ.items() if name not in cores.DECIDED}
    made = subprocess.run(
        [sys.executable, "-c", code],
        env=outer | {"OMP_DISPLAY_ENV": "verbose"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split("=")[1].strip(" '") for line in made.stderr.splitlines() if cores.SPINNING in line]
    if not found:
        pytest.skip("torch was built with another OpenMP library than GNU's")
    return found[0]


def test_spinning_is_limited_before_torch_is_loaded() -> None:
    """OpenMP has read our number, whichever module of ours is imported first."""
    assert loaded("import qmcbench.ansatz") == cores.SPIN_COUNT
    assert loaded("import qmcbench, torch") == cores.SPIN_COUNT


def test_the_users_choice_stands() -> None:
    """A spin count or a policy that is set is not changed."""
    assert loaded("import qmcbench.ansatz", GOMP_SPINCOUNT="77") == "77"
    assert int(loaded("import qmcbench.ansatz", OMP_WAIT_POLICY="active")) > 10**6


def test_nothing_is_set_too_late() -> None:
    """Once torch is loaded the variable would only mislead programs that are started from here."""
    code = "import torch, os, qmcbench.cores as c; assert 'GOMP_SPINCOUNT' not in os.environ; print(c.describe())"
    environment = {name: value for name, value in os.environ.items() if name not in cores.DECIDED}
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "torch was loaded before qmcbench" in made.stdout


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        pytest.param({}, "8", id="default"),
        pytest.param({"OMP_NUM_THREADS": "3"}, "3", id="as-torch"),
        pytest.param({"OMP_NUM_THREADS": "3", cores.NUMBA: "2"}, "2", id="decided"),
    ],
)
def test_numba_takes_the_threads_of_torch(
    given: dict[str, str], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is loaded, unless the user decided; later it would not hear of it."""
    monkeypatch.setattr(cores, "available_cores", lambda: 8)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    environment = dict(given)
    cores.limit_numba(environment)
    assert environment[cores.NUMBA] == threads
    monkeypatch.setitem(sys.modules, "numba", None)
    environment = dict(given)
    cores.limit_numba(environment)
    assert environment == given


def test_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of ``doctor`` says cores, quota, threads and how they wait, and whose choice that is."""
    monkeypatch.setattr(cores, "cores", lambda: frozenset(range(8)))
    monkeypatch.setattr(cores, "quota", lambda: 2.5)
    own = cores.describe({"GOMP_SPINCOUNT": cores.SPIN_COUNT})
    assert own.startswith("2 threads by default (8 cores, a CPU quota of 2.5, OMP_NUM_THREADS not set)")
    assert own.endswith(f"GOMP_SPINCOUNT = {cores.SPIN_COUNT} (qmcbench's own)")
    other = cores.describe({"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "3"})
    assert other.startswith("3 threads by default (8 cores, a CPU quota of 2.5, OMP_NUM_THREADS = 3)")
    assert other.endswith("OMP_WAIT_POLICY = passive")
