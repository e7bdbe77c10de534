"""What full sums are made with is prepared once, in a process of its own, and found again."""

from pathlib import Path

import numpy as np
import pytest

from qmcbench.reference import ReferenceLayerError, ground_state, hamiltonian, lanczos
from qmcbench.reference.apart import apart
from qmcbench.reference.full_sum import ground_alone, ground_kept, moments, orbits_and_ground, prepare, prepared
from qmcbench.reference.hamiltonian import Hamiltonian, Problem
from qmcbench.reference.irrep import IRREPS
from qmcbench.reference.orbits import build


@pytest.mark.parametrize("J2", [0.5, 0.123], ids=["stored", "not stored"])
def test_prepared_once(J2: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards neither exchanges nor products are computed, and the ground state is there."""
    assert not prepared(4, J2, tmp_path)
    apart(prepare, 4, J2, tmp_path)
    assert prepared(4, J2, tmp_path)
    assert not prepared(4, 0.6, tmp_path)

    def never(*arguments: object, **keywords: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("qmcbench.reference.orbits.find_exchanges", never)
    monkeypatch.setattr(lanczos.Hamiltonian, "apply", never)
    orbits, ground = orbits_and_ground(4, J2, tmp_path)
    assert len(orbits.states) == 107
    assert ground.energy == pytest.approx(ground_state(4, J2)[0], abs=1e-10)
    for piece in tmp_path.glob("exchanges_*.npz"):
        piece.unlink()
    assert not prepared(4, J2, tmp_path)


def test_a_look_up_needs_no_exchanges(tmp_path: Path) -> None:
    """The ground state alone is read without them, as it was with them; what is not there yet is computed."""
    orbits, whole = orbits_and_ground(4, 0.5, tmp_path)
    for piece in tmp_path.glob("exchanges_*.npz"):
        piece.unlink()
    assert ground_kept(4, 0.5, tmp_path)
    assert not ground_kept(4, 0.123, tmp_path)
    alone, state = ground_alone(4, 0.5, tmp_path)
    assert not list(tmp_path.glob("exchanges_*.npz"))
    np.testing.assert_array_equal(alone.states, orbits.states)
    np.testing.assert_array_equal(state.vector, whole.vector)
    assert state.energy == whole.energy
    _, other = ground_alone(4, 0.123, tmp_path)
    assert other.energy == pytest.approx(ground_state(4, 0.123)[0], abs=1e-10)


def test_state_of_another_sector_is_refused() -> None:
    """An amplitude that the sector forbids is an error, not projected away."""
    orbits = build(4, 4)
    with pytest.raises(ValueError, match=r"an amplitude that k=\(0,0\) A2 z=\+1 forbids is 1\.0e\+00 of the largest"):
        moments(orbits, Problem(0.5, IRREPS[1]), np.ones(107))
    for amplitudes in (np.zeros(107), np.full(107, np.nan)):
        with pytest.raises(ValueError, match="the largest amplitude is"):
            moments(orbits, Problem(0.5), amplitudes)


def test_ferromagnet_is_an_eigenstate() -> None:
    """All amplitudes equal: 1/4 for each bond, no variance, nowhere for Lanczos to go."""
    found = moments(build(4, 4), Problem(0.3), np.ones(107))
    assert found.energy == pytest.approx(16 * 0.5 * 1.3, abs=1e-12)
    assert found.variance < 1e-24
    assert found.one_step_energy == found.energy
    assert found.extrapolated is None


def test_products_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tick` is called between blocks of a product, as often as announced, and what it raises ends the product."""
    monkeypatch.setattr(hamiltonian, "BLOCKS", 1)
    orbits = build(4, 6)
    ticks: list[int] = []
    vector = np.ones((len(orbits.states), 1))
    Hamiltonian(orbits, [Problem(0.5)], lambda: ticks.append(1)).apply(vector, np.zeros_like(vector), np.zeros(1))
    assert len(ticks) == hamiltonian.ticks_of(orbits) == 4

    def stop() -> None:
        raise ReferenceLayerError("stop")

    with pytest.raises(ReferenceLayerError, match="stop"):
        Hamiltonian(orbits, [Problem(0.5)], stop).apply(vector, np.zeros_like(vector), np.zeros(1))
