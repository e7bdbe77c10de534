"""Evaluation of a trained network at fixed parameters, resumable (``qmcbench evaluate``).

Fresh chains give unbiased energies. E_loc = E1 + J2 E2 is linear in J2, so one set of samples serves every J2 (their
errors are then correlated). Memory: forward passes take at most as many configurations at once as there are chains or
fit the buffer of :mod:`qmcbench.local_energy` (`large` with C4 on 24x24, 64 chains, float32: 1.3 GiB in all); what is
kept of a sample is 24 bytes, and what the
observables add (8 bytes for each of the L*L displacements, 24 with dimers).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from qmcbench import checkpoint, provenance, reference
from qmcbench.config import Sampling, parse
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, dumps, make_folder, write_atomically
from qmcbench.hamiltonian import J1J2
from qmcbench.observables import LocalObservables, Observables, local_estimators, random_origins, summarise
from qmcbench.progress import Bar
from qmcbench.sampler import Chains
from qmcbench.training import ansatz_of
from qmcbench.vmc import Evaluator, Observe, Samples

OBSERVABLES = ("none", "spins", "dimers")
"""What can be estimated beside the energy."""

FORMAT = "qmcbench-evaluation-1"
STATE = "evaluation.safetensors"
RESULT = "evaluation.json"
# Evaluation draws from other random streams than training with the same seed.
EVALUATION_SEED = 1 << 32
# Seconds between saves, and between computations of the running energy that the progress shows.
SAVE_EVERY = 30.0
SHOW_EVERY = 1.0
# Effective samples below which nothing is to be trusted: the bias of a reweighted mean is of order 1 / number.
FEW = 30
# The authors keep only local energies per site in here (MCMC.py of github liangstein/Verify-CNN-based-wave-functions-
# energy); the mean of what is left is biased.
WINDOW = (-0.6, -0.45)
# What of a Sampling matters here; alpha is not steered.
SETTINGS = ("chains", "gap", "warm_up", "alpha", "bound")


class OtherEvaluationError(UserError):
    """The folder holds an evaluation of something else."""


def evaluate(
    path: Path,
    out: Path,
    *,
    L: int | None = None,
    J2: Sequence[float] = (),
    samples: int,
    sampling: Sampling,
    seed: int = 0,
    device: str = "cpu",
    observables: str = "none",
    restart: bool = False,
    quiet: bool = False,
    command: str = "qmcbench.evaluation.evaluate",
) -> tuple[dict[str, Any], Evaluator]:
    """Evaluate, or continue evaluating, the checkpoint at ``path``.

    The folder gets ``evaluation.safetensors`` (the state, replaced atomically every half minute) and
    ``evaluation.json`` (the result). An evaluation that was stopped at any point, even by SIGKILL, continues from the
    last save and ends with the same numbers, bit for bit, as one that was not (same machine, threads and versions).
    More samples extend it; fewer use the first of those that are there; another J2 costs nothing.

    Parameters
    ----------
    path
        Checkpoint of a run, or an imported network.
    out
        Folder to write to; made if missing.
    L, J2
        Lattice (any even size) and couplings; absent, those of the checkpoint.
    samples
        Of all chains together, rounded up to a multiple of their number.
    sampling
        Chains, warm-up, gap, alpha and bound.
    seed
        The chains draw from streams apart from those of training with the same seed.
    device
        ``"cpu"`` or ``"cuda"``.
    observables
        What else to estimate from one random origin a sample: ``"spins"`` (correlations and structure factor, about
        L^2 / 4 forwards a sample more, which has 3 L^2) or ``"dimers"`` too (about 2 L^2 more); see
        :mod:`qmcbench.observables`.
    restart
        Begin anew, discarding a state that is there.
    quiet
        No progress on standard error.
    command
        For the provenance.

    Returns
    -------
    tuple
        The result, as in ``evaluation.json``, and the evaluator with all samples.

    Raises
    ------
    OtherEvaluationError
        If the folder's state is of another checkpoint or other settings, naming both values.
    UserError
        If a setting is out of range, the checkpoint or the state cannot be read, or the folder not written to.
    Interrupted
        After SIGINT or SIGTERM, with the last completed round saved.
    """
    if observables not in OBSERVABLES:
        raise UserError(f"observables = {observables!r} is not one of {', '.join(OBSERVABLES)}.")
    if samples < 1:
        raise UserError(f"samples = {samples} is less than 1; ask for a few thousand (all chains together).")
    stored = checkpoint.read(path)
    psi, config = ansatz_of(stored, path)
    size = config.model.L if L is None else L
    couplings = tuple(dict.fromkeys(J2)) or (config.model.J2,)
    for coupling in couplings:
        check_settings(size, coupling, sampling, seed, device)
    sampling = replace(sampling, gap=sampling.gap or size * size)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"The device {device!r} is asked for, but torch finds no CUDA device; use 'cpu'.")
    # At J2 = 1 the two parts of a local energy are those of the couplings themselves.
    hamiltonian = J1J2(size, 1.0, device)
    make_folder(out)
    evaluator = Evaluator(psi.to(device), hamiltonian, sampling, seed + EVALUATION_SEED)
    if observables != "none":
        evaluator.observe = observer(evaluator, observables, seed)
    identity = {
        "checkpoint": hashlib.sha256(path.read_bytes()).hexdigest(),
        "L": size,
        **{name: getattr(sampling, name) for name in SETTINGS},
        "seed": seed,
        "device": device,
        "observables": observables,
    }
    state, seconds = out / STATE, 0.0
    if restart:
        for name in (STATE, RESULT):
            (out / name).unlink(missing_ok=True)
    if state.exists():
        seconds = resume(evaluator, identity, state)
    rounds = -(-samples // sampling.chains)
    began = time.monotonic() - seconds

    def status() -> str:
        if not evaluator.taken:
            return f"warm-up, {evaluator.sweeps_left} sweeps left"
        try:
            found = evaluator.samples(couplings[0]).estimate()
        except UserError:
            return "every sample so far is abnormal"
        return f"E/N {found.mean:.6f} +- {found.error:.1e}" + (
            f"  R-hat {found.r_hat:.2f}" if found.r_hat > 0 else ""
        )

    label = f"{size}x{size} evaluation"
    with Bar(label, rounds * sampling.chains, quiet=quiet) as bar, catch_signals() as signals:
        saved, shown = time.monotonic(), 0.0
        while evaluator.taken < rounds:
            evaluator.advance()
            now, finished = time.monotonic(), evaluator.taken >= rounds
            if finished or signals or now - saved > SAVE_EVERY:
                seconds = now - began
                write_state(evaluator, identity, seconds, state)
                saved = now
            if not quiet and (finished or now - shown > SHOW_EVERY):
                bar.update(evaluator.taken * sampling.chains, status())
                shown = now
            if signals and not finished:
                raise Interrupted(
                    f"Stopped after {evaluator.taken} of {rounds} samples a chain; "
                    "run the same command, without --restart, to continue."
                )
    result = {
        "checkpoint": {
            "sha256": identity["checkpoint"],
            "network": config.wavefunction.network,
            "parameters": sum(p.numel() for p in psi.parameters()),
            "wavefunction": asdict(config.wavefunction),
            "trained_for": asdict(config.model),
            "imported": stored.imported and {k: v for k, v in asdict(stored.imported).items() if v is not None},
        },
        "L": size,
        "sampling": {name: identity[name] for name in SETTINGS},
        "seed": seed,
        "device": device,
        "observables": observables != "none" and summary(evaluator, rounds).as_dict(),
        "samples_asked": samples,
        "samples": rounds * sampling.chains,
        # A shorter evaluation than the one that is there has its share of the time.
        "seconds": seconds * rounds / evaluator.taken,
        "correlated": len(couplings) > 1,
        "estimates": [estimate_row(evaluator.samples(J2, rounds), size, J2) for J2 in couplings],
        "provenance": provenance.collect(command),
    }
    content = dumps(result, indent=1)
    write_atomically(out / RESULT, content.encode())
    return json.loads(content), evaluator


def observer(evaluator: Evaluator, kind: str, seed: int) -> Observe:
    """The hook of ``evaluator`` that keeps local estimators from one random origin a sample."""

    def observe(spins: Tensor, log_psi: Tensor, phase: Tensor, number: int) -> dict[str, Tensor]:
        chains = evaluator.chains.numbers
        origins = random_origins(spins.shape[-1], 1, seed=seed, chains=chains, draw=number)
        found = local_estimators(evaluator.psi, spins, log_psi, phase, origins=origins, dimers=kind == "dimers")
        return {name: value for name, value in vars(found).items() if value is not None}

    return observe


def summary(evaluator: Evaluator, rounds: int) -> Observables:
    """Expectation values from the first ``rounds`` samples of each chain."""
    return summarise(LocalObservables(**evaluator.observed(rounds)), evaluator.samples(count=rounds).weights)


def check_settings(L: int, J2: float, sampling: Sampling, seed: int, device: str) -> None:
    """Raise a UserError if a setting is out of the range that a training configuration allows."""
    run = {"seed": seed, "device": device}
    parse({"model": {"L": L, "J2": J2}, "sampling": asdict(sampling), "run": run}, source="settings")


def estimate_row(samples: Samples, L: int, J2: float) -> dict[str, Any]:
    """Everything known of the energy at one J2, JSON-ready; per site, in units of J1."""
    found = samples.estimate()
    outside, windowed = samples.window(*WINDOW)
    known = reference.known_energy(L, J2)
    row: dict[str, Any] = {
        "J2": J2,
        "energy": found.mean,
        **asdict(found),
        "v_score": samples.v_score(),
        "acceptance": samples.acceptance,
        "abnormal": samples.abnormal,
        "window": WINDOW,
        "outside_window": outside,
        "windowed_biased": windowed and {"energy": windowed.mean, "error": windowed.error},
        "reference": None,
    }
    if known is not None:
        energy, source = known
        row["reference"] = {"energy": energy, "source": source, "relative_error": (found.mean - energy) / abs(energy)}
    return row


def write_state(evaluator: Evaluator, identity: dict[str, Any], seconds: float, path: Path) -> None:
    """Write everything that continues ``evaluator`` exactly, atomically."""
    chains = evaluator.chains
    tensors = {f"rounds/{name}": torch.stack(values) for name, values in evaluator.rounds.items()}
    tensors |= {"spins": chains.spins.cpu(), "numbers": chains.numbers.cpu()}
    state = {"identity": identity, "proposals": chains.proposals, "seconds": seconds}
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        {"format": FORMAT, "state": json.dumps(state)},
    )
    write_atomically(path, content)


def resume(evaluator: Evaluator, identity: dict[str, Any], path: Path) -> float:
    """Put ``evaluator`` where the state at ``path`` was written; the seconds spent until then.

    Raises
    ------
    OtherEvaluationError
        If it belongs to another evaluation, naming the first difference.
    UserError
        If it is damaged or of another format.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if metadata.get("format") != FORMAT:
            raise UserError(
                f"{path} holds the format {metadata.get('format')!r}, but this version reads {FORMAT!r}; "
                "use another --out folder, or --restart to discard it."
            )
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"The evaluation {path} is damaged ({error}); start it again with --restart.") from error
    state = json.loads(metadata["state"])
    for name, value in identity.items():
        if (other := state["identity"].get(name)) != value:
            raise OtherEvaluationError(
                f"{path} belongs to an evaluation with {name} = {other!r}, but this one has {value!r}; "
                "use another --out folder, or --restart to discard it."
            )
    chains = Chains(tensors.pop("spins"), tensors.pop("numbers"), state["proposals"])
    evaluator.chains = chains.to(evaluator.hamiltonian.bonds.device)
    evaluator.rounds = {name.removeprefix("rounds/"): list(tensor) for name, tensor in tensors.items()}
    return float(state["seconds"])


def describe(result: dict[str, Any]) -> str:
    """The result of :func:`evaluate` as text for people."""
    network, sampling, rows = result["checkpoint"], result["sampling"], result["estimates"]
    wavefunction, trained, L = network["wavefunction"], network["trained_for"], result["L"]
    chains = sampling["chains"]
    lines = [
        f"{L}x{L}; network {network['network']} ({network['parameters']} parameters, {wavefunction['symmetry']}, "
        f"{wavefunction['sign']}, {wavefunction['dtype']}) trained for {trained['L']}x{trained['L']}, "
        f"J2 = {trained['J2']:g}",
        f"{result['samples']} samples: {chains} chains x {result['samples'] // chains}, |psi|^{sampling['alpha']:g}, "
        f"{sampling['gap']} proposals apart; acceptance {rows[0]['acceptance']:.3f}; {result['seconds']:.0f} s",
    ]
    if result["samples"] != result["samples_asked"]:
        lines.append(f"({result['samples_asked']} were asked for, rounded up to a multiple of the chains)")
    if result["correlated"]:
        lines.append("all J2 are evaluated on the same samples: their errors are correlated")
    for row in rows:
        low, high = row["window"]
        trust = "unbiased" if row["plateau"] else "unbiased; NO PLATEAU in the blocking error: take more samples"
        if row["effective_samples"] < FEW:
            trust = f"FEWER THAN {FEW} EFFECTIVE SAMPLES: trust neither the energy nor its error"
        lines += [
            f"J2 = {row['J2']:g}",
            f"  E/N             {row['energy']:.6f} +- {_shown(row['error'], '.1e')}  ({trust})",
            f"  variance of E/N {_shown(row['variance'], '.3e')}   V-score {_shown(row['v_score'], '.2e')}",
            f"  R-hat {_shown(row['r_hat'], '.3f')}   tau {row['tau']:.2f} samples   effective samples "
            f"{row['effective_samples']:.0f}   abnormal {row['abnormal']}",
            f"  outside {low} < E_loc/N < {high}: {100 * row['outside_window']:.2f}% of |psi|^2",
        ]
        if row["windowed_biased"]:
            biased = row["windowed_biased"]
            lines.append(
                f"  windowed E/N    {biased['energy']:.6f} +- {_shown(biased['error'], '.1e')}  (BIASED, to compare)"
            )
        if row["reference"]:
            known = row["reference"]
            lines.append(
                f"  reference       {known['energy']:.6f}  ({known['source']}), relative error "
                f"{known['relative_error']:.1e}"
            )
    if result["observables"]:
        found = result["observables"]
        peak, order = found["structure_factor"], found["staggered_magnetisation_squared"]
        middle = L // 2
        lines.append(
            f"S(pi,pi) = {peak['mean'][middle][middle]:.5f} +- {peak['error'][middle][middle]:.1e}, "
            f"m_s^2 = S(pi,pi)/N = {order['mean']:.6f} +- {order['error']:.1e}; all observables are in {RESULT}"
        )
        if found["bond"]:
            values = zip("xy", found["bond"]["mean"], found["bond"]["error"], strict=True)
            lines.append("<S_0.S_1> along " + ", ".join(f"{name}: {m:.5f} +- {e:.1e}" for name, m, e in values))
    published = network["imported"] or {}
    if "published_energy" in published:
        lines.append(
            f"the authors published E/N = {published['published_energy']:.6f} (windowed) for {published['L']}x"
            f"{published['L']}, J2 = {published['J2']:g}: {published['citation']}"
        )
    return "\n".join(lines)


def _shown(value: float | None, form: str) -> str:
    """A number that too few samples leave open is null in the result."""
    return "unknown" if value is None else format(value, form)
