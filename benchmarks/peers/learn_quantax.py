"""quantax against the clock: the twin network, or the network and settings of its tutorial and of its example.

Configuration: network (twin, ResConv), samples, rate (for its Pauli matrices, whose energies are 4 times those of
S.S), shift (None: its own), reweight, chunk, and what the network takes.
"""

import learning  # first, for its clock

# isort: split
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import quantax as qtx

PAULI = 4


def model(job: learning.Job):
    """The network."""
    chosen = job.configuration
    if chosen["network"] == "twin":
        from twin_quantax import Twin

        with np.load(job.data) as file:
            start = {name: file[name] for name in file.files if name not in ("spins", "log_psi", "sign")}
        return Twin({name: jnp.asarray(value) for name, value in start.items()}, job.L, "conv")
    return qtx.model.ResConv(
        nblocks=chosen["blocks"], channels=chosen["channels"], kernel_size=3,
        final_activation=qtx.nn.sinhp1_by_log,
    )  # fmt: skip


class Quantax:
    """quantax's Variational state, SpinExchange sampler and SR optimizer."""

    def __init__(self, job: learning.Job) -> None:
        chosen = job.configuration
        self.versions = {"quantax": qtx.__version__, "jax": jax.__version__, "equinox": eqx.__version__}
        qtx.set_random_seed(job.seed)
        twin = chosen["network"] == "twin"
        self.sites, self.samples, self.rate = job.L**2, chosen["samples"], chosen["rate"]
        qtx.sites.Square(job.L, Nparticles=(self.sites // 2, self.sites // 2))
        self.state = qtx.state.Variational(model(job), max_parallel=(chosen["chunk"], chosen["chunk_bwd"]))
        self.parameters = int(self.state.nparams)
        # The twin has Marshall's sign itself.
        self.hamiltonian = qtx.operator.Heisenberg(J=[1.0, job.J2], n_neighbor=[1, 2], msr=not twin)
        self.neighbours, self.plain = 1 if twin else [1, 2], None
        steps = {"sweep_steps": self.sites} if twin else {}
        self.sampler = qtx.sampler.SpinExchange(
            self.state, self.samples, reweight=chosen["reweight"], n_neighbor=self.neighbours, **steps
        )
        shift = chosen["shift"]
        solver = None if shift is None else qtx.optimizer.minnorm_shift_eig(rshift=0.0, ashift=shift)
        self.optimizer = qtx.optimizer.SR(self.state, self.hamiltonian, solver=solver)

    def step(self) -> tuple[float, float]:
        samples = self.sampler.sweep()
        update = self.optimizer.get_step(samples)
        self.state.update(update * self.rate)
        jax.block_until_ready(self.state.get_params_flatten())
        scale = PAULI * self.sites
        energy, variance = float(self.optimizer.energy), float(self.optimizer.VarE)
        return energy / scale, float(np.sqrt(variance / self.samples)) / scale

    def fresh(self, samples: int) -> tuple[float, float, int]:
        if self.plain is None:
            # Samples of psi squared, which need no weights, whatever the training takes.
            self.plain = qtx.sampler.SpinExchange(self.state, self.samples, n_neighbor=self.neighbours)
        columns = []
        for number in range(learning.SETTLE + -(-samples // self.samples)):
            drawn = self.plain.sweep()
            if number >= learning.SETTLE:
                local = np.asarray(self.hamiltonian.Oloc(self.state, drawn)).real
                columns.append(local / (PAULI * self.sites))
        return learning.of_chains(np.stack(columns, axis=1))

    def finished(self) -> bool:
        return False


if __name__ == "__main__":
    given = learning.job()
    learning.learn(given, Quantax(given))
