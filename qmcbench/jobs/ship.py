"""``python -m qmcbench.jobs.ship RUN --evaluation FOLDER``: a trained network for the package, with its card.

Everything on the card is taken from the run's checkpoint and log, from those it started from, and from the records of
an evaluation of that very checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qmcbench import checkpoint
from qmcbench.checkpoint import SHIPPED, Checkpoint, Start
from qmcbench.errors import UserError
from qmcbench.files import dumps, make_folder, write_atomically
from qmcbench.gates.energies import doubts
from qmcbench.log import digest
from qmcbench.reference.networks import NetworkCard, NetworkEnergy, TrainingStage
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, FullSum
from qmcbench.store.records import Run
from qmcbench.training import CHECKPOINT, LOG, read_log, read_run

LICENCE = "Apache-2.0"
MOST_STAGES = 100
"""Runs that a network may come from: more are a circle of files."""


@dataclass(frozen=True)
class _Origin:
    """Where the parameters of a run come from."""

    stages: tuple[TrainingStage, ...]
    start: str | None
    licence: str = LICENCE


def ship(run: Path, evaluation: Path, out: Path, name: str | None = None) -> NetworkCard:
    """Write ``out/NAME.safetensors``, the parameters of a run, and its card, ``out/NAME.json``; both are replaced.

    Parameters
    ----------
    run
        Folder of `qmcbench train`.
    evaluation
        Folder of `qmcbench evaluate`, with ``--exact`` or samples, of the run's checkpoint. With ``--symmetry``, the
        network is shipped with that symmetry.
    out
        Folder to write to.
    name
        By default network, lattice and coupling, as in ``small-6x6-0.5``.

    Raises
    ------
    UserError
        If the run is none or not of float32, or the evaluation is of another checkpoint, lattice or coupling, or not
        to be trusted.
    """
    stored = _run(run)
    config, model = stored.config, stored.config.model
    if config.wavefunction.dtype != "float32":
        raise UserError(f"{run} is of {config.wavefunction.dtype}; networks are shipped in float32: train it so.")
    name = name or f"{config.wavefunction.network}-{model.L}x{model.L}-{model.J2:g}"
    if not all(letter.isalnum() or letter in ".-_" for letter in name) or name.startswith("."):
        raise UserError(f"--name {name!r} is no name of a file; use letters, digits, '.', '-' and '_'.")
    energy, symmetry = _evaluation(evaluation, stored, checkpoint.digest(run / CHECKPOINT))
    origin = _origin(run, stored)
    alone = Checkpoint(
        parameters=dict(stored.parameters),
        config=replace(config, wavefunction=replace(config.wavefunction, start=None, symmetry=symmetry)),
        provenance=replace(stored.provenance, command=_plain(stored.provenance.command)),
        ranks=stored.ranks,
    )
    content = checkpoint.content_of(alone)
    card = NetworkCard(
        name=name,
        sha256=checkpoint.digest_of(content),
        parameters=sum(each.numel() for each in stored.parameters.values()),
        symmetry=symmetry,
        licence=origin.licence,
        start=origin.start,
        stages=origin.stages,
        evaluation=energy,
    )
    make_folder(out)
    write_atomically(out / f"{name}.safetensors", content)
    write_atomically(out / f"{name}.json", f"{dumps(asdict(card), indent=1)}\n".encode())
    return card


def _run(folder: Path) -> Checkpoint:
    stored = read_run(folder)
    if stored is None or stored.state is None:
        raise UserError(f"{folder} holds no {CHECKPOINT}; give the folder of a `qmcbench train`.")
    return stored


def _origin(folder: Path, stored: Checkpoint) -> _Origin:
    """The run, and all those before it, the first one first."""
    stages = [_stage(folder, stored)]
    while stored.state is not None and (start := stored.config.wavefunction.start) is not None:
        if start.startswith(SHIPPED):
            return _Origin(tuple(stages), start)
        path = Path(start)
        if not checkpoint.exists(path):
            raise UserError(
                f"{folder} started from {start}, which is not there; a card says what a network comes from: go to "
                "the folder in which it was trained, or restore that file."
            )
        then, run = stored.state.start, folder
        stored, folder = checkpoint.read(path), path.parent
        steps = None if then is None or not checkpoint.is_other(path, then) else _steps_of(then, path, run)
        if stored.state is None:
            known = stored.imported
            words = [] if known is None else [known.citation, known.source, known.file]
            licence = LICENCE if known is None else known.licence or "unknown"
            return _Origin(tuple(stages), "; ".join(word for word in words if word) or path.name, licence)
        stages.insert(0, _stage(folder, stored, steps))
        if len(stages) > MOST_STAGES:
            raise UserError(f"{folder} comes from more than {MOST_STAGES} runs, so they form a circle; restore them.")
    return _Origin(tuple(stages), None)


def _steps_of(start: Start, path: Path, run: Path) -> int:
    """How many steps the run at ``path``, which has gone on since, had made when ``run`` started from it."""
    log = path.with_name(LOG)
    known = start.step is not None and checkpoint.exists(log)
    if not known or digest(read_log(log, start.step)) != start.log:
        raise UserError(
            f"{run} started from another checkpoint (SHA-256 {start.sha256[:16]}...) than is at {path} now; a card "
            "says what a network comes from: restore that file."
        )
    return start.step or 0


def _stage(folder: Path, stored: Checkpoint, count: int | None = None) -> TrainingStage:
    """What a run's checkpoint and log say, of the first ``count`` steps if it went on after these."""
    assert stored.state is not None
    made, config = stored.provenance, stored.config
    count = stored.state.step if count is None else count
    steps = read_log(folder / LOG, count)
    trials = len(steps[0].starts) if steps else 0
    plain: dict[str, dict[str, Any]] = config.to_dict()
    start = config.wavefunction.start
    if start is not None and not start.startswith(SHIPPED):
        plain["wavefunction"]["start"] = "the stage before"
    return TrainingStage(
        command=_plain(made.command),
        date=made.date,
        configuration=plain,
        steps=count,
        trial_steps=trials * config.optimizer.trial,
        seconds=round(sum(step.seconds["step"] for step in steps), 1),
        cpu=made.machine.cpu,
        cores=made.machine.cores,
        ranks=stored.ranks,
        versions={name: version for name, version in {"python": made.python, **made.versions}.items() if version},
    )


def _plain(command: str) -> str:
    """A command without the folders of its machine."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in command.split(" "))


def _evaluation(folder: Path, stored: Checkpoint, digest: str) -> tuple[NetworkEnergy, str]:
    """The best of an evaluation's energies of this checkpoint on its own lattice and coupling, and its symmetry."""
    model = stored.config.model
    found: list[tuple[Run, FullSum | Energy]] = [
        (run, each)
        for run in jsonl.find([folder])
        for each in run.records
        if isinstance(each, FullSum | Energy)
        and each.network.sha256 == digest
        and (each.L, each.J2) == (model.L, model.J2)
    ]
    if not found:
        raise UserError(
            f"{folder} has no energy of the checkpoint with the SHA-256 {digest[:16]}... on {model.L}x{model.L} at "
            f"J2 = {model.J2:g}; evaluate it with `qmcbench evaluate`."
        )
    # A full sum before samples, and of these the most precise.
    run, best = min(found, key=lambda pair: (isinstance(pair[1], Energy), pair[1].sigma or 0.0))
    if isinstance(best, Energy) and (reasons := doubts(best)):
        raise UserError(f"The energy in {folder} is not to be trusted ({'; '.join(reasons)}); evaluate it again.")
    command = _plain(run.provenance.command)
    energy = _summed(best, command) if isinstance(best, FullSum) else _sampled(best, command)
    return energy, best.network.symmetry


def _summed(best: FullSum, command: str) -> NetworkEnergy:
    assert best.value is not None
    what = "configurations" if best.sector == "none" else f"orbits of the sector {best.sector}"
    return NetworkEnergy(
        energy=best.value,
        error=0.0,
        how=f"full sum over {best.configurations} {what}",
        samples=None,
        variance=best.variance,
        v_score=best.v_score,
        exact=None if best.reference is None else best.reference.value,
        infidelity=best.infidelity,
        command=command,
    )


def _sampled(best: Energy, command: str) -> NetworkEnergy:
    # An energy that is trusted has all of these.
    assert None not in (best.value, best.sigma, best.variance, best.v_score)
    return NetworkEnergy(
        energy=best.value or 0.0,
        error=best.sigma or 0.0,
        how=f"{best.samples} samples of {best.chains} chains, {best.gap} proposals apart, seed {best.seed}",
        samples=best.samples,
        variance=best.variance or 0.0,
        v_score=best.v_score or 0.0,
        exact=None if best.exact is None else best.exact.value,
        infidelity=None,
        command=command,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m qmcbench.jobs.ship",
        description="Make a shipped network, NAME.safetensors and its card NAME.json, of a run and its evaluation.",
        epilog="Example: `qmcbench evaluate runs/a/checkpoint.safetensors --exact --out runs/a-energy`, then "
        "`python -m qmcbench.jobs.ship runs/a --evaluation runs/a-energy --out reference/checkpoints`.",
    )
    parser.add_argument("run", type=Path, help="folder of `qmcbench train`")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of `qmcbench evaluate` of that run")
    parser.add_argument("--out", type=Path, default=Path("reference", "checkpoints"), help="default %(default)s")
    parser.add_argument("--name", help="network, lattice and coupling if absent, as in small-6x6-0.5")
    options = parser.parse_args(argv)
    try:
        card = ship(options.run, options.evaluation, options.out, options.name)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    path = options.out / f"{card.name}.safetensors"
    above = card.evaluation.relative_error
    known = "" if above is None else f", relative error {above:.1e}"
    print(f"{path}: {card.parameters} parameters, {path.stat().st_size / 1000:.0f} kB{known}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
