"""Which fresh network training starts from: the one of several that a short trial takes furthest down.

On 4x4 some fresh networks do not learn the signs that differ from Marshall's: the amplitudes of these configurations
fall to nothing before they could pass zero, and no gradient is left that would bring them back. Their energies lag
behind from early on.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.vmc import Trainer, build_ansatz

# Odd, so that the seeds of a run's starts are all different, and far from those of its neighbours' starts.
_STRIDE = 0x9E3779B97F4A7C15


def seed_of(seed: int, number: int) -> int:
    """The seed of the fresh parameters of a run's start ``number``; of start 0 the run's own."""
    return (seed + number * _STRIDE) % 2**63


def choose(trainer: Trainer, stop: Callable[[], bool], say: Callable[[str], object]) -> tuple[float | None, ...]:
    """Give ``trainer`` the parameters of the best of ``optimizer.starts`` fresh networks, whatever it has now.

    Each is trained on its own for ``optimizer.trial`` steps, from the Neel state and with the run's random numbers;
    the best has the lowest median of its last energies. The run then begins with that network as it was before its
    trial, so that nothing of a trial has to be kept. Every rank must make this call.

    Parameters
    ----------
    trainer
        Of the run.
    stop
        Asked after every step: whether to give up, the same on every rank.
    say
        Told, after every step, what is going on.

    Returns
    -------
    tuple of float
        The energy per site that each start was judged by, None where its wave function broke down; empty where there
        is nothing to choose.

    Raises
    ------
    UserError
        If every one of them breaks down.
    Interrupted
        If ``stop`` says so.
    """
    config, count = trainer.config, trainer.config.optimizer.starts
    if count == 1 or config.wavefunction.start is not None:
        return ()
    energies = tuple(_trial(trainer, number, stop, say) for number in range(count))
    ranked = sorted((energy, number) for number, energy in enumerate(energies) if energy is not None)
    if not ranked:
        raise UserError(
            f"None of {count} fresh networks could be trained for {config.optimizer.trial} steps: their wave "
            "functions break down; use a smaller learning rate or a larger shift."
        )
    best = build_ansatz(config.wavefunction, seed_of(config.run.seed, ranked[0][1]), config.run.kernels)
    trainer.psi.load_state_dict(best.state_dict())
    return energies


def _trial(trainer: Trainer, number: int, stop: Callable[[], bool], say: Callable[[str], object]) -> float | None:
    """The median of the last energies of a fresh network's first steps; None if it breaks down."""
    config, optimizer = trainer.config, trainer.config.optimizer
    psi = build_ansatz(config.wavefunction, seed_of(config.run.seed, number), config.run.kernels)
    trial = Trainer(config, psi, trainer.comm)
    try:
        trial.warm_up()
        for _ in range(optimizer.trial):
            step = trial.advance()
            done = f"start {number + 1} of {optimizer.starts}, step {step.step} of {optimizer.trial}"
            say(f"{done}: E/N {step.energy:.6f}")
            if stop():
                raise Interrupted(
                    f"Stopped while choosing among {optimizer.starts} starts, before the first step; "
                    "run the same command to begin anew."
                )
    except UserError:
        return None
    energy = float(np.median(trial.recent))
    return energy if math.isfinite(energy) else None
