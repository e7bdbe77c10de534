"""The diagonalization of 6x6, proved on 4x4 and on 4x6 (24 sites), where whole spaces are at hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

from qmcbench.reference import (
    ReferenceLayerError,
    diagonalize_sparse,
    ed_sparse,
    exact,
    ground_state,
    requirements,
    store,
)
from qmcbench.reference.lanczos import ground_states
from qmcbench.reference.sector import Sector, build


@pytest.fixture(scope="module")
def rectangle() -> Sector:
    """4x6: 15 578 orbits."""
    return build(4, 6)


def test_equal_to_dense_diagonalization_on_4x4() -> None:
    """Energies and gaps to 1e-10 at all J2; correlations of S^z stand for those of S to 1e-9."""
    for found in diagonalize_sparse(4, store.STORED_J2):
        dense = exact(4, found.J2)
        assert found.total_energy == pytest.approx(dense.total_energy, rel=0, abs=1e-10)
        assert found.gap == pytest.approx(dense.gap, rel=0, abs=1e-10)
        assert found.states == dense.states == 107
        assert found.residual < 1e-9
        assert found.spin_correlation == pytest.approx(dense.spin_correlation, rel=0, abs=1e-9)
        assert found.structure_factor_pi_pi == pytest.approx(dense.structure_factor_pi_pi, rel=0, abs=1e-9)
        assert found.structure_factor_pi_0 == pytest.approx(dense.structure_factor_pi_0, rel=0, abs=1e-9)


@pytest.mark.parametrize("J2", [0.0, 0.5, 1.0])
def test_equal_to_the_unsymmetrised_matrix_on_4x4(J2: float) -> None:
    """The sector holds the ground state of all 12 870 configurations."""
    (found,) = diagonalize_sparse(4, [J2])
    assert found.total_energy == pytest.approx(ground_state(4, J2)[0], rel=0, abs=1e-10)


def test_4x6_equals_quspin_without_point_group(rectangle: Sector) -> None:
    """The ground state of 24 sites among all 112 720 zero-momentum states of QuSpin's own basis, J2 = 0.5."""
    from quspin.basis import spin_basis_general
    from quspin.operators import hamiltonian

    sites = np.arange(24).reshape(4, 6)
    basis = spin_basis_general(
        24,
        Nup=12,
        pauli=False,
        ky=(np.roll(sites, 1, axis=0).ravel(), 0),
        kx=(np.roll(sites, 1, axis=1).ravel(), 0),
    )
    pairs = [
        (weight, a, b)
        for weight, step in ((1.0, (0, 1)), (1.0, (1, 0)), (0.5, (1, 1)), (0.5, (1, -1)))
        for a, b in zip(sites.ravel(), np.roll(sites, (-step[0], -step[1]), axis=(0, 1)).ravel(), strict=True)
    ]
    flips = [[weight / 2, a, b] for weight, a, b in pairs]
    terms = [["+-", flips], ["-+", flips], ["zz", [list(pair) for pair in pairs]]]
    no_checks = {"check_herm": False, "check_symm": False, "check_pcon": False}
    matrix = hamiltonian(terms, [], basis=basis, dtype=np.float64, **no_checks).tocsr()
    assert matrix.shape[0] > 100_000
    expected = eigsh(matrix, k=1, which="SA", v0=np.ones(matrix.shape[0]), return_eigenvectors=False, tol=1e-11)[0]
    found = ground_states(rectangle, [0.5])
    assert found.energies[0] == pytest.approx(expected, rel=0, abs=1e-9)
    assert found.residuals[0] < 1e-9


def test_couplings_together_equal_couplings_alone(rectangle: Sector) -> None:
    """Interleaved vectors do not mix."""
    together = ground_states(rectangle, [0.0, 0.5, 1.0])
    for column, J2 in enumerate([0.0, 0.5, 1.0]):
        alone = ground_states(rectangle, [J2])
        assert together.energies[column] == pytest.approx(alone.energies[0], rel=0, abs=1e-10)
        assert together.gaps[column] == pytest.approx(alone.gaps[0], rel=0, abs=1e-4)
        overlap = (together.vectors[:, column] * alone.vectors[:, 0] / rectangle.stabiliser).sum()
        assert abs(overlap) == pytest.approx(1.0, abs=1e-10)


def test_residual_is_that_of_the_vector(rectangle: Sector) -> None:
    """A looser tolerance gives a residual that shows it, and an energy off by no more than its square allows."""
    tight, loose = ground_states(rectangle, [0.5]), ground_states(rectangle, [0.5], tolerance=1e-3)
    assert tight.residuals[0] < 1e-9 < 1e-6 < loose.residuals[0] < 1e-3
    assert 0 <= loose.energies[0] - tight.energies[0] < loose.residuals[0] ** 2 / tight.gaps[0]


def test_interrupted_build_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are there are not made again, and the result is the same."""
    calls: list[str] = []

    def stop_at_the_tenth_part(what: str, done: int, total: int) -> None:
        calls.append(what)
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(4, 4, tmp_path, stop_at_the_tenth_part)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 10
    resumed = build(4, 4, tmp_path)
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in kept.items())
    fresh = build(4, 4)
    for name in {field.name for field in dataclasses.fields(Sector)} - {"seconds"}:
        assert np.array_equal(getattr(resumed, name), getattr(fresh, name)), name
    assert resumed.seconds > 0


def test_parts_of_another_cluster_are_refused(tmp_path: Path) -> None:
    """A folder of 4x4 does not serve 4x6, even if only the basis was finished."""
    build(4, 4, tmp_path)
    for part in tmp_path.glob("exchanges_*"):
        part.unlink()
    with pytest.raises(ReferenceLayerError, match=r"another build than 4x6: name another folder"):
        build(4, 6, tmp_path)


def test_damaged_and_unwritable_parts_are_one_sentence(tmp_path: Path) -> None:
    """With what to do about it."""
    build(4, 4, tmp_path)
    (tmp_path / "exchanges_03.npz").write_bytes(b"PK damaged")
    with pytest.raises(ReferenceLayerError, match=r"exchanges_03\.npz cannot be read .*delete it"):
        build(4, 4, tmp_path)
    with pytest.raises(ReferenceLayerError, match=r"cannot make .*name another folder"):
        build(4, 4, tmp_path / "basis.npz" / "below")


def test_too_little_memory_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names what is needed and what there is."""

    class Memory:
        available = 3_000_000_000

    monkeypatch.setattr(ed_sparse.psutil, "virtual_memory", Memory)
    with pytest.raises(ReferenceLayerError, match=r"6x6 needs about \d\.\d GB of memory, but 3\.0 GB are free"):
        diagonalize_sparse(6, [0.5])


@pytest.mark.parametrize(("L", "message"), [(8, "only L = 4 and 6 can"), (2, "only L = 4 and 6 can")])
def test_other_lattices_are_refused(L: int, message: str) -> None:
    """With what can be done instead."""
    with pytest.raises(ReferenceLayerError, match=message):
        requirements(L, 1)


def test_bad_coupling_is_refused() -> None:
    """Before the long build."""
    with pytest.raises(ReferenceLayerError, match="J2 = nan is not a finite number"):
        diagonalize_sparse(6, [0.5, float("nan")])


def test_estimate_grows_with_the_couplings() -> None:
    """One interleaved vector element per coupling, up to eight; then more runs."""
    one, eight, sixteen = (requirements(6, n) for n in (1, 8, 16))
    assert one.memory < eight.memory == sixteen.memory < 20e9
    assert one.seconds == eight.seconds < sixteen.seconds
