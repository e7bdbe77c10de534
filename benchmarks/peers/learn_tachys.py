"""tachys against the clock: the network and settings of its quick start, and of its page on the ViT.

Configuration: layers, width, heads, patch, samples, rate, shift, reach (of a move, in neighbours). Energies are S.S.
"""

import learning  # first, for its clock

# isort: split
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from tachys.lattice.ansatz.spin_vit import SpinViT
from tachys.lattice.bond_exchange import BondExchange
from tachys.lattice.lattice_database import square
from tachys.lattice.operator.local_estimator import compute_expectation
from tachys.lattice.spins.hamiltonians.heisenberg import heisenberg_hamiltonian
from tachys.lattice.spins.spin_state import SpinState, init_config_fixed_magn
from tachys.montecarlo import sample
from tachys.optimizer import SR
from tachys.wavefunction import WaveFunction


class Tachys:
    """Its loop: sample, expectation, optimizer, update."""

    def __init__(self, job: learning.Job) -> None:
        chosen = job.configuration
        self.versions = {name: version(name) for name in ("tachys", "jax", "flax")}
        self.samples, self.rate, self.key = chosen["samples"], chosen["rate"], jax.random.key(job.seed)
        lattice = square(shape=(job.L, job.L))
        self.sites = lattice.Ns
        self.hamiltonian = heisenberg_hamiltonian(
            lattice, nn=[((1, 0), 1.0), ((0, 1), 1.0), ((1, 1), job.J2), ((1, -1), job.J2)]
        )
        spins = init_config_fixed_magn(self._key(), self.sites, N_mc=self.samples)
        self.state = SpinState(spins=spins, lattice=lattice)
        patch = chosen["patch"]
        network = SpinViT(
            num_layers=chosen["layers"], d_model=chosen["width"], num_heads=chosen["heads"],
            seq_len=self.sites // patch**2, b=patch, transl_invariant=True, two_dimensional=True,
        )  # fmt: skip
        self.psi = WaveFunction(params=network.init(self._key(), self.state), apply_fn=network.apply)
        self.parameters = int(self.psi.num_params)
        self.action = BondExchange.create(lattice, max_dist=chosen["reach"])
        self.optimizer = SR(diag_shift=chosen["shift"], mode="complex")
        self.memory = self.optimizer.init(self.psi.params)

    def _key(self) -> jax.Array:
        self.key, other = jax.random.split(self.key)
        return other

    def _sample(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        keys = jax.random.split(self._key(), self.samples)
        self.state, log_psi, _ = sample(1, self.state, self.action, keys, self.psi)
        return compute_expectation(self.hamiltonian, self.psi, self.state, log_psi)

    def step(self) -> tuple[float, float]:
        local, mean, square_mean = self._sample()
        update, self.memory = self.optimizer(local, self.memory, self.state, self.psi)
        self.psi = self.psi.apply_gradients(update, self.rate)
        jax.block_until_ready(self.psi.params)
        energy = float(jnp.real(mean))
        variance = max(0.0, float(jnp.real(square_mean)) - energy**2)
        return energy / self.sites, float(np.sqrt(variance / self.samples)) / self.sites

    def fresh(self, samples: int) -> tuple[float, float, int]:
        columns = []
        for number in range(learning.SETTLE + -(-samples // self.samples)):
            local, _, _ = self._sample()
            if number >= learning.SETTLE:
                columns.append(np.asarray(local).real / self.sites)
        return learning.of_chains(np.stack(columns, axis=1))

    def finished(self) -> bool:
        return False


if __name__ == "__main__":
    given = learning.job()
    learning.learn(given, Tachys(given))
