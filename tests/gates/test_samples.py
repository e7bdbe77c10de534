"""Files of samples: right ones pass, each mistake is seen by the gate for it, and none is read blindly."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers.samples import Written, drawn, generic, near_ground_state, system
from numpy.typing import NDArray

from qmcbench import reference
from qmcbench.errors import UserError
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.sampled import tail
from qmcbench.gates.targets.load import load


@cache
def file() -> Written:
    """Independent samples of a complex psi without symmetry on 4x4."""
    return drawn(generic(), seed=1)


@cache
def near() -> Written:
    """Those of a psi near the ground state, which has few configurations."""
    return drawn(near_ground_state(), seed=1)


def checks(written: Written, folder: Path, *only: str) -> list[Check]:
    """Checks of some gates, all of the level by default."""
    target = load(str(written.save(folder / "samples.npz")))
    plan = Plan(only=only or ("samples/*",))
    return [check for each in outcomes(target, plan) for check in each.checks]


def failed(found: list[Check]) -> set[str]:
    """Names of the gates that failed, without their level."""
    return {check.gate.removeprefix("samples/") for check in found if check.verdict is Verdict.FAIL}


def test_a_file_of_a_program_that_knows_nothing_of_qmcbench_passes(tmp_path: Path) -> None:
    """All gates run on it and pass; its energy is the full sum's."""
    found = checks(file(), tmp_path)
    assert {check.verdict for check in found} == {Verdict.PASS}
    assert len({check.gate for check in found}) == 8


def test_samples_near_the_ground_state_pass(tmp_path: Path) -> None:
    """Symmetry makes many local energies equal, and few configurations are drawn: neither is an alarm."""
    found = checks(near(), tmp_path)
    assert {check.verdict for check in found} == {Verdict.PASS, Verdict.NOT_MEASURED}
    assert {check.gate for check in found if check.verdict is Verdict.NOT_MEASURED} == {"samples/unseen"}


def test_other_alphas_pass_when_they_are_said(tmp_path: Path) -> None:
    """Samples of |psi| with alpha = 1 in the file: distribution and reweighted energy hold."""
    found = checks(drawn(generic(), seed=2, alpha=1.0), tmp_path, "samples/distribution", "samples/energy")
    assert {check.verdict for check in found} == {Verdict.PASS}


def without_hastings_factor() -> Written:
    """Samples of |psi|^2 times the number of possible exchanges."""
    root = np.sqrt(moves(system(0.5)[0].reshape(-1, 4, 4)))
    weighted = drawn(generic() * root, seed=3)
    return replace(weighted, log_psi=weighted.log_psi - np.log(moves(weighted.spins)) / 2)


def moves(spins: NDArray[np.int8]) -> NDArray[np.float64]:
    """The number of antiparallel neighbours."""
    return np.sum([(spins != np.roll(spins, 1, axis)).sum((1, 2)) for axis in (1, 2)], axis=0, dtype=np.float64)


def windowed(written: Written) -> Written:
    """Without the samples whose local energies are among the 3 % at either end."""
    energy = written.local_energies.real
    low, high = np.quantile(energy, [0.03, 0.97])
    return written.kept((energy > low) & (energy < high))


def clipped(written: Written) -> Written:
    """With these local energies cut off."""
    energy = written.local_energies.real
    return replace(written, local_energies=np.clip(energy, *np.quantile(energy, [0.03, 0.97])) + 0j)


def unequal(written: Written) -> Written:
    """psi of other parameters in the second half of each chain."""
    late = np.arange(len(written.chain)) % 500 >= 250
    return replace(written, log_psi=written.log_psi * np.where(late, 1.01, 1.0))


def frozen(written: Written) -> Written:
    """A chain that stays where it begins."""
    spins, log_psi, energies = (getattr(written, name).copy() for name in ("spins", "log_psi", "local_energies"))
    for values in (spins, log_psi, energies):
        values[:500] = values[0]
    return replace(written, spins=spins, log_psi=log_psi, local_energies=energies)


def flipped(written: Written) -> Written:
    """A configuration of S^z = 1."""
    spins = written.spins.copy()
    spins[7] = np.abs(spins[7])
    return replace(written, spins=spins)


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        pytest.param(lambda: replace(file(), alpha=1.0), {"distribution"}, id="another alpha"),
        pytest.param(without_hastings_factor, {"distribution"}, id="no Hastings factor"),
        pytest.param(lambda: windowed(file()), {"window", "unseen"}, id="window"),
        pytest.param(lambda: clipped(file()), {"window", "local-energies"}, id="clipped"),
        pytest.param(lambda: clipped(near()), {"window"}, id="clipped near the ground state"),
        pytest.param(lambda: replace(file(), J2=0.4), {"local-energies"}, id="another J2"),
        pytest.param(lambda: unequal(near()), {"amplitudes"}, id="parameters changed"),
        pytest.param(lambda: frozen(near()), {"chains"}, id="frozen chain"),
        pytest.param(lambda: flipped(near()), {"configurations"}, id="S^z left"),
    ],
)
def test_each_mistake_fails_at_its_gate(change: Callable[[], Written], gates: set[str], tmp_path: Path) -> None:
    """The gates that are meant for a mistake see it."""
    names = [f"samples/{gate}" for gate in gates]
    assert failed(checks(change(), tmp_path, *names)) == gates


@pytest.mark.parametrize(
    ("factor", "words"),
    [(4, "4 times the exact energy: Pauli matrices?"), (1 / 16, "1/16 of the exact energy: per site")],
    ids=["Pauli", "per site"],
)
def test_units_are_recognised(factor: float, words: str, tmp_path: Path) -> None:
    """Local energies of other units fail, and the cause is named."""
    wrong = replace(near(), local_energies=factor * near().local_energies)
    (check,) = checks(wrong, tmp_path, "samples/local-energies")
    assert check.verdict is Verdict.FAIL
    assert check.cause is not None
    assert words in check.cause


def test_energies_below_the_exact_one_fail(tmp_path: Path) -> None:
    """Local energies 1 % too low: 30 standard errors below the exact energy near the ground state."""
    wrong = replace(near(), local_energies=near().local_energies * 1.01)
    assert failed(checks(wrong, tmp_path, "samples/energy")) == {"energy"}
    assert reference.exact(4, 0.5).energy > (near().local_energies * 1.01).real.mean() / 16


def test_few_samples_decide_nothing(tmp_path: Path) -> None:
    """Of 300 samples the statistical gates are INCONCLUSIVE or not measured, and none passes."""
    few = drawn(generic(), seed=1, chains=6, length=50)
    found = checks(few, tmp_path, "samples/distribution", "samples/energy", "samples/unseen")
    assert {check.verdict for check in found} <= {Verdict.INCONCLUSIVE, Verdict.NOT_MEASURED}


def test_a_window_on_a_large_lattice(tmp_path: Path) -> None:
    """12x12, where no configuration comes twice: local energies within 2.5 sigma only are seen, all of them pass."""
    rng = np.random.default_rng(0)
    count = 32_000
    spins = np.where(rng.random((count, 144)).argsort(1) < 72, 1, -1).astype(np.int8)
    energy = -0.4976 + 0.008 * rng.normal(size=count)
    log_psi = rng.normal(size=count) + 1j * np.pi * rng.integers(2, size=count)
    whole = Written(spins, log_psi, np.arange(count) // 500, energy * 144 + 0j)
    assert not failed(checks(whole, tmp_path))
    assert failed(checks(whole.kept(np.abs(energy + 0.4976) < 0.02), tmp_path)) == {"window"}


def test_tails_and_edges() -> None:
    """Normal, exponential and heavy tails have nothing missing, at 50 seeds; cut at 2.5 sigma they have."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        for values in (rng.normal(size=20_000), rng.exponential(size=20_000), rng.standard_cauchy(size=20_000)):
            assert tail(values) < 20
            assert tail(-values) < 20 or values.min() >= 0  # an exponential has one edge
        assert tail(np.sort(rng.normal(size=200_000))[:-1200]) > 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"log_psi": None}, ("no array 'log_psi'",), id="array missing"),
        pytest.param({"energy": np.zeros(32000)}, ("'energy'", "local_energies"), id="unknown array"),
        pytest.param({"spins": np.ones((5, 3, 3))}, ("(5, 3, 3)", "(samples, L, L)"), id="odd lattice"),
        pytest.param({"spins": np.full((32000, 4, 4), 0.5)}, ("small integers",), id="no spins"),
        pytest.param({"log_psi": np.zeros(32000)}, ("real numbers", "complex"), id="real log psi"),
        pytest.param({"log_psi": np.zeros(3, complex)}, ("(3,)", "(32000,)"), id="another length"),
        pytest.param({"chain": np.zeros(32000)}, ("chain", "integers"), id="chain of floats"),
        pytest.param({"alpha": np.nan}, ("alpha", "finite"), id="alpha not finite"),
        pytest.param({"J2": None}, ("J2", "--j2"), id="energies without J2"),
        pytest.param({"chain": np.array([None])}, ("dtype",), id="pickled object"),
    ],
)
def test_a_wrong_file_is_one_sentence(change: dict[str, object], words: tuple[str, ...], tmp_path: Path) -> None:
    """What is wrong, and what belongs there; nothing in a pickle is run."""
    arrays = {name: value for name, value in (vars(file()) | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError) as caught:
        load(str(tmp_path / "a.npz"))
    for word in words:
        assert word in str(caught.value)


def test_a_file_of_another_lattice_than_is_asked_for_is_refused(tmp_path: Path) -> None:
    """The file's L and J2 count; others on the command line are a mistake."""
    path = str(near().save(tmp_path / "a.npz"))
    assert (load(path).L, load(path).J2) == (4, 0.5)
    with pytest.raises(UserError, match="says L = 4, but L = 6"):
        load(path, L=6)
    with pytest.raises(UserError, match=r"says J2 = 0\.5, but J2 = 0\.4"):
        load(path, J2=0.4)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes that claim to be gigabytes are refused at the limit."""
    from qmcbench.gates.targets import files

    monkeypatch.setattr(files, "ALLOWED", replace(files.ALLOWED, size=1 << 20))
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("spins.npy", "w") as out,
    ):
        np.lib.format.write_array(out, np.zeros((1 << 22,), np.int8))
    with pytest.raises(UserError, match="more than 1 MiB"):
        load(str(tmp_path / "a.npz"))
