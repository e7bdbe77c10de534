"""qmcbench itself: plain network with the Marshall sign, float32, one sample of each chain, sample-space solver."""

from pathlib import Path

import numpy as np
import torch
import worker

import qmcbench
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.config import Config, Model, Optimizer, Run, Sampling, Schedule, Wavefunction
from qmcbench.local_energy import local_energies
from qmcbench.sr import centre
from qmcbench.vmc import Trainer, build_ansatz


class Qmcbench:
    """The phases of :meth:`qmcbench.vmc.Trainer.advance`."""

    def __init__(self, job: worker.Job) -> None:
        torch.set_num_threads(job.threads)
        self.versions = {"qmcbench": qmcbench.__version__, "torch": torch.__version__}
        self.shift = job.shift
        config = Config(
            model=Model(job.L, job.J2),
            wavefunction=Wavefunction(job.model, symmetry="none"),
            sampling=Sampling(chains=job.samples, alpha=2.0),
            optimizer=Optimizer(
                learning_rate=Schedule(((0, job.learning_rate),)),
                shift=Schedule(((0, job.shift),)),
                **job.configuration,
            ),
            run=Run(threads=job.threads),
        )
        psi = build_ansatz(config.wavefunction, seed=0)
        parameters, _ = worker.arrays(job.data)
        psi.load_state_dict({f"base.{name}": torch.from_numpy(value) for name, value in parameters.items()})
        self.trainer = Trainer(config, psi)

    def amplitudes(self, spins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        L = self.trainer.hamiltonian.L
        with torch.no_grad():
            log_psi, sign = self.trainer.psi(torch.from_numpy(spins).view(-1, L, L))
        return log_psi.numpy(), sign.numpy()

    def sweep(self) -> None:
        t = self.trainer
        self.state = t.sampler.advance(t.psi, t.chains, t.gap, t.alpha)

    def spins(self) -> np.ndarray:
        return self.trainer.chains.spins.flatten(1).numpy()

    def local_energies(self) -> np.ndarray:
        t = self.trainer
        self.energies = local_energies(t.psi, t.hamiltonian, t.chains.spins, self.state.log_psi, self.state.phase)
        return self.energies.numpy()

    def sr_step(self) -> None:
        t = self.trainer
        weights = torch.full_like(self.energies, 1 / len(self.energies))
        t.solver(centre(log_derivatives(t.psi, t.chains.spins), self.energies, weights), self.shift)

    def iteration(self) -> None:
        self.trainer.advance()


def export(model: str, L: int, batch: int, path: Path) -> None:
    """Write a fresh network's weights, random configurations and their amplitudes, for all programs to start from."""
    psi = build_ansatz(Wavefunction(model, symmetry="none"), seed=0)
    order = torch.rand(batch, L * L, generator=torch.Generator().manual_seed(0)).argsort(1)
    spins = torch.where(order < L * L // 2, 1, -1).to(torch.int8)
    with torch.no_grad():
        log_psi, sign = psi(spins.view(-1, L, L))
    weights = {name.removeprefix("base."): value.numpy() for name, value in psi.state_dict().items()}
    np.savez(path, spins=spins.numpy(), log_psi=log_psi.numpy(), sign=sign.numpy(), **weights)


if __name__ == "__main__":
    job = worker.job()
    worker.serve(job, Qmcbench(job))
