"""Measurements on one and several ranks: that they time what they say, refuse wrong results, and lose nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qmcbench.bench import kernels, scaling, worker, worker_strong, worker_weak
from qmcbench.bench.worker_strong import Strong
from qmcbench.bench.worker_weak import Weak
from qmcbench.config import Scalapack
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.provenance import cores
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Serial, share
from qmcbench.sr import Centred, Solution, dense

PHASES = ["redistribution", "product", "factorisation", "solves", "total"]
SMALL = Strong(40, 24, Scalapack((1, 1), 8, "pdgemm"), repeats=2, dgemm_size=50)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, scaling.Results]:
    """A real quick run of strong scaling on 1 and 2 ranks, by the paper's exchange and pdsyrk."""
    out = tmp_path_factory.mktemp("strong")
    settings = scaling.QUICK_STRONG | {"products": ["pdsyrk"], "redistributions": ["alltoall"]}
    return out, scaling.strong(out, **settings, quiet=True)


def test_strong_on_one_and_two_ranks(quick: tuple[Path, scaling.Results]) -> None:
    """Every phase timed, rates by the right number of operations, a solution that is one, what it was done with."""
    one, two = quick[1]["runs"]
    assert (one["ranks"], two["ranks"]) == (1, 2)
    assert two["job"]["layout"] == {"grid": [1, 2], "block": 16, "product": "pdsyrk", "redistribution": "alltoall"}
    for run in (one, two):
        phases = run["phases"]
        assert list(phases) == PHASES
        assert all(len(phase["all_s"]) == 2 and phase["min_s"] > 0 for phase in phases.values())
        assert phases["product"]["operations"] == 96 * 97 * 64
        assert phases["factorisation"]["operations"] == 96**3 // 3
        for name in ("product", "factorisation"):
            rate = phases[name]["operations"] / phases[name]["median_s"] / 1e9
            assert phases[name]["GFs"] == pytest.approx(rate)
            part = rate / run["ranks"] / run["dgemm"]["GFs_per_rank"]
            assert phases[name]["fraction_of_dgemm"] == pytest.approx(part)
        assert 0 < run["residual"] < 1e-13
        assert len(run["memory"]["peak_bytes"]) == run["ranks"]
        assert all(most > 50e6 for most in run["memory"]["peak_bytes"])
        # Samples in float32 and float64, and the matrix, at least.
        assert run["memory"]["estimate_bytes"] >= (4 + 8) * 96 * 64 / run["ranks"] + 8 * 96 * 96 / run["ranks"]
        assert run["libraries"]["scalapack"]
        assert run["provenance"]["versions"]["mpi4py"]
        assert f"mpiexec -n {run['ranks']} " in run["provenance"]["command"]
    speedup = one["phases"]["product"]["median_s"] / two["phases"]["product"]["median_s"]
    assert two["speedup"]["product"] == pytest.approx(speedup)
    assert set(one["speedup"].values()) == {1.0}
    rates = quick[1]["machine"]["dgemm_GFs_per_rank"]
    assert rates == {str(run["ranks"]): run["dgemm"]["GFs_per_rank"] for run in (one, two)}


def test_finished_runs_are_not_done_again(
    quick: tuple[Path, scaling.Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call finds everything there; one for another block does only that, and keeps the rest."""
    out, before = quick
    done = []

    def record(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        done.append((ranks, job["layout"]["block"]))
        return {"not_run": "no time"}

    monkeypatch.setattr(launch, "run", record)
    settings = scaling.QUICK_STRONG | {"products": ["pdsyrk"], "redistributions": ["alltoall"], "quiet": True}
    assert scaling.strong(out, **settings)["runs"] == before["runs"]
    assert done == []
    found = scaling.strong(out, **settings | {"blocks": [16, 32]})
    assert done == [(1, 32), (2, 32)]
    assert found["runs"] == before["runs"]
    assert json.loads((out / "strong.json").read_text()) == found


@pytest.mark.parametrize("space", ["parameters", "samples"])
def test_residual_knows_a_solution(space: str) -> None:
    """Rounding for the step of an independent solver; as large as the change of it for another."""
    samples = worker_strong.synthetic(Serial(), 30, 50 if space == "parameters" else 20, seed=1)
    step = dense(samples, worker_strong.SHIFT).step
    assert worker_strong.residual(Serial(), samples, step) < 1e-14
    assert worker_strong.residual(Serial(), samples, 1.5 * step) == pytest.approx(0.5)
    assert np.isnan(worker_strong.residual(Serial(), samples, torch.full_like(step, torch.nan)))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type:
    """In place of ScaLAPACK: the dense solver, with an error that can be set."""

    class StandIn:
        error = 0.0

        def __init__(self, comm: object, layout: object, space: object) -> None:
            self.seconds = dict.fromkeys(PHASES[:4], 1.0)
            self.mesh = self

        def empty(self, rows: int, columns: int) -> None:
            assert rows == columns

        def __call__(self, samples: Centred, shift: float) -> Solution:
            found = dense(samples, shift)
            return found._replace(step=found.step * (1 + self.error))

    monkeypatch.setattr(worker_strong, "Scalapack", StandIn)
    monkeypatch.setattr(kernels, "dgemm", lambda comm, size: {"GFs_per_rank": 1.0})
    return StandIn


def test_rate_of_a_wrong_result_is_refused(stand_in: type) -> None:
    """A relative error of 1e-9 has a time, but it is not reported; nor that of what is not a number."""
    assert worker_strong.measure(Serial(), SMALL)["phases"]["product"]["median_s"] == 1.0
    for error in (1e-9, float("nan")):
        stand_in.error = error
        with pytest.raises(UserError, match=r"relative residual of .* its time means nothing"):
            worker_strong.measure(Serial(), SMALL)


def test_what_does_not_fit_is_not_run(stand_in: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's largest covariance, with both numbers; nothing of it is allocated."""
    monkeypatch.setattr(worker_strong.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 50e9}))
    found = worker_strong.measure(Serial(), Strong(106529, 2560, Scalapack((1, 1))))
    assert list(found) == ["not_run"]
    assert "90.8 GB for the matrix alone), but 50.0 GB are free" in found["not_run"]


@pytest.mark.parametrize(
    ("job", "product", "factorisation"),
    [
        (Strong(10, 7, Scalapack(product="pdgemm")), 2 * 10 * 10 * 7, 333),
        (Strong(10, 7, Scalapack(product="pdsyrk")), 10 * 11 * 7, 333),
        (Strong(10, 7, Scalapack(product="pdgemm"), "samples"), 2 * 7 * 7 * 10, 114),
    ],
)
def test_operations(job: Strong, product: int, factorisation: int) -> None:
    """Two for each multiply-add, half as many for the symmetric product; n^3 / 3 for Cholesky."""
    assert job.operations() == {"product": product, "factorisation": factorisation}


def test_synthetic_samples_do_not_depend_on_the_ranks() -> None:
    """Standard normal numbers; what 3 ranks make is what one makes, and no two samples are alike."""
    whole = kernels.synthetic(range(50), 200, seed=3)
    parts = [kernels.synthetic(share(50, rank, 3), 200, seed=3) for rank in range(3)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert abs(whole.mean()) < 0.05
    assert abs(whole.std() - 1) < 0.05
    assert len(np.unique(whole.astype(np.float64) @ np.arange(200))) == 50
    assert not np.array_equal(whole, kernels.synthetic(range(50), 200, seed=4))


def test_weak_runs_are_the_same_run_on_one_and_two_ranks() -> None:
    """8 chains on one rank and 4 on each of two give the energies of one training run."""
    job = {"kind": "weak", "L": 4, "network": "small", "solver": "scalapack_samples", "steps": 2, "warm_up": 1}
    one = launch.run(1, {**job, "chains": 8}, 100)
    two = launch.run(2, {**job, "chains": 4}, 100)
    assert one["energies"] == pytest.approx(two["energies"], rel=1e-5)
    assert len(set(one["energies"])) == 2
    for ranks, found in ((1, one), (2, two)):
        assert (found["parameters"], found["samples"], found["ranks"]) == (3531, 8, ranks)
        assert len(found["rank_mc_s"]) == len(found["rank_waiting_s"]) == ranks
        assert len(found["memory"]["peak_bytes"]) == ranks
        assert set(PHASES[:4]) < set(found["phases"])
        # What the ranks did for themselves, waited and solved is all of a step.
        inside = [found["phases"][name]["all_s"] for name in (*worker_weak.MONTE_CARLO, "gather", "solve")]
        assert found["iteration"]["all_s"] == pytest.approx([sum(parts) for parts in zip(*inside, strict=True)])


def test_weak_definitions() -> None:
    """Medians over the counted steps; the slowest rank's Monte Carlo; the overhead is SR over the iteration."""
    job = Weak(4, network="small", solver="sample_space", chains=6, steps=3, warm_up=0)
    found = worker_weak.measure(Serial(), job)
    assert all(len(found[name]["all_s"]) == 3 for name in ("mc", "sr", "iteration"))
    parts = [found["phases"][name]["all_s"] for name in worker_weak.MONTE_CARLO]
    assert found["mc"]["all_s"] == pytest.approx([sum(each) for each in zip(*parts, strict=True)])
    assert found["rank_mc_s"] == [pytest.approx(found["mc"]["median_s"])]
    assert found["overhead"] == pytest.approx(found["sr"]["median_s"] / found["iteration"]["median_s"])
    assert found["samples_per_second"] == pytest.approx(6 / found["iteration"]["median_s"])
    assert found["sr"] == found["phases"]["solve"]


def test_weak_that_does_not_fit_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any chain is made; and a step that was refused has no time."""

    def refuse(*arguments: object) -> None:
        raise UserError("too large")

    job = Weak(4, network="small", solver="sample_space", chains=4, steps=1, warm_up=0)
    with monkeypatch.context() as patch:
        patch.setattr(worker_weak, "check_memory", refuse)
        assert worker_weak.measure(Serial(), job) == {"not_run": "too large"}
    inner = worker_weak.Trainer.advance
    monkeypatch.setattr(worker_weak.Trainer, "advance", lambda self: replace(inner(self), refused="it is indefinite"))
    with pytest.raises(UserError, match="Step 2 was refused: it is indefinite"):
        worker_weak.measure(Serial(), job)


def test_more_ranks_than_cores_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a run says nothing about scaling, and says so."""

    class Crowded(Serial):
        sharing = 10**6

    monkeypatch.setitem(worker.JOBS, "nothing", lambda comm, settings: settings)
    answers = [worker.work(comm, '{"kind": "nothing", "n": 1}') for comm in (Serial(), Crowded())]
    assert [answer["n"] for answer in answers] == [1, 1]
    assert [answer["oversubscribed"] for answer in answers] == [torch.get_num_threads() > len(cores()), True]


def answered(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
    """A weak run's answer, without the run: the Monte Carlo time grows by a tenth with each rank."""
    return {"ranks": ranks, "mc": {"median_s": 1 + 0.1 * (ranks - 1)}, "oversubscribed": False}


def test_stopped_list_keeps_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the third of four runs: two are on disk, and the same call does the other two."""
    settings = {"sizes": [4, 6], "ranks": [1, 2], "symmetries": ["none"], "network": "small", "quiet": True}
    done: list[tuple[int, int]] = []

    def stopping(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        if len(done) == 2:
            raise launch.Stopped
        done.append((job["L"], ranks))
        return answered(ranks, job, timeout, stop)

    monkeypatch.setattr(launch, "run", stopping)
    with pytest.raises(Interrupted, match=r"Stopped in run 3 of 4; .* the same command goes on"):
        scaling.weak(tmp_path, **settings)
    kept = json.loads((tmp_path / "weak.json").read_text())["runs"]
    assert [(run["job"]["L"], run["ranks"]) for run in kept] == done == [(4, 1), (4, 2)]
    monkeypatch.setattr(launch, "run", answered)
    runs = scaling.weak(tmp_path, **settings)["runs"]
    assert [(run["job"]["L"], run["ranks"]) for run in runs] == [(4, 1), (4, 2), (6, 1), (6, 2)]
    assert [run["efficiency"] for run in runs] == pytest.approx([1, 1 / 1.1, 1, 1 / 1.1])


def test_efficiency_needs_the_same_job_on_one_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of chains is another job."""
    monkeypatch.setattr(launch, "run", answered)
    scaling.weak(tmp_path, sizes=[4], ranks=[1], symmetries=["C4"], chains=8, quiet=True)
    found = scaling.weak(tmp_path, sizes=[4], ranks=[2], symmetries=["C4"], chains=16, quiet=True)
    assert [run["efficiency"] for run in found["runs"]] == [1.0, None]


def test_what_was_not_run_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays listed until it has been run, once."""
    settings = {"sizes": [4], "ranks": [1], "symmetries": ["none"], "quiet": True}
    monkeypatch.setattr(launch, "run", lambda *_, **__: {"ranks": 1, "not_run": "too large"})
    for _ in range(2):
        found = scaling.weak(tmp_path, **settings)
        assert [entry["not_run"] for entry in found["not_run"]] == ["too large"]
        assert found["runs"] == []
    monkeypatch.setattr(launch, "run", answered)
    found = scaling.weak(tmp_path, **settings)
    assert (len(found["runs"]), found["not_run"]) == (1, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "is not of the format"),
        ({"machine": {"cpu": "abacus", "cores": 1}}, r"another machine \(cpu: abacus"),
    ],
)
def test_results_of_something_else_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    """Times of two machines do not mix; neither is a file that is not ours overwritten."""
    monkeypatch.setattr(launch, "run", answered)
    settings = {"sizes": [4], "ranks": [1], "symmetries": ["none"], "quiet": True}
    scaling.weak(tmp_path, **settings)
    path = tmp_path / "weak.json"
    text = json.dumps(json.loads(path.read_text()) | change)
    for content, expected in ((text, words), (text[:50], "cannot be read")):
        path.write_text(content)
        with pytest.raises(UserError, match=expected):
            scaling.weak(tmp_path, **settings)
        assert path.read_text() == content


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ranks": [0]}, "ranks = 0: give numbers of at least 1"),
        ({"parameters": []}, "parameters = nothing"),
        ({"grids": [(2, 2)], "ranks": [1, 2]}, r"The grid 2x2 is for 4 ranks, but .* 1, 2; add --ranks 4"),
        ({"blocks": [0]}, r"scalapack.block = 0 is outside \[1, 4096\]"),
        ({"products": ["dgemm"]}, "scalapack.product = 'dgemm' is not one of pdsyrk, pdgemm"),
        ({"space": "momentum"}, "space = 'momentum' is not one of parameters, samples"),
        ({"samples": 3, "ranks": [1, 2, 4]}, "samples = 3: 3 chains in blocks of 1 leave the last of 4 ranks"),
    ],
)
def test_strong_settings_are_checked_before_anything_runs(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    """One sentence each, and no file."""
    with pytest.raises(UserError, match=words):
        scaling.strong(tmp_path / "out", quiet=True, **settings)
    assert not (tmp_path / "out").exists()
