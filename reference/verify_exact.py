"""Checks of the stored exact results: against live diagonalization, and of each with itself and the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations, product

from qmcbench.reference.ed import ExactResult
from qmcbench.reference.verification import Verification

# Between two diagonalizations of the same matrix, and between numbers of one ground state.
_TOLERANCE = 1e-9


def recomputed(stored: Sequence[ExactResult], live: Mapping[tuple[int, float], ExactResult]) -> Verification:
    """Stored energies, structure factors and correlations are what diagonalization gives now."""
    failures, checked, missing = [], 0, 0
    for result in stored:
        kept = _numbers(result)
        if (result.L, result.J2) not in live:
            missing += len(kept)
            continue
        now = _numbers(live[result.L, result.J2])
        checked += len(kept)
        failures += [
            f"{_label(result)}: {name} is stored as {value!r} and comes out as {now.get(name)!r}"
            for name, value in kept.items()
            if not abs(value - now.get(name, float("nan"))) <= _TOLERANCE
        ]
    return Verification(
        "stored results",
        f"live diagonalization with QuSpin, to {_TOLERANCE:g}",
        checked,
        (*failures,),
        missing,
        "of lattices that are too large to diagonalize here" if missing else "",
    )


def consistent(stored: Sequence[ExactResult]) -> Verification:
    """Each stored ground state is a singlet, and its energy and structure factors follow from its correlations."""
    failures, checked = [], 0
    for result in stored:
        expected = _derived(result)
        checked += len(expected)
        failures += [
            f"{_label(result)}: {name} is {value!r}, and {follows!r} follows"
            for name, (value, follows) in expected.items()
            if not abs(value - follows) <= _TOLERANCE * result.L**2
        ]
    return Verification(
        "stored results with themselves",
        "singlet sum rule, energy and structure factors from correlations, total from energy per site, "
        f"to {_TOLERANCE:g} a site",
        checked,
        (*failures,),
    )


def trial_states(stored: Sequence[ExactResult]) -> Verification:
    """No stored ground state undercuts another one's energy as a trial state at its coupling.

    Of a state with the correlation C(1,1), the energy per site at J2' is ``E(J2) + 2 (J2' - J2) C(1,1)``.
    """
    failures, checked = [], 0
    for trial, target in permutations(stored, 2):
        if trial.L != target.L:
            continue
        checked += 1
        energy = trial.energy + 2 * (target.J2 - trial.J2) * trial.spin_correlation["1,1"]
        if energy < target.energy - _TOLERANCE:
            failures.append(
                f"{_label(target)}: the state of J2 = {trial.J2} has {energy:.12g} there, below {target.energy:.12g}"
            )
    way = "variational principle, ordered pairs"
    return Verification("stored states at other couplings", way, checked, (*failures,))


def _numbers(result: ExactResult) -> dict[str, float]:
    return {
        "energy": result.energy,
        "S(pi,pi)": result.structure_factor_pi_pi,
        "S(pi,0)": result.structure_factor_pi_0,
    } | {f"<S_0.S_d> at ({displacement})": value for displacement, value in result.spin_correlation.items()}


def _derived(result: ExactResult) -> dict[str, tuple[float, float]]:
    """Stored numbers beside what follows from the others."""
    L, C = result.L, result.spin_correlation
    total = pi_pi = pi_0 = 0.0
    for x, y in product(range(L), repeat=2):
        near, far = sorted((min(x, L - x), min(y, L - y)))
        value = C[f"{near},{far}"]
        total += value
        pi_pi += (-1) ** (x + y) * value
        pi_0 += (-1) ** x * value
    return {
        "<S_0.S_0>": (C["0,0"], 0.75),
        "the sum of <S_0.S_d> over d": (total, 0.0),
        "energy": (result.energy, 2 * (C["0,1"] + result.J2 * C["1,1"])),
        "total energy": (result.total_energy, L**2 * result.energy),
        "S(pi,pi)": (result.structure_factor_pi_pi, pi_pi),
        "S(pi,0)": (result.structure_factor_pi_0, pi_0),
    }


def _label(result: ExactResult) -> str:
    return f"{result.L}x{result.L}, J2 = {result.J2}, stored"
