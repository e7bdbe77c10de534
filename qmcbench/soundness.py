"""What is wrong with the tensors of a stored run, in words; nothing in a sound one."""

from __future__ import annotations

import torch
from torch import Tensor

from qmcbench.config import Config
from qmcbench.leaps import KEPT


def of_run(chains: dict[str, Tensor], memory: dict[str, Tensor], config: Config, step: int, size: int) -> list[str]:
    """Of the chains and what the optimizer remembers after ``step`` steps of ``size`` parameters."""
    spins, numbers, history = chains["spins"], chains["numbers"], chains["history"]
    count, L = config.sampling.chains, config.model.L
    expected = {
        "spins": (spins, torch.int8, (count, L, L)),
        "numbers": (numbers, torch.int64, (count,)),
        "history": (history, torch.float64, (count, min(history.shape[-1] if history.ndim else 0, step))),
        **{name: (tensor, torch.float64, (size,)) for name, tensor in memory.items()},
    }
    found = [
        f"{name} has the shape {tuple(tensor.shape)} and type {tensor.dtype}, not {shape} and {dtype}"
        for name, (tensor, dtype, shape) in expected.items()
        if tensor.dtype != dtype or tuple(tensor.shape) != shape
    ]
    if found:
        return found
    if not ((spins == 1) | (spins == -1)).all():
        found.append("some spins are neither +1 nor -1")
    elif spins.sum((1, 2), dtype=torch.int64).any():
        found.append("some configurations are outside S^z = 0")
    if not torch.equal(numbers, torch.arange(count)):
        found.append(f"the chains' numbers are not 0 to {count - 1} in this order")
    if history.isinf().any() or (history.abs() > config.sampling.bound).any():
        found.append("the history of local energies goes beyond sampling.bound")
    if not memory["last_solution"].isfinite().all():
        found.append("the last solution is not finite")
    if "moments" in memory and not (memory["moments"].isfinite() & (memory["moments"] > 0)).all():
        found.append("some mean squares are not above 0")
    return found


def of_mixing(mixing: dict[str, Tensor], config: Config, step: int) -> list[str]:
    """Of the pairs that R-hat looks at."""
    pairs, bonds = mixing.get("pairs"), 2 * config.model.L**2
    if set(mixing) != {"pairs"} or pairs is None:
        return [f"it holds {', '.join(sorted(mixing))[:200]} of mixing"]
    sound = pairs.dtype == torch.int16 and pairs.ndim == 2 and len(pairs) == config.sampling.chains
    if not sound or pairs.shape[1] > step or (pairs < 0).any() or (pairs > bonds).any():
        return [f"the pairs of its chains are no numbers from 0 to {bonds} for each chain and step"]
    return []


def of_past(past: dict[str, Tensor], config: Config, size: int) -> list[str]:
    """Of the state before the last update."""
    count, L = config.sampling.chains, config.model.L
    shapes = {"parameters": (size,), "change": (size,), "spins": (count, L, L)}
    # Earlier versions did not keep these.
    moments = {"moments": (size,)} if config.optimizer.metric == "march" else {}
    sound = {"recent"}, {"recent", *shapes}, {"recent", *shapes, *moments}
    shapes |= moments
    if set(past) not in sound or config.optimizer.leap is None:
        return [f"it holds {', '.join(sorted(past))[:200]} of the past"]
    if past["recent"].ndim != 1 or any(tuple(past[name].shape) != shapes[name] for name in past if name in shapes):
        return ["the state before the last update has other shapes than the run"]
    for name, tensor in past.items():
        if name != "spins" and not (tensor.is_floating_point() and tensor.isfinite().all()):
            return [f"{name} before the last update is not finite"]
    if "moments" in past and not (past["moments"] > 0).all():
        return ["some mean squares before the last update are not above 0"]
    spins = past.get("spins", torch.zeros(0, L, L, dtype=torch.int8))
    return [] if _are_configurations(spins) else ["some configurations before the last update are outside S^z = 0"]


def of_good(good: dict[str, Tensor], config: Config, size: int, step: int) -> list[str]:
    """Of the states that the run may fall back to."""
    count, L = config.sampling.chains, config.model.L
    steps = good.get("steps", torch.zeros(0))
    states = len(steps) if steps.ndim == 1 else 0
    shapes = {"steps": (states,), "parameters": (states, size), "spins": (states, count, L, L)}
    if set(good) != set(shapes) or config.optimizer.leap is None or not 1 <= states <= KEPT:
        return [f"it holds {', '.join(sorted(good))[:200]} of {states} good states"]
    if any(tuple(good[name].shape) != shape for name, shape in shapes.items()):
        return ["a good state has another shape than the run"]
    if steps.dtype != torch.int64 or not ((steps >= 0) & (steps < step)).all() or (steps.diff() <= 0).any():
        return [f"its good states are not of some of the {step} steps, the older first"]
    parameters, spins = good["parameters"], good["spins"]
    if not (parameters.is_floating_point() and parameters.isfinite().all()):
        return ["parameters of a good state are not finite"]
    sound = _are_configurations(spins.flatten(0, 1))
    return [] if sound else ["some configurations of a good state are outside S^z = 0"]


def _are_configurations(spins: Tensor) -> bool:
    sound = spins.dtype == torch.int8 and ((spins == 1) | (spins == -1)).all() and not spins.sum((1, 2)).any()
    return bool(sound)
