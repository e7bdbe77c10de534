"""What a configuration leaves open is filled in by lattice.

Recipe 1 is that of version 0.1.0: the defaults of the dataclasses, whatever the lattice; runs of that time go on with
it. Recipe 2 begins with short steps and ends with a low learning rate, and steers alpha to a share of effective
samples: with a fixed one, a few samples near the nodes of psi, where signs are learnt, may take all the weight. The
preset ``paper`` takes the place of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qmcbench.structure import Scalar

LATEST = 2
RECIPES = (1, LATEST)

ALL_SYMMETRIES = 0.6
"""J2 up to which the ground state of 6x6 is even under every symmetry of the lattice and under the spin flip."""

Sections = dict[str, dict[str, Scalar | list[list[float]]]]


def recipe(L: int, J2: float) -> Sections:
    """The values of recipe 2 that are not the dataclasses' own, by section.

    Parameters
    ----------
    L, J2
        Linear size and coupling.
    """
    sections: Sections = {
        "sampling": {"chains": 512, "gap": 64, "effective_fraction": 0.2},
        "optimizer": {
            "learning_rate": [[0, 0.15], [80, 0.15], [140, 0.03]],
            "max_step_norm": [[0, 0.1], [30, 0.4]],
            "leap": 0.1,
            "starts": 3,
            "trial": 36,
            "steps": 140,
        },
    }
    if L > 4:
        sections["sampling"] = {"effective_fraction": 0.3}
        sections["optimizer"] = {
            "learning_rate": [[0, 0.05], [120, 0.05], [300, 0.01]],
            "max_step_norm": [[0, 0.1], [30, 0.2]],
            "momentum": 0.9,
            "leap": 0.1,
            "steps": 300,
        }
    if L == 6 and J2 <= ALL_SYMMETRIES:
        # 32 images instead of four: after half of the steps it is where C4 ends.
        sections["wavefunction"] = {"symmetry": "full"}
        sections["sampling"] = {"effective_fraction": 0.15}
        sections["optimizer"] |= {"learning_rate": [[0, 0.05], [150, 0.05], [240, 0.01]], "steps": 240}
    return sections


def paper() -> Sections:
    """The paper's method as far as it is published, and the numbers of its authors' scripts.

    Their learning rate of 0.01 is for energies with Pauli matrices, four times as large. ``dense`` is the step of
    ScaLAPACK in one process; nothing shortens it.
    """
    return {
        "sampling": {"alpha": 2.0, "warm_up_lattices": 1},
        "optimizer": {"solver": "dense", "learning_rate": 0.04, "shift": 0.01, "max_step_norm": 1e30},
        "scalapack": {"product": "pdgemm", "redistribution": "alltoall"},
    }


def filled(data: dict[str, Any], number: object) -> dict[str, Any]:
    """``data`` with what it leaves open from the recipe ``number``; what it says stays, right or wrong.

    Parameters
    ----------
    data
        A configuration as nested dictionaries.
    number
        Of the recipe, unless ``run.recipe`` says another.
    """
    run, model = data.get("run", {}), data.get("model")
    if not isinstance(run, Mapping) or not isinstance(model, Mapping):
        return data  # the validator says what is wrong
    chosen = run.get("recipe", number)
    L, J2 = model.get("L"), model.get("J2")
    result = {**data, "run": {**run, "recipe": chosen}}
    sections: Sections = {}
    if chosen == LATEST and isinstance(L, int) and isinstance(J2, int | float):  # if not, the validator speaks
        sections = recipe(L, J2)
    if run.get("preset") == "paper":
        sections = paper()
    for section, values in sections.items():
        given = data.get(section, {})
        if isinstance(given, Mapping):
            # Whoever names alpha means that it stays.
            fixed = {"effective_fraction"} if "alpha" in given else set()
            result[section] = {**{k: v for k, v in values.items() if k not in fixed}, **given}
    return result
