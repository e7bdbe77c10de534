"""The paper's network written as in its Sec. 3.1: what the fused evaluation is held against. Slow, readable."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.symmetry import Projected
from qmcbench.lattice import random_configurations
from qmcbench.reference.models import ModelSpec


def outputs(spec: ModelSpec, parameters: Mapping[str, Tensor], spins: Tensor) -> Tensor:
    """All v_i, shape (batch, L * L), row by row."""
    batch, L, _ = spins.shape
    x = spins.to(parameters["block1.conv.weight"].dtype).unsqueeze(1)
    for number, block in enumerate(spec.blocks, start=1):
        conv_weight, conv_bias, deconv_weight, deconv_bias = (
            parameters[f"block{number}.{layer}.{kind}"] for layer in ("conv", "deconv") for kind in ("weight", "bias")
        )
        padded = F.pad(x, [block.kernel // 2] * 4, mode="circular")
        rows = F.conv2d(padded, conv_weight, conv_bias).flatten(2)
        pooled = F.max_pool1d(rows, kernel_size=2, stride=2)
        x = F.conv_transpose1d(pooled, deconv_weight, deconv_bias, stride=2).view(batch, -1, L, L)
    return x.flatten(1)


def log_psi(spec: ModelSpec, parameters: Mapping[str, Tensor], spins: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, sign) of the product over all v_i."""
    v = outputs(spec, parameters, spins)
    return v.abs().log().sum(1), v.sign().prod(1)


def lively(model: str | ModelSpec, *, seed: int = 1, dtype: torch.dtype = torch.float64) -> CNN:
    """A network with large biases and a good third of its outputs negative (a fresh one has hardly any)."""
    network = CNN(model, seed=seed, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed + 1000)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        last = network.blocks()[-1].deconv.bias
        last -= outputs(network.spec, parameters_of(network), random_spins(6, 20)).quantile(0.4)
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
