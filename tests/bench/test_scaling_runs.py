"""Measurements on one and several ranks: that they time what they say, refuse wrong results, and lose nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qmcbench.bench import kernels, scaling, worker, worker_strong, worker_weak
from qmcbench.bench.scaling import StrongRequest, WeakRequest
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.provenance import cores, cpu_model
from qmcbench.ranks import launch
from qmcbench.ranks.comm import Serial, share
from qmcbench.scaling.measurements import efficiency, speedup
from qmcbench.sr import Centred, Solution, dense
from qmcbench.store import jsonl
from qmcbench.store.kinds import KINDS
from qmcbench.store.records import Run
from qmcbench.store.scaling import Layout, StepTimes, StrongRun
from qmcbench.structure import structure, unstructure

PHASES = ["redistribution", "product", "factorisation", "solves"]
SMALL = StrongRun(
    value=None, ranks=1, parameters=40, samples=24, seed=0, layout=Layout((1, 1), 8, "pdgemm", "pdgemr2d"),
    space="parameters", repeats=2, dgemm_size=50,
)  # fmt: skip
ONE = WeakRequest(sizes=(4,), ranks=(1,), symmetries=("none",))
PAPER = replace(scaling.QUICK_STRONG, products=("pdsyrk",), redistributions=("alltoall",))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A real quick run of strong scaling on 1 and 2 ranks, by the paper's exchange and pdsyrk."""
    out = tmp_path_factory.mktemp("strong")
    return out, scaling.strong(PAPER, out, quiet=True)


def test_strong_on_one_and_two_ranks(quick: tuple[Path, Run]) -> None:
    """Every phase timed, rates by the right number of operations, a solution that is one, what it was done with."""
    runs = quick[1].of(StrongRun)
    one, two = runs
    assert (one.ranks, two.ranks) == (1, 2)
    assert two.layout == Layout((1, 2), 16, "pdsyrk", "alltoall")
    for run in runs:
        assert len(run.times) == 2
        assert all(getattr(each, phase) > 0 for each in run.times for phase in PHASES)
        assert run.value == run.median("total") == pytest.approx(sum(run.all("total")) / 2)
        assert run.operations == {"product": 96 * 97 * 64, "factorisation": 96**3 // 3}
        for name in ("product", "factorisation"):
            rate = run.operations[name] / run.median(name) / 1e9
            assert run.rate(name) == pytest.approx(rate)
            assert run.fraction_of_dgemm(name) == pytest.approx(rate / run.ranks / run.dgemm_GFs)
        assert 0 < run.residual < 1e-13
        assert len(run.peak_bytes) == len(run.before_bytes) == run.ranks
        assert all(most > 50e6 for most in run.peak_bytes)
        # Samples in float32 and float64, and the matrix, at least.
        assert run.estimate_bytes >= (4 + 8) * 96 * 64 / run.ranks + 8 * 96 * 96 / run.ranks
        assert run.libraries.scalapack
        assert {each.threads for each in run.libraries.blas} == {1}
        assert run.provenance.versions["mpi4py"]
        assert f"mpiexec -n {run.ranks} " in run.provenance.command
    assert speedup(two, runs) == pytest.approx(one.median("total") / two.median("total"))
    assert speedup(one, runs) == 1.0


def test_finished_runs_are_not_done_again(quick: tuple[Path, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call finds everything there; one for another block does only that, and keeps the rest."""
    out, before = quick
    done = []

    def record(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        done.append((ranks, job["layout"]["block"]))
        return answer(ranks, job, not_run="no time")

    monkeypatch.setattr(launch, "run", record)
    assert scaling.strong(PAPER, out, quiet=True).records == before.records
    assert done == []
    found = scaling.strong(replace(PAPER, blocks=(16, 32)), out, quiet=True)
    assert done == [(1, 32), (2, 32)]
    assert found.records[:2] == before.records
    assert [each.not_run for each in found.records] == [None, None, "no time", "no time"]
    assert jsonl.load(out, "strong") == found


def answer(ranks: int, job: dict[str, Any], **found: Any) -> dict[str, Any]:
    """What ranks answer: the record of their job with what was found."""
    asked = {name: value for name, value in job.items() if name != "kind"}
    run = structure(asked, KINDS[job["kind"]], "the job")
    assert run.ranks == ranks
    return unstructure(replace(run, **found))


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
            self.seconds = dict.fromkeys(PHASES, 1.0)
            self.mesh = self

        def empty(self, rows: int, columns: int) -> None:
            assert rows == columns

        def __call__(self, samples: Centred, shift: float) -> Solution:
            found = dense(samples, shift)
            return found._replace(step=found.step * (1 + self.error))

    monkeypatch.setattr(worker_strong, "Scalapack", StandIn)
    monkeypatch.setattr(kernels, "dgemm", lambda comm, size: 1.0)
    return StandIn


def test_rate_of_a_wrong_result_is_refused(stand_in: type) -> None:
    """A relative error of 1e-9 has a time, but it is not reported; nor that of what is not a number."""
    assert worker_strong.measure(Serial(), SMALL).median("product") == 1.0
    for error in (1e-9, float("nan")):
        stand_in.error = error
        with pytest.raises(UserError, match=r"relative residual of .* its time means nothing"):
            worker_strong.measure(Serial(), SMALL)


def test_what_does_not_fit_is_not_run(stand_in: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's largest covariance, with both numbers; nothing of it is allocated."""
    monkeypatch.setattr(worker_strong.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 50e9}))
    found = worker_strong.measure(Serial(), replace(SMALL, parameters=106529, samples=2560))
    assert (found.value, found.times) == (None, ())
    assert "90.8 GB for the matrix alone), but 50.0 GB are free" in found.not_run


@pytest.mark.parametrize(
    ("job", "product", "factorisation"),
    [
        ({"space": "parameters"}, 2 * 10 * 10 * 7, 333),
        ({"layout": replace(SMALL.layout, product="pdsyrk")}, 10 * 11 * 7, 333),
        ({"space": "samples"}, 2 * 7 * 7 * 10, 114),
    ],
)
def test_operations(job: dict[str, Any], product: int, factorisation: int) -> None:
    """Two for each multiply-add, half as many for the symmetric product; n^3 / 3 for Cholesky."""
    run = replace(SMALL, parameters=10, samples=7, **job)
    assert run.operations == {"product": product, "factorisation": factorisation}


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
    request = replace(ONE, network="small", solver="scalapack_samples", steps=2, warm_up=1)
    one, two = (
        scaling.on_ranks(job, 100)
        for ranks in (1, 2)
        for job in replace(request, ranks=(ranks,), chains=8 // ranks).jobs()
    )
    assert one.energies == pytest.approx(two.energies, rel=1e-5)
    assert len(set(one.energies)) == 2
    for ranks, found in ((1, one), (2, two)):
        assert (found.parameters, found.samples, found.ranks) == (3531, 8, ranks)
        assert len(found.rank_monte_carlo) == len(found.rank_waiting) == ranks
        assert len(found.peak_bytes) == ranks
        for each in found.times:
            assert each.scalapack.total > 0
            # What the ranks did for themselves, waited and solved is all of a step.
            parts = (*worker_weak.MONTE_CARLO, "gather", "solve")
            assert each.step == pytest.approx(sum(getattr(each, part) for part in parts))


def test_weak_definitions() -> None:
    """Medians over the counted steps; the slowest rank's Monte Carlo; the overhead is SR over the iteration."""
    (job,) = replace(ONE, network="small", solver="sample_space", chains=6, steps=3, warm_up=0).jobs()
    found = worker_weak.measure(Serial(), job)
    assert len(found.times) == len(found.monte_carlo) == len(found.energies) == 3
    own = [each.sampling + each.local_energy + each.derivatives for each in found.times]
    assert found.monte_carlo == pytest.approx(own)
    assert found.rank_monte_carlo == (pytest.approx(found.monte_carlo_median),)
    steps = sorted(each.step for each in found.times)
    assert found.value == found.median("step") == steps[1]
    assert found.overhead == pytest.approx(found.median("solve") / steps[1])
    assert found.samples_per_second == pytest.approx(6 / steps[1])
    assert found.solver_median is None


def test_weak_that_does_not_fit_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any chain is made; and a step that was refused has no time."""

    def refuse(*arguments: object) -> None:
        raise UserError("too large")

    (job,) = replace(ONE, network="small", solver="sample_space", chains=4, steps=1, warm_up=0).jobs()
    with monkeypatch.context() as patch:
        patch.setattr(worker_weak, "check_memory", refuse)
        found = worker_weak.measure(Serial(), job)
        assert (found.value, found.not_run, found.times) == (None, "too large", ())
    inner = worker_weak.Trainer.advance
    monkeypatch.setattr(worker_weak.Trainer, "advance", lambda self: replace(inner(self), refused="it is indefinite"))
    with pytest.raises(UserError, match="Step 2 was refused: it is indefinite"):
        worker_weak.measure(Serial(), job)


def test_more_ranks_than_cores_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a run says nothing about scaling, and says so."""

    class Crowded(Serial):
        sharing = 10**6

    monkeypatch.setitem(worker.JOBS, "nothing", lambda: (worker.Nothing, lambda comm, request: {"size": 1}))
    answers = [worker.work(comm, '{"kind": "nothing"}') for comm in (Serial(), Crowded())]
    assert [found["size"] for found in answers] == [1, 1]
    assert [found["oversubscribed"] for found in answers] == [torch.get_num_threads() > len(cores()), True]


def answered(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
    """A weak run's answer, without the run: the Monte Carlo time grows by a tenth with each rank."""
    mc = 1 + 0.1 * (ranks - 1)
    times = (StepTimes(mc / 2, mc / 4, mc / 4, 0.1, 0.1, mc + 0.2),)
    found = {"value": mc, "times": times, "monte_carlo": (mc,), "rank_monte_carlo": (mc,) * ranks}
    return answer(ranks, job, **found, parameters=3531)


TWO = WeakRequest(sizes=(4, 6), ranks=(1, 2), symmetries=("none",), network="small")


def test_stopped_list_keeps_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the third of four runs: two are on disk, and the same call does the other two."""
    done: list[tuple[int, int]] = []

    def stopping(ranks: int, job: dict[str, Any], timeout: float, stop: object) -> dict[str, Any]:
        if len(done) == 2:
            raise launch.Stopped
        done.append((job["L"], ranks))
        return answered(ranks, job, timeout, stop)

    monkeypatch.setattr(launch, "run", stopping)
    with pytest.raises(Interrupted, match=r"Stopped in run 3 of 4; .* the same command goes on"):
        scaling.weak(TWO, tmp_path, quiet=True)
    kept = jsonl.load(tmp_path, "weak").records
    assert [(run.L, run.ranks) for run in kept] == done == [(4, 1), (4, 2)]
    monkeypatch.setattr(launch, "run", answered)
    runs = scaling.weak(TWO, tmp_path, quiet=True).records
    assert [(run.L, run.ranks) for run in runs] == [(4, 1), (4, 2), (6, 1), (6, 2)]
    assert [efficiency(run, runs) for run in runs] == pytest.approx([1, 1 / 1.1, 1, 1 / 1.1])


def test_efficiency_needs_the_same_job_on_one_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of chains is another job."""
    monkeypatch.setattr(launch, "run", answered)
    scaling.weak(replace(ONE, chains=8), tmp_path, quiet=True)
    runs = scaling.weak(replace(ONE, ranks=(2,), chains=16), tmp_path, quiet=True).records
    assert [efficiency(run, runs) for run in runs] == [1.0, None]


def test_what_was_not_run_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays listed until it has been run, once."""
    monkeypatch.setattr(launch, "run", lambda ranks, job, *_, **__: answer(ranks, job, not_run="too large"))
    for _ in range(2):
        found = scaling.weak(ONE, tmp_path, quiet=True)
        assert [run.not_run for run in found.records] == ["too large"]
    monkeypatch.setattr(launch, "run", answered)
    assert [run.not_run for run in scaling.weak(ONE, tmp_path, quiet=True).records] == [None]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("qmcbench-records-1", "other", "is of the format 'other'", id="format"),
        pytest.param(f'"cpu": "{cpu_model()}"', '"cpu": "abacus"', r"another machine \(cpu: abacus", id="machine"),
        pytest.param('"scale weak"', '"scale strong"', "is of `qmcbench scale strong`, not of", id="job"),
        pytest.param("0.5", "0.5}", "is not valid JSON", id="damaged"),
        pytest.param("0.5", "-0.5", r"times.sampling = -0.5 is not between", id="time below zero"),
    ],
)
def test_results_of_something_else_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str
) -> None:
    """Times of two machines do not mix; neither is a file that is not ours overwritten."""
    monkeypatch.setattr(launch, "run", answered)
    scaling.weak(ONE, tmp_path, quiet=True)
    path = tmp_path / "records" / "weak.jsonl"
    text = path.read_text()
    assert old in text
    # The times of the first step come last but one.
    content = new.join(text.rsplit(old, 1)) if old == "0.5" else text.replace(old, new, 1)
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        scaling.weak(ONE, tmp_path, quiet=True)
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
        scaling.strong(StrongRequest(**settings), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
