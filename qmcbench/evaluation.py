"""Evaluation of a trained network at fixed parameters, resumable (``qmcbench evaluate``).

Fresh chains give unbiased energies. E_loc = E1 + J2 E2 is linear in J2, so one set of samples serves every J2 (their
errors are then correlated). Memory: forward passes take at most as many configurations at once as there are chains or
fit the buffer of :mod:`qmcbench.local_energy` (`large` with C4 on 24x24, 64 chains, float32: 1.3 GiB in all); what is
kept of a sample is 24 bytes, and what the
observables add (8 bytes for each of the L*L displacements, 24 with dimers).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from qmcbench import checkpoint, provenance
from qmcbench.config import Model, Sampling, parse
from qmcbench.errors import UserError
from qmcbench.estimates import Request, correlations, energy, network_of
from qmcbench.evaluator import Evaluator, Observe
from qmcbench.files import Interrupted, catch_signals, dumps, make_folder, write_atomically
from qmcbench.hamiltonian import J1J2
from qmcbench.observables import LocalObservables, Observables, local_estimators, random_origins, summarise
from qmcbench.progress import Bar
from qmcbench.sampler import Chains
from qmcbench.store import jsonl
from qmcbench.store.records import Record, Run
from qmcbench.structure import Scalar, parse_json, structure
from qmcbench.tensors import pack, read_whole, texts_of, unpack
from qmcbench.training import ansatz_of

__all__ = ["OtherEvaluationError", "Request", "evaluate"]

OBSERVABLES = ("none", "spins", "dimers")
"""What can be estimated beside the energy."""

FORMAT = "qmcbench-evaluation-2"
HINT = "start it again with --restart"
STATE = "evaluation.safetensors"
RECORDS = "evaluate"
"""The name of the records in the store of the folder."""
# Evaluation draws from other random streams than training with the same seed.
EVALUATION_SEED = 1 << 32
# Seconds between saves, and between computations of the running energy that the progress shows.
SAVE_EVERY = 30.0
SHOW_EVERY = 1.0
# What of a Sampling matters here; alpha is not steered.
SETTINGS = ("chains", "gap", "warm_up", "alpha", "bound")

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


def evaluate(request: Request) -> Run:
    """Evaluate, or continue evaluating, a checkpoint.

    The folder gets ``evaluation.safetensors`` (the state, replaced atomically every half minute) and
    ``records/evaluate.jsonl`` (the result). An evaluation that was stopped at any point, even by SIGKILL, continues
    from the last save and ends with the same numbers, bit for bit, as one that was not (same machine, threads and
    versions). More samples extend it; fewer use the first of those that are there; another J2 costs nothing.

    Returns
    -------
    Run
        An :class:`Energy` for each J2, and :class:`Correlations` where they were asked for.

    Raises
    ------
    OtherEvaluationError
        If the folder's state is of another checkpoint or other settings, naming both values.
    UserError
        If a setting is out of range, the checkpoint or the state cannot be read, or the folder not written to.
    Interrupted
        After SIGINT or SIGTERM, with the last completed round saved.
    """
    _check_counts(request)
    stored = checkpoint.read(request.checkpoint)
    psi, config = ansatz_of(stored, request.checkpoint)
    request = settled(request, config.model)
    make_folder(request.out)
    digest = hashlib.sha256(request.checkpoint.read_bytes()).hexdigest()
    evaluator = evaluator_of(request, psi)
    # A shorter evaluation than the one that is there has its share of the time.
    rounds = -(-request.samples // request.sampling.chains)
    seconds = draw(evaluator, request, identity_of(request, digest)) * rounds / evaluator.taken
    network = network_of(stored, config, digest)
    records: list[Record] = [
        energy(evaluator.samples(J2, rounds), request, J2, network, seconds) for J2 in request.J2
    ]
    if request.observables != "none":
        records += correlations(summary(evaluator, rounds), request, rounds * request.sampling.chains)
    made = provenance.collect(request.command)
    run = Run(job="evaluate", provenance=made, records=tuple(records), seed=request.seed, seconds=seconds)
    jsonl.save(request.out, RECORDS, run)
    return run


def _check_counts(request: Request) -> None:
    if request.observables not in OBSERVABLES:
        raise UserError(f"observables = {request.observables!r} is not one of {', '.join(OBSERVABLES)}.")
    if request.samples < 1:
        raise UserError(f"samples = {request.samples} is less than 1; ask for a few thousand (all chains together).")


def settled(request: Request, trained: Model) -> Request:
    """The request with nothing left open; raises a UserError if a setting is out of range."""
    size = trained.L if request.L is None else request.L
    couplings = tuple(dict.fromkeys(request.J2)) or (trained.J2,)
    for coupling in couplings:
        check_settings(size, coupling, request.sampling, request.seed, request.device)
    if request.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"The device {request.device!r} is asked for, but torch finds no CUDA device; use 'cpu'.")
    sampling = replace(request.sampling, gap=request.sampling.gap or size * size)
    return replace(request, L=size, J2=couplings, sampling=sampling)


def check_settings(L: int, J2: float, sampling: Sampling, seed: int, device: str) -> None:
    """Raise a UserError if a setting is out of the range that a training configuration allows."""
    run = {"seed": seed, "device": device}
    parse({"model": {"L": L, "J2": J2}, "sampling": asdict(sampling), "run": run}, source="settings")


def evaluator_of(request: Request, psi: nn.Module) -> Evaluator:
    """Fresh chains for a settled request."""
    assert request.L is not None
    # At J2 = 1 the two parts of a local energy are those of the couplings themselves.
    hamiltonian = J1J2(request.L, 1.0, request.device)
    evaluator = Evaluator(psi.to(request.device), hamiltonian, request.sampling, request.seed + EVALUATION_SEED)
    if request.observables != "none":
        evaluator.observe = observer(evaluator, request.observables, request.seed)
    return evaluator


def observer(evaluator: Evaluator, kind: str, seed: int) -> Observe:
    """The hook of ``evaluator`` that keeps local estimators from one random origin a sample."""

    def observe(spins: Tensor, log_psi: Tensor, phase: Tensor, number: int) -> dict[str, Tensor]:
        chains = evaluator.chains.numbers
        origins = random_origins(spins.shape[-1], 1, seed=seed, chains=chains, draw=number)
        local = local_estimators(evaluator.psi, spins, log_psi, phase, origins=origins, dimers=kind == "dimers")
        return {name: value for name, value in vars(local).items() if value is not None}

    return observe


def identity_of(request: Request, digest: str) -> Identity:
    """What the state in a folder must be of for this request to continue it."""
    return {
        "checkpoint": digest,
        "L": request.L,
        **{name: getattr(request.sampling, name) for name in SETTINGS},
        "seed": request.seed,
        "device": request.device,
        "observables": request.observables,
    }


def draw(evaluator: Evaluator, request: Request, identity: Identity) -> float:
    """Continue from the folder's state and sample until there are enough rounds; the seconds spent in all."""
    state, seconds = request.out / STATE, 0.0
    if request.restart:
        for path in (state, jsonl.path_of(request.out, RECORDS)):
            path.unlink(missing_ok=True)
    if state.exists():
        seconds = resume(evaluator, identity, state)
    chains = request.sampling.chains
    rounds = -(-request.samples // chains)
    began = time.monotonic() - seconds
    label = f"{request.L}x{request.L} evaluation"
    with Bar(label, rounds * chains, quiet=request.quiet) as bar, catch_signals() as signals:
        saved, shown = time.monotonic(), 0.0
        while evaluator.taken < rounds:
            evaluator.advance()
            now, finished = time.monotonic(), evaluator.taken >= rounds
            if finished or signals or now - saved > SAVE_EVERY:
                seconds = now - began
                write_state(evaluator, identity, seconds, state)
                saved = now
            if not request.quiet and (finished or now - shown > SHOW_EVERY):
                bar.update(evaluator.taken * chains, status(evaluator, request.J2[0]))
                shown = now
            if signals and not finished:
                raise Interrupted(
                    f"Stopped after {evaluator.taken} of {rounds} samples a chain; "
                    "run the same command, without --restart, to continue."
                )
    return seconds


def status(evaluator: Evaluator, J2: float) -> str:
    """How far it is, for the progress."""
    if not evaluator.taken:
        return f"warm-up, {evaluator.sweeps_left} sweeps left"
    try:
        now = evaluator.samples(J2).estimate()
    except UserError:
        return "every sample so far is abnormal"
    return f"E/N {now.mean:.6f} +- {now.error:.1e}" + (f"  R-hat {now.r_hat:.2f}" if now.r_hat > 0 else "")


def summary(evaluator: Evaluator, rounds: int) -> Observables:
    """Expectation values from the first ``rounds`` samples of each chain."""
    return summarise(LocalObservables(**evaluator.observed(rounds)), evaluator.samples(count=rounds).weights)


def write_state(evaluator: Evaluator, identity: Identity, seconds: float, path: Path) -> None:
    """Write everything that continues ``evaluator`` exactly, atomically."""
    chains = evaluator.chains
    tensors = {f"rounds/{name}": torch.stack(values) for name, values in evaluator.rounds.items()}
    tensors |= {"spins": chains.spins.cpu(), "numbers": chains.numbers.cpu()}
    state = dumps(asdict(Progress(dict(identity), chains.proposals, seconds)))
    write_atomically(path, pack(tensors, {"format": FORMAT, "state": state}))


def resume(evaluator: Evaluator, identity: Identity, path: Path) -> float:
    """Put ``evaluator`` where the state at ``path`` was written; the seconds spent until then.

    Raises
    ------
    OtherEvaluationError
        If it belongs to another evaluation, naming the first difference.
    UserError
        If it is damaged or of another format.
    """
    content, source = read_whole(path, "evaluation"), f"The evaluation {path}"
    texts = texts_of(content, source, HINT)
    if texts.get("format") != FORMAT:
        raise UserError(
            f"{path} holds the format {str(texts.get('format'))[:60]!r}, but this version reads {FORMAT!r}; "
            "use another --out folder, or --restart to discard it."
        )
    tensors = unpack(content, source, HINT)
    state = structure(
        parse_json(texts.get("state", ""), f"{source}: state", HINT), Progress, f"{source}: state", HINT
    )
    for name, value in identity.items():
        if (other := state.identity.get(name)) != value:
            raise OtherEvaluationError(
                f"{path} belongs to an evaluation with {name} = {other!r}, but this one has {value!r}; "
                "use another --out folder, or --restart to discard it."
            )
    if not {"spins", "numbers"} <= tensors.keys() or state.proposals < 0:
        raise UserError(f"{source} lacks its chains; {HINT}.")
    chains = Chains(tensors.pop("spins"), tensors.pop("numbers"), state.proposals)
    evaluator.chains = chains.to(evaluator.hamiltonian.bonds.device)
    evaluator.rounds = {name.removeprefix("rounds/"): list(tensor) for name, tensor in tensors.items()}
    return state.seconds
