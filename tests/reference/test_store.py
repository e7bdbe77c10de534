"""The committed reference values: equal to live computation, consistent with each other, with sources."""

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from qmcbench.reference import ExactResult, ReferenceLayerError, energy, exact, known_energy, paper, store
from qmcbench.reference.ed import orbit

STORED = store.stored()


def physics(result: ExactResult) -> dict[str, float]:
    """Every number that does not depend on the machine or the day."""
    fields = {name: value for name, value in asdict(result).items() if isinstance(value, int | float)}
    return fields | result.spin_correlation


@pytest.mark.parametrize("J2", [0.0, 0.55, 0.8])
def test_store_equals_live_computation(J2: float) -> None:
    """What is committed is what the code computes."""
    live = exact(4, J2, recompute=True)
    assert physics(exact(4, J2)) == pytest.approx(physics(live), rel=0, abs=1e-10)
    assert exact(4, J2).sector == live.sector


def test_stored_couplings_are_never_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers within 1e-12 of each of its couplings, and what it lacks is computed."""
    monkeypatch.setattr(store, "diagonalize", lambda L, J2: replace(STORED[0], L=L, J2=J2, sector="computed"))
    for result in STORED:
        assert exact(result.L, result.J2 + 5e-13) is result
    computed = exact(4, 0.5 + 1e-9)
    assert (computed.sector, computed.J2) == ("computed", 0.5 + 1e-9)
    assert exact(4, 0.5, recompute=True).sector == "computed"


def test_every_coupling_is_stored_once() -> None:
    """4x4 has all; 6x6 has those of the paper and J2 = 0 at least."""
    couplings = {L: [row.J2 for row in STORED if row.L == L] for L in (4, 6)}
    assert couplings[4] == list(store.STORED_J2)
    assert couplings[6] == sorted({0.0, 0.4, *paper.table4["J2"]} | set(couplings[6]) & set(store.STORED_J2))


@pytest.mark.parametrize("result", STORED, ids=lambda result: f"{result.L}x{result.L}-J2={result.J2}")
def test_stored_diagnostics(result: ExactResult) -> None:
    """Every stored row is converged, isolated, a singlet, follows from its correlations, and has provenance."""
    correlation = result.spin_correlation
    assert result.states == {4: 107, 6: 15_804_956}[result.L]
    assert result.residual < 1e-8
    assert result.gap > 0.1
    assert result.energy == pytest.approx(2 * correlation["0,1"] + 2 * result.J2 * correlation["1,1"], abs=1e-9)
    total = sum(len(orbit(result.L, *map(int, d.split(",")))) * value for d, value in correlation.items())
    assert total == pytest.approx(0, abs=1e-9)
    assert set(result.provenance) >= {"command", "method", "versions", "machine", "seconds", "date"}
    assert set(result.provenance["versions"]) == {"python", "quspin", "numpy", "scipy", "numba"}
    assert "/" not in result.provenance["machine"]


def test_no_stored_state_undercuts_another() -> None:
    """Variational principle: each ground state, as a trial state at any other coupling, lies above that one's energy.

    The trial energy is E(J2) + 2 (J2' - J2) C(1,1), so this checks energies and correlations of all pairs at once.
    """
    for trial, target in itertools.permutations(STORED, 2):
        if trial.L != target.L:
            continue
        trial_energy = trial.energy + 2 * (target.J2 - trial.J2) * trial.spin_correlation["1,1"]
        assert trial_energy > target.energy, f"the state of J2 = {trial.J2} undercuts J2 = {target.J2}"


@pytest.mark.parametrize("L", [4, 6])
def test_energy_is_concave_in_the_coupling(L: int) -> None:
    """A minimum of functions linear in J2 is concave: the slope never rises."""
    rows = [(row.J2, row.energy) for row in STORED if row.L == L]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(rows)]
    assert len(slopes) >= 7
    assert all(later < earlier for earlier, later in itertools.pairwise(slopes))


@pytest.mark.parametrize("J2", [0.0, 0.5, 0.55])
def test_6x6_energies_are_the_published_ones(J2: float) -> None:
    """Independent diagonalizations agree to every digit that they quote; at J2 = 0 and 0.5 to 1e-7 a site."""
    row = energy(6, J2, "exact")
    assert exact(6, J2).energy == pytest.approx(row.energy, rel=0, abs=row.resolution + 1e-12)
    assert row.resolution < (1e-5 if J2 == 0.55 else 1e-7)


@pytest.mark.parametrize("L", [4, 6])
def test_known_energy_is_the_store(L: int) -> None:
    """Answers come from the store and say so; couplings that are not stored give None, at no cost."""
    stored = exact(L, 0.5)
    version = stored.provenance["versions"]["quspin"]
    assert known_energy(L, 0.5) == (stored.energy, f"qmcbench store, exact diagonalization with QuSpin {version}")
    assert known_energy(L, 0.123) is None
    assert known_energy(10, 0.5) is None


def test_known_energy_falls_back_on_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lattice that the store lacks has the best published exact energy, with its citation."""
    monkeypatch.setattr(store, "stored", lambda: ())
    known = known_energy(6, 0.5)
    assert known is not None
    assert known[0] == pytest.approx(-0.5038096539, abs=1e-10)
    assert "VarBench" in known[1]


def test_6x6_is_computed_only_when_told_to() -> None:
    """A coupling that is not stored is refused in one sentence that says what it would take."""
    with pytest.raises(ReferenceLayerError, match=r"6x6 at J2 = 0\.51 is not stored .* minutes on 2 cores .* GB"):
        exact(6, 0.51)


def test_regeneration_writes_a_readable_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes exactly what the loader reads back, with progress on stderr and nothing on stdout."""
    monkeypatch.setattr(store, "STORED_J2", (0.5,))
    assert store.main([str(tmp_path / "ed.json")]) == 0
    monkeypatch.setattr(store, "STORED_J2", (0.2, 0.5))
    first = (tmp_path / "ed.json").read_text()
    assert store.main([str(tmp_path / "ed.json")]) == 0
    earlier, row = json.loads((tmp_path / "ed.json").read_text())["results"]
    assert [row] == json.loads(first)["results"], "what is there must not be computed again"
    assert earlier["J2"] == 0.2
    assert physics(ExactResult(**row)) == pytest.approx(physics(exact(4, 0.5)), rel=0, abs=1e-10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "4x4, J2 = 0.5: E/N = -0.528620209" in captured.err


@pytest.mark.parametrize(("content", "words"), [(None, "another lattice than 6x6"), ("{", "Expecting")])
def test_regeneration_keeps_off_other_files(
    content: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store of 4x4 is not continued with 6x6, and a damaged one is one line; neither is touched."""
    path = tmp_path / "ed.json"
    path.write_text(content or json.dumps({"results": [asdict(exact(4, 0.5))]}))
    before = path.read_text()
    assert store.main([str(path), "--L", "6"]) == 2
    assert words in capsys.readouterr().err
    assert path.read_text() == before


def test_regeneration_reports_an_unwritable_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad output path is one line and exit status 2, no traceback."""
    monkeypatch.setattr(store, "STORED_J2", (0.5,))
    assert store.main([str(tmp_path / "missing" / "ed.json")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
