"""The diagonalization of 6x6, proved on 4x4 and on 4x6 (24 sites), where whole spaces are at hand."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

from qmcbench.reference import (
    ReferenceLayerError,
    diagonalize_sparse,
    ed,
    ed_sparse,
    exact,
    ground_state,
    lanczos,
    orbits,
    requirements,
    store,
)
from qmcbench.reference.hamiltonian import Problem
from qmcbench.reference.irrep import IRREPS, Irrep
from qmcbench.reference.lanczos import lowest_states
from qmcbench.reference.orbits import Orbits, build, complete
from qmcbench.reference.pieces import Pieces


@pytest.fixture(scope="module")
def rectangle() -> Orbits:
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


def test_4x6_equals_quspin_without_point_group(rectangle: Orbits) -> None:
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
    (found,) = lowest_states(rectangle, [Problem(0.5)])
    assert found.energy == pytest.approx(expected, rel=0, abs=1e-9)
    assert found.residual < 1e-9


def sector_matrix(square: Orbits, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Dense Hamiltonian of a sector in orthonormal states, from the list of exchanges; which orbits it has."""
    n, sites = len(square.states), square.rows * square.columns
    matrix, signs = np.zeros((n, n)), problem.irrep.signs
    for r in range(n):
        packed = square.exchanges[square.starts[r] : square.starts[r + 1]]
        target, elements = packed & ((1 << orbits.INDEX_BITS) - 1), signs[packed >> orbits.INDEX_BITS] / 2
        near = np.arange(len(packed)) < square.nearest[r]
        weights = np.where(near, 1.0, problem.J2)
        matrix[r, r] += 0.5 * (sites - near.sum()) + problem.J2 * 0.5 * (sites - (~near).sum())
        np.add.at(matrix[r], target, weights * elements)
    roots = np.sqrt(square.stabiliser.astype(float))
    allowed = problem.irrep.allowed(square.seen)
    return (matrix * roots / roots[:, None])[np.ix_(allowed, allowed)], allowed


def quspin_spectrum(irrep: Irrep, J2: float) -> np.ndarray:
    """All energies of 4x4 in a sector, from QuSpin's own basis and Hamiltonian."""
    from quspin.basis import spin_basis_general
    from quspin.operators import hamiltonian

    sites, back = np.arange(16).reshape(4, 4), -np.arange(4) % 4
    momentum = 0 if irrep.translation > 0 else 2
    reflection, transposition, inversion = (
        int(character < 0) for character in (irrep.reflection, irrep.transposition, irrep.inversion)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="using non-commuting symmetries")
        basis = spin_basis_general(
            16,
            Nup=8,
            pauli=False,
            kx=(np.roll(sites, 1, axis=0).ravel(), momentum),
            ky=(np.roll(sites, 1, axis=1).ravel(), momentum),
            px=(sites[back].ravel(), reflection),
            py=(sites[:, back].ravel(), reflection),
            pd=(sites.T.ravel(), transposition),
            z=(-(sites.ravel() + 1), inversion),
        )
    pairs = ed._bonds(4, J2)
    flips = [[weight / 2, a, b] for weight, a, b in pairs]
    terms = [["+-", flips], ["-+", flips], ["zz", [list(pair) for pair in pairs]]]
    no_checks = {"check_herm": False, "check_symm": False, "check_pcon": False}
    return np.linalg.eigvalsh(hamiltonian(terms, [], basis=basis, dtype=np.float64, **no_checks).toarray())


@pytest.fixture(scope="module")
def square() -> Orbits:
    return build(4, 4)


@pytest.mark.parametrize("irrep", IRREPS, ids=lambda irrep: irrep.code)
def test_every_sector_has_quspins_spectrum(irrep: Irrep, square: Orbits) -> None:
    """One list of exchanges with parities serves all sixteen sectors of 4x4: every energy of each, J2 = 0.65."""
    matrix, allowed = sector_matrix(square, Problem(0.65, irrep))
    assert np.abs(matrix - matrix.T).max() < 1e-14
    expected = quspin_spectrum(irrep, 0.65)
    assert len(expected) == allowed.sum() > 30
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), expected, rtol=0, atol=1e-12)


def test_sectors_together_equal_dense_algebra(square: Orbits) -> None:
    """Interleaved sectors do not mix: energy, gap, vector and its zeros of each, at two couplings."""
    problems = [Problem(J2, irrep) for irrep in IRREPS for J2 in (0.5, 1.0)]
    for start in range(0, len(problems), 8):
        for found in lowest_states(square, problems[start : start + 8]):
            matrix, allowed = sector_matrix(square, found.problem)
            energies, vectors = np.linalg.eigh(matrix)
            above = energies[energies > energies[0] + 1e-6]
            assert found.energy == pytest.approx(energies[0], rel=0, abs=1e-11)
            assert found.gap == pytest.approx(above[0] - energies[0], rel=0, abs=1e-4)
            assert not found.vector[~allowed].any()
            if above[0] == energies[1]:
                overlap = (found.vector / np.sqrt(square.stabiliser.astype(float)))[allowed] @ vectors[:, 0]
                assert abs(overlap) == pytest.approx(1, abs=1e-12)


def test_ground_state_of_4x4_is_in_the_fully_symmetric_sector(square: Orbits) -> None:
    """Of all states with S^z = 0, at every stored coupling; B1 is next from J2 = 0.5 on, 0.07 above at least."""
    for J2 in store.STORED_J2:
        lowest = {irrep: np.linalg.eigvalsh(sector_matrix(square, Problem(J2, irrep))[0])[0] for irrep in IRREPS}
        symmetric = lowest.pop(IRREPS[0])
        assert symmetric == pytest.approx(ground_state(4, J2)[0], rel=0, abs=1e-9)
        following = min(lowest, key=lambda irrep: lowest[irrep])
        assert lowest[following] > symmetric + 0.07
        assert following.code == "0B1+" or J2 < 0.5


def test_couplings_together_equal_couplings_alone(rectangle: Orbits) -> None:
    """Interleaved vectors do not mix."""
    for found in lowest_states(rectangle, [Problem(J2) for J2 in (0.0, 0.5, 1.0)]):
        (alone,) = lowest_states(rectangle, [found.problem])
        assert found.energy == pytest.approx(alone.energy, rel=0, abs=1e-10)
        assert found.gap == pytest.approx(alone.gap, rel=0, abs=1e-4)
        overlap = (found.vector * alone.vector / rectangle.stabiliser).sum()
        assert abs(overlap) == pytest.approx(1.0, abs=1e-10)


def test_residual_is_that_of_the_vector(rectangle: Orbits) -> None:
    """A looser tolerance gives a residual that shows it, and an energy off by no more than its square allows."""
    (tight,), (loose,) = (lowest_states(rectangle, [Problem(0.5)], tolerance=size) for size in (1e-9, 1e-3))
    assert tight.residual < 1e-9 < 1e-6 < loose.residual < 1e-3
    assert 0 <= loose.energy - tight.energy < loose.residual**2 / tight.gap


def test_no_orbit_is_missing(square: Orbits) -> None:
    """The lengths of the orbits add up to all configurations, and do not when one is lost, changed or doubled."""
    states, orders = square.states, square.stabiliser
    assert complete(4, 4, states, orders)
    assert not complete(4, 4, states[1:], orders[1:])
    assert not complete(4, 4, np.insert(states[:-1], 0, states[0]), np.insert(orders[:-1], 0, orders[-1]))
    wrong = orders.copy()
    wrong[5] *= 2
    assert not complete(4, 4, states, wrong)


def test_quspin_is_a_judge(square: Orbits) -> None:
    """All exchanges on every bond of 4x4 are QuSpin's; a wrong stabiliser or a state too many is seen."""
    for bond in "xyda":
        for site in range(16):
            orbits.compare(square, bond, site, range(107))
    wrong = square.stabiliser.copy()
    wrong[40] *= 2
    with pytest.raises(AssertionError, match="QuSpin finds other exchanges on the bond 'd' of site 9 of 4x4"):
        orbits.compare(dataclasses.replace(square, stabiliser=wrong), "d", 9, range(107))
    # Every parity wrong by an inversion, and only the identity in each stabiliser.
    turned = dataclasses.replace(square, seen=np.full_like(square.seen, 1 << 8))
    with pytest.raises(AssertionError, match="QuSpin finds other exchanges on the bond 'x' of site 6"):
        orbits.compare(turned, "x", 6, range(107))


def test_interrupted_build_resumes(tmp_path: Path, square: Orbits) -> None:
    """Parts that are there are not made again, and the result is the same."""

    def stop_at_the_tenth_part(what: str, done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(4, 4, tmp_path, stop_at_the_tenth_part)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 10
    resumed = build(4, 4, tmp_path)
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in kept.items())
    for name in {field.name for field in dataclasses.fields(Orbits)} - {"seconds"}:
        assert np.array_equal(getattr(resumed, name), getattr(square, name)), name
    assert resumed.seconds > 0


@pytest.mark.parametrize("stop", ["Lanczos", "lowest states"])
def test_interrupted_lanczos_resumes(
    stop: str, rectangle: Orbits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either pass it goes on where it was saved, and ends with the same bits as a run that was not interrupted."""
    monkeypatch.setattr(lanczos, "SAVE_EVERY", 0.0)
    problems = [Problem(0.5), Problem(0.9)]
    seen: list[tuple[str, int]] = []

    def watch(what: str, done: int, total: int) -> None:
        seen.append((what, done))
        if stop in what and done == 7 and len(seen) == seen.index((what, done)) + 1 and not resumed:
            raise KeyboardInterrupt

    resumed = False
    with pytest.raises(KeyboardInterrupt):
        lowest_states(rectangle, problems, kept=Pieces(tmp_path), progress=watch)
    resumed = True
    assert len(list(tmp_path.iterdir())) == 1
    seen.clear()
    calls = count_products(monkeypatch)
    again = lowest_states(rectangle, problems, kept=Pieces(tmp_path), progress=watch)
    products = len(calls)
    assert not list(tmp_path.iterdir()), "an unfinished run is forgotten when it has ended"
    calls.clear()
    fresh = lowest_states(rectangle, problems)
    assert products < len(calls), "what was saved must not be computed again"
    for one, other in zip(again, fresh, strict=True):
        assert one.energy == other.energy
        assert np.array_equal(one.vector, other.vector)


def count_products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every product with the Hamiltonian."""
    calls: list[int] = []
    apply = lanczos.Hamiltonian.apply

    def counted(self: lanczos.Hamiltonian, *arguments: np.ndarray) -> np.ndarray:
        calls.append(1)
        return apply(self, *arguments)

    monkeypatch.setattr(lanczos.Hamiltonian, "apply", counted)
    return calls


def test_states_found_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call needs no product; a damaged or foreign one is one sentence."""
    first = list(diagonalize_sparse(4, [0.5, 0.8], tmp_path))
    calls = count_products(monkeypatch)
    second = list(diagonalize_sparse(4, [0.8, 0.5], tmp_path))
    assert not calls
    assert [row.energy for row in second] == [row.energy for row in first[::-1]]
    assert second[0].spin_correlation == first[1].spin_correlation
    (state,) = tmp_path.glob("state_0B1+_0.8.npz")
    np.savez(state, np.zeros(7), np.zeros(106))
    with pytest.raises(ReferenceLayerError, match=r"another lattice's state state_0B1\+_0\.8: name another folder"):
        list(diagonalize_sparse(4, [0.8], tmp_path))


def test_lower_sector_is_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the candidates the lower one is taken, named, and the other one listed."""
    monkeypatch.setattr(ed_sparse, "CANDIDATES", (Irrep(transposition=-1), Irrep()))
    (found,) = diagonalize_sparse(4, [1.0])
    assert found.sector == exact(4, 1.0).sector
    assert found.total_energy == pytest.approx(exact(4, 1.0).total_energy, abs=1e-10)
    assert found.other_sectors == {"k=(0,0) B1 z=+1": pytest.approx(-11.608806942981, abs=1e-10)}
    assert "-0.768468139" in found.ground_state


def test_parts_of_another_cluster_are_refused(tmp_path: Path) -> None:
    """A folder of 4x4 does not serve 4x6, nor 6x4 even if only the basis was finished."""
    build(4, 4, tmp_path)
    with pytest.raises(ReferenceLayerError, match=r"another build than 4x6: name another folder"):
        build(4, 6, tmp_path)
    for part in tmp_path.glob("exchanges_*"):
        part.unlink()
    with pytest.raises(ReferenceLayerError, match=r"another build than 6x4: name another folder"):
        build(6, 4, tmp_path)


DAMAGES = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "no archive": lambda content: b"PK damaged",
    "a bit flipped": lambda content: content[:300] + bytes([content[300] ^ 4]) + content[301:],
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["basis_14", "exchanges_03"])
def test_damaged_pieces_are_one_sentence(name: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """With what to do about it; the piece is not touched."""
    build(4, 4, tmp_path)
    path = tmp_path / f"{name}.npz"
    path.write_bytes(damaged := damage(path.read_bytes()))
    with pytest.raises(ReferenceLayerError, match=rf"{name}\.npz cannot be read .*delete it") as refusal:
        build(4, 4, tmp_path)
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == damaged


def test_pieces_of_another_shape_are_one_sentence(tmp_path: Path) -> None:
    """Arrays that are not what the name promises, none at all, compressed ones, and a folder that cannot be made."""
    build(4, 4, tmp_path)
    piece = tmp_path / "exchanges_03.npz"
    for arrays, words in (
        ((np.zeros(3, np.uint32), np.float64(1)), "another build than 4x4"),
        ((np.float64(1),), "another build than 4x4"),
        ((), "holds nothing: delete it"),
    ):
        np.savez(piece, *arrays)
        with pytest.raises(ReferenceLayerError, match=words):
            build(4, 4, tmp_path)
    np.savez_compressed(piece, np.zeros(1 << 20))
    with pytest.raises(ReferenceLayerError, match=r"cannot be read \(compressed by another program\)"):
        build(4, 4, tmp_path)
    with pytest.raises(ReferenceLayerError, match=r"cannot make .*name another folder"):
        build(4, 4, tmp_path / "basis_15.npz" / "below")


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
    """One interleaved vector element per coupling and sector, up to eight; then more runs."""
    one, four, eight = (requirements(6, n) for n in (1, 4, 8))
    assert one.memory < four.memory == eight.memory < 9e9
    assert 600 < one.seconds < four.seconds < eight.seconds < 4000
    assert one.disk < four.disk < eight.disk < 15e9
