"""The state of an evaluation in a file: written whole, every field checked when it is read, shared among ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from qmcbench.errors import UserError
from qmcbench.evaluator import Evaluator
from qmcbench.files import dumps, write_atomically
from qmcbench.lanczos import POWERS
from qmcbench.ranks.comm import on_root
from qmcbench.sampler import Chains
from qmcbench.structure import Scalar, parse_json, structure
from qmcbench.tensors import pack, read_whole, texts_of, unpack

FORMAT = "qmcbench-evaluation-2"
HINT = "start it again with --restart"
ROUNDS = "rounds/"
"""Begins the names of the samples' tensors, whose first axis counts the rounds."""

Identity = Mapping[str, Scalar]
"""What two evaluations must have in common for one to continue the other."""


@dataclass(frozen=True)
class Progress:
    """How far an evaluation has come, beside its tensors."""

    identity: dict[str, Scalar]
    proposals: int
    seconds: float


class OtherEvaluationError(UserError):
    """The folder holds an evaluation of something else."""


def write_state(evaluator: Evaluator, identity: Identity, seconds: float, path: Path) -> None:
    """Write everything that continues ``evaluator`` exactly, atomically; every rank must call it."""
    chains, comm = evaluator.chains, evaluator.comm
    whole = {"spins": comm.gather(chains.spins.cpu()), "numbers": comm.gather(chains.numbers.cpu())}

    def write() -> None:
        samples = {ROUNDS + name: torch.stack(values) for name, values in evaluator.rounds.items()}
        state = dumps(asdict(Progress(dict(identity), chains.proposals, seconds)))
        write_atomically(path, pack(samples | whole, {"format": FORMAT, "state": state}))

    on_root(comm, write)


def resume(evaluator: Evaluator, identity: Identity, path: Path) -> float:
    """Put ``evaluator`` where the state at ``path`` was written; the seconds spent until then.

    Every rank must call it and gets its share of the chains; rank 0 gets the samples.

    Raises
    ------
    OtherEvaluationError
        If it belongs to another evaluation, naming the first difference.
    UserError
        If it is damaged, of another format, or holds what no evaluation can have written.
    """

    def read() -> tuple[Progress, Chains, int]:
        state, tensors = _read(path, identity)
        samples = {name: tensors.pop(name) for name in list(tensors) if name.startswith(ROUNDS)}
        taken = len(next(iter(samples.values()))) if samples and all(each.ndim for each in samples.values()) else 0
        if wrong := next(_mistakes(evaluator, state, tensors | samples, taken), None):
            raise UserError(f"The evaluation {path} is none that could continue: {wrong}; {HINT}.")
        evaluator.rounds = {name.removeprefix(ROUNDS): list(tensor) for name, tensor in samples.items()}
        return state, Chains(tensors["spins"], tensors["numbers"], state.proposals), taken

    state, chains, taken = on_root(evaluator.comm, read)
    own = slice(evaluator.own.start, evaluator.own.stop)
    share = Chains(chains.spins[own], chains.numbers[own], chains.proposals)
    evaluator.chains, evaluator.taken = share.to(evaluator.hamiltonian.bonds.device), taken
    return state.seconds


def _read(path: Path, identity: Identity) -> tuple[Progress, dict[str, Tensor]]:
    """What the file holds, once it is seen to be of this evaluation."""
    content, source = read_whole(path, "evaluation"), f"The evaluation {path}"
    texts = texts_of(content, source, HINT)
    if texts.get("format") != FORMAT:
        raise UserError(
            f"{path} holds the format {str(texts.get('format'))[:60]!r}, but this version reads {FORMAT!r}; "
            "use another --out folder, or --restart to discard it."
        )
    tensors = unpack(content, source, HINT)
    plain = parse_json(texts.get("state", ""), f"{source}: state", HINT)
    state = structure(plain, Progress, f"{source}: state", HINT)
    for name in {**identity, **state.identity}:
        value, other = identity.get(name), state.identity.get(name)
        if value != other:
            raise OtherEvaluationError(
                f"{path} belongs to an evaluation with {name} = {repr(other)[:80]}, but this one has {value!r}; "
                "use another --out folder, or --restart to discard it."
            )
    return state, tensors


def _mistakes(evaluator: Evaluator, state: Progress, tensors: Mapping[str, Tensor], taken: int) -> Iterator[str]:
    """What no such evaluation can have written, a clause each; the first one may be the cause of the others."""
    sampling, L = evaluator.sampling, evaluator.hamiltonian.L
    warm_up = sampling.warm_up * L * L
    sweeping = taken == 0 and state.proposals % (L * L) == 0 and 0 <= state.proposals <= warm_up
    if not sweeping and state.proposals != warm_up + taken * (sampling.gap or L * L):
        yield f"proposals = {state.proposals}, which {taken} samples a chain do not make"
    if not 0 <= state.seconds < math.inf:
        yield f"seconds = {state.seconds}"
    expected = _tensors(sampling.chains, L, taken, state.identity)
    if tensors.keys() != expected.keys():
        yield f"it holds {', '.join(sorted(tensors))[:200]} and not {', '.join(sorted(expected))}"
        return
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if (tensor.dtype, tuple(tensor.shape)) != (dtype, shape):
            yield f"{name} has the shape {tuple(tensor.shape)} and type {tensor.dtype}, not {shape} and {dtype}"
            return
    yield from _wrong_values(tensors, taken)


def _tensors(chains: int, L: int, taken: int, identity: Identity) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of every tensor in the file."""
    observables = identity.get("observables")
    shapes: dict[str, tuple[int, ...]] = {"parts": (chains, 2), "log_psi": (chains,), "acceptance": ()}
    if observables != "none":
        shapes["observed/correlation"] = (chains, L, L)
    if observables == "dimers":
        shapes |= {"observed/bond": (chains, 2), "observed/dimer": (chains, 2, L, L)}
    if identity.get("lanczos"):
        shapes[f"observed/{POWERS}"] = (chains, 5, 2)
    samples = {ROUNDS + name: (torch.float64, (taken, *shape)) for name, shape in shapes.items()} if taken else {}
    return {"spins": (torch.int8, (chains, L, L)), "numbers": (torch.int64, (chains,))} | samples


def _wrong_values(tensors: Mapping[str, Tensor], taken: int) -> Iterator[str]:
    spins, numbers = tensors["spins"], tensors["numbers"]
    if not ((spins == 1) | (spins == -1)).all():
        yield "some spins are neither +1 nor -1"
    elif spins.sum((1, 2), dtype=torch.int64).any():
        yield "some configurations are outside S^z = 0"
    if not torch.equal(numbers, torch.arange(len(numbers))):
        yield f"the chains' numbers are not 0 to {len(numbers) - 1} in this order"
    if not taken:
        return
    parts, log_psi, acceptance = (tensors[ROUNDS + name] for name in ("parts", "log_psi", "acceptance"))
    if parts.isinf().any() or log_psi.isinf().any() or (parts.isnan().any(2) != log_psi.isnan()).any():
        yield "some samples are neither normal nor marked as abnormal"
    if not ((acceptance >= 0) & (acceptance <= 1)).all():
        yield "some acceptance is outside [0, 1]"
