"""A small trainer on 4x4."""

import torch
from torch import Tensor

from qmcbench.config import Config, parse
from qmcbench.vmc import Trainer, build_ansatz


def config(**sections: dict[str, object]) -> Config:
    """A small 4x4 run with some keys changed."""
    base = {"sampling": {"chains": 32, "warm_up": 2, "gap": 16}, "run": {"threads": 1, "seed": 3}}
    sections = {name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}}
    return parse({"model": {"L": 4, "J2": 0.5}, **sections})


def trainer(settings: Config) -> Trainer:
    """A warmed-up trainer."""
    made = Trainer(settings, build_ansatz(settings.wavefunction, settings.run.seed))
    made.warm_up()
    return made


def parameters(of: Trainer) -> Tensor:
    return torch.nn.utils.parameters_to_vector(of.psi.parameters()).detach().clone()
