"""The asv suite: every benchmark of the quick set works, and what asv leaves is read as it is."""

import importlib.util
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from qmcbench.ansatz.fast.fourier import FourierNetwork
from qmcbench.ansatz.fast.fourier_images import FourierImages
from qmcbench.bench import asv_run, suite
from qmcbench.errors import UserError
from qmcbench.ranks import launch
from qmcbench.store.bench import AsvBenchmark

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KINDS = ("time_", "track_", "peakmem_")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes that asv is told by the environment."""
    monkeypatch.setenv(suite.VARIABLE, "quick")
    monkeypatch.setattr("sys.dont_write_bytecode", True)


def modules() -> list[ModuleType]:
    """The modules of the suite, as asv imports them: by path, with the sizes of now."""
    found = []
    for path in sorted((BENCHMARKS / "benchmarks").glob("[!_]*.py")):
        spec = importlib.util.spec_from_file_location(f"asv_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    return found


def benchmarks() -> Iterator[tuple[str, type, str]]:
    """Every class of the suite with each of its benchmarks."""
    for module in modules():
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                for method in vars(kind):
                    if method.startswith(KINDS):
                        yield f"{module.__name__.removeprefix('asv_')}.{kind.__name__}.{method}", kind, method


EXPECTED = {
    "operations.Operation.time_operation": 14,
    "phases.Phase.time_phase": 6,
    "phases.PeakMemory.peakmem_phase": 3,
    "phases.Solve.time_solve": 3,
    "ranks.StrongScaling.track_solve": 2,
    "ranks.WeakScaling.track_monte_carlo": 1,
}


@pytest.mark.usefixtures("quick")
def test_every_benchmark_of_the_quick_set_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """setup and one call with every choice of parameters; none is skipped, and what is tracked are seconds."""
    monkeypatch.setattr(suite, "cores", lambda: frozenset(range(2)))
    called = dict.fromkeys(EXPECTED, 0)
    for name, kind, method in benchmarks():
        assert kind.version == "1"  # type: ignore[attr-defined]  # of every benchmark, so that code may move
        for values in product(*kind.params):  # type: ignore[attr-defined]  # asv's
            benchmark = kind()
            benchmark.setup(*values)
            found = getattr(benchmark, method)(*values)
            if method.startswith("track_"):
                assert kind.unit == "seconds"  # type: ignore[attr-defined]  # asv's
                assert found["number"] == 1
                assert len(found["samples"]) >= 3
                assert min(found["samples"]) > 0
            called[name] += 1
    assert called == EXPECTED


def test_full_set_has_the_sizes_of_figure_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable: medium and large on L = 6 to 16 (24), batches 8 to 256, all operations."""
    monkeypatch.delenv(suite.VARIABLE, raising=False)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    kinds = {name: kind for name, kind, _ in benchmarks()}
    operations, systems, batches = kinds["operations.Operation.time_operation"].params  # type: ignore[attr-defined]
    assert set(operations) == {"conv2d", "max_pool", "deconv", "bias", "pad", "product", "fused"}
    assert systems == ("medium-6", "medium-10", "medium-16", "large-6", "large-10", "large-16", "large-24")
    assert batches == (8, 16, 32, 48, 64, 96, 128, 192, 256)


def test_too_many_ranks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """asv leaves a benchmark out whose setup raises NotImplementedError: ranks that would share cores."""
    monkeypatch.setattr(suite, "cores", lambda: frozenset(range(2)))
    suite.require_cores(2)
    with pytest.raises(NotImplementedError, match="3 ranks, 2 cores"):
        suite.require_cores(3)


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The covariance of the large network (180 GB with its factor), and what the ranks say of theirs."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 10**11}))
    with pytest.raises(NotImplementedError, match="182 GB"):
        suite.solve("dense", "large", 8)
    monkeypatch.setattr(
        launch,
        "run",
        lambda ranks, job, *_, **__: {k: v for k, v in job.items() if k != "kind"} | {"not_run": "too large"},
    )
    with pytest.raises(NotImplementedError, match="too large"):
        suite.strong_scaling(1, "parameters", "small", 8)


def test_a_workload_is_made_once() -> None:
    """asv repeats setup before every call; the same workload is handed out again, and phases go on from it."""
    assert suite.phase("forward", "small-4", 4) is suite.phase("forward", "small-4", 4)
    assert suite.operation("bias", "small-4", 8) is not suite.operation("bias", "small-4", 32)


def test_fused_is_what_sampling_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed as "fused", and as the forward pass, is compiled: outputs alone, and psi, as sampling has it."""
    calls: list[tuple[str, int]] = []

    def recorded(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def record(self: object, spins: Tensor) -> object:
            calls.append((name, len(spins)))
            return real(self, spins)

        monkeypatch.setattr(owner, name, record)

    fused, forward = suite.operation("fused", "small-4", 24), suite.phase("forward", "small-4", 12)
    recorded(FourierNetwork, "outputs")
    recorded(FourierImages, "amplitudes")
    fused()
    forward()
    assert calls == [("outputs", 24), ("amplitudes", 12)]


def leave(folder: Path, version: int = 2) -> None:
    """Files as asv 0.6 leaves them: of one benchmark two timed, one skipped, one failed; another failed as such."""
    machine = folder / "results" / "this"
    machine.mkdir(parents=True)
    columns = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]
    columns += ["stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile"]
    quartiles = [[None, None, None, None], [None] * 4, [0.25, 1.5, None, None], [0.75, 2.5, None, None]]
    timed = [[0.5, 2.0, float("nan"), None], [["'a-4'", "'b-6'"], ["8", "16"]], "1", 0, 1.0, *quartiles]
    results = {"m.C.time_x": timed, "m.C.peakmem_y": [[1024], [["1"]], "1", 0, 1.0], "m.C.time_z": [None, [], "1"]}
    content = {"version": version, "result_columns": columns, "results": results | {"m.C.time_gone": timed}}
    (machine / "0123abcd-existing.json").write_text(json.dumps(content))
    (machine / "machine.json").write_text("{}")
    described: dict[str, Any] = {
        "m.C.time_x": {"param_names": ["system", "batch"], "unit": "seconds"},
        "m.C.peakmem_y": {"param_names": ["ranks"], "unit": "bytes"},
        "m.C.time_z": {"param_names": [], "unit": "seconds"},
        "version": 2,
    }
    (folder / "results" / "benchmarks.json").write_text(json.dumps(described))


def test_results_of_asv_are_read(tmp_path: Path) -> None:
    """One record for each choice of parameters, in asv's order; what was skipped and what failed are told apart."""
    leave(tmp_path)
    peak, *timed, failed = asv_run.read(tmp_path)
    assert peak == AsvBenchmark(value=1024, unit="B", benchmark="m.C.peakmem_y", parameters={"ranks": "1"})
    assert [row.parameters for row in timed] == [
        {"system": system, "batch": batch} for system in ("a-4", "b-6") for batch in ("8", "16")
    ]
    assert {row.unit for row in timed} == {"s"}
    assert [row.value for row in timed] == [0.5, 2.0, None, None]
    assert [(row.low, row.high) for row in timed] == [(0.25, 0.75), (1.5, 2.5), (None, None), (None, None)]
    assert [row.not_run for row in timed] == [None, None, asv_run.SKIPPED, "failed"]
    assert [row.failed for row in timed] == [False, False, False, True]
    assert failed == AsvBenchmark(
        value=None, unit="s", benchmark="m.C.time_z", parameters={}, failed=True, not_run="failed"
    )


def test_results_that_cannot_be_read(tmp_path: Path) -> None:
    """None at all, or another version's, are refused in a sentence; and so are damaged ones."""
    with pytest.raises(UserError, match="left no results"):
        asv_run.read(tmp_path)
    leave(tmp_path, version=3)
    with pytest.raises(UserError, match="version 3, not 2"):
        asv_run.read(tmp_path)
    results = tmp_path / "results" / "this" / "0123abcd-existing.json"
    whole = json.loads(results.read_text()) | {"version": 2}
    timed = whole["results"]["m.C.time_x"]
    for changes, words in (
        ({"results": []}, "results"),
        ({"result_columns": "result"}, "result_columns: 'result' is not a list"),
        ({"results": {"m.C.time_x": [[0.5], *timed[1:]]}}, "1 values for 4 choices of parameters"),
        ({"results": {"m.C.time_x": [["fast"] * 4, *timed[1:]]}}, "result"),
        ({"results": {"m.C.time_x": []}}, "the key params is missing"),
    ):
        results.write_text(json.dumps(whole | changes))
        with pytest.raises(UserError, match=words):
            asv_run.read(tmp_path)
    results.write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        asv_run.read(tmp_path)


def test_configuration_of_asv() -> None:
    """The environment that is there, and everything that asv writes in one folder that git ignores."""
    settings = json.loads((BENCHMARKS / "asv.conf.json").read_text())
    assert (settings["environment_type"], settings["pythons"]) == ("existing", ["same"])
    ignored = (BENCHMARKS.parent / ".gitignore").read_text().split()
    assert "benchmarks/.asv/" in ignored
    assert {settings[f"{name}_dir"].split("/")[0] for name in ("env", "results", "html")} == {".asv"}
