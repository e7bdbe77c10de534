"""Checkpoints: one sealed safetensors file with everything that continues a run exactly, written atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qmcbench import reference, soundness
from qmcbench.config import Config, parse
from qmcbench.errors import UserError
from qmcbench.files import write_atomically
from qmcbench.provenance import Provenance
from qmcbench.store.energies import Origin
from qmcbench.structure import parse_json, structure, unstructure
from qmcbench.tensors import pack, read_whole, texts_of, unpack

FORMAT = "qmcbench-checkpoint-2"
# Version 0.1.0 wrote this one, without a digest; it is still read.
FORMAT_1 = "qmcbench-checkpoint-1"
SHIPPED = "reference:"
"""Before the name of a network that travels with the package, wherever the path of a checkpoint is taken."""
GROUPS = ("parameters", "chains", "optimizer", "mixing", "past", "good")
HINT = (
    "restore it from a copy, train again with --restart, or make one of the authors' network with "
    "`qmcbench import-weights`"
)


@dataclass(frozen=True)
class Start:
    """The checkpoint whose parameters a run started from, as it was then: its own run may have gone on since."""

    sha256: str
    """Of its file."""
    step: int | None = None
    """Of its own run; None of an imported or shipped network."""
    log: str | None = None
    """As in its :class:`State`."""
    L: int | None = None
    """The lattice that it was trained for; None in those of earlier versions."""


@dataclass(frozen=True)
class State:
    """Where a run stands after a completed step."""

    step: int
    proposals: int
    """Made by each chain so far: the counter of the random streams."""
    alpha: float
    log: str | None = None
    """Digest of the log's lines up to this step (:func:`qmcbench.log.digest`); None in those of 0.1.0."""
    start: Start | None = None
    """None with fresh parameters, and in those of earlier versions."""
    cautious: int = 0
    """Steps still to be made at half the rate, since the run fell back."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after a completed step, or an imported network, which has neither chains, optimizer nor state."""

    parameters: dict[str, Tensor]
    """Parameters of the wave function by name."""
    config: Config
    provenance: Provenance
    state: State | None = None
    chains: dict[str, Tensor] | None = None
    """``spins`` (chains, L, L), their global ``numbers`` (chains,), and the ``history`` of their local energies."""
    optimizer: dict[str, Tensor] | None = None
    """``last_solution`` (parameters,) and, of the metric march, ``moments`` (parameters,)."""
    mixing: dict[str, Tensor] | None = None
    """``pairs`` (chains, steps): antiparallel nearest neighbours at the last steps; None in those of 0.1.0."""
    past: dict[str, Tensor] | None = None
    """Where the run returns to when its energy leaps: all ``parameters`` in one, the ``change`` that was subtracted
    from them, ``spins`` (chains, L, L), of the metric march the ``moments`` before it, and the ``recent`` energies,
    which are alone if the last update was refused; None with no ``optimizer.leap``."""
    good: dict[str, Tensor] | None = None
    """Where it falls back to when no part of an update is small enough, a few states: ``steps`` done in each,
    ``parameters`` (states, parameters), ``spins`` (states, chains, L, L); None with no ``optimizer.leap``."""
    ranks: int = 1
    imported: Origin | None = None


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` always holds a complete one.

    Raises
    ------
    UserError
        If it cannot be written; what was there before still is.
    """
    write_atomically(path, content_of(checkpoint))


def content_of(checkpoint: Checkpoint) -> bytes:
    """The bytes of the file."""
    texts = {"format": FORMAT, "config": json.dumps(checkpoint.config.to_dict())}
    for name in ("provenance", "state", "ranks", "imported"):
        texts[name] = json.dumps(unstructure(getattr(checkpoint, name)))
    groups = {group: getattr(checkpoint, group) or {} for group in GROUPS}
    return pack({f"{group}/{name}": t for group in GROUPS for name, t in groups[group].items()}, texts)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint, every field of which is checked.

    Raises
    ------
    UserError
        If there is none, it is damaged, or it holds what no run can have written; and as :func:`located`.
    """
    path = located(path)
    if not exists(path):
        raise UserError(
            f"There is no checkpoint at {path}; give the path of a .safetensors file that `train` or "
            f"`import-weights` wrote, or {SHIPPED}NAME of one that `qmcbench reference networks` lists."
        )
    return decode(read_whole(path, "checkpoint"), str(path))


def located(path: Path) -> Path:
    """The file that ``path`` means: itself, or with ``reference:NAME`` that of a shipped network.

    Raises
    ------
    UserError
        If there is no such network, or its file is not the one that its card is about.
    """
    if not str(path).startswith(SHIPPED):
        return path
    try:
        return reference.checkpoint(str(path).removeprefix(SHIPPED))
    except reference.ReferenceLayerError as error:
        raise UserError(f"{path}: {error}.") from error


def digest(path: Path) -> str:
    """SHA-256 of the file that ``path`` means; raises as :func:`located`, or OSError."""
    return digest_of(located(path).read_bytes())


def start_of(path: Path) -> Start:
    """What a run keeps of the checkpoint that it starts from; raises as :func:`read`."""
    there = read(path)
    state, L = there.state, there.config.model.L
    return Start(digest(path), L=L) if state is None else Start(digest(path), state.step, state.log, L)


def is_other(path: Path, start: Start) -> bool:
    """Whether there is another checkpoint at ``path`` than the one that a run started from; not if there is none."""
    try:
        return digest(path) != start.sha256
    except (OSError, ValueError, UserError):
        return False


def digest_of(content: bytes) -> str:
    """SHA-256 of a file with these bytes."""
    return hashlib.sha256(content).hexdigest()


def exists(path: Path) -> bool:
    """Whether there is anything at ``path``; a name that cannot be one is of nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def decode(content: bytes, source: str) -> Checkpoint:
    """The checkpoint in the bytes of the file ``source``; as :func:`read`."""
    texts = texts_of(content, source, HINT)
    found = texts.get("format")
    if found not in (FORMAT, FORMAT_1):
        raise UserError(
            f"{source} holds the format {str(found)[:60]!r}, but this version reads {FORMAT!r} and {FORMAT_1!r}; "
            "it was written neither by `qmcbench train` nor by `import-weights`, or by a later version of them."
        )
    tensors = unpack(content, source, HINT, sealed=found == FORMAT)
    plain = {name: _plain(texts, name, source) for name in ("config", "provenance", "state")}
    if found == FORMAT:
        plain |= {name: _plain(texts, name, source) for name in ("ranks", "imported")}
    else:
        plain |= _of_version_1(plain)
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in GROUPS}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if group not in groups:
            raise UserError(f"{source} holds the unknown tensor {name[:60]!r}; {HINT}.")
        groups[group][rest] = tensor
    checkpoint = Checkpoint(
        parameters=groups["parameters"],
        config=parse(_table(plain["config"], source), source, recipe=1),
        provenance=structure(plain["provenance"], Provenance, f"{source}: provenance", HINT),
        state=structure(plain["state"], State | None, f"{source}: state", HINT),  # type: ignore[arg-type]
        chains=groups["chains"] or None,
        optimizer=groups["optimizer"] or None,
        mixing=groups["mixing"] or None,
        past=groups["past"] or None,
        good=groups["good"] or None,
        ranks=structure(plain["ranks"], int, f"{source}: ranks", HINT),
        imported=structure(plain["imported"], Origin | None, f"{source}: imported", HINT),  # type: ignore[arg-type]
    )
    if wrong := next(iter(mistakes(checkpoint)), None):
        raise UserError(f"{source} is no checkpoint of a run: {wrong}; {HINT}.")
    return checkpoint


def _plain(texts: dict[str, str], name: str, source: str) -> Any:
    if name not in texts:
        raise UserError(f"{source} lacks its {name}; {HINT}.")
    return parse_json(texts[name], f"{source}: {name}", HINT)


def _table(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{source}: config is not a table of keys; {HINT}.")
    return value


def _of_version_1(plain: dict[str, Any]) -> dict[str, Any]:
    """What version 0.1.0 kept within the provenance, and an empty state of an imported network."""
    provenance = dict(_table(plain["provenance"], "provenance"))
    return {
        "ranks": provenance.pop("ranks", 1),
        "imported": provenance.pop("imported", None),
        "provenance": provenance,
        "state": plain["state"] or None,
    }


def mistakes(checkpoint: Checkpoint) -> list[str]:
    """What in ``checkpoint`` no run can have written, a clause each."""
    found = [
        f"the parameter {name[:60]!r} is not finite"
        for name, parameter in checkpoint.parameters.items()
        if not parameter.is_floating_point() or not torch.isfinite(parameter).all()
    ]
    if not checkpoint.parameters:
        found.append("it has no parameters")
    origin = checkpoint.imported
    if origin is not None and None in (origin.file, origin.sha256):
        found.append("it is imported, but from no file")
    if checkpoint.ranks < 1:
        found.append(f"ranks = {checkpoint.ranks}")
    parts = checkpoint.state, checkpoint.chains, checkpoint.optimizer
    if all(part is None for part in parts):
        return found
    state, chains, optimizer = parts
    if state is None or chains is None or optimizer is None:
        return [*found, "of state, chains and optimizer some are missing"]
    found += _state_mistakes(state, checkpoint.config)
    memory = {"last_solution", "moments"} if checkpoint.config.optimizer.metric == "march" else {"last_solution"}
    if set(chains) != {"spins", "numbers", "history"} or set(optimizer) != memory:
        return [*found, f"it holds {', '.join(sorted({*chains, *optimizer}))[:200]} of chains and optimizer"]
    if checkpoint.mixing is not None:
        found += soundness.of_mixing(checkpoint.mixing, checkpoint.config, state.step)
    size = sum(p.numel() for p in checkpoint.parameters.values())
    if checkpoint.past is not None:
        found += soundness.of_past(checkpoint.past, checkpoint.config, size)
    if checkpoint.good is not None:
        found += soundness.of_good(checkpoint.good, checkpoint.config, size, state.step)
    return found + soundness.of_run(chains, optimizer, checkpoint.config, state.step, size)


def _state_mistakes(state: State, config: Config) -> list[str]:
    sampling, sites = config.sampling, config.model.L**2
    proposals = sampling.warm_up * sites + state.step * (sampling.gap or sites)
    found = []
    if not 0 <= state.step <= config.optimizer.steps:
        found.append(f"step = {state.step} is outside [0, optimizer.steps = {config.optimizer.steps}]")
    elif state.proposals != proposals:
        found.append(f"proposals = {state.proposals}, but {state.step} steps make {proposals}")
    steered = sampling.effective_fraction is not None
    if not (0 <= state.alpha <= 2 if steered else state.alpha == sampling.alpha):
        found.append(f"alpha = {state.alpha}, which sampling.alpha = {sampling.alpha} does not become")
    return found


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
            f"({checkpoint.config.wavefunction.network}), but the configuration asks for one of {_size(own)}; "
            "make wavefunction.network agree with it."
        )
    copy_network(module, checkpoint.parameters)


def copy_network(module: torch.nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Copy the ``parameters`` of the same network, by name, into ``module``, whatever wrappers are around either."""
    bare = {_bare(name): tensor for name, tensor in parameters.items()}
    for name, parameter in module.state_dict().items():
        parameter.copy_(bare[_bare(name)])


def _bare(name: str) -> str:
    """A parameter's name without the wrappers (sign, symmetry) around its network."""
    return name.replace("base.", "")


def _size(parameters: dict[str, Tensor]) -> int:
    return sum(p.numel() for p in parameters.values())
