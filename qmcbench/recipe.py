"""What a configuration leaves open is filled in by lattice and coupling, so that two lines train.

Recipe 1 is that of version 0.1.0: the defaults of the dataclasses, whatever the lattice; runs of that time go on with
it. Recipe 2 takes short steps, strongly regularised: with the few hundred effective samples of a step, longer ones
leave the sign structure that it starts from, and energies leap. At strong frustration alpha is steered, so that
samples near the nodes of psi, where signs are learnt, do not take all the weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qmcbench.structure import Scalar

LATEST = 2
RECIPES = (1, LATEST)

Sections = dict[str, dict[str, Scalar | list[list[float]]]]


def recipe(L: int, J2: float) -> Sections:
    """The values of recipe 2 that are not the dataclasses' own, by section.

    Parameters
    ----------
    L
        Linear size.
    J2
        In units of J1.
    """
    sections: Sections = {
        "sampling": {"effective_fraction": 0.3},
        "optimizer": {
            "learning_rate": [[0, 0.05], [200, 0.01]],
            "shift": [[0, 1e-2], [200, 1e-3]],
            "max_step_norm": 0.05,
        },
    }
    return sections


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
    if chosen == LATEST and isinstance(L, int) and isinstance(J2, int | float):
        for section, values in recipe(L, J2).items():
            given = data.get(section, {})
            if isinstance(given, Mapping):
                result[section] = {**values, **given}
    return result
