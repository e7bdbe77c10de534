"""The paper's network written as in its Sec. 3.1: what the fused evaluation is held against. Slow, readable."""

from collections.abc import Mapping

import torch
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.symmetry import Projected
from qmcbench.gates.plain import enliven, outputs
from qmcbench.lattice import random_configurations
from qmcbench.reference.models import ModelSpec


def log_psi(spec: ModelSpec, parameters: Mapping[str, Tensor], spins: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, sign) of the product over all v_i."""
    v = outputs(spec, parameters, spins)
    return v.abs().log().sum(1), v.sign().prod(1)


def lively(model: str | ModelSpec, *, seed: int = 1, dtype: torch.dtype = torch.float64) -> CNN:
    """A network with large biases and a good third of its outputs negative (a fresh one has hardly any)."""
    network = CNN(model, seed=seed, dtype=torch.float64)
    enliven(parameters_of(network), network.spec, random_spins(6, 20), seed + 1000)
    return network.to(dtype)


def parameters_of(network: CNN) -> dict[str, Tensor]:
    """The parameters by name, as ``outputs`` and ``log_psi`` take them."""
    return dict(network.named_parameters())


def random_spins(L: int, batch: int, *, seed: int = 2) -> Tensor:
    """Random S^z = 0 configurations, shape (batch, L, L), int8."""
    return random_configurations(L, batch, seed)


def C4(base: Ansatz) -> Projected:
    """The sum over the four rotations, the paper's."""
    return Projected(base, "C4")
