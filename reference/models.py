"""Layouts of the seed paper's convolutional networks, read from ``data/models.toml``."""

from dataclasses import dataclass
from functools import cache

from qmcbench.reference.errors import ReferenceLayerError
from qmcbench.reference.schemas import document


@dataclass(frozen=True)
class BlockSpec:
    """One block: convolution, pooling of two neighbouring columns, transposed convolution."""

    conv: int
    """Output channels of the ``kernel x kernel`` convolution."""
    deconv: int
    """Output channels of the transposed convolution (width 2, stride 2), hence input channels of the next block."""
    kernel: int
    """Side of the convolution's square kernel."""


@dataclass(frozen=True)
class ModelSpec:
    """One network of the paper."""

    name: str
    """``small``, ``medium`` or ``large``."""
    parameters: int
    """Published number of real parameters, biases included."""
    blocks: tuple[BlockSpec, ...]
    """Layout in the order of evaluation; the first block has one input channel."""
    inferred: bool
    """True where the layout was inferred from the published count rather than read from the authors' code."""


@cache
def _models() -> dict[str, ModelSpec]:
    return {
        row["name"]: ModelSpec(
            name=row["name"],
            parameters=row["parameters"],
            blocks=tuple(BlockSpec(**block) for block in row["blocks"]),
            inferred=row.get("inferred", False),
        )
        for row in document("models")["model"]
    }


def model_names() -> tuple[str, ...]:
    """Names of the paper's networks, smallest first."""
    return tuple(_models())


def model_spec(name: str) -> ModelSpec:
    """Layout of one of the paper's networks, by one of `model_names`.

    Raises
    ------
    ReferenceLayerError
        If there is no such network.
    """
    models = _models()
    if name not in models:
        raise ReferenceLayerError(f"there is no model {name!r}: choose one of {', '.join(models)}")
    return models[name]
