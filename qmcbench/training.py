"""Training with files: log, checkpoints, exact resuming, interruption (``qmcbench train``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from qmcbench import checkpoint, memory, provenance, starts
from qmcbench import config as configuration
from qmcbench.ansatz.derivatives import count
from qmcbench.checkpoint import Checkpoint, Start
from qmcbench.config import SCALAPACK, Config, Run, parse
from qmcbench.cores import default_threads, threads
from qmcbench.errors import UserError
from qmcbench.files import Interrupted, catch_signals, writing
from qmcbench.hours import Foresight, Hours
from qmcbench.log import LOG, Log, digest, read_log, summary
from qmcbench.progress import Bar
from qmcbench.provenance import Provenance
from qmcbench.ranks.comm import Communicator, Serial, on_root, share
from qmcbench.snapshots import check_same_run, restore, snapshot
from qmcbench.vmc import Trainer, build_ansatz

__all__ = [
    "CHECKPOINT",
    "LOG",
    "Request",
    "ansatz_of",
    "carry_on",
    "load_ansatz",
    "read_log",
    "starting_ansatz",
    "train",
]

CHECKPOINT = "checkpoint.safetensors"
# Spins of all chains for each thread, at least: on 4x4 a second one gains nothing on a free machine, and beside busy
# processes the two wait for each other.
SPINS = 8192


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to train, and where to, as :func:`train` takes it."""

    config: Config
    out: Path
    restart: bool = False
    quiet: bool = False
    command: str = "qmcbench.training.carry_on"
    comm: Communicator | None = None
    ahead: Foresight | None = None
    """What of ``run.hours`` is to be left for what comes after, such as an evaluation."""


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
    else; no other process may write there meanwhile. A run that was stopped at any point, even by SIGKILL, continues
    from its last checkpoint and ends with the same numbers, bit for bit, as one that was not (same machine, ranks,
    threads and versions). Another number of ranks may continue it. Torch's number of threads is afterwards what it
    was before.

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
        If the folder cannot be written to or is in use, its checkpoint is damaged, of another run or does not fit
        its log, or the machine has too little memory.
    Interrupted
        After SIGINT, SIGTERM or SIGHUP, with the last completed step saved.
    """
    return carry_on(Request(config=config, out=out, restart=restart, quiet=quiet, command=command, comm=comm))


def carry_on(request: Request) -> Trainer:
    """Train, or continue, a run; :func:`train` says how."""
    config, out, quiet, comm = request.config, request.out, request.quiet, request.comm or Serial()
    hours = Hours(config.run.hours, comm, request.ahead)
    with torch_threads(config.run, comm, config.sampling.chains * config.model.L**2), ExitStack() as files:
        on_root(comm, lambda: _open(files, out))
        stored = on_root(comm, lambda: None if request.restart else read_run(out))
        trainer = begin(config, comm) if stored is None else resume(stored, config, out / CHECKPOINT, comm)
        start = on_root(comm, lambda: _start(config, stored, out, quiet=quiet))
        run = _Run(trainer, out / CHECKPOINT, provenance.collect(request.command), start, hours)
        if comm.rank == 0:
            if stored is None:
                (out / CHECKPOINT).unlink(missing_ok=True)
            run.log = files.enter_context(closing(Log(out / LOG, trainer.step)))
        bar = files.enter_context(_bar(trainer, quiet=quiet))
        signals = files.enter_context(catch_signals())
        if trainer.step == 0:
            trainer.starts = starts.choose(
                trainer, lambda: trainer.comm.any(bool(signals)), lambda text: bar.update(0, text)
            )
        if stored is None:
            trainer.warm_up()
            if config.optimizer.steps == 0:
                run.save()
        else:
            hours.go_on(lambda: read_log(out / LOG, trainer.step) if trainer.step else [])
        while trainer.step < config.optimizer.steps and not hours.over:
            run.advance(bar, signals)
    return trainer


@dataclass
class _Run:
    """A trainer and the files of its run; the log is rank 0's, which alone writes."""

    trainer: Trainer
    path: Path
    made_by: Provenance
    start: Start | None
    hours: Hours
    log: Log | None = None

    def advance(self, bar: Bar, signals: list[int]) -> None:
        """One step, logged, and saved when it is due."""
        trainer, steps = self.trainer, self.trainer.config.optimizer.steps
        trainer.elapsed = self.hours.share
        step = self.hours.count(trainer.advance())
        if self.log is not None:
            self.log.append(step)
        bar.update(step.step, summary(step))
        # A signal reaches the ranks at different moments, but they must stop after the same step.
        stop = trainer.comm.any(bool(signals))
        if stop or self.hours.over or step.step == steps or step.step % trainer.config.run.checkpoint_every == 0:
            self.save()
        if stop and step.step < steps:
            raise Interrupted(
                f"Stopped after step {step.step} of {steps}; run the same command, without --restart, to continue."
            )

    def save(self) -> None:
        """Write the checkpoint; every rank must call it."""
        state = snapshot(self.trainer, self.made_by, "" if self.log is None else self.log.digest, self.start)

        def write() -> None:
            if self.log is not None:
                # The log must reach the disk first: on resuming, it is cut to the checkpoint's step.
                self.log.sync()
            checkpoint.write(self.path, state)

        on_root(self.trainer.comm, write)


def _start(config: Config, stored: Checkpoint | None, out: Path, *, quiet: bool) -> Start | None:
    """The checkpoint that the run starts from now, or has started from, which it says is another one by now."""
    path = None if config.wavefunction.start is None else Path(config.wavefunction.start)
    if stored is None or stored.state is None:
        return None if path is None else checkpoint.start_of(path)
    start = stored.state.start
    if path is not None and start is not None and checkpoint.is_other(path, start) and not quiet:
        at = "" if start.step is None else f" after step {start.step}"
        print(
            f"{path} is no longer what the run in {out} started from{at}, which goes on with its own parameters; "
            "remove that folder to begin anew from what is there now.",
            file=sys.stderr,
        )
    return start


def _open(files: ExitStack, out: Path) -> None:
    files.enter_context(writing(out))


def _bar(trainer: Trainer, *, quiet: bool) -> Bar:
    model, comm = trainer.config.model, trainer.comm
    label = f"{model.L}x{model.L} J2={model.J2:g}"
    if comm.size > 1:
        label += f" ({comm.size} ranks)"
    return Bar(label, trainer.config.optimizer.steps, trainer.step, quiet=quiet or comm.rank != 0)


def load(path: Path, out: Path, *, restart: bool = False) -> Config:
    """The configuration in the file ``path``; what it leaves open is as in the run in the folder ``out``, if any.

    Raises
    ------
    UserError
        If the file cannot be read or holds a wrong key or value, or the checkpoint there is damaged.
    """
    stored = out / CHECKPOINT
    if restart or not checkpoint.exists(stored):
        return configuration.load(path)
    return configuration.load(path, checkpoint.read(stored).config.run.recipe)


def read_run(out: Path) -> Checkpoint | None:
    """The checkpoint in the folder ``out``, None if there is none, once its log is seen to belong to it.

    Raises
    ------
    UserError
        If it is damaged, no run, or the log lacks lines or is that of another run.
    """
    path, log = out / CHECKPOINT, out / LOG
    if not checkpoint.exists(path):
        return None
    stored = checkpoint.read(path)
    if stored.state is None:
        raise UserError(
            f"{path} holds an imported network and not a run that could continue; "
            "start from it with wavefunction.start in another --out folder."
        )
    count = stored.state.step
    steps = read_log(log, count) if count and checkpoint.exists(log) else []
    advice = (
        "put the right log back, start from the checkpoint with wavefunction.start in another --out folder, or use "
        "--restart to discard both"
    )
    if len(steps) < count:
        raise UserError(f"{path} has completed {count} steps, but {log} has {len(steps)} lines; {advice}.")
    if wrong := next((n for n, step in enumerate(steps, start=1) if step.step != n), None):
        raise UserError(f"{log}: line {wrong} is of step {steps[wrong - 1].step}; {advice}.")
    if stored.state.log is not None and digest(steps) != stored.state.log:
        raise UserError(f"{log} is not the log of the run in {path}: its first {count} lines differ; {advice}.")
    return stored


@contextmanager
def torch_threads(run: Run, comm: Communicator, spins: int | None = None) -> Iterator[None]:
    """The run's threads, by default all cores that this rank shares with no other, and those of before afterwards.

    Of ``spins``, those of all chains of all ranks, a thread has by default at least ``SPINS``.

    Raises
    ------
    UserError
        If CUDA is asked for and not there, or more threads than cores without ``run.oversubscribe``.
    """
    device, cores = run.device, provenance.available_cores()
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"run.device = {device!r}, but torch {torch.__version__} finds no CUDA device; use 'cpu'.")
    if device == "cuda":
        # One GPU per rank, also where the launcher shows every rank all GPUs of the node.
        torch.cuda.set_device(comm.local_rank % torch.cuda.device_count())
    most = None if spins is None else spins // comm.size // SPINS
    count = run.threads or default_threads(comm.sharing, most)
    if run.threads and count > cores and not run.oversubscribe:
        raise UserError(
            f"run.threads = {count}, but this process may use {cores} cores, and more threads than cores are many "
            "times slower; take fewer, or set run.oversubscribe = true as well."
        )
    with threads(count):
        yield


def check_memory(config: Config, psi: nn.Module, comm: Communicator) -> None:
    """See that the chains, and later the log-derivatives and what the solver needs on this node, fit.

    Raises
    ------
    UserError
        If they do not, with both numbers.
    """
    name, samples = config.optimizer.solver, config.sampling.chains
    own = len(share(samples, 0, comm.size))
    chains = memory.sampling(config.model.L, own, config.sampling.gap)
    purpose = f"a sweep of {own} chains on {config.model.L}x{config.model.L}"
    memory.check(chains, purpose, "use fewer sampling.chains", comm.neighbours)
    size = count(psi)
    numbers = size * own
    if name in SCALAPACK:
        from qmcbench.ranks.mesh import memory as of_scalapack

        rank = of_scalapack(size, samples, comm.size, config.scalapack, SCALAPACK[name]).total
        advice = "use more nodes" if SCALAPACK[name] == "samples" else "use more nodes, or 'scalapack_samples'"
    elif name == "dense":
        rank, advice = 8 * (2 * size**2 + numbers), "use 'sample_space', whose step is the same"
    else:
        rank, advice = 2 * 8 * samples**2, "use fewer chains, or 'scalapack_samples' on several nodes"
    rank += numbers * (8 if config.wavefunction.dtype == "float64" else 4)
    purpose = f"{size} parameters and {samples} samples with optimizer.solver = {name!r}"
    memory.check(rank, purpose, advice, comm.neighbours)


def starting_ansatz(config: Config) -> nn.Module:
    """Fresh parameters, or those of the checkpoint ``wavefunction.start`` (transfer learning)."""
    psi = build_ansatz(config.wavefunction, config.run.seed, config.run.kernels)
    if config.wavefunction.start is not None:
        source = Path(config.wavefunction.start)
        checkpoint.load_parameters(psi, checkpoint.read(source), source)
    return psi


def load_ansatz(path: Path, symmetry: str | None = None) -> tuple[nn.Module, Config]:
    """The trained wave function of a checkpoint, and the configuration it was trained with.

    Parameters
    ----------
    path
        Of the checkpoint.
    symmetry
        What psi is summed over (:class:`qmcbench.config.Wavefunction`), and the configuration then says, if not what
        it was trained with.

    Raises
    ------
    UserError
        If the checkpoint is missing or damaged, or there is no such symmetry.
    """
    return ansatz_of(checkpoint.read(path), path, symmetry)


def projected(config: Config, symmetry: str | None) -> Config:
    """``config`` with another symmetry, if one is given; raises a UserError if there is no such symmetry."""
    if symmetry is None:
        return config
    plain = config.to_dict()
    plain["wavefunction"]["symmetry"] = symmetry
    return parse(plain, "the evaluation")


def ansatz_of(stored: Checkpoint, path: Path, symmetry: str | None = None) -> tuple[nn.Module, Config]:
    """As :func:`load_ansatz`, of the checkpoint ``stored`` that was read from ``path``."""
    config = projected(stored.config, symmetry)
    psi = build_ansatz(config.wavefunction, config.run.seed, config.run.kernels)
    checkpoint.load_parameters(psi, stored, path)
    return psi, config


def begin(config: Config, comm: Communicator) -> Trainer:
    """The trainer of a run that begins, with its chains still in the Neel state."""
    psi = on_root(comm, lambda: starting_ansatz(config))
    check_memory(config, psi, comm)
    return Trainer(config, psi, comm)


def resume(stored: Checkpoint, config: Config, path: Path, comm: Communicator) -> Trainer:
    """The trainer that continues ``stored`` with this rank's share of its chains.

    Raises
    ------
    UserError
        If ``config`` is not that of the checkpoint's run, naming the first difference.
    """
    assert stored.state is not None  # as read_run has seen
    check_same_run(stored.config, config, path)
    if stored.state.step > config.optimizer.steps:
        raise UserError(
            f"{path} has completed {stored.state.step} steps, more than optimizer.steps = {config.optimizer.steps}; "
            "raise it, or use --restart."
        )
    psi = build_ansatz(config.wavefunction, config.run.seed, config.run.kernels)
    checkpoint.load_parameters(psi, stored, path)
    check_memory(config, psi, comm)
    trainer = Trainer(config, psi, comm)
    restore(trainer, stored)
    return trainer
