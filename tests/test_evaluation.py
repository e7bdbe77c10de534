"""Evaluation: unbiased at every J2, resumed to the same bits, extended, refused where the folder holds another."""

import itertools
import json
import math
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import scipy.stats
import torch
from helpers import energies
from helpers.energies import MADE, timeless
from scipy.sparse import csr_matrix
from torch import Tensor

from qmcbench import checkpoint, evaluation, evaluator
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import Sampling, Wavefunction, parse
from qmcbench.errors import UserError
from qmcbench.evaluation import RECORDS, STATE, OtherEvaluationError, Request, evaluate
from qmcbench.evaluator import Evaluator, Samples, sample_energies
from qmcbench.files import Interrupted
from qmcbench.hamiltonian import J1J2
from qmcbench.observables import full_sum
from qmcbench.report.zero_shot.terminal import describe
from qmcbench.store import jsonl
from qmcbench.store.energies import Correlations, Energy
from qmcbench.store.records import Run
from qmcbench.training import load_ansatz
from qmcbench.vmc import build_ansatz

FEW = Sampling(chains=8, warm_up=2, gap=5, alpha=1.5)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for 4x4, J2 = 0.3, whose network has signs of its own."""
    return energies.network(tmp_path_factory.mktemp("network") / "network.safetensors")


def run(network: Path, out: Path, samples: int = 40, sampling: Sampling = FEW, **settings: Any) -> Run:
    """A quiet evaluation without what may differ between equal evaluations."""
    request = Request(checkpoint=network, out=out, samples=samples, sampling=sampling, quiet=True, **settings)
    return timeless(evaluate(request))


def state(out: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The stored state without its wall time."""
    with safetensors.safe_open(out / STATE, framework="pt") as file:
        small = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {name: value for name, value in small.items() if name != "seconds"}, tensors


def same_state(one: Path, other: Path) -> bool:
    """Whether two evaluations agree in every bit."""
    (small, tensors), (other_small, other_tensors) = state(one), state(other)
    same = all(torch.equal(tensors[n], other_tensors[n]) for n in tensors.keys() | other_tensors.keys())
    return same and small == other_small


def toy(spins: Tensor, log_psi: Tensor, phase: Tensor) -> dict[str, Tensor]:
    """Two observables of different shapes that tell configurations apart."""
    s = spins.double()
    return {"corner": s[:, 0, 0] * s[:, 1, 0] + 0 * log_psi, "map": spins * phase[:, None, None].to(spins.dtype)}


def test_every_j2_of_one_run_agrees_with_a_run_of_its_own(network: Path, tmp_path: Path) -> None:
    """E1 + J2 E2 from shared samples is what the Hamiltonian of that J2 gives on the same chains, J2 = 0 included."""
    psi, _ = load_ansatz(network)
    couplings = (0.0, 0.3, 0.5, -1.25)
    result = run(network, tmp_path, J2=couplings, seed=4).of(Energy)
    assert [energy.J2 for energy in result] == list(couplings)
    for energy in result:
        own = sample_energies(psi, J1J2(4, energy.J2), FEW, 5, seed=4 + evaluation.EVALUATION_SEED)
        expected = own.estimate()
        assert energy.value == pytest.approx(expected.mean, rel=1e-12)
        assert energy.sigma == pytest.approx(expected.error, rel=1e-9)
        assert energy.variance == pytest.approx(expected.variance, rel=1e-9)
        assert energy.v_score == pytest.approx(own.v_score(), rel=1e-9)
        assert energy.acceptance == pytest.approx(own.acceptance, rel=1e-12)


def test_energies_are_unbiased(tmp_path: Path, configurations: Tensor, matrix: Callable[[float], csr_matrix]) -> None:
    """Against <psi|H|psi> with QuSpin's matrix, for both J2 and alpha (|z| < 4, false-alarm rate 3e-4 in all)."""
    psi = build_ansatz(Wavefunction(dtype="float64"), seed=3)
    config = parse({"model": {"L": 4, "J2": 0.5}, "wavefunction": {"dtype": "float64"}})
    path = tmp_path / "network.safetensors"
    checkpoint.write(path, Checkpoint(dict(psi.state_dict()), config, MADE))
    with torch.no_grad():
        log_psi, sign = psi(configurations)
    vector = (sign * (log_psi - log_psi.max()).exp()).numpy()
    vector /= np.linalg.norm(vector)
    exact = {J2: vector @ (matrix(J2) @ vector) / 16 for J2 in (0.0, 0.5)}
    for alpha in (1.0, 2.0):
        sampling = Sampling(chains=64, alpha=alpha, warm_up=6)
        result = run(path, tmp_path / str(alpha), 64 * 8, sampling, J2=tuple(exact), seed=5)
        for energy in result.of(Energy):
            assert abs(energy.value - exact[energy.J2]) < 4 * energy.sigma
            assert 0 < energy.sigma < 0.02
            known = energy.exact.value
            assert known < exact[energy.J2]
            assert energy.above(energy.exact) == pytest.approx((energy.value - known) / -known)


def test_defaults_are_those_of_the_checkpoint_and_another_size_is_welcome(network: Path, tmp_path: Path) -> None:
    """L and J2 of its training by default; the same network on 6x6 has an energy too (zero-shot transfer)."""
    result = run(network, tmp_path / "4", samples=9)
    (energy,) = result.of(Energy)
    assert (energy.L, energy.J2) == (4, 0.3)
    assert (energy.asked, energy.samples) == (9, 16)
    assert "rounded up" in describe(result)
    (other,) = run(network, tmp_path / "6", samples=8, L=6, J2=(0.5,)).of(Energy)
    assert other.L == 6
    assert state(tmp_path / "6")[1]["spins"].shape == (8, 6, 6)
    assert other.exact.value == pytest.approx(-0.5038096539, abs=1e-9)


def test_psi_is_summed_over_what_is_asked_for(network: Path, tmp_path: Path) -> None:
    """Under ``symmetry`` the same bits as a checkpoint of the same parameters that has it; it must exist."""
    stored = checkpoint.read(network)
    full = replace(
        stored, config=replace(stored.config, wavefunction=replace(stored.config.wavefunction, symmetry="full"))
    )
    psi = load_ansatz(network, "full")[0]
    checkpoint.write(tmp_path / "full.safetensors", replace(full, parameters=dict(psi.state_dict())))
    one = run(network, tmp_path / "one", symmetry="full").of(Energy)[0]
    other = run(tmp_path / "full.safetensors", tmp_path / "other").of(Energy)[0]
    assert one.value == other.value != run(network, tmp_path / "plain").of(Energy)[0].value
    assert (one.network.symmetry, one.network.L) == ("full", 4)
    with pytest.raises(OtherEvaluationError, match="symmetry"):
        run(network, tmp_path / "one")
    with pytest.raises(UserError, match="symmetry = 'C7'"):
        run(network, tmp_path / "one", symmetry="C7")


def test_what_is_returned_is_what_is_stored(network: Path, tmp_path: Path) -> None:
    """The records in the folder are those of the result, with the network and the published energy beside them."""
    request = Request(checkpoint=network, out=tmp_path, samples=16, sampling=FEW, L=10, J2=(0.5,), quiet=True)
    result = evaluate(request)
    assert jsonl.load(tmp_path, RECORDS) == result
    (energy,) = result.of(Energy)
    assert (energy.network.name, energy.network.parameters, energy.network.J2) == ("small", 3531, 0.3)
    assert energy.reference.kind == "variational"
    assert energy.exact is None
    assert energy.paper.value == -0.49717
    assert "published" in describe(result)


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_evaluation_ends_with_the_same_bits(
    stop: int, number: signal.Signals, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the warm-up (2 sweeps) or between samples: saved, and the same call ends as an undisturbed one."""
    advance, calls = Evaluator.advance, itertools.count(1)

    def disturbed(self: Evaluator) -> None:
        advance(self)
        if next(calls) == stop:
            os.kill(os.getpid(), number)

    whole = run(network, tmp_path / "whole", observables="spins")
    monkeypatch.setattr(Evaluator, "advance", disturbed)
    with pytest.raises(Interrupted, match=f"after {max(0, stop - 2)} of 5 samples a chain"):
        run(network, tmp_path / "parts", observables="spins")
    assert jsonl.load(tmp_path / "parts", RECORDS) is None
    assert run(network, tmp_path / "parts", observables="spins") == whole
    assert next(calls) == 8, "the sampling that was saved must not be done again"
    assert same_state(tmp_path / "parts", tmp_path / "whole")


def test_failure_between_saves_loses_only_what_follows(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved every round here; a crash in the fourth continues from the third to the same bits."""
    monkeypatch.setattr(evaluation, "SAVE_EVERY", 0.0)
    advance, calls = Evaluator.advance, itertools.count(1)

    def crashing(self: Evaluator) -> None:
        if next(calls) == 6:
            raise MemoryError
        advance(self)

    monkeypatch.setattr(Evaluator, "advance", crashing)
    with pytest.raises(MemoryError):
        run(network, tmp_path / "parts")
    assert len(state(tmp_path / "parts")[1]["rounds/parts"]) == 3
    assert run(network, tmp_path / "parts") == run(network, tmp_path / "whole")
    assert same_state(tmp_path / "parts", tmp_path / "whole")


def test_more_samples_extend_and_fewer_are_the_first(network: Path, tmp_path: Path) -> None:
    """16, then 40, then 24 samples in one folder give what each gives in a folder of its own."""
    for samples in (16, 40, 24):
        assert run(network, tmp_path / "grown", samples) == run(network, tmp_path / str(samples), samples)
    assert same_state(tmp_path / "grown", tmp_path / "40")


def test_finished_evaluation_answers_at_once(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sampled again, nor for another J2."""
    before = run(network, tmp_path, J2=(0.5, 0.6))

    def never(_: object) -> None:
        raise AssertionError("sampled again")

    monkeypatch.setattr(Evaluator, "advance", never)
    assert run(network, tmp_path, J2=(0.5, 0.6)) == before
    assert run(network, tmp_path, J2=(0.6,)).records == before.records[1:]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"L": 6}, ("L = 4", "6")),
        ({"seed": 1}, ("seed = 0", "1")),
        ({"sampling": replace(FEW, chains=9)}, ("chains = 8", "9")),
        ({"sampling": replace(FEW, alpha=2.0)}, ("alpha = 1.5", "2.0")),
        ({"sampling": replace(FEW, gap=None)}, ("gap = 5", "16")),
        ({"sampling": replace(FEW, warm_up=3)}, ("warm_up = 2", "3")),
        ({"observables": "spins"}, ("observables = 'none'", "'spins'")),
    ],
)
def test_another_evaluation_in_the_folder_is_refused(
    settings: dict[str, Any], words: tuple[str, ...], network: Path, tmp_path: Path
) -> None:
    """With both values, and without touching it; --restart begins anew."""
    run(network, tmp_path, 8)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = [path.read_bytes() for path in files]
    with pytest.raises(OtherEvaluationError) as error:
        run(network, tmp_path, 8, **settings)
    assert all(word in str(error.value) for word in words), error.value
    assert [path.read_bytes() for path in files] == before
    run(network, tmp_path, 8, restart=True, **settings)


def test_another_checkpoint_in_the_folder_is_refused(network: Path, tmp_path: Path) -> None:
    """Told by its SHA-256, even under the same name."""
    stored = checkpoint.read(network)
    run(network, tmp_path / "out", 8)
    stored.parameters["block1.conv.bias"][0] += 1e-9
    checkpoint.write(tmp_path / network.name, stored)
    with pytest.raises(OtherEvaluationError, match=r"checkpoint = '[0-9a-f]{64}', but this one has '[0-9a-f]{64}'"):
        run(tmp_path / network.name, tmp_path / "out", 8)


def test_observables_agree_with_the_full_sum(network: Path, tmp_path: Path) -> None:
    """`dimers` estimates every quantity without bias: no |z| that a component exceeds once in 10^4 tables."""
    result = run(
        network, tmp_path, 4096, replace(FEW, chains=256, gap=None, warm_up=20, alpha=0.3), observables="dimers"
    )
    psi, _ = load_ansatz(network)
    exact = full_sum(psi)
    measured = {each.quantity: each for each in result.of(Correlations)}
    assert measured.keys() == {"correlation", "structure_factor", "bond", "dimer"}
    for name, each in measured.items():
        expected = getattr(exact, name).mean
        mean, error = (np.array(column).reshape(each.shape) for column in (each.mean, each.error))
        assert (each.value, each.sigma) == (mean[each.at], error[each.at])
        off, known = np.abs(mean - expected), error < 1e-12
        assert (off[known] < 1e-10).all(), name
        assert (off[~known] / error[~known]).max() < scipy.stats.norm.isf(0.5e-4 / off.size), name


def test_observables_are_kept_of_every_sample(network: Path) -> None:
    """The hook sees the configurations that the energies belong to; its tensors come back in sampling order."""
    seen: list[tuple[Tensor, Tensor]] = []

    def watching(spins: Tensor, log_psi: Tensor, phase: Tensor, number: int) -> dict[str, Tensor]:
        assert number == len(seen)
        seen.append((spins.clone(), log_psi.clone()))
        return toy(spins, log_psi, phase)

    psi, _ = load_ansatz(network)
    evaluator = Evaluator(psi, J1J2(4, 1.0), FEW, 3, watching)
    while evaluator.taken < 5:
        evaluator.advance()
    observed = evaluator.observed()
    assert observed["corner"].shape == (8, 5)
    assert observed["map"].shape == (8, 5, 4, 4)
    assert evaluator.observed(3)["map"].shape == (8, 3, 4, 4)
    weights = evaluator.samples().weights
    for number, (spins, log_psi) in enumerate(seen):
        with torch.no_grad():
            expected, phase = psi(spins)
        torch.testing.assert_close(log_psi, expected)
        for name, value in toy(spins, log_psi, phase).items():
            assert torch.equal(observed[name][:, number], value)
        ratio = np.exp(0.5 * (log_psi.numpy() - seen[0][1].numpy()))
        np.testing.assert_allclose(weights[:, number] / weights[:, 0], ratio, rtol=1e-10)
    assert not torch.equal(seen[0][0], seen[1][0])


def test_window() -> None:
    """The share outside carries the weights, and the mean of the rest is theirs alone."""
    energies = np.array([[-0.5, -0.7, -0.46, np.nan], [-0.52, -0.5, 3.0, -0.45]])
    weights = np.array([[1.0, 2.0, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    outside, rest = Samples(energies, weights, 0.5, 16).window(-0.6, -0.45)
    assert outside == pytest.approx(3 / 6)
    assert rest is not None
    assert rest.mean == pytest.approx(-(0.5 + 0.46 + 0.26 + 0.25) / 3)
    assert Samples(energies, weights, 0.5, 16).window(5.0, 6.0) == (1.0, None)


def test_empty_window_is_null_and_the_file_strict_json(network: Path, tmp_path: Path) -> None:
    """At J2 = 5 no local energy lies in the authors' window; single samples have no R-hat: null, not NaN."""

    def refuse(name: str) -> float:
        raise AssertionError(name)

    result = run(network, tmp_path, 2, Sampling(chains=2, warm_up=1), J2=(5.0,))
    lines = jsonl.path_of(tmp_path, RECORDS).read_text().splitlines()
    head, row = (json.loads(line, parse_constant=refuse) for line in lines)
    assert row["window"]["outside"] == 1.0
    assert row["r_hat"] is None
    assert not {"reference", "mean"} & (row.keys() | row["window"].keys())
    assert head["provenance"]["versions"]["torch"]
    text = describe(result)
    assert "windowed" not in text
    assert "R-hat unknown" in text
    assert "NOT TO BE TRUSTED" in text


def test_abnormal_samples_are_counted_and_left_out(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An infinite J2 part makes its sample abnormal at every J2, also at 0; the energy is that of the others."""
    clean, poisoned = evaluator.local_energy_parts, []

    def poison(*arguments: Any) -> Tensor:
        parts = clean(*arguments)
        poisoned.append(parts.clone())
        parts[3, 1] = math.inf
        return parts

    monkeypatch.setattr(evaluator, "local_energy_parts", poison)
    result = run(network, tmp_path, 16, replace(FEW, alpha=2.0), J2=(0.0, 0.5))
    kept = torch.stack([p[torch.arange(8) != 3] for p in poisoned]) / 16
    for energy in result.of(Energy):
        assert energy.abnormal == 2
        assert energy.value == pytest.approx((kept[..., 0] + energy.J2 * kept[..., 1]).mean().item(), rel=1e-12)


def test_damaged_and_foreign_states_are_refused(network: Path, tmp_path: Path) -> None:
    """A truncated state and one of another format: one sentence with --restart."""
    run(network, tmp_path, 8)
    whole = (tmp_path / STATE).read_bytes()
    for content in (whole[: len(whole) // 2], b"nonsense", whole.replace(b"evaluation-2", b"evaluation-9")):
        (tmp_path / STATE).write_bytes(content)
        with pytest.raises(UserError, match="--restart"):
            run(network, tmp_path, 8)
    run(network, tmp_path, 8, restart=True)


def test_no_bit_flip_of_a_state_goes_unnoticed(network: Path, tmp_path: Path) -> None:
    """60 single flipped bits: refused, every one (25 of 30 changed numbers once)."""
    run(network, tmp_path, 8)
    whole, draw = (tmp_path / STATE).read_bytes(), random.Random(1)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        (tmp_path / STATE).write_bytes(damaged)
        with pytest.raises(UserError, match="--restart"):
            run(network, tmp_path, 8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"L": 36, "sampling": Sampling(chains=10**7)}, "for a sweep of 10000000 chains on 36x36"),
        ({"L": 36, "sampling": Sampling(chains=8), "samples": 10**12}, "for 1000000000000 samples"),
    ],
    ids=["chains", "samples"],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    settings: dict[str, Any], words: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the memory needed and there is; no chain is made, and no folder."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("allocated")

    monkeypatch.setattr(evaluation, "Evaluator", never)
    with pytest.raises(UserError, match=words) as error:
        run(network, tmp_path / "out", **settings)
    assert "GiB are free; use fewer" in str(error.value)
    assert not (tmp_path / "out").exists()
