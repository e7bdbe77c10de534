"""Verification: the committed data pass every check, and each way to damage them is caught by the right one."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qmcbench.reference import ExactResult, ReferenceLayerError, diagonalize, published, schemas, store, verify_exact
from qmcbench.reference import verify as verify_module
from qmcbench.reference.verification import Verification
from qmcbench.reference.verify import ReferenceData, verify
from qmcbench.reference.verify_published import truths

Documents = dict[str, Any]

STORED = tuple(result for result in store.stored() if result.L == 4)
LIVE = {(result.L, result.J2): result for result in STORED}


def documents() -> Documents:
    """A copy to damage, with the exact 4x4 energies whose coupling is stored: none needs diagonalizing."""
    content = copy.deepcopy({name: schemas.document(name) for name in schemas.DOCUMENTS})
    rows = content["published"]["energy"]
    rows[:] = [row for row in rows if row["L"] != 4 or row["kind"] != "exact" or (4, row["J2"]) in LIVE]
    return content


def run(content: Documents, stored: tuple[ExactResult, ...] = STORED) -> dict[str, Verification]:
    """All checks by name, with the committed results in place of live diagonalization."""
    data = ReferenceData(documents=content, stored=stored)
    results = verify(data, diagonalize=lambda L, J2: LIVE[L, J2])
    found = {result.name: result for result in results}
    assert len(found) == len(results)
    return found


def failed(found: dict[str, Verification]) -> set[str]:
    """Names of the checks that failed."""
    return {name for name, result in found.items() if result.failures}


def row(content: Documents, L: int, J2: float, quoted: str) -> dict[str, Any]:
    """One row of the published energies."""
    (found,) = (
        row
        for row in content["published"]["energy"]
        if (row["L"], row["J2"], row["quoted"]) == (L, J2, quoted) and not row.get("suspect")
    )
    return found


def change(L: int, J2: float, quoted: str, /, **fields: Any) -> Callable[[Documents], None]:
    """Damage one row: fields to set, or to delete where None."""

    def damage(content: Documents) -> None:
        target = row(content, L, J2, quoted)
        for name, value in fields.items():
            if value is None:
                del target[name]
            else:
                target[name] = value

    return damage


def trust(content: Documents) -> None:
    """Take the suspect rows for good."""
    for target in content["published"]["energy"]:
        target.pop("suspect", None)


def put(value: Any, *path: Any) -> Callable[[Documents], None]:
    """Damage one number anywhere."""

    def damage(content: Documents) -> None:
        target: Any = content
        for step in path[:-1]:
            target = target[step]
        assert target[path[-1]] != value
        target[path[-1]] = value

    return damage


def test_the_committed_data_pass_every_check() -> None:
    """Nothing fails, each check has looked at something, and whatever it left out has a reason."""
    found = run(documents(), store.stored())
    assert failed(found) == set()
    assert all(result.checked for result in found.values())
    assert all(bool(result.not_checked) == bool(result.why) for result in found.values())
    everything = len(documents()["published"]["energy"])
    assert found["energies as printed"].checked == everything
    bounds = found["variational energies"]
    true = sum(row["kind"] in ("exact", "qmc") for row in documents()["published"]["energy"])
    assert bounds.checked + bounds.not_checked + true == everything


def test_known_conflicts_are_told_apart_from_failures() -> None:
    """The rows that disagree beyond their digits give a reason, which is listed with both sources."""
    explained = run(documents())["conflicts of exact and QMC energies"].explained
    assert len(explained) == 10
    assert any("-0.529989 (Golubev" in text and "-76.320176597454 (Wu" in text for text in explained)


DAMAGES = {
    "digit": (change(10, 0.5, "-0.4976939(2)", energy=-0.4976839), "energies as printed"),
    "conversion": (change(6, 0.5, "-72.548590160286", energy=-72.548590160286 / 288), "energies as printed"),
    "suspect digit": (
        lambda content: next(r for r in content["published"]["energy"] if r.get("suspect")).update(energy=-0.6),
        "energies as printed",
    ),
    "error": (change(6, 0.0, "-0.67887215(2)", error=2e-7), "errors as printed"),
    "Pauli error": (change(4, 0.5, "-33.0219", error=0.0036), "errors as printed"),
    "error lost": (change(6, 0.0, "-0.67887215(2)", error=None), "errors as printed"),
    "variance": (change(4, 0.0, "-44.9116731", variance=0.1064), "variances as printed"),
    "exact 4x4": (change(4, 0.5, "-0.528620", quoted="-0.528622", energy=-0.528622), "published exact 4x4 energies"),
    "exact 6x6": (
        change(6, 0.5, "-0.50380965", quoted="-0.50380975", energy=-0.50380975),
        "conflicts of exact and QMC energies",
    ),
    "QMC": (
        change(10, 0.0, "-0.67155267(5)", quoted="-0.67155297(5)", energy=-0.67155297),
        "conflicts of exact and QMC energies",
    ),
    "reason lost": (change(6, 0.7, "-0.529989", conflict=None), "conflicts of exact and QMC energies"),
    "idle reason": (change(6, 0.5, "-0.503810", conflict="not converged"), "conflicts of exact and QMC energies"),
    "below exact": (
        change(6, 0.5, "-72.54722", quoted="-72.54922", energy=-72.54922 / 144),
        "variational energies",
    ),
    "below QMC": (change(10, 0.0, "-268.4538", quoted="-268.6238", energy=-268.6238 / 400), "variational energies"),
    "concavity": (
        change(6, 0.48, "-0.50823276", quoted="-0.50923276", energy=-0.50923276),
        "concave in the coupling",
    ),
    "size": (
        change(18, 0.0, "-0.66982043(2)", quoted="-0.66999043(2)", energy=-0.66999043),
        "rising with the lattice",
    ),
    "suspect rows trusted": (trust, "variational energies and size"),
    "overhead": (put(0.482, "paper", "table3", "rows", 4, "overhead", 1), "paper, Table 3"),
    "table 4": (put(-0.49718, "paper", "table4", "rows", 0, "energy", 3), "paper, Table 4 and the end of Fig. 11"),
    "row of table 4 lost": (
        lambda content: content["published"]["energy"].remove(row(content, 10, 0.5, "-0.49717")),
        "paper, Table 4 and the end of Fig. 11",
    ),
    "figure 11": (put(-0.503, "paper", "figure11", "stages", 0, "end"), "paper, Figs. 11 to 13"),
    "milestone": (put(-0.503, "published", "milestone", 1, "energy"), "paper, Figs. 11 to 13"),
    "share": (put(85.1, "paper", "figure7", "share_percent", "Conv2D"), "paper, arithmetic"),
    "figure 9": (put(31.5, "paper", "figure9", "large", "pdpotrf_s", 3), "paper, arithmetic"),
    "figure 9, too little": (put(4.98, "paper", "figure9", "medium", "pdpotrf_s", 0), "paper, arithmetic"),
    "speedup": (put(2.57, "paper", "figure9", "text", "large_total_speedup"), "paper, arithmetic"),
    "cores": (put(31850001, "paper", "table2", "max_cores"), "paper, arithmetic"),
    "layout": (put(7, "models", "model", 0, "blocks", 1, "conv"), "networks"),
    "count": (put(16250, "models", "model", 1, "parameters"), "networks"),
    "checkpoint": (put(-0.4976, "models", "checkpoint", "published_energy"), "networks"),
    "unknown key": (change(6, 0.5, "-72.548590160286", on_grid=True), "schemas"),
    "missing source": (change(6, 0.5, "-72.548590160286", cite=None), "schemas"),
    "sign problem": (change(6, 0.5, "-72.548590160286", kind="qmc"), "schemas"),
    "positive energy": (change(6, 0.5, "-72.548590160286", energy=0.5038), "schemas"),
    "seen nowhere": (change(6, 0.5, "-72.548590160286", verified=False), "schemas"),
    "odd lattice": (put(11, "paper", "table4", "rows", 0, "L"), "schemas"),
    "even kernel": (put(4, "models", "model", 0, "blocks", 0, "kernel"), "schemas"),
}


@pytest.mark.parametrize(("damage", "check"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_caught(damage: Callable[[Documents], None], check: str) -> None:
    """One change to the documents fails the check that is there for it."""
    content = documents()
    damage(content)
    found = run(content)
    assert check in failed(found)
    assert (check == "schemas") == (set(found) == {"schemas"})  # no other check takes a broken document


def test_a_lone_digit_fails_no_other_check() -> None:
    """A check names its own defect: one wrong digit among the variational rows is no conflict and breaks no bound."""
    content = documents()
    DAMAGES["digit"][0](content)
    (failure,) = run(content)["energies as printed"].failures
    assert failed(run(content)) == {"energies as printed"}
    assert "-0.4976939(2)" in failure
    assert "-0.4976839" in failure


@pytest.mark.parametrize(
    ("fields", "checks"),
    [
        ({"energy": STORED[8].energy + 1e-8}, {"stored results", "stored results with themselves"}),
        (
            {"spin_correlation": STORED[8].spin_correlation | {"1,1": STORED[9].spin_correlation["1,1"]}},
            {"stored results", "stored results with themselves", "stored states at other couplings"},
        ),
        (
            {"spin_correlation": STORED[8].spin_correlation | {"2,2": 0.1}},
            {"stored results", "stored results with themselves"},
        ),
        ({"structure_factor_pi_0": 0.0}, {"stored results", "stored results with themselves"}),
    ],
)
def test_damaged_store_is_caught(fields: dict[str, Any], checks: set[str]) -> None:
    """An energy off by 1e-8, a correlation of another coupling, a wrong structure factor."""
    stored = (*STORED[:8], replace(STORED[8], **fields), *STORED[9:])
    assert failed(run(documents(), stored)) == checks


def test_a_store_without_a_correlation_is_caught() -> None:
    """What live diagonalization has and the store has not, or the other way round, is a failure."""
    extra = replace(STORED[0], spin_correlation=STORED[0].spin_correlation | {"2,3": 0.0})
    (failure,) = verify_exact.recomputed([extra], LIVE).failures
    assert "(2,3)" in failure


def six_by_six() -> ExactResult:
    """A 6x6 result with random correlations that obey the sum rule; structure factors by Fourier transform."""
    generator = np.random.default_rng(5)
    keys = [f"{x},{y}" for x in range(4) for y in range(x, 4)]
    correlation = dict(zip(keys, generator.normal(size=len(keys)), strict=True)) | {"0,0": 0.75}
    sites = np.indices((6, 6)).reshape(2, 36)
    folded = np.sort(np.minimum(sites, 6 - sites), axis=0)
    table = np.array([correlation[f"{x},{y}"] for x, y in folded.T])
    (last,) = np.flatnonzero((folded == 3).all(axis=0))
    table[last] -= table.sum()
    correlation["3,3"] = table[last]
    structure = np.fft.fft2(table.reshape(6, 6)).real
    energy = 2 * (correlation["0,1"] + 0.5 * correlation["1,1"])
    return replace(
        STORED[8],
        L=6,
        energy=energy,
        total_energy=36 * energy,
        spin_correlation=correlation,
        structure_factor_pi_pi=structure[3, 3],
        structure_factor_pi_0=structure[3, 0],
    )


def test_self_consistency_of_any_size() -> None:
    """6x6 results are checked with themselves, and those that fail name what does not follow."""
    good = six_by_six()
    assert verify_exact.consistent([good]) == replace(verify_exact.consistent([good]), checked=6, failures=())
    wrong = replace(good, structure_factor_pi_pi=good.structure_factor_pi_pi + 1e-6)
    (failure,) = verify_exact.consistent([wrong]).failures
    assert "6x6" in failure
    assert "S(pi,pi)" in failure
    assert verify_exact.recomputed([good], LIVE).not_checked == 3 + len(good.spin_correlation)


def test_published_6x6_energies_are_held_against_the_store() -> None:
    """A stored 6x6 energy judges the published ones to one unit of the last digit, or says which give a reason."""
    rows = published(6)
    result = truths(rows, {(6, 0.7): -0.5300012263712, (6, 0.5): -0.50380965389}, 6, "stored results")
    assert (result.checked, result.failures, len(result.explained)) == (7, (), 1)
    assert result.checked + result.not_checked == len(published(6, kind="exact"))
    assert len(truths(rows, {(6, 0.5): -0.50380865}, 6, "stored results").failures) == 3


def test_live_diagonalization_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default QuSpin computes; a coupling that is published but not stored is diagonalized as well."""
    content = documents()
    rows = content["published"]["energy"]
    full = schemas.document("published")["energy"]
    rows[:] = [row for row in rows if row["L"] != 4] + [row for row in full if row["L"] == 4 and row["J2"] == 0.85]
    lines: list[str] = []
    found = verify(ReferenceData(documents=content, stored=(STORED[8],)), progress=lines.append)
    by_name = {result.name: result for result in found}
    assert failed(by_name) == set()
    assert by_name["published exact 4x4 energies"].checked == 1
    assert by_name["stored results"].checked == 9
    assert [line for line in lines if "diagonalizing" in line] == [
        "diagonalizing 4x4, J2 = 0.5 (1 of 2)",
        "diagonalizing 4x4, J2 = 0.85 (2 of 2)",
    ]
    assert len(lines) == 2 + len(found)


@pytest.mark.slow
def test_everything_that_is_installed() -> None:
    """All stored and published couplings, live."""
    assert verify_module.diagonalize is diagonalize
    assert failed({result.name: result for result in verify()}) == set()


def test_missing_jsonschema_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    with pytest.raises(ReferenceLayerError, match="pip install jsonschema"):
        schemas.problems({}, "paper")
