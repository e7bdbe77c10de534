"""NetKet with the same network, Hamiltonian, moves and samples.

Configuration: form, forward and backward chunk, use_ntk, on_the_fly, x64, operator (jax or numba).
Its Heisenberg Hamiltonian has Pauli matrices: energies are 4 times those of S.S, so the learning rate is a quarter.
Its exchange moves are ours: a random antiparallel nearest-neighbour pair, with the Hastings factor.
"""

import os
import warnings

import worker

job = worker.job()
os.environ["NETKET_ENABLE_X64"] = "1" if job.configuration["x64"] else "0"
# Its statistics ask for float64 whatever the setting.
warnings.filterwarnings("ignore", message="Explicitly requested dtype float64")

import flax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import netket as nk  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax_twin import Twin  # noqa: E402

PAULI = 4


class NetKet:
    """NetKet's MCState and VMC_SR driver."""

    def __init__(self, job: worker.Job) -> None:
        chosen = job.configuration
        self.versions = {"netket": nk.__version__, "jax": jax.__version__, "flax": flax.__version__}
        start, _ = worker.arrays(job.data)
        graph = nk.graph.Square(job.L, max_neighbor_order=2)
        hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
        cls = {"jax": nk.operator.LocalOperatorJax, "numba": nk.operator.LocalOperatorNumba}[chosen["operator"]]
        self.hamiltonian = nk.operator.Heisenberg(
            hilbert, graph, J=[1.0, job.J2], sign_rule=[False, False], dtype=np.float32, cls=cls
        )
        sampler = nk.sampler.MetropolisExchange(
            hilbert,
            graph=nk.graph.Square(job.L),
            d_max=1,
            n_chains=job.samples,
            sweep_size=job.L**2,
            dtype=jnp.int8,
        )
        self.state = nk.vqs.MCState(
            sampler,
            Twin(tuple((name, value.shape) for name, value in start.items()), job.L, chosen["form"]),
            variables={"params": {name: jnp.asarray(value) for name, value in start.items()}},
            n_samples=job.samples,
            n_discard_per_chain=0,
            chunk_size=chosen["forward_chunk"],
            seed=0,
            sampler_seed=0,
        )
        self.driver = nk.driver.VMC_SR(
            self.hamiltonian,
            optax.sgd(job.learning_rate / PAULI),
            diag_shift=job.shift,
            variational_state=self.state,
            chunk_size_bwd=chosen["backward_chunk"],
            mode="real",
            use_ntk=chosen["use_ntk"],
            on_the_fly=chosen["on_the_fly"],
        )

    def amplitudes(self, spins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = np.asarray(self.state.log_value(jnp.asarray(spins)))
        return value.real, np.where(value.imag > 1, -1, 1)

    def sweep(self) -> None:
        self.state.sample()
        jax.block_until_ready(self.state.samples)

    def spins(self) -> np.ndarray:
        return np.asarray(self.state.samples).reshape(-1, self.state.hilbert.size)

    def local_energies(self) -> np.ndarray:
        self.energies = self.state.local_estimators(self.hamiltonian)
        return np.asarray(self.energies.data).real.ravel() / PAULI

    def sr_step(self) -> None:
        state = type(self.state)
        measure = state.local_estimators
        # The driver measures them itself, but this phase starts from those at hand.
        state.local_estimators = lambda *_, **__: self.energies
        try:
            jax.block_until_ready(self.driver.compute_loss_and_update()[1])
        finally:
            state.local_estimators = measure

    def iteration(self) -> None:
        self.driver.reset_step()
        _, update = self.driver.compute_loss_and_update()
        self.driver.update_parameters(update)
        jax.block_until_ready(self.state.parameters)


if __name__ == "__main__":
    worker.serve(job, NetKet(job))
