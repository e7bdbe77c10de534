"""Training with files: log, checkpoints, exact resuming, interruption (``qmcbench train``)."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from qmcbench import checkpoint, provenance
from qmcbench.ansatz.derivatives import trainable
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import SCALAPACK, Config, parse
from qmcbench.cores import default_threads
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, dumps, make_folder, write_atomically
from qmcbench.progress import Bar
from qmcbench.ranks.comm import Communicator, Serial, on_root, share
from qmcbench.sampler import Chains
from qmcbench.structure import unstructure
from qmcbench.vmc import Step, Trainer, build_ansatz

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
# What may differ between a checkpoint's configuration and that of the run that continues it.
MAY_CHANGE = {
    "optimizer": {"steps"},
    "scalapack": {"grid", "block", "product", "redistribution"},
    "run": {"checkpoint_every", "threads", "device", "kernels"},
    "wavefunction": {"start"},
}


def train(
    config: Config,
    out: Path,
    *,
    restart: bool = False,
    quiet: bool = False,
    command: str = "qmcbench.training.train",
    comm: Communicator | None = None,
) -> Trainer:
    """Train, or continue, the run in the folder ``out``.

    The folder holds ``checkpoint.safetensors`` (replaced atomically), ``log.jsonl`` (one line a step) and nothing
    else. A run that was stopped at any point, even by SIGKILL, continues from its last checkpoint and ends with the
    same numbers, bit for bit, as one that was not (same machine, ranks, threads and versions). Another number of
    ranks may continue it.

    Parameters
    ----------
    config
        The run.
    out
        Folder to write to; made if missing.
    restart
        Begin anew, discarding a checkpoint that is there.
    quiet
        No progress on standard error.
    command
        For the provenance in the checkpoint.
    comm
        The ranks that share the chains, all of which must make this call; rank 0 alone reads and writes files. One
        process if absent.

    Returns
    -------
    Trainer
        With the final parameters.

    Raises
    ------
    UserError
        If the folder cannot be written to, or its checkpoint is damaged or of another run.
    Interrupted
        After SIGINT or SIGTERM, with the last completed step saved.
    """
    comm = comm or Serial()
    root = comm.rank == 0
    path, log = out / CHECKPOINT, out / LOG
    configure_torch(config, comm)
    on_root(comm, lambda: make_folder(out))
    stored = on_root(comm, lambda: checkpoint.read(path) if path.exists() and not restart else None)
    if stored is not None:
        trainer = resume(stored, config, path, comm)
    else:
        trainer = Trainer(config, on_root(comm, lambda: starting_ansatz(config)), comm)
    check_memory(config, trainer.psi, comm)
    if root:
        if trainer.step == 0:
            path.unlink(missing_ok=True)
        keep_lines(log, trainer.step)
    made_by = unstructure(provenance.collect(command)) | {"ranks": comm.size}
    steps = config.optimizer.steps
    label = f"{config.model.L}x{config.model.L} J2={config.model.J2:g}"
    if comm.size > 1:
        label += f" ({comm.size} ranks)"
    with (
        Bar(label, steps, trainer.step, quiet=quiet or not root) as bar,
        catch_signals() as signals,
        # The other ranks have nothing to write.
        log.open("a") if root else open(os.devnull, "a") as lines,
    ):
        if trainer.step == 0:
            trainer.warm_up()
        while trainer.step < steps:
            step = trainer.advance()
            lines.write(dumps(asdict(step)) + "\n")
            lines.flush()
            bar.update(step.step, summary(step))
            # A signal reaches the ranks at different moments, but they must stop after the same step.
            stop = comm.any(bool(signals))
            if stop or step.step == steps or step.step % config.run.checkpoint_every == 0:
                state = snapshot(trainer, made_by)
                if root:
                    # The log must reach the disk first: on resuming, it is cut to the checkpoint's step.
                    os.fsync(lines.fileno())
                    checkpoint.write(path, state)
            if stop and step.step < steps:
                raise Interrupted(
                    f"Stopped after step {step.step} of {steps}; "
                    "run the same command, without --restart, to continue."
                )
    return trainer


def configure_torch(config: Config, comm: Communicator) -> None:
    """Set threads, by default all cores that this rank shares with no other, and check that the device exists.

    Raises
    ------
    UserError
        If CUDA is asked for and not there.
    """
    if config.run.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"run.device = {config.run.device!r}, but torch {torch.__version__} finds no CUDA device; use 'cpu'."
        )
    if config.run.device == "cuda":
        # One GPU per rank, also where the launcher shows every rank all GPUs of the node.
        torch.cuda.set_device(comm.local_rank % torch.cuda.device_count())
    torch.set_num_threads(config.run.threads or default_threads(comm.sharing))


def check_memory(config: Config, psi: nn.Module, comm: Communicator) -> None:
    """See that the log-derivatives and what the solver needs on this node fit.

    Raises
    ------
    UserError
        If it does not, with both numbers.
    """
    name, samples = config.optimizer.solver, config.sampling.chains
    size = sum(p.numel() for p in trainable(psi).values())
    numbers = size * len(share(samples, 0, comm.size))
    if name in SCALAPACK:
        from qmcbench.sr.scalapack import memory

        rank = memory(size, samples, comm.size, config.scalapack, SCALAPACK[name]).total
        advice = "use more nodes" if SCALAPACK[name] == "samples" else "use more nodes, or 'scalapack_samples'"
    elif name == "dense":
        rank, advice = 8 * (2 * size**2 + numbers), "use 'sample_space', whose step is the same"
    else:
        rank, advice = 2 * 8 * samples**2, "use fewer chains, or 'scalapack_samples' on several nodes"
    rank += numbers * (8 if config.wavefunction.dtype == "float64" else 4)
    need, free = comm.neighbours * rank / 2**30, psutil.virtual_memory().available / 2**30
    if need > free:
        ranks = f"the {comm.neighbours} ranks of this node need" if comm.neighbours > 1 else "this process needs"
        raise UserError(
            f"optimizer.solver = {name!r}: {ranks} {need:.3g} GiB for {size} parameters and {samples} samples, "
            f"but {free:.3g} GiB are free; {advice}."
        )


def starting_ansatz(config: Config) -> nn.Module:
    """Fresh parameters, or those of the checkpoint ``wavefunction.start`` (transfer learning)."""
    psi = build_ansatz(config.wavefunction, config.run.seed, config.run.kernels)
    if config.wavefunction.start is not None:
        source = Path(config.wavefunction.start)
        checkpoint.load_parameters(psi, checkpoint.read(source), source)
    return psi


def load_ansatz(path: Path) -> tuple[nn.Module, Config]:
    """The trained wave function of a checkpoint, and the configuration it was trained with.

    Raises
    ------
    UserError
        If the checkpoint is missing or damaged.
    """
    return ansatz_of(checkpoint.read(path), path)


def ansatz_of(stored: Checkpoint, path: Path) -> tuple[nn.Module, Config]:
    """As :func:`load_ansatz`, of the checkpoint ``stored`` that was read from ``path``."""
    config = parse(stored.config, source=str(path))
    psi = build_ansatz(config.wavefunction, config.run.seed, config.run.kernels)
    checkpoint.load_parameters(psi, stored, path)
    return psi, config


def snapshot(trainer: Trainer, made_by: dict[str, Any]) -> Checkpoint:
    """Everything that continues ``trainer`` exactly, with the chains of all ranks: every rank must call it."""
    chains, gather = trainer.chains, trainer.comm.gather
    return Checkpoint(
        dict(trainer.psi.state_dict()),
        {
            "spins": gather(chains.spins),
            "numbers": gather(chains.numbers),
            "history": torch.from_numpy(trainer.history),
        },
        {"last_solution": trainer.last_solution},
        {"step": trainer.step, "proposals": chains.proposals, "alpha": trainer.alpha},
        trainer.config.to_dict(),
        made_by,
    )


def resume(stored: Checkpoint, config: Config, path: Path, comm: Communicator) -> Trainer:
    """The trainer that continues ``stored`` with this rank's share of its chains.

    Raises
    ------
    UserError
        If ``config`` is not that of the checkpoint's run, naming the first difference, or it holds no run at all.
    """
    if not stored.chains:
        raise UserError(
            f"{path} holds an imported network and not a run that could continue; "
            "start from it with wavefunction.start in another --out folder."
        )
    mine = config.to_dict()
    for section, values in mine.items():
        for key, value in values.items():
            other = stored.config.get(section, {}).get(key)
            if other != value and key not in MAY_CHANGE.get(section, ()):
                raise UserError(
                    f"{path} belongs to a run with {section}.{key} = {other!r}, but the configuration has {value!r}; "
                    "use another --out folder, or --restart to discard it."
                )
    if stored.state["step"] > config.optimizer.steps:
        raise UserError(
            f"{path} has completed {stored.state['step']} steps, more than optimizer.steps = "
            f"{config.optimizer.steps}; raise it, or use --restart."
        )
    psi = build_ansatz(config.wavefunction, config.run.seed, config.run.kernels)
    checkpoint.load_parameters(psi, stored, path)
    trainer = Trainer(config, psi, comm)
    own = slice(trainer.own.start, trainer.own.stop)
    spins, numbers = stored.chains["spins"][own], stored.chains["numbers"][own]
    chains = Chains(spins, numbers, stored.state["proposals"])
    trainer.chains = chains.to(config.run.device)
    trainer.history = stored.chains["history"].numpy()
    trainer.last_solution = stored.optimizer["last_solution"].to(config.run.device)
    trainer.step, trainer.alpha = stored.state["step"], stored.state["alpha"]
    return trainer


def summary(step: Step) -> str:
    """One line for the progress bar."""
    text = (
        f"E/N {step.energy:.6f} +- {step.error:.1e}  var {step.variance:.3f}  acc {step.acceptance:.2f}  "
        f"R-hat {step.r_hat:.2f}  eff {step.effective_fraction:.2f}"
    )
    if step.restarted:
        text += f"  restarted {step.restarted}"
    if step.retries:
        text += f"  shift raised to {step.shift:.0e}"
    if step.refused:
        text += f"  refused: {step.refused}"
    return text


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a run's ``log.jsonl`` as dictionaries, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def keep_lines(log: Path, count: int) -> None:
    """Cut the log to its first ``count`` lines: later ones will be written again."""
    lines = log.read_text().splitlines(keepends=True)[:count] if log.exists() else []
    write_atomically(log, "".join(lines).encode())
