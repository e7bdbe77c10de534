"""Checkpoints: one safetensors file with everything that continues a run exactly, written atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.files import write_atomically

FORMAT = "qmcbench-checkpoint-1"
GROUPS = ("parameters", "chains", "optimizer")


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after a completed step."""

    parameters: dict[str, Tensor]
    """Parameters of the wave function by name."""
    chains: dict[str, Tensor]
    """Chains and what is remembered of them, by name."""
    optimizer: dict[str, Tensor]
    """What the optimiser remembers, by name."""
    state: dict[str, Any]
    """Small state as JSON: step, proposals made (the random streams' counter), alpha."""
    config: dict[str, Any]
    """The run's configuration, as :meth:`qmcbench.config.Config.to_dict` gives it."""
    provenance: dict[str, Any] = field(default_factory=dict)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` always holds a complete one: a temporary file, synced, then renamed."""
    tensors = {f"{group}/{k}": v for group in GROUPS for k, v in getattr(checkpoint, group).items()}
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
        raise UserError(
            f"There is no checkpoint at {path}; give the path of a .safetensors file that `train` or "
            "`import-weights` wrote."
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no checkpoint, or a damaged one ({error}); restore it from a copy, train again with "
            "--restart, or make one of the authors' network with `qmcbench import-weights`."
        ) from error
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{path} holds the format {metadata.get('format')!r}, but this version reads {FORMAT!r}; "
            "it was written neither by `qmcbench train` nor by `import-weights`."
        )
    groups = {
        group: {name.removeprefix(f"{group}/"): t for name, t in tensors.items() if name.startswith(f"{group}/")}
        for group in GROUPS
    }
    texts = {name: json.loads(metadata[name]) for name in ("state", "config", "provenance")}
    return Checkpoint(**groups, **texts)


def load_parameters(module: torch.nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Copy a checkpoint's parameters into ``module``; sign prior and symmetry, which have none, may differ.

    Raises
    ------
    UserError
        If names or shapes differ, saying which network is which.
    """
    own = {_bare(name): p for name, p in module.state_dict().items()}
    other = {_bare(name): p for name, p in checkpoint.parameters.items()}
    if {n: p.shape for n, p in own.items()} != {n: p.shape for n, p in other.items()}:
        raise UserError(
            f"The checkpoint {path} holds a network of {_size(other)} parameters "
            f"({checkpoint.config['wavefunction']['network']}), but the configuration asks for one of {_size(own)}; "
            "make wavefunction.network agree with it."
        )
    for name, parameter in own.items():
        parameter.copy_(other[name])


def _bare(name: str) -> str:
    """A parameter's name without the wrappers (sign, symmetry) around its network."""
    return name.replace("base.", "")


def _size(parameters: dict[str, Tensor]) -> int:
    return sum(p.numel() for p in parameters.values())
