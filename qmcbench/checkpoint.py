"""Checkpoints: one safetensors file with everything that continues a run exactly, written atomically."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from qmcbench.errors import UserError

FORMAT = "qmcbench-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after a completed step."""

    parameters: dict[str, Tensor]
    """Parameters of the wave function by name."""
    chains: dict[str, Tensor]
    """Chains and what is remembered of them, by name."""
    state: dict[str, Any]
    """Small state as JSON: step, proposals made (the random streams' counter), alpha."""
    config: dict[str, Any]
    """The run's configuration, as :meth:`qmcbench.config.Config.to_dict` gives it."""
    provenance: dict[str, Any] = field(default_factory=dict)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` always holds a complete one: a temporary file, synced, then renamed."""
    tensors = {f"parameters/{k}": v for k, v in checkpoint.parameters.items()}
    tensors |= {f"chains/{k}": v for k, v in checkpoint.chains.items()}
    metadata = {
        "format": FORMAT,
        "state": json.dumps(checkpoint.state),
        "config": json.dumps(checkpoint.config),
        "provenance": json.dumps(checkpoint.provenance),
    }
    write_atomically(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata))


def read(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    UserError
        If there is none, it is damaged, or it is of another format.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint at {path}; give the path of a .safetensors file that `train` wrote.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"The checkpoint {path} is damaged ({error}); restore it from a copy or start again with --restart."
        ) from error
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{path} holds the format {metadata.get('format')!r}, but this version reads {FORMAT!r}; "
            "it was not written by `qmcbench train`."
        )
    groups: dict[str, dict[str, Tensor]] = {"parameters": {}, "chains": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups[group][rest] = tensor
    return Checkpoint(
        groups["parameters"],
        groups["chains"],
        json.loads(metadata["state"]),
        json.loads(metadata["config"]),
        json.loads(metadata["provenance"]),
    )


def load_parameters(module: torch.nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Copy a checkpoint's parameters into ``module``.

    Raises
    ------
    UserError
        If names or shapes differ, saying which network is which.
    """
    own = {name: tuple(p.shape) for name, p in module.state_dict().items()}
    other = {name: tuple(p.shape) for name, p in checkpoint.parameters.items()}
    if own != other:
        raise UserError(
            f"The checkpoint {path} holds a network of {_size(other)} parameters "
            f"({checkpoint.config['wavefunction']['network']}), but the configuration asks for one of {_size(own)}; "
            "make wavefunction.network, symmetry and sign agree with it."
        )
    module.load_state_dict(checkpoint.parameters)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, through a synced temporary file beside it."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _size(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes.values())
