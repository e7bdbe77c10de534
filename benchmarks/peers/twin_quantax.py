"""quantax with the same network, Hamiltonian and samples. Configuration: form, forward and backward chunk, solver.

Its Heisenberg Hamiltonian has Pauli matrices: energies are 4 times those of S.S, so the learning rate is a quarter.
Its moves differ: a random up spin and a random neighbour of it. A parallel pair counts as a step and needs no
amplitude, so a sweep of L * L steps makes fewer moves than ours; the time per effective sample sees that.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import network
import numpy as np
import quantax as qtx
import worker
from quantax.utils import LogArray

PAULI = 4


class Twin(eqx.Module):
    """psi of one configuration."""

    parameters: dict[str, jax.Array]
    L: int = eqx.field(static=True)
    form: str = eqx.field(static=True)

    def __call__(self, spins: jax.Array) -> LogArray:
        log_psi, sign = network.log_psi(self.parameters, spins[None], self.L, self.form)
        return LogArray(sign[0], log_psi[0])


def _solver(name: str, shift: float):
    if name == "shift_eig_float64":
        return qtx.optimizer.minnorm_shift_eig(rshift=0.0, ashift=shift)
    if name == "shift_eig_float32":
        return qtx.optimizer.minnorm_shift_eig(rshift=0.0, ashift=shift, dtype=None)
    if name == "cg":
        return qtx.optimizer.minnorm_cg(rshift=0.0, ashift=shift)
    raise ValueError(f"solver = {name!r} is unknown")


class Quantax:
    """quantax's Variational state, SpinExchange sampler and SR optimizer."""

    def __init__(self, job: worker.Job) -> None:
        chosen = job.configuration
        self.versions = {"quantax": qtx.__version__, "jax": jax.__version__, "equinox": eqx.__version__}
        self.rate = job.learning_rate / PAULI
        sites = job.L**2
        qtx.sites.Square(job.L, Nparticles=(sites // 2, sites // 2))
        start, _ = worker.arrays(job.data)
        twin = Twin({name: jnp.asarray(value) for name, value in start.items()}, job.L, chosen["form"])
        self.state = qtx.state.Variational(twin, max_parallel=(chosen["forward_chunk"], chosen["backward_chunk"]))
        self.hamiltonian = qtx.operator.Heisenberg(J=[1.0, job.J2], n_neighbor=[1, 2])
        self.sampler = qtx.sampler.SpinExchange(
            self.state, job.samples, thermal_steps=sites, sweep_steps=sites, n_neighbor=1
        )
        self.optimizer = qtx.optimizer.SR(self.state, self.hamiltonian, solver=_solver(chosen["solver"], job.shift))

    def amplitudes(self, spins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        psi = self.state(jnp.asarray(spins))
        return np.asarray(psi.logabs), np.asarray(psi.sign)

    def sweep(self) -> None:
        self.samples = self.sampler.sweep()
        jax.block_until_ready(self.samples.spins)

    def spins(self) -> np.ndarray:
        return np.asarray(self.samples.spins)

    def local_energies(self) -> np.ndarray:
        self.energies = jax.block_until_ready(self.hamiltonian.Oloc(self.state, self.samples))
        return np.asarray(self.energies) / PAULI

    def sr_step(self) -> None:
        # What the optimizer's get_step does, but for the local energies, which are at hand.
        centred = (self.energies - self.energies.mean()) / len(self.energies) ** 0.5
        rows = self.optimizer.get_Obar(self.samples)
        step, _ = self.optimizer.solve(rows, centred, {})
        jax.block_until_ready(step)

    def iteration(self) -> None:
        samples = self.sampler.sweep()
        step = self.optimizer.get_step(samples)
        self.state.update(step * self.rate)
        jax.block_until_ready(self.state.get_params_flatten())


if __name__ == "__main__":
    job = worker.job()
    worker.serve(job, Quantax(job))
