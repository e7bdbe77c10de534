"""Everything that continues a training run exactly: from the trainer into a checkpoint, and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from qmcbench.checkpoint import Checkpoint, Start, State
from qmcbench.config import Config
from qmcbench.errors import UserError
from qmcbench.leaps import Good, Past
from qmcbench.provenance import Provenance
from qmcbench.sampler import Chains
from qmcbench.vmc import Trainer

# What may differ between a checkpoint's configuration and that of the run that continues it.
MAY_CHANGE = {
    "optimizer": {"steps"},
    "scalapack": {"grid", "block", "product", "redistribution"},
    "run": {"checkpoint_every", "hours", "threads", "device", "kernels", "oversubscribe", "recipe"},
    "wavefunction": {"start"},
}


def snapshot(trainer: Trainer, made_by: Provenance, log: str, start: Start | None = None) -> Checkpoint:
    """Everything that continues ``trainer`` exactly, with the chains of all ranks: every rank must call it."""
    chains, gather = trainer.chains, trainer.comm.gather
    return Checkpoint(
        parameters=dict(trainer.psi.state_dict()),
        config=trainer.config,
        provenance=made_by,
        state=State(trainer.step, chains.proposals, trainer.alpha, log, start, trainer.cautious),
        chains={
            "spins": gather(chains.spins),
            "numbers": gather(chains.numbers),
            "history": torch.from_numpy(trainer.history),
        },
        optimizer={name: tensor for name, tensor in _memory(trainer) if tensor is not None},
        mixing={"pairs": torch.from_numpy(trainer.pairs)},
        past=_past(trainer),
        good=_good(trainer),
        ranks=trainer.comm.size,
    )


def _memory(trainer: Trainer) -> tuple[tuple[str, Tensor | None], ...]:
    return (("last_solution", trainer.last_solution), ("moments", trainer.moments))


def _past(trainer: Trainer) -> dict[str, Tensor] | None:
    past, recent = trainer.past, {"recent": torch.from_numpy(trainer.recent)}
    if trainer.config.optimizer.leap is None:
        return None
    if past is None:
        return recent
    moments = {} if past.moments is None else {"moments": past.moments}
    spins = trainer.comm.gather(past.spins)
    return {**recent, "parameters": past.parameters, "change": past.change, "spins": spins, **moments}


def _good(trainer: Trainer) -> dict[str, Tensor] | None:
    if not trainer.good:
        return None
    return {
        "steps": torch.tensor([good.step for good in trainer.good]),
        "parameters": torch.stack([good.parameters for good in trainer.good]),
        "spins": torch.stack([trainer.comm.gather(good.spins) for good in trainer.good]),
    }


def restore(trainer: Trainer, stored: Checkpoint) -> None:
    """Give a fresh ``trainer`` of the same run its state, with this rank's share of the chains."""
    config, state, chains, optimizer = trainer.config, stored.state, stored.chains, stored.optimizer
    assert state is not None
    assert chains is not None
    assert optimizer is not None
    own = slice(trainer.own.start, trainer.own.stop)
    trainer.chains = Chains(chains["spins"][own], chains["numbers"][own], state.proposals).to(config.run.device)
    trainer.history = chains["history"].numpy()
    if stored.mixing is not None:
        trainer.pairs = stored.mixing["pairs"].numpy()
    if stored.past is not None:
        kept = {name: tensor.to(config.run.device) for name, tensor in stored.past.items()}
        trainer.recent = stored.past["recent"].numpy()
        if "change" in kept:
            trainer.past = Past(kept["parameters"], kept["change"], kept["spins"][own], kept.get("moments"))
    if stored.good is not None:
        steps = stored.good["steps"].tolist()
        parameters, spins = (stored.good[name].to(config.run.device) for name in ("parameters", "spins"))
        trainer.good = [Good(*each) for each in zip(steps, parameters, spins[:, own], strict=True)]
    trainer.last_solution = optimizer["last_solution"].to(config.run.device)
    if trainer.moments is not None:
        trainer.moments = optimizer["moments"].to(config.run.device)
    trainer.step, trainer.alpha, trainer.cautious = state.step, state.alpha, state.cautious


def check_same_run(stored: Config, config: Config, path: Path) -> None:
    """See that ``config`` continues the run of ``stored``, the configuration in the checkpoint at ``path``.

    Raises
    ------
    UserError
        If not, naming the first difference.
    """
    other = stored.to_dict()
    for section, values in config.to_dict().items():
        for key, value in values.items():
            if other[section][key] != value and key not in MAY_CHANGE.get(section, ()):
                raise UserError(
                    f"{path} belongs to a run with {section}.{key} = {other[section][key]!r}, but the configuration "
                    f"has {value!r}; use another --out folder, or --restart to discard it."
                )
