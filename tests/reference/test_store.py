"""The committed reference values: equal to live computation, consistent with each other, with sources."""

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from qmcbench.reference import ExactResult, ReferenceLayerError, exact, known_energy, store

STORED = tuple(exact(4, J2) for J2 in store.STORED_J2)
PUBLISHED_6X6 = (0.0, 0.1, 0.2, 0.3, 0.4, 0.48, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)


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
        assert exact(4, result.J2 + 5e-13) is result
    computed = exact(4, 0.5 + 1e-9)
    assert (computed.sector, computed.J2) == ("computed", 0.5 + 1e-9)
    assert exact(4, 0.5, recompute=True).sector == "computed"


@pytest.mark.parametrize("result", STORED, ids=lambda result: f"J2={result.J2}")
def test_stored_diagnostics(result: ExactResult) -> None:
    """Every stored row is converged, isolated, a singlet, follows from its correlations, and has provenance."""
    correlation = result.spin_correlation
    degeneracy = {"0,0": 1, "0,1": 4, "1,1": 4, "0,2": 2, "1,2": 4, "2,2": 1}
    assert result.residual < 1e-8
    assert result.gap > 0.1
    assert result.energy == pytest.approx(2 * correlation["0,1"] + 2 * result.J2 * correlation["1,1"], abs=1e-10)
    assert sum(degeneracy[d] * value for d, value in correlation.items()) == pytest.approx(0, abs=1e-10)
    assert set(result.provenance) == {"command", "method", "versions", "machine", "seconds", "date"}
    assert set(result.provenance["versions"]) == {"python", "quspin", "numpy", "scipy"}
    assert "/" not in result.provenance["machine"]


def test_no_stored_state_undercuts_another() -> None:
    """Variational principle: each ground state, as a trial state at any other coupling, lies above that one's energy.

    The trial energy is E(J2) + 2 (J2' - J2) C(1,1), so this checks energies and correlations of all pairs at once.
    """
    for trial, target in itertools.permutations(STORED, 2):
        energy = trial.energy + 2 * (target.J2 - trial.J2) * trial.spin_correlation["1,1"]
        assert energy > target.energy, f"the state of J2 = {trial.J2} undercuts J2 = {target.J2}"


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(result.J2, result.energy) for result in STORED], id="4x4"),
        pytest.param([(J2, known[0]) for J2 in PUBLISHED_6X6 if (known := known_energy(6, J2))], id="6x6"),
    ],
)
def test_energy_is_concave_in_the_coupling(rows: list[tuple[float, float]]) -> None:
    """A minimum of functions linear in J2 is concave: the slope never rises (beyond the published digits)."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(rows)]
    assert len(slopes) >= 13
    assert all(later < earlier + 1e-4 for earlier, later in itertools.pairwise(slopes))


def test_known_energy_of_4x4_is_the_store() -> None:
    """4x4 answers come from the store and say so; couplings that are not stored give None, at no cost."""
    stored = exact(4, 0.5)
    version = stored.provenance["versions"]["quspin"]
    assert known_energy(4, 0.5) == (stored.energy, f"qmcbench store, exact diagonalization with QuSpin {version}")
    assert known_energy(4, 0.123) is None


def test_known_energy_of_6x6_is_published() -> None:
    """6x6 answers are literature values with a citation; other lattices have none."""
    known = known_energy(6, 0.5)
    assert known is not None
    assert known[0] == pytest.approx(-0.5038096539, abs=1e-10)
    assert "VarBench" in known[1]
    assert all(known_energy(6, J2) for J2 in PUBLISHED_6X6)
    assert known_energy(6, 0.45) is None
    assert known_energy(10, 0.5) is None


def test_6x6_rows_state_their_sources() -> None:
    """Each 6x6 energy is its quoted number (S.S per site, or Pauli units in total), seen in a document."""
    rows = store._published_6x6()
    assert tuple(row["J2"] for row in rows) == PUBLISHED_6X6
    for row in rows:
        quoted = float(row["quoted"])
        assert row["energy"] == pytest.approx(quoted if quoted > -1 else quoted / 144, rel=0, abs=1e-15)
        assert row["verified_level"] in {"primary", "secondary"}
        assert all(row[field] for field in ("cite", "id", "verified"))


def test_6x6_is_not_computed() -> None:
    """A 6x6 result with observables is refused in one sentence that points to the published energy."""
    with pytest.raises(ReferenceLayerError, match=r"-0\.50380965\d* \(.*VarBench"):
        exact(6, 0.5)


def test_regeneration_writes_a_readable_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes exactly what the loader reads back, with progress on stderr and nothing on stdout."""
    monkeypatch.setattr(store, "STORED_J2", (0.5,))
    assert store.main([str(tmp_path / "ed.json")]) == 0
    (row,) = json.loads((tmp_path / "ed.json").read_text())["results"]
    assert physics(ExactResult(**row)) == pytest.approx(physics(exact(4, 0.5)), rel=0, abs=1e-10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1/1: 4x4, J2 = 0.5" in captured.err


def test_regeneration_reports_an_unwritable_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad output path is one line and exit status 2, no traceback."""
    monkeypatch.setattr(store, "STORED_J2", ())
    assert store.main([str(tmp_path / "missing" / "ed.json")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
