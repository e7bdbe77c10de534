"""Evaluation of a trained network at fixed parameters, resumable (``qmcbench evaluate``).

Fresh chains give unbiased energies. E_loc = E1 + J2 E2 is linear in J2, so one set of samples serves every J2 (their
errors are then correlated). Memory: forward passes take at most as many configurations at once as there are chains or
fit the buffer of :mod:`qmcbench.local_energy` (`large` with C4 on 24x24, 64 chains, float32: 1.3 GiB in all); what is
kept of a sample is 24 bytes, and what the observables (8 bytes for each of the L*L displacements, 24 with dimers) and
a Lanczos step (80 bytes) add. Several ranks share the chains, and rank 0 keeps the samples; each chain has its own
random numbers, so that nothing depends on how many ranks there are.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from qmcbench import checkpoint, memory, provenance
from qmcbench.config import Model, Sampling, parse
from qmcbench.errors import UserError
from qmcbench.estimates import Request, correlations, energy, network_of
from qmcbench.evaluation_state import Identity, OtherEvaluationError, resume, write_state
from qmcbench.evaluator import Evaluator, Observe
from qmcbench.files import Interrupted, catch_signals, make_folder
from qmcbench.hamiltonian import J1J2
from qmcbench.lanczos import POWERS, one_step, powers_of
from qmcbench.observables import LocalObservables, Observables, local_estimators, random_origins, summarise
from qmcbench.progress import Bar
from qmcbench.ranks.comm import Communicator, Serial, on_root, share
from qmcbench.stopping import enough, looks, rounds_of
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, Network
from qmcbench.store.records import Record, Run
from qmcbench.training import ansatz_of

__all__ = ["OtherEvaluationError", "Request", "evaluate"]

OBSERVABLES = ("none", "spins", "dimers")
"""What can be estimated beside the energy."""

STATE = "evaluation.safetensors"
RECORDS = "evaluate"
"""The name of the records in the store of the folder."""
# Evaluation draws from other random streams than training with the same seed.
EVALUATION_SEED = 1 << 32
# Seconds between saves, and between computations of the running energy that the progress shows.
SAVE_EVERY = 30.0
SHOW_EVERY = 1.0
# Bytes that are kept of a sample, and of each displacement of an observable; how often while it is written.
PER_SAMPLE, PER_DISPLACEMENT, COPIES = 24, {"none": 0, "spins": 8, "dimers": 24}, 4
PER_STEP = 80
"""More bytes of a sample for a Lanczos step."""
FORWARDS, MOST_FORWARDS = 2.5, 1e11
"""Amplitudes that a sample takes for it, in units of L^4; the most that are accepted (12 days at 10^5 a second)."""
# What of a Sampling matters here; alpha is not steered.
SETTINGS = ("chains", "gap", "warm_up", "alpha", "bound")


def evaluate(request: Request, comm: Communicator | None = None) -> Run:
    """Evaluate, or continue evaluating, a checkpoint.

    The folder gets ``evaluation.safetensors`` (the state, replaced atomically every half minute) and
    ``records/evaluate.jsonl`` (the result). An evaluation that was stopped at any point, even by SIGKILL, continues
    from the last save and ends with the same numbers, bit for bit, as one that was not (same machine, threads and
    versions), whatever the number of ranks. More samples, or a smaller ``sigma``, extend it; fewer use the first of
    those that are there; another J2 costs nothing.

    Parameters
    ----------
    request
        What to evaluate, and where to.
    comm
        The ranks that share the chains, all of which must make this call; rank 0 alone reads and writes files. One
        process if absent.

    Returns
    -------
    Run
        On every rank: an :class:`Energy` for each J2, and :class:`Correlations` where they were asked for.

    Raises
    ------
    OtherEvaluationError
        If the folder's state is of another checkpoint or other settings, naming both values.
    UserError
        If a setting is out of range, the checkpoint or the state cannot be read, the folder not written to, or the
        machine has too little memory.
    Interrupted
        After SIGINT, SIGTERM or SIGHUP, with the last completed round saved.
    """
    comm = comm or Serial()
    _check_counts(request)
    stored = on_root(comm, lambda: checkpoint.read(request.checkpoint))
    psi, config = ansatz_of(stored, request.checkpoint, request.symmetry)
    request = settled(request, config.model)
    check_memory(request, comm)
    _check_step(request)
    on_root(comm, lambda: make_folder(request.out))
    digest = on_root(comm, lambda: checkpoint.digest(request.checkpoint))
    evaluator = evaluator_of(request, psi, comm)
    rounds, seconds = draw(evaluator, request, identity_of(request, digest))
    network = network_of(stored, config, digest)
    return on_root(comm, lambda: _result(evaluator, request, network, rounds, seconds))


def _result(evaluator: Evaluator, request: Request, network: Network, rounds: int, seconds: float) -> Run:
    """The records of the first ``rounds`` samples of each chain, of all that were taken in ``seconds``."""
    # A shorter evaluation than the one that is there has its share of the time.
    seconds *= rounds / evaluator.taken
    energies = [energy(evaluator.samples(J2, rounds), request, J2, network, seconds) for J2 in request.J2]
    if request.lanczos:
        energies = [_stepped(each, evaluator, rounds) for each in energies]
    records: list[Record] = [*energies]
    if request.observables != "none":
        records += correlations(summary(evaluator, rounds), request, rounds * request.sampling.chains)
    records = [replace(each, ranks=evaluator.comm.size) for each in records]
    made = provenance.collect(request.command)
    run = Run(job="evaluate", provenance=made, records=tuple(records), seed=request.seed, seconds=seconds)
    jsonl.save(request.out, RECORDS, run)
    return run


def _stepped(before: Energy, evaluator: Evaluator, rounds: int) -> Energy:
    """The energy with what one Lanczos step makes of it."""
    powers = torch.view_as_complex(evaluator.observed(rounds)[POWERS]).numpy()
    weights = evaluator.samples(before.J2, rounds).weights
    return replace(before, one_step=one_step(powers, weights, before.J2, evaluator.hamiltonian.sites))


def warm_up_of(L: int) -> int:
    """Sweeps before the first sample that `qmcbench evaluate` takes by default: the label asks for fewer."""
    return max(20, 2 * L)


def _check_counts(request: Request) -> None:
    if request.observables not in OBSERVABLES:
        raise UserError(f"observables = {request.observables!r} is not one of {', '.join(OBSERVABLES)}.")
    if not 1 <= request.samples < 2**63:
        raise UserError(
            f"samples = {str(request.samples)[:30]} is outside [1, 2^63); ask for a few thousand, of all chains."
        )
    if request.sigma is not None and not 0 < request.sigma < math.inf:
        raise UserError(f"sigma = {request.sigma:g} is no standard error above 0; ask for 1e-4, say.")


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


def check_memory(request: Request, comm: Communicator) -> None:
    """See that the chains of a settled request, and the samples that rank 0 keeps, fit.

    Raises
    ------
    UserError
        If they do not, with both numbers.
    """
    assert request.L is not None
    chains = request.sampling.chains
    own = len(share(chains, 0, comm.size))
    sweep = f"a sweep of {own} chains on {request.L}x{request.L}"
    need = memory.sampling(request.L, own, request.sampling.gap)
    memory.check(need, sweep, "use fewer chains", comm.neighbours)
    samples = rounds_of(request) * chains
    each = PER_SAMPLE + PER_DISPLACEMENT[request.observables] * request.L**2 + PER_STEP * request.lanczos
    memory.check(COPIES * samples * each, f"{samples} samples", "use fewer samples")


def _check_step(request: Request) -> None:
    """Refuse a Lanczos step that nobody would wait for, with what it takes."""
    assert request.L is not None
    each, samples = FORWARDS * request.L**4, rounds_of(request) * request.sampling.chains
    if request.lanczos and samples * each > MOST_FORWARDS:
        raise UserError(
            f"One Lanczos step takes about {each:.2g} amplitudes a sample on {request.L}x{request.L}, "
            f"{samples * each:.2g} for {samples} samples, more than {MOST_FORWARDS:.0e}; "
            f"use at most {MOST_FORWARDS / each:.0f} samples, or leave --lanczos out."
        )


def evaluator_of(request: Request, psi: nn.Module, comm: Communicator | None = None) -> Evaluator:
    """Fresh chains for a settled request."""
    assert request.L is not None
    # At J2 = 1 the two parts of a local energy are those of the couplings themselves.
    hamiltonian = J1J2(request.L, 1.0, request.device)
    seed = request.seed + EVALUATION_SEED
    evaluator = Evaluator(psi.to(request.device), hamiltonian, request.sampling, seed, comm=comm)
    if request.lanczos or request.observables != "none":
        evaluator.observe = observer(evaluator, request)
    return evaluator


def observer(evaluator: Evaluator, request: Request) -> Observe:
    """The hook of ``evaluator`` that keeps local estimators from one random origin a sample, and powers of H."""
    kind = request.observables

    def observe(spins: Tensor, log_psi: Tensor, phase: Tensor, number: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        if request.lanczos:
            found[POWERS] = powers_of(evaluator.psi, evaluator.hamiltonian, spins, log_psi, phase)
        if kind != "none":
            chains = evaluator.chains.numbers
            origins = random_origins(spins.shape[-1], 1, seed=request.seed, chains=chains, draw=number)
            local = local_estimators(evaluator.psi, spins, log_psi, phase, origins=origins, dimers=kind == "dimers")
            found |= {name: value for name, value in vars(local).items() if value is not None}
        return found

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
        **({} if request.symmetry is None else {"symmetry": request.symmetry}),
        **({"lanczos": True} if request.lanczos else {}),
    }


def draw(evaluator: Evaluator, request: Request, identity: Identity) -> tuple[int, float]:
    """Continue from the folder's state and sample until it is enough; of each chain, and the seconds spent in all."""
    comm, state, seconds = evaluator.comm, request.out / STATE, 0.0
    if on_root(comm, lambda: _is_there(request)):
        seconds = resume(evaluator, identity, state)
    chains, most = request.sampling.chains, rounds_of(request)
    began = time.monotonic() - seconds
    label = f"{request.L}x{request.L} evaluation" + (f" ({comm.size} ranks)" if comm.size > 1 else "")
    quiet = request.quiet or comm.rank != 0
    with Bar(label, most * chains, quiet=quiet) as bar, catch_signals() as signals:
        saved, shown = time.monotonic(), 0.0
        for rounds in looks(request):
            finished = evaluator.taken >= rounds and enough(evaluator, request, rounds)
            while evaluator.taken < rounds:
                evaluator.advance()
                finished = evaluator.taken >= rounds and enough(evaluator, request, rounds)
                now = time.monotonic()
                # Signals and clocks differ from rank to rank, but all must save, and stop, after the same round.
                stop = comm.any(bool(signals))
                if comm.any(finished or stop or now - saved > SAVE_EVERY):
                    seconds = now - began
                    write_state(evaluator, identity, seconds, state)
                    saved = now
                if not quiet and (finished or now - shown > SHOW_EVERY):
                    bar.update(evaluator.taken * chains, status(evaluator, request.J2[0]))
                    shown = now
                if stop and not finished:
                    at_most = "" if request.sigma is None else "at most "
                    raise Interrupted(
                        f"Stopped after {evaluator.taken} of {at_most}{most} samples a chain; "
                        "run the same command, without --restart, to continue."
                    )
            if finished:
                break
    return rounds, seconds


def _is_there(request: Request) -> bool:
    """Whether the folder has a state to go on from, which a request to begin anew discards."""
    if request.restart:
        for path in (request.out / STATE, jsonl.path_of(request.out, RECORDS)):
            path.unlink(missing_ok=True)
    return (request.out / STATE).exists()


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
    observed = {name: values for name, values in evaluator.observed(rounds).items() if name != POWERS}
    return summarise(LocalObservables(**observed), evaluator.samples(count=rounds).weights)
