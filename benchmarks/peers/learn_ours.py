"""qmcbench against the clock: its recipe for the lattice, a plan of its own, or the twin network.

The twin has the paper's settings. A plan's stages are carried out one after the other, as `qmcbench transfer` does,
each from the parameters of the one before with chains of its own; their evaluations are left out.
"""

import learning  # first, for its clock

# isort: split
import math
from dataclasses import replace

import torch

import qmcbench
from qmcbench import starts
from qmcbench.ansatz.derivatives import count
from qmcbench.config import Config, Model, Sampling, parse
from qmcbench.errors import UserError
from qmcbench.evaluator import sample_energies
from qmcbench.jobs.plan import load_profile
from qmcbench.vmc import Trainer, build_ansatz


class Ours:
    """:class:`qmcbench.vmc.Trainer`, begun as `qmcbench train` begins it."""

    def __init__(self, job: learning.Job) -> None:
        torch.set_num_threads(job.threads)
        self.versions = {"qmcbench": qmcbench.__version__, "torch": torch.__version__}
        first, *self.later = stages(job)
        self.trainer, self.before = Trainer(first, build_ansatz(first.wavefunction, first.run.seed)), 0
        self.parameters, self.samples = count(self.trainer.psi), first.sampling.chains
        starts.choose(self.trainer, lambda: False, lambda text: None)
        self.trainer.warm_up()

    def step(self) -> tuple[float, float]:
        if self._ended():
            self._next_stage()
        found = self.trainer.advance()
        return found.energy, found.error

    def _ended(self) -> bool:
        return self.trainer.step >= self.trainer.config.optimizer.steps

    def _next_stage(self) -> None:
        config = self.later.pop(0)
        psi = build_ansatz(config.wavefunction, config.run.seed)
        psi.load_state_dict(self.trainer.psi.state_dict())
        self.before += self.trainer.step
        self.trainer = Trainer(config, psi)
        self.trainer.warm_up()

    def fresh(self, samples: int) -> tuple[float, float, int]:
        chains = 1024
        sampling = Sampling(chains=chains, warm_up=20)
        rounds = math.ceil(samples / chains)
        seed = self.trainer.config.run.seed + self.before + self.trainer.step + (1 << 33)
        found = sample_energies(self.trainer.psi, self.trainer.hamiltonian, sampling, rounds, seed=seed).estimate()
        return found.mean, found.error, found.samples

    def finished(self) -> bool:
        return self._ended() and not self.later


def stages(job: learning.Job) -> list[Config]:
    """What is trained one after the other: the stages of a plan at the job's J2, or one configuration."""
    name = job.configuration.get("plan")
    if name is None:
        return [configured(job)]
    planned = load_profile(name, job.seed, job.threads, "transfer").runs
    found = [replace(each.config, model=Model(job.L, job.J2)) for each in planned if each.config.model.J2 == job.J2]
    if not found:
        raise UserError(f"The plan {name} has no stage at J2 = {job.J2:g}.")
    return found


def configured(job: learning.Job) -> Config:
    """What the job asks for; ``stretch`` makes the recipe's schedules and steps so many times longer."""
    chosen = dict(job.configuration)
    stretch = chosen.pop("stretch", 1)
    twin = chosen.pop("twin", False)
    plain: dict[str, dict[str, object]] = {
        "model": {"L": job.L, "J2": job.J2},
        "run": {"seed": job.seed, "threads": job.threads},
    }
    if twin:
        # The peers' twins: no symmetry, samples of psi squared, plain SR, and nothing that shortens a step.
        plain["wavefunction"] = {"symmetry": "none"}
        plain["sampling"] = {"chains": chosen["samples"], "alpha": 2.0}
        plain["optimizer"] = {
            "learning_rate": chosen["rate"],
            "shift": chosen["shift"],
            "max_step_norm": 1e30,
            "steps": 10**9,
        }
        plain["run"]["recipe"] = 1
    config = parse(plain, "job")
    if stretch != 1:
        plain["optimizer"] = {
            "steps": round(stretch * config.optimizer.steps),
            **{
                name: [[round(stretch * at), value] for at, value in getattr(config.optimizer, name).knots]
                for name in ("learning_rate", "max_step_norm", "shift")
            },
        }
        config = parse(plain, "job")
    return config


if __name__ == "__main__":
    given = learning.job()
    learning.learn(given, Ours(given))
